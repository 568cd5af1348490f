"""Swatch as a library: all that the command line does, for programs.

    from orchestrator import Swatch

    swatch = Swatch(folder="my-code")                     # the store and the project that this folder has
    swatch.init("forest")
    job = swatch.run("python train.py --lr 0.1", machine="gpu", data=["alice/datasets/mnist/1:mnist"])
    for event in job.logs(follow=True):
        print(event)
    job.wait()                                            # "success"
    job.sync(into="results")                              # the files it made

Whatever goes wrong is an `orchestrator.errors.SwatchError`: a sentence, and a hint what to do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import bill, engine, facts, folder, foundry, names, recipe, request, settings, target
from orchestrator.backends import open_backend
from orchestrator.backends.fleet import Fleet
from orchestrator.backends.local import host_name
from orchestrator.cargo.mount import Tell
from orchestrator.datasets import Datasets
from orchestrator.docker import Tell as TellLine
from orchestrator.engine import Choice, Submission
from orchestrator.errors import UsageError
from orchestrator.folder import Belonging
from orchestrator.foundry import Order
from orchestrator.handle import JobHandle
from orchestrator.recipe import Recipe
from orchestrator.request import Wanted
from orchestrator.settings import Settings
from orchestrator.starter import Launch, Starter, alone
from orchestrator.store import Store, open_store


class Swatch:
    """A store of jobs, seen from a folder of code. Nothing is read or asked for before it is needed.

    store: a folder, or s3://bucket/prefix; without it, what the environment or config.yaml say.
    folder: where the code is; the project is that of this folder, or of one above it.
    slots: jobs at a time on this computer.
    offline: a far store that cannot be asked is answered for by what is kept of it here.
    """

    def __init__(
        self,
        store: str | None = None,
        *,
        folder: str | os.PathLike[str] = ".",
        slots: int | None = None,
        offline: bool = False,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.settings: Settings = settings.load(store, slots)
        self.store: Store = open_store(self.settings.store)
        if self.store.width > 1:
            from orchestrator.store.kept import KeptStore

            self.store = KeptStore(self.store, self.settings.home / "kept", offline)

    @functools.cached_property
    def machines(self) -> Fleet:
        """Every backend, for the jobs of this store."""
        return Fleet(lambda name: open_backend(name, self.store, self.settings))

    @functools.cached_property
    def here(self) -> folder.Here:
        """The project and the dataset that the folder belongs to."""
        return folder.here(self.folder)

    @functools.cached_property
    def data(self) -> Datasets:
        """The datasets of the store."""
        return Datasets(self.store, self.settings, self.here)

    # Projects

    def init(self, name: str) -> tuple[Belonging, list[Path]]:
        """Have the folder belong to a project: `forest`, or `alice/forest`; the project, and the files that were
        written for a person to fill in. Files that are there are never overwritten. Raises UsageError."""
        wanted = names.job(name)
        if wanted.number is not None or wanted.project is None:
            raise UsageError(f"{name} is no name of a project", hint="swatch init forest")
        folder.tie(self.folder, folder.PROJECT, wanted.project, wanted.user)
        written = folder.furnish(self.folder)
        self.__dict__.pop("here", None)
        return self.project, written

    @property
    def project(self) -> Belonging:
        """The project of the folder. Raises UsageError where it has none."""
        found = self.here.project
        if found is None:
            raise UsageError(
                f"{self.folder} belongs to no project yet",
                hint='Run "swatch init PROJECT_NAME" before scheduling a job',
            )
        return found

    # Starting jobs

    def run(self, command: str | None = None, *, task: str | None = None, **said: object) -> JobHandle:
        """Start a job of this folder's code: the command, else that of swatch.yml (or of its `task`). `said` are the
        fields of `recipe.Recipe`: machine, env, image, data, description, max_runtime (seconds), max_cost (USD),
        backend, queue, spot, variables, secrets. Raises SwatchError."""
        (started,) = self.start(self.prepare(recipe.of({**said, "command": command}), task=task))
        return started

    def sweep(
        self, command: str, values: Mapping[str, Sequence[str]], *, task: str | None = None, **said: object
    ) -> list[JobHandle]:
        """Start a job for each combination of the values, which fill the `{name}`s of the command."""
        return self.start(self.prepare(recipe.of({**said, "command": command}), task=task, values=values))

    def prepare(self, asked: Recipe, **options: Any) -> Launch:
        """What a `run` would start: see `Starter.of_folder`. Raises SwatchError."""
        return self._starter.of_folder(self.project, asked, **options)

    def prepare_restart(self, name: str, asked: Recipe, **options: Any) -> Launch:
        """What a restart of a job would start: see `Starter.of_job`. Raises SwatchError."""
        return self._starter.of_job(self.job(name).record, asked, **options)

    def start(
        self, launch: Launch, tell: Tell = lambda sent: None, build: TellLine = lambda line: None
    ) -> list[JobHandle]:
        """Start what was prepared; `tell` is told how far data on its way is, `build` gets Docker's lines where an
        image is built or pushed first. Raises SwatchError."""
        return [JobHandle(self, job.project, job.number) for job in self._starter.start(launch, tell, build)]

    @property
    def _starter(self) -> Starter:
        return Starter(self.store, self.settings, self.machines, self.here, self.folder)

    # Manifests

    def wish(
        self,
        manifest: str | os.PathLike[str],
        *,
        backend: str | None = None,
        queue: str | None = None,
        image: str | None = None,
        retry_failed: bool = False,
        into: str | os.PathLike[str] | None = None,
        fetch: bool = True,
        tell: Tell = lambda sent: None,
    ) -> Wanted:
        """A manifest read, and what it wants of the store; data at addresses is fetched into the store, unless `fetch`
        is False. Raises ManifestError, UsageError, NotFound."""
        path = Path(manifest)
        asked = request.read(path, self.store, self.settings, fetch=fetch, tell=tell)
        said = asked.manifest
        place = self.machines.backend(backend or said.backend).name
        queue = request.queue_of(place, queue, said.queue, self.settings.aws.queue)
        home = Path(into or Path("outputs", said.name)).absolute()
        # A flag's Dockerfile is relative to where one is, the manifest's to the manifest.
        named, folder = (image, self.folder) if image is not None else (said.image, path.parent)
        order = Order(lambda: foundry.choose(self.settings, place, named, None, said.machine, folder))
        wish = asked.wish(
            user=self.settings.user,
            host=host_name(self.settings.home),
            backend=place,
            queue=queue,
            image=order,
            home=home,
            retry_failed=retry_failed,
            afford=bill.Allowance(self.store, self.settings, said.max_cost),
        )
        return Wanted(asked, wish, place, queue, order, home)

    def plan(self, manifest: str | os.PathLike[str], **options: Any) -> list[Choice]:
        """What there is of each task that the manifest wants, without changing anything. Options as those of `wish`."""
        wish = self.wish(manifest, **{**options, "fetch": False}).wish
        seen = facts.see_all(self.store, self.machines, wish.project)
        return engine.decide(wish, seen, engine.settled(self.store, wish))

    def submit(self, manifest: str | os.PathLike[str], **options: Any) -> Submission:
        """Start what the manifest wants and does not have yet. Options as those of `wish`."""
        wanted = self.wish(manifest, **options)
        return engine.submit(self.store, self.machines, wanted.wish, lambda: self.carry(wanted))

    def carry(self, wanted: Wanted, tell: Tell = lambda sent: None, build: TellLine = lambda line: None) -> None:
        """Have be where jobs can have it what those of a manifest share: image, code, data. Raises SwatchError."""
        wanted.carry(self.store, alone(self.settings, wanted.backend, wanted.queue), tell, build)

    # Jobs

    def jobs(self, name: str | None = None) -> list[JobHandle]:
        """The jobs of a project (without a name: of the folder's, else all there are), newest first."""
        if name is None and self.here.project is None:
            projects = facts.projects(self.store)
        else:
            projects = [target.project(self.store, name, self.here).project]
        found = [(project, number) for project in projects for number in facts.numbers(self.store, project)]
        return [JobHandle(self, *one) for one in reversed(found)]

    def job(self, name: str | None = None) -> JobHandle:
        """The job of that name, in any of its forms; a project stands for its latest, nothing for the folder's latest.
        Raises NotFound, UsageError."""
        found = JobHandle(self, *target.job(self.store, name, self.here))
        _ = found.record  # raises NotFound now, and not when it is asked something
        return found

    def one_job(self, name: str) -> JobHandle:
        """The job of exactly that name: a project does not stand for its latest. Raises NotFound, UsageError."""
        if names.job(name).part is not None:
            raise UsageError(
                f"{name} is a part of a job: name the job", hint=f"swatch status {name.rpartition('/')[0]}"
            )
        found = target.resolve(self.store, name, self.here)
        if found.number is None:
            raise UsageError(f"{name} is a project: name a job of it", hint=f"swatch status {name}")
        return JobHandle(self, found.project, found.number)

    def delete(self, name: str) -> None:
        """Remove all that is kept of an ended job but its bills; its number is never used again. Raises NotFound, and
        SwatchError for a job that has not ended, is not billed yet, or whose output another one reads."""
        self.one_job(name).delete()
