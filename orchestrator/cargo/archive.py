"""The archive of a snapshot: a gzipped tar with nothing in it but names, modes and bytes, so that the same files give
the same archive. A delta holds what differs from another snapshot, and says so in its global headers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from orchestrator import contract
from orchestrator.errors import SwatchError
from orchestrator.wording import quoted

LEVEL = 6
BLOCK = 512
"""A tar's unit: a header takes one, and content is filled up to whole ones (POSIX pax, "ustar Interchange Format")."""
WORTH = 256 << 10
"""Bytes, unpacked, that a delta must save: below that a job's additional request costs more."""
LARGEST_DELTA = 32 << 20
"""Bytes, unpacked, of a delta: it is put into the store in one piece."""


class Member(NamedTuple):
    """A file, link or empty folder of a snapshot: its path inside, where it is on this machine (or its very bytes), and
    what of it counts: `file`, `executable`, `link` or `folder`, and the SHA-256 of its content or where it links to."""

    name: str
    path: Path | str | bytes
    kind: str
    content: str

    @property
    def size(self) -> int:
        """Bytes of a file, as it is on this machine; none for what has no content."""
        if isinstance(self.path, bytes):
            return len(self.path)
        if self.kind not in ("file", "executable"):
            return 0
        try:
            return os.lstat(self.path).st_size
        except FileNotFoundError:
            raise _gone(self.path) from None


class Delta(NamedTuple):
    """What differs from the snapshot `base`: the members that are new or changed, and the paths that are gone or are of
    another kind. `depth` is on how many snapshots it builds."""

    base: str
    depth: int
    members: tuple[Member, ...]
    removed: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """As the archive has them."""
        return {
            contract.DELTA_BASE: self.base,
            contract.DELTA_DEPTH: str(self.depth),
            contract.DELTA_REMOVED: json.dumps(self.removed),
        }


def delta(members: tuple[Member, ...], base: str, depth: int, before: Mapping[str, tuple[str, str]]) -> Delta | None:
    """What makes these members of the snapshot `base`, in which `before` is, if that is worth it. `depth` is the
    base's; a delta upon MAX_DELTA_DEPTH others is none. Reads sizes only."""
    now = {member.name: _shape(member.kind) for member in members}
    changed = tuple(one for one in members if before.get(one.name) != (one.kind, one.content))
    if not changed and members:
        changed = (min(members, key=lambda one: one.size),)  # tarfile reads no headers of an archive without a member
    removed = tuple(sorted(name for name, (kind, _) in before.items() if now.get(name) != _shape(kind)))
    found = Delta(base, depth + 1, changed, removed)
    if not changed or depth >= contract.MAX_DELTA_DEPTH:
        return None
    costs, whole = _bulk(changed) + len(found.headers[contract.DELTA_REMOVED]), _bulk(members)
    return found if costs * 2 <= whole and whole - costs >= WORTH and costs <= LARGEST_DELTA else None


def write(archive: Path, members: Iterable[Member], headers: Mapping[str, str] | None = None) -> None:
    """Write the archive. Raises SwatchError for a file that is no longer what its snapshot says."""
    with (
        open(archive, "wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar,
    ):
        for member in members:
            info = tarfile.TarInfo(member.name)
            if member.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, member.content
                tar.addfile(info)
            elif member.kind == "folder":
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                _add(tar, info, member)


def _shape(kind: str) -> str:
    return "file" if kind == "executable" else kind


def _bulk(members: Iterable[Member]) -> int:
    """Bytes of these members in a tar."""
    return sum(BLOCK + -(-one.size // BLOCK) * BLOCK for one in members)


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, member: Member) -> None:
    changed = SwatchError(f"{quoted(str(member.path))} has changed meanwhile", hint="Submit again")
    with _opened(member) as file:
        hashed = _Hashed(file)
        info.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        info.mode = 0o755 if member.kind == "executable" else 0o644
        try:
            tar.addfile(info, cast(BinaryIO, hashed))
        except OSError as error:
            if error.errno is not None:
                raise
            raise changed from error  # it has become shorter than it was a moment ago
    if hashed.content != member.content:
        raise changed


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def content(self) -> str:
        return self._digest.hexdigest()


def _opened(member: Member) -> BinaryIO:
    if isinstance(member.path, bytes):
        return io.BytesIO(member.path)
    try:
        return open(member.path, "rb")
    except FileNotFoundError:
        raise _gone(member.path) from None


def _gone(path: Path | str) -> SwatchError:
    return SwatchError(f"{quoted(str(path))} is gone", hint="Put it back, and submit again")
