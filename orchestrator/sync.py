"""Brings outputs home: from the store into a folder, whole and verified, while they are made.

An index beside the files remembers what was brought, so that a file is fetched again only when the job made a newer
one or it is missing here, and one that a person has edited stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import contract, decoder
from orchestrator.errors import NotFound, StoreError, SwatchError
from orchestrator.store import crowd
from orchestrator.store.base import Store, check_key
from orchestrator.store.local import explain, replace_file, sha256_of


class Output(NamedTuple):
    """A file that a job made: where it is in the store, where it belongs in the folder, and what it must be."""

    key: str
    path: str
    size: int
    sha256: str


class Brought(msgspec.Struct, frozen=True):
    """A file as it was brought: the content, and how it then stood on the disk."""

    sha256: str
    size: int
    modified: int


class Homecoming:
    """One folder that outputs come home to. Keep one for as long as a folder is followed. Where outputs of another
    store lie in it, `folder` is one beside it: jobs of two stores have the same numbers, and one would take the other's
    files for its own of before."""

    def __init__(self, store: Store, folder: Path) -> None:
        index = _read_index(folder / contract.HOME_INDEX)
        if index.store not in ("", store.url):
            folder = folder.with_name(f"{folder.name}-{hashlib.sha256(store.url.encode()).hexdigest()[:6]}")
            index = _read_index(folder / contract.HOME_INDEX)
        self.folder = folder
        self.problems: dict[str, str] = {}  # path -> why it could not be brought
        self.edited: set[str] = set()  # files that differ from what was brought: a person's now
        self._store = store
        self._index, self._choices = index.files, index.choices
        self._dirty = False

    def choice(self, task: str) -> str | None:
        """The fingerprint of what a manifest last wanted here under that name."""
        return self._choices.get(task)

    def choose(self, task: str, fingerprint: str) -> None:
        """Remember what is wanted under that name: of several results, this one belongs here."""
        self._dirty |= self._choices.get(task) != fingerprint
        self._choices[task] = fingerprint

    def keep_only(self, task: str, paths: Collection[str]) -> None:
        """Remove what earlier runs brought for a task and this one did not make; what a person edited stays."""
        for path in [path for path in self._index if path.startswith(f"{task}/") and path not in paths]:
            try:
                target = self._target(path)  # the index lies among the outputs: anybody may have written it
                if target.is_file() and not self._is_edited(path, target):
                    target.unlink()
            except StoreError as error:
                self.problems[path] = error.message
            except OSError as error:
                self.problems[path] = explain(error, str(self.folder))[0]
            del self._index[path]
            self._dirty = True

    def _is_edited(self, path: str, target: Path) -> bool:
        brought, status = self._index[path], target.stat()
        same = (status.st_size, status.st_mtime_ns) == (brought.size, brought.modified)
        return not same and sha256_of(target) != brought.sha256

    def bring(self, output: Output) -> Path | None:
        """Bring one file if it is new; its path if it was brought now. What fails is told in `problems` and is tried
        again at the next call."""
        try:
            target = self._target(output.path)
            if self._is_home(output, target):
                self.problems.pop(output.path, None)
                return None
            self._fetch(output, target)
        except SwatchError as error:
            self.problems[output.path] = error.message
            return None
        except OSError as error:
            self.problems[output.path] = explain(error, str(self.folder))[0]
            return None
        self.problems.pop(output.path, None)
        status = target.stat()
        self._index[output.path] = Brought(output.sha256, status.st_size, status.st_mtime_ns)
        self._dirty = True
        return target

    def bring_all(self, outputs: Iterable[Output]) -> Iterator[Path | None]:
        """Bring many, as `bring` does each, several at once where the store is far; those of one path in order."""
        by_path: dict[str, list[Output]] = {}
        for output in outputs:
            by_path.setdefault(output.path, []).append(output)
        brought = crowd.each(lambda same: [self.bring(one) for one in same], by_path.values(), self._store.width)
        for paths in brought:
            yield from paths

    def save(self) -> None:
        """Write the index, if it changed; what fails is told in `problems`."""
        if not self._dirty:
            return
        try:
            index = _Index(self._index, self._choices, self._store.url)
            data = msgspec.json.encode({"schema": contract.SCHEMA, **msgspec.structs.asdict(index)})
            replace_file(self.folder / contract.HOME_INDEX, lambda out: out.write(data))
            self._dirty = False
            self.problems.pop(contract.HOME_INDEX, None)
        except OSError as error:
            self.problems[contract.HOME_INDEX] = explain(error, str(self.folder))[0]

    def _target(self, path: str) -> Path:
        """Where `path` belongs. Raises StoreError for one that would leave the folder, by its name or by a link."""
        target = self.folder / check_key(path)
        root = os.path.realpath(self.folder)
        if not (os.path.realpath(target.parent) + os.sep).startswith(root + os.sep):
            raise StoreError(f"{path} would leave {self.folder} through a link")
        return target

    def _is_home(self, output: Output, target: Path) -> bool:
        try:
            status = target.stat()
        except FileNotFoundError:
            return False
        brought = self._index.get(output.path)
        if brought is not None and brought.sha256 == output.sha256:
            if self._is_edited(output.path, target):
                self.edited.add(output.path)
            return True
        if status.st_size == output.size and sha256_of(target) == output.sha256:
            self._index[output.path] = Brought(output.sha256, status.st_size, status.st_mtime_ns)
            self._dirty = True
            return True
        return False

    def _fetch(self, output: Output, target: Path) -> None:
        temporary = target.parent / f".{uuid.uuid4().hex}.part"
        try:
            try:
                digest = self._store.download(output.key, temporary)
            except NotFound:
                raise StoreError(
                    f"{output.key} is missing in the store; swatch submit MANIFEST --retry-failed makes it anew"
                ) from None
            if digest != output.sha256:
                raise StoreError(f"{output.key} is not what the journal says: damaged, or just being replaced")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


class _Index(msgspec.Struct):
    files: dict[str, Brought] = {}
    choices: dict[str, str] = {}
    store: str = ""  # none in what was written before there was this field


def _read_index(file: Path) -> _Index:
    try:
        return decoder.from_json(file.read_bytes(), _Index)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return _Index()  # without an index, files are compared by content
