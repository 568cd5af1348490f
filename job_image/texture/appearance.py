"""What a texture looks like, in numbers that need no trained weights: its structure, its spectrum, its colours.

A `Look` holds what adds up over square crops, so that any part of a picture has one. `structure`, `spectrum` and
`colour` describe a look by a vector each; the mean absolute difference of two such vectors is a distance. Crops are
float32 (side, side, 3) of sRGB values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709
# The variance that rounding to 8 bits adds: what lies below cannot be seen in the saved picture.
ROUNDING = 1 / 12 / 255**2

ORIENTATIONS, SCALES, LAG = 4, 5, 3
RADII, ANGLES = 10, 8
THINNED = 160
DIRECTIONS, BINS, COLOUR_SAMPLES = 16, 512, 8192


def periodic(channel: Array) -> Array:
    """`channel` less the smooth part that makes its opposite edges differ, and less its mean.

    A Fourier transform sees a cross of false frequencies where edges do not meet; this removes the cross and leaves the
    texture (Moisan, "Periodic plus smooth image decomposition", 2011). An image that tiles hardly changes.
    """
    height, width = channel.shape
    jumps = np.zeros_like(channel)
    jumps[0] += channel[-1] - channel[0]
    jumps[-1] += channel[0] - channel[-1]
    jumps[:, 0] += channel[:, -1] - channel[:, 0]
    jumps[:, -1] += channel[:, 0] - channel[:, -1]
    y, x = np.cos(2 * np.pi * np.fft.fftfreq(height)), np.cos(2 * np.pi * np.fft.rfftfreq(width))
    laplacian = 2 * y[:, None] + 2 * x[None, :] - 4
    laplacian[0, 0] = 1
    smooth = np.fft.rfft2(jumps) / laplacian.astype(np.float32)
    smooth[0, 0] = 0
    even: Array = channel - channel.mean() - np.fft.irfft2(smooth, s=channel.shape).astype(np.float32)
    return even


@lru_cache(maxsize=8)
def _bands(side: int) -> tuple[Array, ...]:
    """Fourier gains of analytic oriented bands an octave apart, finest first: one (ORIENTATIONS, side, side) a scale.

    A raised cosine over log2 of the frequency times cos**3 of the angle on one half-plane: the steerable pyramid of
    Simoncelli and Freeman (1995) in the complex form of Portilla and Simoncelli (2000). As many scales as leave the
    coarsest about five periods in the crop, at most SCALES.
    """
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]
    octave = np.log2(np.maximum(np.hypot(fy, fx), 1e-6))
    angle = np.arctan2(fy, fx)
    turns = [np.clip(np.cos(angle - np.pi * k / ORIENTATIONS), 0, None) ** 3 for k in range(ORIENTATIONS)]
    scales = int(np.clip(np.floor(np.log2(side / 7)), 2, SCALES))
    return tuple(
        np.stack(turns).astype(np.float32) * np.cos(np.clip(octave + 1.5 + scale, -1, 1) * np.pi / 2).astype(np.float32)
        for scale in range(scales)
    )


@lru_cache(maxsize=8)
def _sectors(side: int) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Which coefficients of an `rfft2` to use, which of RADII x ANGLES sectors each falls in, and the sector count.

    Radii are evenly spaced in log frequency from one and a half periods a crop to Nyquist; empty sectors are left out.
    """
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.hypot(fy, fx) * side / 1.5
    ring = np.floor(RADII * np.log(np.maximum(radius, 1e-6)) / np.log(side / 2 / 1.5) * (1 - 1e-6)).astype(np.intp)
    sector = np.floor((np.arctan2(fy, fx) / np.pi + 0.5) * ANGLES).astype(np.intp) % ANGLES
    used = np.flatnonzero((ring >= 0) & (ring < RADII))
    labels, where = np.unique((ring * ANGLES + sector).ravel()[used], return_inverse=True)
    return used, where.astype(np.intp), len(labels)


@dataclass(frozen=True)
class Palette:
    """The colours of the source: what spectrum and colour are expressed in.

    `axes` (3, 3) are the principal axes as columns, `spread` (3,) the deviation along each; after Heeger and Bergen
    (1995), who match textures in these axes.
    """

    mean: Array
    axes: Array
    spread: Array

    @staticmethod
    def of(image: Array) -> Palette:
        """The colours of an image (height, width, 3)."""
        pixels = image.reshape(-1, 3)
        mean = pixels.mean(0)
        power, axes = np.linalg.eigh(np.cov((pixels - mean).T.astype(np.float64)))
        spread = np.sqrt(np.maximum(power, 0))
        return Palette(mean, axes.astype(np.float32), spread.astype(np.float32))

    def noise(self, rng: Generator, side: int) -> Array:
        """White noise of these colours' mean and covariance, (side, side, 3); not clipped to [0, 1]."""
        white = rng.standard_normal((side, side, 3), np.float32)
        colours: Array = ((white * self.spread) @ self.axes.T + self.mean).astype(np.float32)
        return colours


class Look(NamedTuple):
    """What a crop looks like, in means over its pixels: the look of several crops is the mean of their looks.

    sizes: covariances of the magnitudes of all oriented bands, (bands, bands).
    phases: mean products of each band with the next coarser one at doubled phase, (scales - 1, 4, 4), complex; and
    power: the mean power of each band, (bands,).
    echoes: autocovariance of each magnitude at up to three of its own wavelengths, (scales, 4, 7, 4).
    detail: mean power in each sector of the Fourier plane, for each of the source's colour axes, (3, sectors).
    colours: the share of pixels below each of BINS steps along each of DIRECTIONS directions of RGB, times the length
        of RGB along the direction, (DIRECTIONS, BINS).
    """

    sizes: Array
    phases: NDArray[np.complex64]
    power: Array
    echoes: Array
    detail: Array
    colours: Array


def look(crop: Array, palette: Palette, rng: Generator) -> Look:
    """The look of one square crop, (side, side, 3)."""
    return Look(*_edges(crop @ LUMA), _detail(crop, palette), _colours(crop, rng))


def pooled(looks: Sequence[Look]) -> Look:
    """The look of several crops of one size, taken together."""
    return Look(*(np.mean(parts, axis=0) for parts in zip(*looks, strict=True)))


def _edges(luma: Array) -> tuple[Array, NDArray[np.complex64], Array, Array]:
    """`sizes`, `phases`, `power` and `echoes` of a look."""
    side = len(luma)
    spectrum = np.fft.fft2(periodic(luma))
    # Means over every second pixel each way are as good where pixels are many. There, coarse bands are made on the
    # smaller grid: from the third octave on they have no frequency that it cannot hold.
    thin = 2 if side >= THINNED and side % 4 == 0 else 1
    kept = np.r_[0 : side // 4, side - side // 4 : side]
    bands, sizes, echoes = [], [], []
    for scale, gains in enumerate(_bands(side)):
        band, step = spectrum * gains, 1
        if thin > 1 and scale >= 2:
            band, step = band[:, kept][:, :, kept] / thin**2, thin
        band = np.fft.ifft2(band)
        every = 2**scale // step
        echoes.append(_echo(np.abs(band[:, ::every, ::every])))
        bands.append(band[:, :: thin // step, :: thin // step].reshape(ORIENTATIONS, -1))
        sizes.append(np.abs(bands[-1]))
    phases = [
        np.einsum("ip,jp->ij", fine, (coarse**2 / np.sqrt(size**2 + ROUNDING)).conj()) / fine.shape[1]
        for fine, coarse, size in zip(bands[:-1], bands[1:], sizes[1:], strict=True)
    ]
    flat = np.concatenate(sizes)
    power = (flat**2).mean(1)
    flat -= flat.mean(1, keepdims=True)
    # Summed by einsum: for products this flat, a linear algebra library's threads cost more than they do.
    together: Array = np.einsum("ip,jp->ij", flat, flat) / flat.shape[1]
    return together, np.stack(phases), power, np.stack(echoes)


def _echo(sizes: Array) -> Array:
    """Autocovariances of magnitudes, (4, rows, columns), at lags -LAG ... LAG down and 0 ... LAG across."""
    even = sizes - sizes.mean((1, 2), keepdims=True)
    echo = np.fft.irfft2(np.abs(np.fft.rfft2(even)) ** 2, s=even.shape[1:]) / even[0].size
    near: Array = np.take(np.take(echo, range(-LAG, LAG + 1), 1, mode="wrap"), range(LAG + 1), 2, mode="wrap")
    return near


def _detail(crop: Array, palette: Palette) -> Array:
    used, where, count = _sectors(len(crop))
    channels = (crop - palette.mean) @ palette.axes
    even = np.stack([periodic(np.ascontiguousarray(channels[..., axis])) for axis in range(3)])
    power = (np.abs(np.fft.rfft2(even)) ** 2).reshape(3, -1)[:, used] / even[0].size
    inside = np.bincount(where, minlength=count)
    return np.stack([np.bincount(where, row, count) / inside for row in power]).astype(np.float32)


def _colours(crop: Array, rng: Generator) -> Array:
    pixels = crop.reshape(-1, 3)
    chosen = pixels[rng.integers(0, len(pixels), COLOUR_SAMPLES)] if len(pixels) > COLOUR_SAMPLES else pixels
    directions = _directions()
    least, most = np.minimum(directions, 0).sum(0), np.maximum(directions, 0).sum(0)
    steps = np.clip((chosen @ directions - least) / (most - least) * BINS, 0, BINS - 1).astype(np.intp)
    counts = np.bincount((steps + np.arange(DIRECTIONS) * BINS).ravel(), minlength=DIRECTIONS * BINS)
    below: Array = (counts.reshape(DIRECTIONS, BINS).cumsum(1) / len(chosen) * (most - least)[:, None]).astype(
        np.float32
    )
    return below


def structure(seen: Look) -> Array:
    """Which edges and rhythms occur together, as one vector of correlations.

    After Portilla and Simoncelli (2000): correlations between the magnitudes of all oriented bands; correlations of
    each band's phase with the doubled phase of the next coarser, which tell edges from lines and where they lie; and
    each magnitude's autocorrelation at up to three of its own wavelengths.
    """
    deviation = np.sqrt(np.diag(seen.sizes) + ROUNDING)
    together = (seen.sizes / np.outer(deviation, deviation))[np.triu_indices(len(deviation), 1)]
    power = seen.power.reshape(-1, ORIENTATIONS)
    crossed = seen.phases / np.sqrt(power[:-1, :, None] * power[1:, None, :] + ROUNDING**2)
    echoes = seen.echoes / (seen.echoes[:, :, LAG : LAG + 1, :1] + ROUNDING)
    parts = (together, crossed.real, crossed.imag, echoes)
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def spectrum(seen: Look, palette: Palette) -> Array:
    """Decibels of detail at each size and direction, along each of the source's colour axes.

    The mean power in each sector of the Fourier plane, as in the spectrum constraint of Liu, Gousseau and Xia (2016);
    each axis counts as much as the source varies along it.
    """
    weights = 3 * palette.spread / max(float(palette.spread.sum()), 1e-6)
    levels: Array = (weights[:, None] * 10 * np.log10(seen.detail + ROUNDING)).astype(np.float32).ravel()
    return levels


def colour(seen: Look) -> Array:
    """The distribution of colours along each of DIRECTIONS directions of RGB.

    The mean absolute difference of two such vectors is the area between distribution functions, which is the sliced
    Wasserstein distance (Rabin et al. 2011; Bonneel et al. 2015).
    """
    return seen.colours.ravel()


@lru_cache(maxsize=1)
def _directions() -> Array:
    """DIRECTIONS unit vectors evenly over the half-sphere of RGB (a Fibonacci lattice), as columns."""
    turn = np.arange(DIRECTIONS)
    height = (turn + 0.5) / DIRECTIONS
    angle = turn * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height]).astype(np.float32)
