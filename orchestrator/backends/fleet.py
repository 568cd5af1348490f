"""All backends as one: each job is the business of its own. They are opened when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.errors import UsageError
from orchestrator.job import Final, Job


class Fleet(Backend):
    """The backends that `open_one` opens by name."""

    name = "fleet"

    def __init__(self, open_one: Callable[[str], Backend]) -> None:
        self._open = open_one
        self._opened: dict[str, Backend] = {}

    def backend(self, name: str) -> Backend:
        """The backend of that name. Raises UsageError for one that this version or computer does not have."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def check(self, jobs: Sequence[Job]) -> None:
        for name, some in _by_backend(jobs).items():
            self.backend(name).check(some)

    def launch(self, jobs: Sequence[Job]) -> None:
        for name, some in _by_backend(jobs).items():
            self.backend(name).launch(some)

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        found: dict[str, Sight] = {}
        for name, some in _by_backend(jobs).items():
            try:
                sights = self.backend(name).look(some)
            except UsageError as error:
                sights = [Sight(Presence.ELSEWHERE, error.message)] * len(some)
            found.update((job.short, sight) for job, sight in zip(some, sights, strict=True))
        return [found[job.short] for job in jobs]

    def wake(self) -> None:
        for backend in self._opened.values():
            backend.wake()

    def stop(self, jobs: Sequence[Job]) -> None:
        for name, some in _by_backend(jobs).items():
            self.backend(name).stop(some)

    def shell(self, job: Job, terminal: bool) -> list[str]:
        return self.backend(job.backend).shell(job, terminal)

    def settle(self, jobs: Sequence[Job]) -> None:
        for name, some in _by_backend(jobs).items():
            try:
                self.backend(name).settle(some)
            except UsageError:
                continue  # whoever has that backend settles them

    def ended(self, job: Job, final: Final) -> None:
        self.backend(job.backend).ended(job, final)

    def settled(self, jobs: Sequence[Job]) -> bool:
        return all(self.backend(name).settled(some) for name, some in _by_backend(jobs).items())


def _by_backend(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    return {name: [job for job in jobs if job.backend == name] for name in sorted({job.backend for job in jobs})}
