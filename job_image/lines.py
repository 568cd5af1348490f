"""What a command prints, line by line, and the events that follow from it.

A line that is a JSON object with one of these keys is for Swatch; anything else is log.

    {"metric": "loss", "value": 0.1, "step": 3}                                      a figure (also kept in the log)
    {"progress": "bark", "step": 12, "steps": 80, "size": "64x64", "loss": 0.1, "seconds_left": 8}
    {"task": "bark", "state": "success", "seconds": 9.1}                             or "failed", with "error"

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator import contract
from orchestrator.journal import Metric, Progress, TaskEnd, finite

MAX_LINE = 65536
"""Bytes of one line; longer ones are cut into several."""


class Splitter:
    """Bytes in, whole lines out. Of a line redrawn with carriage returns, the last drawing counts."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if b"\r" in self._rest:  # a bar that is redrawn for hours is held once
            self._rest = self._rest.rstrip(b"\r").rpartition(b"\r")[2] + b"\r" * self._rest.endswith(b"\r")
        while len(self._rest) > MAX_LINE:
            whole.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return [_text(line[at : at + MAX_LINE]) for line in whole for at in range(0, len(line) or 1, MAX_LINE)]

    @property
    def drawing(self) -> str:
        """What a redrawn line shows now; it is no line yet."""
        return _text(self._rest)

    def close(self) -> list[str]:
        """The unfinished last line, if there is one."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")


def parse(line: str, time: float) -> Metric | Progress | TaskEnd | None:
    """The event that a line stands for; None when it is plain log, malformed JSON included."""
    if not line.startswith("{") or not line.rstrip().endswith("}"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(record.get("metric"), str) and _number(record, "value") is not None:
        step = _number(record, "step")
        return Metric(time, record["metric"], record["value"], _number(record, "epoch") if step is None else step)
    if isinstance(record.get("progress"), str):
        step, steps = _number(record, "step"), _number(record, "steps")
        if step is not None and steps is not None:
            return Progress(
                time,
                record["progress"],
                step,
                steps,
                str(record.get("size", "")),
                _number(record, "loss"),
                _number(record, "seconds_left"),
            )
    if isinstance(record.get("task"), str) and record.get("state") in (contract.SUCCESS, contract.FAILED):
        seconds = _number(record, "seconds")
        return TaskEnd(time, record["task"], record["state"], seconds or 0.0, str(record.get("error", "")))
    return None


def _number(record: dict[str, Any], key: str) -> float | None:
    value = record.get(key)
    return value if finite(value) else None
