"""Data that a job sees: links in the job's folder to where the files are, read-only, once for all jobs of a machine; to
a command of root, to whom nothing is read-only, a copy.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from job_image import shelf
from job_image.container import Platform
from job_image.places import Places, remove
from orchestrator import contract
from orchestrator.errors import StoreError
from orchestrator.store import Store
from orchestrator.store.base import check_key
from orchestrator.store.local import copy_bytes, make_read_only


def mount(store: Store, wanted: dict[str, Any], places: Places, platform: Platform | None) -> None:
    """Have `wanted`, a mount of the job's record, stand in the job's folder of data. Raises StoreError, OSError."""
    link = places.data / check_key(wanted["mount"])
    remove(link)
    brought = _brought(wanted, platform)
    shared = brought or shelf.found(store, wanted, places.cache / "data")
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
