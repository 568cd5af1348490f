"""How much work a texture is, how much of it is done, and when it will be finished."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from . import sliced
from .levels import Level
from .patches import BALANCE_QUERIES, Matching, grid, stride

MATCH_OVERHEAD = 200e6
PATCH_COST = 8000
FINISH_OVERHEAD = 400e6
FINISH_COST = 35_000
"""Work besides comparing patches, in multiply-adds: of an iteration, a picture patch, a finishing step, and a pixel of
it. Fitted to timings on two CPU cores at 256 and 512 pixels; elsewhere only the estimate of the time left suffers."""
UNIT = 100e6
"""Multiply-adds that count as one step towards the end."""
TIMED_SECONDS, TIMED_COUNTS, TIMED_SHARE = 1.5, 3, 0.05
"""No time left is told before so many seconds, so many iterations and this share of the work have been timed: small
levels go slowly for their size, most of all on a GPU."""
PAUSE = 0.25
"""Least seconds between two reports."""


def iteration_work(level: Level) -> float:
    """Work of one patch-matching iteration, in multiply-adds."""
    width, height = level.size
    step, how = stride(level), Matching.for_level(level)
    queries = grid(width, step) * grid(height, step)
    patches = sum((w - how.side + 1) * (h - how.side + 1) for w, h in level.sources)
    candidates = min(patches, how.candidates)
    compared = candidates * (queries + min(BALANCE_QUERIES, width * height))
    return MATCH_OVERHEAD + PATCH_COST * queries + compared * (how.dimensions + 2)


def finish_work(level: Level) -> float:
    """Work of one step of the finish, in multiply-adds."""
    return FINISH_OVERHEAD + FINISH_COST * level.size[0] * level.size[1]


class Progress:
    """Counts work and tells about it, at most four times a second, but always at a new size and at the end.

    tell: receives a JSON-able dict: progress (the texture's name), step, steps, size, loss, seconds_left (None until
    enough has been timed to say, 0 at the end). The loss is what the stage at hand lowers: while patches are matched,
    the root-mean-square distance of a patch from its match; in the finish, the mean distance of filter responses from
    where transport wants them (colours in [-1, 1]).
    done_levels: levels that a checkpoint spares.
    """

    def __init__(
        self, name: str, levels: Sequence[Level], done_levels: int, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.name, self.tell = name, tell
        spared = sum(iteration_work(level) * level.iterations for level in levels[:done_levels])
        matching = sum(iteration_work(level) * level.iterations for level in levels[done_levels:])
        self.total = spared + matching + finish_work(levels[-1]) * sliced.STEPS
        self.done = spared
        self.timed: tuple[float, float] | None = None  # when the clock was started, and the work done by then
        self.counts = 0  # iterations and finishing steps since then
        self.told, self.size = 0.0, ""

    def advance(self, work: float, level: Level, loss: float) -> None:
        """Count `work` as done and tell, if it is time."""
        self.done += work
        now = time.monotonic()
        if self.timed is None:  # the first iteration compiles and would make every estimate gloomy
            self.timed = now, self.done
        else:
            self.counts += 1
        step, steps = round(self.done / UNIT), max(1, round(self.total / UNIT))
        if now - self.told < PAUSE and level.name == self.size and step < steps:
            return
        self.told, self.size = now, level.name
        self.tell(
            {
                "progress": self.name,
                "step": min(step, steps),
                "steps": steps,
                "size": level.name,
                "loss": round(loss, 5),
                "seconds_left": 0.0 if step >= steps else self._seconds_left(now, *self.timed),
            }
        )

    def _seconds_left(self, now: float, began: float, before: float) -> float | None:
        elapsed, timed = now - began, self.done - before
        enough = timed >= TIMED_SHARE * (self.total - before)
        if elapsed < TIMED_SECONDS or self.counts < TIMED_COUNTS or not enough:
            return None
        return round(max(0.0, self.total - self.done) * elapsed / timed, 1)
