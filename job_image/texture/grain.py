"""Grain that votes average away, given back where it was lost.

Where the matches of overlapping patches agree, their average is as sharp as they are; where each has grain of its own,
it is not. So fine grain is left too strong along edges and too weak on plain ground, and nothing that treats all places
alike mends that. But the votes themselves say what their average lacks: the mean of their squares is the square of
their mean and their variance. The picture's own fine detail is made stronger by as much. (Heitz and Neyret,
High-Performance By-Example Noise using a Histogram-Preserving Blending Operator, 2018, keep the variance of blended
textures in the same way, with the variance that independent ones would lose; here it is known.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import Pixels

Field = NDArray[np.floating[Any]]

FINE = 2.0
"""Pixels: deviation of the Gaussian that takes away what counts as detail. Coarser things are seen by matching."""
NEAR = 3.0
"""Pixels: deviation of the Gaussian over which power lost and power left are compared."""
MOST = 4.0
"""The largest gain."""
LEAST = 1e-6
"""Of power, in units of [-1, 1] squared; under what 8 bits can hold. Keeps the gain of plain places finite."""


def regained(picture: Pixels, lost: Field, strength: float = 1.0) -> Pixels:
    """The picture with its fine detail as strong, near each place, as that of the votes it is the average of.

    picture: (rows, columns, 3) on a torus, in [-1, 1]. lost: (rows, columns), the votes' variance at each pixel, summed
    over colours. strength: of what is given back, in decibels; 1 is all that was lost.
    """
    fine, power = np.empty_like(picture), np.zeros_like(picture[..., 0])
    for colour in range(3):  # one by one: these are the largest arrays of a large picture
        fine[..., colour] = picture[..., colour] - smooth(picture[..., colour], FINE)
        power += fine[..., colour] ** 2
    left = np.maximum(smooth(power, NEAR), 0) + LEAST
    gain = (1 + np.maximum(smooth(lost, NEAR), 0) / left) ** (strength / 2)
    fine *= (np.minimum(gain, MOST) - 1)[..., None]
    fine += picture
    return fine


def smooth(plane: Field, deviation: float) -> Field:
    """A plane on a torus, averaged with Gaussian weights; the deviation is in pixels."""
    down, across = np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None]
    passed = np.exp(-2 * (np.pi * deviation) ** 2 * (down**2 + across**2)).astype(np.float32)
    even: Field = np.fft.irfft2(np.fft.rfft2(plane) * passed, s=plane.shape)
    return even
