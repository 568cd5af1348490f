"""Files of named tensors: HDF5, .npz, .safetensors. Only names and shapes are seen until a tensor is read.

The files may come from anywhere: nothing is unpickled, no link is followed, and a tensor's size is known before memory
is taken for it.
"""

import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_TENSORS = 10_000
"""Files with more entries are refused: a network of this kind has a few dozen."""

MOST_DEPTH = 12
"""Folders within folders in an HDF5 file; a folder may contain itself."""


@dataclass(frozen=True)
class Tensor:
    """One array of a file. `read` gives its values while the file is open.

    shape, dtype: as the file declares them, to be checked before `read` takes memory for them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], npt.NDArray[Any]]


class Refused(ValueError):
    """A file is not read; the sentence names it and says what to do."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """The layout of a file, in a few words, and its tensors; what the file is decides, not its name.

    Raises Refused (a ValueError), in a sentence that names the file, as `read` does for what it finds damaged.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        reader = hdf5
    elif start[:2] == b"PK":
        reader = npz
    elif len(start) == 8 and struct.unpack("<Q", start)[0] < path.stat().st_size:
        reader = safetensors
    else:
        raise Refused(f"{path}: neither HDF5 (.h5), .npz nor .safetensors, or cut off; copy it anew")
    with reader(path) as found:
        yield found


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever the libraries raise for a damaged file becomes Refused.

    A flipped bit may be anything to them: a password, a way of packing that Python does not know, a size beyond all
    memory, a name that is no text, a header that is no Python. A list of the kinds would never be whole.
    """
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise Refused(f"{path}: damaged, or cut off; copy it anew ({type(error).__name__}: {reason})") from error


@contextmanager
def hdf5(path: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """The datasets of an HDF5 file by path; those of Keras 3 (`.../vars/0`) by layer: `conv1_1/kernel`."""
    import h5py

    with ExitStack() as stack:
        with told(path):
            file = stack.enter_context(h5py.File(path, "r"))
            # Beside the weights may lie an optimiser's state, in tensors of the same names: one group is read.
            names = set(file)
            layout, name = next(((layout, name) for layout, name in HDF5_LAYOUTS if name in names), HDF5_ROOT)
            group = file if name == "/" else entry_of(path, file, name)
            found = [tensor_of(path, name, dataset) for name, dataset in datasets(path, group, "", MOST_DEPTH)]
        yield layout, found


HDF5_LAYOUTS = (("Keras model", "model_weights"), ("Keras 3 weights", "layers"))
"""What Keras calls the group of the weights, in a whole model and in Keras 3's `.weights.h5`."""
HDF5_ROOT = ("Keras weights", "/")


def entry_of(path: Path, group: Any, name: str) -> Any:
    """An entry of a group, when it is the group's own and no link to elsewhere, which looking alone would follow."""
    import h5py

    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise Refused(f"{path}: {name} is a link, and links are not followed; save the weights themselves")
    return group[name]


def datasets(path: Path, group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Names and datasets below a group."""
    import h5py

    if not isinstance(group, h5py.Group):
        raise Refused(f"{path}: not a model that Keras saved; name a file with its weights")
    if depth == 0 or len(group) > MOST_TENSORS:
        raise Refused(f"{path}: too many groups, or groups too deep, for weights; name a file with weights only")
    for name in group:
        entry = entry_of(path, group, name)
        if isinstance(entry, h5py.Dataset):
            yield keras_name(group, prefix, name), entry
        elif isinstance(entry, h5py.Group):
            yield from datasets(path, entry, f"{prefix}{name}/", depth - 1)


def keras_name(group: Any, prefix: str, name: str) -> str:
    """Keras 3 numbers a layer's variables, and calls its group after the kind: the layer's name is an attribute."""
    if not prefix.endswith("vars/") or name not in ("0", "1"):
        return prefix + name
    layer = group.attrs.get("name")
    part = "kernel" if name == "0" else "bias"
    return f"{layer}/{part}" if isinstance(layer, str) else f"{prefix}{part}"


def tensor_of(path: Path, name: str, dataset: Any) -> Tensor:
    """A dataset, with what would read more than the file itself refused when it is read."""

    def read() -> npt.NDArray[Any]:
        with told(path):
            if dataset.external or dataset.is_virtual:
                raise Refused(f"{path}: {name} lies in another file, which is not read; save the weights in one file")
            if dataset.id.get_create_plist().get_nfilters():
                # HDF5 unpacks a block whole, however large it turns out to be.
                raise Refused(f"{path}: {name} is compressed; unpack the file: h5repack -f NONE OLD.h5 NEW.h5")
            return np.asarray(dataset[()])

    # An empty dataset has no shape. Strings and references have types that are no numbers: whoever reads sees that.
    return Tensor(name, dataset.shape or (), dataset.dtype, read)


@contextmanager
def npz(path: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """The arrays of an .npz by key. Headers are read here; NumPy takes none longer than 10,000 bytes."""
    with ExitStack() as stack:
        with told(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            if len(entries) > MOST_TENSORS:
                raise Refused(f"{path}: more than {MOST_TENSORS} arrays; name a file with weights only")
            found = [member(path, archive, entry) for entry in entries]
        yield "npz", found


def member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tensor:
    """One array of an .npz, with its header read."""
    name = entry.filename.removesuffix(".npy")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    if dtype.hasobject:
        raise Refused(f"{path}: {name} holds Python objects, which are not read; save plain float32 arrays")

    def read() -> npt.NDArray[Any]:
        with told(path), archive.open(entry) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    return Tensor(name, tuple(shape), dtype, read)


@contextmanager
def safetensors(path: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """The tensors of a .safetensors file; the library checks that all of them lie within the file."""
    from safetensors import safe_open

    with ExitStack() as stack:
        with told(path):
            file = stack.enter_context(safe_open(path, framework="np"))
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise Refused(f"{path}: more than {MOST_TENSORS} tensors; name a file with weights only")
            found = [slice_of(path, file, name) for name in names]
        yield "safetensors", found


def slice_of(path: Path, file: Any, name: str) -> Tensor:
    """One tensor of a .safetensors file."""
    declared = file.get_slice(name)
    # Other types, bfloat16 among them, NumPy does not have; `void` tells whoever checks the type.
    types = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    dtype: np.dtype[Any] = np.dtype(types.get(declared.get_dtype(), np.void))

    def read() -> npt.NDArray[Any]:
        with told(path):
            return np.asarray(file.get_tensor(name))

    return Tensor(name, tuple(declared.get_shape()), dtype, read)
