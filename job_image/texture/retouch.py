"""Lone conspicuous places of a source, covered with what is usual elsewhere in it.

What a person would do with a clone stamp: find the place that catches the eye, find where else what lies round it goes
on alike, and paint that over it, softly at the edges. (Filling by examples, after Criminisi, Perez and Toyama, "Region
Filling and Object Removal by Exemplar-Based Image Inpainting", 2004, with one patch as large as the hole.) What the
stamp leaves of edges, patch matching takes away.

A source that is made of such places keeps them: where they are many none stands out, and with some of them covered, the
rest would stand out more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .images import Pixels, resize
from .landmark import extent, grown_by_one, most_conspicuous

Mask = NDArray[np.bool_]
Field = NDArray[np.floating[Any]]

SIDE = 256
"""Stamps are looked for in a source so small that the tile has at most this many pixels (the root of its area)."""
FOUND = 1.4
"""A source in which nothing stands out more than this, see `landmark`, has no landmark."""
EVEN = 1.2
"""What stands out no more than this may stay."""
GAIN = 0.2
"""By how much stamps must lower the figure. Where it is for nothing, they would only make a material poorer: with the
orange patches of a lichen gone one by one, the last is found at once."""
COVERED = 0.15
"""The share of the source that is painted over, at most. With 0.27 of a lawn, its structure suffered."""
MOST = 8
TILES = 4
"""A source that would fill more tiles than this keeps its landmarks: none of them is in every tile."""
CONSPICUOUS = 0.5
"""What stands out so much as the landmark, and as it does, covers nothing."""
AROUND = 0.03
"""Width of the ring that must go on alike, over the root of the tile's area."""
SOFT = 0.01
"""Half the width of soft edges, likewise."""
IN_PHASE = 0.9
"""Cosine of the part of a period by which a stamp on a regular source may be off, at least."""


class Stamp(NamedTuple):
    """How much of each pixel is covered, (rows, columns) from 0 to 1, by what lies `shift` (down, across) before it, in
    shares of the picture's sides."""

    cover: Field
    shift: tuple[float, float]

    def on(self, picture: Pixels) -> Pixels:
        """The picture, (rows, columns, 3) of any size, after it."""
        rows, columns = picture.shape[:2]
        down, across = (round(by * side) for by, side in zip(self.shift, (rows, columns), strict=True))
        cover = self.cover.astype(np.float32)[..., None]
        if cover.shape[:2] != (rows, columns):
            cover = np.clip(resize(cover, columns, rows), 0, 1)
        painted: Pixels = (picture + cover * (np.roll(picture, (down, across), (0, 1)) - picture)).astype(np.float32)
        return painted


def retouched(source: Pixels, root: float, cycles: tuple[float, float] = (0.0, 0.0)) -> Pixels:
    """The source, (height, width, 3) in [0, 1], without its landmarks.

    root: of the area of the tile that it is for, in its pixels. cycles: periods across a regular source and down it;
    what covers a place then comes from whole ones away.
    """
    if source.shape[0] * source.shape[1] > TILES * root**2:
        return source
    scale = min(1.0, SIDE / root)
    small = np.clip(resize(source, *(max(8, round(side * scale)) for side in source.shape[1::-1])), 0, 1)
    for stamp in stamps(small.astype(np.float32), root * scale, cycles):
        source = stamp.on(source)
    return source


def stamps(source: Pixels, root: float, cycles: tuple[float, float]) -> list[Stamp]:
    """The stamps, one after the other, that leave a source with the least conspicuous landmark; see `retouched`."""
    made: list[Stamp] = []
    figures: list[float] = []
    covered = np.zeros(source.shape[:2], bool)
    while True:
        found = most_conspicuous(source, root, tiles=False)
        figures.append(found.figure)
        if found.figure <= (EVEN if made else FOUND) or len(made) == MOST:
            break
        hole = _enlarged(extent(found.spread, found.middle, tiles=False), covered.shape)
        if (covered | hole).mean() > COVERED:
            break
        covered |= hole
        shift = _shift(source, hole, covered | _enlarged(found.spread > CONSPICUOUS, covered.shape), root, cycles)
        if shift is None:
            break
        made.append(Stamp(_softened(hole, _soft(root)), shift))
        source = made[-1].on(source)
    best = int(np.argmin(figures))
    return made[:best] if figures[best] <= figures[0] - GAIN else []


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask on another grid, with smooth outlines."""
    large: Mask = resize(mask.astype(np.float32)[..., None], shape[1], shape[0])[..., 0] > 0.4
    return large


def _dilated(mask: Mask, reach: int) -> Mask:
    for _ in range(reach):
        mask = grown_by_one(mask, tiles=False)
    return mask


def _softened(hole: Mask, reach: int) -> Field:
    """1 in the hole, 0 beyond twice `reach` pixels round it."""
    soft = _dilated(hole, reach).astype(np.float64)
    for axis in (0, 1):
        margin = [(reach, reach) if each == axis else (0, 0) for each in (0, 1)]
        soft = np.lib.stride_tricks.sliding_window_view(np.pad(soft, margin, "edge"), 2 * reach + 1, axis).mean(-1)
    return soft


def _soft(root: float) -> int:
    """Half the width of soft edges, in pixels; they end `3 *` so many from the hole."""
    return max(1, round(SOFT * root))


def _shift(
    source: Pixels, hole: Mask, bad: Mask, root: float, cycles: tuple[float, float]
) -> tuple[float, float] | None:
    """By how much to move the source (down, across; in shares of its sides) so that what comes to lie on the hole goes
    on alike round it.

    bad: what may not come to lie there. None where there is nothing else. Round the hole the sum of squared
    differences counts, reckoned for all shifts at once by correlations.
    """
    (rows, columns), reach = hole.shape, max(3, round(AROUND * root), 3 * _soft(root))
    shape = 2 * rows, 2 * columns  # beyond the source lies as much of nothing, so that shifts do not wrap
    whole = _dilated(hole, reach)
    ring = (whole & ~hole).astype(np.float64)
    unfit = np.ones(shape)
    unfit[:rows, :columns] = bad

    def met(mask: Field, field: Field) -> Field:
        """For each shift, the sum over x of mask(x) field(x - shift)."""
        sums: Field = np.fft.irfft2(np.fft.rfft2(mask, shape) * np.fft.rfft2(field, shape).conj(), s=shape)
        return sums

    apart = np.zeros(shape)
    for channel in np.moveaxis(source.astype(np.float64), -1, 0):
        apart += met(ring, channel**2) - 2 * met(ring * channel, channel)
    allowed = met(whole.astype(np.float64), unfit) < 0.5
    for axis, count in enumerate((cycles[1], cycles[0])):
        if count:
            phase = np.cos(4 * np.pi * count * np.fft.fftfreq(shape[axis])) >= IN_PHASE
            allowed &= np.expand_dims(phase, 1 - axis)
    if not allowed.any():
        return None
    down, across = divmod(int(np.where(allowed, apart, np.inf).argmin()), shape[1])
    moved = (down if down < rows else down - shape[0]), (across if across < columns else across - shape[1])
    shares = moved[0] / rows, moved[1] / columns
    # Looked for to a pixel of a small copy; meant are whole periods.
    whole_ones = (round(by * count) / count if count else by for by, count in zip(shares, cycles[::-1], strict=True))
    return next(whole_ones), next(whole_ones)
