"""What a job needs as cargo (code, data, input): a set of files packed once and addressed by its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator import contract
from orchestrator.cargo import agent, archive, ignore, tree
from orchestrator.cargo.archive import Member
from orchestrator.cargo.index import Index, Sent
from orchestrator.cargo.tree import Entry, LeftOut, Tree
from orchestrator.errors import UsageError
from orchestrator.store.base import Store

REQUIREMENTS = ("floyd_requirements.txt", "requirements.txt")
"""Files at the top of the code that list packages; the first that is there counts."""
MAX_BYTES = 512 << 20
"""Of all files together. Code beyond this is nearly always data that should be mounted."""
LISTED = 10
"""The largest paths that are named where there is too much."""


class Snapshot(NamedTuple):
    """Files that travel together. `digest` is of all paths, kinds and contents, so equal trees have equal digests
    whatever their times and owners. Of a folder's code: what was left out, the ignore file that a line would go into,
    and what this computer remembers of the folder."""

    digest: str
    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...] = ()
    ignore_file: str = ignore.OURS
    remembered: Index | None = None

    @property
    def size(self) -> int:
        """Bytes of all files, as they are on this machine."""
        return sum(member.size for member in self.members)

    @property
    def requirements(self) -> str | None:
        """The file whose packages the code's commands need; None if there is none."""
        there = {member.name for member in self.members}
        return next((name for name in REQUIREMENTS if name in there), None)

    def carry(self, store: Store, whole: bool = False) -> int:
        """Put it into the store unless it is there already; how many bytes were sent. What was sent of this folder
        before is not sent again, unless it has to be `whole`: for jobs that cannot read the store. Raises SwatchError
        for a file that is no longer what the snapshot says."""
        there = store.exists(contract.code_key(self.digest))
        if there and not whole:
            return 0
        known = self.remembered.last(store.url) if self.remembered is not None else None
        if there:
            if known is not None and (known.digest, known.depth) == (self.digest, 0):
                return 0
            sent = make_whole(store, self.digest)
            self._remember(store, 0)
            return sent
        if known is not None and not whole:
            delta = archive.delta(self.members, known.digest, known.depth, known.members)
            if delta is not None and store.exists(contract.code_key(known.digest)):
                return self._send(store, delta.members, delta.depth, delta.headers)
        return self._send(store, self.members, 0, None)

    def upload(self, store: Store) -> None:
        """Put it into the store, whole, whatever is there. Raises SwatchError as `carry` does."""
        self._send(store, self.members, 0, None)

    def _send(self, store: Store, members: Iterable[Member], depth: int, headers: Mapping[str, str] | None) -> int:
        key = contract.code_key(self.digest)
        with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
            packed = Path(folder, "snapshot.tar.gz")
            archive.write(packed, members, headers)
            sent = packed.stat().st_size
            if depth and not store.create(key, packed.read_bytes()):
                return sent  # somebody else has put it there, perhaps whole: a delta never takes its place
            if not depth:
                store.upload(packed, key)
        self._remember(store, depth)
        return sent

    def _remember(self, store: Store, depth: int) -> None:
        if self.remembered is not None:
            inside = {member.name: (member.kind, member.content) for member in self.members}
            self.remembered.remember(store.url, Sent(self.digest, depth, inside))


ENGINE = ("synthesize.py", "flags.py", "novelty.py")
"""The synthesis program's own files, beside its package `texture`."""


def of_engine() -> Snapshot:
    """The synthesis program, as installed with Swatch."""
    root = agent.folder("job_image")
    files = [*(root / name for name in ENGINE), *(root / "texture").glob("*.py")]
    return of_members(
        Member(file.relative_to(root).as_posix(), file, "file", hashlib.sha256(file.read_bytes()).hexdigest())
        for file in files
    )


def of_folder(folder: Path, without: Path | None = None, index: Index | None = None) -> Snapshot:
    """What a job of this folder needs: all of it but what its ignore files and the built-in lists name, and the one
    file `without`. With an index, files that have not changed are not read again.

    Raises UsageError when there is too much, naming the largest paths and the lines that leave them out; SwatchError
    for what cannot be read."""
    found = tree.read(folder, without)
    _check_size(folder, found)
    files = [entry for entry in found.entries if entry.kind in ("file", "executable")]

    def read(entry: Entry) -> bytes:
        try:
            with open(entry.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise tree.unreadable(entry, error, found.ignore_file) from error

    contents = index.contents(files, read) if index is not None else {entry.name: read(entry) for entry in files}

    def member(entry: Entry) -> Member:
        name, at, _, kind = entry
        if kind in ("file", "executable"):
            return Member(name, at, kind, contents[name].hex())
        return Member(name, at, kind, os.readlink(at) if kind == "link" else "")

    made = of_members(map(member, found.entries))
    return made._replace(left_out=found.left_out, ignore_file=found.ignore_file, remembered=index)


def of_members(found: Iterable[Member]) -> Snapshot:
    """The snapshot of files whose content is known already."""
    members = tuple(sorted(found, key=lambda member: member.name))
    return Snapshot(contract.snapshot_digest((one.name, one.kind, one.content) for one in members), members)


def bring(store: Store, digest: str, folder: Path) -> None:
    """Make `folder`, which is empty or missing, what the snapshot of this digest holds. Raises NotFound; StoreError for
    one that is damaged or would write anything outside."""
    from job_image.unpack import fetch

    with tempfile.TemporaryDirectory(prefix="swatch-") as work:
        fetch(store, digest, folder, Path(work))


def make_whole(store: Store, digest: str) -> int:
    """Make sure that a stored snapshot builds on no other, for jobs that cannot read the store; how many bytes were
    sent for that. Raises as `bring`."""
    from job_image.unpack import base_of, fetch

    key = contract.code_key(digest)
    with tempfile.TemporaryDirectory(prefix="swatch-") as work:
        packed, folder = Path(work, "snapshot.tar.gz"), Path(work, "tree")
        store.download(key, packed)
        if base_of(packed) is None:
            return 0
        found = fetch(store, digest, folder, Path(work), packed)
        whole = of_members(Member(name, folder / name, *what) for name, what in found.items())
        archive.write(packed, whole.members)
        store.upload(packed, key)
        return packed.stat().st_size


def _check_size(folder: Path, found: Tree) -> None:
    sizes = {entry.name: entry.state.st_size for entry in found.entries if entry.kind in ("file", "executable")}
    total = sum(sizes.values())
    if total <= MAX_BYTES:
        return
    shown = largest(sizes)
    listed = "".join(f"\n  {size / 1e6:9.1f} MB  {path}" for path, size in shown)
    lines, rest = [], total
    for path, size in shown:
        if rest > MAX_BYTES:
            lines.append(ignore.line(path.rstrip("/"), path.endswith("/")))
            rest -= size
    written = "".join(f"\n{line}" for line in lines)
    raise UsageError(
        f"{folder} holds {total / 1e6:.0f} MB, and {MAX_BYTES / 1e6:.0f} MB travel as code; largest:{listed}\n"
        f"Lines for {found.ignore_file} that leave enough out:{written}",
        hint=f"Write those that are not code into {found.ignore_file}, or mount them with --data ./FOLDER:NAME",
    )


def largest(sizes: Mapping[str, int], most: int = LISTED) -> list[tuple[str, int]]:
    """The largest paths with their bytes, of files by their path: a folder (its name ends with a slash) stands for what
    is in it unless one path in it has more than half of that. Pure."""
    below: dict[str, int] = {}
    inside: dict[str, set[str]] = {"": set()}
    for name, size in sizes.items():
        parts = name.split("/")
        for depth in range(len(parts), 0, -1):
            path, above = "/".join(parts[:depth]), "/".join(parts[: depth - 1])
            below[path] = below.get(path, 0) + size
            inside.setdefault(above, set()).add(path)
    shown, open_folders = [], [""]
    while open_folders:
        for path in inside[open_folders.pop()]:
            if path in inside and max(below[one] for one in inside[path]) * 2 > below[path]:
                open_folders.append(path)
            else:
                shown.append((f"{path}/" if path in inside else path, below[path]))
    return sorted(shown, key=lambda one: (-one[1], one[0]))[:most]
