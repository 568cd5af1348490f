"""A pull towards the source's power spectrum, for regular sources: what repeats there should repeat as strictly here.

Liu, Gousseau and Xia (Texture Synthesis Through Convolutional Neural Networks and Spectrum Constraints, 2016): the loss
is the squared distance to the nearest picture with the wanted spectrum.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

from .backend import Tensor, compiled
from .images import Pixels
from .start import texton

LEAST = 1e-6
"""Keeps the phase of a frequency that the picture lacks finite."""


class Spectrum:
    """An `objective.Extra` for pictures on a torus, (batch, rows, columns, 3).

    source: (rows, columns, 3) in the picture's units. size: (width, height) of the torus. weight: of the mean over
    pixels of the squared distance, halved.
    """

    def __init__(self, source: Pixels, size: tuple[int, int], weight: float) -> None:
        width, height = size
        wanted = np.fft.fft2(texton(source, width, height), axes=(0, 1)) * np.sqrt(width * height)
        self.real, self.imaginary = (np.moveaxis(part, 2, 0).astype(np.float32) for part in (wanted.real, wanted.imag))
        self.weight = weight

    def __call__(self, picture: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient."""
        loss, gradient = pull()(picture, self.real, self.imaginary, np.float32(self.weight))
        return float(loss), gradient


@lru_cache(maxsize=1)
def pull() -> Callable[..., Any]:
    """(picture, spectrum real, imaginary, weight): the loss and its gradient. (3, rows, columns) is the spectrum.

    The nearest picture with the source's spectrum turns all channels by one phase at each frequency, so that their
    relation stays the source's (Galerne, Gousseau and Morel, 2011). It is the projection's value that varies slowest:
    the gradient is the distance itself.
    """

    def apart(picture: Tensor, real: Tensor, imaginary: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        mean = ops.mean(picture, axis=(1, 2), keepdims=True)
        channels = ops.transpose(picture - mean, (0, 3, 1, 2))
        have_real, have_imaginary = ops.fft2((channels, ops.zeros_like(channels)))
        # The phase by which the wanted spectrum is turned: that of its product with the picture's, over the channels.
        turn_real = ops.sum(have_real * real + have_imaginary * imaginary, axis=1, keepdims=True)
        turn_imaginary = ops.sum(have_imaginary * real - have_real * imaginary, axis=1, keepdims=True)
        length = ops.sqrt(turn_real**2 + turn_imaginary**2) + LEAST
        turn_real, turn_imaginary = turn_real / length, turn_imaginary / length
        nearest, _ = ops.ifft2(
            (real * turn_real - imaginary * turn_imaginary, real * turn_imaginary + imaginary * turn_real)
        )
        away = ops.transpose(channels - nearest, (0, 2, 3, 1))
        pixels = picture.shape[1] * picture.shape[2]
        return weight * ops.sum(away**2) / 2 / pixels, weight * away / pixels

    return compiled(exact=True)(apart)
