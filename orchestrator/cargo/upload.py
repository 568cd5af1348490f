"""Makes a tree of files a version of a dataset: claims a number, or goes on with what was begun, and sends only what is
not there.

Ended at any moment, even killed, it can be repeated: objects of the store are whole or not there, so one listing says
what is still to be sent. What an earlier version holds is copied inside the store. Two at once are safe: the same tree
is one version that both bring to its end, another tree is another version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import contract, project
from orchestrator.cargo import dataset
from orchestrator.cargo.content import Content, Leaf, of_files
from orchestrator.cargo.dataset import DELETED, UPLOADING, VALID, Record, Version
from orchestrator.errors import StoreError, UsageError
from orchestrator.store import crowd
from orchestrator.store.base import MAX_KEY, Store, check_key
from orchestrator.wording import shown

LOOKED_THROUGH = 5
"""Earlier versions in which files are looked for that need not be sent again."""
AT_ONCE = 16
"""Files that are sent at once, at least: on a disk of this computer, too, each waits until it is there to stay."""
RECENT = 50
"""Versions that are looked at: a folder that is mounted a thousand times must not cost a thousand requests."""


class Sent(NamedTuple):
    """How far an upload is: bytes that have gone (or were copied in the store), of so many."""

    done: int
    total: int


class Uploaded(NamedTuple):
    """What an upload did. `made` is False where an equal tree was there; `sent` counts bytes, `copied` files that the
    store copied itself, `kept` files that an upload that was cut short had brought."""

    version: Version
    made: bool
    sent: int = 0
    copied: int = 0
    kept: int = 0


Tell = Callable[[Sent], object]


def upload(
    store: Store,
    user: str,
    name: str,
    content: Content,
    *,
    description: str = "",
    source: str = "",
    mark: str = "",
    latest: bool = True,
    resume: bool = False,
    tell: Tell = lambda sent: None,
) -> Uploaded:
    """Have the dataset `user/name` hold the tree, as its latest version; or, with latest=False, as any. With `resume`,
    only what was begun is brought to its end. Raises UsageError for a name that cannot be or where there is nothing to
    resume, StoreError; also when a file has changed since the tree was looked at."""
    check_name(user, name)
    while True:
        versions = recent(store, user, name)
        valid = [one for one in versions if one.state == VALID]
        for one in valid[-1:] if latest else reversed(valid):
            if one.record.digest == content.digest:
                return Uploaded(one, False)
        begun = [one for one in versions if one.state == UPLOADING and one.record.digest == content.digest]
        if resume and not begun:
            raise UsageError(
                f"No upload of {user}/{name} was cut short with the files that are here now",
                hint="Upload them as a new version: swatch data upload",
            )
        claimed = begun[-1] if begun else claim(store, user, name, content, description, source, mark)
        if claimed is not None:
            return _fill(store, claimed, content, valid, tell)


def holding(store: Store, user: str, name: str, digest: str) -> Version | None:
    """The newest valid version that holds just this tree."""
    versions = reversed(recent(store, user, name))
    return next((one for one in versions if one.state == VALID and one.record.digest == digest), None)


def recent(store: Store, user: str, name: str) -> list[Version]:
    """The newest versions of a dataset, ascending."""
    return dataset.look_all(store, user, name, dataset.numbers(store, user, name)[-RECENT:])


def check_name(user: str, name: str) -> None:
    """Raises UsageError for a dataset that cannot be called so."""
    for text in (user, name):
        complaint = project.check_name(text)
        if complaint:
            raise UsageError(f"The name {shown(text)} {complaint}", hint="Write for example: swatch data init weights")


def claim(
    store: Store, user: str, name: str, content: Content, description: str, source: str, mark: str
) -> Version | None:
    """Begin the next version; None if somebody else was faster."""
    number = max(dataset.numbers(store, user, name), default=0) + 1
    prefix = contract.files_prefix(user, name, number)
    longest = max(content.files, key=lambda leaf: len(leaf.path.encode()))
    if len(prefix) + len(longest.path.encode()) > MAX_KEY:
        raise UsageError(f"{longest.path[:80]}... is too long for the store", hint="Shorten the path")
    record = Record(
        digest=content.digest,
        created=time.time(),
        description=description,
        source=source,
        mark=mark,
        size=content.size,
        count=len(content.files),
        files=content.files,
    )
    if not store.create(contract.upload_key(user, name, number), msgspec.json.encode(record)):
        return None
    return Version(user, name, number, UPLOADING, record)


def _fill(store: Store, version: Version, content: Content, valid: Sequence[Version], tell: Tell) -> Uploaded:
    missing = lacking(store, version)
    # Of several versions that hold a file, the newest counts: it comes last.
    known = {leaf.sha256: one.prefix + leaf.path for one in valid[-LOOKED_THROUGH:] for leaf in one.record.files}
    counted = _Count(sum(leaf.size for leaf in missing), tell)

    def bring(leaf: Leaf) -> bool:
        """Bring one file; whether the store copied it itself."""
        key = version.prefix + check_key(leaf.path)
        if leaf.sha256 in known:
            store.copy(known[leaf.sha256], key)
        elif isinstance(content.place, Path):
            file = content.place / leaf.path
            if not file.is_file():
                raise StoreError(f"{file} is gone", hint="Put it back, or upload what there is now")
            store.upload(file, key, leaf.sha256, counted.add)
            return False
        else:
            near = None if content.place.store is store else content.place.store
            store.copy(content.place.prefix + leaf.path, key, near)
        counted.add(leaf.size)
        return True

    try:
        copied = list(crowd.each(bring, missing, max(store.width, AT_ONCE)))
    except StoreError:
        # Whoever uploads the same tree may have brought it to its end, and then nothing can be written there any more.
        now = dataset.look(store, version.user, version.dataset, version.number)
        if now is None or now.state != VALID:
            raise
        return Uploaded(now, False)
    sent = sum(leaf.size for leaf, one in zip(missing, copied, strict=True) if not one)
    return Uploaded(finish(store, version, content), True, sent, sum(copied), len(content.files) - len(missing))


def lacking(store: Store, version: Version) -> list[Leaf]:
    """The files that a version is to hold and does not hold yet."""
    there = {entry.key: entry.size for entry in store.scan(version.prefix)}
    return [leaf for leaf in version.record.files if there.get(version.prefix + leaf.path) != leaf.size]


def finish(store: Store, version: Version, content: Content) -> Version:
    """Make a version valid, all of whose files are there. Raises StoreError if it was deleted meanwhile."""
    place = (version.user, version.dataset, version.number)
    record = msgspec.structs.replace(version.record, digest=content.digest, files=content.files, finished=time.time())
    made = store.create(contract.dataset_key(*place), msgspec.json.encode(record))
    now = dataset.look(store, *place)
    if now is None or now.state == DELETED:
        raise StoreError(f"{version.name} was deleted meanwhile", hint="Upload again for a new version")
    store.place(version.prefix)
    return version._replace(state=VALID, record=record) if made else now


def measured(store: Store, version: Version) -> Content:
    """The tree of a version whose files are there and whose digests nobody has told yet."""

    def leaf(one: Leaf) -> Leaf:
        return Leaf(one.path, one.size, one.sha256 or store.sha256(version.prefix + one.path))

    return of_files(crowd.each(leaf, version.record.files, store.width), version.content(store).place)


class _Count:
    """Bytes that have gone, told as they go by many threads."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._lock, self._done, self._total, self._tell = threading.Lock(), 0, total, tell
        tell(Sent(0, total))

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._tell(Sent(self._done, self._total))
