"""Makes jobs of what `run` and `restart` are asked for: looks at the folder, the store and the prices, and then starts
them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import bill, engine, environments, foundry, invocation, recipe, request
from orchestrator.backends.fleet import Fleet
from orchestrator.backends.local import has_gpu, host_name
from orchestrator.cargo import catalogue, mount, revision, snapshot
from orchestrator.cargo.index import Index
from orchestrator.cargo.mount import Prepared, Tell
from orchestrator.cargo.revision import Revision
from orchestrator.cargo.snapshot import Snapshot
from orchestrator.docker import Docker
from orchestrator.docker import Tell as TellLine
from orchestrator.errors import CloudError, NotFound, UsageError
from orchestrator.folder import Belonging, Here
from orchestrator.foundry import Order
from orchestrator.invocation import Draft, Frame
from orchestrator.job import FREE, Home, Job
from orchestrator.recipe import Recipe
from orchestrator.settings import Settings
from orchestrator.store import Store


class Launch(NamedTuple):
    """Jobs that are ready to start: see `Swatch.prepare`. `notes` are sentences that a person should read first; `code`
    is None where an earlier job's is run again. `carry_image` has the image be where the jobs can have it, and tells
    Docker's lines; `carry_code` puts the code into the store, and says how many bytes it sent; `carry_data` what is
    mounted, `waiting` bytes at most, and tells how far it is."""

    drafts: Sequence[Draft]
    recipe: Recipe
    frame: Frame
    code: Snapshot | None
    notes: tuple[str, ...]
    waiting: int
    carry_image: Callable[[TellLine], object]
    carry_code: Callable[[], int]
    carry_data: Callable[[Tell], object]

    def jobs(self, first: int) -> list[Job]:
        """The jobs as they would be, numbered from `first` on."""
        return [draft(number) for number, draft in enumerate(self.drafts, first)]


def alone(settings: Settings, backend: str | None, queue: str | None) -> bool:
    """Whether such jobs cannot read the store, so that their code must build on no other snapshot. Raises SwatchError
    for a queue that takes no jobs: before any record says that one is there."""
    if queue is not None:
        from orchestrator.backends.sagemaker import queue as queues

        queues.check(queue)
    return backend == "sagemaker" and settings.aws.network_isolation


def _image_of(old: Job) -> str | None:
    """What a job was told to run in; of a Dockerfile, what became of it."""
    said = old.config.get("image")
    if not isinstance(said, str):
        return None
    return old.image if foundry.kind(said) is foundry.Kind.FOLDER else said


class Starter:
    """Prepares and starts jobs in a store. `here` is what the folder that one is in belongs to, `folder` where that
    is."""

    def __init__(self, store: Store, settings: Settings, machines: Fleet, here: Here, folder: Path) -> None:
        self.store, self.settings, self.machines, self.here, self.folder = store, settings, machines, here, folder

    def of_folder(
        self,
        project: Belonging,
        asked: Recipe,
        *,
        task: str | None = None,
        values: Mapping[str, Sequence[str]] | None = None,
        argv: Sequence[str] = (),
        fetch: bool = True,
    ) -> Launch:
        """What a `run` would start. Reads the folder and looks at the store; starts and sends nothing, but data at
        addresses is fetched into the store, unless `fetch` is False. Raises SwatchError."""
        found = recipe.find(project.folder)
        settled = recipe.settle(asked, recipe.read(found) if found else None, task)
        notes = list(self._notes(settled))
        others = [name for name in recipe.FILES if found and name != found.name and (project.folder / name).is_file()]
        if others and found:
            notes.append(f"{found.name} counts; {' and '.join(others)} beside it is not read")
        settled = self._placed(settled, asked.queue)
        invocation.combinations(settled.command or "true", values or {})  # before a large folder is read
        # A flag's folders are relative to where one is, the file's to the file.
        data = self._data(settled, self.folder if asked.data else project.folder, project.name, fetch)
        code = snapshot.of_folder(project.folder, index=Index(self.settings.home, project.folder))
        git = revision.of_folder(project.folder)
        # So are its Dockerfiles.
        image = self._image(settled, self.folder if asked.image else project.folder)
        frame = self._frame(settled, project.name, project.user, project.folder / "outputs" / project.name)
        frame = frame._replace(
            code=code.digest,
            git=git.record if git else None,
            argv=tuple(map(recipe.kept, argv)),
            requirements=code.requirements,
        )
        return self._launch(settled, frame, image, values or {}, data, notes, code, git)

    def of_job(
        self,
        old: Job,
        asked: Recipe,
        *,
        values: Mapping[str, Sequence[str]] | None = None,
        argv: Sequence[str] = (),
        fetch: bool = True,
    ) -> Launch:
        """What a restart of a job would start: its stored code and its options, but for what `asked` says. Raises
        SwatchError."""
        if not invocation.same(old):
            raise UsageError(
                f"{old.short} made textures of a manifest, which is what starts them again",
                hint="swatch submit MANIFEST --retry-failed",
            )
        settled = asked.over(msgspec.structs.replace(invocation.of_job(old), image=_image_of(old)))
        notes = list(self._notes(settled))
        settled = self._placed(settled, asked.queue)
        place = old.home.folder if old.home and old.home.host == host_name(self.settings.home) else None
        frame = self._frame(settled, old.project, old.user, Path(place or self.folder / "outputs" / old.project))
        frame = frame._replace(
            code=old.code,
            git=old.git,
            argv=tuple(map(recipe.kept, argv)),
            requirements=old.requirements,
            restarted=old.name,
        )
        if asked.image or asked.env or asked.machine or asked.backend:
            image = self._image(settled, self.folder)
        else:
            image = Order(lambda: foundry.again(self.settings, old.backend, old.image))
        data = self._data(settled, self.folder, old.project, fetch) if asked.data else self._same_data(old)
        return self._launch(settled, frame, image, values or {}, data, notes)

    def _same_data(self, old: Job) -> Prepared:
        """What a job read. Raises NotFound for what was deleted since."""
        for one in old.data:
            try:
                catalogue.find(self.store, self.settings.user, self.here, one.source)
            except NotFound as error:
                error.hint = f"Name what is to stand there: --data SOURCE:{one.mount}"
                raise
        return Prepared(old.data, {})

    def start(self, launch: Launch, tell: Tell, build: TellLine) -> list[Job]:
        """Start what was prepared. Raises SwatchError."""

        def carry() -> None:
            launch.carry_image(build)
            launch.carry_code()
            launch.carry_data(tell)

        return engine.start(self.store, self.machines, launch.frame.project, launch.drafts, carry)

    def _placed(self, said: Recipe, queue: str | None) -> Recipe:
        """The recipe with its backend, environment and queue settled; `queue` is what was asked for just now."""
        backend = said.backend or self.settings.backend
        self.machines.backend(backend)  # an unknown one ends here
        env = environments.find(said.env).environment.name if said.env else None
        settled = request.queue_of(backend, queue, said.queue, self.settings.aws.queue)
        return msgspec.structs.replace(said, backend=backend, env=env, queue=settled)

    def _notes(self, said: Recipe) -> Iterator[str]:
        """What a person should know before such a job runs."""
        backend = said.backend or self.settings.backend
        here = backend == "local"
        gpu = any(one.startswith("gpu") for one in said.machine or ())
        if gpu and backend in FREE and not has_gpu():
            yield "This computer has no GPU: the job runs on its CPU"
        elif gpu and backend == "docker" and not Docker().engine().gpus:
            yield "Docker here does not offer the GPU (NVIDIA Container Toolkit): the job runs on the CPU"
        if said.env is None:
            return
        chosen = environments.find(said.env)
        if chosen.note:
            yield chosen.note
        if here:
            yield f"{chosen.environment.name} is an image on AWS; on this computer commands see Swatch's own Python"

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

    def _image(self, said: Recipe, folder: Path) -> Order:
        """What such a job runs in; a Dockerfile's path is relative to the folder."""
        machine = (said.machine or ("cpu",))[0]
        backend = said.backend or "local"
        return Order(lambda: foundry.choose(self.settings, backend, said.image, said.env, machine, folder))

    def _launch(
        self,
        said: Recipe,
        frame: Frame,
        image: Order,
        values: Mapping[str, Sequence[str]],
        data: Prepared,
        notes: Sequence[str],
        code: Snapshot | None = None,
        git: Revision | None = None,
    ) -> Launch:
        drafts = invocation.drafts(said, frame, values)
        frame = frame._replace(hourly=self._affordable(drafts[0](1), len(drafts)))

        def mounted(draft: Draft, number: int) -> Job:
            return msgspec.structs.replace(draft(number), data=data.mounts, image=image.uri)

        def carry_data(tell: Tell) -> None:
            data.carry(self.store, tell)

        def carry_code() -> int:
            whole = alone(self.settings, said.backend, said.queue)
            if git is not None:
                git.carry(self.store)
            if code is not None:
                return code.carry(self.store, whole)
            if whole and frame.code is not None:
                return snapshot.make_whole(self.store, frame.code)
            return 0

        drafts = [functools.partial(mounted, draft) for draft in invocation.drafts(said, frame, values)]

        notes = (*notes, image.chosen.note) if image.chosen.note else tuple(notes)
        return Launch(drafts, said, frame, code, notes, data.waiting, image.ready, carry_code, carry_data)

    def _affordable(self, job: Job, count: int) -> float | None:
        """USD an hour of such a job. Raises UsageError where jobs could pass their cap."""
        if job.backend in FREE:
            return None
        try:
            rates = bill.tariff(self.settings)
        except CloudError:
            if job.max_cost is not None:
                raise
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
