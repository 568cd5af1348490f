"""What stands ready when a job's command starts: its code, its input, the data it reads, what was made already.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from job_image import mounts
from job_image.container import Platform
from job_image.places import Places, map_paths
from job_image.unpack import fetch
from orchestrator import contract
from orchestrator.errors import NotFound
from orchestrator.journal import Fold
from orchestrator.store import Store, crowd
from orchestrator.store.base import check_key

OPT_ML = Path("/opt/ml")
"""Where a container of SageMaker has it: there, and not where one is simulated, all of the file system is the job's."""


def prepare(store: Store, job: dict[str, Any], places: Places, platform: Platform | None, before: Fold) -> str:
    """Fill the job's folders; the command, with the contract's paths as they are here. `job` is its record, `before`
    what its journal tells of earlier attempts. Raises SwatchError, OSError."""
    _restore(store, job, places, before)
    places.make()
    if job["code"]:
        _fetch(store, places, platform, job["code"], places.code, contract.CODE_CHANNEL)
    if job.get("input"):
        _fetch(store, places, platform, job["input"], places.input, contract.INPUT_CHANNEL)
    for mount in job["data"]:
        mounts.mount(store, mount, places, platform)
    mounted = [mount["mount"] for mount in job["data"]]
    mapping = places.mapping(mounted)
    if platform and platform.ml == OPT_ML:
        mapping = {path: mapping[path] for path in places.link(mounted)}
    return map_paths(job["command"], mapping)


def _restore(store: Store, job: dict[str, Any], places: Places, before: Fold) -> None:
    """What earlier attempts have made, on a machine that has nothing of them: a packed job does not begin anew."""
    if places.output.exists() or not before.files:
        return
    prefix = contract.output_prefix(job["project"], job["number"])

    def restore(path: str) -> None:
        try:
            store.download(prefix + check_key(path), places.output / path)
        except NotFound:  # then it is made again
            print(f"swatch: {path} is missing in the store", file=sys.stderr, flush=True)

    for _ in crowd.each(restore, sorted(before.files), store.width):
        pass


def _fetch(store: Store, places: Places, platform: Platform | None, digest: str, folder: Path, channel: str) -> None:
    fetch(store, digest, folder, places.work, platform.archive(channel, digest) if platform else None)
