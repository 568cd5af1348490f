"""Datasets: immutable, numbered versions of a tree of files, each file an object of the store.

datasets/<user>/<name>/<version>/upload.json    what it is to hold; its creation allocates the number
datasets/<user>/<name>/<version>/files/<path>   the files
datasets/<user>/<name>/<version>/dataset.json   what it holds; created last, and only then the version is valid
datasets/<user>/<name>/<version>/deleted.json   it was deleted: its number is not used again
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from orchestrator import contract, decoder
from orchestrator.cargo.content import MAX_FILES, Content, Leaf, Shelf
from orchestrator.errors import NotFound, StoreError
from orchestrator.store import crowd
from orchestrator.store.base import Store, check_key

VALID, UPLOADING, DELETED = "valid", "uploading", "deleted"
_SHA256 = re.compile("[0-9a-f]{64}")


class Record(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from"}):
    """`upload.json` and `dataset.json`. `created` and `finished` are seconds since 1970, `size` the bytes of all files,
    `count` their number. `source` is where they came from (a job's output, an address), or empty; `mark` what the
    address then said of itself, to tell whether it has changed.

    Of what is copied from another bucket, digests are known only when it is here: `upload.json` then has none.
    """

    schema: int = contract.SCHEMA
    digest: str
    created: float
    finished: float | None = None
    description: str = ""
    source: str = ""
    mark: str = ""
    size: int
    count: int
    files: tuple[Leaf, ...]


class Version(NamedTuple):
    """A version of a dataset as the store has it; `state` is VALID, UPLOADING or DELETED."""

    user: str
    dataset: str
    number: int
    state: str
    record: Record

    @property
    def name(self) -> str:
        """The full name, FloydHub's form: `user/datasets/NAME/2`."""
        return f"{self.user}/datasets/{self.dataset}/{self.number}"

    @property
    def prefix(self) -> str:
        """Where its files stand."""
        return contract.files_prefix(self.user, self.dataset, self.number)

    def content(self, store: Store) -> Content:
        """Its files, as they stand in the store."""
        return Content(self.record.digest, self.record.files, Shelf(store, self.prefix))


def users(store: Store) -> list[str]:
    """Whose datasets there are."""
    return store.folders(contract.DATASETS)


def names(store: Store, user: str) -> list[str]:
    """The names of a person's datasets."""
    return store.folders(f"{contract.DATASETS}{user}/")


def numbers(store: Store, user: str, dataset: str) -> list[int]:
    """The numbers of a dataset's versions, ascending; of deleted ones, too."""
    found = store.folders(contract.dataset_prefix(user, dataset))
    return sorted(int(name) for name in found if re.fullmatch("[1-9][0-9]{0,8}", name))


def look(store: Store, user: str, dataset: str, number: int) -> Version | None:
    """A version as it is now; None if nobody ever began it. Raises StoreError for damaged records."""

    def read(key: str) -> Record | None:
        try:
            return _decoded(store.read(key), key)
        except NotFound:
            return None

    if store.exists(contract.withdrawn_key(user, dataset, number)):
        return Version(user, dataset, number, DELETED, Record(digest="", created=0.0, size=0, count=0, files=()))
    record = read(contract.dataset_key(user, dataset, number))
    if record is not None:
        return Version(user, dataset, number, VALID, record)
    record = read(contract.upload_key(user, dataset, number))
    return None if record is None else Version(user, dataset, number, UPLOADING, record)


def look_all(store: Store, user: str, dataset: str, wanted: Iterable[int] | None = None) -> list[Version]:
    """The versions of a dataset, ascending; those that were deleted are left out."""
    asked = numbers(store, user, dataset) if wanted is None else wanted
    found = crowd.each(lambda number: look(store, user, dataset, number), asked, store.width)
    return [version for version in found if version is not None and version.state != DELETED]


def latest(store: Store, user: str, dataset: str) -> Version | None:
    """The newest valid version."""
    for number in reversed(numbers(store, user, dataset)):
        version = look(store, user, dataset, number)
        if version is not None and version.state == VALID:
            return version
    return None


def delete(store: Store, version: Version) -> None:
    """Delete a version, at whatever stage it is; ended early, repeat it. Its number is not used again."""
    place = (version.user, version.dataset, version.number)
    mark = msgspec.json.encode({"schema": contract.SCHEMA, "deleted": time.time()})
    store.create(contract.withdrawn_key(*place), mark)
    store.remove(contract.dataset_key(*place))
    keys = (entry.key for entry in store.scan(version.prefix))
    for _ in crowd.each(store.remove, keys, store.width):
        pass


def half_deleted(store: Store, user: str, dataset: str, number: int) -> Version | None:
    """A version that was deleted and has left something in the store: `delete` was cut short."""
    version = look(store, user, dataset, number)
    if version is None or version.state != DELETED:
        return None
    left = store.exists(contract.dataset_key(user, dataset, number)) or any(store.scan(version.prefix))
    return version if left else None


def _decoded(data: bytes, key: str) -> Record:
    """The record. Raises StoreError for one that is damaged, later than this version, or would leave its folder."""
    try:
        if decoder.from_json(data, _Versioned).schema > contract.SCHEMA:
            raise StoreError(f"{key} was written by a later version of Swatch", hint="Update Swatch on this computer")
        record = decoder.from_json(data, Record)
    except msgspec.DecodeError as error:
        raise StoreError(f"{key} is damaged: {error}") from error
    if len(record.files) > MAX_FILES or len({leaf.path for leaf in record.files}) != len(record.files):
        raise StoreError(f"{key} is damaged: a path stands there twice, or there are too many")
    for leaf in record.files:
        check_key(leaf.path)
        if leaf.size < 0 or ((leaf.sha256 or record.digest) and not _SHA256.fullmatch(leaf.sha256)):
            raise StoreError(f"{key} is damaged: {leaf.path[:200]!r} has no size or digest")
    if record.digest and record.digest != contract.data_digest((leaf.path, leaf.sha256) for leaf in record.files):
        raise StoreError(f"{key} is damaged: its files are not those of its digest")
    return record


class _Versioned(msgspec.Struct):
    schema: int
