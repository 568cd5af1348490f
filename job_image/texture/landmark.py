"""How much one place of a texture catches the eye: what a person finds at once when the texture is tiled.

Round each place, through Gaussian windows of several sizes, things are taken that a person sees without looking for
them: brightness and two colours, and at three scales how strong the detail is and which way it runs, whatever its
phase. A place stands out by how far one of them, or brightness and colours together, lies from what is usual in the
rest of the picture, in units of how much that varies there. The idea is visual salience without a model of the viewer
(Rosenholtz, "A simple saliency model predicts a number of motion popout phenomena", 1999), made robust: places round
the one in question do not count, and what one place in twenty elsewhere has is usual.

That is what makes the figure agree with the eye. A stone among many stones is not found, a lone one is; and a bare
patch that takes a tenth of the picture does not hide itself by widening the average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import Pixels, resize, resize_torus

Field = NDArray[np.floating[Any]]

SIDE = 128
"""Pictures are looked at as small as this many pixels (the root of the area): landmarks are large."""
SIZES = (0.02, 0.03, 0.045, 0.07, 0.1)
"""Deviations of the windows, over the root of the tile's area: a window spans about a 12th to two fifths of a side."""
SCALES = (1 / 4, 1 / 8, 1 / 16)
"""Middle frequencies of the detail, in cycles a pixel of the small picture; each band is 0.6 octaves deep."""
DEPTH = 0.6
OPPONENT = np.array([[0.2126, 0.7152, 0.0722], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])
"""Luma of Rec. 709, red against green, yellow against blue."""
SEEN = ([0], [1], [2], [0, 1, 2], [3], [4, 5], [6], [7, 8], [9], [10, 11])
"""What is seen together: brightness, either colour, these together; of each scale its strength and its direction."""
VISIBLE = np.array([0.01, 0.005, 0.005] + 3 * [0.15, 0.1, 0.1])
"""The least difference that counts: of levels, of the logarithm of a strength, of a direction (1/2 is all one way).
Without it the most even pictures would have landmarks that nobody sees."""
USUAL = 0.05
"""The share of places on either side that is usual still."""
DEVIATIONS = 1.6449
"""Of a normal distribution, from the median to that share."""
ROUND = 0.2
"""Radius, over the root of the tile's area, of the places round one that do not count for it,
and neither do those that hang together with it."""
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST = 0.25
"""A landmark ends where it stands out half as much as in its middle, or nearer, if that were more of the picture."""
FINE = 1.5
"""Places are looked at so many to a window's deviation."""
BORDER = 1
"""Places so near the edge of a picture that does not tile are no middle of a landmark."""
FAINT = 1e-5
"""Power of detail that cannot be seen: keeps logarithms finite."""


@dataclass(frozen=True)
class Landmark:
    """The most conspicuous place of a picture.

    figure: see `landmark`. middle: its row and column in `spread`. spread: how far each place lies off in the same
    respect, over what this one does, on some small grid.
    """

    figure: float
    middle: tuple[int, int]
    spread: Field


def landmark(result: Pixels) -> float:
    """How far the most conspicuous place of a tileable texture, (height, width, 3) in [0, 1], stands out.

    1 is what the most conspicuous of as many places would, were they normally distributed. Above 1.6 a person finds the
    place in a 2x2 tiling at once; up to 1.4 hardly.
    """
    return most_conspicuous(result, float(np.sqrt(result.shape[0] * result.shape[1]))).figure


def most_conspicuous(image: Pixels, root: float, tiles: bool = True) -> Landmark:
    """The place of an image, (height, width, 3) in [0, 1], that stands out most.

    root: of the area of the tile that it is for, in the image's pixels. tiles: whether the image itself wraps.
    """
    scale = min(1.0, SIDE / root)
    rows, columns = (max(4, round(side * scale)) for side in image.shape[:2])
    shrunk = (resize_torus if tiles else resize)((image @ OPPONENT.T).astype(np.float32), columns, rows)
    signals = _signals(shrunk, tiles)
    spectrum = np.fft.rfft2(signals, axes=(0, 1))
    square = np.fft.fftfreq(signals.shape[0])[:, None] ** 2 + np.fft.rfftfreq(signals.shape[1])[None] ** 2
    best: Landmark | None = None
    for share in SIZES:
        size = share * root * scale
        window = np.exp(-2 * (np.pi * size) ** 2 * square)[..., None]
        step = max(1.0, size / FINE)
        down, across = max(8, round(rows / step)), max(8, round(columns / step))
        grid = (down, across) if tiles else (2 * down, 2 * across)
        seen = _seen(_sampled(spectrum * window, signals.shape[:2], grid)[:down, :across])
        places = rows * columns / (4 * np.pi * size**2)
        for which in SEEN:
            farthest, (y, x), spread = _farthest(seen[..., which], VISIBLE[which], ROUND * root * scale / step, tiles)
            figure = farthest / _expected(places, len(which))
            if best is None or figure > best.figure:
                best = Landmark(figure, (y, x), spread)
    assert best is not None
    return best


def _sampled(spectrum: NDArray[np.complexfloating[Any]], shape: tuple[int, ...], grid: tuple[int, int]) -> Field:
    """Smooth fields on a torus, given by the `rfft2` of their (rows, columns, k), on another grid."""
    (rows, columns), (down, across) = shape, grid
    down, across = min(rows, down), min(columns, across)
    kept = spectrum[np.r_[0 : (down + 1) // 2, rows - down // 2 : rows], : across // 2 + 1]
    sampled: Field = np.fft.irfft2(kept, s=(down, across), axes=(0, 1)) * (down * across / (rows * columns))
    return sampled


def _expected(places: float, together: int) -> float:
    """About the median of the largest of so many independent lengths of normal vectors with so many components.

    The tail of chi squared is exp(-z/2) z**(k/2 - 1) to first order; of one component both ends count.
    """
    tail = np.log(2 * max(places, 1.0)) * 2
    return float(np.sqrt(tail + (together - 1) * np.log(tail)))


def _signals(small: Field, tiles: bool) -> Field:
    """Brightness, colours, and of each scale the power of its detail and twice its direction: (rows, columns, 12).

    A picture that does not tile is mirrored, and what is seen in it is once more: directions do not turn at its edges.
    """
    if not tiles:
        small = _mirrored(small)
    down, across = np.fft.fftfreq(small.shape[0])[:, None], np.fft.rfftfreq(small.shape[1])[None]
    radius, angle = np.maximum(np.hypot(down, across), 1e-9), np.arctan2(down, across)
    spectrum = np.fft.rfft2(small[..., 0])
    spectrum[0, 0] = 0
    signals = [small[..., one] for one in range(3)]
    for middle in SCALES:
        band = spectrum * np.exp(-0.5 * (np.log2(radius / middle) / DEPTH) ** 2) * 1j
        # The Riesz transform: together its parts have the band's power, each in its direction, and no phase is lost.
        one, other = (np.fft.irfft2(band * part, s=small.shape[:2]) for part in (np.cos(angle), np.sin(angle)))
        signals += [one**2 + other**2, one**2 - other**2, 2 * one * other]
    stacked = np.stack(signals, axis=-1).astype(np.float32)
    return stacked if tiles else _mirrored(stacked[: small.shape[0] // 2, : small.shape[1] // 2])


def _mirrored(field: Field) -> Field:
    """A field and its mirror images, as a torus: it has no edges."""
    field = np.concatenate([field, field[::-1]], axis=0)
    return np.concatenate([field, field[:, ::-1]], axis=1)


def _seen(means: Field) -> Field:
    """Means of signals as a person judges them: powers as logarithms of strength, directions as shares."""
    seen = means.copy()
    for first in range(3, means.shape[-1], 3):
        power = np.maximum(means[..., first : first + 1], 0) + FAINT
        seen[..., first : first + 1] = np.log(power) / 2
        seen[..., first + 1 : first + 3] = means[..., first + 1 : first + 3] / power / 2
    return seen


def _farthest(seen: Field, visible: Field, reach: float, tiles: bool) -> tuple[float, tuple[int, int], Field]:
    """How far the place that stands out most lies from what is usual elsewhere, the place, and all distances, over its.

    It is the place that stands out most from the whole; once what hangs together with it no longer counts as usual,
    another may lie a little further off.
    """
    rows, columns = seen.shape[:2]
    first = _distances(seen, seen.reshape(-1, seen.shape[-1]), visible)
    inner = first.copy()
    if not tiles:  # by the edges, what is mirrored looks larger than it is
        down, across = (min(BORDER, side // 4) for side in (rows, columns))
        inner[:down] = inner[rows - down :] = inner[:, :across] = inner[:, columns - across :] = 0
    y, x = divmod(int(inner.argmax()), columns)
    down, across = np.abs(np.arange(rows) - y)[:, None], np.abs(np.arange(columns) - x)[None]
    if tiles:
        down, across = np.minimum(down, rows - down), np.minimum(across, columns - across)
    own = extent(first / max(first[y, x], 1e-9), (y, x), tiles)
    elsewhere = seen[(down**2 + across**2 > reach**2) & ~own]
    if len(elsewhere) < rows * columns / 4:
        elsewhere = seen.reshape(-1, seen.shape[-1])
    again = _distances(seen, elsewhere, visible)
    farthest = max(float(again[y, x]), 1e-9)
    return farthest, (y, x), again / farthest


def extent(spread: Field, middle: tuple[int, int], tiles: bool = True) -> NDArray[np.bool_]:
    """The places that stand out as a landmark does and hang together with its middle."""
    for edge in EDGES:
        out = spread > edge
        part = np.zeros_like(out)
        part[middle] = True
        while True:
            grown = grown_by_one(part, tiles) & out
            if grown.sum() == part.sum():
                break
            part = grown
        if part.mean() <= LARGEST:
            break
    return part


def grown_by_one(mask: NDArray[np.bool_], tiles: bool) -> NDArray[np.bool_]:
    """A mask and its neighbours down and across."""
    wide = np.pad(mask, 1, mode="wrap" if tiles else "constant")
    grown: NDArray[np.bool_] = mask | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return grown


def _distances(seen: Field, usual: Field, visible: Field) -> Field:
    """How far each place lies from the median of `usual`, (n, k), in deviations of the side on which it lies."""
    low, middle, high = np.quantile(usual, (USUAL, 0.5, 1 - USUAL), axis=0)
    away = seen - middle
    units = np.where(away > 0, high - middle, middle - low) / DEVIATIONS
    distances: Field = np.sqrt((away**2 / (units**2 + visible**2)).sum(-1))
    return distances
