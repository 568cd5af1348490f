"""What a check says."""

from __future__ import annotations

from typing import NamedTuple

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"


class Check(NamedTuple):
    """What was looked at, how it is (ok, warn, fail or unknown), a sentence, how to mend it (empty if well)."""

    name: str
    state: str
    said: str
    fix: str = ""
