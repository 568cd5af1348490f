"""Makes jobs of what `run` and `restart` are asked for: looks at the folder, the store and the prices, and then starts
them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import bill, engine, environments, images, invocation, recipe, request
from orchestrator.backends.fleet import Fleet
from orchestrator.backends.local import has_gpu, host_name
from orchestrator.cargo import mount, revision, snapshot
from orchestrator.cargo.index import Index
from orchestrator.cargo.mount import Prepared, Tell
from orchestrator.cargo.revision import Revision
from orchestrator.cargo.snapshot import Snapshot
from orchestrator.errors import CloudError, UsageError
from orchestrator.folder import Belonging, Here
from orchestrator.invocation import Draft, Frame
from orchestrator.job import FREE, Home, Job
from orchestrator.recipe import Recipe
from orchestrator.settings import Settings
from orchestrator.store import Store


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
        settled = self._placed(settled)
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
        settled = asked.over(invocation.of_job(old))
        notes = list(self._notes(settled))
        settled = self._placed(settled)
        place = old.home.folder if old.home and old.home.host == host_name(self.settings.home) else None
        frame = self._frame(settled, old.project, old.user, Path(place or self.folder / "outputs" / old.project))
        frame = frame._replace(
            code=old.code,
            git=old.git,
            argv=tuple(argv),
            requirements=old.requirements,
            restarted=old.name,
            image=frame.image if asked.env or asked.machine or asked.backend else old.image,
        )
        data = self._data(settled, self.folder, old.project, fetch) if asked.data else Prepared(old.data, {})
        return self._launch(settled, frame, values or {}, data, notes)

    def start(self, launch: Launch, tell: Tell) -> list[Job]:
        """Start what was prepared. Raises SwatchError."""
        return engine.start(self.store, self.machines, launch.frame.project, launch.drafts, lambda: launch.carry(tell))

    def _placed(self, said: Recipe) -> Recipe:
        """The recipe with its backend, environment and queue settled."""
        backend = said.backend or self.settings.backend
        self.machines.backend(backend)  # an unknown one ends here
        env = environments.find(said.env).environment.name if said.env else None
        queue = request.queue_of(backend, said.queue, None, self.settings.aws.queue)
        return msgspec.structs.replace(said, backend=backend, env=env, queue=queue)

    def _notes(self, said: Recipe) -> Iterator[str]:
        """What a person should know before such a job runs."""
        here = (said.backend or self.settings.backend) == "local"
        if here and any(one.startswith("gpu") for one in said.machine or ()) and not has_gpu():
            yield "This computer has no GPU: the job runs on its CPU"
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
            image=self._image(said),
        )

    def _image(self, said: Recipe) -> str | None:
        """What such a job runs in; None on this computer."""
        if said.backend != "sagemaker":
            return None
        if said.env is None and self.settings.aws.image:
            return self.settings.aws.image
        from orchestrator import aws

        machine = (said.machine or ("cpu",))[0]
        return images.base(machine, aws.region(), environments.find(said.env or environments.DEFAULT).environment)

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
