"""Straight lines that no material has: where a tile's edges meet, and where pieces were laid side by side.

A *step* is the mean absolute difference of two neighbouring rows (or columns) of a picture, float32 (height, width, 3).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]

HALF_A_LEVEL = 0.5 / 255
AROUND = 6  # the steps on either side that say what is usual there


def seam(image: Array) -> tuple[float, bool]:
    """The worst step across the wrap over the 98th percentile of the steps inside, and whether the wrap is a mirror.

    The percentile and not the mean, since bricks and boards have legitimate big steps. A mirrored edge has far less of
    a step than the quietest 2% inside.
    """
    ratios, mirrored = [], False
    for axis in (0, 1):
        inside = _steps(image, axis)
        wrap = float(np.abs(np.take(image, 0, axis) - np.take(image, -1, axis)).mean())
        quiet, loud = np.percentile(inside, (2, 98))
        ratios.append((wrap + HALF_A_LEVEL) / (float(loud) + HALF_A_LEVEL))
        mirrored |= wrap < 0.5 * float(quiet)
    return max(ratios), mirrored


def lines(source: Array, image: Array) -> float:
    """How much the sharpest straight line inside a picture exceeds the sharpest inside its source.

    A line is a step over the median of the thirteen around it. Where blocks, strips or a rolled picture's old edges
    lie side by side, one stands out however well everything else is matched. About 1 is as the source; mortar and the
    gaps between boards are lines of the source's own, and set its scale.
    """
    rows, columns = (min(sides) for sides in zip(source.shape[:2], image.shape[:2], strict=True))
    return _sharpest(image) / _sharpest(source[:rows, :columns])


def _sharpest(image: Array) -> float:
    found = []
    for axis in (0, 1):
        steps = _steps(image, axis) + HALF_A_LEVEL
        around = sliding_window_view(np.pad(steps, AROUND, "reflect"), 2 * AROUND + 1)
        found.append(float((steps / np.median(around, axis=1)).max()))
    return max(found)


def _steps(image: Array, axis: int) -> Array:
    steps: Array = np.abs(np.diff(image, axis=axis)).mean((1 - axis, 2))
    return steps
