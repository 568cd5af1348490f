"""A job of a store, for programs: what it says is read when it is asked for."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import address, contract, engine, facts, journal, log, recipe
from orchestrator.backends import Presence
from orchestrator.backends.local import host_name
from orchestrator.cargo import snapshot
from orchestrator.engine import Choice, Verdict
from orchestrator.errors import NotFound, SwatchError, UsageError
from orchestrator.facts import Seen
from orchestrator.job import Job
from orchestrator.journal import Event, File
from orchestrator.watch import Watch

if TYPE_CHECKING:
    from orchestrator.swatch import Swatch


class JobHandle:
    """A job of a store. What it says is read when it is asked for."""

    def __init__(self, swatch: Swatch, project: str, number: int) -> None:
        self._swatch, self.project, self.number = swatch, project, number

    def __repr__(self) -> str:
        return f"<job {self.project}/{self.number}>"

    @functools.cached_property
    def record(self) -> Job:
        """What was asked; it never changes. Raises NotFound."""
        return facts.read_job(self._swatch.store, self.project, self.number)

    @property
    def name(self) -> str:
        """`alice/projects/forest/3`"""
        return self.record.name

    @property
    def url(self) -> str:
        """Where a person looks at what is kept of it."""
        return address.job(self._swatch.store.url, self.project, self.number)

    def look(self) -> Seen:
        """The job as it is now."""
        return facts.see(self._swatch.store, self._swatch.machines, self.project, self.number)

    @property
    def state(self) -> str:
        """One of contract.STATES."""
        return self.look().state

    def shell(self, terminal: bool = True) -> list[str]:
        """The command line that opens a shell beside its command, which sees what that sees. Raises UsageError where it
        does not run, or not on this computer."""
        seen = self.look()
        if seen.state != contract.RUNNING:
            raise UsageError(
                f"{self.record.short} does not run: it is {seen.state}", hint=f"swatch info {self.record.short}"
            )
        if seen.presence is Presence.ELSEWHERE:
            raise UsageError(f"{self.record.short} runs on another computer: {self.record.host}", hint="Open it there")
        return self._swatch.machines.shell(self.record, terminal)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each figure that it has printed."""
        return self._fold().metrics

    @property
    def files(self) -> list[File]:
        """What it has made so far, in the order of the paths."""
        return sorted(self._fold().files.values(), key=lambda file: file.path)

    def _fold(self) -> journal.Fold:
        return journal.fold(self._swatch.store, self.project, self.number)

    def logs(self, follow: bool = False) -> Iterator[Event]:
        """The journal's events; with `follow` until the job ends."""
        for events in log.batches(self._swatch.store, self._swatch.machines, self.record, follow):
            yield from events

    def wait(self, seconds: float | None = None) -> str:
        """Wait for the end (so many seconds at most); the state then."""
        end = None if seconds is None else time.monotonic() + seconds
        for _ in log.batches(self._swatch.store, self._swatch.machines, self.record, follow=True):
            if end is not None and time.monotonic() > end:
                break
        return self.state

    def watch(self, into: str | os.PathLike[str] | None = None, **options: object) -> Watch:
        """Its outputs on their way to a folder: call `poll` until `over`."""
        place = Path(into).absolute() if into else self.home
        return Watch(self._swatch.store, self._swatch.machines, self.choices(), place, **options)  # type: ignore[arg-type]

    def choices(self) -> list[Choice]:
        """Its tasks, as something that is under way."""
        return [Choice(task, Verdict.RUNNING, self.record) for task in self.record.tasks]

    @property
    def home(self) -> Path:
        """The folder that its outputs come home to: where it was asked for, if that was on this computer."""
        home = self.record.home
        there = home is not None and home.host == host_name(self._swatch.settings.home)
        return Path(home.folder if home and there else Path("outputs", self.project)).absolute()

    def sync(self, into: str | os.PathLike[str] | None = None) -> list[Path]:
        """Bring home what it has made and is not there yet; the files that came. Raises SwatchError."""
        watch = self.watch(into, wake=False)
        watch.poll()
        if watch.home.problems:
            raise SwatchError("; ".join(watch.home.problems.values()))
        return watch.brought

    def stop(self, now: bool = False) -> None:
        """Have it end; what it made is kept. Raises SwatchError if it has ended."""
        seen = self.look()
        if seen.final is not None:
            raise SwatchError(f"Job in {seen.state} state cannot be stopped: {seen.job.short} has ended")
        engine.stop(self._swatch.store, self._swatch.machines, [seen], now)

    def restart(self, command: str | None = None, **said: object) -> JobHandle:
        """Start a job of the same code and options, but for what is said; see `Swatch.run`."""
        name = f"{self.project}/{self.number}"
        (started,) = self._swatch.start(self._swatch.prepare_restart(name, recipe.of({**said, "command": command})))
        return started

    def clone(self, into: str | os.PathLike[str]) -> Path:
        """Bring the code that it ran into an empty or new folder. Raises SwatchError."""
        place = Path(into).absolute()
        if self.record.code is None:
            raise NotFound(f"{self.record.short} has no code")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"{place} is there already", hint="Name another folder: --path NEW")
        snapshot.bring(self._swatch.store, self.record.code, place)
        (place / contract.BROUGHT).touch()
        return place

    def delete(self) -> None:
        """See `Swatch.delete`."""
        seen = self.look()
        if seen.final is None and not seen.lost and seen.launched:
            raise SwatchError(
                f"Job in {seen.state} state cannot be deleted: {seen.job.short}", hint=f"swatch stop {seen.job.short}"
            )
        if seen.final is not None and not self._swatch.machines.settled([seen.job]):
            raise SwatchError(f"{seen.job.short} has ended and is not billed yet", hint="Try again in a minute")
        readers = facts.readers(self._swatch.store, contract.output_prefix(self.project, self.number))
        if readers:
            raise UsageError(
                f"What {seen.job.short} made is mounted by {readers[0].short}", hint=f"swatch stop {readers[0].short}"
            )
        engine.delete(self._swatch.store, seen.job)
