"""Textures without a source: pictures whose statistics are as unlike each other as they can be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras import ops

from .backend import Tensor
from .parameters import MOST_OCTAVES, check_range
from .statistics import Moments, Place, gram


class Novelty(NamedTuple):
    """The wish for a texture without a source; see `NoveltyDistance`."""

    internal: bool = False
    step: int = 1


@dataclass(frozen=True)
class NoveltyDistance:
    """How far the Gram matrices of several frames are from being orthogonal and of one energy (the mode `novelty` of
    Snelgrove's program subjective-functions). Can stand wherever an `objective.Distance` does.

    For each place, the frames' Gram matrices are the rows of V, (frames, channels^2); the squared Frobenius distances
    of V V^T from `multiplied` times the identity are added up. So a frame's Gram matrix has no part of another's, and
    the square of its norm is `multiplied`.

    places: those of the view, in its order. internal: the Gram matrices of all octaves of a layer are rows of one V,
    so that the octaves of a frame differ from each other, too. step: only every so many-th octave counts, the full
    size always. Raises ValueError for a step outside 1 to 9.
    """

    places: tuple[Place, ...]
    multiplied: float = 1.0
    internal: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        check_range("octave_step", self.step, 1, MOST_OCTAVES)

    def __call__(self, found: Sequence[Moments], wanted: Any = ()) -> Tensor:
        """found: the averages at each place. wanted: nothing; there is no source."""
        groups: dict[Any, list[Tensor]] = {}
        for place, one in zip(self.places, found, strict=True):
            if place.octave % self.step == 0:
                grams = gram(one)
                rows = ops.reshape(grams, (grams.shape[0], -1))
                groups.setdefault(place.layer if self.internal else place, []).append(rows)
        total = 0.0
        for members in groups.values():
            rows = ops.concatenate(members, axis=0)
            products = ops.matmul(rows, ops.transpose(rows))
            total = total + ops.sum((products - self.multiplied * ops.eye(rows.shape[0])) ** 2)
        return total
