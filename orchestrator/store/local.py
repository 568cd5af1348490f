"""A store in a folder. Objects are files; every write goes through a temporary file on the same disk.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Callable, Iterator

from orchestrator.errors import NotFound, StoreError
from orchestrator.store.base import Entry, Store, Tell, check_key, nothing

_mask = threading.Lock()
_SCRATCH = ".scratch"  # half-written files; never listed


class LocalStore(Store):
    """Plain files under `root`. Atomic by rename (replace) and hard link (create)."""

    def __init__(self, root: str) -> None:
        # One folder has one name, whatever link leads to it: jobs are told apart by their store's.
        self.root = Path(os.path.realpath(os.path.expanduser(root)))
        self.url = str(self.root)

    def path(self, key: str) -> Path:
        """The file of `key`. Raises StoreError for a key that is none."""
        return self.root / check_key(key)

    def read(self, key: str) -> bytes:
        with self._told(key):
            return self.path(key).read_bytes()

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def write(self, key: str, data: bytes) -> None:
        self._put(key, lambda out: out.write(data), os.replace)

    def create(self, key: str, data: bytes) -> bool:
        if self.path(key).exists():  # spares the temporary file; the link below is what decides
            return False
        try:
            self._put(key, lambda out: out.write(data), _claim)
        except _Claimed:
            return False
        return True

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        def copy(out: BinaryIO) -> None:
            digest = hashlib.sha256()
            with open(file, "rb") as source:
                for block in iter(lambda: source.read(1 << 20), b""):
                    if sha256:
                        digest.update(block)
                    out.write(block)
                    tell(len(block))
            if sha256 and digest.hexdigest() != sha256:
                raise changed(file)

        self._put(key, copy, os.replace)

    def copy(self, key: str, to: str, of: Store | None = None) -> None:
        near = of or self
        if not isinstance(near, LocalStore):
            super().copy(key, to, of)
            return
        file = near.path(key)
        if not file.is_file():
            raise NotFound(f"Not in the store {near.url}: {key}")
        # Not a hard link: a file that is changed under one name would be under the other.
        self._put(to, lambda out: copy_bytes(file, out), os.replace)

    def remove(self, key: str) -> None:
        file = self.path(key)
        with self._told(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                file.unlink()
            except PermissionError:  # in a place that was made read-only
                file.parent.chmod(0o755)
                file.unlink()

    def sha256(self, key: str) -> str:
        with self._told(key):
            return sha256_of(self.path(key))

    def place(self, prefix: str) -> Path | None:
        folder = self.path(prefix.rstrip("/"))
        if not folder.is_dir():
            return None
        with self._told():
            make_read_only(folder)
        return folder

    def download(self, key: str, file: Path) -> str:
        digest = hashlib.sha256()

        def copy(out: BinaryIO) -> None:
            for block in iter(lambda: source.read(1 << 20), b""):
                digest.update(block)
                out.write(block)

        with self._told(key), open(self.path(key), "rb") as source:
            replace_file(file, copy)
        return digest.hexdigest()

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        folder = self.root / check_key(prefix.rstrip("/")) if prefix else self.root
        yield from _walk(str(folder), prefix, after)

    def folders(self, prefix: str) -> list[str]:
        folder = self.root / check_key(prefix.rstrip("/")) if prefix else self.root
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name != _SCRATCH)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # A writer that died (or is about to go on) between folder and file leaves an empty folder: that is nothing.
        return [name for name in names if any(files for _, _, files in os.walk(folder / name))]

    def _put(self, key: str, fill: Callable[[BinaryIO], object], publish: Callable[[str, str], None]) -> None:
        target = self.path(key)
        with self._told():
            scratch = self.root / _SCRATCH
            scratch.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=str(scratch))
            try:
                with os.fdopen(handle, "wb") as out:
                    fill(out)
                    out.flush()
                    os.fsync(out.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                publish(temporary, str(target))
            finally:
                if os.path.lexists(temporary):
                    os.unlink(temporary)

    @contextmanager
    def _told(self, wanted: str | None = None) -> Iterator[None]:
        """Turn the system's errors into sentences; what is missing while `wanted` is read is that."""
        try:
            yield
        except OSError as error:
            if wanted is not None and isinstance(error, FileNotFoundError):
                raise NotFound(f"Not in the store {self.url}: {wanted}") from error
            raise StoreError(*explain(error, self.url)) from error


class _Claimed(Exception):
    """Another object has the key."""


def _claim(temporary: str, target: str) -> None:
    """Give the file its name unless the name is taken: a hard link decides, whoever else tries."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _Claimed from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        raise StoreError(
            f"The store's file system has no hard links, which keep two jobs from one number: {target}",
            hint="Put the store on this computer's own disk: --store ~/.swatch/store",
        ) from error


def changed(file: Path) -> StoreError:
    """What to say of a file that is no longer what it was when it was looked at."""
    return StoreError(f"{file} has changed meanwhile", hint="Leave it as it is for a while, and do the same again")


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hex. Raises OSError."""
    digest = hashlib.sha256()
    with open(str(file), "rb") as opened:
        for block in iter(lambda: opened.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def copy_bytes(file: Path, out: BinaryIO) -> None:
    """Write the file's bytes, shared with it on file systems that can (copy_file_range(2): Btrfs, XFS)."""
    with open(file, "rb") as source:
        left = os.fstat(source.fileno()).st_size
        try:
            while left > 0:
                done = os.copy_file_range(source.fileno(), out.fileno(), left)
                if not done:
                    break
                left -= done
        except (AttributeError, OSError):  # another system, or two disks
            source.seek(0)
            out.seek(0)
            out.truncate()
            shutil.copyfileobj(source, out, 1 << 20)


def make_read_only(folder: Path) -> None:
    """Take the right to write away from all files and folders in `folder`, itself last: one that has none is done."""
    if not os.stat(str(folder)).st_mode & 0o222:
        return
    for parent, _, names in os.walk(str(folder), topdown=False):
        for path in [os.path.join(parent, name) for name in names] + [parent]:
            if not os.path.islink(path):
                with contextlib.suppress(PermissionError):  # another person's: what they may write is theirs to say
                    os.chmod(path, os.stat(path).st_mode & ~0o222)


def used(folder: Path) -> None:
    """Note that a folder of the cache is used now: what nobody has used for long may be removed."""
    with contextlib.suppress(PermissionError):  # another person's: they say how long it stays
        os.utime(str(folder))


def explain(error: OSError, place: str) -> tuple[str, str | None]:
    """(sentence, hint) for an error of the system while something was written or read below `place`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error.filename or place} could not be written", "Free some space: df -h"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission: {error.filename or place}", None
    return f"{error.filename or place}: {error.strerror or error}", None


def replace_file(file: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name beside it, then rename: `file` is never seen half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(file.parent), prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w+b") as out:
            fill(out)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, str(file))
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _umask() -> int:
    # Reading the mask means setting it; two threads at once would leave the wrong one.
    with _mask:
        mask = os.umask(0o022)
        os.umask(mask)
    return mask


def _walk(folder: str, prefix: str, after: str) -> Iterator[Entry]:
    """Depth first in the order of whole keys: a folder sorts as its name with a slash."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name + "/" if entry.is_dir() else entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name == _SCRATCH and not prefix:
            continue
        key = prefix + entry.name
        if entry.is_dir():
            # Keys below a folder all begin with its name: `after` lies among them, or all sort on one side of it.
            if key + "/" > after or after.startswith(key + "/"):
                yield from _walk(entry.path, key + "/", after)
        elif key > after:
            yield Entry(key, entry.stat().st_size)
