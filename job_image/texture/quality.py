"""How good a synthesised texture is, in figures that need no trained weights and no second opinion.

Three distances say how far the result's look is from the source's, the rest whether that was honestly earned:

structure   which edges and rhythms occur together (joint statistics of oriented bands)
spectrum    how much detail there is at each size and direction
colour      which colours occur, and how often
copied      the share of the result lifted from the source in pieces large enough to be recognised
seam        the step across the wrap of the tiled result, over the largest usual step inside it
lines       the sharpest straight line inside (the edges of blocks, say), over the sharpest of the source's own
landmark    how far the most conspicuous place of the tiling stands out from what is usual in the rest

A distance means little by itself: two photographs of one wall differ too. So each is taken between equal-sized strips
(`comparison`), and placed between two points of the same source: **0** is what strips on opposite sides of it differ
by, **1** what it differs by from something that shares nothing but the average: white noise with the source's colour
covariance (structure, spectrum), or the flat average colour (colour; the noise has nearly the right colours, and on a
source whose colours are about Gaussian it would make a unit of no length). Below 0 the result is more typical of the
source than its sides are of each other.

Where the source itself varies from place to place, the two points draw near each other and the figure loses its
meaning. `stationary` says for which figures that has not happened, and `share` is the figure to read where it has: the
share of the source's pairs of strips that differ more than the source and the result do. About 0.5 is perfect; 0 says
that no two parts of the source are so unlike each other.

Images are float32 arrays (height, width, 3) of sRGB values in [0, 1], each side at least 32 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .appearance import Array
from .comparison import STATISTICS, Reference, crop_side
from .copying import coherence
from .images import middle
from .landmark import landmark, most_conspicuous
from .seams import lines, seam

LEAST_SIDE = 32

SEEN = {"structure": "edges and rhythms", "spectrum": "coarse and fine detail", "colour": "colours"}
FARTHEST = {"structure": "white noise", "spectrum": "white noise", "colour": "one flat colour"}

# The limits of the verdict, (good, fair). Other pieces of the same material reach about 0.1. On most of eight textures,
# shuffled 32-pixel blocks, a blur of 1 pixel, noise of 0.05 and levels times 1.2 are each beyond good in some figure.
LIMITS = {"structure": (0.10, 0.20), "spectrum": (0.12, 0.30), "colour": (0.15, 0.30)}
GATE = 0.2  # a source whose own crops often differ by this much is uneven
UNEVEN = (0.10, 0.02)  # the least share of source pairs
COPIED = (0.15, 0.35)  # above the source's own
SEAM = (1.25, 1.60)
LINES = (1.30, 1.60)


def _mirror_tile(source: Array) -> Array:
    """What a paint program's cheapest seamless tile would be: a quarter of the source and its three reflections."""
    height, width = (size // 2 for size in source.shape[:2])
    quarter = source[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    half = np.concatenate([quarter, quarter[::-1]], 0)
    return np.concatenate([half, half[:, ::-1]], 1)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


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
    if figures["lines"] > LINES[0]:
        grade = max(grade, 1 if figures["lines"] <= LINES[1] else 2)
        reasons.append(
            f"lines: a straight line inside stands out {figures['lines']:.2f} times as much as any of the source's; "
            f"good is up to {LINES[0]}"
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
        figures     structure, spectrum, colour, copied, copied_floor, seam, lines, landmark
        share       of structure, spectrum, colour: the share of source pairs that differ more than the result does
        range       of the same: the figures' 10th and 90th percentile over the source's own pairs
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
    side = crop_side(source, result)
    reference = Reference.of(source, side, rng)
    noise = reference.palette.noise(rng, max(side, LEAST_SIDE))
    images = {"result": result, "mirror_tile": _mirror_tile(source)}
    floor, *copied = coherence(source, [*images.values(), noise], side // 2, rng)
    figures, shares = {}, {}
    root = float(np.sqrt(result.shape[0] * result.shape[1]))
    for name, image in images.items():
        figures[name], shares[name] = reference.compare(image, rng)
    figures["white_noise"] = reference.noise(rng)
    for (name, image), taken in zip({**images, "white_noise": noise}.items(), copied, strict=True):
        figures[name] |= {"copied": taken, "seam": seam(image)[0], "lines": lines(source, image)}
        figures[name]["landmark"] = landmark(image)
    figures["result"]["copied_floor"] = floor
    plain = source[: source.shape[0] // 2, : source.shape[1] // 2]
    other = dict.fromkeys(STATISTICS, 0.0) | {"copied": floor, "seam": seam(plain)[0], "lines": 1.0}
    other["landmark"] = most_conspicuous(middle(source, 2 * round(root)), root, tiles=False).figure
    report: dict[str, Any] = {
        "figures": _rounded(figures.pop("result")),
        "share": _rounded(shares["result"]),
        "range": {name: [round(end, 4) for end in reference.range(name)] for name in STATISTICS},
        "stationary": {name: reference.range(name)[1] <= GATE for name in STATISTICS},
        "baselines": {name: _rounded(row) for name, row in {"other_crop": other, **figures}.items()},
        "crop": side,
    }
    report["verdict"], report["reasons"] = judged(report, seam(result)[1], tileable)
    return report
