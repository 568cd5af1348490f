"""Reconciles wishes with facts: what a manifest wants against what the store has, and only the difference is done.

Deciding is pure (`decide`); `submit` and `stop` do. Two submissions at once are safe without a lock: the numbers of a
project's jobs are a log that only one writer can extend at a time (`Store.create`). Whoever loses the race for a
number reads the job that took it, and decides again.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

import msgspec

from orchestrator import contract, facts, results
from orchestrator.backends.base import Backend, Presence, stopped
from orchestrator.cargo import tasklist
from orchestrator.facts import Seen
from orchestrator.job import Job, Task
from orchestrator.journal import Fold
from orchestrator.store import crowd
from orchestrator.store.base import Store

MAX_ATTEMPTS = 3
"""A job lost so often is not taken up again unless asked: something on that machine kills it."""


class Verdict(enum.Enum):
    """What there is of a task."""

    NEW = "new"
    CACHED = "cached"
    QUEUED = "queued"
    RUNNING = "running"
    LOST = "lost"
    FAILED = "failed"
    HELD = "held"
    """Wanted, and not started: it could cost more than is allowed."""


class Choice(NamedTuple):
    """A wanted task, what there is of it, and the job that has it (None for a new one, or one cached elsewhere)."""

    task: Task
    verdict: Verdict
    job: Job | None = None
    reason: str = ""


Afford = Callable[[Sequence[Seen], Sequence[Job]], int]
"""How many of the new jobs, in their order, may be started beside those that are seen."""


def everything(seen: Sequence[Seen], jobs: Sequence[Job]) -> int:
    """Without a cap, all may."""
    return len(jobs)


class Wish(NamedTuple):
    """What is wanted: tasks, how they are packed into jobs, and how a job with some of them looks, given its number,
    and the digest of its input."""

    project: str
    tasks: Sequence[Task]
    pack: Callable[[Sequence[Task]], Iterable[tuple[Task, ...]]]
    job: Callable[[int, tuple[Task, ...], str | None], Job]
    retries: int = 0
    retry_failed: bool = False
    afford: Afford = everything


class Submission(NamedTuple):
    """What came of a wish: a choice for each task (as it is afterwards), the jobs started and those taken up again."""

    choices: list[Choice]
    started: list[Job]
    resumed: list[Job]


def decide(wish: Wish, seen: Sequence[Seen], results: Container[str]) -> list[Choice]:
    """What there is of every wanted task. Pure; `results` holds the fingerprints of finished tasks."""
    holders: dict[str, list[tuple[Seen, Task]]] = {}
    for one in seen:
        for task in one.job.tasks:
            holders.setdefault(task.fingerprint, []).append((one, task))
    return [_choose(task, holders.get(task.fingerprint, []), results, wish) for task in wish.tasks]


def _choose(task: Task, holders: list[tuple[Seen, Task]], results: Container[str], wish: Wish) -> Choice:
    latest_first = sorted(holders, key=lambda holder: -holder[0].job.number)
    if task.fingerprint in results:
        job = next((one.job for one, held in latest_first if _ended_well(one, held)), None)
        return Choice(task, Verdict.CACHED, job)
    for one, _ in latest_first:
        if one.final is not None:
            continue
        if one.presence is not Presence.GONE:
            verdict = Verdict.RUNNING if one.state == contract.RUNNING else Verdict.QUEUED
            return Choice(task, verdict, one.job)
        if one.fold.attempt >= MAX_ATTEMPTS and not wish.retry_failed:
            return Choice(task, Verdict.FAILED, one.job, f"lost {one.fold.attempt} times; retry with --retry-failed")
        return Choice(task, Verdict.LOST, one.job, one.reason)
    failures = [one for one, held in latest_first if _failed(one, held)]
    if failures and not wish.retry_failed and len(failures) > wish.retries:
        return Choice(task, Verdict.FAILED, failures[0].job, failures[0].reason)
    return Choice(task, Verdict.NEW, None, f"try {len(failures) + 1}" if failures else "")


def _ended_well(one: Seen, held: Task) -> bool:
    return one.final is not None and one.final.tasks.get(held.name) == contract.SUCCESS


def _failed(one: Seen, held: Task) -> bool:
    return one.final is not None and one.final.tasks.get(held.name) in (contract.FAILED, contract.TIMEOUT)


def unique(tasks: Iterable[Task]) -> list[Task]:
    """The tasks without those that make the same as an earlier one."""
    return list({task.fingerprint: task for task in reversed(list(tasks))}.values())[::-1]


def settled(store: Store, wish: Wish) -> set[str]:
    """The fingerprints that count as finished: when a person asks for a retry, only those whose output is there."""
    done = results.finished(store)
    if wish.retry_failed:
        done = {task.fingerprint for task in wish.tasks if results.intact(store, task.fingerprint)}
    return done


def submit(store: Store, backend: Backend, wish: Wish, carry: Callable[[], object]) -> Submission:
    """Make the wish come true: start what is new, take up what was lost, leave the rest. `carry` puts the code (and
    whatever else all jobs share) into the store; it is called once, before the first job. `backend` takes
    every job of the project (see `Fleet`).

    Ended at any moment, it can be repeated: a job that no backend had yet is launched by the next.
    """
    seen: list[Seen] = []
    started: list[Job] = []
    resumed: list[Job] = []
    carried = False
    while True:
        seen += facts.see_all(store, backend, wish.project, seen[-1].job.number if seen else 0)
        choices = decide(wish, seen, settled(store, wish))
        new = unique(choice.task for choice in choices if choice.verdict is Verdict.NEW)
        lost = {choice.job.number: choice.job for choice in choices if choice.verdict is Verdict.LOST and choice.job}
        if (new or lost) and not carried:
            carry()
            carried = True
        # What is launched counts as waiting from here on: another look would only cost.
        seen = [one._replace(presence=Presence.WAITING) if one.job.number in lost else one for one in seen]
        resumed += lost.values()
        drafts = draft(wish, new, facts.next_number(store, wish.project, seen[-1].job.number if seen else 0))
        backend.check(drafts)
        taken, overtaken = _take_numbers(store, drafts[: wish.afford(seen, drafts)])
        backend.launch([*lost.values(), *taken])
        started += taken
        seen += [Seen(job, None, Presence.WAITING, Fold()) for job in taken]
        if not overtaken:
            break
    backend.wake()
    mine = {task.fingerprint: job for job in [*started, *resumed] for task in job.tasks}
    held = {task.fingerprint for job in drafts[len(taken) :] for task in job.tasks}
    return Submission([_afterwards(choice, mine, held) for choice in choices], started, resumed)


def draft(wish: Wish, new: Sequence[Task], first: int) -> list[Job]:
    """The jobs that new tasks would become, numbered from `first` on. Pure."""
    return [wish.job(number, group, _cargo(group)) for number, group in enumerate(wish.pack(new), first)]


def _cargo(tasks: Sequence[Task]) -> str | None:
    return tasklist.of_tasks(tasks).digest if any(task.sources for task in tasks) else None


def _take_numbers(store: Store, drafts: Sequence[Job]) -> tuple[list[Job], bool]:
    """Put the jobs into the store, in order; and whether somebody else has taken a number meanwhile."""
    # The input comes first: who sees a job can run it.
    for _ in crowd.each(
        lambda job: tasklist.of_tasks(job.tasks).upload(store), [job for job in drafts if job.input], store.width
    ):
        pass
    taken: list[Job] = []
    for job in drafts:
        if not store.create(contract.job_key(job.project, job.number), msgspec.json.encode(job)):
            return taken, True
        taken.append(job)
    return taken, False


def _afterwards(choice: Choice, mine: dict[str, Job], held: Container[str]) -> Choice:
    if choice.verdict is Verdict.NEW and choice.task.fingerprint in held:
        return choice._replace(verdict=Verdict.HELD, reason="max_cost could be passed")
    job = mine.get(choice.task.fingerprint)
    return choice if job is None else choice._replace(job=job)


def start(
    store: Store, backend: Backend, project: str, drafts: Sequence[Callable[[int], Job]], carry: Callable[[], object]
) -> list[Job]:
    """Start jobs that are wanted whatever there is already: each draft makes the job of a number. `carry` puts what
    they share into the store, once all of them are known to be able to run."""
    started: list[Job] = []

    def jobs() -> list[Job]:
        left = drafts[len(started) :]
        return [draft(number) for number, draft in enumerate(left, facts.last_number(store, project) + 1)]

    backend.check(jobs())
    carry()  # and with it, what is mounted is known: so the jobs are drafted anew
    while len(started) < len(drafts):
        taken, _ = _take_numbers(store, jobs())
        backend.launch(taken)
        started += taken
    backend.wake()
    return started


def delete(store: Store, job: Job) -> None:
    """Remove all that is kept of an ended job but its bills. Its number is never used again: an empty record holds it.
    Ended at any moment, it can be repeated: the job's end is the last that goes."""
    gone = msgspec.json.encode({"schema": contract.SCHEMA, "deleted": time.time()})
    for task in job.tasks:
        results.forget(store, task.fingerprint, job.project, job.number)
    store.create(contract.deleted_key(job.project, job.number), gone)
    record, final = contract.job_key(job.project, job.number), contract.final_key(job.project, job.number)
    there = (entry.key for entry in store.scan(contract.job_prefix(job.project, job.number)))
    list(crowd.each(store.remove, [key for key in there if key not in (record, final)], store.width))
    store.write(record, gone)
    store.remove(final)


class Stopped(NamedTuple):
    """What a stop did: `done` when the job has ended, else its agent ends it (SIGTERM, and SIGKILL after the grace)."""

    job: Job
    done: bool
    state: str


def stop(store: Store, backend: Backend, seen: Sequence[Seen], now: bool = False) -> list[Stopped]:
    """Have the jobs end; their outputs are kept. A job that nobody works on ends here and now; with `now`, so does the
    record of one that another computer works on, should that computer be gone."""
    going = [one for one in seen if one.final is None]

    def mark(one: Seen) -> None:
        asked = msgspec.json.encode({"schema": contract.SCHEMA, "asked": time.time()})
        store.create(contract.stop_key(one.job.project, one.job.number), asked)

    list(crowd.each(mark, going, store.width))
    backend.stop([one.job for one in going])
    return list(crowd.each(lambda one: _stopped(store, backend, one, now), seen, store.width))


def _stopped(store: Store, backend: Backend, one: Seen, now: bool) -> Stopped:
    job = one.job
    if one.final is not None:
        return Stopped(job, True, one.final.state)
    if one.presence is Presence.RUNNING or (one.presence is Presence.ELSEWHERE and not now):
        return Stopped(job, False, contract.SHUTDOWN)
    final = stopped(job, one.fold, one.reason if one.lost else "")
    if store.create(contract.final_key(job.project, job.number), msgspec.json.encode(final)):
        backend.ended(job, final)
    return Stopped(job, True, contract.SHUTDOWN)
