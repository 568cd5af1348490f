"""VGG-19 (Simonyan and Zisserman, 2015) up to the layers whose statistics are matched, with average pooling.

Pictures enter as (batch, rows, columns, 3): BGR in 0..255 less the mean of ImageNet (`MEAN`), the form Caffe's weights
were trained in. Gatys, Ecker and Bethge (2015) found that average pooling suits textures better than the maximum.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Tensor, to_numpy

MEAN = np.array([103.939, 116.779, 123.68], np.float32)
"""Mean of ImageNet's blue, green and red, in 0..255: subtracted from every input of VGG."""
BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""Convolutions and channels of each block; a pooling layer ends each."""


class Layer(NamedTuple):
    """One layer. stride: input pixels between two neighbouring features. reach: input pixels one feature sees along an
    axis. channels: of its output. Feature i of a valid convolution sees the input pixels from i * stride on."""

    name: str
    stride: int
    reach: int
    channels: int


def _table() -> tuple[Layer, ...]:
    layers, stride, reach = [], 1, 1
    for block, (convolutions, channels) in enumerate(BLOCKS, 1):
        for number in range(1, convolutions + 1):
            reach += 2 * stride
            layers.append(Layer(f"conv{block}_{number}", stride, reach, channels))
        reach += stride
        stride *= 2
        layers.append(Layer(f"pool{block}", stride, reach, channels))
    return tuple(layers)


LAYERS = _table()
"""In order; a layer's place is its number in the program subjective-functions, whose model has no input layer."""
NAMES = tuple(layer.name for layer in LAYERS)
SPELLINGS = (
    re.compile(r"(?P<kind>conv|relu|pool)(?P<block>[1-5])(_(?P<number>[1-4]))?"),
    re.compile(r"block(?P<block>[1-5])_(?P<kind>conv|pool)(?P<number>[1-4])?"),
)


def layer(asked: str | int) -> Layer:
    """A layer by number (0 is conv1_1, 2 pool1, 7 conv3_2) or by name: conv3_2, relu3_2 or block3_conv2.

    Raises ValueError for one that VGG-19 does not have.
    """
    text = str(asked).strip().lower()
    if text.isdecimal() and int(text) < len(LAYERS):
        return LAYERS[int(text)]
    for spelling in SPELLINGS:
        found = spelling.fullmatch(text)
        if found:
            kind = "pool" if found["kind"] == "pool" else "conv"
            name = f"{kind}{found['block']}" + (f"_{found['number']}" if found["number"] else "")
            if name in NAMES:
                return LAYERS[NAMES.index(name)]
    raise ValueError(
        f"VGG-19 has no layer {asked!r}; give a number from 0 to {len(LAYERS) - 1} or one of: {', '.join(NAMES)}"
    )


def deepest(layers: Sequence[Layer]) -> Layer:
    """The one that needs all the others' work."""
    return max(layers, key=LAYERS.index)


class Network:
    """The convolutions up to some layer, ready on the device.

    kernels, digest: see `weights.Weights`. precision: "float32", or "bfloat16" for what the layers compute; statistics
    are float32 in either case.
    """

    def __init__(
        self,
        kernels: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
        digest: str,
        precision: str = "float32",
    ) -> None:
        self.digest, self.precision, self._others = digest, precision, {precision: self}
        self._kernels = {
            name: tuple(ops.cast(ops.convert_to_tensor(one), precision) for one in both)
            for name, both in kernels.items()
        }

    def at(self, precision: str) -> "Network":
        """The same network computing in another precision; one and the same object each time, for graphs go by it."""
        if precision not in self._others:
            kernels = {name: (to_numpy(kernel), to_numpy(bias)) for name, (kernel, bias) in self._kernels.items()}
            self._others[precision] = Network(kernels, self.digest, precision)
        return self._others[precision]

    def features(self, picture: Tensor, layers: Sequence[Layer], padding: str = "valid") -> list[Tensor]:
        """The outputs of `layers`, each (batch, rows, columns, channels), after the rectifier.

        padding: "valid" lets every feature see the picture alone; "same" surrounds each layer's input with zeros.
        """
        wanted = {one.name for one in layers}
        found, x = {}, ops.cast(picture, self.precision)
        for one in LAYERS[: LAYERS.index(deepest(layers)) + 1]:
            if one.name.startswith("pool"):
                x = ops.average_pool(x, 2, 2, padding=padding)
            else:
                kernel, bias = self._kernels[one.name]
                x = ops.relu(ops.conv(x, kernel, padding=padding) + bias)
            if one.name in wanted:
                found[one.name] = ops.cast(x, "float32")
        return [found[one.name] for one in layers]


@cache
def multiply_adds(last: Layer) -> float:
    """Multiply-adds per input pixel of a forward pass up to a layer; the gradient of the input costs as many again."""
    total, channels = 0.0, 3
    for one in LAYERS[: LAYERS.index(last) + 1]:
        if one.name.startswith("conv"):
            total += 9 * channels * one.channels / one.stride**2
            channels = one.channels
    return total


def from_rgb(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """sRGB in [0, 1], (..., 3), as the network's input."""
    return np.ascontiguousarray((pixels * np.float32(255))[..., ::-1] - MEAN, np.float32)


def to_rgb(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of `from_rgb`."""
    return np.ascontiguousarray(((picture + MEAN) / np.float32(255))[..., ::-1], np.float32)
