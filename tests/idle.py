"""A backend that takes every job and runs none: for what happens before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.job import Job


class Idle(Backend):
    """All that it is given waits."""

    def __init__(self, name: str = "local") -> None:
        self.name = name

    def launch(self, jobs: Sequence[Job]) -> None:
        return

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        return [Sight(Presence.WAITING)] * len(jobs)

    def wake(self) -> None:
        return

    def stop(self, jobs: Sequence[Job]) -> None:
        return
