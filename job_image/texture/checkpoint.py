"""What survives an interruption: the state of a texture's course."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .course import State
from .images import replacing
from .parameters import Parameters
from .report import versions

IDENTITY = "kept_by"
EDITION = "texture/6"
"""Of all methods together. A change that alters pictures raises it: no old state is then taken up, and no finished
picture passed off as what would be made now."""


def fingerprint(parameters: Parameters, sources: Sequence[Path], besides: Mapping[str, Any] | None = None) -> str:
    """SHA-256 over the edition, the parameters and the bytes of the sources: equal fingerprints mean equal textures.

    besides: what else decides the picture, such as the weights' digest; JSON-able.

    Raises ValueError, naming the file, when a source cannot be read.
    """
    asked = json.dumps({"edition": EDITION, "parameters": asdict(parameters), **(besides or {})}, sort_keys=True)
    digest = hashlib.sha256(asked.encode())
    for source in sources:
        try:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ValueError(f"{source}: {error.strerror or error}") from None
    return digest.hexdigest()


class Checkpoint:
    """The state of one texture in one file. Without a file (path None) nothing is kept and nothing is found."""

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path, self.identity = path, identity
        # Other versions do other arithmetic: going on from their state would give a picture that neither makes.
        self._kept_by = f"{identity} {json.dumps(versions(), sort_keys=True)}"

    def load(self) -> State | None:
        """The saved state, or None when there is none, it is damaged, or it belongs to another task."""
        return self._kept(arrays=True)

    def _kept(self, arrays: bool = False) -> State | None:
        """What is saved of this texture, its arrays only if asked; None as in `load`."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            # Of a damaged file that it opened itself, NumPy would leave the handle to the collector.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                if str(saved[IDENTITY]) != self._kept_by:
                    return None
                return {name: saved[name] for name in saved.files if arrays and name != IDENTITY}
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return None  # torn or foreign: begin again

    def is_ours(self) -> bool:
        """Whether there is a state of this very texture to go on from. Its arrays are not read."""
        return self._kept() is not None

    def save(self, state: State) -> None:
        """Replace the saved state."""
        if self.path is None:
            return
        with replacing(self.path) as out:
            arrays: dict[str, Any] = {IDENTITY: np.array(self._kept_by), **state}
            np.savez(out, **arrays)

    def remove(self) -> None:
        """Forget the state; the texture is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
