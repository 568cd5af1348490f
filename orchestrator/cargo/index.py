"""What this computer remembers of a folder, so that nothing is read or sent twice: the content of files that have not
changed since, by their stamps, and the last snapshot of it in each store.

A cache in `SWATCH_HOME/index/`: damage, absence or another version's form costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from orchestrator import decoder
from orchestrator.store.local import replace_file

if TYPE_CHECKING:
    from orchestrator.cargo.tree import Entry

SCHEMA = 1
GRANULE = 2_000_000_000
"""Nanoseconds. A file may be changed again within one tick of its file system's clock and look the same; FAT's tick,
the coarsest, is two seconds. So what was changed this shortly before it was read is read again the next time (git's
"racy" entries: Documentation/technical/racy-git.txt)."""
MAX_FOLDERS = 32
"""Folders that are remembered; the one not used for longest goes first."""

Stamp = tuple[int, int, int, int, bytes]
"""Size, time of change and of the inode's change (nanoseconds), inode; and the SHA-256 of what was read then."""


class Sent(NamedTuple):
    """A snapshot as it was put into a store: how many others it builds on, and what is in it: for each path its kind
    and content."""

    digest: str
    depth: int
    members: dict[str, tuple[str, str]]


class _Stamps(msgspec.Struct, frozen=True, array_like=True):
    schema: int
    stamps: dict[bytes, Stamp]


class _Sent(msgspec.Struct, frozen=True, array_like=True):
    schema: int
    store: str
    digest: str
    depth: int
    members: dict[bytes, tuple[str, bytes]]


Record = TypeVar("Record", _Stamps, _Sent)


class Index:
    """What is remembered of one folder. `now` tells nanoseconds since 1970, as the stamps of files do."""

    def __init__(self, home: Path, folder: Path, now: Callable[[], int] = time.time_ns) -> None:
        self._all = home / "index"
        self._folder = self._all / hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
        self._now = now

    def contents(self, entries: Iterable[Entry], read: Callable[[Entry], bytes]) -> dict[str, bytes]:
        """The SHA-256 of each file, by its path inside: remembered, or what `read` says."""
        record = _load(self._folder / "stamps", _Stamps)
        before: Mapping[bytes, Stamp] = record.stamps if record is not None else {}
        after: dict[bytes, Stamp] = {}
        contents: dict[str, bytes] = {}
        for entry in entries:
            state, key = entry.state, os.fsencode(entry.name)
            seen = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
            known = before.get(key)
            if known is not None and known[:4] == seen:
                after[key], contents[entry.name] = known, known[4]
                continue
            settled = self._now() - GRANULE
            content = contents[entry.name] = read(entry)
            if max(state.st_mtime_ns, state.st_ctime_ns) < settled:
                after[key] = (*seen, content)
        if after != before:
            self._save("stamps", _Stamps(SCHEMA, after))
        return contents

    def last(self, store: str) -> Sent | None:
        """The snapshot of this folder that was last put into the store of that URL."""
        record = _load(self._folder / _name(store), _Sent)
        if record is None or record.store != store:
            return None
        members = {os.fsdecode(name): (kind, os.fsdecode(of)) for name, (kind, of) in record.members.items()}
        return Sent(record.digest, record.depth, members)

    def remember(self, store: str, sent: Sent) -> None:
        """That this snapshot was put into the store."""
        members = {os.fsencode(name): (kind, os.fsencode(of)) for name, (kind, of) in sent.members.items()}
        self._save(_name(store), _Sent(SCHEMA, store, sent.digest, sent.depth, members))

    def _save(self, name: str, record: _Stamps | _Sent) -> None:
        data = msgspec.msgpack.encode(record)
        try:
            replace_file(self._folder / name, lambda out: out.write(hashlib.sha256(data).digest() + data))
            os.utime(self._folder)
            self._forget()
        except OSError:  # a full disk, say: what is not remembered is read again
            return

    def _forget(self) -> None:
        folders = [one for one in self._all.iterdir() if one.is_dir()]
        if len(folders) > MAX_FOLDERS:
            folders.sort(key=lambda one: one.stat().st_mtime_ns)
            for old in folders[: len(folders) - MAX_FOLDERS]:
                shutil.rmtree(old, ignore_errors=True)


def _name(store: str) -> str:
    return "sent-" + hashlib.sha256(store.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _load(file: Path, form: type[Record]) -> Record | None:
    """What the file says, if it is whole, of this form and of this version."""
    try:
        data = file.read_bytes()
        if data[:32] != hashlib.sha256(data[32:]).digest():
            return None
        record = decoder.from_msgpack(data[32:], form)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return record if record.schema == SCHEMA else None
