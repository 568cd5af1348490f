"""How large the picture is at each level of the coarse-to-fine run, and how large its sources are.

The numbers here and in `patches` and `sliced` come from our own trials on photographs of bark, grass and dirt and on
drawn bricks and cloth, at 256 and 512 pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .parameters import LARGEST_SIDE, SMALLEST_SIDE, Parameters

Size = tuple[int, int]
"""Width, height in pixels."""

COARSEST_SIDE = 32
SMALLEST_SOURCE_SIDE = 24
"""A source with a shorter side at some level has too few 7x7 patches to choose from, so that level is left out."""
RATIO = 1.4


@dataclass(frozen=True)
class Level:
    """One level: the size of the picture, the sizes of the sources, and the number of patch-matching iterations.

    finest: the last one, of the full size. full_area: of all sources at that one, in pixels.
    """

    index: int
    size: Size
    sources: tuple[Size, ...]
    iterations: int
    finest: bool = False
    full_area: int = 0

    @property
    def name(self) -> str:
        """The size as people write it: 256x128."""
        return f"{self.size[0]}x{self.size[1]}"


def source_sizes(originals: Sequence[Size], parameters: Parameters) -> tuple[Size, ...]:
    """The size each source is resized to before synthesis; aspect ratios are kept.

    By default a source larger in area than the result is shrunk to the result's area, because a texture made at a
    quarter of the source's scale is where this method is weakest; a smaller one is never blown up. `source_width`
    decides instead for the first source, and the others get its area. No side falls under 32 pixels on its own account.

    Raises ValueError when `source_width` leaves the first source fewer than 32 pixels high, or makes it larger than a
    square of the largest side.
    """
    area = float(parameters.width * parameters.height)
    if parameters.source_scale is not None:
        return tuple(times(size, parameters.source_scale) for size in originals)
    if parameters.source_width is not None:
        width, height = originals[0]
        asked = parameters.source_width, round(height * parameters.source_width / width)
        if asked[1] < SMALLEST_SIDE:
            raise ValueError(
                f"source_width {asked[0]} makes the {width}x{height} source {asked[1]} pixels high; "
                f"at least {SMALLEST_SIDE} are needed"
            )
        if asked[0] * asked[1] > LARGEST_SIDE**2:
            raise ValueError(
                f"source_width {asked[0]} makes the {width}x{height} source {asked[1]} pixels high; "
                f"at most {LARGEST_SIDE**2 // asked[0]} go with it"
            )
        return asked, *(fit_area(size, asked[0] * asked[1]) for size in originals[1:])
    return tuple(fit_area(size, min(area, size[0] * size[1])) for size in originals)


def times(size: Size, factor: float) -> Size:
    """A size times a factor. Raises ValueError when that is no size a source can have."""
    width, height = round(size[0] * factor), round(size[1] * factor)
    if min(width, height) < SMALLEST_SIDE or width * height > LARGEST_SIDE**2:
        raise ValueError(
            f"a {size[0]}x{size[1]} source times {factor:g} is {width}x{height} pixels; a source needs "
            f"at least {SMALLEST_SIDE} a side, and at most {LARGEST_SIDE}x{LARGEST_SIDE} in all"
        )
    return width, height


def fit_area(size: Size, area: float) -> Size:
    """A size of the same aspect ratio and about this area, with no side under 32 pixels."""
    scale = max(math.sqrt(area / (size[0] * size[1])), SMALLEST_SIDE / min(size))
    return round(size[0] * scale), round(size[1] * scale)


def schedule(width: int, height: int, sources: Sequence[Size], coarsest: int = COARSEST_SIDE) -> list[Level]:
    """The levels, coarse to fine; the last one has the full size.

    Shorter sides grow geometrically from `coarsest` pixels by about 1.4, rounded to even numbers (for 256: 32, 46, 64,
    90, 128, 182, 256), with iterations falling linearly from 10 to 3. Levels whose sources would be under 24 pixels are
    left out.
    """
    shorter = min(width, height)
    first = max(coarsest, math.ceil(SMALLEST_SOURCE_SIDE * shorter / min(min(size) for size in sources)))
    first = min(first, shorter)
    steps = round(math.log(shorter / first, RATIO))
    sides = [first * (shorter / first) ** (i / steps) for i in range(steps)] if steps else []
    factors = [2 * round(side / 2) / shorter for side in sides] + [1.0]
    return [
        Level(
            index=i,
            size=scaled((width, height), factor, COARSEST_SIDE if shorter >= COARSEST_SIDE else 1),
            sources=tuple(scaled(size, factor, min(SMALLEST_SOURCE_SIDE, *size)) for size in sources),
            iterations=round(10 - 7 * i / (len(factors) - 1)) if len(factors) > 1 else 10,
            finest=i == len(factors) - 1,
            full_area=sum(w * h for w, h in sources),
        )
        for i, factor in enumerate(factors)
    ]


def scaled(size: Size, factor: float, least: int) -> Size:
    """A size times a factor, no side under `least`."""
    return max(least, round(size[0] * factor)), max(least, round(size[1] * factor))
