"""In what units Gram matrices are compared, so that all that is wrong with them falls at one pace.

The plain squared distance is slow to descend. What noise in the pixels does to a Gram matrix differs by orders of
magnitude between its entries: many iterations go by before a descent sees anything but the few strongest. Gauss and
Newton would divide by J J^T, where J is the slope of the statistics with respect to the pixels. Its diagonal, in the
eigenvectors of the Gram matrix that is wanted, is nearly g_i c_j + g_j c_i: g are the eigenvalues, c the mean squared
responses of the features to noise in the pixels along the eigenvectors. That is the Kronecker-factored approximation of
Martens and Grosse (Optimizing Neural Networks with Kronecker-factored Approximate Curvature, 2015). Divided by it and
by a damping (Marquardt, 1963), which leaves what hardly answers to pixels alone, the same descent is at the same plain
distance after a third to a half of the evaluations (docs/benchmarks.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from . import pyramid
from .backend import Tensor, compiled, to_numpy
from .images import middle
from .network import Network
from .randomness import Stage, generator
from .statistics import Moments, Target, View, gram, means_apart, sums
from .vgg import Layer, deepest

DAMPING = 0.03
"""Of the largest entry of J J^T. Plain distance after 61 to 65 evaluations (bark at 128 pixels, two octaves): 944 with
0.1, 868 with 0.03, 1,020 with 0.01, 1,068 with 0.3; 1,398 in plain units."""
SAMPLE = 96
"""Side in pixels of the piece of a source that answers to noise; at least so large that the deepest layer has a few
features in it."""
FEATURES = 8
"""How many of the deepest layer's that is, along a side."""

Array = npt.NDArray[np.float64]


class Scaled(NamedTuple):
    """A target and the units of one place: products of features are compared along the columns of `basis`
    (channels, channels), and what is apart there counts `gain` times, squared; the least gain is 1."""

    target: Target
    basis: npt.NDArray[np.float32]
    gain: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ScaledDistance:
    """The squared distance of Gram matrices in their own units, and of means and deviations: a `GramDistance` that is
    quicker to descend. moments: as there. Its zero is the same."""

    moments: float

    def __call__(self, found: Sequence[Moments], wanted: Sequence[Scaled]) -> Tensor:
        total = 0.0
        for one, aim in zip(found, wanted, strict=True):
            apart = ops.matmul(ops.matmul(ops.transpose(aim.basis), gram(one) - aim.target.gram), aim.basis)
            total = total + ops.sum((aim.gain * apart) ** 2)
            total = total + self.moments * means_apart(one, aim.target)
        return total


def scaled(targets: Sequence[Target], responses: Sequence[Array]) -> list[Scaled]:
    """The targets in their units. responses: see `responses`."""
    return [Scaled(target, *units(target, response)) for target, response in zip(targets, responses, strict=True)]


def units(target: Target, response: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Basis and gains of one place. response: (channels, channels), see `responses`."""
    strengths, basis = (to_numpy(one).astype(np.float64) for one in ops.linalg.eigh(target.gram))
    strengths = np.maximum(strengths, 0)
    answers = np.einsum("ki,kl,li->i", basis, response, basis)
    pace = np.outer(strengths, answers)
    pace += pace.T
    pace /= max(pace.max(), np.finfo(np.float64).tiny)
    return basis.astype(np.float32), np.sqrt((1 + DAMPING) / (pace + DAMPING)).astype(np.float32)


def responses(network: Network, view: View, sources: Sequence[np.ndarray], seed: int) -> list[Array]:
    """For each place, the products of the features' answers to white noise in its octave's pixels, averaged over the
    features of a piece from the middle of each source; (channels, channels) each.

    sources: (rows, columns, 3), as the network sees them. seed: of the noise, of one grey level.
    """
    draws = generator(seed, Stage.RESPONSE)
    total: list[Any] = [0.0] * len(view.places)
    for source in sources:
        at = 0
        for octave, level in enumerate(pyramid.octaves(source[None], view.octaves, (False, False), view.padding)):
            layers = view.layers(octave)
            if not layers:
                continue
            last = deepest(layers)
            piece = middle(to_numpy(level), max(SAMPLE, last.reach + FEATURES * last.stride))
            noisy = piece + draws.standard_normal(piece.shape).astype(np.float32)
            for found in answered(network, layers, view.padding)(piece, noisy):
                total[at] = total[at] + to_numpy(found).astype(np.float64) / len(sources)
                at += 1
    return total


@lru_cache(maxsize=16)
def answered(network: Network, layers: tuple[Layer, ...], padding: str) -> Callable[..., list[Tensor]]:
    """The averaged products of what features change by, for each layer: (picture, changed picture)."""

    def answer(picture: Tensor, changed: Tensor) -> list[Tensor]:
        still, moved = (network.features(one, layers, padding) for one in (picture, changed))
        places = [one.shape[1] * one.shape[2] for one in still]
        apart = [sums(after - before).products[0] for before, after in zip(still, moved, strict=True)]
        return [products / count for products, count in zip(apart, places, strict=True)]

    return compiled(exact=True)(answer)
