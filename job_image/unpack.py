"""Unpack a snapshot without trusting it.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours (`tarfile`'s own filters
came with 3.8.17 only).
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from orchestrator.errors import StoreError

MAX_FILES = 200_000
MAX_BYTES = 64 << 30


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the gzipped tar `archive` into `folder`: files, folders, and links that stay inside; nothing else.

    Raises StoreError for an archive that is damaged, too large, or holds anything that would leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = os.path.realpath(str(folder))
    files = size = 0
    try:
        with tarfile.open(str(archive), "r:gz") as tar:
            for member in tar:
                files, size = files + 1, size + member.size
                if files > MAX_FILES or size > MAX_BYTES:
                    raise StoreError(f"The snapshot is too large to unpack: {archive.name}")
                _extract(tar, member, root)
            # To the very end, where gzip keeps the checksum of it all.
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise StoreError(f"The snapshot is damaged: {archive.name}: {error}") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    target = os.path.normpath(os.path.join(root, member.name))
    # The parent's real path: a link unpacked earlier must not lead the way out.
    if not _inside(target, root) or not _inside(os.path.realpath(os.path.dirname(target)), root):
        raise StoreError(f"The snapshot would write outside its folder: {member.name!r}")
    if member.isdir():
        os.makedirs(target, exist_ok=True)
    elif member.issym():
        if os.path.isabs(member.linkname) or not _inside(
            os.path.realpath(os.path.join(os.path.dirname(target), member.linkname)), root
        ):
            raise StoreError(f"The snapshot links outside its folder: {member.name!r}")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(member.linkname, target)
    elif member.isreg():
        os.makedirs(os.path.dirname(target), exist_ok=True)
        source = tar.extractfile(member)
        if source is None:
            raise StoreError(f"The snapshot is damaged: {member.name!r} has no content")
        if os.path.islink(target):
            os.unlink(target)
        with source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
    else:
        raise StoreError(f"The snapshot holds what is neither file, folder nor link: {member.name!r}")


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)
