"""Reconciles wishes with facts: what a manifest wants against what the store has, and only the difference is done.

Deciding is pure (`decide`); `submit` and `stop` do. Two submissions at once are safe without a lock: the numbers of a
project's jobs are a log that only one writer can extend at a time (`Store.create`). Whoever loses the race for a
number reads the job that took it, and decides again.
"""

from __future__ import annotations

import enum
import hashlib
import time
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from orchestrator import contract, facts, results
from orchestrator.backends.base import Backend, Presence
from orchestrator.errors import SwatchError
from orchestrator.facts import Seen
from orchestrator.job import Final, Job, Source, Task
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


class Choice(NamedTuple):
    """A wanted task, what there is of it, and the job that has it (None for a new one, or one cached elsewhere)."""

    task: Task
    verdict: Verdict
    job: Job | None = None
    reason: str = ""


class Wish(NamedTuple):
    """What is wanted: tasks, how they are packed into jobs, and how a job with some of them looks."""

    project: str
    tasks: Sequence[Task]
    pack: Callable[[Sequence[Task]], Iterable[tuple[Task, ...]]]
    job: Callable[[int, tuple[Task, ...]], Job]
    retries: int = 0
    retry_failed: bool = False


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
    whatever else all jobs share) into the store; it is called once, before the first job.

    Ended at any moment, it can be repeated: a job whose submission was cut short is completed by the next.
    """
    seen: list[Seen] = []
    started: list[Job] = []
    resumed: list[Job] = []
    carried = False
    while True:
        seen += facts.see_all(store, backend.presence, wish.project, seen[-1].job.number if seen else 0)
        choices = decide(wish, seen, settled(store, wish))
        new = unique(choice.task for choice in choices if choice.verdict is Verdict.NEW)
        lost = {choice.job.number: choice.job for choice in choices if choice.verdict is Verdict.LOST and choice.job}
        if (new or lost) and not carried:
            carry()
            carried = True
        for job in lost.values():
            _deliver(store, job, wish.tasks)
            backend.launch(job)
            resumed.append(job)
        seen = [_again(store, backend, one) if one.job.number in lost else one for one in seen]
        lost_race = False
        number = seen[-1].job.number if seen else 0
        for group in wish.pack(new):
            number += 1
            job = wish.job(number, group)
            if not store.create(contract.job_key(wish.project, number), msgspec.json.encode(job)):
                lost_race = True
                break
            _deliver(store, job, wish.tasks)
            backend.launch(job)
            started.append(job)
            seen.append(facts.see(store, backend.presence, wish.project, number))
        if not lost_race:
            break
    backend.wake()
    mine = {task.fingerprint: job for job in [*started, *resumed] for task in job.tasks}
    return Submission([_afterwards(choice, mine) for choice in choices], started, resumed)


def _again(store: Store, backend: Backend, one: Seen) -> Seen:
    return facts.see(store, backend.presence, one.job.project, one.job.number)


def _afterwards(choice: Choice, mine: dict[str, Job]) -> Choice:
    job = mine.get(choice.task.fingerprint)
    return choice if job is None else choice._replace(job=job)


def _deliver(store: Store, job: Job, wanted: Sequence[Task]) -> None:
    """Put the job's input into the store, the task list last: with it, the input is complete."""
    prefix = contract.input_prefix(job.project, job.number)
    if store.exists(prefix + "tasks.json"):
        return
    here = {source.sha256: source for task in (*wanted, *job.tasks) for source in task.sources}
    for source in {source.sha256: source for task in job.tasks for source in task.sources}.values():
        store.write(prefix + source.cargo_name, _source_bytes(here[source.sha256]))
    store.write(prefix + "tasks.json", msgspec.json.encode(task_list(job)))


def _source_bytes(source: Source) -> bytes:
    """The source's file, provided that it still is what was planned: its digest is part of the fingerprint."""
    try:
        data = Path(source.path).read_bytes()
    except FileNotFoundError:
        raise SwatchError(f"The source {source.path} is gone", hint="Put it back, and submit again") from None
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise SwatchError(f"The source {source.path} has changed meanwhile", hint="Submit again")
    return data


def task_list(job: Job) -> dict[str, Any]:
    """The job's tasks as its program reads them (`synthesize.py --tasks`); sources are relative to the list."""
    return {
        "schema": contract.SCHEMA,
        "tasks": [
            {
                "name": task.name,
                "sources": [source.cargo_name for source in task.sources],
                "parameters": task.parameters,
            }
            for task in job.tasks
        ],
    }


class Stopped(NamedTuple):
    """What a stop did: `done` when the job has ended, else its agent ends it (SIGTERM, and SIGKILL after the grace)."""

    job: Job
    done: bool
    state: str


def stop(store: Store, one: Seen, now: bool = False) -> Stopped:
    """Have the job end; its outputs are kept. A job that nobody works on ends here and now; with `now`, so does the
    record of one that another computer works on, should that computer be gone."""
    job = one.job
    if one.final is not None:
        return Stopped(job, True, one.final.state)
    store.create(contract.stop_key(job.project, job.number), msgspec.json.encode({"schema": 1, "asked": time.time()}))
    if one.presence is Presence.RUNNING or (one.presence is Presence.ELSEWHERE and not now):
        return Stopped(job, False, contract.SHUTDOWN)
    final = Final(
        state=contract.SHUTDOWN,
        ended=time.time(),
        started=one.fold.started,
        seconds=one.seconds(time.time()),
        reason="stopped" if one.fold.attempt else "stopped before it started",
        attempts=one.fold.attempt,
        tasks={
            task.name: one.fold.tasks[task.name].state if task.name in one.fold.tasks else contract.SHUTDOWN
            for task in job.tasks
        },
        files=len(one.fold.files),
        bytes=sum(file.size for file in one.fold.files.values()),
    )
    store.create(contract.final_key(job.project, job.number), msgspec.json.encode(final))
    return Stopped(job, True, contract.SHUTDOWN)
