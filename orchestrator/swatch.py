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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import (
    address,
    bill,
    contract,
    engine,
    environments,
    facts,
    folder,
    invocation,
    journal,
    log,
    names,
    recipe,
    request,
    settings,
    target,
)
from orchestrator.backends import open_backend
from orchestrator.backends.fleet import Fleet
from orchestrator.backends.local import has_gpu, host_name
from orchestrator.cargo import mount, revision, snapshot
from orchestrator.cargo.index import Index
from orchestrator.cargo.mount import Prepared, Tell
from orchestrator.cargo.revision import Revision
from orchestrator.cargo.snapshot import Snapshot
from orchestrator.datasets import Datasets
from orchestrator.engine import Choice, Submission, Verdict, Wish
from orchestrator.errors import CloudError, NotFound, SwatchError, UsageError
from orchestrator.facts import Seen
from orchestrator.folder import Belonging
from orchestrator.invocation import Draft, Frame
from orchestrator.job import FREE, Home, Job
from orchestrator.journal import Event, File
from orchestrator.recipe import Recipe
from orchestrator.settings import Settings
from orchestrator.store import Store, open_store
from orchestrator.watch import Watch


class Launch(NamedTuple):
    """Jobs that are ready to start: see `Swatch.prepare`. `notes` are sentences that a person should read first; `code`
    is None where an earlier job's is run again. `carry` puts into the store what is not there; it says how many bytes
    it sent, and tells of the bytes of data on their way, of which `waiting` are not there yet."""

    drafts: Sequence[Draft]
    recipe: Recipe
    frame: Frame
    code: Snapshot | None
    notes: tuple[str, ...]
    carry: Callable[[Tell], int]
    waiting: int = 0

    def jobs(self, first: int) -> list[Job]:
        """The jobs as they would be, numbered from `first` on."""
        return [draft(number) for number, draft in enumerate(self.drafts, first)]


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
        fields of `recipe.Recipe`: machine, env, data, description, max_runtime (seconds), max_cost (USD), backend,
        queue, spot, variables, secrets. Raises SwatchError."""
        (started,) = self.start(self.prepare(_recipe(command, said), task=task))
        return started

    def sweep(
        self, command: str, values: Mapping[str, Sequence[str]], *, task: str | None = None, **said: object
    ) -> list[JobHandle]:
        """Start a job for each combination of the values, which fill the `{name}`s of the command."""
        return self.start(self.prepare(_recipe(command, said), task=task, values=values))

    def prepare(
        self,
        asked: Recipe,
        *,
        task: str | None = None,
        values: Mapping[str, Sequence[str]] | None = None,
        argv: Sequence[str] = (),
        fetch: bool = True,
    ) -> Launch:
        """What a `run` would start. Reads the folder and looks at the store; starts and sends nothing, but data at
        addresses is fetched into the store, unless `fetch` is False. Raises SwatchError."""
        project = self.project
        found = recipe.find(project.folder)
        settled = recipe.settle(asked, recipe.read(found) if found else None, task)
        settled = self._placed(settled)
        notes = list(self._notes(settled))
        invocation.combinations(settled.command or "true", values or {})  # before a large folder is read
        # A flag's folders are relative to where one is, the file's to the file.
        data = self._data(settled, self.folder if asked.data else project.folder, project.name, fetch)
        code = snapshot.of_folder(project.folder, index=Index(self.settings.home, project.folder))
        git = revision.of_folder(project.folder)
        frame = self._frame(settled, project.name, project.user, project.folder / "outputs" / project.name)
        frame = frame._replace(
            code=code.digest,
            git=git.record if git else None,
            argv=tuple(argv),
            requirements=code.requirements,
        )
        return self._launch(settled, frame, values or {}, data, notes, code, git)

    def prepare_restart(
        self,
        name: str,
        asked: Recipe,
        *,
        values: Mapping[str, Sequence[str]] | None = None,
        argv: Sequence[str] = (),
        fetch: bool = True,
    ) -> Launch:
        """What a restart of a job would start: its stored code and its options, but for what `asked` says. Raises
        SwatchError."""
        old = self.job(name).record
        if not invocation.same(old):
            raise UsageError(
                f"{old.short} made textures of a manifest, which is what starts them again",
                hint="swatch submit MANIFEST --retry-failed",
            )
        settled = self._placed(asked.over(invocation.of_job(old)))
        place = old.home.folder if old.home and old.home.host == host_name(self.settings.home) else None
        frame = self._frame(settled, old.project, old.user, Path(place or self.folder / "outputs" / old.project))
        frame = frame._replace(
            code=old.code,
            git=old.git,
            argv=tuple(argv),
            requirements=old.requirements,
            restarted=old.name,
        )
        data = self._data(settled, self.folder, old.project, fetch) if asked.data else Prepared(old.data, {})
        return self._launch(settled, frame, values or {}, data, list(self._notes(settled)))

    def start(self, launch: Launch, tell: Tell = lambda sent: None) -> list[JobHandle]:
        """Start what was prepared; `tell` is told how far data on its way is. Raises SwatchError."""
        started = engine.start(
            self.store, self.machines, launch.frame.project, launch.drafts, lambda: launch.carry(tell)
        )
        return [JobHandle(self, job.project, job.number) for job in started]

    def _placed(self, said: Recipe) -> Recipe:
        """The recipe with its backend, environment and queue settled."""
        backend = said.backend or self.settings.backend
        self.machines.backend(backend)  # an unknown one ends here
        env = environments.find(said.env).environment.name if said.env else None
        queue = request.queue_of(backend, said.queue, None, self.settings.aws.queue)
        return msgspec.structs.replace(said, backend=backend, env=env, queue=queue)

    def _notes(self, said: Recipe) -> Iterator[str]:
        if said.backend == "local" and any(one.startswith("gpu") for one in said.machine or ()) and not has_gpu():
            yield "This computer has no GPU: the job runs on its CPU"
        if said.backend == "local" and said.env:
            yield f"The environment {said.env} is an image on AWS; on this computer, commands see Swatch's own Python"

    def _data(self, said: Recipe, folder: Path, project: str, fetch: bool) -> Prepared:
        given = mount.parse(said.data or ())
        return mount.resolve(self.store, self.settings, self.here, given, folder, project=project, fetch=fetch)

    def _frame(self, said: Recipe, project: str, user: str | None, home: Path) -> Frame:
        host = host_name(self.settings.home)
        return Frame(
            project=project,
            user=user or self.settings.user,
            host=host,
            home=Home(host=host, folder=str(home)),
            backend=said.backend or "local",
        )

    def _launch(
        self,
        said: Recipe,
        frame: Frame,
        values: Mapping[str, Sequence[str]],
        data: Prepared,
        notes: Sequence[str],
        code: Snapshot | None = None,
        git: Revision | None = None,
    ) -> Launch:
        drafts = invocation.drafts(said, frame, values)
        frame = frame._replace(hourly=self._affordable(drafts[0](1), len(drafts)))

        whole = said.backend == "sagemaker" and self.settings.aws.network_isolation

        def mounted(draft: Draft, number: int) -> Job:
            return msgspec.structs.replace(draft(number), data=data.mounts)

        def carry(tell: Tell = lambda sent: None) -> int:
            if said.queue is not None:
                from orchestrator.backends.sagemaker import queue as queues

                queues.check(said.queue)
            if git is not None:
                git.carry(self.store)
            data.carry(self.store, tell)
            if code is not None:
                return code.carry(self.store, whole)
            if whole and frame.code is not None:
                return snapshot.make_whole(self.store, frame.code)
            return 0

        drafts = [functools.partial(mounted, draft) for draft in invocation.drafts(said, frame, values)]
        return Launch(drafts, said, frame, code, tuple(notes), carry, data.waiting)

    def _affordable(self, job: Job, count: int) -> float | None:
        """USD an hour of such a job. Raises UsageError where jobs could pass their cap."""
        if job.backend in FREE:
            return None
        try:
            rates = bill.tariff(self.settings)
        except CloudError:
            return None
        price = rates.price(job)
        if job.max_cost is not None:
            worst = rates.worst(job)
            if worst is None:
                raise UsageError(
                    f"max_cost is {job.max_cost:g} USD, and no certain price of {job.machine} is known",
                    hint="swatch prices --refresh, or name another machine",
                )
            if worst * count > job.max_cost:
                longest = max(1, int(job.max_runtime * job.max_cost / (worst * count)))
                raise UsageError(
                    f"At worst this costs {worst * count:.2f} USD, and max_cost is {job.max_cost:g} USD",
                    hint=f"--max-runtime {longest}s fits",
                )
        return price.usd_per_hour if price else None

    # Manifests

    def wish(
        self,
        manifest: str | os.PathLike[str],
        *,
        backend: str | None = None,
        queue: str | None = None,
        retry_failed: bool = False,
        into: str | os.PathLike[str] | None = None,
    ) -> tuple[request.Request, Wish]:
        """A manifest read, and what it wants of the store. Raises ManifestError, UsageError, NotFound."""
        asked = request.read(Path(manifest), self.store, self.settings)
        place = self.machines.backend(backend or asked.manifest.backend).name
        return asked, asked.wish(
            user=self.settings.user,
            host=host_name(self.settings.home),
            backend=place,
            queue=request.queue_of(place, queue, asked.manifest.queue, self.settings.aws.queue),
            home=Path(into or Path("outputs", asked.manifest.name)).absolute(),
            retry_failed=retry_failed,
            afford=bill.Allowance(self.store, self.settings, asked.manifest.max_cost),
        )

    def plan(self, manifest: str | os.PathLike[str], **options: object) -> list[Choice]:
        """What there is of each task that the manifest wants, without changing anything. Options as those of `wish`."""
        _, wish = self.wish(manifest, **options)  # type: ignore[arg-type]
        seen = facts.see_all(self.store, self.machines, wish.project)
        return engine.decide(wish, seen, engine.settled(self.store, wish))

    def submit(self, manifest: str | os.PathLike[str], **options: object) -> Submission:
        """Start what the manifest wants and does not have yet. Options as those of `wish`."""
        asked, wish = self.wish(manifest, **options)  # type: ignore[arg-type]
        return engine.submit(self.store, self.machines, wish, lambda: asked.carry(self.store))

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
        return JobHandle(self, *target.job(self.store, name, self.here))

    def one_job(self, name: str) -> JobHandle:
        """The job of exactly that name: a project does not stand for its latest. Raises NotFound, UsageError."""
        found = target.resolve(self.store, name, self.here)
        if found.number is None:
            raise UsageError(f"{name} is a project: name a job of it", hint=f"swatch status {name}")
        return JobHandle(self, found.project, found.number)

    def delete(self, name: str) -> None:
        """Remove all that is kept of an ended job but its bills; its number is never used again. Raises NotFound, and
        SwatchError for a job that has not ended."""
        self.one_job(name).delete()


class JobHandle:
    """A job of a store. What it says is read when it is asked for."""

    def __init__(self, swatch: Swatch, project: str, number: int) -> None:
        self._swatch, self.project, self.number = swatch, project, number

    def __repr__(self) -> str:
        return f"<job {self.project}/{self.number}>"

    @functools.cached_property
    def record(self) -> Job:
        """What was asked; it never changes. Raises NotFound."""
        return facts.read_job(self._swatch.store, self.project, self.number)

    @property
    def name(self) -> str:
        """`alice/projects/forest/3`"""
        return self.record.name

    @property
    def url(self) -> str:
        """Where a person looks at what is kept of it."""
        return address.job(self._swatch.store.url, self.project, self.number)

    def look(self) -> Seen:
        """The job as it is now."""
        return facts.see(self._swatch.store, self._swatch.machines, self.project, self.number)

    @property
    def state(self) -> str:
        """One of contract.STATES."""
        return self.look().state

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each figure that it has printed."""
        return self._fold().metrics

    @property
    def files(self) -> list[File]:
        """What it has made so far, in the order of the paths."""
        return sorted(self._fold().files.values(), key=lambda file: file.path)

    def _fold(self) -> journal.Fold:
        return journal.fold(self._swatch.store, self.project, self.number)

    def logs(self, follow: bool = False) -> Iterator[Event]:
        """The journal's events; with `follow` until the job ends."""
        for events in log.batches(self._swatch.store, self._swatch.machines, self.record, follow):
            yield from events

    def wait(self, seconds: float | None = None) -> str:
        """Wait for the end (so many seconds at most); the state then."""
        end = None if seconds is None else time.monotonic() + seconds
        for _ in log.batches(self._swatch.store, self._swatch.machines, self.record, follow=True):
            if end is not None and time.monotonic() > end:
                break
        return self.state

    def watch(self, into: str | os.PathLike[str] | None = None, **options: object) -> Watch:
        """Its outputs on their way to a folder: call `poll` until `over`."""
        place = Path(into).absolute() if into else self.home
        return Watch(self._swatch.store, self._swatch.machines, self.choices(), place, **options)  # type: ignore[arg-type]

    def choices(self) -> list[Choice]:
        """Its tasks, as something that is under way."""
        return [Choice(task, Verdict.RUNNING, self.record) for task in self.record.tasks]

    @property
    def home(self) -> Path:
        """The folder that its outputs come home to: where it was asked for, if that was on this computer."""
        home = self.record.home
        there = home is not None and home.host == host_name(self._swatch.settings.home)
        return Path(home.folder if home and there else Path("outputs", self.project)).absolute()

    def sync(self, into: str | os.PathLike[str] | None = None) -> list[Path]:
        """Bring home what it has made and is not there yet; the files that came. Raises SwatchError."""
        watch = self.watch(into, wake=False)
        watch.poll()
        if watch.home.problems:
            raise SwatchError("; ".join(watch.home.problems.values()))
        return watch.brought

    def stop(self, now: bool = False) -> None:
        """Have it end; what it made is kept. Raises SwatchError if it has ended."""
        seen = self.look()
        if seen.final is not None:
            raise SwatchError(f"Job in {seen.state} state cannot be stopped: {seen.job.short} has ended")
        engine.stop(self._swatch.store, self._swatch.machines, [seen], now)

    def restart(self, command: str | None = None, **said: object) -> JobHandle:
        """Start a job of the same code and options, but for what is said; see `Swatch.run`."""
        name = f"{self.project}/{self.number}"
        (started,) = self._swatch.start(self._swatch.prepare_restart(name, _recipe(command, said)))
        return started

    def clone(self, into: str | os.PathLike[str]) -> Path:
        """Bring the code that it ran into an empty or new folder. Raises SwatchError."""
        place = Path(into).absolute()
        if self.record.code is None:
            raise NotFound(f"{self.record.short} has no code")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"{place} is there already", hint="Name another folder: --path NEW")
        snapshot.bring(self._swatch.store, self.record.code, place)
        (place / contract.BROUGHT).touch()
        return place

    def delete(self) -> None:
        """See `Swatch.delete`."""
        seen = self.look()
        if seen.final is None and not seen.lost and seen.launched:
            raise SwatchError(
                f"Job in {seen.state} state cannot be deleted: {seen.job.short}", hint=f"swatch stop {seen.job.short}"
            )
        engine.delete(self._swatch.store, seen.job)


def _recipe(command: str | None, said: Mapping[str, object]) -> Recipe:
    return recipe.of({**said, "command": command})
