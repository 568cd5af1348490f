"""How good a synthesised texture is, in figures that need no trained weights and no second opinion.

Three distances say how far the result's look is from the source's, two more say whether that was honestly earned:

structure   which edges and rhythms occur together (joint statistics of oriented bands)
spectrum    how much detail there is at each size and direction
colour      which colours occur, and how often
copied      the share of the result lifted from the source in one piece
seam        the step across the wrap of the tiled result, over the largest usual step inside it

A distance means little by itself: two photographs of one wall differ too. So each is taken between equal-sized crops,
and placed between two landmarks of the same source: **0** is what two of its own disjoint crops differ by, **1** what
it differs by from something that shares nothing but the average: white noise with the source's colour covariance
(structure, spectrum), or the flat average colour (colour; the noise has nearly the right colours, and on a source whose
colours are about Gaussian it would make a unit of no length). Below 0 the result is more typical than a random crop.

Where the source itself varies from place to place, the two landmarks draw near each other and the figure loses its
meaning. `stationary` says for which figures that has not happened, and `share` is the figure to read where it has: the
share of pairs of source crops that differ more than the source and the result do. About 0.5 is perfect; 0 says that no
two parts of the source are so unlike each other.

Images are float32 arrays (height, width, 3) of sRGB values in [0, 1], each side at least 32 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

LEAST_SIDE = 32
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709
# The variance that rounding to 8 bits adds: what lies below cannot be seen in the saved picture.
ROUNDING = 1 / 12 / 255**2

# A crop is at most this share of the source, so that many pairs of them are disjoint, and at most this many pixels
# (time), in steps that the Fourier transform likes.
CROP_SHARE, CROP_LARGEST, CROP_STEP = 0.45, 224, 16
PAIRS, RESULT_CROPS, NOISE_CROPS = 10, 8, 3
OVERLAP = 0.1  # of a crop's area: crops sharing more than this are no evidence about the source's variety

ORIENTATIONS, LAG, DIRECTIONS, QUANTILES, COLOUR_SAMPLES = 4, 3, 16, 64, 8192
RADII, ANGLES = 10, 8
# The copy search: patch side, dimensions kept of a patch, points tried (each with its right and lower neighbour), and
# the patches of the source times points to afford (time).
PATCH, KEPT, POINTS, COPY_WORK = 5, 24, 384, 1.0e8

GATE = 0.2

STATISTICS = ("structure", "spectrum", "colour")


def periodic(channel: Array) -> Array:
    """`channel` less the smooth part that makes its opposite edges differ, and less its mean.

    A Fourier transform sees a cross of false frequencies where edges do not meet; this removes the cross and leaves the
    texture (Moisan, "Periodic plus smooth image decomposition", 2011). Nothing changes in an image that tiles.
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
    coarsest about five periods in the crop, at most five.
    """
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]
    octave = np.log2(np.maximum(np.hypot(fy, fx), 1e-6))
    angle = np.arctan2(fy, fx)
    turns = [np.clip(np.cos(angle - np.pi * k / ORIENTATIONS), 0, None) ** 3 for k in range(ORIENTATIONS)]
    scales = int(np.clip(np.floor(np.log2(side / 7)), 2, 5))
    return tuple(
        np.stack(turns).astype(np.float32)
        * np.cos(np.clip(octave + 1.5 + scale, -1, 1) * np.pi / 2).astype(np.float32)
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


def structure(luma: Array) -> list[Array]:
    """Which edges and rhythms occur together in a square crop of luminance, as three groups of correlations.

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
    return [
        together[np.triu_indices(len(together), 1)].astype(np.float32),
        np.concatenate([crossed.real.ravel(), crossed.imag.ravel()]).astype(np.float32),
        np.stack(echoes).ravel().astype(np.float32),
    ]


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
        pixels = image.reshape(-1, 3)
        mean = pixels.mean(0)
        power, axes = np.linalg.eigh(np.cov((pixels - mean).T.astype(np.float64)))
        spread = np.sqrt(np.maximum(power, 0))
        return Palette(mean, axes.astype(np.float32), spread.astype(np.float32))

    def noise(self, rng: Generator, side: int) -> Array:
        """White noise of these colours' mean and covariance, (side, side, 3); not clipped to [0, 1]."""
        white = rng.standard_normal((side, side, 3), np.float32)
        return (white * self.spread) @ self.axes.T + self.mean


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


def seam(image: Array) -> tuple[float, bool]:
    """The worst step across the wrap over the 98th percentile of the steps inside, and whether the wrap is a mirror.

    A step is the mean absolute difference of two neighbouring rows (or columns). The percentile and not the mean, since
    bricks and boards have legitimate big steps. A mirrored edge has far less of a step than the quietest 2% inside.
    """
    ratios, mirrored = [], False
    for axis in (0, 1):
        inside = np.abs(np.diff(image, axis=axis)).mean((1 - axis, 2))
        wrap = float(np.abs(np.take(image, 0, axis) - np.take(image, -1, axis)).mean())
        quiet, loud = np.percentile(inside, (2, 98))
        half_a_level = 0.5 / 255
        ratios.append((wrap + half_a_level) / (float(loud) + half_a_level))
        mirrored |= wrap < 0.5 * float(quiet)
    return max(ratios), mirrored


def coherence(source: Array, images: list[Array], apart: int, rng: Generator) -> list[float]:
    """For `source` itself and then each of `images`: the share of neighbouring patches lifted from it together.

    Each sampled 5x5 patch is matched to its nearest in all of the source (in their first KEPT principal components); it
    and a neighbour are coherent when their matches are neighbours in the same way (Ashikhmin 2001). A straight copy
    gives 1. The source's own patches may not match within `apart` pixels of themselves: theirs is the floor, what
    honest likeness of one part of the material to another gives.

    Exact but sampled: at most POINTS points an image, fewer for a source of over a quarter megapixel.
    """
    rows, columns = source.shape[0] - PATCH + 1, source.shape[1] - PATCH + 1
    count = int(np.clip(COPY_WORK / (rows * columns), POINTS // 4, POINTS))
    patches, places = [], []
    for image in (source, *images):
        y = rng.integers(0, image.shape[0] - PATCH, count)
        x = rng.integers(0, image.shape[1] - PATCH, count)
        for dy, dx in ((0, 0), (0, 1), (1, 0)):
            windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH, PATCH), (0, 1))
            patches.append(windows[y + dy, x + dx].reshape(count, -1))
            places.append(np.stack([y + dy, x + dx], -1))
    windows = np.lib.stride_tricks.sliding_window_view(source, (PATCH, PATCH), (0, 1))
    sample = windows[rng.integers(0, rows, 4096), rng.integers(0, columns, 4096)].reshape(4096, -1)
    mean = sample.mean(0)
    basis = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))[1][:, -KEPT:].astype(np.float32)
    wanted = (np.concatenate(patches) - mean) @ basis
    queries = np.concatenate([-2 * wanted, np.ones((len(wanted), 1), np.float32)], 1)

    best = np.full(len(queries), np.inf, np.float32)
    match = np.zeros(len(queries), np.intp)
    own = np.concatenate(places[:3])
    band = max(1, 4096 // columns)
    for top in range(0, rows, band):
        part = windows[top : top + band]
        found = (part.reshape(-1, mean.size) - mean) @ basis
        distance = queries @ np.concatenate([found, (found**2).sum(1, keepdims=True)], 1).T
        plane = distance.reshape(len(queries), len(part), columns)
        for query in np.flatnonzero((own[:, 0] > top - apart) & (own[:, 0] < top + len(part) + apart)):
            y, x = own[query]
            near = slice(max(0, y - apart + 1 - top), max(0, y + apart - top)), slice(max(0, x - apart + 1), x + apart)
            plane[query][near] = np.inf
        nearest = distance.argmin(1)
        value = distance[np.arange(len(queries)), nearest]
        better = value < best
        best[better], match[better] = value[better], nearest[better] + top * columns
    moved = np.stack(np.divmod(match, columns), -1) - np.concatenate(places)
    moved = moved.reshape(-1, 3, count, 2)
    together = (moved[:, 1:] == moved[:, :1]).all(-1)
    return [float(share) for share in together.mean((1, 2))]


@dataclass(frozen=True)
class _Look:
    figures: dict[str, float]
    share: dict[str, float]


@dataclass(frozen=True)
class _Judge:
    """What one source's crops say about themselves, and the comparison of others with them."""

    palette: Palette
    rng: Generator
    features: list[dict[str, list[Array]]]
    units: dict[str, list[float]]  # what each group of numbers of a statistic differs by from nothing in common
    floor: dict[str, float]  # in those units
    among: dict[str, Array]  # the distance of each pair of disjoint source crops, in those units

    @staticmethod
    def of(crops: list[Array], pairs: list[tuple[int, int]], palette: Palette, rng: Generator) -> _Judge:
        side = len(crops[0])
        features = [_features(crop, palette, rng) for crop in crops]
        noise = [_features(palette.noise(rng, side), palette, rng) for _ in range(NOISE_CROPS)]
        flat = _features(np.broadcast_to(palette.mean, (side, side, 3)), palette, rng)
        units: dict[str, list[float]] = {}
        among: dict[str, Array] = {}
        for name in STATISTICS:
            far = _distances(name, features, [flat] if name == "colour" else noise)
            units[name] = [max(float(unit), 1e-6) for unit in far.mean((1, 2))]
            near = _distances(name, features, features) / np.array(units[name], np.float32)[:, None, None]
            among[name] = np.array([near[:, i, j].mean() for i, j in pairs], np.float32)
        floor = {name: float(distances.mean()) for name, distances in among.items()}
        return _Judge(palette, rng, features, units, floor, among)

    def figure(self, name: str, distance: float) -> float:
        """0 at the floor, 1 at the unit; kept within -10 and 10, for a source so uneven that they coincide."""
        return float(np.clip((distance - self.floor[name]) / max(1 - self.floor[name], 1e-3), -10, 10))

    def compare(self, crops: list[Array]) -> _Look:
        features = [_features(crop, self.palette, self.rng) for crop in crops]
        figures, share = {}, {}
        for name in STATISTICS:
            apart = _distances(name, self.features, features) / np.array(self.units[name], np.float32)[:, None, None]
            distance = float(apart.mean())
            figures[name] = self.figure(name, distance)
            share[name] = float((self.among[name] >= distance).mean())
        return _Look(figures, share)

    @property
    def stationary(self) -> dict[str, bool]:
        return {name: self.floor[name] <= GATE for name in STATISTICS}

    @property
    def range(self) -> dict[str, list[float]]:
        ends = {name: np.percentile(self.among[name], (10, 90)) for name in STATISTICS}
        return {name: [self.figure(name, float(end)) for end in pair] for name, pair in ends.items()}


def _features(crop: Array, palette: Palette, rng: Generator) -> dict[str, list[Array]]:
    return {
        "structure": structure(crop @ LUMA),
        "spectrum": [spectrum(crop, palette)],
        "colour": [colour(crop, rng)],
    }


def _distances(name: str, some: list[dict[str, list[Array]]], others: list[dict[str, list[Array]]]) -> Array:
    """Mean absolute differences, (groups of numbers in the statistic, some, others)."""
    groups = []
    for group in range(len(some[0][name])):
        a, b = (np.stack([features[name][group] for features in side]) for side in (some, others))
        groups.append(np.stack([np.abs(b - row).mean(1) for row in a]))
    return np.stack(groups)


def _crop_side(source: Array, result: Array) -> int:
    side = min(CROP_SHARE * min(source.shape[:2]), min(result.shape[:2]), CROP_LARGEST)
    return max(CROP_STEP, int(side) // CROP_STEP * CROP_STEP)


def _disjoint(source: Array, side: int, rng: Generator) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Corners of 2 * PAIRS crops, and the pairs of them that overlap by at most OVERLAP.

    Drawn two by two, one beyond the other along a random axis, so that even where crops nearly fill the source there
    are PAIRS disjoint pairs.
    """
    corners: list[tuple[int, int]] = []
    for _ in range(PAIRS):
        axis = int(rng.integers(2))
        room = source.shape[axis] - 2 * side
        first, second = np.sort(rng.integers(0, room + 1, 2)) + (0, side)
        free = rng.integers(0, source.shape[1 - axis] - side + 1, 2)
        pair = [(int(first), int(free[0])), (int(second), int(free[1]))]
        corners += pair if axis == 0 else [(x, y) for y, x in pair]
    places = np.array(corners)
    common = np.clip(side - np.abs(places[:, None] - places[None]), 0, None).prod(-1)
    i, j = np.nonzero(np.triu(common <= OVERLAP * side * side, 1))
    return corners, [(int(a), int(b)) for a, b in zip(i, j, strict=True)]


def _somewhere(image: Array, side: int, rng: Generator) -> list[Array]:
    ys, xs = (rng.integers(0, image.shape[axis] - side + 1, RESULT_CROPS) for axis in (0, 1))
    return [image[y : y + side, x : x + side] for y, x in sorted({(int(y), int(x)) for y, x in zip(ys, xs, strict=True)})]


def _mirror_tile(source: Array) -> Array:
    """What a paint program's cheapest seamless tile would be: a quarter of the source and its three reflections."""
    height, width = (size // 2 for size in source.shape[:2])
    quarter = source[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    half = np.concatenate([quarter, quarter[::-1]], 0)
    return np.concatenate([half, half[:, ::-1]], 1)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def judged(figures, share, stationary, mirrored, tileable):
    return "", []


def measure(source: Array, result: Array, seed: int = 0, tileable: bool = True) -> dict[str, Any]:
    """Compare a synthesised texture with its source; see the module for what each figure means.

    The sizes may differ, the scale may not: give the source as large as the engine used it. Time does not grow with the
    result, and hardly with the source: about 1 s of CPU for 256x256, 4 s for 512x512. The same arguments give the same
    figures on the same machine. `tileable` says that the result is meant to be, so that `seam` is judged.

    Returns what `json.dumps` takes:
        figures     structure, spectrum, colour, copied, copied_floor, seam
        share       of structure, spectrum, colour: the share of source crop pairs that differ more than the result does
        range       of the same: the figures' 10th and 90th percentile over pairs of the source's own crops
        stationary  of the same: whether the source is even enough for the figure to be judged
        baselines   figures of other_crop, mirror_tile, white_noise
        crop        side of the compared crops, in pixels
        verdict     good, fair, poor or unmeasured, and `reasons` for it, one sentence each

    Raises ValueError for an array that is not (height, width, 3), has a side below 32 or holds no finite numbers.
    """
    for name, image in (("source", source), ("result", result)):
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < LEAST_SIDE:
            raise ValueError(f"the {name} has shape {image.shape}, not (height, width, 3) with sides of 32 or more")
        if not np.isfinite(image).all():
            raise ValueError(f"the {name} holds values that are not finite")
    source, result = (np.clip(image, 0, 1).astype(np.float32) for image in (source, result))
    rng = np.random.default_rng(seed)
    palette = Palette.of(source)
    side = _crop_side(source, result)
    tiled = _mirror_tile(source)
    noise = palette.noise(rng, max(side, LEAST_SIDE))

    corners, pairs = _disjoint(source, side, rng)
    crops = [source[y : y + side, x : x + side] for y, x in corners]
    judge = _Judge.of(crops, pairs, palette, rng)
    looks = {
        name: judge.compare(_somewhere(image, side, rng))
        for name, image in (("result", result), ("mirror_tile", tiled), ("white_noise", noise))
    }
    copied = coherence(source, [result, tiled, noise], side // 2, rng)
    floor = copied[0]
    crop = source[: source.shape[0] // 2, : source.shape[1] // 2]
    figures: dict[str, dict[str, float]] = {"other_crop": {name: 0.0 for name in STATISTICS} | {"copied": floor}}
    figures["other_crop"]["seam"] = seam(crop)[0]
    for (name, look), image, taken in zip(looks.items(), (result, tiled, noise), copied[1:], strict=True):
        figures[name] = look.figures | {"copied": taken, "seam": seam(image)[0]}
    mine = figures.pop("result") | {"copied_floor": floor}
    verdict, reasons = judged(mine, looks["result"].share, judge.stationary, seam(result)[1], tileable)
    return {
        "figures": _rounded(mine),
        "share": _rounded(looks["result"].share),
        "range": {name: [round(end, 4) for end in ends] for name, ends in judge.range.items()},
        "stationary": judge.stationary,
        "baselines": {name: _rounded(row) for name, row in figures.items()},
        "crop": side,
        "verdict": verdict,
        "reasons": reasons,
    }
