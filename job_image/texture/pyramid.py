"""The Gaussian pyramid: a picture at every octave, each half the size of the one before (Burt and Adelson, 1983)."""

from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

from .backend import Tensor, compiled, value_and_gradient

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


CONJUGATE_STEPS = 4
"""So many leave it a little off where the filter hardly lets anything through; more would blow that up instead."""


def refined(picture: Tensor, smaller: Tensor, wraps: Wraps, padding: str = "valid") -> Tensor:
    """The picture nearest to `picture` that halves to `smaller`: what is coarse comes from the one, what is fine from
    the other.

    With R for halving it is x + R^T l where R R^T l is what is missing, found by conjugate gradients.
    """
    halve, back = halving(wraps, padding)
    missing = smaller - halve(picture)
    found, direction = ops.zeros_like(missing), missing
    square = float(ops.sum(missing * missing))
    for _ in range(CONJUGATE_STEPS):
        if square <= 0:
            break
        image = halve(back(picture, direction))
        length = square / float(ops.sum(direction * image))
        found, missing = found + length * direction, missing - length * image
        before, square = square, float(ops.sum(missing * missing))
        direction = missing + square / before * direction
    return picture + back(picture, found)


@lru_cache(maxsize=4)
def halving(wraps: Wraps, padding: str) -> tuple[Any, Any]:
    """`halved`, and its transpose, (picture of the larger size, smaller): both compiled."""
    transpose = value_and_gradient(lambda picture, smaller: ops.sum(halved(picture, wraps, padding) * smaller))
    return (
        compiled(exact=True)(lambda picture: halved(picture, wraps, padding)),
        compiled(exact=True)(lambda picture, smaller: transpose(picture, smaller)[1]),
    )
