"""What a descent is to reach: at which places a picture is looked at, what its sources show there, and in what pieces
the device can bear to look."""

import math
from collections.abc import Sequence

import numpy as np

from . import memory
from .backend import Tensor
from .levels import Size
from .network import Network
from .objective import LEAST_TILE, Distance, Objective
from .pyramid import Wraps, side
from .statistics import Place, Target, View, target, windows
from .vgg import LAYERS, Layer, deepest

BYTES_PER_FEATURE = 14.0
"""Peak memory of one evaluation for each number of a layer's output: it is kept before and after the rectifier, and so
is its slope. Measured with TensorFlow at 256 and 512 pixels (docs/benchmarks.md)."""
PIECES_OF_A_PICTURE = 40
"""Bytes a pixel's three numbers take besides: the picture, its slopes, and their octaves."""


def places(
    layers: Sequence[Layer], octaves: Sequence[int], size: Size, sources: Sequence[Size], wraps: Wraps, padding: str
) -> tuple[Place, ...]:
    """Every octave and layer at which both the picture and each source have at least one feature.

    Sizes are (width, height) at octave 0. subjective-functions took all of them: where a map is empty, 0/0 made the
    loss "not a number" (below 277 pixels, with its defaults). Raises ValueError when nothing is left.
    """
    found = [
        Place(octave, layer)
        for octave in octaves
        for layer in layers
        if fits(layer, octave, layers, size, wraps, padding)
        and all(fits(layer, octave, layers, one, (False, False), padding) for one in sources)
    ]
    if not found:
        smallest = min([size, *sources], key=min)
        raise ValueError(
            f"{smallest[0]}x{smallest[1]} pixels are too few for {', '.join(one.name for one in layers)}: "
            "a larger picture or source is needed, or an earlier layer"
        )
    # An octave that only has room for the shallow layers would tip the balance between them: it is left out, unless
    # the deepest layer fits nowhere.
    last = deepest(layers)
    whole = {place.octave for place in found if place.layer == last}
    return tuple(place for place in found if place.octave in whole) or tuple(found)


def extent(
    asked: Size, layers: Sequence[Layer], octaves: int, sources: Sequence[Size], wraps: Wraps, padding: str
) -> tuple[Size, int]:
    """The size, at least the one asked for, in which a picture is made, and how many octaves of it are looked at.

    Sides that wrap must halve evenly down to the last feature. Octaves that a source lacks, or in which such a side has
    no whole feature, are left out first: a small picture would else be made many times as large, and shrunk in the end.
    Raises ValueError when no place is left.
    """
    largest = max(one.stride for one in layers)
    around = [pixels for pixels, wrapping in zip(asked, reversed(wraps), strict=True) if wrapping]
    while octaves > 1 and around and largest << (octaves - 1) > min(around):
        octaves -= 1
    while True:
        step = largest << (octaves - 1)
        width, height = (
            -(-pixels // step) * step if wrapping else pixels
            for pixels, wrapping in zip(asked, reversed(wraps), strict=True)
        )
        seen = 1 + max(one.octave for one in places(layers, range(octaves), (width, height), sources, wraps, padding))
        if seen == octaves:
            return (width, height), octaves
        octaves = seen


def fits(layer: Layer, octave: int, layers: Sequence[Layer], size: Size, wraps: Wraps, padding: str) -> bool:
    """Whether a layer has a feature in an octave of a picture."""
    columns, rows = (side(pixels, octave, wrap, padding) for pixels, wrap in zip(size, reversed(wraps), strict=True))
    if min(rows, columns) < 1:
        return False
    view = View(tuple(Place(octave, one) for one in layers), wraps, padding)
    down, across = windows(view, octave, rows, columns)[list(layers).index(layer)]
    return bool(down) and bool(across)


def evaluation_bytes(view: View, rows: int, columns: int) -> int:
    """About how much memory one evaluation of a picture takes, all octaves together, in one piece."""
    total = 0.0
    for octave in range(view.octaves):
        layers = view.layers(octave)
        if layers:
            total += features_of_a_pixel(deepest(layers)) * BYTES_PER_FEATURE / 4**octave
    return int(rows * columns * (total + PIECES_OF_A_PICTURE))


def features_of_a_pixel(last: Layer) -> float:
    """Numbers that the network makes of each input pixel, up to a layer."""
    return sum(one.channels / one.stride**2 for one in LAYERS[: LAYERS.index(last) + 1])


def tile(view: View, rows: int, columns: int, batch: int = 1) -> int | None:
    """The side of the tiles a picture is to be evaluated in, or None where it fits the device's memory as it is."""
    free = memory.free()
    if free is None:
        return None
    bearable = memory.USABLE * free / batch
    if evaluation_bytes(view, rows, columns) <= bearable:
        return None
    last = max((place.layer for place in view.places), key=lambda one: one.reach)
    each = features_of_a_pixel(last) * BYTES_PER_FEATURE
    bearable_side = max(LEAST_TILE, int(math.sqrt(bearable / each)) - last.reach)
    # A power of two: tiles round a little differently, and what else runs should not show in the result.
    return 1 << (bearable_side.bit_length() - 1)


def targets(network: Network, view: View, sources: Sequence[np.ndarray], join: str, multiplied: float) -> list[Target]:
    """What the statistics should be, from sources (rows, columns, 3) as the network sees them.

    Sources are pictures with an end: features that would see beyond it do not count.
    """
    look = View(view.places, (False, False), view.padding)
    seen = []
    for source in sources:
        pieces = tile(look, *source.shape[:2])
        seen.append(Objective(network, look, nothing, None, tile=pieces).averages(source[None]))
    return [target(each, join, multiplied) for each in zip(*seen, strict=True)]


def nothing(_found: Sequence[object], _wanted: object) -> Tensor:
    """The distance of whoever only looks."""
    return 0.0


def objective(network: Network, view: View, distance: Distance, wanted: object, shape: Sequence[int]) -> Objective:
    """The loss of pictures of a shape (batch, rows, columns, 3), in pieces that the device can bear."""
    return Objective(network, view, distance, wanted, tile=tile(view, shape[1], shape[2], shape[0]))
