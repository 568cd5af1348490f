"""The loss of a picture and its gradient: in one piece where that fits the device, tile by tile where it does not.

Tiling is exact. The statistics are sums over places, so a first pass adds them up tile by tile, each tile shown with
all the pixels that its own features see. The loss is then a function of a few small matrices; its gradient with respect
to them is the same for every tile, and a second pass carries it back to the pixels. What a tile sends to pixels beyond
its border is added there. Gram matrices compared tile by tile instead, as others do, are another loss: its gradient is
off by 6 to 16%.

"Same" padding surrounds what every layer sees with zeros, at the picture's border and not at a tile's. There a tile is
shown the zeros around the picture as well, and told which of its rows and columns those are (`Network.features`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from . import pyramid
from .backend import Tensor, compiled, to_numpy, value_and_gradient
from .memory import within_memory
from .network import Network
from .statistics import Moments, View, continued, margin, moments, sums, windows
from .vgg import Layer, deepest

R = TypeVar("R")
Array = npt.NDArray[np.float32]
Distance = Callable[[Sequence[Moments], Any], Tensor]
"""From the averages at each place, and what they should be, to the loss. Hashable: graphs are kept by it."""
Extra = Callable[[Tensor], tuple[float, Tensor]]
"""A further term of the loss that looks at the pixels themselves: its value and gradient for the whole picture."""

LEAST_TILE = 128
"""Below this the margins of tiles cost many times the tiles, and no device is that small."""


class Content(NamedTuple):
    """Features a picture should keep. place: its number in the view; features: (1, rows, columns, channels)."""

    place: int
    features: Array
    weight: float


class Piece(NamedTuple):
    """One tile of one octave's continued picture. where: its pixels; own: for each layer, 1 for each feature that
    counts as this tile's and 0 for its neighbours', (rows, columns, 1); inside: its rows and columns that lie in the
    picture, of one with "same" padding; content: the features its part should have."""

    where: tuple[slice, ...]
    own: list[Array]
    inside: tuple[Array, ...]
    content: Array


@dataclass
class Objective:
    """The loss of pictures (batch, rows, columns, 3) in the network's units.

    view and distance: which statistics, and how they are compared with `wanted`. content: for style transfer. extras:
    see `Extra`. tile: side of the tiles in pixels, or None for the whole picture at once; when the device runs out of
    memory, smaller tiles are tried. alive: called between tiles; raises to stop.
    """

    network: Network
    view: View
    distance: Distance
    wanted: Any
    content: Content | None = None
    extras: Sequence[Extra] = ()
    tile: int | None = None
    alive: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        if self.wanted is not None:  # on the device once, not at each evaluation
            self.wanted = keras.tree.map_structure(ops.convert_to_tensor, self.wanted)

    def __call__(self, picture: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient."""
        loss, gradient = self._within_memory(self._of_features, picture)
        for extra in self.extras:
            more, slope = extra(picture)
            loss, gradient = loss + more, gradient + slope
        return loss, gradient

    def _of_features(self, picture: Tensor) -> tuple[float, Tensor]:
        side = self._side(picture)
        if side is not None:
            return self._tiled(picture, side)
        place, features, weight = self.content or (None, np.zeros((), np.float32), 0.0)
        loss, gradient = whole(self.network, self.view, self.distance, place)(
            picture, self.wanted, features, np.float32(weight)
        )
        return float(loss), gradient

    def averages(self, picture: Tensor) -> list[Moments]:
        """The statistics of a picture at the view's places, found as the loss finds them."""
        return self._within_memory(self._averages, picture)

    def features(self, picture: Tensor, place: int) -> Array:
        """All features of a picture at one of the view's places, (batch, rows, columns, channels)."""
        return self._within_memory(lambda one: self._features(one, place), picture)

    def _within_memory(self, look: Callable[[Tensor], R], picture: Tensor) -> R:
        """`look(picture)`, with smaller tiles as long as the device runs out of memory and they can get smaller."""
        longest = max(picture.shape[1:3])

        def looked(side: int) -> R:
            if side < longest:
                self.tile = side
            return look(picture)

        return within_memory(looked, min(self.tile or longest, longest), LEAST_TILE)[0]

    def _side(self, picture: Tensor) -> int | None:
        """Of the tiles a picture is taken in; None for the whole at once."""
        return None if self.tile is None or self.tile >= max(picture.shape[1:3]) else self.tile

    def _averages(self, picture: Tensor) -> list[Moments]:
        side = self._side(picture)
        if side is None:
            found, _ = looked_at(self.network, self.view, None)(picture)
            return [Moments(*pair) for pair in found]
        levels = [to_numpy(one) for one in shrunk(self.view)(picture)]
        return [Moments(*pair) for pair in self._added_up(levels, side)[0]]

    def _features(self, picture: Tensor, place: int) -> Array:
        side = self._side(picture)
        if side is None:
            found: Array = to_numpy(looked_at(self.network, self.view, place)(picture)[1])
            return found
        octave, layer = self.view.places[place]
        level = to_numpy(shrunk(self.view)(picture)[octave])
        layers = self.view.layers(octave)
        at = place - sum(one.octave < octave for one in self.view.places)
        down, across = tiled_windows(self.view, octave, *level.shape[1:3])[at]
        found = np.empty((len(level), len(down), len(across), layer.channels), np.float32)
        look = piece_features(self.network, layers, at)
        for pixels, piece in self._pieces(octave, level, side):
            seen, own = to_numpy(look(pixels, piece.inside)), piece.own[at][..., 0] > 0
            if own.any():
                here, there = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
                top, left = (
                    one.start // layer.stride + first - counted.start
                    for one, first, counted in zip(piece.where[1:], (here[0], there[0]), (down, across), strict=True)
                )
                found[:, top : top + len(here), left : left + len(there)] = seen[:, here][:, :, there]
        return found

    def _tiled(self, picture: Tensor, side: int) -> tuple[float, Tensor]:
        levels = [to_numpy(one) for one in shrunk(self.view)(picture)]
        averages, counts, apart = self._added_up(levels, side)
        distance, slopes = sloped(self.distance)(averages, self.wanted)
        pulls = [
            [to_numpy(part) / np.float32(count) for part in pair] for pair, count in zip(slopes, counts, strict=True)
        ]
        gradients = [self._carried_back(octave, level, side, pulls) for octave, level in enumerate(levels)]
        weight = self.content.weight if self.content else 0.0
        return float(distance) + weight * apart, unshrunk(self.view)(picture, gradients)

    def _added_up(self, levels: Sequence[Array], side: int) -> tuple[list[list[Array]], list[int], float]:
        """The averages at each place, their numbers of features, and half the squared distance of the content."""
        averages, counts, apart = [], [], 0.0
        for octave, level in enumerate(levels):
            added: list[npt.NDArray[np.float64]] = []
            add = piece_sums(self.network, self.view.layers(octave), self._content_layer(octave))
            for pixels, piece in self._pieces(octave, level, side):
                found, share = add(pixels, piece.own, piece.inside, piece.content)
                # Added up in double precision: thousands of tiles must not lose what one matrix product keeps.
                new = [np.asarray(to_numpy(part), np.float64) for pair in found for part in pair]
                added = [old + one for old, one in zip(added, new, strict=True)] if added else new
                apart += float(share)
            for i, (down, across) in enumerate(tiled_windows(self.view, octave, *level.shape[1:3])):
                counts.append(len(down) * len(across))
                averages.append([(part / counts[-1]).astype(np.float32) for part in added[2 * i : 2 * i + 2]])
        return averages, counts, apart

    def _carried_back(self, octave: int, level: Array, side: int, pulls: Sequence[Sequence[Array]]) -> Array:
        """The gradient of one octave's picture, from that of the statistics' sums."""
        here = [pulls[i] for i, place in enumerate(self.view.places) if place.octave == octave]
        batch, rows, columns, channels = level.shape
        layers = self.view.layers(octave)
        padded = self.view.padding == "same"
        beyond = [margin(layers) if layers and (wraps or padded) else 0 for wraps in self.view.wraps]
        weight = np.float32(self.content.weight if self.content else 0)
        pull = piece_gradient(self.network, layers, self._content_layer(octave))
        more = [around(layers, pixels)[1] - margin(layers) if layers and padded else 0 for pixels in (rows, columns)]
        shape = (batch, rows + 2 * beyond[0] + more[0], columns + 2 * beyond[1] + more[1], channels)
        gradient = np.zeros(shape, np.float32)
        for pixels, piece in self._pieces(octave, level, side):
            gradient[piece.where] += to_numpy(pull(pixels, here, piece.own, piece.inside, piece.content, weight))
        if padded:  # zeros that nobody can change
            return gradient[:, beyond[0] : beyond[0] + rows, beyond[1] : beyond[1] + columns]
        # What lies beyond a torus is its other side.
        return folded(folded(gradient, beyond[0], rows, 1), beyond[1], columns, 2)

    def _pieces(self, octave: int, level: Array, side: int) -> Iterator[tuple[Array, Piece]]:
        """The tiles of one octave's picture, with their pixels; `alive` is called before each."""
        layers = self.view.layers(octave)
        if not layers:
            return
        everything, last, inside = level, deepest(layers), None
        if self.view.padding == "same":
            margins = [around(layers, pixels) for pixels in level.shape[1:3]]
            everything = np.pad(level, ((0, 0), *margins, (0, 0)))
            inside = [
                np.pad(np.ones(pixels, np.float32), one) for pixels, one in zip(level.shape[1:3], margins, strict=True)
            ]
        else:
            everything = to_numpy(continued(level, self.view, octave))
        step = max(last.stride, side // last.stride * last.stride)
        length = step + last.reach - last.stride  # a feature that begins on the last stride sees so far beyond it
        counted = tiled_windows(self.view, octave, *level.shape[1:3])
        kept = self._content_layer(octave)
        for top in range(0, everything.shape[1], step):
            for left in range(0, everything.shape[2], step):
                self.alive()
                y, x = (
                    pulled_in(start, length, everything.shape[axis], last.stride)
                    for axis, start in ((1, top), (2, left))
                )
                where = (slice(None), slice(y, y + length), slice(x, x + length))
                pixels = everything[where]
                own = [
                    np.outer(
                        own_features(layer, down, top, step, y, pixels.shape[1]),
                        own_features(layer, across, left, step, x, pixels.shape[2]),
                    )[..., None]
                    for layer, (down, across) in zip(layers, counted, strict=True)
                ]
                if not any(one.any() for one in own):
                    continue
                content = np.zeros((), np.float32)
                if self.content is not None and kept is not None:
                    stride, (down, across) = layers[kept].stride, counted[kept]
                    rows = np.clip(y // stride - down.start + np.arange(own[kept].shape[0]), 0, len(down) - 1)
                    columns = np.clip(x // stride - across.start + np.arange(own[kept].shape[1]), 0, len(across) - 1)
                    content = self.content.features[:, rows[:, None], columns]
                part = tuple(one[w] for one, w in zip(inside, where[1:], strict=True)) if inside else ()
                yield pixels, Piece(where, own, part, content)

    def _content_layer(self, octave: int) -> int | None:
        """Which of the octave's layers carries the content, if any does."""
        if self.content is None or self.view.places[self.content.place].octave != octave:
            return None
        return self.content.place - sum(place.octave < octave for place in self.view.places)


def around(layers: Sequence[Layer], pixels: int) -> tuple[int, int]:
    """Zeros before and after an axis that "same" padding surrounds with them, so that each layer has all its features
    when nothing else is added: of an uneven axis the last feature is half outside."""
    beyond = margin(layers)
    return beyond, beyond + -pixels % deepest(layers).stride


def tiled_windows(view: View, octave: int, rows: int, columns: int) -> list[tuple[range, range]]:
    """As `statistics.windows`, but with "same" padding numbered on the picture with its zeros (see `around`)."""
    found = windows(view, octave, rows, columns)
    if view.padding != "same":
        return found
    layers = view.layers(octave)
    firsts = [(margin(layers) - (one.reach - one.stride) // 2) // one.stride for one in layers]
    return [
        (range(first, first + len(down)), range(first, first + len(across)))
        for first, (down, across) in zip(firsts, found, strict=True)
    ]


def pulled_in(start: int, length: int, whole: int, stride: int) -> int:
    """Where a window of `length` from `start` on begins so that it is full, if it can be: tiles at the border then
    have the shape of the others, and no graph of their own."""
    latest = max(0, -(-(whole - length) // stride) * stride)
    return min(start, latest)


def own_features(layer: Layer, counted: range, start: int, step: int, first: int, pixels: int) -> Array:
    """1 for the features, of those in a window of `pixels` from pixel `first` on, that begin within `step` pixels of
    `start` and count at all; 0 for the others."""
    number = first // layer.stride + np.arange((pixels - layer.reach) // layer.stride + 1)
    begins = number * layer.stride
    inside = (begins >= start) & (begins < start + step) & (number >= counted.start) & (number < counted.stop)
    return inside.astype(np.float32)


def folded(gradient: Array, beyond: int, length: int, axis: int) -> Array:
    """The transpose of continuing a picture by `beyond` pixels on either side of an axis of `length`."""
    if not beyond:
        return gradient
    moved = np.moveaxis(gradient, axis, 0)
    result = np.zeros((length, *moved.shape[1:]), np.float32)
    for start in range(-(-beyond // length) * -length, length + beyond, length):
        low, high = max(start, -beyond), min(start + length, length + beyond)
        if high > low:
            result[low - start : high - start] += moved[low + beyond : high + beyond]
    return np.moveaxis(result, 0, axis)


@lru_cache(maxsize=64)
def whole(network: Network, view: View, distance: Distance, content: int | None) -> Callable[..., Any]:
    """Loss and gradient of a picture at once: (picture, wanted, content features, weight)."""

    def loss(picture: Tensor, wanted: Any, features: Tensor, weight: Tensor) -> Tensor:
        seen = moments(network, view, picture, content)
        value = distance(seen.averages, wanted)
        if seen.content is not None:
            value = value + weight * half_square(seen.content - features)
        return value

    return compiled(exact=True)(value_and_gradient(loss))


@lru_cache(maxsize=64)
def looked_at(network: Network, view: View, content: int | None) -> Callable[[Tensor], Any]:
    """The averages of a picture at once, and the features of one place if asked."""

    def look(picture: Tensor) -> Any:
        seen = moments(network, view, picture, content)
        return [tuple(one) for one in seen.averages], () if seen.content is None else seen.content

    return compiled(exact=True)(look)


@lru_cache(maxsize=64)
def piece_features(network: Network, layers: tuple[Layer, ...], at: int) -> Callable[..., Tensor]:
    """The features of a tile in one layer: (pixels, inside)."""
    return compiled(exact=True)(lambda pixels, inside: network.features(pixels, layers[at : at + 1], inside=inside)[0])


@lru_cache(maxsize=64)
def piece_sums(network: Network, layers: tuple[Layer, ...], content: int | None) -> Callable[..., Any]:
    """Of a tile: its sums for each layer, and half the squared distance of its content: (pixels, own, inside,
    features)."""

    def add(pixels: Tensor, own: Sequence[Tensor], inside: Sequence[Tensor], features: Tensor) -> Any:
        outputs = network.features(pixels, layers, inside=inside)
        apart = 0.0 if content is None else half_square((outputs[content] - features) * own[content])
        return [tuple(sums(output * mine)) for output, mine in zip(outputs, own, strict=True)], apart

    return compiled(exact=True)(add)


@lru_cache(maxsize=64)
def piece_gradient(network: Network, layers: tuple[Layer, ...], content: int | None) -> Callable[..., Any]:
    """The gradient that a tile's pixels get from that of the sums: (pixels, pulls, own, inside, content features,
    weight)."""

    def pull(
        pixels: Tensor, pulls: Any, own: Sequence[Tensor], inside: Sequence[Tensor], features: Tensor, weight: Tensor
    ) -> Tensor:
        outputs = network.features(pixels, layers, inside=inside)
        value = 0.0
        for output, mine, (by_products, by_totals) in zip(outputs, own, pulls, strict=True):
            found = sums(output * mine)
            value = value + ops.sum(found.products * by_products) + ops.sum(found.means * by_totals)
        if content is not None:
            value = value + weight * half_square((outputs[content] - features) * own[content])
        return value

    backward = value_and_gradient(pull)
    return compiled(exact=True)(lambda *given: backward(*given)[1])


def half_square(values: Tensor) -> Tensor:
    """Half the sum of squares."""
    return ops.sum(values**2) / 2


@lru_cache(maxsize=64)
def sloped(distance: Distance) -> Callable[..., Any]:
    """The distance and its gradient with respect to the averages: (averages, wanted)."""

    def apart(averages: Any, wanted: Any) -> Tensor:
        return distance([Moments(*pair) for pair in averages], wanted)

    return compiled(exact=True)(value_and_gradient(apart))


@lru_cache(maxsize=64)
def shrunk(view: View) -> Callable[[Tensor], list[Tensor]]:
    """The octaves of a picture."""
    return compiled(exact=True)(lambda picture: pyramid.octaves(picture, view.octaves, view.wraps, view.padding))


@lru_cache(maxsize=64)
def unshrunk(view: View) -> Callable[..., Tensor]:
    """The transpose of `shrunk`: the picture's gradient from that of its octaves: (picture, gradients)."""

    def paired(picture: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        levels = pyramid.octaves(picture, view.octaves, view.wraps, view.padding)
        return sum(ops.sum(level * gradient) for level, gradient in zip(levels, gradients, strict=True))

    backward = value_and_gradient(paired)
    return compiled(exact=True)(lambda picture, gradients: backward(picture, gradients)[1])
