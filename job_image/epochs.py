"""Keras' progress lines as metrics: what `model.fit` prints, new and old.

    Epoch 3/10
    12/100 ━━━━━━━━━━━━━━━━━━━━ 1s 5ms/step - accuracy: 0.9100 - loss: 0.2400     Keras 3 (utils/progbar.py)
    12/100 [==>...........] - ETA: 7s - loss: 0.2400                             Keras 1 and 2
    100/100 - 3s - 30ms/step - loss: 0.2400                                      verbose=2

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import re

from orchestrator.journal import Metric, finite

PAUSE = 5.0
"""Seconds between the figures of one epoch: a bar is redrawn twenty times a second. Its last drawing always counts."""
MAX_FIGURES = 50
"""Figures of one line that are read."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\x08")
_EPOCH = re.compile(r"\s*Epoch (\d{1,9})/\d{1,9}\s*$")
_HEAD = re.compile(
    r"(\d{1,15})/(\d{1,15}|Unknown) ?(?:\[[=>.]+\]|━+)? ?(?:- )?"
    r"(?:ETA: [\d:]+s?|\d+(?::\d\d)+|\d+(?:us|ms|s))? ?(?:- )?(?:\d+(?:us|ms|s)/(?:step|sample|epoch))?"
)
_BAR_OR_TIME = re.compile(r"[\]━]|\d(?:us|ms|s)\b|ETA")
_FIGURE = re.compile(r"([A-Za-z_][\w./ -]{0,63}): ([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?|nan|-?inf)\s*$")
MAX_HEAD = 300
"""Characters in front of the first figure."""


class Epochs:
    """Reads a log line by line; the step of a figure is its epoch."""

    def __init__(self) -> None:
        self._epoch: float | None = None
        self._told = float("-inf")

    def read(self, line: str, time: float) -> list[Metric]:
        """The figures of a whole line; none for any other line, nor for a redrawn one that comes too soon."""
        if "/" not in line:
            return []
        line = _COLOUR.sub("", line)
        epoch = _EPOCH.match(line)
        if epoch:
            self._epoch, self._told = float(epoch.group(1)), float("-inf")
            return []
        return self._figures(line, time)

    def glance(self, drawing: str, time: float) -> list[Metric]:
        """The figures of a bar that is still being redrawn."""
        return self._figures(_COLOUR.sub("", drawing), time) if "/" in drawing else []

    def _figures(self, line: str, time: float) -> list[Metric]:
        head, rest = _head(line)
        if head is None:
            return []
        done = head.group(1) == head.group(2)
        if not done and time - self._told < PAUSE:
            return []
        found = [_FIGURE.match(part) for part in rest.split(" - ")[:MAX_FIGURES]]
        if any(one is None for one in found):
            return []  # it only looks like one
        pairs = [(one.group(1), float(one.group(2))) for one in found if one is not None]
        self._told = time
        return [Metric(time, name, value, self._epoch) for name, value in pairs if finite(value)]


def _head(line: str) -> tuple[re.Match[str] | None, str]:
    """A progress line in two: how far it is, and the figures behind that."""
    at = -1
    # The head itself may hold dashes: `12/100 - 3s - 30ms/step - loss: 0.2`. It ends before the first figure.
    while 0 <= (at := line.find(" - ", at + 1)) < MAX_HEAD:
        told = " ".join(line[:at].split())
        head = _HEAD.fullmatch(told)
        if head and _BAR_OR_TIME.search(told) and not re.match(r"ETA: |\d", line[at + 3 :].lstrip()):
            return head, line[at + 3 :]
    return None, ""
