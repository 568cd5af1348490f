"""What is: the jobs of a project as the store and their backend show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from orchestrator import contract, decoder, journal
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.errors import CloudError, NotFound, StoreError
from orchestrator.job import Final, Job
from orchestrator.store import crowd
from orchestrator.store.base import Store

LOST_REASON = "lost: its agent ended without a word (killed, or the machine restarted)"

UNLAUNCHED_REASON = "not launched: its submission was cut short"

Record = TypeVar("Record")


class Seen(NamedTuple):
    """A job, and all that is known of it. `fold` is empty for a job that has ended: the final record says it all.
    `said` is the backend's word on one that has not."""

    job: Job
    final: Final | None
    presence: Presence
    fold: journal.Fold
    said: str = ""

    @property
    def lost(self) -> bool:
        """It started, it has not ended, and nobody works on it."""
        return self.final is None and self.presence is Presence.GONE and self.fold.attempt > 0

    @property
    def launched(self) -> bool:
        """False for a job whose submission was cut short before a backend had it."""
        return self.final is not None or self.presence is not Presence.GONE or self.fold.attempt > 0

    @property
    def state(self) -> str:
        """One of contract.STATES. A lost job counts as failed."""
        if self.final is not None:
            return self.final.state
        if self.lost:
            return contract.FAILED
        return self.fold.state if self.fold.state not in contract.FINAL else contract.RUNNING

    @property
    def reason(self) -> str:
        if self.final is not None:
            return self.final.reason
        if self.lost:
            return self.fold.reason if self.fold.state == contract.FAILED else LOST_REASON
        if self.presence is Presence.ELSEWHERE and self.job.host:
            return f"on another computer ({self.job.host}); if that is gone: swatch stop {self.job.short} --now"
        return (self.fold.reason or self.said) if self.launched else UNLAUNCHED_REASON

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each figure that it has printed."""
        return self.final.metrics if self.final is not None else self.fold.metrics

    def seconds(self, now: float) -> float:
        """How long it has run, in seconds; until `now` when it still does."""
        if self.final is not None:
            return self.final.seconds
        return self.fold.seconds(self.fold.last if self.lost else now)


def projects(store: Store) -> list[str]:
    """The names of all projects that have jobs."""
    return store.folders("projects/")


def numbers(store: Store, project: str) -> list[int]:
    """The numbers of a project's jobs, ascending; without those that were deleted."""
    return sorted(_taken(store, project) - _deleted(store, project))


def images(store: Store) -> set[str]:
    """The images that jobs which have not ended run in. Raises StoreError."""
    names = [(project, number) for project in projects(store) for number in numbers(store, project)]

    def image(name: tuple[str, int]) -> str | None:
        return None if store.exists(contract.final_key(*name)) else read_job(store, *name).image

    return {one for one in crowd.each(image, names, store.width) if one is not None}


def last_number(store: Store, project: str) -> int:
    """The highest number that a job of the project ever had; 0 before the first."""
    return max(_taken(store, project), default=0)


def next_number(store: Store, project: str, seen: int) -> int:
    """The number for a job that follows the job `seen`. One that somebody else has made meanwhile has it already, and
    so is never stepped over unseen."""
    return max({seen, *_deleted(store, project)}) + 1


def _taken(store: Store, project: str) -> set[int]:
    # A deleted job's record stays, emptied: so nobody can take its number again.
    return {int(name) for name in store.folders(contract.project_prefix(project)) if _is_number(name)}


def _deleted(store: Store, project: str) -> set[int]:
    prefix = contract.deleted_prefix(project)
    names = (entry.key[len(prefix) :].removesuffix(".json") for entry in store.scan(prefix))
    return {int(name) for name in names if _is_number(name)}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def see(store: Store, backend: Backend, project: str, number: int) -> Seen:
    """One job as it is now. Raises NotFound, StoreError."""
    found = see_each(store, backend, [(project, number)])
    if not found:
        raise _no_job(project, number)
    return found[0]


def see_all(store: Store, backend: Backend, project: str, after: int = 0) -> list[Seen]:
    """The project's jobs with numbers above `after`, ascending. Raises StoreError."""
    return see_each(store, backend, [(project, number) for number in numbers(store, project) if number > after])


def see_each(
    store: Store, backend: Backend, names: Sequence[tuple[str, int]], damaged: list[str] | None = None
) -> list[Seen]:
    """The jobs (project, number) as they are now; their backends are asked once, about all that have not ended. One
    that is not there is left out: another computer may just have deleted it.

    With `damaged`, a job whose records cannot be read is left out, and why is appended there; without, it is raised.
    """

    def known(name: tuple[str, int]) -> Seen | str | None:
        def read() -> Seen:
            return Seen(read_job(store, *name), read_final(store, *name), Presence.GONE, journal.Fold())

        return _or_damage(read, damaged)

    def fold(pair: tuple[Seen | str, Sight | None]) -> Seen | str | None:
        one, sight = pair
        if sight is None or isinstance(one, str):
            return one

        def read() -> Seen:
            project, number = one.job.project, one.job.number
            fold = journal.fold(store, project, number)
            # It may have ended while we looked.
            final = read_final(store, project, number) if sight.presence is Presence.GONE else None
            return Seen(one.job, final, sight.presence, fold, sight.said)

        return _or_damage(read, damaged)

    found = [one for one in crowd.each(known, names, store.width) if one is not None]
    going = [one for one in found if isinstance(one, Seen) and one.final is None]
    sights = iter(backend.look([one.job for one in going]) if going else [])
    backend.settle([one.job for one in found if isinstance(one, Seen) and one.final is not None])
    pairs = [(one, next(sights) if isinstance(one, Seen) and one.final is None else None) for one in found]
    found = [one for one in crowd.each(fold, pairs, store.width) if one is not None]
    if damaged is not None:
        damaged += [one for one in found if isinstance(one, str)]
    return [one for one in found if isinstance(one, Seen)]


def _or_damage(read: Callable[[], Seen], damaged: list[str] | None) -> Seen | str | None:
    """What was read, or the sentence why it could not be, where such sentences are wanted; None for what is gone."""
    try:
        return read()
    except NotFound:
        return None
    except CloudError:
        raise  # no job can be seen
    except StoreError as error:
        if damaged is None:
            raise
        return error.message


def read_job(store: Store, project: str, number: int) -> Job:
    """The record of what was asked. Raises NotFound, StoreError."""
    key = contract.job_key(project, number)
    try:
        job = _decode(store.read(key), Job, key)
    except NotFound:
        raise _no_job(project, number) from None
    if (job.project, job.number) != (project, number):
        raise StoreError(f"{key} is damaged: it is the record of {job.short}")
    if not 0 <= job.created < journal.LAST_TIME:
        raise StoreError(f"{key} is damaged: no calendar has the time {job.created:g}")
    return job


def _no_job(project: str, number: int) -> NotFound:
    return NotFound(f"No job {project}/{number}", hint=f"swatch status {project}")


def read_jobs(store: Store, project: str, wanted: Iterable[int]) -> list[Job]:
    """The records of several jobs of a project. Raises NotFound, StoreError."""
    return list(crowd.each(lambda number: read_job(store, project, number), wanted, store.width))


def readers(store: Store, prefix: str) -> list[Job]:
    """The jobs that have not ended and see, or will see, what stands below `prefix`."""

    def read(name: tuple[str, int]) -> Job | None:
        try:
            job = read_job(store, *name)
        except NotFound:
            return None  # deleted since it was listed
        return job if any(one.prefix == prefix for one in job.data) and read_final(store, *name) is None else None

    names = [(project, number) for project in projects(store) for number in numbers(store, project)]
    return [job for job in crowd.each(read, names, store.width) if job is not None]


def read_final(store: Store, project: str, number: int) -> Final | None:
    """How the job ended; None while it has not."""
    key = contract.final_key(project, number)
    try:
        return _decode(store.read(key), Final, key)
    except NotFound:
        return None


def _decode(data: bytes, kind: type[Record], key: str) -> Record:
    try:
        version = decoder.from_json(data, _Versioned)
        if version.schema > contract.SCHEMA:
            raise StoreError(f"{key} was written by a later version of Swatch", hint="Update Swatch on this computer")
        if version.deleted is not None:
            raise NotFound(f"{key} was deleted")
        return decoder.from_json(data, kind)
    except msgspec.DecodeError as error:
        raise StoreError(f"{key} is damaged: {error}") from error


class _Versioned(msgspec.Struct):
    schema: int
    deleted: float | None = None
