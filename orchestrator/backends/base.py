"""The seam to the machines: what a backend must do.

A backend starts the agent on a job that the store already knows in full. Everything else (log, outputs, state) comes
through the store; a backend is asked only whether an agent is still there.
"""

from __future__ import annotations

import enum
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator import contract
from orchestrator.errors import UsageError
from orchestrator.job import Final, Job
from orchestrator.journal import Fold


class Presence(enum.Enum):
    """What a backend knows of a job's agent."""

    WAITING = "waiting"
    """In the queue: an agent will be started."""
    RUNNING = "running"
    """An agent is at work."""
    GONE = "gone"
    """Neither. Without a final record, the job was lost, or was never launched."""
    ELSEWHERE = "elsewhere"
    """Not to be told from here: the job belongs to another computer."""


class Sight(NamedTuple):
    """What a backend sees of a job; `said` is what it would tell a person: why it waits, how far it is."""

    presence: Presence
    said: str = ""


class Backend(ABC):
    """Starts agents and knows which are alive."""

    name: str

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises SwatchError for jobs that can never run here: before they have a record."""
        return

    @abstractmethod
    def launch(self, jobs: Sequence[Job]) -> None:
        """Have the jobs run, at once or when a slot is free. Twice is as good as once; the caller may end any time."""

    @abstractmethod
    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        """For each of the jobs, whether an agent works or will work on it. When one is GONE, look for the final record
        once more: the job may have ended meanwhile, or the backend has written what became of it."""

    @abstractmethod
    def wake(self) -> None:
        """Have queued jobs go on where the queue has come to rest (after a reboot, or when a slot is free). It must be
        cheap: watching calls it often."""

    @abstractmethod
    def stop(self, jobs: Sequence[Job]) -> None:
        """Have the agents of these jobs end, if the mark in the store is not enough."""

    def shell(self, job: Job, terminal: bool) -> list[str]:
        """The command line that opens a shell beside the command of a running job, on a terminal or not. Raises
        UsageError where a shell can be had in another way only."""
        raise UsageError(f"No shell can be opened in a job on {self.name}")

    def settle(self, jobs: Sequence[Job]) -> None:
        """The jobs have ended: get what of theirs is outstanding (results, bills). Cheap for those that are settled."""
        return

    def ended(self, job: Job, final: Final) -> None:
        """The final record of a job was just written from this computer: tell who wants to know."""
        return

    def settled(self, jobs: Sequence[Job]) -> bool:
        """Whether nothing of these jobs is outstanding any more, as far as `settle` has got."""
        return True


def stopped(job: Job, fold: Fold, before: str = "") -> Final:
    """The final record of a job that was stopped while no agent worked on it; `before` is what had become of it."""
    said = "stopped" if fold.attempt else "stopped before it started"
    return ending(job, fold, contract.SHUTDOWN, f"{said}; {before}" if before and fold.attempt else said)


def ending(job: Job, fold: Fold, state: str, reason: str) -> Final:
    """The final record of a job whose agent cannot write it any more. A task that had not ended ends as the job."""
    now = time.time()
    return Final(
        state=state,
        ended=now,
        started=fold.started,
        seconds=fold.seconds(fold.last),
        reason=reason,
        attempts=fold.attempt,
        tasks={task.name: fold.tasks[task.name].state if task.name in fold.tasks else state for task in job.tasks},
        files=len(fold.files),
        bytes=sum(file.size for file in fold.files.values()),
    )
