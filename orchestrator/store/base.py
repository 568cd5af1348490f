"""The seam to storage: what a store must do, and nothing more.

A key is a relative path of `/`-separated parts. A store promises:

- whole objects only: a reader sees an object complete or not at all, whatever dies while it is written;
- `create` succeeds for exactly one of any number of callers;
- `scan` gives keys in the order of their bytes, so that "after the last seen key" is enough to follow a journal.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

from orchestrator.errors import StoreError

# Control characters, backslashes (a separator on Windows) and DEL never stand in a key.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
MAX_KEY = 1024
"""Bytes in a key: S3's limit (User Guide, "Naming Amazon S3 objects")."""


Tell = Callable[[int], object]
"""Takes how many bytes have gone since it was last called."""


def nothing(count: int) -> None:
    """For whom it is all the same how far it is."""


class Entry(NamedTuple):
    """An object of the store: its key and its size in bytes."""

    key: str
    size: int


def check_key(key: str) -> str:
    """The key itself. Raises StoreError for one that is empty, too long, or would leave the store."""
    parts = key.split("/")
    if (
        not key
        or _FORBIDDEN.search(key)
        or any(part in ("", ".", "..") for part in parts)
        or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY
        or any(0xD800 <= ord(character) <= 0xDFFF for character in key)
    ):
        raise StoreError(f"Not a key of the store: {key[:200]!r}")
    return key


class Store(ABC):
    """All of a project, as files under one prefix."""

    url: str
    width = 1
    """Requests at once that pay off: one where bytes are near, many where each request has to travel."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The object's bytes. Raises NotFound."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Put the object there, replacing one of that key. Raises StoreError."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Put the object there if none is; False if one was there. Raises StoreError; it may be there all the same
        (the answer was lost), and then a repetition with the same data says True."""

    @abstractmethod
    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        """Put the file's bytes there, replacing an object of that key. `tell` is called with bytes as they go (by
        whatever thread). Raises StoreError; also when the bytes have not this SHA-256, if one is given: then they are
        not there."""

    def copy(self, key: str, to: str, of: Store | None = None) -> None:
        """Put the object `key` (of another store, if `of` is given) at `to`; where that can be, without it passing this
        computer. Raises NotFound, StoreError."""
        with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
            file = Path(folder, "object")
            digest = (of or self).download(key, file)
            self.upload(file, to, digest)

    @abstractmethod
    def remove(self, key: str) -> None:
        """Take the object away, if it is there. Raises StoreError."""

    def sha256(self, key: str) -> str:
        """The SHA-256 of the object's bytes, in hex: the store's own word where it has one. Raises NotFound."""
        with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
            return self.download(key, Path(folder, "object"))

    def place(self, prefix: str) -> Path | None:
        """The folder of this computer where the objects below `prefix` stand as files, made read-only: for what is
        complete and will not change. None where they are far, or there are none."""
        return None

    @abstractmethod
    def download(self, key: str, file: Path) -> str:
        """Write the object to `file`, whole or not at all; the SHA-256 of what was written, in hex. Raises NotFound."""

    @abstractmethod
    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """The objects whose key begins with `prefix` and sorts behind `after`, in the order of their keys.
        `prefix` is empty or ends with `/`."""

    @abstractmethod
    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` (empty or ending with `/`) that have something under them, sorted."""
