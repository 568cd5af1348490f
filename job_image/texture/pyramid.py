"""The Gaussian pyramid: a picture at every octave, each half the size of the one before (Burt and Adelson, 1983)."""

import numpy as np
from keras import ops

from .backend import Tensor

Wraps = tuple[bool, bool]
"""Whether a picture goes on at its opposite edge: down its rows, along its columns."""

TAPS = np.array([0.05, 0.25, 0.4, 0.25, 0.05], np.float32)
"""Burt and Adelson's generating kernel with a = 0.4, as subjective-functions uses it."""
KERNEL = np.einsum("y,x,io->yxio", TAPS, TAPS, np.eye(3, dtype=np.float32)).astype(np.float32)


def continued(picture: Tensor, before: int, after: int, axis: int) -> Tensor:
    """A picture that wraps along `axis`, continued by so many pixels on either side: round and round, if need be."""
    length = picture.shape[axis]
    first = -before % length
    whole = [slice(None)] * len(picture.shape)
    pieces, missing = [], before + length + after
    while missing:
        last = min(length, first + missing)
        whole[axis] = slice(first, last)
        pieces.append(picture[tuple(whole)])
        missing -= last - first
        first = 0
    return ops.concatenate(pieces, axis) if len(pieces) > 1 else pieces[0]


def halved(picture: Tensor, wraps: Wraps, padding: str = "valid") -> Tensor:
    """The next octave of (batch, rows, columns, 3). An axis that wraps halves exactly; with "valid" padding another
    one of n pixels leaves (n - 3) // 2, for the filter must not leave the picture."""
    for axis, wrapping in enumerate(wraps, 1):
        if wrapping:
            picture = continued(picture, 2, 1, axis)
        elif padding == "same":
            picture = ops.pad(picture, [(2, 2) if axis == one else (0, 0) for one in range(4)])
    return ops.conv(picture, KERNEL, strides=2, padding="valid")


def octaves(picture: Tensor, count: int, wraps: Wraps, padding: str = "valid") -> list[Tensor]:
    """The picture and its octaves below, `count` in all."""
    levels = [picture]
    while len(levels) < count:
        levels.append(halved(levels[-1], wraps, padding))
    return levels


def side(pixels: int, octave: int, wrapping: bool, padding: str = "valid") -> int:
    """Pixels along an axis after halving `octave` times; may come to 0 or less, where there is no such octave."""
    for _ in range(octave):
        if wrapping:
            pixels //= 2
        else:
            pixels = (pixels - 3) // 2 if padding == "valid" else (pixels + 1) // 2
    return pixels
