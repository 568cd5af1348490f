"""How much of a texture's work is done, told as it goes, and when it will be finished."""

import time
from collections.abc import Callable
from typing import Any

UNIT = 100e6
"""Multiply-adds that count as one step towards the end."""
TIMED_SECONDS, TIMED_COUNTS, TIMED_SHARE = 1.5, 3, 0.05
"""No time left is told before so many seconds, so many iterations and this share of the work have been timed: small
levels go slowly for their size, most of all on a GPU."""
PAUSE = 0.25
"""Least seconds between two reports."""


class Progress:
    """Tells how far one texture is, at most four times a second, but always at a new size and at the end.

    total, spared: the whole work, and what a checkpoint has done already, in multiply-adds. tell: receives a JSON-able
    dict: progress (the texture's name), step, steps, size, loss, seconds_left (None until enough has been timed to say,
    0 at the end). The loss is what the stage at hand lowers; its units are the stage's own.
    """

    def __init__(self, name: str, total: float, spared: float, tell: Callable[[dict[str, Any]], None]) -> None:
        self.name, self.total, self.before, self.tell = name, total, spared, tell
        self.began: float | None = None  # when the clock was started
        self.counts = 0  # reports since then
        self.told, self.size = 0.0, ""

    def at(self, done: float, size: str, loss: float) -> None:
        """Tell, if it is time, that `done` multiply-adds are behind us."""
        now = time.monotonic()
        if self.began is None:  # the first iteration compiles and would make every estimate gloomy
            self.began, self.before = now, done
        else:
            self.counts += 1
        step, steps = round(done / UNIT), max(1, round(self.total / UNIT))
        if now - self.told < PAUSE and size == self.size and step < steps:
            return
        self.told, self.size = now, size
        self.tell(
            {
                "progress": self.name,
                "step": min(step, steps),
                "steps": steps,
                "size": size,
                "loss": float(f"{loss:.5g}"),
                "seconds_left": 0.0 if step >= steps else self._seconds_left(now - self.began, done),
            }
        )

    def _seconds_left(self, elapsed: float, done: float) -> float | None:
        timed = done - self.before
        enough = timed >= TIMED_SHARE * (self.total - self.before)
        if elapsed < TIMED_SECONDS or self.counts < TIMED_COUNTS or not enough:
            return None
        return round(max(0.0, self.total - done) * elapsed / timed, 1)
