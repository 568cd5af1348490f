"""The weight-free method: balanced patch matching, coarse to fine on a torus, then a sliced-Wasserstein finish."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from . import images, levels, sliced, start
from .course import Stand, State, named, number, whole
from .equaliser import equalised
from .images import Pixels
from .levels import Level
from .matching import MATCH_CHUNK
from .parameters import LARGE, Parameters
from .patches import BALANCE_QUERIES, Matcher, Matching, stride
from .pieces import BESIDE
from .retouch import retouched
from .rhythm import Rhythm, find, fit
from .torus import grid

METHOD = "patch/4"
"""Name and edition of the method, for reports. Whether an old state is taken up, `checkpoint.EDITION` decides."""

MATCH_OVERHEAD = 200e6
PATCH_COST = 8000
OFFER_COST = 30_000
FINISH_OVERHEAD = 400e6
FINISH_COST = 35_000
"""Work besides comparing patches, in multiply-adds: of an iteration, a picture patch, a match offered to one, a
finishing step, and a pixel of it. Fitted to timings on two CPU cores at 256 and 512 pixels; elsewhere only the
estimate of the time left suffers."""
OVERLAP = 16
"""Pixels that a picture is made too large by along an axis that is not to wrap, and cut by in the end: twice the reach
of a patch, so that no patch of the result has seen the other side."""


class Patchwork:
    """The course of the weight-free method (see `course.Course`). Sources in [0, 1].

    material: the sources as the picture is made of them: without landmarks, where it is to be so.

    Raises ValueError when the parameters do not fit the sources.
    """

    name = METHOD

    def __init__(self, sources: Sequence[Pixels], parameters: Parameters, alive: Callable[[], None]) -> None:
        self.parameters, self.alive = parameters, alive
        wraps = wrapping(parameters)
        sides = parameters.width, parameters.height
        width, height = (side + (0 if wrap else OVERLAP) for side, wrap in zip(sides, wraps, strict=True))
        self.torus = width, height
        sizes = levels.source_sizes([(source.shape[1], source.shape[0]) for source in sources], parameters)
        self.rhythm, coarsest = Rhythm(), levels.COARSEST_SIDE
        if len(sources) == 1:  # several sources would need one rhythm in common
            self.torus, self.rhythm, size = in_step(images.resize(sources[0], *sizes[0]), self.torus, wraps)
            sizes = (size,)
            coarsest = max(coarsest, self.rhythm.coarsest(self.torus))
        self.sources = [images.resize(source, *size) for source, size in zip(sources, sizes, strict=True)]
        self.material = self.sources
        if parameters.landmarks == "soften" and any(wraps):
            root = math.sqrt(parameters.width * parameters.height)
            self.material = [retouched(source, root, self.rhythm.source) for source in self.sources]
        changed = [(now != before).any(axis=2) for now, before in zip(self.material, self.sources, strict=True)]
        self.covered = sum(int(one.sum()) for one in changed) / sum(one.size for one in changed)
        self.schedule = levels.schedule(*self.torus, sizes, coarsest)
        self.levels = [named(self.cut_size(level.size[0] / self.torus[0])) for level in self.schedule]
        self.matching = [iteration_work(level) for level in self.schedule]
        self.finishing = finish_work(self.schedule[-1])
        iterations = (level.iterations for level in self.schedule)
        self.total = sum(work * count for work, count in zip(self.matching, iterations, strict=True))
        self.total += self.finishing * sliced.STEPS
        self.loss = 0.0

    def stands(self, saved: State | None) -> Iterator[Stand]:
        """See `course.Course`."""
        if saved is None or "picture" in saved:
            picture = yield from self.matched(saved)
            finish = sliced.Finish(self.symmetric_range(), picture, self.parameters.seed)
            first, done = 0, self.total - self.finishing * sliced.STEPS
        else:
            finish = sliced.Finish.restored(self.symmetric_range(), saved, self.parameters.seed)
            first = number(saved, "iteration")
            self.loss = float(saved["loss"])
            done = self.total - self.finishing * (sliced.STEPS - first)
            if first == sliced.STEPS:  # stopped while the files were written
                yield self.finished(finish, first, done)
        for iteration in range(first, sliced.STEPS):
            self.loss = finish.step(iteration, self.alive)
            done += self.finishing
            yield self.finished(finish, iteration + 1, done)

    def finished(self, finish: sliced.Finish, steps: int, done: float) -> Stand:
        """Where the course stands after so many steps of the finish."""
        now = copy(finish)  # which goes on; this stand does not
        return Stand(
            self.levels[-1],
            self.schedule[-1].iterations + steps,
            done,
            self.loss,
            partial(self.touched, now),
            partial(finishing_state, now, steps, self.loss),
            steps == sliced.STEPS,
            partial(self.untouched, now) if math.prod(self.torus) > LARGE else None,
        )

    def matched(self, saved: State | None, last: int | None = None) -> Any:
        """The levels' stands, up to level `last`; returns the picture after them, in [-1, 1] on the torus."""
        schedule = self.schedule if last is None else self.schedule[: last + 1]
        picture: Any = None if saved is None else saved["picture"]
        reached, first = number(saved, "level"), number(saved, "iteration")
        done = sum(self.matching[level.index] * level.iterations for level in self.schedule[:reached])
        done += self.matching[reached] * first if first else 0
        chunk = number(saved, "chunk") or MATCH_CHUNK
        for level in schedule[reached:]:
            small = [
                images.resize(source, *size) for source, size in zip(self.symmetric_range(), level.sources, strict=True)
            ]
            matcher = Matcher(small, level, self.parameters.seed, self.rhythm, chunk)
            if picture is None:
                picture = self.begun(small, level)
                scale = level.size[0] / self.torus[0]
                yield Stand(self.levels[level.index], 0, 0.0, 0.0, partial(self.shown, picture, scale), dict)
            elif not first:
                picture = images.resize_torus(picture, *level.size)
            for iteration in range(first, level.iterations):
                picture, self.loss = matcher.iterate(picture, iteration, self.alive)
                chunk = matcher.chunk
                done += self.matching[level.index]
                ended = iteration + 1 == level.iterations
                yield Stand(
                    self.levels[level.index],
                    iteration + 1,
                    done,
                    self.loss,
                    partial(self.shown, picture, level.size[0] / self.torus[0]),
                    partial(matching_state, picture, level.index + ended, 0 if ended else iteration + 1, chunk),
                    ended,
                )
            first = 0
        return picture

    def begun(self, small: Sequence[Pixels], level: Level) -> Pixels:
        """The picture that the coarsest level begins with."""
        picture = start.picture(small, level.size, self.parameters.seed, self.rhythm)
        return start.mirrored(picture) if self.parameters.start == "symmetric" else picture

    def symmetric_range(self) -> list[Pixels]:
        """The material in [-1, 1], as patches are compared."""
        return [2 * source - 1 for source in self.material]

    def touched(self, finish: sliced.Finish) -> list[Pixels]:
        """See `course.Stand.pictures`: the picture with the last touch, which needs no state."""
        shown = equalised((finish.picture() + 1) / np.float32(2), self.material)
        return [np.clip(shown[: self.parameters.height, : self.parameters.width], 0, 1).astype(np.float32)]

    def untouched(self, finish: sliced.Finish) -> list[Pixels]:
        """See `course.Stand.hasty`."""
        return [self.cut(finish.picture(), 1.0)]

    def shown(self, picture: Pixels, scale: float) -> list[Pixels]:
        """See `course.Stand.pictures`."""
        return [self.cut(picture, scale)]

    def cut_size(self, scale: float) -> levels.Size:
        """The size of the result, scaled."""
        return max(1, round(self.parameters.width * scale)), max(1, round(self.parameters.height * scale))

    def cut(self, picture: Pixels, scale: float) -> Pixels:
        """The picture in [0, 1], without what was made too much along axes that are not to wrap."""
        width, height = self.cut_size(scale)
        shown: Pixels = np.clip((picture[:height, :width] + 1) / np.float32(2), 0, 1).astype(np.float32)
        return shown

    def report(self) -> dict[str, Any]:
        """See `course.Course`."""
        return {"periods": list(self.rhythm.torus), "covered": round(self.covered, 4), "loss": round(self.loss, 6)}


def in_step(source: Pixels, torus: levels.Size, wraps: tuple[bool, bool]) -> tuple[levels.Size, Rhythm, levels.Size]:
    """The torus, the rhythm on it, and the size for the source, such that whole periods fit around.

    wraps: across, down. Where the result wraps, its size is given and the source is stretched; where it does not, the
    torus may be larger, and the source stays as it is.
    """
    periods = find(source)
    width, height = (
        side if wrap or not period else round(math.ceil(side / period) * period)
        for side, wrap, period in zip(torus, wraps, periods, strict=True)
    )
    rhythm, stretched = fit(source, (width, height))
    own, cycles, size = (source.shape[1], source.shape[0]), list(rhythm.source), list(stretched)
    for axis, (wrap, period) in enumerate(zip(wraps, periods, strict=True)):
        if not wrap and period and rhythm.torus[axis]:
            size[axis], cycles[axis] = own[axis], own[axis] / period
    return (width, height), Rhythm(rhythm.torus, (cycles[0], cycles[1])), (size[0], size[1])


def matching_state(picture: Pixels, level: int, iteration: int, chunk: int) -> State:
    """Where the matching goes on: at an iteration (from 0) of a level; 0 is before the level's own resizing. chunk: see
    `patches.Matcher`."""
    return {"picture": picture, "level": whole(level), "iteration": whole(iteration), "chunk": whole(chunk)}


def finishing_state(finish: sliced.Finish, iteration: int, loss: float) -> State:
    """Where the finish goes on. loss: of the step before."""
    return {**finish.state(), "iteration": whole(iteration), "loss": np.asarray(loss)}


def wrapping(parameters: Parameters) -> tuple[bool, bool]:
    """Whether the result continues at its opposite edges: across (left and right), down (top and bottom)."""
    unasked = "both" if parameters.method in ("auto", "patch", "swatch") and parameters.padding == "valid" else "none"
    seamless = parameters.seamless or unasked
    return seamless in ("both", "x"), seamless in ("both", "y")


def iteration_work(level: Level) -> float:
    """Work of one patch-matching iteration, in multiply-adds."""
    width, height = level.size
    step, how = stride(level), Matching.for_level(level)
    queries = grid(width, step) * grid(height, step)
    patches = sum((w - how.side + 1) * (h - how.side + 1) for w, h in level.sources)
    candidates = min(patches, how.candidates)
    compared = candidates * (queries + min(BALANCE_QUERIES, width * height))
    each = PATCH_COST + OFFER_COST * len(BESIDE) * how.joined
    return MATCH_OVERHEAD + each * queries + compared * (how.dimensions + 2)


def finish_work(level: Level) -> float:
    """Work of one step of the finish, in multiply-adds."""
    return FINISH_OVERHEAD + FINISH_COST * level.size[0] * level.size[1]
