"""What a texture looks like, in numbers that need no trained weights: its structure, its spectrum, its colours.

Each function describes one square crop by a vector; the mean absolute difference of two such vectors is a distance.
Crops are float32 (side, side, 3) of sRGB values in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709
# The variance that rounding to 8 bits adds: what lies below cannot be seen in the saved picture.
ROUNDING = 1 / 12 / 255**2

ORIENTATIONS, SCALES, LAG = 4, 5, 3
RADII, ANGLES = 10, 8
DIRECTIONS, QUANTILES, COLOUR_SAMPLES = 16, 64, 8192


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


def structure(luma: Array) -> Array:
    """Which edges and rhythms occur together in a square crop of luminance, as one vector of correlations.

    After Portilla and Simoncelli (2000): correlations between the magnitudes of all oriented bands; correlations of
    each band's phase with the doubled phase of the next coarser, which tell edges from lines and where they lie; and
    each magnitude's autocorrelation at up to three of its own wavelengths.
    """
    spectrum = np.fft.fft2(periodic(luma))
    bands = [np.fft.ifft2(spectrum * gains).reshape(ORIENTATIONS, -1) for gains in _bands(len(luma))]
    sizes = [np.abs(band) for band in bands]
    flat = np.concatenate(sizes)
    flat = flat - flat.mean(1, keepdims=True)
    deviation = np.sqrt((flat**2).mean(1) + ROUNDING)
    together = (flat @ flat.T) / flat.shape[1] / np.outer(deviation, deviation)
    phases = []
    for fine, coarse, size in zip(bands[:-1], bands[1:], sizes[1:], strict=True):
        doubled = coarse**2 / np.sqrt(size**2 + ROUNDING)
        power = np.outer((np.abs(fine) ** 2).mean(1), (size**2).mean(1))
        phases.append((fine @ doubled.conj().T) / fine.shape[1] / np.sqrt(power + ROUNDING**2))
    echoes = []
    for scale in range(len(bands)):
        pixels = flat[scale * ORIENTATIONS : (scale + 1) * ORIENTATIONS].reshape(ORIENTATIONS, *luma.shape)
        thinned = pixels[:, :: 2**scale, :: 2**scale]
        power = np.abs(np.fft.rfft2(thinned)) ** 2
        echo = np.fft.irfft2(power, s=thinned.shape[1:]) / thinned[0].size
        near = np.take(np.take(echo, range(-LAG, LAG + 1), 1, mode="wrap"), range(LAG + 1), 2, mode="wrap")
        echoes.append(near / (echo[:, :1, :1] + ROUNDING))
    crossed = np.stack(phases)
    parts = (together[np.triu_indices(len(together), 1)], crossed.real, crossed.imag, np.stack(echoes))
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


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


def spectrum(crop: Array, palette: Palette) -> Array:
    """Decibels of detail at each size and direction in a square crop, along each of the source's colour axes.

    The mean power in each sector of the Fourier plane, as in the spectrum constraint of Liu, Gousseau and Xia (2016);
    each axis counts as much as the source varies along it.
    """
    used, where, count = _sectors(len(crop))
    weights = palette.spread / max(float(palette.spread.sum()), 1e-6)
    channels = (crop - palette.mean) @ palette.axes
    levels = []
    for axis in range(3):
        power = np.abs(np.fft.rfft2(periodic(np.ascontiguousarray(channels[..., axis]))).ravel()[used]) ** 2
        mean = np.bincount(where, power, count) / np.bincount(where, minlength=count) / crop[..., 0].size
        levels.append(weights[axis] * 10 * np.log10(mean + ROUNDING))
    return np.concatenate(levels).astype(np.float32) * 3


def colour(crop: Array, rng: Generator) -> Array:
    """Quantiles of the crop's colours along DIRECTIONS fixed directions of RGB: (DIRECTIONS * QUANTILES,).

    Their mean absolute difference is the sliced Wasserstein distance (Rabin et al. 2011; Bonneel et al. 2015).
    """
    pixels = crop.reshape(-1, 3)
    chosen = pixels[rng.choice(len(pixels), min(COLOUR_SAMPLES, len(pixels)), replace=False)]
    along = np.sort(chosen @ _directions(), axis=0)
    knots = (np.arange(QUANTILES) + 0.5) / QUANTILES * len(along)
    quantiles: Array = along[knots.astype(np.intp)].T.ravel()
    return quantiles


@lru_cache(maxsize=1)
def _directions() -> Array:
    """DIRECTIONS unit vectors evenly over the half-sphere of RGB (a Fibonacci lattice), as columns."""
    turn = np.arange(DIRECTIONS)
    height = (turn + 0.5) / DIRECTIONS
    angle = turn * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height]).astype(np.float32)
