"""The tie between the frames of a looping texture video: neighbours differ as much as a texture that moves a little.

Snelgrove's program subjective-functions makes all frames at once, each of the same texture, and asks the distance
between a frame and the one `step` further to be `step` times a target: that of a source from itself, shifted by a few
pixels. So the video flows at an even speed, and the last frame flows into the first.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from keras import ops

from . import pyramid
from .backend import Tensor, compiled, value_and_gradient
from .parameters import DISTANCES, check_choice
from .pyramid import Wraps

Array = npt.NDArray[np.float32]
LEAST_SIDE = 8
"""Pixels: an octave whose shorter side is below has hardly a pixel that the filter sees whole."""
LEAST_SQUARE = 1e-12
"""Least mean square under a root, in squared units of the picture: equal frames would have a slope without bound."""


@dataclass(frozen=True)
class Tie:
    """A further term of the loss (see `objective.Extra`) for frames that form a loop.

    The sum over steps of the mean over frames of (distance - step * target)^2, times `weight`. target: see `target`.
    order: how many frames further the tie reaches; half the loop at most, because frames that are further apart are
    nearer the other way round, and their distance already counts. kind: "lap1" or "l2", see `distances`. octaves: of
    the pyramid, at most; None: all. Those whose shorter side is below 8 pixels never count. wraps: see `pyramid`.
    """

    target: float
    weight: float = 1.0
    order: int = 2
    kind: str = "lap1"
    octaves: int | None = None
    wraps: Wraps = (False, False)

    def __call__(self, picture: Tensor) -> tuple[float, Tensor]:
        """Value and gradient for all frames, (frames, rows, columns, 3). A single frame is tied to nothing: 0."""
        order = min(self.order, picture.shape[0] // 2)
        if not order:
            return 0.0, ops.zeros_like(picture)
        pull = tied(order, self.kind, self.octaves, self.wraps)
        value, gradient = pull(picture, np.float32(self.target), np.float32(self.weight))
        return float(value), gradient


@lru_cache(maxsize=16)
def tied(order: int, kind: str, octaves: int | None, wraps: Wraps) -> Callable[..., tuple[Tensor, Tensor]]:
    """The tie's value and its gradient: (picture, target, weight)."""

    def loss(picture: Tensor, aim: Tensor, weight: Tensor) -> Tensor:
        found = levels(picture, kind, octaves, wraps)
        steps = range(1, order + 1)
        return weight * sum(ops.mean((distances(found, kind, step) - step * aim) ** 2) for step in steps)

    return compiled(exact=True)(value_and_gradient(loss))


def target(sources: Sequence[Array], shift: float, kind: str, octaves: int | None = None) -> float:
    """The mean distance of sources from themselves, shifted by `shift` pixels: down and to the right, the mean of both.

    sources: each (1, rows, columns, 3), in the units of the frames. A shift between two whole numbers is interpolated
    linearly. A source is no torus: only the part that it shares with its shifted self is compared.
    Raises ValueError for a shift that leaves less than 8 pixels of a source.
    """
    low = math.floor(shift)
    share = shift - low
    for source in sources:
        rows, columns = source.shape[1:3]
        most = min(rows, columns) - LEAST_SIDE
        if math.ceil(shift) > most:
            raise ValueError(
                f"frame_shift is {shift:g}, too far for a source of {columns}x{rows} pixels; give at most {most}"
            )
    nearer = np.mean([moved(source, low, kind, octaves) for source in sources])
    if not share:
        return float(nearer)
    further = np.mean([moved(source, low + 1, kind, octaves) for source in sources])
    return float((1 - share) * nearer + share * further)


def moved(source: Array, shift: int, kind: str, octaves: int | None) -> float:
    """The distance of a source, (1, rows, columns, 3), from itself after a shift by whole pixels, see `target`."""
    rows, columns = source.shape[1:3]
    pairs = (
        (source[:, : rows - shift], source[:, shift:]),
        (source[:, :, : columns - shift], source[:, :, shift:]),
    )
    apart = [distances(levels(np.concatenate(pair), kind, octaves), kind, 1)[0] for pair in pairs]
    return float(sum(apart)) / len(pairs)


def distances(found: Sequence[Tensor], kind: str, step: int) -> Tensor:
    """The distance from each frame to the one `step` further, cyclic: (frames,), in units of the picture.

    found: the levels of the frames, from the finest on (see `levels`). The difference in level k, from 0 on, counts
    2^(1-k) times; "lap1" is the mean absolute value over all numbers of all levels, "l2" their root mean square.
    """
    total, numbers = 0.0, 0
    for octave, level in enumerate(found):
        apart = 2.0 ** (1 - octave) * (ops.roll(level, -step, axis=0) - level)
        total = total + ops.sum(ops.abs(apart) if kind == "lap1" else apart**2, axis=(1, 2, 3))
        numbers += math.prod(level.shape[1:])
    mean = total / numbers
    return mean if kind == "lap1" else ops.sqrt(ops.maximum(mean, LEAST_SQUARE))


def levels(picture: Tensor, kind: str, octaves: int | None = None, wraps: Wraps = (False, False)) -> list[Tensor]:
    """What is compared of frames (frames, rows, columns, 3): for "l2" their Gaussian, for "lap1" their Laplacian
    pyramid (Burt and Adelson, 1983), whose last level is the coarsest octave itself.

    Raises ValueError for another kind.
    """
    check_choice("frame_distance", kind, DISTANCES)
    rows, columns = picture.shape[1:3]
    found = pyramid.octaves(picture, depth(rows, columns, octaves, wraps), wraps, "same")
    if kind == "l2":
        return found
    finer = [one - expanded(below, one.shape[1], one.shape[2], wraps) for one, below in pairwise(found)]
    return [*finer, found[-1]]


def depth(rows: int, columns: int, most: int | None, wraps: Wraps = (False, False)) -> int:
    """How many octaves of a picture are at least 8 pixels high and wide; no more than `most`, and the first in any
    case."""
    count = 1
    while most is None or count < most:
        sides = pyramid.side(rows, count, wraps[0], "same"), pyramid.side(columns, count, wraps[1], "same")
        if min(sides) < LEAST_SIDE:
            break
        count += 1
    return count


def expanded(picture: Tensor, rows: int, columns: int, wraps: Wraps = (False, False)) -> Tensor:
    """An octave at the size, rows x columns, of the one that it is the half of: the inverse of `pyramid.halved` for
    pictures that are smooth."""
    for axis, wrapping in enumerate(wraps, 1):
        if wrapping:
            picture = pyramid.continued(picture, 1, 2, axis)
    # Four times: only every fourth pixel of the finer octave has a sample. What "same" cuts off depends on the sizes;
    # "valid" cuts off nothing, so sample i always stands at pixel 2i + 2, which belongs at 2i.
    grown = ops.conv_transpose(picture, 4 * pyramid.KERNEL, strides=2, padding="valid")
    top, left = (4 if wrapping else 2 for wrapping in wraps)
    return grown[:, top : top + rows, left : left + columns]
