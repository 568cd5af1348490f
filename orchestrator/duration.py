"""Durations as people write them: `90s`, `30m`, `2h`, `1d`, `1h30m`. Within Swatch they are whole seconds."""

from __future__ import annotations

import re

PATTERN = r"^(?=[0-9])(?:([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?|[0-9]{1,9})$"
"""What a written duration looks like; a number alone is seconds."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_PATTERN = re.compile(PATTERN)


def parse(text: str) -> int | None:
    """Seconds of `1h30m`, or of `5400`; None if the text is no duration."""
    found = _PATTERN.fullmatch(text)
    if not found:
        return None
    return (
        int(text)
        if text.isdigit()
        else sum(int(part[:-1]) * seconds for part, (_, seconds) in zip(found.groups(), _UNITS, strict=True) if part)
    )


def written(seconds: int) -> str:
    """The shortest way to write a duration: `1h30m` for 5400, `0s` for 0. `parse` reads it back."""
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
