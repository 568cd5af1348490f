"""What a project, a manifest and a texture may be called: one rule, for they all become folders somewhere."""

from __future__ import annotations

import re

from orchestrator import contract

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""The letters of a name, as a regular expression. `check_name` knows the rest of the rule."""

_NAME = re.compile(NAME)
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{digit}" for digit in range(10)), *(f"lpt{digit}" for digit in range(10))]
)


def check_name(name: str) -> str | None:
    """What is wrong with a name, as the rest of the sentence `the name "x" ...`; None if nothing is.

    Letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64; and nothing that Windows keeps
    for itself or silently changes, for outputs come home to any computer.
    """
    if not name:
        return "is empty"
    if "/" in name or "\\" in name or name in (".", ".."):
        return "would leave the output folder: a name holds no slash and is not . or .."
    if not _NAME.fullmatch(name):
        return "may hold letters, digits, '.', '_' and '-' only, and begins with a letter or digit"
    if len(name) > contract.MAX_NAME:
        return f"has {len(name)} characters: {contract.MAX_NAME} at most"
    if name.endswith("."):
        return "ends with a dot, which Windows would drop"
    if name.split(".", 1)[0].lower() in _RESERVED:
        return "is reserved on Windows: no folder there can be called that"
    return None
