"""How good a synthesised texture is, in figures that need no trained weights and no second opinion.

Three distances say how far the result's look is from the source's, two more say whether that was honestly earned:

structure   which edges and rhythms occur together (joint statistics of oriented bands)
spectrum    how much detail there is at each size and direction
colour      which colours occur, and how often
copied      the share of the result lifted from the source in pieces large enough to be recognised
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
from typing import Any

import numpy as np
from numpy.random import Generator

from .appearance import LUMA, Array, Palette, colour, spectrum, structure
from .copying import coherence

LEAST_SIDE = 32
# A crop is at most this share of the source, so that many pairs of them are disjoint, and at most this many pixels
# (time), in steps that the Fourier transform likes.
CROP_SHARE, CROP_LARGEST, CROP_STEP = 0.45, 224, 16
PAIRS, RESULT_CROPS, NOISE_CROPS = 10, 8, 3
OVERLAP = 0.1  # of a crop's area: crops sharing more than this are no evidence about the source's variety


STATISTICS = ("structure", "spectrum", "colour")
SEEN = {"structure": "edges and rhythms", "spectrum": "coarse and fine detail", "colour": "colours"}
FARTHEST = {"structure": "white noise", "spectrum": "white noise", "colour": "one flat colour"}
FLAT = 1e-3  # a source without any variety has no unit of length; this stands for it, well above rounding errors

# The limits of the verdict, (good, fair). Other pieces of the same material reach about 0.1. On most of eight textures,
# shuffled 32-pixel blocks, a blur of 1 pixel, noise of 0.05 and levels times 1.2 are each beyond good in some figure.
LIMITS = {"structure": (0.10, 0.20), "spectrum": (0.12, 0.30), "colour": (0.15, 0.30)}
GATE = 0.2  # a source whose own crops often differ by this much is uneven
UNEVEN = (0.10, 0.02)  # the least share of source pairs
COPIED = (0.15, 0.35)  # above the source's own
SEAM = (1.25, 1.60)


@dataclass(frozen=True)
class _Judge:
    """What one source's crops say about themselves, and the comparison of others with them.

    `units` weigh the numbers of each statistic such that 1 is the distance from nothing in common; `among` is the
    distance of each pair of disjoint source crops, and `floor` its mean.
    """

    features: list[dict[str, Array]]
    units: dict[str, Array | float]
    among: dict[str, Array]
    floor: dict[str, float]

    @staticmethod
    def of(crops: list[Array], pairs: list[tuple[int, int]], palette: Palette, rng: Generator) -> _Judge:
        side = len(crops[0])
        features = [_features(crop, palette, rng) for crop in crops]
        noise = [_features(palette.noise(rng, side), palette, rng) for _ in range(NOISE_CROPS)]
        flat = _features(np.broadcast_to(palette.mean, (side, side, 3)), palette, rng)
        # Correlations that vary from place to place in the source itself say little, so each counts in units of its
        # own deviation. A few hardly vary at all; the median keeps those from counting for everything.
        deviation = np.stack([crop["structure"] for crop in features]).std(0)
        units: dict[str, Array | float] = dict.fromkeys(STATISTICS, 1.0)
        units["structure"] = 1 / (deviation + 0.25 * np.median(deviation) + 1e-4)
        among = {}
        for name in STATISTICS:
            far = _distances(name, units, features, [flat] if name == "colour" else noise).mean()
            units[name] = units[name] / max(float(far), FLAT)
            near = _distances(name, units, features, features)
            among[name] = np.array([near[i, j] for i, j in pairs], np.float32)
        return _Judge(features, units, among, {name: float(pairs.mean()) for name, pairs in among.items()})

    def figure(self, name: str, distance: float) -> float:
        """0 at the floor, 1 at the unit; kept within -10 and 10, for a source so uneven that they coincide."""
        return float(np.clip((distance - self.floor[name]) / max(1 - self.floor[name], 1e-3), -10, 10))

    def compare(self, features: list[dict[str, Array]]) -> tuple[dict[str, float], dict[str, float]]:
        """The figure of each statistic, and the share of source pairs that are further apart."""
        apart = {name: float(_distances(name, self.units, self.features, features).mean()) for name in STATISTICS}
        share = {name: float((self.among[name] >= distance).mean()) for name, distance in apart.items()}
        return {name: self.figure(name, distance) for name, distance in apart.items()}, share

    def range(self, name: str) -> tuple[float, float]:
        """The figures of the 10th and the 90th of a hundred pairs of the source's own crops."""
        low, high = np.percentile(self.among[name], (10, 90))
        return self.figure(name, float(low)), self.figure(name, float(high))


def _features(crop: Array, palette: Palette, rng: Generator) -> dict[str, Array]:
    return {"structure": structure(crop @ LUMA), "spectrum": spectrum(crop, palette), "colour": colour(crop, rng)}


def _distances(
    name: str, units: dict[str, Array | float], some: list[dict[str, Array]], others: list[dict[str, Array]]
) -> Array:
    """Mean absolute differences of a statistic in its units, (some, others)."""
    a, b = (np.stack([features[name] for features in crops]) * units[name] for crops in (some, others))
    return np.stack([np.abs(b - row).mean(1) for row in a])


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
        first, second = np.sort(rng.integers(0, room + 1, 2)) + np.array((0, side))
        free = rng.integers(0, source.shape[1 - axis] - side + 1, 2)
        pair = [(int(first), int(free[0])), (int(second), int(free[1]))]
        corners += pair if axis == 0 else [(x, y) for y, x in pair]
    places = np.array(corners)
    common = np.clip(side - np.abs(places[:, None] - places[None]), 0, None).prod(-1)
    i, j = np.nonzero(np.triu(common <= OVERLAP * side * side, 1))
    return corners, [(int(a), int(b)) for a, b in zip(i, j, strict=True)]


def _somewhere(image: Array, side: int, rng: Generator) -> list[Array]:
    ys, xs = (rng.integers(0, image.shape[axis] - side + 1, RESULT_CROPS) for axis in (0, 1))
    return [
        image[y : y + side, x : x + side] for y, x in sorted({(int(y), int(x)) for y, x in zip(ys, xs, strict=True)})
    ]


def _mirror_tile(source: Array) -> Array:
    """What a paint program's cheapest seamless tile would be: a quarter of the source and its three reflections."""
    height, width = (size // 2 for size in source.shape[:2])
    quarter = source[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    half = np.concatenate([quarter, quarter[::-1]], 0)
    return np.concatenate([half, half[:, ::-1]], 1)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


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


def judged(report: dict[str, Any], mirrored: bool, tileable: bool) -> tuple[str, list[str]]:
    """The verdict on `measure`'s figures, and a sentence for each that is not good.

    The worst figure decides: no one of them ranks every defect rightly, but one of them is upset by each. Where the
    source is uneven in a statistic, `share` is judged instead of the figure.
    """
    grade, reasons, unmeasured = 0, [], []
    for name, (good, fair) in LIMITS.items():
        value, share = report["figures"][name], report["share"][name]
        if not report["stationary"][name]:
            reached = 0 if share >= UNEVEN[0] else 1 if share >= UNEVEN[1] else 2
            said = f"as only {share:.0%} of pairs of its own crops do; good is {UNEVEN[0]:.0%} or more"
        else:
            reached = 0 if value <= good else 1 if value <= fair else 2
            said = f"by {value:.3f}, where another crop differs by 0 and {FARTHEST[name]} by 1; good is up to {good}"
        if report["range"][name][1] >= 1:
            unmeasured.append(name)
            reasons.append(f"{name}: the source is too uneven, or too plain, to tell")
        elif reached:
            grade = max(grade, reached)
            reasons.append(f"{name}: {SEEN[name]} differ from the source's {said}")
    figures = report["figures"]
    extra = figures["copied"] - figures["copied_floor"]
    if extra > COPIED[0]:
        grade = max(grade, 1 if extra <= COPIED[1] else 2)
        reasons.append(
            f"copied: {figures['copied']:.0%} lifted from the source, where {figures['copied_floor']:.0%} is natural"
        )
    if tileable and figures["seam"] > SEAM[0]:
        grade = max(grade, 1 if figures["seam"] <= SEAM[1] else 2)
        reasons.append(
            f"seam: where the edges meet, the step is {figures['seam']:.2f} times the largest usual step inside; "
            f"good is up to {SEAM[0]}"
        )
    if tileable and mirrored:
        grade = 2
        reasons.append("seam: the edges mirror each other")
    if {"structure", "spectrum"} <= set(unmeasured) and grade < 2:
        return "unmeasured", reasons
    return ("good", "fair", "poor")[grade], reasons


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
    judge = _Judge.of([source[y : y + side, x : x + side] for y, x in corners], pairs, palette, rng)
    images = {"result": result, "mirror_tile": tiled, "white_noise": noise}
    floor, *copied = coherence(source, list(images.values()), side // 2, rng)
    figures, shares = {}, {}
    for (name, image), taken in zip(images.items(), copied, strict=True):
        looks = [_features(crop, palette, rng) for crop in _somewhere(image, side, rng)]
        figures[name], shares[name] = judge.compare(looks)
        figures[name] |= {"copied": taken, "seam": seam(image)[0]}
    figures["result"]["copied_floor"] = floor
    plain = source[: source.shape[0] // 2, : source.shape[1] // 2]
    other = dict.fromkeys(STATISTICS, 0.0) | {"copied": floor, "seam": seam(plain)[0]}
    report: dict[str, Any] = {
        "figures": _rounded(figures.pop("result")),
        "share": _rounded(shares["result"]),
        "range": {name: [round(end, 4) for end in judge.range(name)] for name in STATISTICS},
        "stationary": {name: judge.range(name)[1] <= GATE for name in STATISTICS},
        "baselines": {name: _rounded(row) for name, row in {"other_crop": other, **figures}.items()},
        "crop": side,
    }
    report["verdict"], report["reasons"] = judged(report, seam(result)[1], tileable)
    return report
