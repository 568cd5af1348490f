"""Follows jobs: one object polls for all of them, folds their journals and brings outputs home as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import contract, facts, journal, results
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.engine import Choice, Verdict
from orchestrator.errors import Expired, SwatchError, Throttled, Unreachable
from orchestrator.facts import Seen
from orchestrator.job import FREE, Final, Job, Task
from orchestrator.store import crowd
from orchestrator.store.base import Store
from orchestrator.sync import Homecoming, Output

POLL_SECONDS = 0.4
SLOWEST_POLL_SECONDS = 5.0
FAR_POLL_SECONDS = 2.0
"""Of a store where each look is a paid request."""
SLOWEST_RETRY = 30.0


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
    looked_at: bool = False
    wanted: list[tuple[TaskView, Task]] = field(default_factory=list)  # who waits for which of the job's tasks
    pending: dict[str, journal.File] = field(default_factory=dict)  # in the store, not yet at home

    @property
    def name(self) -> tuple[str, int]:
        """Project and number."""
        return self.job.project, self.job.number

    @property
    def over(self) -> bool:
        """Nothing more will come: it ended, or it was lost."""
        return self.final is not None or self.sight.presence is Presence.GONE


class Watch:
    """Tasks in view, and the folder their files come home to. Call `poll` until `over`. With `wake`, jobs that wait are
    made to go on, should whoever was to run them have died. `listen` is told each event of their journals."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        choices: Iterable[Choice],
        folder: Path,
        wake: bool = True,
        listen: Callable[[journal.Event], object] | None = None,
    ) -> None:
        self.home = Homecoming(store, folder)
        self.tasks: list[TaskView] = []
        self.jobs: dict[tuple[str, int], JobView] = {}
        self.brought: list[Path] = []
        self.trouble = ""
        self._store, self._backend, self._wake, self._listen = store, backend, wake, listen
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
            view.reason = choice.reason or "not submitted"
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

    @property
    def paid(self) -> bool:
        """Whether machines are paid for while jobs go on."""
        return any(not view.over and view.job.backend not in FREE for view in self.jobs.values())

    def poll_on(self) -> bool:
        """As `poll`, but trouble that passes or that a person can mend meanwhile (a sign-in that has expired, no
        network) is told in `trouble`, and the next poll tries again."""
        try:
            news = self.poll()
        except (Expired, Throttled, Unreachable) as error:
            self.trouble = f"{error.message}: {error.hint}" if error.hint else error.message
            self._delay = min(2 * self._delay + 1, SLOWEST_RETRY)
            return False
        self.trouble = ""
        return news

    def poll(self) -> bool:
        """Look once at everything; True if anything was new. Raises CloudError."""
        news = self._bring_cached()
        going = [view for view in self.jobs.values() if not view.over]
        self._look_at(going)
        news |= any([*crowd.each(self._poll_job, going, self._store.width)])
        self._backend.settle([view.job for view in going if view.final is not None])
        self._bring_pending()
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
        shortest = POLL_SECONDS if self._store.width == 1 else FAR_POLL_SECONDS
        return max(shortest, 0.0 if busy and not self.trouble else self._delay)

    def _bring_cached(self) -> bool:
        def read(view: TaskView) -> list[tuple[TaskView, Output]]:
            try:
                result = results.read(self._store, view.task.fingerprint)
            except SwatchError as error:
                self.home.problems[view.task.name] = error.message
                return []
            return [
                (view, Output(result.key(made), f"{view.task.name}/{made.path}", made.size, made.sha256))
                for made in result.files
            ]

        found = [*crowd.each(read, self._cached, self._store.width)]
        self._bring([pair for pairs in found for pair in pairs])
        for view, pairs in zip(self._cached, found, strict=True):
            if view.task.name not in self.home.problems:
                self.home.keep_only(view.task.name, {output.path for _, output in pairs})
        news, self._cached = bool(self._cached), []
        return news

    def _look_at(self, views: Sequence[JobView]) -> None:
        """What the backends see of those, but for jobs that had ended before they were ever looked at."""
        new = [view for view in views if not view.looked_at]
        finals = crowd.each(lambda view: facts.read_final(self._store, *view.name), new, self._store.width)
        for view, final in zip(new, finals, strict=True):
            view.final, view.looked_at = final, True
        views = [view for view in views if view.final is None]
        for view, sight in zip(views, self._backend.look([view.job for view in views]) if views else [], strict=True):
            view.sight = sight
        if self._wake and any(view.sight.presence is Presence.WAITING for view in views):
            self._backend.wake()

    def _poll_job(self, view: JobView) -> bool:
        if view.final is None and view.sight.presence is Presence.WAITING and view.last:
            return False  # nobody writes into its journal
        # Where there may be a final record it is looked for before the journal is read: the agent writes it last, after
        # the journal has said so; then nothing is missed.
        over = view.sight.presence in (Presence.GONE, Presence.ELSEWHERE) or view.fold.state in contract.FINAL
        if view.final is None and over:
            view.final = facts.read_final(self._store, *view.name)
        news = view.over
        for chunk in journal.read(self._store, *view.name, view.last):
            view.last, news = chunk.key, True
            for event in chunk.events:
                view.fold.add(event)
                if self._listen is not None:
                    self._listen(event)
                if isinstance(event, journal.File):
                    view.pending[event.path] = event
        return news

    def _bring_pending(self) -> None:
        wanted = [
            (view, file.path, list(_outputs(view, file)))
            for view in self.jobs.values()
            for file in view.pending.values()
        ]
        self._bring([pair for _, _, pairs in wanted for pair in pairs])
        for view, path, pairs in wanted:
            if not any(self._wants(task) and output.path in self.home.problems for task, output in pairs):
                del view.pending[path]

    def _prune(self, view: JobView, task: TaskView, held: Task) -> None:
        if not self._wants(task):
            return
        made = [path[len(held.prefix) :] for path in view.fold.files if path.startswith(held.prefix)]
        self.home.keep_only(task.task.name, {f"{task.task.name}/{path}" for path in made})

    def _wants(self, task: TaskView) -> bool:
        """Whether this result, and no other of that name, is wanted in the folder."""
        return self.home.choice(task.task.name) in (None, task.task.fingerprint)

    def _bring(self, pairs: list[tuple[TaskView, Output]]) -> None:
        wanted = [(task, output) for task, output in pairs if self._wants(task)]
        self.brought += filter(None, self.home.bring_all(output for _, output in wanted))
        for task, output in wanted:
            if output.path not in self.home.problems and output.path not in task.files:
                task.files.append(output.path)


def _outputs(view: JobView, file: journal.File) -> Iterator[tuple[TaskView, Output]]:
    """Where a file of a job belongs: at home with each task that waits for it."""
    key = contract.output_prefix(view.job.project, view.job.number) + file.path
    for task, held in view.wanted:
        if file.path.startswith(held.prefix):
            path = f"{task.task.name}/{file.path[len(held.prefix) :]}"
            yield task, Output(key, path, file.size, file.sha256)


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
