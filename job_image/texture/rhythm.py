"""Regular sources (rows of bricks, planks, weaves): their periods, and the part of the picture that repeats.

A torus holds a regular texture only if it holds a whole number of periods. And noise with the right spectrum has the
right period but a wandering phase: it grows into rows that undulate. So the periods of a regular source are measured,
the source is stretched a little until they divide the result, and the part that repeats is laid down in phase.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .images import Pixels, resize
from .levels import Size
from .parameters import SMALLEST_SIDE

Field = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ANALYSIS_SIDE = 256
"""Shorter side, in pixels, at which periods are measured: enough for them, and quick."""
SHORTEST = 5
"""Periods shorter than this many pixels at the analysis size are grain, not layout."""
PROFILE_SHARE = 0.1
"""Share of all variance that lies in the mean row (or column) of a source whose layout is made of stripes. Photographs
of bark, grass and earth have less than 0.05, bricks and planks more than 0.3."""
PROFILE_CORRELATION = 0.5
CELL_CORRELATION = 0.3
"""Correlation of a source with itself moved by one period. Irregular sources stay under 0.12, weaves pass 0.6."""
MOST_STRETCH = 0.12
"""A stretched brick looks better than a cut one, up to about an eighth."""
PERIOD_PIXELS = 6
MOST_HARMONICS = 16


@dataclass(frozen=True)
class Rhythm:
    """How often the layout repeats, (across, down); 0 where nothing repeats.

    torus: whole numbers, over the result. source: over the source once it is stretched to fit.
    """

    torus: tuple[int, int] = (0, 0)
    source: tuple[float, float] = (0.0, 0.0)

    def __bool__(self) -> bool:
        return any(self.torus)

    def coarsest(self, torus: Size) -> int:
        """The least shorter side, in pixels, of a level that can show the layout: a period needs six pixels there."""
        return max(math.ceil(PERIOD_PIXELS * c * min(torus) / side) for c, side in zip(self.torus, torus, strict=True))

    def source_phases(self, x: Places, y: Places, size: Size) -> Field:
        """`phases` of pixels of the source at a level where it has this size."""
        return phases(x, y, size, self.source)

    def torus_phases(self, x: Places, y: Places, size: Size) -> Field:
        """`phases` of pixels of the picture at a level where it has this size."""
        return phases(x, y, size, self.torus)


def phases(x: Places, y: Places, size: Size, cycles: tuple[float, float]) -> Field:
    """Where in its period a pixel lies, on circles: (n, 0, 2 or 4).

    Each direction that repeats gives a cosine and a sine. x, y: columns and rows, (n,). size: of the picture they are
    in. cycles: periods across it and down it.
    """
    turns = [2 * math.pi * c * (p + 0.5) / side for p, side, c in zip((x, y), size, cycles, strict=True) if c]
    return np.stack([f(turn) for turn in turns for f in (np.cos, np.sin)], axis=1) if turns else np.zeros((len(x), 0))


def find(source: Pixels) -> tuple[float | None, float | None]:
    """The source's horizontal and vertical period, in its own pixels; None where it has none."""
    scale = min(1.0, ANALYSIS_SIDE / min(source.shape[:2]))
    small = resize(source, round(source.shape[1] * scale), round(source.shape[0] * scale))
    grey = without_slow_parts(small.mean(axis=2).astype(np.float64))
    correlation = autocorrelation(grey)
    periods = []
    for axis in (1, 0):
        profile = grey.mean(axis=1 - axis)
        ridge = autocorrelation(profile[:, None])[:, 0]
        line = correlation[0] if axis == 1 else correlation[:, 0]
        period = first_period(line, CELL_CORRELATION)
        if period is None and profile.var() > PROFILE_SHARE * grey.var():
            period = first_period(ridge, PROFILE_CORRELATION)
        periods.append(None if period is None else period * source.shape[axis] / small.shape[axis])
    return periods[0], periods[1]


def without_slow_parts(grey: Field) -> Field:
    """The field less its plane of light: at most quadratic shading, fitted by least squares."""
    rows, columns = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    fitted = terms @ np.linalg.lstsq(terms, grey.ravel(), rcond=None)[0]
    flat: Field = grey - fitted.reshape(grey.shape)
    return flat


def autocorrelation(grey: Field) -> Field:
    """Correlation of a field with itself moved right and down by up to half its size; each overlap is normalised."""
    rows, columns = grey.shape
    shape = (2 * rows, 2 * columns)

    def correlate(a: Field, b: Field) -> Field:
        spectrum = np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape)
        return np.fft.irfft2(spectrum, shape)[: rows // 2 + 1, : columns // 2 + 1]

    ones = np.ones_like(grey)
    energy = correlate(grey**2, ones) * correlate(ones, grey**2)
    return correlate(grey, grey) / np.sqrt(np.maximum(energy, 1e-12))


def first_period(line: Field, least: float) -> float | None:
    """The shortest period of a correlation line (correlation at lag 0, 1, ...), refined over its multiples.

    None unless the correlation has a peak of at least `least`, after a lag at which it is clearly lower.
    """
    peaks = [
        lag
        for lag in range(SHORTEST, len(line) - 1)
        if line[lag] >= line[lag - 1]
        and line[lag] > line[lag + 1]
        and line[lag] >= least
        and line[lag] - line[:lag].min() > least
    ]
    if not peaks:
        return None
    best = max(line[lag] for lag in peaks)
    period = float(next(lag for lag in peaks if line[lag] >= 0.85 * best))
    multiple = 2
    while round(period * multiple) + 2 < len(line):
        around = round(period * multiple)
        window = line[around - 2 : around + 3]
        if window.max() < 0.5 * best:
            break
        period = (around - 2 + int(window.argmax())) / multiple
        multiple += 1
    return period


def fit(source: Pixels, torus: Size) -> tuple[Rhythm, Size]:
    """The rhythm of a source on a torus, and the size the source needs so that whole periods fit.

    A direction stays without rhythm when it has no period, would have to be stretched by more than 12%, or would leave
    the source fewer than 32 pixels.
    """
    size, counts = (source.shape[1], source.shape[0]), [0, 0]
    stretched = list(size)
    for i, period in enumerate(find(source)):
        count = round(torus[i] / period) if period else 0
        if not period or not count:
            continue
        stretch = torus[i] / (count * period)
        side = round(size[i] * stretch)
        if abs(stretch - 1) <= MOST_STRETCH and side >= SMALLEST_SIDE:
            counts[i], stretched[i] = count, side
    cycles = counts[0] * stretched[0] / torus[0], counts[1] * stretched[1] / torus[1]
    return Rhythm((counts[0], counts[1]), cycles), (stretched[0], stretched[1])


def repeating(source: Pixels, size: Size, rhythm: Rhythm) -> tuple[Field, Field]:
    """The part of a source that repeats, less the mean: on a torus of `size`, and on the source itself.

    source: (rows, columns, 3) at the level's scale. Each harmonic is the source's Fourier coefficient under a Hann
    window; with a rhythm in one direction only, the result is stripes.
    """
    rows, columns = source.shape[:2]
    orders_x, orders_y = (harmonics(side, count) for side, count in zip(size, rhythm.torus, strict=True))
    on_source = waves(columns, orders_x * rhythm.source[0]), waves(rows, orders_y * rhythm.source[1])
    on_torus = waves(size[0], orders_x * rhythm.torus[0]), waves(size[1], orders_y * rhythm.torus[1])
    window_x, window_y = np.hanning(columns + 2)[1:-1], np.hanning(rows + 2)[1:-1]
    coefficients = np.einsum(
        "ky,yxc,jx->kjc",
        on_source[1].conj() * window_y / window_y.sum(),
        source - source.mean(axis=(0, 1)),
        on_source[0].conj() * window_x / window_x.sum(),
        optimize=True,
    )
    coefficients[len(orders_y) // 2, len(orders_x) // 2] = 0  # the constant part
    there, here = (
        np.einsum("kjc,ky,jx->yxc", coefficients, y, x, optimize=True).real for x, y in (on_torus, on_source)
    )
    return there, here


def harmonics(side: int, count: int) -> Field:
    """The orders of the harmonics of `count` periods that a side can hold: both signs and zero."""
    most = min(MOST_HARMONICS, max(1, (side // count - 1) // 2)) if count else 0
    return np.arange(-most, most + 1, dtype=np.float64)


def waves(side: int, cycles: Field) -> npt.NDArray[np.complex128]:
    """Complex waves at the centres of `side` pixels, one row for each number of cycles: (cycles, side)."""
    turns: Field = np.outer(cycles, (np.arange(side) + 0.5) / side)
    wave: npt.NDArray[np.complex128] = np.exp(2j * math.pi * turns)
    return wave
