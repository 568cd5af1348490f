"""Follows jobs: one object polls for all of them, folds their journals and brings outputs home as they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import contract, facts, journal, results
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.engine import Choice, Verdict
from orchestrator.errors import SwatchError
from orchestrator.facts import Seen
from orchestrator.job import Final, Job, Task
from orchestrator.store.base import Store
from orchestrator.sync import Homecoming, Output

POLL_SECONDS = 0.4
SLOWEST_POLL_SECONDS = 5.0


WAITING = Sight(Presence.WAITING)


@dataclass
class TaskView:
    """A task as a person wants to see it. `files` are those at home, below the folder."""

    task: Task
    job: Job | None
    state: str
    reason: str = ""
    progress: journal.Progress | None = None
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.state in contract.FINAL


@dataclass
class JobView:
    """A job that is followed: its fold so far, and where reading goes on."""

    job: Job
    fold: journal.Fold = field(default_factory=journal.Fold)
    final: Final | None = None
    sight: Sight = WAITING
    last: str = ""
    wanted: list[tuple[TaskView, Task]] = field(default_factory=list)  # who waits for which of the job's tasks
    pending: dict[str, journal.File] = field(default_factory=dict)  # in the store, not yet at home

    @property
    def over(self) -> bool:
        """Nothing more will come: it ended, or it was lost."""
        return self.final is not None or self.sight.presence is Presence.GONE


class Watch:
    """Tasks in view, and the folder their files come home to. Call `poll` until `over`. With `wake`, jobs that wait are
    made to go on, should whoever was to run them have died."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        choices: Iterable[Choice],
        folder: Path,
        wake: bool = True,
    ) -> None:
        self.home = Homecoming(store, folder)
        self.tasks: list[TaskView] = []
        self.jobs: dict[tuple[str, int], JobView] = {}
        self.brought: list[Path] = []
        self._store, self._backend, self._wake = store, backend, wake
        self._delay = POLL_SECONDS
        self._cached: list[TaskView] = []
        for choice in choices:
            self._add(choice)

    def _add(self, choice: Choice) -> None:
        view = TaskView(choice.task, choice.job, contract.QUEUED, choice.reason)
        self.tasks.append(view)
        if choice.verdict is Verdict.CACHED:
            view.state = contract.SUCCESS
            view.reason = "cached"
            self._cached.append(view)
        elif choice.job is None:
            view.reason = "not submitted"
        else:
            job = self.jobs.setdefault((choice.job.project, choice.job.number), JobView(choice.job))
            # The job's own task that makes what is wanted may have another name there.
            held = next((one for one in choice.job.tasks if one.fingerprint == choice.task.fingerprint), None)
            if held is not None:
                job.wanted.append((view, held))

    def remember(self) -> None:
        """Have the folder remember that these tasks are what a manifest wants in it."""
        for view in self.tasks:
            self.home.choose(view.task.name, view.task.fingerprint)

    @property
    def over(self) -> bool:
        """Whether every task has come to its end, or will never."""
        return not self._cached and all(view.over for view in self.jobs.values())

    @property
    def failed(self) -> list[TaskView]:
        return [view for view in self.tasks if view.state != contract.SUCCESS]

    def poll(self) -> bool:
        """Look once at everything; True if anything was new."""
        news = self._bring_cached()
        going = [view for view in self.jobs.values() if not view.over]
        self._look_at(going)
        for view in going:
            news |= self._poll_job(view)
        for view in self.jobs.values():
            for task, held in view.wanted:
                was = task.state
                _refresh(task, view, held)
                if task.state == contract.SUCCESS != was:
                    self._prune(view, task, held)
        self.home.save()
        self._delay = POLL_SECONDS if news else min(self._delay * 1.3, SLOWEST_POLL_SECONDS)
        return news

    def pause(self) -> float:
        """Seconds to wait before the next poll: short while something happens, longer while nothing does."""
        busy = any(task.state in (contract.STARTING, contract.RUNNING) for task in self.tasks)
        return POLL_SECONDS if busy else self._delay

    def _bring_cached(self) -> bool:
        for view in self._cached:
            try:
                result = results.read(self._store, view.task.fingerprint)
            except SwatchError as error:
                self.home.problems[view.task.name] = error.message
                continue
            for made in result.files:
                path = f"{view.task.name}/{made.path}"
                self._bring(view, Output(result.key(made), path, made.size, made.sha256))
            self.home.keep_only(view.task.name, {f"{view.task.name}/{made.path}" for made in result.files})
        news, self._cached = bool(self._cached), []
        return news

    def _look_at(self, views: Sequence[JobView]) -> None:
        """What the backends see of those, and the final records of those that have ended."""
        for view in views:
            view.final = facts.read_final(self._store, view.job.project, view.job.number)
        going = [view for view in views if view.final is None]
        for view, sight in zip(going, self._backend.look([view.job for view in going]) if going else [], strict=True):
            view.sight = sight
            if sight.presence is Presence.GONE:
                view.final = facts.read_final(self._store, view.job.project, view.job.number)
        if self._wake and any(view.sight.presence is Presence.WAITING for view in going):
            self._backend.wake()

    def _poll_job(self, view: JobView) -> bool:
        # The final record was looked for before the journal is read: the agent writes it last, so nothing is missed.
        project, number = view.job.project, view.job.number
        news = view.over
        for chunk in journal.read(self._store, project, number, view.last):
            view.last, news = chunk.key, True
            for event in chunk.events:
                view.fold.add(event)
                if isinstance(event, journal.File):
                    view.pending[event.path] = event
        self._bring_pending(view)
        return news

    def _bring_pending(self, view: JobView) -> None:
        prefix = contract.output_prefix(view.job.project, view.job.number)
        for file in list(view.pending.values()):
            takers = [(task, held) for task, held in view.wanted if file.path.startswith(held.prefix)]
            outputs = [(task, f"{task.task.name}/{file.path[len(held.prefix) :]}") for task, held in takers]
            if all(
                self._bring(task, Output(prefix + file.path, path, file.size, file.sha256)) for task, path in outputs
            ):
                del view.pending[file.path]

    def _prune(self, view: JobView, task: TaskView, held: Task) -> None:
        if self.home.choice(task.task.name) not in (None, task.task.fingerprint):
            return
        made = [path[len(held.prefix) :] for path in view.fold.files if path.startswith(held.prefix)]
        self.home.keep_only(task.task.name, {f"{task.task.name}/{path}" for path in made})

    def _bring(self, task: TaskView, output: Output) -> bool:
        """True when the file is at home, or another result of that name is wanted there."""
        if self.home.choice(task.task.name) not in (None, task.task.fingerprint):
            return True
        brought = self.home.bring(output)
        if brought is not None:
            self.brought.append(brought)
        if output.path in self.home.problems:
            return False
        if output.path not in task.files:
            task.files.append(output.path)
        return True


def _refresh(task: TaskView, view: JobView, held: Task) -> None:
    """Let the view of a task say what its job's journal says."""
    task.progress = view.fold.progress.get(held.name)
    task.reason = ""
    end = view.fold.tasks.get(held.name)
    if end is not None:
        task.state, task.seconds, task.reason = end.state, end.seconds, end.error
    elif view.final is not None:
        task.state, task.reason = view.final.tasks.get(held.name, view.final.state), view.final.reason
    elif view.sight.presence is Presence.GONE:
        task.state = contract.FAILED
        task.reason = Seen(view.job, None, Presence.GONE, view.fold).reason
    elif view.fold.state != contract.RUNNING:
        task.state = view.fold.state if view.fold.state == contract.STARTING else contract.QUEUED
        task.reason = view.sight.said
    elif task.progress or held.command:
        task.state = contract.RUNNING
    else:
        # A program makes one texture after the other; the next one is on its way while the program loads.
        following = next(one.name for one in view.job.tasks if one.name not in view.fold.tasks)
        task.state = contract.STARTING if held.name == following else contract.QUEUED
