"""What a job needs as cargo (code, data, input): a set of files packed once and addressed by its content."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from orchestrator import contract
from orchestrator.errors import SwatchError, UsageError
from orchestrator.store.base import Store

ALWAYS_IGNORED = (
    *(".git/", ".hg/", ".svn/", ".venv/", "venv/", "__pycache__/", "*.py[co]", ".mypy_cache/", ".pytest_cache/"),
    *(".ruff_cache/", ".ipynb_checkpoints/", "node_modules/", ".DS_Store", ".env", ".env.*", "/outputs/", ".swatch/"),
)
IGNORE_FILES = (".gitignore", ".swatchignore")
MAX_BYTES = 512 << 20
"""Of all files together. Code beyond this is nearly always data that should be mounted."""


class Member(NamedTuple):
    """A file or link of a snapshot: its path inside, where it is on this machine (or its very bytes), and what of it
    counts: `file`, `executable` or `link`, and the SHA-256 of its content or where it links to."""

    name: str
    path: Path | bytes
    kind: str
    content: str


class Snapshot(NamedTuple):
    """Files that travel together. `digest` is of the sorted list of (path, executable, content), so equal trees have
    equal digests whatever their times and owners."""

    digest: str
    members: tuple[Member, ...]
    left_out: tuple[str, ...] = ()  # links that lead outside the folder: the job's machine has nothing there

    @property
    def size(self) -> int:
        """Bytes of all files, as they are on this machine."""
        return sum(len(at) if isinstance(at, bytes) else at.lstat().st_size for _, at, _, _ in self.members)

    def carry(self, store: Store) -> bool:
        """Put it into the store unless it is there already; whether anything was sent."""
        if store.exists(contract.code_key(self.digest)):
            return False
        self.upload(store)
        return True

    def upload(self, store: Store) -> None:
        """Put it into the store. Raises SwatchError for a file that is no longer what the snapshot says."""
        with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
            archive = Path(folder, "snapshot.tar.gz")
            _write(archive, self.members)
            store.upload(archive, contract.code_key(self.digest))


ENGINE = ("synthesize.py", "flags.py", "novelty.py")
"""The synthesis program's own files, beside its package `texture`."""


def of_engine() -> Snapshot:
    """The synthesis program, as installed with Swatch."""
    found = importlib.util.find_spec("job_image")
    if found is None or not found.submodule_search_locations:
        raise SwatchError("The package job_image is missing", hint="Install Swatch again: make clean demo")
    root = Path(next(iter(found.submodule_search_locations)))
    files = [*(root / name for name in ENGINE), *(root / "texture").glob("*.py")]
    return _snapshot((file.relative_to(root).as_posix(), file) for file in files)


def of_folder(folder: Path, ignore: bool = True, without: Path | None = None) -> Snapshot:
    """What a job of this folder needs: all of it but what `.gitignore`, `.swatchignore` and ALWAYS_IGNORED name
    (`ignore=False` for data: all of it), and the one file `without`. Raises UsageError when there is too much, naming
    the largest files."""
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}")
    root, manifest = os.path.realpath(folder), without.resolve() if without else None
    found = [(name, path) for name, path in _walk(folder, ignore) if path.resolve() != manifest]
    outside = [name for name, path in found if path.is_symlink() and not _stays_inside(path, root)]
    if outside and not ignore:
        raise UsageError(
            f"{folder / outside[0]} leads outside the folder", hint="Put the file itself there, or mount its folder"
        )
    found = [(name, path) for name, path in found if name not in set(outside)]
    sizes = {name: path.lstat().st_size for name, path in found}
    total = sum(sizes.values())
    if ignore and total > MAX_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:10]
        lines = "".join(f"\n  {sizes[name] / 1e6:9.1f} MB  {name}" for name in largest)
        raise UsageError(
            f"{folder} holds {total / 1e6:.0f} MB, and {MAX_BYTES / 1e6:.0f} MB travel as code; largest:{lines}",
            hint="Name what is not code in .swatchignore, or mount it with `data`",
        )
    return _snapshot(found)._replace(left_out=tuple(outside))


def _stays_inside(link: Path, root: str) -> bool:
    return os.path.realpath(link).startswith(root + os.sep) and not os.path.isabs(os.readlink(link))


def _walk(folder: Path, ignore: bool) -> Iterable[tuple[str, Path]]:
    """(path inside, path here) of every file and link that is not ignored."""
    import pathspec

    lines = list(ALWAYS_IGNORED)
    for name in IGNORE_FILES:
        if (folder / name).is_file():
            lines += (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
    spec = pathspec.GitIgnoreSpec.from_lines(lines if ignore else [])
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        prefix = here.relative_to(folder).as_posix()
        prefix = "" if prefix == "." else prefix + "/"
        folders[:] = sorted(name for name in folders if not spec.match_file(f"{prefix}{name}/"))
        if ignore:  # outputs that came home, wherever `--into` put them: or every job would change the code
            folders[:] = [name for name in folders if not (here / name / contract.HOME_INDEX).is_file()]
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = here / name
            if not spec.match_file(prefix + name) and (path.is_symlink() or path.is_file()):
                yield prefix + name, path


def _snapshot(found: Iterable[tuple[str, Path]]) -> Snapshot:
    return of_members(Member(name, path, *_content(path)) for name, path in found)


def of_members(found: Iterable[Member]) -> Snapshot:
    """The snapshot of files whose content is known already."""
    members = tuple(sorted(found, key=lambda member: member.name))
    digest = hashlib.sha256()
    for member in members:
        name = os.fsencode(member.name)
        digest.update(b"%d:%b:%b\n" % (len(name), name, os.fsencode(f"{member.kind}:{member.content}")))
    return Snapshot(digest.hexdigest(), members)


def _content(path: Path) -> tuple[str, str]:
    """What of a file makes it different: its kind, and its SHA-256 or where it links to."""
    if path.is_symlink():
        return "link", os.readlink(path)
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return ("executable" if path.stat().st_mode & 0o100 else "file"), content


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
        raise SwatchError(f"{member.path} is gone", hint="Put it back, and submit again") from None


def _write(archive: Path, members: Iterable[Member]) -> None:
    """A gzipped tar with nothing in it but names, modes and bytes: the same files give the same archive. Raises
    SwatchError for a file that is no longer what its snapshot says."""
    with (
        open(archive, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for member in members:
            info = tarfile.TarInfo(member.name)
            if member.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, member.content
                tar.addfile(info)
                continue
            with _opened(member) as file:
                hashed = _Hashed(file)
                info.size = file.seek(0, os.SEEK_END)
                file.seek(0)
                info.mode = 0o755 if member.kind == "executable" else 0o644
                tar.addfile(info, cast(BinaryIO, hashed))
            if hashed.content != member.content:
                raise SwatchError(f"{member.path!s} has changed meanwhile", hint="Submit again")
