"""Weights come in from every layout as the same numbers; what cannot be VGG-19 is refused with a sentence."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from job_image.texture import tensors, weights
from tests import vgg

SMALL = vgg.random_weights(deepest="conv2_1")


def loaded(path: Path, deepest: str = "conv2_1") -> weights.Weights:
    return weights.load(path, deepest)


def refused(path: Path, deepest: str = "conv2_1") -> str:
    """The sentence with which a file is refused: it names the file, and says what to do after a semicolon."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is what the caller looks at
        weights.load(path, deepest)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ") and ";" in sentence and "\n" not in sentence
    return sentence


LAYOUTS: dict[str, tuple[str, Callable[[Path, vgg.Kernels], None]]] = {
    "Keras weights": ("w.h5", vgg.write_keras_2),
    "Keras 3 weights": ("w.weights.h5", vgg.write_keras_3),
    "Keras 3 weights, unnamed": ("w.weights.h5", lambda path, given: vgg.write_keras_3(path, given, named=False)),
    "Keras model": ("gatys_valid.h5", vgg.write_whole_model),
    "Keras model, second in its session": ("m.h5", lambda path, given: vgg.write_whole_model(path, given, "_1")),
    "npz": ("w.npz", vgg.write_npz),
    "safetensors": ("w.safetensors", vgg.write_safetensors),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_numbers(tmp_path: Path, layout: str) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path / name, SMALL)
    found = loaded(tmp_path / name)
    assert list(found.kernels) == ["conv1_1", "conv1_2", "conv2_1"]
    for layer, (kernel, bias) in SMALL.items():
        assert found.kernels[layer][0].dtype == found.kernels[layer][1].dtype == np.float32
        np.testing.assert_array_equal(found.kernels[layer][0], kernel)
        np.testing.assert_array_equal(found.kernels[layer][1], bias)
    assert found.layout == layout.split(",")[0]
    assert found.digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    vgg.write_npz(tmp_path / "w.npz", SMALL)
    for name in ("conv1_2", "relu1_2", "block1_conv2"):
        assert list(loaded(tmp_path / "w.npz", name).kernels) == ["conv1_1", "conv1_2"]
    for wrong in ("conv6_1", "conv1_3", "pool1", "block1_relu1", "conv", ""):
        with pytest.raises(ValueError, match="conv1_1 to conv5_4"):
            loaded(tmp_path / "w.npz", wrong)


@pytest.mark.parametrize("kernel", ["{}/kernel", "{}.weight", "{}_W_1:0", "vgg19/{}_2/kernel:0", "net.{}.kernel"])
@pytest.mark.parametrize("layer", [str, vgg.block, lambda layer: layer.replace("conv", "relu")])
def test_names_of_many_hands_are_known(tmp_path: Path, kernel: str, layer: Callable[[str], str]) -> None:
    bias = kernel.replace("kernel", "bias").replace("weight", "bias").replace("_W", "_b")
    arrays = {kernel.format(layer(name)): pair[0] for name, pair in SMALL.items()}
    arrays |= {bias.format(layer(name)): pair[1] for name, pair in SMALL.items()}
    save_file(arrays, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded(tmp_path / "w.safetensors").kernels["conv2_1"][0], SMALL["conv2_1"][0])


def test_what_keras_writes_today_is_read(tmp_path: Path) -> None:
    import keras

    whole = keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))
    model = keras.Model(whole.input, whole.get_layer("block2_conv1").output)
    model.save_weights(tmp_path / "k.weights.h5")
    found = loaded(tmp_path / "k.weights.h5")
    assert found.layout == "Keras 3 weights"
    for layer, pair in found.kernels.items():
        for mine, theirs in zip(pair, model.get_layer(vgg.block(layer)).get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def valid_convolution(image: Any, kernel: Any, bias: Any) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))
    return np.einsum("yxihw,hwio->yxo", windows, kernel.astype(np.float64)) + bias


def test_torchvisions_first_layer_sees_the_same_through_caffes_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    kernel = SMALL["conv1_1"][0]
    bias = rng.standard_normal(64).astype(np.float32)
    vgg.write_torchvision(tmp_path / "tv.safetensors", {**SMALL, "conv1_1": (kernel, bias)})
    found = loaded(tmp_path / "tv.safetensors")
    assert found.layout == "torchvision, safetensors"
    rgb = rng.uniform(0, 255, (9, 8, 3))
    # As torchvision's documentation prescribes, and as VGG's authors did.
    theirs = (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = rgb[..., ::-1] - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(
        valid_convolution(ours, *found.kernels["conv1_1"]), valid_convolution(theirs, kernel, bias), atol=1e-5
    )
    np.testing.assert_array_equal(found.kernels["conv2_1"][0], SMALL["conv2_1"][0])


def test_other_precisions_become_float32(tmp_path: Path) -> None:
    for kind in (np.float16, np.float64):
        arrays: dict[str, Any] = {f"{n}_kernel": k.astype(kind) for n, (k, _) in SMALL.items()}
        arrays |= {f"{n}_bias": b for n, (_, b) in SMALL.items()}
        np.savez_compressed(tmp_path / "w.npz", **arrays)
        found = loaded(tmp_path / "w.npz").kernels["conv1_2"][0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, SMALL["conv1_2"][0], atol=1e-3)


def test_the_old_programs_file_is_found_before_others(tmp_path: Path) -> None:
    assert weights.find(tmp_path) is None and weights.find(tmp_path / "nowhere") is None
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "vgg19.h5").touch()
    assert weights.find(tmp_path) is None
    order = [
        *("b.safetensors", "a.npz", "Z.H5", "my-VGG-19.safetensors", "vgg19_notop.h5"),
        *("gatys_same.h5", "gatys_valid.h5"),
    ]
    for name in order:
        (tmp_path / name).touch()
        assert weights.find(tmp_path) == tmp_path / name
    assert weights.find(tmp_path / "notes.txt") == tmp_path / "notes.txt"


def test_a_link_out_of_the_folder_is_not_found(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.h5", tmp_path / "folder"
    outside.touch()
    folder.mkdir()
    (folder / "vgg19.h5").symlink_to(outside)
    assert weights.find(folder) is None
    (folder / "w.h5").touch()
    (folder / "vgg19.npz").symlink_to("w.h5")
    assert weights.find(folder) == folder / "vgg19.npz"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, layout: str) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path / name, SMALL)
    whole = (tmp_path / name).read_bytes()
    for kept in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:kept])
        assert "cut off" in refused(tmp_path / name)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each example writes anew."""
    return tmp_path_factory.mktemp("scratch") / "w"


@given(
    data=st.binary(max_size=300), start=st.sampled_from([b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x20" + bytes(7)])
)
def test_any_bytes_are_refused_with_a_sentence(scratch: Path, data: bytes, start: bytes) -> None:
    scratch.write_bytes(start + data)
    refused(scratch)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small file of each layout, to be damaged."""
    folder = tmp_path_factory.mktemp("samples")
    tiny = {"conv1_1": SMALL["conv1_1"]}
    found = {}
    for layout, (name, write) in LAYOUTS.items():
        write(folder / name, tiny)
        found[layout] = (folder / name).read_bytes()
    return found


@given(layout=st.sampled_from(list(LAYOUTS)), at=st.integers(0, 2000), byte=st.integers(0, 255), end=st.booleans())
def test_a_flipped_byte_never_ends_in_another_error(
    samples: dict[str, bytes], scratch: Path, layout: str, at: int, byte: int, end: bool
) -> None:
    data = bytearray(samples[layout])
    data[-at - 1 if end else at] = byte
    scratch.write_bytes(data)
    try:
        found = loaded(scratch, "conv1_1")
    except ValueError as error:
        told = str(error)
    else:  # what was flipped is a number, or of no importance
        told = f"{scratch}: {found.layout}"
        assert found.kernels["conv1_1"][0].shape == (3, 3, 3, 64)
    assert told.startswith(f"{scratch}: ")


def test_missing_and_too_large_files_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.h5")
    assert "no such file" in refused(tmp_path)
    with (tmp_path / "huge.h5").open("wb") as file:
        file.truncate(weights.LARGEST_FILE + 1)
    assert "more than 1.5 GB" in refused(tmp_path / "huge.h5")


@pytest.mark.parametrize("layout", ["Keras weights", "npz", "safetensors"])
def test_wrong_shapes_missing_parts_and_holes_are_named(tmp_path: Path, layout: str) -> None:
    name, write = LAYOUTS[layout]
    path = tmp_path / name
    kernel, bias = SMALL["conv1_2"]
    holed = kernel.copy()
    holed[1, 1, 5, 5] = np.nan
    for wrong, sentence in [
        ((kernel[:1], bias), "has the shape"),
        ((kernel, bias[:5]), "has the shape (5,), VGG-19's is (64,)"),
        ((holed, bias), "not finite"),
        ((kernel, np.full(64, np.inf, np.float32)), "not finite"),
        ((kernel.astype(np.int32), bias), "not of type float16"),
    ]:
        write(path, {**SMALL, "conv1_2": wrong})  # type: ignore[dict-item]
        assert sentence in refused(path)
    write(path, {layer: pair for layer, pair in SMALL.items() if layer != "conv1_2"})
    assert "lacks the kernel of conv1_2" in refused(path)
    write(path, SMALL)
    assert "lacks the kernel of conv2_2" in refused(path, "conv3_2")


def test_a_missing_bias_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", conv1_1_kernel=SMALL["conv1_1"][0])
    assert "lacks the bias of conv1_1" in refused(tmp_path / "w.npz", "conv1_1")


def vgg_16() -> vgg.Kernels:
    return {n: pair for n, pair in vgg.random_weights(deepest="conv4_1").items() if n != "conv3_4"}


def test_other_networks_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    vgg.write_npz(path, vgg_16())
    for deepest in ("conv1_1", "conv3_4"):
        assert "has no conv3_4, as VGG-16 has none" in refused(path, deepest)
    vgg.write_keras_3(tmp_path / "vgg16.weights.h5", vgg_16(), named=False)
    assert "has the shape" in refused(tmp_path / "vgg16.weights.h5")
    resnet: dict[str, Any] = {
        "conv1/kernel": np.zeros((7, 7, 3, 64)),
        "layer1.0.conv1.weight": np.zeros((64, 64, 3, 3)),
    }
    np.savez(path, **resnet)
    assert "holds no layer called conv1_1" in refused(path)
    with_normalisation = {f"features.{at}.weight": np.zeros((64, 64, 3, 3), np.float32) for at in (0, 3)}
    save_file(with_normalisation, tmp_path / "bn.safetensors")
    assert "features.3.weight is not of VGG-19" in refused(tmp_path / "bn.safetensors")
    turned = {n: (np.ascontiguousarray(k.transpose(3, 2, 0, 1)), b) for n, (k, b) in SMALL.items()}
    vgg.write_keras_2(tmp_path / "theano.h5", turned)
    assert "Theano" in refused(tmp_path / "theano.h5")


def test_two_tensors_for_one_layer_are_refused(tmp_path: Path) -> None:
    kernel, bias = SMALL["conv1_1"]
    np.savez(tmp_path / "w.npz", conv1_1_kernel=kernel, conv1_1_bias=bias, relu1_1_kernel=kernel)
    assert "both claim to be conv1_1" in refused(tmp_path / "w.npz", "conv1_1")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    np.savez(tmp_path / "w.npz", conv1_1_kernel=np.array([Trap(sprung)], dtype=object))
    assert "Python objects, which are not read" in refused(tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "bare.npz", "w") as archive:
        archive.writestr("conv1_1_kernel.npy", pickle.dumps(Trap(sprung)))
    assert "damaged" in refused(tmp_path / "bare.npz")
    assert not sprung.exists()


def test_an_hdf5_file_reads_no_other_file(tmp_path: Path) -> None:
    kernel, bias = SMALL["conv1_1"]
    vgg.write_keras_2(tmp_path / "outside.h5", SMALL)
    (tmp_path / "raw").write_bytes(kernel.tobytes())
    path = tmp_path / "w.h5"

    def external_link(file: h5py.File) -> None:
        file["block1_conv1"] = h5py.ExternalLink(str(tmp_path / "outside.h5"), "/block1_conv1")

    def external_root(file: h5py.File) -> None:
        file["model_weights"] = h5py.ExternalLink(str(tmp_path / "outside.h5"), "/")

    def soft_link(file: h5py.File) -> None:
        file["hidden"], file["conv1_1/kernel"] = kernel, h5py.SoftLink("/hidden")

    def external_storage(file: h5py.File) -> None:
        place = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("conv1_1/kernel", kernel.shape, kernel.dtype, external=place)
        file["conv1_1/bias"] = bias

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(kernel.shape, kernel.dtype)
        layout[...] = h5py.VirtualSource(str(tmp_path / "outside.h5"), "block1_conv1/block1_conv1_W_1:0", kernel.shape)
        file.create_virtual_dataset("conv1_1/kernel", layout)
        file["conv1_1/bias"] = bias

    for write, sentence in [
        (external_link, "is a link"),
        (external_root, "is a link"),
        (soft_link, "is a link"),
        (external_storage, "lies in another file"),
        (virtual, "lies in another file"),
    ]:
        with h5py.File(path, "w") as file:
            write(file)
        assert sentence in refused(path, "conv1_1")


def test_what_would_unfold_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    kernel, bias = SMALL["conv1_1"]
    with h5py.File(path, "w") as file:  # a tebibyte that takes no room, as HDF5 lays out what was never written
        file.create_dataset("conv1_1/kernel", (2**19, 2**19), "f4", chunks=(64, 64))
        file["conv1_1/bias"] = bias
    assert "has the shape" in refused(path, "conv1_1")
    with h5py.File(path, "w") as file:
        file.create_dataset("conv1_1/kernel", data=kernel, compression="gzip")
        file["conv1_1/bias"] = bias
    assert "h5repack" in refused(path, "conv1_1")
    with h5py.File(path, "w") as file:
        file["a"] = file.create_group("b")
        file["b/itself"] = file["b"]
    assert "groups too deep" in refused(path)


def test_files_with_very_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MOST_TENSORS", 5)
    for layout in ("npz", "safetensors", "Keras weights"):
        name, write = LAYOUTS[layout]
        write(tmp_path / name, vgg.random_weights(deepest="conv2_2"))
        assert "too many" in refused(tmp_path / name) or "more than 5" in refused(tmp_path / name)
