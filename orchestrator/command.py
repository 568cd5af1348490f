"""A command's placeholders: `{lr}` becomes a value, quoted for the shell; every other byte stays what it is.

A placeholder is braces around a name and nothing else. `{{lr}}` is the literal `{lr}`; as in Python's formats, each
further pair of braces halves. `${VAR}`, `{print $1}`, `{a,b}` and the braces of JSON are no placeholders.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

IDENTIFIER = "[a-z_][a-z0-9_]*"
# Each run of braces is tried once, from its start and whole: a megabyte of braces takes no longer than one of text.
_BRACED = re.compile(r"(\$?)(?<!\{)(\{++)(" + IDENTIFIER + r"+)(\}++)")


def placeholders(command: str) -> dict[str, int]:
    """The names that a command wants filled, each with the offset of its first placeholder."""
    found: dict[str, int] = {}

    def note(name: str, offset: int) -> str:
        found.setdefault(name, offset)
        return ""

    _replaced(command, note)
    return found


def fill(command: str, values: Mapping[str, str]) -> str:
    """The command with each placeholder replaced by its value, quoted so that the shell sees exactly one word.

    Raises KeyError for a placeholder without a value.
    """
    return _replaced(command, lambda name, offset: shlex.quote(values[name]))


def in_quotes(command: str) -> frozenset[str]:
    """The names whose placeholder stands within quotes or after a backslash, where a value's own quotes open a hole."""
    offsets: dict[int, str] = {}

    def note(name: str, offset: int) -> str:
        offsets[offset] = name
        return ""

    _replaced(command, note)
    within: set[str] = set()
    quote, escaped = "", False
    for offset, letter in enumerate(command):
        if (quote or escaped) and offset in offsets:
            within.add(offsets[offset])
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
    return frozenset(within)


def needs_quotes(value: str) -> bool:
    """Whether the shell would not take the value for one plain word."""
    return shlex.quote(value) != value


def _replaced(command: str, value: Callable[[str, int], str]) -> str:
    def replace(match: re.Match[str]) -> str:
        dollar, left, name, right = match.groups()
        pairs = min(len(left), len(right))
        if dollar and len(left) == 1:  # ${name} is the shell's own
            return match.group()
        opening, closing = left[pairs:] + "{" * (pairs // 2), "}" * (pairs // 2) + right[pairs:]
        middle = value(name, match.start(3) - 1) if pairs % 2 else name
        return f"{dollar}{opening}{middle}{closing}"

    return _BRACED.sub(replace, command)
