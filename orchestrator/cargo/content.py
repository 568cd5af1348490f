"""The files of a folder as data: what they are called, what is in them, and one digest of it all.

Everything in the folder counts, links that stay inside as what they lead to; but for what the folder's own
`.swatchignore` (or FloydHub's `.floydignore`) names, folders of version control, and our own state files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import contract
from orchestrator.cargo import ignore
from orchestrator.cargo.index import Index
from orchestrator.cargo.tree import Entry
from orchestrator.errors import StoreError, UsageError
from orchestrator.store.base import Store, check_key
from orchestrator.store.local import sha256_of
from orchestrator.wording import quoted

MAX_FILES = 1_000_000
"""Of one dataset: its list is a record that is read whole."""
MAX_PATH = 700
"""Bytes of a path in a dataset: with the store's own folders before it, it stays below S3's 1,024."""


class Leaf(msgspec.Struct, frozen=True):
    """A file of a tree: its path there, its size in bytes and the SHA-256 of its content, in hex."""

    path: str
    size: int
    sha256: str


class Shelf(NamedTuple):
    """Where files stand in a store: each at `prefix` and its path."""

    store: Store
    prefix: str


class Content(NamedTuple):
    """Files that belong together, sorted by path, and where their bytes are."""

    digest: str
    files: tuple[Leaf, ...]
    place: Path | Shelf

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(leaf.size for leaf in self.files)


def of_files(files: Iterable[Leaf], place: Path | Shelf) -> Content:
    """The tree of files whose content is known already."""
    ordered = tuple(sorted(files, key=lambda leaf: leaf.path))
    return Content(contract.data_digest((leaf.path, leaf.sha256) for leaf in ordered), ordered, place)


def of_folder(folder: Path, index: Index | None = None) -> Content:
    """The data of a folder; with an index, files that have not changed are not read again. Raises UsageError for a
    folder that is none or is empty, holds a link that leads out of it, a file that cannot be read, or a name that no
    store can hold."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint=f"Name its folder: {folder.parent}")
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}")

    entries = []
    for name in _walk(folder):
        path = folder / _checked(folder, name)
        entries.append(Entry(name, str(path), path.stat(), "file"))
        if len(entries) > MAX_FILES:
            raise UsageError(f"{folder} holds more than {MAX_FILES:,} files", hint="Pack small files into larger ones")
    if not entries:
        raise UsageError(f"{folder} holds no files", hint="Put some there, or look into .swatchignore")
    found = index.contents(entries, _read) if index else {entry.name: _read(entry) for entry in entries}
    return of_files((Leaf(one.name, one.state.st_size, found[one.name].hex()) for one in entries), folder)


def _read(entry: Entry) -> bytes:
    try:
        return bytes.fromhex(sha256_of(Path(entry.path)))
    except OSError as error:
        raise UsageError(f"{entry.path} cannot be read: {error.strerror or error}") from error


def _checked(folder: Path, name: str) -> str:
    try:
        check_key(name)
    except StoreError:
        said = quoted(os.fsencode(name).decode("utf-8", "backslashreplace"))
        raise UsageError(f"{folder}: {said} is no name that a store can hold", hint="Rename it") from None
    if len(name.encode()) > MAX_PATH:
        raise UsageError(f"{folder}: {quoted(name[:80])}... is longer than {MAX_PATH} bytes", hint="Shorten the path")
    return name


def _walk(folder: Path) -> Iterator[str]:
    """The path within the folder of every file that is data."""
    ignored, root = _ignored(folder), os.path.realpath(folder)

    def below(inside: str, way: tuple[str, ...]) -> Iterator[str]:
        """`way` are the real paths of the folders that lead here: a link back to one of them has no end."""
        with os.scandir(folder / inside) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = f"{inside}{entry.name}"
            if ignored(name, entry.is_dir()):
                continue
            if entry.is_symlink():
                _check_link(folder, name, root)
            if entry.is_file():
                yield name
            elif entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in way:
                    raise UsageError(f"{folder / name} leads round in a circle", hint="Remove the link")
                yield from below(name + "/", (*way, real))

    try:
        yield from below("", (root,))
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error


def _check_link(folder: Path, name: str, root: str) -> None:
    real = os.path.realpath(folder / name)
    if not os.path.exists(real):
        raise UsageError(f"{folder / name} leads nowhere", hint="Remove the link, or name it in .swatchignore")
    if not (real + os.sep).startswith(root + os.sep):
        raise UsageError(
            f"{folder / name} leads outside the folder", hint="Put the file itself there, or mount its folder"
        )


def _ignored(folder: Path) -> Callable[[str, bool], bool]:
    """Whether a path (which is a folder or not) is no data: the one place where data meets the rules of ignoring."""
    rules = ignore.data_rules(os.listdir(folder))
    file = folder / rules.files[0]
    if file.is_file():
        with open(file, "rb") as opened:
            rules = rules.below("", [opened.read(ignore.MAX_FILE).decode("utf-8", "surrogateescape")])
    return lambda name, is_folder: rules.judge(name, is_folder) != "keep"
