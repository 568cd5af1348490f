"""A VGG-19 with random weights, written in the layouts in which people have the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import save_file

from job_image.texture.weights import LAYERS, TORCHVISION, Array, channels

Kernels = dict[str, tuple[Array, Array]]


def random_weights(seed: int = 1234, deepest: str = "conv3_2") -> Kernels:
    """He-normal kernels (He et al. 2015) and zero biases from conv1_1 to `deepest`."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in LAYERS[: LAYERS.index(deepest) + 1]:
        into, out = channels(layer)
        kernel = rng.standard_normal((3, 3, into, out)) * np.sqrt(2 / (9 * into))
        weights[layer] = (kernel.astype(np.float32), np.zeros(out, np.float32))
    return weights


def write_npz(path: Path, weights: Kernels) -> None:
    """`conv1_1_kernel`, `conv1_1_bias`, ..."""
    arrays: dict[str, Any] = {f"{layer}_kernel": kernel for layer, (kernel, _) in weights.items()}
    biases: dict[str, Any] = {f"{layer}_bias": bias for layer, (_, bias) in weights.items()}
    np.savez(path, **arrays, **biases)


def block(layer: str) -> str:
    """Keras' name: block1_conv1."""
    return f"block{layer[4]}_conv{layer[6]}"


def write_keras_2(path: Path, weights: Kernels) -> None:
    """As `vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`, which Keras offers for download."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(["input_1", *map(block, weights), "block1_pool"], "S")
        for empty in ("input_1", "block1_pool"):
            file.create_group(empty).attrs["weight_names"] = np.array([], "S1")
        for layer, arrays in weights.items():
            group = file.create_group(block(layer))
            names = [f"{block(layer)}_W_1:0", f"{block(layer)}_b_1:0"]
            group.attrs["weight_names"] = np.array(names, "S")
            for name, array in zip(names, arrays, strict=True):
                group[name] = array


def write_keras_3(path: Path, weights: Kernels, named: bool = True) -> None:
    """As Keras 3 writes `.weights.h5`; its first versions left out the names."""
    with h5py.File(path, "w") as file:
        file.create_group("layers/max_pooling2d/vars")
        file.create_group("vars")
        for at, (layer, arrays) in enumerate(weights.items()):
            group = file.create_group(f"layers/conv2d{f'_{at}' if at else ''}/vars")
            group["0"], group["1"] = arrays
            if named:
                group.attrs["name"] = block(layer)


def write_whole_model(path: Path, weights: Kernels, suffix: str = "") -> None:
    """As Keras 2's `model.save` writes a Sequential model, trained or not: `gatys_valid.h5` is one."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = b'{"class_name": "Sequential"}'
        for layer, arrays in weights.items():
            group = file.create_group(f"model_weights/{layer}")
            names = [f"{layer}{suffix}/{part}:0" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = np.array(names, "S")
            for name, array in zip(names, arrays, strict=True):
                group[name] = array
                file[f"optimizer_weights/Adam/m/{name}"] = np.zeros_like(array)


def write_torchvision(path: Path, weights: Kernels) -> None:
    """As torchvision's `vgg19().state_dict()`. The numbers are taken as they are: torchvision's input is another."""
    names = {layer: index for index, layer in TORCHVISION.items()}
    arrays: dict[str, Any] = {"classifier.0.weight": np.zeros((8, 8), np.float32)}
    for layer, (kernel, bias) in weights.items():
        arrays[f"features.{names[layer]}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        arrays[f"features.{names[layer]}.bias"] = bias
    save_file(arrays, path)


def write_safetensors(path: Path, weights: Kernels) -> None:
    """`conv1_1.weight` (out, in, 3, 3), `conv1_1.bias`: Caffe's names in PyTorch's order."""
    arrays: dict[str, Any] = {}
    for layer, (kernel, bias) in weights.items():
        arrays[f"{layer}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        arrays[f"{layer}.bias"] = bias
    save_file(arrays, path)
