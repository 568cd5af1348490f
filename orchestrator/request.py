"""From a manifest file to a wish: everything that is read from this computer before anything is submitted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator import plan
from orchestrator.cargo import snapshot, source
from orchestrator.cargo.index import Index
from orchestrator.cargo.snapshot import Snapshot
from orchestrator.engine import Afford, Wish, everything
from orchestrator.entries import QUEUE
from orchestrator.errors import UsageError
from orchestrator.job import Home, Job, Mount, Task
from orchestrator.manifest import Manifest
from orchestrator.store.base import Store

ENGINE_COMMAND = 'python3 synthesize.py --tasks "$SWATCH_INPUT_DIR/tasks.json"'
"""What a job of textures runs; the program takes its other folders from the contract's variables."""


class Request(NamedTuple):
    """A checked manifest with its cargo, ready to be planned or submitted."""

    manifest: Manifest
    tasks: Sequence[Task]
    code: Snapshot
    mounts: tuple[Mount, ...]
    data: tuple[Snapshot, ...]

    def carry(self, store: Store, whole: bool = False) -> None:
        """Put what all jobs share into the store; what is there already is not sent. `whole` is for jobs that cannot
        read the store, and have nothing that a snapshot could build on."""
        for cargo in (self.code, *self.data):
            cargo.carry(store, whole)

    def wish(
        self,
        *,
        user: str,
        host: str,
        backend: str,
        home: Path,
        queue: str | None = None,
        retry_failed: bool = False,
        afford: Afford = everything,
    ) -> Wish:
        """What to reconcile with the store."""
        manifest = self.manifest

        def job(number: int, tasks: tuple[Task, ...], cargo: str | None) -> Job:
            return Job(
                project=manifest.name,
                number=number,
                user=user,
                created=time.time(),
                command=tasks[0].command or ENGINE_COMMAND,
                tasks=tasks,
                code=self.code.digest,
                input=cargo,
                data=self.mounts,
                machine=manifest.machine,
                fallbacks=manifest.fallbacks,
                backend=backend,
                queue=queue,
                spot=manifest.spot,
                max_runtime=manifest.max_runtime,
                max_cost=manifest.max_cost,
                description=_describe(tasks),
                host=host,
                home=Home(host=host, folder=str(home)),
            )

        return Wish(
            project=manifest.name,
            tasks=self.tasks,
            pack=lambda tasks: plan.pack(tasks, manifest.tasks_per_job),
            job=job,
            retries=manifest.retries,
            retry_failed=retry_failed,
            afford=afford,
        )


def read(path: Path, home: Path | None = None) -> Request:
    """Read a manifest and all that it names; what of it has changed is looked up in `home`, Swatch's own folder. Raises
    ManifestError with every problem, NotFound, UsageError."""
    manifest, sources = source.load(path)
    folder = path.parent
    data = tuple(snapshot.of_folder(_at(folder, mount.source), ignore=False) for mount in manifest.data)
    mounts = tuple(
        Mount(source=mount.source, mount=mount.mount, digest=cargo.digest)
        for mount, cargo in zip(manifest.data, data, strict=True)
    )
    # The manifest itself is no part of the code: adding a value to its matrix must not make the others anew.
    textures = manifest.command is None
    code = snapshot.of_engine() if textures else _code(_at(folder, manifest.code), path, home)
    digests = {mount.mount: mount.digest for mount in mounts}
    tasks = plan.expand(manifest, sources, code=code.digest, data=digests)
    return Request(manifest, tasks, code, mounts, data)


def queue_of(backend: str, flag: str | None, manifest: str | None, configured: str | None) -> str | None:
    """The AWS Batch job queue that jobs go to: the flag's, else the manifest's, else the configuration's. Raises
    UsageError for one that cannot be. Pure."""
    if backend != "sagemaker":
        if flag is not None:
            raise UsageError(f"--queue {flag} is for jobs on SageMaker, not on {backend}", hint="--backend sagemaker")
        return None
    name = next((one for one in (flag, manifest, configured) if one is not None), None)
    if name is not None and not re.fullmatch(QUEUE, name):
        raise UsageError(f"{name!r} is no name of a job queue", hint="Letters, digits, - and _; at most 128")
    return name


def _code(folder: Path, manifest: Path, home: Path | None) -> Snapshot:
    return snapshot.of_folder(folder, without=manifest, index=Index(home, folder) if home is not None else None)


def _at(folder: Path, given: str) -> Path:
    return folder / os.path.expanduser(given)


def _describe(tasks: Sequence[Task]) -> str:
    """What a job makes, in a few words: its tasks' names as far as they fit."""
    names = [task.name for task in tasks]
    text = ", ".join(names)
    if len(text) <= 60:
        return text
    shown = [name for at, name in enumerate(names) if len(", ".join(names[: at + 1])) <= 45] or [names[0][:45]]
    return f"{', '.join(shown)} and {len(names) - len(shown)} more" if len(names) > len(shown) else text[:60]
