"""VGG-19 (Simonyan and Zisserman, 2015) up to the layers whose statistics are matched, with average pooling.

Pictures enter as (batch, rows, columns, 3): BGR in 0..255 less the mean of ImageNet (`MEAN`), the form Caffe's weights
were trained in. Gatys, Ecker and Bethge (2015) found that average pooling suits textures better than the maximum.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Tensor, fast_type
from .vgg import LAYERS, MEAN, Layer, deepest


class Network:
    """The convolutions up to some layer, ready on the device.

    kernels, digest: see `weights.Weights`. precision: the type in which it computes; what it shows is float32.
    convolutions: the names of those there are.
    """

    def __init__(
        self,
        kernels: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
        digest: str,
        precision: str = "float32",
    ) -> None:
        self.digest, self.precision = digest, precision
        self.convolutions = tuple(kernels)
        self._kernels = {name: tuple(ops.cast(one, precision) for one in both) for name, both in kernels.items()}

    @cached_property
    def rough(self) -> "Network":
        """The same network as fast as the device can compute it, for work that bears gradients that are off by some 2%;
        itself where float32 is the fastest."""
        precision = fast_type()
        return self if precision == self.precision else Network(self._kernels, self.digest, precision)

    def features(
        self, picture: Tensor, layers: Sequence[Layer], padding: str = "valid", inside: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """The outputs of `layers`, each (batch, rows, columns, channels), after the rectifier.

        padding: "valid" lets every feature see the picture alone; "same" surrounds each layer's input with zeros.
        inside: of a piece of a larger picture that "same" padding surrounds, with "valid": 1 for each row, and for each
        column, that lies in the picture, 0 for those around it. Every layer then sees zeros there.
        """
        wanted = {one.name for one in layers}
        inside = [ops.cast(one, self.precision) for one in inside]
        found, x = {}, ops.cast(picture, self.precision)
        for one in LAYERS[: LAYERS.index(deepest(layers)) + 1]:
            if one.name.startswith("pool"):
                x = ops.average_pool(x, 2, 2, padding=padding)
                if inside:  # what lies outside is no part of an average
                    shares = [ops.reshape(ops.average_pool(one[None, :, None], 2, 2), (-1,)) for one in inside]
                    x = x / ops.maximum(outer(shares), 0.25)
                    inside = [ops.cast(one > 0, self.precision) for one in shares]
            else:
                kernel, bias = self._kernels[one.name]
                x = ops.relu(ops.conv(x, kernel, padding=padding) + bias)
                if inside:
                    inside = [one[1:-1] for one in inside]
                    x = x * outer(inside)
            if one.name in wanted:
                found[one.name] = ops.cast(x, "float32")
        return [found[one.name] for one in layers]


def outer(both: Sequence[Tensor]) -> Tensor:
    """The products of numbers for rows and for columns, (1, rows, columns, 1)."""
    down, across = both
    return down[None, :, None, None] * across[None, None, :, None]


def from_rgb(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """sRGB in [0, 1], (..., 3), as the network's input."""
    return np.ascontiguousarray((pixels * np.float32(255))[..., ::-1] - np.array(MEAN), np.float32)


def to_rgb(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of `from_rgb`."""
    return np.ascontiguousarray(((picture + np.array(MEAN)) / 255)[..., ::-1], np.float32)
