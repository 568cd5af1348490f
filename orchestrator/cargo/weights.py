"""VGG-19's weights as a dataset: the file that Keras publishes, or one that a person has, looked at layer by layer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from orchestrator.cargo import content, dataset, download, upload
from orchestrator.cargo.content import Leaf
from orchestrator.cargo.dataset import Version
from orchestrator.cargo.upload import Sent, Tell
from orchestrator.errors import SwatchError, Unreachable, UsageError
from orchestrator.settings import Settings
from orchestrator.store.base import Store
from orchestrator.store.local import sha256_of

NAME = "vgg-weights"
"""What the dataset is called; FloydHub's users had it under this name."""
URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
MD5 = "253f8cb515780f3b799900260a226db6"
"""Keras 3, keras/src/applications/vgg19.py: WEIGHTS_PATH_NO_TOP and its file_hash."""
SUFFIXES = (".h5", ".hdf5", ".npz", ".safetensors")
MAX_BYTES = 2 << 30
"""VGG-19 with its classifier has 574 MB in float32; twice that in float64."""


class Looked(NamedTuple):
    """What is in a file of weights: its layout in a few words, and the convolutions, in the network's order."""

    layout: str
    layers: tuple[str, ...]


def fetch(
    store: Store, settings: Settings, user: str, name: str, url: str, md5: str, tell: Tell
) -> tuple[Version, bool]:
    """The dataset `user/name` of the file at `url`, and whether it was made now: what was begun is gone on with, what
    is there already is not fetched again. Raises SwatchError."""
    upload.check_name(user, name)
    there = dataset.latest(store, user, name)
    if there is not None:
        return there, False
    folder = settings.home / "cache" / "fetch" / "vgg19"
    file = folder / download.file_name(url)
    try:
        if not file.is_file():  # else it was fetched, and its upload cut short
            download.fetch(url, folder, limit=MAX_BYTES, tell=lambda done, total: tell(Sent(done, total or done)))
    except Unreachable as error:
        error.hint = (
            f"The same command goes on; or get {download.shown(url)} on another computer, and here: "
            f"swatch data fetch vgg19 --from {file.name}"
        )
        raise
    download.verify(file, "md5", md5, url)
    made = take(store, user, name, file, download.shown(url), tell)
    file.unlink(missing_ok=True)
    return made, True


def take(store: Store, user: str, name: str, file: Path, source: str, tell: Tell) -> Version:
    """The dataset `user/name` with this file of weights in it. Raises UsageError for what is no file of VGG-19's."""
    upload.check_name(user, name)
    look(file)
    called = file.name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", file.name) else f"vgg19{file.suffix.lower()}"
    leaf = Leaf(called, file.stat().st_size, sha256_of(file))
    with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
        Path(folder, called).symlink_to(file.absolute())
        made = content.of_files([leaf], Path(folder))
        return upload.upload(store, user, name, made, source=source, tell=tell).version


def look(file: Path) -> Looked:
    """What is in a file of weights, every layer read. Raises UsageError for what is none, SwatchError where the engine
    that reads it is not installed. It reads in a process of its own: arrays are the engine's."""
    if not file.is_file():
        raise UsageError(f"No such file: {file}", hint="swatch data fetch vgg19 --from FILE")
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{file} is none of {', '.join(SUFFIXES)}", hint="Name VGG-19's weights as Keras has them")
    words = [sys.executable, "-m", "job_image.texture.inspection", str(file.absolute())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = done.stderr.strip().rpartition("\n")[2][:500]
    if done.returncode == 0:
        found = json.loads(done.stdout)
        return Looked(str(found["layout"]), tuple(found["layers"]))
    if "ModuleNotFoundError" in said or "ImportError" in said:
        raise SwatchError(f"Looking at weights needs the engine: {said}", hint="pip install 'swatch[local]'")
    raise UsageError(said or f"{file} could not be looked at", hint="swatch data fetch vgg19 --from FILE")
