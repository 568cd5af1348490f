"""A far store whose records that are written once (jobs, ends, bills, journals) are kept on this computer, too.

They need be fetched only once then; and what is known of jobs can be told when the store is out of reach: without
network, or with a sign-in that has expired. A store has an identity of its own (`store.json`), so that records of one
are never taken for those of another that came to stand at the same URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from orchestrator.errors import CloudError, Expired, NotFound, StoreError, Unreachable
from orchestrator.store.base import Entry, Store, Tell, nothing
from orchestrator.store.local import LocalStore, replace_file

IDENTITY = "store.json"
WRITTEN_ONCE = re.compile(
    r"projects/[^/]+/(jobs/[0-9]+/(job\.json|final\.json|journal/[0-9]{8}\.jsonl)|launches/[^/]+\.json)"
)
DELETED = re.compile(r"projects/(?P<project>[^/]+)/deleted/(?P<number>[0-9]+)\.json")

Result = TypeVar("Result")


class KeptStore(Store):
    """`far`, with its records kept in `folder`. Where `offline`, what is out of reach is answered from there, and
    `away` then says why. Nothing is ever written to the folder alone."""

    def __init__(self, far: Store, folder: Path, offline: bool = False) -> None:
        self.far, self.url, self.width = far, far.url, far.width
        self.away: CloudError | None = None
        self._folder, self._offline = folder, offline
        self._near: LocalStore | None = None
        self._nameless = False  # asked, and without an identity

    def read(self, key: str) -> bytes:
        once = WRITTEN_ONCE.fullmatch(key) is not None
        near = self._kept() if once or self.away else None
        if near is not None:
            try:
                return near.read(key)
            except NotFound:
                if self.away:
                    raise
        data = self._or_near(lambda: self.far.read(key), lambda near: near.read(key))
        if once and near is not None and not self.away:
            _keep(near, key, data)
        return data

    def exists(self, key: str) -> bool:
        return self._or_near(lambda: self.far.exists(key), lambda near: near.exists(key))

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        found = self._or_near(lambda: list(self.far.scan(prefix, after)), lambda near: list(near.scan(prefix, after)))
        if not self.away:
            self._forget(entry.key for entry in found)
        return iter(found)

    def _forget(self, keys: Iterable[str]) -> None:
        """Keep nothing more of jobs that have the mark of the deleted, whoever deleted them."""
        for mark in filter(None, map(DELETED.fullmatch, keys)):
            near, job = self._kept(), f"projects/{mark['project']}/jobs/{mark['number']}/"
            if near is not None and near.exists(f"{job}job.json"):
                with contextlib.suppress(StoreError):  # without permission, say: it is tried again
                    for entry in list(near.scan(job)):
                        near.remove(entry.key)

    def folders(self, prefix: str) -> list[str]:
        return self._or_near(lambda: self.far.folders(prefix), lambda near: near.folders(prefix))

    def write(self, key: str, data: bytes) -> None:
        self.far.write(key, data)
        if WRITTEN_ONCE.fullmatch(key) and (near := self._kept()) is not None:
            near.remove(key)  # only a job that is deleted has such a record replaced

    def create(self, key: str, data: bytes) -> bool:
        self._identify()
        made = self.far.create(key, data)
        if made and WRITTEN_ONCE.fullmatch(key) and (near := self._kept()) is not None:
            _keep(near, key, data)
        return made

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        self.far.upload(file, key, sha256, tell)

    def copy(self, key: str, to: str, of: Store | None = None) -> None:
        self.far.copy(key, to, of.far if isinstance(of, KeptStore) else of)

    def remove(self, key: str) -> None:
        self.far.remove(key)
        if (near := self._kept()) is not None:
            near.remove(key)

    def sha256(self, key: str) -> str:
        return self.far.sha256(key)

    def download(self, key: str, file: Path) -> str:
        return self.far.download(key, file)

    def _or_near(self, ask: Callable[[], Result], look: Callable[[LocalStore], Result]) -> Result:
        """What the far store says, or what is kept of it where it cannot be asked."""
        if not self.away:
            try:
                return ask()
            except (Expired, Unreachable) as error:
                if not self._offline or self._last() is None:
                    raise
                self.away, self._near = error, self._last()
        assert self._near is not None
        return look(self._near)

    # Which store it is

    def _kept(self) -> LocalStore | None:
        """The folder for this very store; None for one without identity, of which nothing was ever created."""
        if self._near is None and not self._nameless:
            identity = self._or_near(self._read_identity, lambda near: "")
            self._nameless = not identity and not self.away
            if identity:
                self._near = LocalStore(str(self._folder / identity))
                with contextlib.suppress(OSError):  # a full disk: offline, nothing is known then
                    replace_file(self._named(), lambda out: out.write(identity.encode()))
        return self._near

    def _read_identity(self) -> str:
        try:
            found = json.loads(self.far.read(IDENTITY))["id"]
        except NotFound:
            return ""
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{IDENTITY} of {self.url} is damaged: {error}", hint="Remove it") from error
        return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{32}", found) else ""

    def _identify(self) -> None:
        """Give the store an identity before anything is created in it."""
        if self._kept() is None:
            self.far.create(IDENTITY, json.dumps({"schema": 1, "id": uuid.uuid4().hex}).encode())
            self._nameless = False
            self._kept()

    def _named(self) -> Path:
        """The file that says which identity the store at this URL had when it was last asked."""
        return self._folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:16]}.id"

    def _last(self) -> LocalStore | None:
        try:
            identity = self._named().read_text()
        except OSError:
            return None
        return LocalStore(str(self._folder / identity)) if re.fullmatch("[0-9a-f]{32}", identity) else None


def _keep(near: LocalStore, key: str, data: bytes) -> None:
    try:
        near.create(key, data)
    except StoreError:  # a full disk: the record is fetched again the next time
        return
