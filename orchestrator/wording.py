"""How a value, and the place of one, are written in a message: short, on one line, nothing a terminal would obey."""

from __future__ import annotations

from typing import Any

Path = tuple[str | int, ...]
"""Where an entry stands: `("textures", 3, "width")`."""


def where(path: Path) -> str:
    """An entry's path as people write it: `textures[3].width`."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{_key(step)}" for step in path)
    return words.removeprefix(".")


def shown(value: Any) -> str:
    """A value as an error message shows it: short, on one line, nothing in it that a terminal obeys."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return quoted(value if len(value) <= 40 else value[:37] + "...")
    number = str(value)
    return number if len(number) <= 40 else number[:37] + "..."


def quoted(text: str) -> str:
    """The whole of a text, where its end matters as much as its beginning: a path."""
    return '"' + "".join(escaped(letter) for letter in text) + '"'


def escaped(letter: str) -> str:
    """A letter as it may stand within quotes on a terminal."""
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else repr(letter)[1:-1] if letter < "\U00010000" else f"\\U{ord(letter):08x}"


def _key(key: str) -> str:
    return key if key.isidentifier() else shown(key)
