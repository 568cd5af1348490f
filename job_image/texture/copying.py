"""How much of a texture was lifted from its source in recognisable pieces."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

PATCH, KEPT = 5, 24
# How far apart two patches are asked whether they came together, in pixels. Next to each other, they nearly always do
# in the work of an honest synthesis by patches; this far apart, they do where a person can recognise the piece.
REACH = 16
# Points tried in an image, and the source's patches times points to afford: exact search, sampled so as to stay quick.
POINTS, WORK = 384, 6.0e7
SAMPLE, BAND = 4096, 4096  # patches the components are found from, and patches searched at once (under 80 MB)


def coherence(source: Array, images: list[Array], apart: int, rng: Generator) -> list[float]:
    """For `source` itself and then each of `images`: the share of patches lifted from it along with others.

    Each sampled 5x5 patch is matched to its nearest in all of the source (in their first KEPT principal components), as
    are the patches REACH pixels right of and below it; two came together when their matches lie as they do, give or
    take a pixel. This is the coherence of Ashikhmin (2001), asked over a distance. A straight copy gives 1. The
    source's own patches may not match within `apart` pixels of themselves: theirs is the floor, what a material gives
    that repeats itself.

    Exact search, but sampled: at most POINTS points an image, fewer for a large source. In images
    with a side below 4 * REACH, a quarter of that side is the distance.
    """
    rows, columns = source.shape[0] - PATCH + 1, source.shape[1] - PATCH + 1
    count = int(np.clip(WORK / (rows * columns), POINTS // 4, POINTS))
    patches, places = [], []
    for image in (source, *images):
        reach = min(REACH, min(image.shape[:2]) // 4)
        y = rng.integers(0, image.shape[0] - PATCH - reach + 1, count)
        x = rng.integers(0, image.shape[1] - PATCH - reach + 1, count)
        windows = sliding_window_view(image, (PATCH, PATCH), (0, 1))
        for dy, dx in ((0, 0), (0, reach), (reach, 0)):
            patches.append(windows[y + dy, x + dx].reshape(count, -1))
            places.append(np.stack([y + dy, x + dx], -1))
    windows = sliding_window_view(source, (PATCH, PATCH), (0, 1))
    sample = windows[rng.integers(0, rows, SAMPLE), rng.integers(0, columns, SAMPLE)].reshape(SAMPLE, -1)
    mean = sample.mean(0)
    basis = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))[1][:, -KEPT:].astype(np.float32)
    wanted = (np.concatenate(patches) - mean) @ basis
    queries = np.concatenate([-2 * wanted, np.ones((len(wanted), 1), np.float32)], 1)

    best = np.full(len(queries), np.inf, np.float32)
    match = np.zeros(len(queries), np.intp)
    own = np.concatenate(places[:3])
    band = max(1, BAND // columns)
    for top in range(0, rows, band):
        part = windows[top : top + band]
        found = (part.reshape(-1, mean.size) - mean) @ basis
        distance = queries @ np.concatenate([found, (found**2).sum(1, keepdims=True)], 1).T
        plane = distance.reshape(len(queries), len(part), columns)
        for query in np.flatnonzero((own[:, 0] > top - apart) & (own[:, 0] < top + len(part) + apart)):
            y, x = own[query] - (top, 0)
            plane[query, max(0, y - apart + 1) : y + apart, max(0, x - apart + 1) : x + apart] = np.inf
        nearest = distance.argmin(1)
        value = distance[np.arange(len(queries)), nearest]
        better = value < best
        best[better], match[better] = value[better], nearest[better] + top * columns
    moved = np.stack(np.divmod(match, columns), -1) - np.concatenate(places)
    moved = moved.reshape(-1, 3, count, 2)
    together = (np.abs(moved[:, 1:] - moved[:, :1]) <= 1).all(-1)
    return [float(share) for share in together.mean((1, 2))]
