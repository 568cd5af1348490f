"""VGG-19's convolution weights (Simonyan & Zisserman 2014) from a file a person has; nothing is ever downloaded.

Whatever the file's own convention, what comes out takes Caffe's input: channels blue, green, red in 0 to 255, less
`MEAN`. Assumed of each layout:

- Keras' files (applications.VGG19, with its top or not, Keras 2 or 3) and the models that subjective-functions saved
  (`gatys_valid.h5`, `gatys_same.h5`): Caffe's input already, kernels (3, 3, in, out).
- Tensors called by layer (`conv1_1_kernel`, `conv1_1/kernel`, `conv1_1.weight`, `block1_conv1...`) in .npz and
  .safetensors: Caffe's input, kernels (3, 3, in, out) or PyTorch's (out, in, 3, 3), told apart by their shape.
- torchvision's (`features.0.weight`): red, green, blue in [0, 1], normalised. Input order and normalisation are folded
  into conv1_1. Away from the border the features are the same; under zero padding ("same") they differ slightly in
  the outermost pixels, because torchvision's zero is a grey up to half a level (of 255) off `MEAN`.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import tensors, vgg
from .tensors import Tensor
from .vgg import MEAN

Array = npt.NDArray[np.float32]

CONVOLUTIONS = {layer.name: layer.channels for layer in vgg.LAYERS if layer.name.startswith("conv")}
"""The channels that each convolution gives, in the network's order."""

LAYERS = tuple(CONVOLUTIONS)

TORCHVISION = dict(zip((0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), LAYERS, strict=True))
"""Where torchvision's `vgg19().features` has its convolutions; between them are ReLU and pooling."""

TORCHVISION_MEAN = (0.485, 0.456, 0.406)
TORCHVISION_DEVIATION = (0.229, 0.224, 0.225)
"""Normalisation of torchvision's models: red, green, blue in [0, 1]."""

LARGEST_FILE = 1_500_000_000
"""Bytes. VGG-19 with its classifier has 574 MB; twice that in float64 is the most that makes sense."""

SUFFIXES = (".h5", ".hdf5", ".npz", ".safetensors")

LAYER = re.compile(r"(?:block(\d)_conv|conv|relu)(?(1)|(\d)_)(\d)")
PART = re.compile(r"(?:^|[/._])(?:(kernel|weights?|W)|bias(?:es)?|b)(?:_\d+)?$")
FEATURE = re.compile(r"(?:^|\.)features\.(\d+)$")
NUMBERED = re.compile(r"conv2d(?:_(\d{1,3}))?/vars")
"""Before 3.4 or so Keras 3 did not write the names of layers; their order is the network's."""

WANTED = "VGG-19 weights as Keras' .h5, or .npz or .safetensors with them"


class TooShallow(ValueError):
    """A file is sound but ends before the layer that is wanted."""


@dataclass(frozen=True)
class Weights:
    """The convolutions of VGG-19 up to some layer.

    kernels: layer name ("conv1_1") to kernel (3, 3, in, out) and bias (out,), float32, finite, for input in blue,
        green, red, 0 to 255, less `MEAN`; in the network's order.
    digest: SHA-256 of the file, hexadecimal.
    layout: what the file was, in a few words for the report.
    """

    kernels: dict[str, tuple[Array, Array]]
    digest: str
    layout: str


def canonical(name: str) -> str:
    """The name of a convolution as this program writes it: conv3_2 for conv3_2, relu3_2 and block3_conv2.

    Raises ValueError for a name that VGG-19 does not have.
    """
    found = LAYER.fullmatch(name)
    layer = f"conv{found[1] or found[2]}_{found[3]}" if found else ""
    if layer not in LAYERS:
        raise ValueError(f"{name!r} is no convolution of VGG-19; they are called {LAYERS[0]} to {LAYERS[-1]}")
    return layer


def channels(layer: str) -> tuple[int, int]:
    """Channels into and out of a convolution, named canonically."""
    at = LAYERS.index(layer)
    return CONVOLUTIONS[LAYERS[at - 1]] if at else 3, CONVOLUTIONS[layer]


def find(directory: Path) -> Path | None:
    """The weights in a folder (not in folders below it), or None; a file given in place of a folder is the answer.

    Of several: first what subjective-functions calls its own (gatys_valid.h5, gatys_same.h5), then names with "vgg19",
    then any; among equals .h5 before .hdf5, .npz and .safetensors, then by name. A link that leads out of the folder
    is passed over. Raises ValueError when the folder cannot be listed.
    """
    if directory.is_file():
        return directory
    if not directory.is_dir():
        return None

    def preference(path: Path) -> tuple[int, int, str]:
        plain = re.sub(r"[-_ ]", "", path.name.lower())
        kind = 0 if path.name in ("gatys_valid.h5", "gatys_same.h5") else 1 if "vgg19" in plain else 2
        # gatys_valid before gatys_same: the old program's own default; both hold the same numbers.
        return kind, SUFFIXES.index(path.suffix.lower()), "" if path.name == "gatys_valid.h5" else path.name

    try:
        root = directory.resolve()
        there = [path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
        inside = [path for path in there if path.resolve().parent == root]
    except OSError as error:
        raise ValueError(f"{directory}: cannot be listed: {error.strerror}; name a folder you may read") from None
    return min(inside, key=preference, default=None)


def load(path: Path, deepest: str) -> Weights:
    """The weights in a file, from conv1_1 to the layer `deepest`; of deeper ones only names and shapes are seen.

    Raises ValueError, in a sentence that names the file, when it is missing, too large, damaged, for another network,
    or lacks a layer (`TooShallow` where all before the missing ones are there); and when a kernel has another shape
    than VGG-19's or holds what is not a finite number.
    """
    wanted = LAYERS[: LAYERS.index(canonical(deepest)) + 1]
    try:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; name {WANTED}")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(
                f"{path}: more than {LARGEST_FILE / 1e9:g} GB, and VGG-19 has 0.6; name {WANTED} and nothing else"
            )
        with tensors.opened(path) as (layout, found):
            layout, kernels = arranged(path, layout, found, wanted)
        with path.open("rb") as file:
            return Weights(kernels, hashlib.file_digest(file, "sha256").hexdigest(), layout)
    except OSError as error:  # a disk that fails, rights that lack; damage is told by `tensors`
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}; copy it anew") from error


def arranged(
    path: Path, layout: str, found: Iterable[Tensor], wanted: tuple[str, ...]
) -> tuple[str, dict[str, tuple[Array, Array]]]:
    """The wanted layers among the tensors of a file, and its layout; nothing is read before all shapes are right."""
    kernels: dict[str, Tensor] = {}
    biases: dict[str, Tensor] = {}
    torchvision = False
    for tensor in found:
        named = layer_and_part(tensor)
        if named is None:
            continue
        layer, is_kernel, by_index = named
        torchvision |= by_index
        if layer not in LAYERS:
            raise ValueError(f"{path}: {tensor.name} is not of VGG-19 but another network's; name {WANTED}")
        parts = kernels if is_kernel else biases
        if layer in parts:
            raise ValueError(
                f"{path}: {parts[layer].name} and {tensor.name} both claim to be {layer}; keep one of them in the file"
            )
        parts[layer] = tensor
    if not kernels:
        raise ValueError(f"{path}: holds no layer called conv1_1 or block1_conv1; name {WANTED}")
    check_complete(path, kernels, biases, wanted)
    transposable = torchvision or not layout.startswith("Keras")
    for layer in wanted:
        check_type_and_shape(path, biases[layer], channels(layer)[1:])
    # Of the layers that are not wanted, too: their shapes tell another network.
    orders = {layer: order_of(path, layer, kernel, transposable) for layer, kernel in kernels.items()}
    values = {layer: (values_of(path, kernels[layer]), values_of(path, biases[layer])) for layer in wanted}
    ordered = {layer: (ordered_kernel(kernel, orders[layer]), bias) for layer, (kernel, bias) in values.items()}
    if torchvision:
        ordered[LAYERS[0]] = for_caffe_input(*ordered[LAYERS[0]])
        layout = f"torchvision, {layout}"
    return layout, ordered


def layer_and_part(tensor: Tensor) -> tuple[str, bool, bool] | None:
    """Of a tensor's name: the layer, whether it is the kernel, and whether torchvision's index named it; else None.

    An index at which torchvision's VGG-19 has no convolution is answered with a layer that VGG-19 does not have.
    """
    part = PART.search(tensor.name.removesuffix(":0"))
    if part is None:
        return None
    head = tensor.name[: part.start()]
    feature = FEATURE.search(head)
    if feature:
        # Batch normalisation has weights of one dimension: a network with it shows at its next convolution.
        strange = "another" if part[1] and len(tensor.shape) == 4 else None
        layer = TORCHVISION.get(int(feature[1][:9]), strange)
        return None if layer is None else (layer, bool(part[1]), True)
    numbered = NUMBERED.fullmatch(head)
    if numbered:
        at = int(numbered[1] or 0)
        return LAYERS[at] if at < len(LAYERS) else "another", bool(part[1]), False
    # Keras 2 numbers the second layer of a name in a session: conv1_1_1.
    found = re.fullmatch(rf"(?:{LAYER.pattern})(?:_\d+)?", re.split(r"[/.]", head)[-1])
    return (f"conv{found[1] or found[2]}_{found[3]}", bool(part[1]), False) if found else None


def check_complete(path: Path, kernels: dict[str, Tensor], biases: dict[str, Tensor], wanted: tuple[str, ...]) -> None:
    """Raise ValueError unless the wanted layers are there, and no layer is missing below the deepest in the file.

    The second catches VGG-16, whose blocks 3 to 5 lack their fourth convolution, even where that one is not wanted.
    """
    deepest = max(LAYERS.index(layer) for layer in kernels)
    for layer in LAYERS[: max(deepest + 1, len(wanted))]:
        if layer not in kernels and LAYERS.index(layer) < deepest and layer.endswith("_4"):
            raise ValueError(f"{path}: has no {layer}, as VGG-16 has none; name {WANTED}")
        if layer not in kernels or (layer in wanted and layer not in biases):
            part = "kernel" if layer not in kernels else "bias"
            kind = TooShallow if LAYERS.index(layer) > deepest else ValueError
            raise kind(f"{path}: lacks the {part} of {layer}; name a whole file of {WANTED}")


def check_type_and_shape(path: Path, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError for what is not floating-point numbers of this shape."""
    if tensor.dtype.kind != "f" or tensor.dtype.itemsize > 8:
        raise ValueError(f"{path}: {tensor.name} is not of type float16, float32 or float64; save it as float32")
    if tensor.shape != shape:
        raise ValueError(f"{path}: {tensor.name} has the shape {tensor.shape}, VGG-19's is {shape}; name {WANTED}")


def order_of(path: Path, layer: str, kernel: Tensor, transposable: bool) -> tuple[int, ...]:
    """How the kernel's axes must be put to read (3, 3, in, out). Raises ValueError for a shape that is not VGG-19's."""
    into, out = channels(layer)
    if kernel.shape == (out, into, 3, 3):
        check_type_and_shape(path, kernel, kernel.shape)
        if transposable:
            return 2, 3, 1, 0
        # Theano convolved with the kernel turned by 180 degrees, so its files cannot simply be transposed.
        raise ValueError(f"{path}: has Theano's order of axes; name Keras' file with tf_dim_ordering_tf_kernels")
    check_type_and_shape(path, kernel, (3, 3, into, out))
    return 0, 1, 2, 3


def values_of(path: Path, tensor: Tensor) -> Array:
    """The numbers of a tensor as float32. Raises ValueError unless all are finite."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the next line finds
        values = np.ascontiguousarray(tensor.read(), dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: {tensor.name} holds values that are not finite numbers; get the file anew")
    return values


def ordered_kernel(kernel: Array, order: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(kernel.transpose(order))


def for_caffe_input(kernel: Array, bias: Array) -> tuple[Array, Array]:
    """torchvision's first convolution, rewritten for blue, green, red in 0 to 255 less `MEAN`.

    torchvision sees y = (p / 255 - m) / s of a pixel p. With p = x + MEAN that is y = x / 255s + (MEAN - 255m) / 255s:
    the first factor goes into the kernel, the second, constant over the image, into the bias.
    """
    mean, scale = (255 * np.array(values[::-1], np.float64) for values in (TORCHVISION_MEAN, TORCHVISION_DEVIATION))
    turned = kernel[:, :, ::-1].astype(np.float64)
    offset = np.einsum("hwio,i->o", turned, (np.array(MEAN) - mean) / scale)
    return (turned / scale[:, None]).astype(np.float32), (bias + offset).astype(np.float32)
