"""Ways to spoil a picture that a person ranks at a glance: what the measure of quality is held against.

After the calibration table of the project's design: each takes float32 (height, width, 3) in [0, 1] and gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job_image.texture.appearance import Palette

Image = NDArray[np.float32]


def rolled(image: Image) -> Image:
    """The picture itself, begun elsewhere."""
    return np.roll(image, (image.shape[0] // 3, image.shape[1] // 4), (0, 1))


def mirrored(image: Image) -> Image:
    """The first quarter and its three reflections."""
    quarter = image[: image.shape[0] // 2, : image.shape[1] // 2]
    half = np.concatenate([quarter, quarter[::-1]], 0)
    return np.concatenate([half, half[:, ::-1]], 1)


def shuffled(image: Image, side: int) -> Image:
    """Square blocks in another order; what does not fill a block is cut off."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    mixed = np.random.default_rng(1).permutation(blocks.reshape(-1, side, side, 3))
    return mixed.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)


def blurred(image: Image, sigma: float) -> Image:
    """A Gaussian blur of `sigma` pixels, mirrored at the edges."""
    reach = int(4 * sigma + 1)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        margin = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, margin, "symmetric"), len(taps), axis)
        image = (windows @ taps).astype(np.float32)
    return image


def noisy(image: Image, sigma: float) -> Image:
    """Gaussian noise of this deviation on every channel."""
    grain = np.random.default_rng(2).normal(0, sigma, image.shape).astype(np.float32)
    return _shown(image + grain)


def brighter(image: Image, gain: float) -> Image:
    """Every level times `gain`."""
    return _shown(image * np.float32(gain))


def scrambled(image: Image) -> Image:
    """Every phase of the spectrum at random, the same in all channels; its amplitudes as they were."""
    turn = np.exp(1j * np.angle(np.fft.fft2(np.random.default_rng(3).standard_normal(image.shape[:2]))))
    mean = image.mean((0, 1))
    moved = np.fft.ifft2(np.fft.fft2(image - mean, axes=(0, 1)) * turn[..., None], axes=(0, 1)).real + mean
    return _shown(moved)


def scattered(image: Image) -> Image:
    """Every pixel somewhere else."""
    pixels: Image = np.random.default_rng(4).permutation(image.reshape(-1, 3)).reshape(image.shape)
    return pixels


def white(image: Image) -> Image:
    """White noise of the picture's colours."""
    noise = Palette.of(image).noise(np.random.default_rng(5), max(image.shape))
    return _shown(noise[: image.shape[0], : image.shape[1]])


def _shown(values: NDArray[Any]) -> Image:
    shown: Image = np.clip(values, 0, 1).astype(np.float32)
    return shown


DAMAGE: dict[str, Callable[[Image], Image]] = {
    "copy, rolled": rolled,
    "mirror tile": mirrored,
    "blocks of 32 px": partial(shuffled, side=32),
    "blocks of 16 px": partial(shuffled, side=16),
    "blur, sigma 1": partial(blurred, sigma=1.0),
    "noise, sigma 0.05": partial(noisy, sigma=0.05),
    "levels x 1.05": partial(brighter, gain=1.05),
    "levels x 1.2": partial(brighter, gain=1.2),
    "phases scrambled": scrambled,
    "pixels scattered": scattered,
    "white noise": white,
}
