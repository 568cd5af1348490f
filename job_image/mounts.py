"""Data that a job sees: links in the job's folder to where the files are, read-only, once for all jobs of a machine; to
a command of root, to whom nothing is read-only, a copy.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from job_image.container import Platform
from job_image.places import Places, remove
from orchestrator import contract
from orchestrator.errors import StoreError
from orchestrator.journal import fold
from orchestrator.store import Store, crowd
from orchestrator.store.base import check_key
from orchestrator.store.local import copy_bytes, make_read_only, sha256_of

_OUTPUT = re.compile(r"projects/([^/]+)/jobs/([0-9]{1,9})/output/")


class _File(NamedTuple):
    path: str
    size: int
    sha256: str


def mount(store: Store, wanted: dict[str, Any], places: Places, platform: Platform | None) -> None:
    """Have `wanted`, a mount of the job's record, stand in the job's folder of data. Raises StoreError, OSError."""
    if not wanted.get("prefix"):
        raise StoreError(
            "/{}: this job was submitted before there were datasets".format(wanted["mount"]),
            hint="Submit its manifest again",
        )
    link = places.data / check_key(wanted["mount"])
    remove(link)
    brought = _brought(wanted, platform)
    shared = brought or store.place(wanted["prefix"]) or _kept(store, wanted, places.cache / "data")
    if brought is None and os.geteuid() == 0:
        # Nothing is read-only to root: what other jobs and the store itself rest on is not handed to a command.
        shutil.copytree(str(shared), str(link), copy_function=_copy)
    else:
        os.symlink(str(shared), str(link))


def _copy(source: str, target: str) -> None:
    with open(target, "wb") as out:
        copy_bytes(Path(source), out)
    os.chmod(target, 0o444)


def _brought(wanted: dict[str, Any], platform: Platform | None) -> Path | None:
    """Where a channel has brought the files, if one has."""
    brought: Path | None = platform.channel(contract.data_channel(wanted["mount"])) if platform else None
    # What is only shown while it is read cannot be changed anyway, and looking at each file would be a request.
    if brought is not None and wanted["size"] < contract.STREAMED:
        _check_whole(brought, wanted)
        with contextlib.suppress(OSError):  # the platform's folder, not ours
            make_read_only(brought)
    return brought


def _check_whole(folder: Path, wanted: dict[str, Any]) -> None:
    sizes = [os.stat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(str(folder)) for name in names]
    if len(sizes) != wanted["files"] or sum(sizes) != wanted["size"]:
        raise StoreError(
            "/{}: {:,} of {:,} files came, {:,} of {:,} bytes".format(
                wanted["mount"], len(sizes), wanted["files"], sum(sizes), wanted["size"]
            )
        )


def _kept(store: Store, wanted: dict[str, Any], folder: Path) -> Path:
    """The files in the machine's cache: fetched by the first job that needs them, whole before anybody sees them."""
    digest = wanted["digest"]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise StoreError(f"Not a digest: {digest[:80]!r}")
    ready, part = Path(folder, digest), folder / f".{digest}.part"
    if ready.is_dir():
        make_read_only(ready)  # whoever made it may have been killed before this
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
