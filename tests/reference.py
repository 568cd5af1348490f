"""Snelgrove's (2017) loss and its gradient once more, in float64 NumPy with the backward pass by hand.

Nothing here is shared with the engine: another pyramid, other convolutions, no automatic differentiation. A picture is
(rows, columns, 3) in the network's units; weights are as in `tests.vgg`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

Array = npt.NDArray[np.float64]
Kernels = Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
Masks = Mapping[tuple[int, str], npt.NDArray[np.bool_]]
"""For an octave and a convolution, which units are active, (rows, columns, channels)."""

LAYERS = (
    *("conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2"),
    *("conv3_1", "conv3_2", "conv3_3", "conv3_4", "pool3", "conv4_1"),
)


def shrinking(pixels: int) -> Array:
    """One axis of the Gaussian pyramid (Burt and Adelson, 1983) as a matrix: 5 taps, every second place, none outside."""
    filtered = correlate1d(np.eye(pixels), [0.05, 0.25, 0.4, 0.25, 0.05], axis=0, mode="constant")
    return np.asarray(filtered[2 : pixels - 2 : 2])


def shrunk(picture: Array) -> Array:
    down, across = (shrinking(pixels) for pixels in picture.shape[:2])
    return np.asarray(np.einsum("ir,rcd,jc->ijd", down, picture, across, optimize=True))


def grown(gradient: Array, rows: int, columns: int) -> Array:
    """The transpose of `shrunk`."""
    down, across = shrinking(rows), shrinking(columns)
    return np.asarray(np.einsum("ir,ijd,jc->rcd", down, gradient, across, optimize=True))


def convolved(x: Array, kernel: Array) -> Array:
    rows, columns = x.shape[0] - 2, x.shape[1] - 2
    return sum((x[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)), np.zeros(()))


def convolved_back(gradient: Array, kernel: Array) -> Array:
    rows, columns = gradient.shape[:2]
    found = np.zeros((rows + 2, columns + 2, kernel.shape[2]))
    for i in range(3):
        for j in range(3):
            found[i : i + rows, j : j + columns] += gradient @ kernel[i, j].T
    return found


def pooled(x: Array) -> Array:
    rows, columns, channels = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
    return np.asarray(x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, channels).mean((1, 3)))


def pooled_back(gradient: Array, shape: tuple[int, ...]) -> Array:
    found = np.zeros(shape)
    spread = gradient.repeat(2, 0).repeat(2, 1) / 4
    found[: spread.shape[0], : spread.shape[1]] = spread
    return found


def gram(features: Array) -> Array:
    flat = features.reshape(-1, features.shape[-1])
    return np.asarray(flat.T @ flat / flat.size)


def pyramid(picture: Array, octaves: int) -> list[Array]:
    levels = [np.asarray(picture, np.float64)]
    while len(levels) < octaves:
        levels.append(shrunk(levels[-1]))
    return levels


def outputs(level: Array, weights: Kernels, last: str, active: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, Array]:
    """What each layer up to `last` puts out, after the rectifier. active: see `Masks`; else a unit's sign decides."""
    found, x = {}, level
    for name in LAYERS[: LAYERS.index(last) + 1]:
        if name.startswith("pool"):
            x = pooled(x)
        else:
            kernel, bias = (one.astype(np.float64) for one in weights[name])
            x = convolved(x, kernel) + bias
            x = x * active.get(name, x > 0)
        found[name] = x
    return found


def grams(picture: Array, weights: Kernels, layers: Sequence[str], octaves: int) -> list[Array]:
    """The Gram matrices of a picture: for each octave, for each layer."""
    last = max(layers, key=LAYERS.index)
    seen = [outputs(level, weights, last, {}) for level in pyramid(picture, octaves)]
    return [gram(found[name]) for found in seen for name in layers]


def loss_and_gradient(
    picture: Array, weights: Kernels, layers: Sequence[str], wanted: Sequence[Array], masks: Masks | None = None
) -> tuple[float, Array]:
    """The squared Frobenius distance of the picture's Gram matrices from those wanted (as `grams` orders them), summed
    over octaves and layers, and its gradient. masks: which units to take as active, instead of those above zero."""
    octaves, last = len(wanted) // len(layers), max(layers, key=LAYERS.index)
    levels = pyramid(picture, octaves)
    total = 0.0
    gradient: Array = np.zeros((0, 0, 3))
    for octave in reversed(range(octaves)):
        active = {name: one for (where, name), one in (masks or {}).items() if where == octave}
        found = outputs(levels[octave], weights, last, active)
        back: Array = np.zeros(())
        for at in reversed(range(LAYERS.index(last) + 1)):
            name = LAYERS[at]
            if name in layers:
                features = found[name]
                apart = gram(features) - wanted[octave * len(layers) + layers.index(name)]
                total += float((apart**2).sum())
                back = back + 4 / features.size * features @ apart
            below = found[LAYERS[at - 1]] if at else levels[octave]
            if name.startswith("pool"):
                back = pooled_back(back, below.shape)
            else:
                back = convolved_back(back * active.get(name, found[name] > 0), weights[name][0].astype(np.float64))
        if octave < octaves - 1:
            back = back + grown(gradient, *levels[octave].shape[:2])
        gradient = back
    return total, gradient
