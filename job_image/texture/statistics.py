"""What a picture is, to a texture: averages of VGG features and of their products, layer by layer, octave by octave.

All are sums over places, divided by their number. That makes them exact when they are added up tile by tile
(`objective`), and it makes the distance between two textures a function of a few small matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from . import pyramid
from .backend import Tensor
from .joining import join
from .network import Network
from .pyramid import Wraps
from .vgg import Layer, deepest

Array = npt.NDArray[np.float32]
LEAST_VARIANCE = 1e-4
"""Added under the root of a feature's variance, in squared units of activation: a feature that never fires would
otherwise have a slope without bound."""


class Place(NamedTuple):
    """Where statistics are taken: an octave (0 is the full size) and a layer."""

    octave: int
    layer: Layer


@dataclass(frozen=True)
class View:
    """How a picture is looked at: the places, whether it wraps, and the padding of convolutions ("valid" or "same").

    Axes that wrap see features all around the torus, N / stride of them: the picture is continued by the reach of the
    deepest layer, and the features of that margin are cut off again. No feature ever sees a made-up border.

    Raises ValueError for no places, for places whose octaves do not ascend, and for "same" padding where an axis wraps.
    """

    places: tuple[Place, ...]
    wraps: Wraps = (False, False)
    padding: str = "valid"

    def __post_init__(self) -> None:
        if not self.places:
            raise ValueError("a view has no places; name at least one octave and layer")
        for before, after in pairwise(place.octave for place in self.places):
            if before > after:
                raise ValueError(f"a view has octave {before} before octave {after}; put the places in ascending order")
        if self.padding == "same" and any(self.wraps):
            raise ValueError(
                'a picture that is seamless has no border to pad; use the padding mode "valid", or no seamless axis'
            )

    @property
    def octaves(self) -> int:
        """How many octaves the places need, those left out between them included."""
        return 1 + max(place.octave for place in self.places)

    def layers(self, octave: int) -> tuple[Layer, ...]:
        """The layers looked at in an octave, in the order of the places."""
        return tuple(place.layer for place in self.places if place.octave == octave)


class Moments(NamedTuple):
    """Averages over a picture's places. products: (batch, channels, channels), of F F^T; means: (batch, channels)."""

    products: Tensor
    means: Tensor


class Target(NamedTuple):
    """What the statistics of one place should be. gram: (channels, channels); mean, deviation: (channels,)."""

    gram: Tensor
    mean: Tensor
    deviation: Tensor


def windows(view: View, octave: int, rows: int, columns: int) -> list[tuple[range, range]]:
    """For each layer of an octave of rows x columns pixels, which features count: their numbers down and across.

    On an axis that wraps they are counted on the picture continued by `margin`. A range is empty where nothing fits.
    """
    layers = view.layers(octave)
    return [
        (
            _window(one, layers, rows, view.wraps[0], view.padding),
            _window(one, layers, columns, view.wraps[1], view.padding),
        )
        for one in layers
    ]


def _window(layer: Layer, layers: Sequence[Layer], pixels: int, wrapping: bool, padding: str) -> range:
    if wrapping:
        first = (margin(layers) - (layer.reach - layer.stride) // 2) // layer.stride
        return range(first, first + pixels // layer.stride)
    if padding == "same":  # convolutions keep the size, each pooling halves it and rounds up
        return range(-(-pixels // layer.stride))
    return range(max(0, (pixels - layer.reach) // layer.stride + 1))


def margin(layers: Sequence[Layer]) -> int:
    """Pixels a picture that wraps is continued by on each side, so that each layer has features all around."""
    last = deepest(layers)
    return (last.reach - last.stride) // 2


def continued(picture: Tensor, view: View, octave: int) -> Tensor:
    """One octave's picture, (batch, rows, columns, 3), as the network is shown it: wrapping axes go on beyond."""
    beyond = margin(view.layers(octave))
    for axis, wrapping in enumerate(view.wraps, 1):
        if wrapping:
            picture = pyramid.continued(picture, beyond, beyond, axis)
    return picture


def sums(features: Tensor) -> Moments:
    """Sums, not yet averages, over the places of (batch, rows, columns, channels)."""
    batch, rows, columns, channels = features.shape
    flat = ops.reshape(features, (batch, rows * columns, channels))
    return Moments(ops.matmul(ops.transpose(flat, (0, 2, 1)), flat), ops.sum(flat, axis=1))


class Seen(NamedTuple):
    """What a view shows of a picture: the averages at each place, in its order, and one place's features if asked."""

    averages: list[Moments]
    content: Tensor | None


def moments(network: Network, view: View, picture: Tensor, content: int | None = None) -> Seen:
    """Look at a picture (batch, rows, columns, 3), see `network`. content: number of the place to show features of."""
    found: list[Moments] = []
    features = None
    for octave, level in enumerate(pyramid.octaves(picture, view.octaves, view.wraps, view.padding)):
        layers = view.layers(octave)
        if not layers:
            continue
        outputs = network.features(continued(level, view, octave), layers, view.padding)
        for output, (down, across) in zip(outputs, windows(view, octave, *level.shape[1:3]), strict=True):
            own = output[:, down.start : down.stop, across.start : across.stop]
            features = own if len(found) == content else features
            total = sums(own)
            count = len(down) * len(across)
            found.append(Moments(total.products / count, total.means / count))
    return Seen(found, features)


def gram(found: Moments) -> Tensor:
    """The Gram matrix as subjective-functions has it: products averaged over places and divided by the channels."""
    return found.products / found.products.shape[-1]


def deviation(found: Moments) -> Tensor:
    """The standard deviation of each channel over a picture's places, (batch, channels)."""
    squares = ops.diagonal(found.products, axis1=-2, axis2=-1)
    return ops.sqrt(ops.maximum(squares - found.means**2, 0.0) + LEAST_VARIANCE)


def target(sources: Sequence[Moments], mode: str = "average", multiplied: float = 1.0) -> Target:
    """What one place's statistics should be, from those of the sources (each a batch of one).

    Gram matrices are joined by `mode` (see `joining`) and multiplied. Means average; where the joined matrix says that
    a feature is stronger or weaker than on average over the sources, its mean and deviation are, so that one picture
    can meet all three.
    """
    grams = [np.asarray(ops.convert_to_numpy(gram(one))[0], np.float64) for one in sources]
    mean = np.mean([ops.convert_to_numpy(one.means)[0] for one in sources], 0)
    joined = multiplied * join(grams, mode)
    average = np.maximum(np.diagonal(np.mean(grams, 0)), np.finfo(np.float32).tiny)
    strength = np.sqrt(np.maximum(np.diagonal(joined), 0) / average)
    variance = np.maximum(average * len(mean) - mean**2, 0)
    return Target(
        joined.astype(np.float32),
        (strength * mean).astype(np.float32),
        np.sqrt(strength**2 * variance + LEAST_VARIANCE).astype(np.float32),
    )


@dataclass(frozen=True)
class GramDistance:
    """The squared Frobenius distance of Gram matrices, weighted and summed over places.

    weights: one for each place. moments: how much the means and deviations of single features count beside their
    products (see `means_apart`).
    """

    weights: tuple[float, ...]
    moments: float = 0.0

    def __call__(self, found: Sequence[Moments], wanted: Sequence[Target]) -> Tensor:
        total = 0.0
        for one, aim, weight in zip(found, wanted, self.weights, strict=True):
            total = total + weight * ops.sum((gram(one) - aim.gram) ** 2)
            if self.moments:
                total = total + weight * self.moments * means_apart(one, aim)
        return total


def means_apart(found: Moments, aim: Target) -> Tensor:
    """The squared distance of means and deviations of single features, in the units of the squared products.

    Gram matrices alone cannot tell a mean from a spread, hence pictures with drifting contrast (Risser, Wilmot and
    Barnes, 2017); additive terms in mean and deviation, as Galerne et al. (2024) have them, prevent it. Here they carry
    the target's mean square, so that they weigh alike whatever the weights of the network.
    """
    square = ops.sum(ops.diagonal(aim.gram))
    apart = ops.sum((found.means - aim.mean) ** 2) + ops.sum((deviation(found) - aim.deviation) ** 2)
    return square * apart / found.means.shape[-1]
