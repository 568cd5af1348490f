"""What stands ready when a job's command starts: its code, its input, the data it reads, what was made already.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from job_image import mounts
from job_image.container import Platform
from job_image.harvest import Before, look
from job_image.places import Places
from job_image.unpack import fetch
from orchestrator import contract
from orchestrator.errors import NotFound
from orchestrator.journal import Fold
from orchestrator.store import Store, crowd
from orchestrator.store.base import check_key


def prepare(
    store: Store, job: dict[str, Any], places: Places, platform: Platform | None, before: Fold, mounted: bool = False
) -> Before:
    """Fill the job's folders; the working folder as it is then, before what earlier attempts have made there is put
    back. `job` is its record, `before` what its journal tells of those attempts; `mounted`: its data stands in its
    place already. Raises SwatchError, OSError."""
    _restore(store, job, places, before)
    places.make()
    if job["code"]:
        _fetch(store, places, platform, job["code"], places.code, contract.CODE_CHANNEL)
    if job.get("input"):
        _fetch(store, places, platform, job["input"], places.input, contract.INPUT_CHANNEL)
    for mount in [] if mounted else job["data"]:
        mounts.mount(store, mount, places, platform)
    prepared = look(places.code)
    _restore_home(store, job, places, before)
    return prepared


def _restore(store: Store, job: dict[str, Any], places: Places, before: Fold) -> None:
    """What earlier attempts have made, on a machine that has nothing of them: a packed job does not begin anew."""
    if not places.output.exists() or not os.listdir(str(places.output)):
        _bring(store, job, places.output, [path for path, file in before.files.items() if not file.home])


def _restore_home(store: Store, job: dict[str, Any], places: Places, before: Fold) -> None:
    """What a command has made where it runs: that folder is filled anew for each attempt."""
    _bring(store, job, places.code, [path for path, file in before.files.items() if file.home])


def _bring(store: Store, job: dict[str, Any], folder: Path, paths: list[str]) -> None:
    prefix = contract.output_prefix(job["project"], job["number"])

    def bring(path: str) -> None:
        try:
            store.download(prefix + check_key(path), folder / path)
        except NotFound:  # then it is made again
            print(f"swatch: {path} is missing in the store", file=sys.stderr, flush=True)

    for _ in crowd.each(bring, sorted(paths), store.width):
        pass


def _fetch(store: Store, places: Places, platform: Platform | None, digest: str, folder: Path, channel: str) -> None:
    fetch(store, digest, folder, places.work, platform.archive(channel, digest) if platform else None)
