"""The seam to the machines: what a backend must do.

A backend starts the agent on a job that the store already knows in full. Everything else (log, outputs, state) comes
through the store; a backend is asked only whether an agent is still there.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod

from orchestrator.job import Job


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


class Backend(ABC):
    """Starts agents and knows which are alive."""

    name: str

    @abstractmethod
    def launch(self, job: Job) -> None:
        """Have the job run, at once or when a slot is free. Twice is as good as once; the caller may end any time."""

    @abstractmethod
    def presence(self, job: Job) -> Presence:
        """Whether an agent works or will work on the job. When it is GONE, look for the final record once more: the
        job may have ended meanwhile."""

    @abstractmethod
    def wake(self) -> None:
        """Have queued jobs go on where the queue has come to rest (after a reboot, say). It must be cheap: watching
        calls it often."""
