"""The last touch: as much detail of each size, direction and colour as the sources have, and their colours.

Votes average, so grain comes out weak and faint colours weaker still: 1 to 4 decibels are missing after the finish. Two
things are made right in turn, since each disturbs the other a little: the power in each sector of the Fourier plane
along each principal colour, by a real gain (the spectrum constraint of Liu, Gousseau and Xia, 2016, in sectors instead
of single frequencies, so that no layout is copied); and the distribution along each principal colour (Heeger and
Bergen, 1995). On a torus both leave no seam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .appearance import ROUNDING, Palette, periodic
from .images import Pixels

Field = NDArray[np.floating[Any]]

ROUNDS = 2
RINGS, ANGLES = 3, 8
"""Sectors: rings in an octave, directions in half a turn. Gains are interpolated between their centres."""
SURE = 24
"""Coefficients in a sector that make its gain half as strong (in decibels) as measured; fewer are believed less."""
MOST = 2.0
"""No gain is above this, nor below its inverse: what is hardly there cannot be made louder without making noise."""
KNOTS, SAMPLES = 1024, 1 << 18
STRIP = 1 << 18
"""Fourier coefficients looked at together; this bounds the memory that large pictures need."""


def equalised(picture: Pixels, sources: Sequence[Pixels]) -> Pixels:
    """The picture, on a torus, with its sources' spectrum and colours. All in [0, 1] but for a little overshoot."""
    palette = Palette.of(np.concatenate([source.reshape(-1, 1, 3) for source in sources]))
    least = min(min(image.shape[:2]) for image in (picture, *sources))
    rings = max(2, int(RINGS * np.log2(least / 3)))
    made = ((picture - palette.mean) @ palette.axes).astype(np.float32)
    originals = [(source - palette.mean) @ palette.axes for source in sources]
    for component in range(3):
        values: Field = made[..., component]
        theirs = [original[..., component].astype(np.float32) for original in originals]
        totals = [_sectors(np.fft.rfft2(periodic(plane)), rings, plane.shape) for plane in theirs]
        power, count = (sum(part) for part in zip(*totals, strict=True))
        want = _quantiles(np.concatenate([plane.ravel() for plane in theirs]))
        for _ in range(ROUNDS):
            values = _with_power(values, power / np.maximum(count, 1e-6), count, rings)
            values = np.interp(values, _quantiles(values.ravel()), want).astype(np.float32)
        made[..., component] = values
    equal: Pixels = (made @ palette.axes.T + palette.mean).astype(np.float32)
    return equal


def _with_power(plane: Field, wanted: Field, sure: Field, rings: int) -> Field:
    """The plane with this mean power in each sector, as far as both were measured surely and gains stay moderate."""
    spectrum = np.fft.rfft2(plane)
    power, count = _sectors(spectrum, rings, plane.shape)
    trust = np.minimum(count, sure)
    ratio = (wanted + ROUNDING) / (power / np.maximum(count, 1e-6) + ROUNDING)
    gains = np.clip(ratio ** (0.5 * trust / (trust + SURE)), 1 / MOST, MOST)
    constant = spectrum[0, 0]
    for strip, cells in _cells(plane.shape, rings):
        spectrum[strip] *= sum(share * gains[sector] for sector, share in cells)
    spectrum[0, 0] = constant
    flat: Field = np.fft.irfft2(spectrum, s=plane.shape)
    return flat


def _sectors(spectrum: NDArray[np.complexfloating[Any]], rings: int, shape: tuple[int, ...]) -> tuple[Field, Field]:
    """The sum of the power over each sector of a plane's spectrum, and how many coefficients that is; the constant part
    is left out. shape: of the plane."""
    power, count = np.zeros(rings * ANGLES), np.zeros(rings * ANGLES)
    for strip, cells in _cells(shape, rings):
        here = np.abs(spectrum[strip]) ** 2 / (shape[0] * shape[1])
        for sector, share in cells:
            if strip.start == 0:
                share[0, 0] = 0
            power += np.bincount(sector.ravel(), (share * here).ravel(), rings * ANGLES)
            count += np.bincount(sector.ravel(), share.ravel(), rings * ANGLES)
    return power, count


def _cells(
    shape: tuple[int, ...], rings: int
) -> Iterator[tuple[slice, list[tuple[NDArray[np.intp], NDArray[np.float64]]]]]:
    """Strips of rows of the `rfft2` of a plane of this shape, and in each strip the four sectors round a coefficient,
    with its share of each.

    Rings are evenly spaced in log frequency, the last one at the corner of the plane; the first takes all below it.
    """
    rows, across = shape[0], np.fft.rfftfreq(shape[1])
    height = max(1, STRIP // len(across))
    for first in range(0, rows, height):
        strip = slice(first, min(rows, first + height))
        down = np.fft.fftfreq(rows)[strip, None]
        radius = np.maximum(np.hypot(down, across), 1e-9)
        ring = np.clip(rings - 1 + RINGS * np.log2(radius / np.sqrt(0.5)), 0, rings - 1)
        turn = np.arctan2(down, across) / np.pi % 1 * ANGLES
        inner, before = np.minimum(ring.astype(np.intp), rings - 2), turn.astype(np.intp)
        outward, onward = ring - inner, turn - before
        yield (
            strip,
            [
                ((inner + i) * ANGLES + (before + j) % ANGLES, abs(1 - i - outward) * abs(1 - j - onward))
                for i in (0, 1)
                for j in (0, 1)
            ],
        )


def _quantiles(values: Field) -> Field:
    """KNOTS evenly spaced quantiles, from at most SAMPLES evenly spaced values."""
    some = values[:: max(1, len(values) // SAMPLES)]
    knots: Field = np.quantile(some, np.linspace(0, 1, KNOTS))
    return knots
