"""What survives an interruption: the picture after the last finished level."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .images import Pixels, write_atomically
from .parameters import Parameters
from .report import versions

METHOD = "patch/2"
"""Name and edition of the method. A change that alters pictures raises the edition: no old state is then taken up."""


class State(NamedTuple):
    """The number of levels done and the picture after them, in [-1, 1]."""

    levels: int
    picture: Pixels


def fingerprint(parameters: Parameters, sources: Sequence[Path]) -> str:
    """SHA-256 over the method, the parameters and the bytes of the sources: equal fingerprints mean equal textures.

    Raises ValueError, naming the file, when a source cannot be read.
    """
    asked = json.dumps({"method": METHOD, "parameters": asdict(parameters)}, sort_keys=True)
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
        if self.path is None or not self.path.is_file():
            return None
        try:
            # From memory: of a damaged file that it opened itself, NumPy would leave the handle to the collector.
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as saved:
                if str(saved["identity"]) != self._kept_by:
                    return None
                return State(int(saved["levels"]), saved["picture"])
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return None  # torn or foreign: begin again

    def save(self, state: State) -> None:
        """Replace the saved state."""
        if self.path is None:
            return
        buffer = io.BytesIO()
        np.savez(buffer, identity=np.array(self._kept_by), levels=np.array(state.levels), picture=state.picture)
        write_atomically(self.path, buffer.getvalue())

    def remove(self) -> None:
        """Forget the state; the texture is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
