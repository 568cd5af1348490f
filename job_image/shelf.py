"""Data of a far store on this machine: fetched once for all jobs that read it, whole before anybody sees it.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator import contract
from orchestrator.errors import StoreError
from orchestrator.journal import fold
from orchestrator.store import Store, crowd
from orchestrator.store.base import check_key
from orchestrator.store.local import make_read_only, sha256_of

_OUTPUT = re.compile(r"projects/([^/]+)/jobs/([0-9]{1,9})/output/")


class _File(NamedTuple):
    path: str
    size: int
    sha256: str


def found(store: Store, wanted: dict[str, Any], shelf: Path) -> Path:
    """The folder with the files of `wanted`, a mount of a job's record: where the store itself keeps them on this
    machine, else below `shelf`, fetched if they are not there yet. Raises StoreError, OSError."""
    if not wanted.get("prefix"):
        raise StoreError(
            "/{}: this job was submitted before there were datasets".format(wanted["mount"]),
            hint="Submit its manifest again",
        )
    return store.place(wanted["prefix"]) or _kept(store, wanted, shelf)


def _kept(store: Store, wanted: dict[str, Any], folder: Path) -> Path:
    """The files in the machine's cache: fetched by the first job that needs them, whole before anybody sees them."""
    digest = wanted["digest"]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise StoreError(f"Not a digest: {digest[:80]!r}")
    ready, part = Path(folder, digest), folder / f".{digest}.part"
    if ready.is_dir():
        make_read_only(ready)  # whoever made it may have been killed before this
        os.utime(str(ready))  # what nobody uses any more may go
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    with open(str(folder / f".{digest}.lock"), "ab") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not ready.is_dir():
            files = _listed(store, wanted)
            part.mkdir(exist_ok=True)
            for _ in crowd.each(lambda file: _fetch(store, wanted["prefix"], file, part), files, store.width):
                pass
            os.rename(str(part), str(ready))
            make_read_only(ready)
    return ready


def _fetch(store: Store, prefix: str, file: _File, folder: Path) -> None:
    target = folder / file.path
    if target.is_file() and sha256_of(target) == file.sha256:
        return  # of a try that was cut short
    found = store.download(prefix + file.path, target)
    if found != file.sha256 or target.stat().st_size != file.size:
        target.unlink()
        raise StoreError(f"{prefix}{file.path} is damaged in the store: it is not what was uploaded")


def _listed(store: Store, wanted: dict[str, Any]) -> list[_File]:
    """What stands below the prefix: by the dataset's record, or by the journal of the job that made it. Raises
    StoreError where that is not what the job was to see."""
    prefix = wanted["prefix"]
    made = _OUTPUT.fullmatch(prefix)
    try:
        if made is not None:
            events = fold(store, made.group(1), int(made.group(2))).files.values()
            files = [_File(event.path, event.size, event.sha256) for event in events]
        else:
            record = json.loads(store.read(contract.listing_key(prefix)))
            files = [_File(str(one["path"]), int(one["size"]), str(one["sha256"])) for one in record["files"]]
        for file in files:
            check_key(file.path)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"The list of {prefix} is damaged: {error}") from error
    if contract.data_digest((file.path, file.sha256) for file in files) != wanted["digest"]:
        raise StoreError("{} is no longer what was mounted as /{}".format(wanted["source"], wanted["mount"]))
    return files
