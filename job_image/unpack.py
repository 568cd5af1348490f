"""Fetch and unpack a snapshot without trusting it.

A snapshot is whole, or says what differs from another one (`orchestrator.contract`, DELTA_BASE). Standard library only,
and Python 3.8 syntax: this file travels into images that are not ours (`tarfile`'s own filters came with 3.8.17 only).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tarfile
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, NamedTuple, Tuple, cast

from orchestrator import contract
from orchestrator.errors import NotFound, StoreError
from orchestrator.store.base import Store
from orchestrator.store.local import explain

MAX_FILES = 200_000
MAX_BYTES = 64 << 30
MAX_HEADER = 64 << 20
"""Bytes of one header: a list of removed paths is the longest there is."""

Tree = Dict[str, Tuple[str, str]]
"""What is in a folder: the kind and content of each path, as `contract.snapshot_digest` takes them."""


class Base(NamedTuple):
    """What a snapshot builds on, and which paths of that are not in it."""

    digest: str
    removed: tuple[str, ...]


def fetch(store: Store, digest: str, folder: Path, work: Path, brought: Path | None = None) -> Tree:
    """Make `folder`, which is empty or missing, the snapshot of this digest; what is in it. `brought` is the snapshot's
    archive where it is here already; what it builds on comes from the store. Archives lie in `work` meanwhile.

    Raises NotFound, and StoreError for what is damaged, too large, or not the tree of that digest.
    """
    chain: list[tuple[str, Path]] = []
    with tempfile.TemporaryDirectory(dir=str(work), prefix="snapshot-") as scratch:
        wanted: str | None = digest
        while wanted is not None:
            if len(chain) > contract.MAX_DELTA_DEPTH:
                raise StoreError(f"The snapshot {digest} builds on too many others", hint="Submit the code again")
            archive = brought if brought is not None and not chain else _download(store, wanted, chain, Path(scratch))
            chain.append((wanted, archive))
            base = base_of(archive)
            wanted = base.digest if base is not None else None
        tree: Tree = {}
        for _, archive in reversed(chain):
            _apply(archive, folder, tree)
    if contract.snapshot_digest((name, *what) for name, what in tree.items()) != digest:
        raise StoreError(f"The snapshot {digest} holds other files than its name says", hint="Submit the code again")
    return tree


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the whole snapshot `archive` into `folder`: files, folders, and links that stay inside; nothing else.

    Raises StoreError for an archive that is damaged, too large, or holds anything that would leave the folder.
    """
    _apply(archive, folder, {})


def base_of(archive: Path) -> Base | None:
    """What the snapshot builds on; None for a whole one. Raises StoreError for what is no snapshot."""
    with _opened(archive) as tar:
        tar.next()  # reads the global headers, which stand before the first member
        return _base(tar)


def _download(store: Store, digest: str, above: list[tuple[str, Path]], scratch: Path) -> Path:
    archive = scratch / f"{len(above)}.tar.gz"
    try:
        store.download(contract.code_key(digest), archive)
    except NotFound as error:
        if not above:
            raise
        raise StoreError(
            f"The snapshot {above[-1][0]} builds on {digest}, which is gone from the store {store.url}",
            hint=f"Remove {contract.code_key(above[0][0])} from the store, and submit the code again",
        ) from error
    return archive


def _base(tar: tarfile.TarFile) -> Base | None:
    digest = tar.pax_headers.get(contract.DELTA_BASE)
    if digest is None:
        return None
    removed = json.loads(tar.pax_headers.get(contract.DELTA_REMOVED, "[]"))
    if (
        not re.fullmatch("[0-9a-f]{64}", digest)
        or not isinstance(removed, list)
        or len(removed) > MAX_FILES
        or not all(isinstance(name, str) for name in removed)
    ):
        raise ValueError("what it builds on is not said as it should be")
    return Base(digest, tuple(removed))


def _apply(archive: Path, folder: Path, tree: Tree) -> None:
    """Change `folder`, which holds `tree`, as the archive says."""
    folder.mkdir(parents=True, exist_ok=True)
    root = os.path.realpath(str(folder))
    size = 0
    with _opened(archive) as tar:
        first = tar.next()
        base = _base(tar)
        for name in base.removed if base is not None else ():
            _remove(name, root)
            tree.pop(name, None)
        for member in _members(tar, first):
            size += member.size
            if len(tree) + (member.name not in tree) > MAX_FILES or size > MAX_BYTES:
                raise StoreError(f"The snapshot is too large to unpack: {archive.name}")
            tree[member.name] = _extract(tar, member, root)
        # To the very end, where gzip keeps the checksum of it all.
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass
    for name, (kind, _) in tree.items():  # again, now that all is there: a link may lead through one that came later
        path = os.path.join(root, name)
        if kind == "link" and not _inside(os.path.realpath(path), root):
            os.unlink(path)
            raise StoreError(f"The snapshot links outside its folder: {name!r}")


def _members(tar: tarfile.TarFile, first: tarfile.TarInfo | None) -> Iterator[tarfile.TarInfo]:
    member = first
    while member is not None:
        yield member
        member = tar.next()


def _place(name: str, root: str) -> str:
    """Where the path is here. Raises StoreError for one outside the folder, or on whose way is a link."""
    target = os.path.normpath(os.path.join(root, name))
    above = os.path.dirname(target)
    if target == root or not _inside(target, root) or os.path.realpath(above) != above:
        raise StoreError(f"The snapshot would write outside its folder: {name!r}")
    return target


def _remove(name: str, root: str) -> None:
    """Remove a file, a link or an empty folder, and the folders above that have nothing left in them."""
    target = _place(name, root)
    try:
        if os.path.isdir(target) and not os.path.islink(target):
            os.rmdir(target)
        else:
            os.unlink(target)
    except OSError as error:
        raise StoreError(f"The snapshot removes what is not there: {name!r}") from error
    above = os.path.dirname(target)
    while above != root and _inside(above, root) and not os.listdir(above):
        os.rmdir(above)
        above = os.path.dirname(above)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> tuple[str, str]:
    """Put a member into its place; its kind and content."""
    target = _place(member.name, root)
    if member.isdir():
        os.makedirs(target, exist_ok=True)
        return "folder", ""
    # Of a sparse file, a few bytes would say that it fills the disk; ours have none.
    if not member.issym() and (not member.isreg() or member.issparse()):
        raise StoreError(f"The snapshot holds what is neither file, folder nor link: {member.name!r}")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if member.issym():
        there = os.path.realpath(os.path.join(os.path.dirname(target), member.linkname))
        if os.path.isabs(member.linkname) or not _inside(there, root):
            raise StoreError(f"The snapshot links outside its folder: {member.name!r}")
        _clear(target)
        os.symlink(member.linkname, target)
        return "link", member.linkname
    source = tar.extractfile(member)
    if source is None:
        raise StoreError(f"The snapshot is damaged: {member.name!r} has no content")
    _clear(target)
    digest = hashlib.sha256()
    with source, open(target, "wb") as out:
        for block in iter(lambda: source.read(1 << 20), b""):
            digest.update(block)
            out.write(block)
    executable = bool(member.mode & 0o100)
    os.chmod(target, 0o755 if executable else 0o644)
    return ("executable" if executable else "file"), digest.hexdigest()


def _clear(target: str) -> None:
    """Make room: a file is written anew, never through a link."""
    if os.path.lexists(target) and (os.path.islink(target) or not os.path.isdir(target)):
        os.unlink(target)


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)


class _Cautious:
    """The unpacked bytes of an archive. `tarfile` reads a header whole, however long the header says that it is."""

    def __init__(self, source: gzip.GzipFile) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise ValueError("a header is too long")
        return self._source.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """The archive, open for reading; whatever damage makes its readers raise becomes a sentence."""
    try:
        with gzip.open(str(archive), "rb") as packed, tarfile.open(
            fileobj=cast(BinaryIO, _Cautious(packed)), mode="r:"
        ) as tar:
            yield tar
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, RecursionError) as error:
        raise StoreError(f"The snapshot is damaged: {archive.name}: {error}") from error
    except OSError as error:
        raise StoreError(*explain(error, str(archive))) from error
