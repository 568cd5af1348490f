"""How far a texture's look is from its source's, beside how far parts of the source are from each other.

A picture is looked at through GRID x GRID crops, evenly spread. A *region* is a strip of them, a third to a half of a
square picture: the look of a region is the look of its crops taken together, which varies far less from place to place
than that of one crop. Regions of the source that share next to nothing, on opposite sides of it, make the *pairs*:
what two pieces of one material may differ by. A texture's regions are held against the source's regions in the same
way, so that like is compared with like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .appearance import Array, Look, Palette, colour, look, pooled, spectrum, structure

GRID = 4
# A crop is at most this share of the source, so that strips on opposite sides are disjoint, and at most this many
# pixels (time), in steps that the Fourier transform likes.
CROP_SHARE, CROP_LARGEST, CROP_STEP = 0.45, 224, 16
OVERLAP = 0.15  # of a crop's side: strips sharing more than this are no evidence about the source's variety
NOISE_CROPS = 4
SPANS = ((0, GRID), (0, GRID - 1), (1, GRID))  # which crops of a row or column of the grid a strip consists of

STATISTICS = ("structure", "spectrum", "colour")
FLAT = 1e-3  # a source without any variety has no unit of length; this stands for it, well above rounding errors

Vectors = dict[str, Array]
"""One vector a statistic, or several as rows."""


def crop_side(source: Array, result: Array) -> int:
    """The side of the compared crops, in pixels."""
    side = min(CROP_SHARE * min(source.shape[:2]), min(result.shape[:2]), CROP_LARGEST)
    return max(CROP_STEP, int(side) // CROP_STEP * CROP_STEP)


def corners(length: int, side: int) -> list[int]:
    """Where the GRID crops along one direction of a picture begin."""
    return [round(i * (length - side) / (GRID - 1)) for i in range(GRID)]


def crops(image: Array, side: int) -> list[Array]:
    """The GRID x GRID crops of a picture, row by row."""
    rows, columns = (corners(length, side) for length in image.shape[:2])
    return [image[y : y + side, x : x + side] for y in rows for x in columns]


def regions() -> list[tuple[int, int, list[int]]]:
    """Each region: the axis across which it is a strip, its place along that axis, the numbers of its crops."""
    grid = np.arange(GRID * GRID).reshape(GRID, GRID)
    return [
        (axis, place, [int(number) for number in np.take(grid, place, axis)[slice(first, last)]])
        for axis in (0, 1)
        for place in range(GRID)
        for first, last in SPANS
    ]


def pairs(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """The numbers of the regions that share at most OVERLAP of a crop's side."""
    starts = [corners(length, side) for length in shape[:2]]
    every = regions()
    return [
        (i, j)
        for i, (axis, place, _) in enumerate(every)
        for j, (other, beyond, _) in enumerate(every)
        if axis == other and starts[axis][beyond] - starts[axis][place] >= side * (1 - OVERLAP)
    ]


@dataclass(frozen=True)
class Reference:
    """What one source says about itself, and the comparison of others with it.

    side: of the crops, in pixels. vectors: of the source's regions, in units such that 1 is the distance from nothing
    in common. units: what turns a vector into those. among: the distances of the source's pairs; floor: their mean.
    """

    side: int
    palette: Palette
    vectors: Vectors
    units: dict[str, Array | float]
    among: Vectors
    floor: dict[str, float]

    @staticmethod
    def of(source: Array, side: int, rng: Generator) -> Reference:
        palette = Palette.of(source)
        looks = [look(crop, palette, rng) for crop in crops(source, side)]
        parts = vectors([pooled([looks[n] for n in region]) for *_, region in regions()], palette)
        noise = vectors([noise_look(palette, side, rng)], palette)
        flat = vectors([look(np.broadcast_to(palette.mean, (side, side, 3)), palette, rng)], palette)
        # Correlations that vary from place to place in the source itself say little, so each counts in units of its
        # own deviation. A few hardly vary at all; the median keeps those from counting for everything.
        deviation = np.stack([structure(seen) for seen in looks]).std(0)
        units: dict[str, Array | float] = dict.fromkeys(STATISTICS, 1.0)
        units["structure"] = 1 / (deviation + 0.25 * np.median(deviation) + 1e-4)
        among = {}
        for name in STATISTICS:
            far = (flat if name == "colour" else noise)[name]
            units[name] = units[name] / max(float((np.abs(parts[name] - far) * units[name]).mean()), FLAT)
            parts[name] = parts[name] * units[name]
            near = distances(parts[name], parts[name])
            among[name] = np.array([near[i, j] for i, j in pairs(source.shape, side)], np.float32)
        return Reference(side, palette, parts, units, among, {name: float(each.mean()) for name, each in among.items()})

    def compare(self, image: Array, rng: Generator) -> tuple[dict[str, float], dict[str, float]]:
        """A picture's figure of each statistic, and the share of source pairs that are further apart."""
        looks = [look(crop, self.palette, rng) for crop in crops(image, self.side)]
        return self.judge(vectors([pooled([looks[n] for n in region]) for *_, region in regions()], self.palette))

    def noise(self, rng: Generator) -> dict[str, float]:
        """The figures of white noise with the source's colours, about 1."""
        return self.judge(vectors([noise_look(self.palette, self.side, rng)], self.palette))[0]

    def judge(self, others: Vectors) -> tuple[dict[str, float], dict[str, float]]:
        """Figures and shares of regions described by these vectors."""
        apart = {
            name: float(distances(self.vectors[name], others[name] * self.units[name]).mean()) for name in STATISTICS
        }
        share = {name: float((self.among[name] >= distance).mean()) for name, distance in apart.items()}
        return {name: self.figure(name, distance) for name, distance in apart.items()}, share

    def figure(self, name: str, distance: float) -> float:
        """0 at the floor, 1 at the unit; kept within -10 and 10, for a source so uneven that they coincide."""
        return float(np.clip((distance - self.floor[name]) / max(1 - self.floor[name], 1e-3), -10, 10))

    def range(self, name: str) -> tuple[float, float]:
        """The figures of the 10th and the 90th of a hundred of the source's own pairs."""
        low, high = np.percentile(self.among[name], (10, 90))
        return self.figure(name, float(low)), self.figure(name, float(high))


def noise_look(palette: Palette, side: int, rng: Generator) -> Look:
    """The look of white noise with a source's colours."""
    return pooled([look(palette.noise(rng, side), palette, rng) for _ in range(NOISE_CROPS)])


def vectors(looks: list[Look], palette: Palette) -> Vectors:
    """What describes each look, one row a look."""
    return {
        "structure": np.stack([structure(seen) for seen in looks]),
        "spectrum": np.stack([spectrum(seen, palette) for seen in looks]),
        "colour": np.stack([colour(seen) for seen in looks]),
    }


def distances(some: Array, others: Array) -> Array:
    """Mean absolute differences of rows, (some, others)."""
    return np.stack([np.abs(others - row).mean(1) for row in some])
