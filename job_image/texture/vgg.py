"""The layers of VGG-19 (Simonyan and Zisserman, 2015): their names, their order, and what they see."""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

MEAN = (103.939, 116.779, 123.68)
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
NUMBERS = tuple(map(str, range(len(LAYERS))))
SPELLINGS = (
    re.compile(r"(?P<kind>conv|relu|pool)(?P<block>[1-5])(_(?P<number>[1-4]))?"),
    re.compile(r"block(?P<block>[1-5])_(?P<kind>conv|pool)(?P<number>[1-4])?"),
)


def layer(asked: str | int) -> Layer:
    """A layer by number (0 is conv1_1, 2 pool1, 7 conv3_2) or by name: conv3_2, relu3_2 or block3_conv2.

    Raises ValueError for one that VGG-19 does not have.
    """
    text = str(asked).strip().lower()
    if text in NUMBERS:
        return LAYERS[NUMBERS.index(text)]
    for spelling in SPELLINGS:
        found = spelling.fullmatch(text)
        if found:
            kind = "pool" if found["kind"] == "pool" else "conv"
            name = f"{kind}{found['block']}" + (f"_{found['number']}" if found["number"] else "")
            if name in NAMES:
                return LAYERS[NAMES.index(name)]
    raise ValueError(
        f"VGG-19 has no layer {text[:40]!r}; give a number from 0 to {len(LAYERS) - 1} or one of: {', '.join(NAMES)}"
    )


def deepest(layers: Sequence[Layer]) -> Layer:
    """The one that needs all the others' work."""
    return max(layers, key=LAYERS.index)


@cache
def multiply_adds(last: Layer) -> float:
    """Multiply-adds per input pixel of a forward pass up to a layer; the gradient of the input costs as many again."""
    total, channels = 0.0, 3
    for one in LAYERS[: LAYERS.index(last) + 1]:
        if one.name.startswith("conv"):
            total += 9 * channels * one.channels / one.stride**2
            channels = one.channels
    return total
