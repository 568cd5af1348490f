"""How much work a texture is, how much of it is done, and when it will be finished."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from . import sliced
from .levels import Level
from .patches import BALANCE_QUERIES, Matching, grid, stride

MATCH_OVERHEAD = 25e6
PATCH_COST = 4000
FINISH_OVERHEAD = 8e6
FINISH_COST = 500
"""Work besides comparing patches, in multiply-adds: of an iteration, a picture patch, a finishing step, and a pixel of
it. Fitted to timings on a two-core laptop-class CPU from 64 to 1024 pixels; elsewhere only the estimate suffers."""
UNIT = 25e6
"""Multiply-adds that count as one step towards the end; a small iteration counts as two."""
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
    return FINISH_OVERHEAD + FINISH_COST * sliced.FILTERS / 64 * level.size[0] * level.size[1]


class Progress:
    """Counts work and tells about it, at most four times a second but for the first and the last time.

    tell: receives a JSON-able dict: progress (the texture's name), step, steps, size, loss, seconds_left. The loss is
    what the stage at hand lowers: while patches are matched, the root-mean-square distance of a patch from its match;
    in the finish, the mean distance of filter responses from where transport wants them (colours in [-1, 1]).
    done_levels: levels that a checkpoint spares.
    """

    def __init__(
        self, name: str, levels: Sequence[Level], done_levels: int, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.name, self.tell = name, tell
        spared = sum(iteration_work(level) * level.iterations for level in levels[:done_levels])
        matching = sum(iteration_work(level) * level.iterations for level in levels[done_levels:])
        self.total = spared + matching + finish_work(levels[-1]) * sliced.STEPS
        self.done = self.spared = spared
        self.began = time.monotonic()
        self.told: float | None = None

    def advance(self, work: float, level: Level, loss: float) -> None:
        """Count `work` as done and tell, if it is time."""
        self.done += work
        now = time.monotonic()
        step, steps = round(self.done / UNIT), max(1, round(self.total / UNIT))
        if self.told is not None and now - self.told < PAUSE and step < steps:
            return
        self.told = now
        rate = (self.done - self.spared) / max(now - self.began, 1e-6)
        self.tell(
            {
                "progress": self.name,
                "step": min(step, steps),
                "steps": steps,
                "size": level.name,
                "loss": round(loss, 5),
                "seconds_left": round(max(0.0, self.total - self.done) / rate, 1),
            }
        )
