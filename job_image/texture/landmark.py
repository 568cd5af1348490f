"""How much one place of a texture catches the eye: what a person finds at once when the texture is tiled.

Round each place, at three sizes of a Gaussian window, four things are taken: brightness, contrast and two colours. The
place stands out by its Mahalanobis distance from the picture's average place, in the covariance of the source's places;
that is the usual measure of visual salience without a model of the viewer (after Rosenholtz, "A simple saliency model
predicts a number of motion popout phenomena", 1999).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import Pixels, resize

Field = NDArray[np.floating[Any]]

SIDE = 128
"""Pictures are looked at as small as this many pixels (the root of the area): landmarks are large."""
SIZES = (2.0, 4.0, 8.0)
"""Deviations of the windows in those pixels: a window spans about a 20th, a 10th and a 5th of the texture's side."""
OPPONENT = np.array([[0.2126, 0.7152, 0.0722], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])
"""Luma of Rec. 709, red against green, yellow against blue."""


def landmark(source: Pixels, result: Pixels) -> float:
    """How far the most conspicuous place of a tileable texture stands out, over what is usual in its source.

    Usual is the median over the source's quarters of how far each one's most conspicuous place stands out. 1 is thus
    nothing that other pieces of the material would not show; at 1.5 a person finds the place in a 2x2 tiling at once.

    source, result: (height, width, 3) in [0, 1], at one scale, which decides the sizes of the windows.
    """
    scale = min(1.0, SIDE / np.sqrt(result.shape[0] * result.shape[1]))
    there, here = _places(source, scale, tiles=False), _places(result, scale, tiles=True)
    usual, found = [], []
    for theirs, own in zip(there, here, strict=True):
        inverse = np.linalg.inv(np.cov(theirs.reshape(-1, 4).T) + 1e-6 * np.eye(4))
        rows, columns = theirs.shape[0] // 2, theirs.shape[1] // 2
        quarters = [theirs[y : y + rows, x : x + columns] for y in (0, rows) for x in (0, columns)]
        usual.append([_farthest(quarter, inverse) for quarter in quarters])
        found.append(_farthest(own, inverse))
    return max(found) / max(float(np.median(np.max(usual, axis=0))), 1.0)


def _farthest(places: Field, inverse: Field) -> float:
    away = (places - places.mean((0, 1))).reshape(-1, 4)
    return float(np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away, optimize=True).max()))


def _places(image: Pixels, scale: float, tiles: bool) -> list[Field]:
    """For each size of window, what is round each place: (rows, columns, 4)."""
    luma, *colours = np.moveaxis(image @ OPPONENT.T, -1, 0)
    stack = np.stack([luma, luma**2, *colours], axis=-1).astype(np.float32)
    small = resize(stack, max(4, round(image.shape[1] * scale)), max(4, round(image.shape[0] * scale)))
    rows, columns = small.shape[:2]
    if not tiles:  # mirrored, a picture has no edges
        small = np.concatenate([small, small[::-1]], axis=0)
        small = np.concatenate([small, small[:, ::-1]], axis=1)
    spectrum = np.fft.rfft2(small, axes=(0, 1))
    square = np.fft.fftfreq(small.shape[0])[:, None] ** 2 + np.fft.rfftfreq(small.shape[1])[None] ** 2
    found: list[Field] = []
    for size in SIZES:
        window = np.exp(-2 * (np.pi * size) ** 2 * square)[..., None]
        means = np.fft.irfft2(spectrum * window, s=small.shape[:2], axes=(0, 1))[:rows, :columns]
        contrast = np.log(np.maximum(means[..., 1] - means[..., 0] ** 2, 1e-5)) / 2
        found.append(np.stack([means[..., 0], contrast, means[..., 2], means[..., 3]], axis=-1))
    return found
