"""From a manifest file to a wish: everything that is read from this computer before anything is submitted."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator import foundry, plan
from orchestrator.cargo import mount, snapshot, source
from orchestrator.cargo.index import Index
from orchestrator.cargo.mount import Prepared, Tell
from orchestrator.cargo.snapshot import Snapshot
from orchestrator.docker import Tell as TellLine
from orchestrator.engine import Afford, Wish, everything
from orchestrator.entries import QUEUE
from orchestrator.errors import NotFound, UsageError
from orchestrator.folder import Belonging, Here
from orchestrator.foundry import Kind, Order
from orchestrator.job import Home, Job, Task
from orchestrator.manifest import Manifest
from orchestrator.settings import Settings
from orchestrator.store.base import Store

ENGINE_COMMAND = 'python3 synthesize.py --tasks "$SWATCH_INPUT_DIR/tasks.json"'
"""What a job of textures runs; the program takes its other folders from the contract's variables."""


class Request(NamedTuple):
    """A checked manifest with its cargo, ready to be planned or submitted."""

    manifest: Manifest
    tasks: Sequence[Task]
    code: Snapshot
    data: Prepared

    def carry(self, store: Store, whole: bool = False, tell: Tell = lambda sent: None) -> None:
        """Put what all jobs share into the store; what is there already is not sent. `whole` is for jobs that cannot
        read the store, and have nothing that a snapshot could build on. `tell` is told of data that is sent."""
        self.code.carry(store, whole)
        self.data.carry(store, tell)

    def wish(
        self,
        *,
        user: str,
        host: str,
        backend: str,
        home: Path,
        queue: str | None = None,
        image: Order | None = None,
        retry_failed: bool = False,
        afford: Afford = everything,
    ) -> Wish:
        """What to reconcile with the store. The image is chosen when the first job is drafted, if any is."""
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
                data=self.data.mounts,
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
                requirements=self.code.requirements if manifest.command is not None else None,
                image=image.uri if image is not None else None,
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


class Wanted(NamedTuple):
    """A manifest, what it wants of a store, and where its jobs would run: on a backend, in a queue, in an image; and
    where their outputs come home to."""

    request: Request
    wish: Wish
    backend: str
    queue: str | None
    image: Order
    home: Path

    def carry(
        self,
        store: Store,
        whole: bool = False,
        tell: Tell = lambda sent: None,
        build: TellLine = lambda line: None,
    ) -> None:
        """Have the image be where jobs can have it (`build` gets Docker's lines), and put what they share into the
        store: see `Request.carry`. Ended at any moment, what has been built and sent is kept. Raises SwatchError."""
        self.image.ready(build)
        self.request.carry(store, whole, tell)


def read(
    path: Path, store: Store, settings: Settings, *, fetch: bool = True, tell: Tell = lambda sent: None
) -> Request:
    """Read a manifest and all that it names: files of this computer, data of the store. Data at addresses is fetched
    into the store, so that it is known what it is; without `fetch` nothing is, and what the store has not got counts as
    new. Raises ManifestError with every problem, NotFound, UsageError."""
    draft, sources, contents = source.examine(path)
    manifest = draft.check()
    folder = path.parent
    here = Here(project=Belonging(manifest.name, None, folder, path))
    data = Prepared((), {})
    for index, one in enumerate(manifest.data):
        try:
            data += mount.resolve(store, settings, here, [one], folder, project=manifest.name, fetch=fetch, tell=tell)
        except (UsageError, NotFound) as error:
            draft.problem(("data", index), f"{error.message} ({error.hint})" if error.hint else error.message)
    draft.check()
    # The manifest itself is no part of the code: adding a value to its matrix must not make the others anew.
    textures = manifest.command is None
    code = snapshot.of_engine() if textures else _code(_at(folder, manifest.code), path, settings.home)
    digests = {one.mount: one.digest for one in data.mounts}
    image = _image(manifest.image, folder)
    tasks = plan.expand(manifest, sources, contents, code=code.digest, data=digests, image=image)
    return Request(manifest, tasks, code, data)


def _image(wanted: str | None, folder: Path) -> str | None:
    """What of an image makes a command's task another: its name, and of a Dockerfile what is written in it. Swatch's
    own and AWS' are no part of what is wanted: a new one of those starts nothing anew."""
    found = foundry.kind(wanted)
    if wanted is None or found in (Kind.OWN, Kind.AWS):
        return None
    if found is Kind.URI:
        return wanted
    return hashlib.sha256(foundry.dockerfile(wanted, folder).read_bytes()).hexdigest()


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
