"""Pieces: neighbouring patches of the picture whose matches lie together in the source, too.

Where they do, all of them say the same of each pixel, and nothing is averaged away: edges and grain are the source's
own. Matches found one by one seldom do, the less as only a part of the source's patches is drawn. So each patch is
offered what continues the piece of a neighbour (Ashikhmin, Synthesizing Natural Textures, 2001; spread over the picture
as in Barnes et al., PatchMatch, 2009), and takes it where that is the better match by the same weighted distance.

A piece must not grow until a person knows it again. A match that goes with the one LARGE pixels away costs DEAR times
as much, whether it was found or is offered.
"""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Values = TypeVar("Values", bound=np.generic)
Shifts = npt.NDArray[np.int32]
"""Of each patch of a grid, (down, across, 3): the number of the source that its match is in, and how far down and to
the right the match lies there from where the patch lies in the picture. One piece has one shift."""

BESIDE = ((0, -1), (-1, 0), (0, 1), (1, 0))
"""Neighbours, in patches (down, right)."""
LARGE = 16
"""Pixels between patches that are not to be of one piece."""
DEAR = 8.0
"""Times as much as its distance says. Without it a quarter of the bricks is copied; other values: docs/quality.md."""


def distances(step: int) -> tuple[int, ...]:
    """How many patches away those lie that are not to be of one piece, for patches every `step` pixels: on both sides
    of LARGE, where it is no multiple of the step."""
    return tuple(sorted({LARGE // step, math.ceil(LARGE / step)}))


def continued(shifts: Shifts, reach: int, rows: int, columns: int) -> Shifts:
    """The shifts with `reach` more patches on each side, taken from the opposite one of a torus of rows x columns
    pixels. There the picture's pixels count on, so that shifts change by a turn."""
    around = np.pad(shifts, ((reach, reach), (reach, reach), (0, 0)), mode="wrap")
    around[:reach, :, 1] += rows
    around[-reach:, :, 1] -= rows
    around[:, :reach, 2] += columns
    around[:, -reach:, 2] -= columns
    return around


def beside(around: npt.NDArray[Values], reach: int, away: tuple[int, int]) -> npt.NDArray[Values]:
    """What lies `away` (down, right; at most `reach`) of each patch: the part of a continued grid."""
    down, across = (side - 2 * reach for side in around.shape[:2])
    first, left = reach + away[0], reach + away[1]
    return around[first : first + down, left : left + across]


def large(shifts: Shifts, around: Shifts, reach: int, step: int) -> npt.NDArray[np.bool_]:
    """Whether a patch with this shift is of one piece with a patch too far away, give or take a pixel: (down, across).

    around: from `continued`, by at least the largest of `distances`.
    """
    found = np.zeros(shifts.shape[:2], np.bool_)
    for far in distances(step):
        for down, right in BESIDE:
            apart = np.abs(beside(around, reach, (far * down, far * right)) - shifts)
            found |= (apart[..., 0] == 0) & (apart[..., 1] <= 1) & (apart[..., 2] <= 1)
    return found
