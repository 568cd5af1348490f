"""Jobs on this machine, as processes or in Docker's containers, so many at a time as there are slots. Nothing runs
while nothing is queued.

    HOME/local/id                  this computer's name for jobs
    HOME/local/queue/<order>       a job that waits; the files' names are the order
    HOME/local/running/<order>     a job that was started; locked while its runner or agent lives
    HOME/local/slots/<n>           locked by the runner (and its agent) that uses the slot
    HOME/local/launching           locked while a job is put into the queue
    HOME/local/secrets/<job>       values of a job's secrets, for its user alone, until it has ended
    HOME/work/<store>/<project>/<n>/   the job's folders
    HOME/cache/                    what outlives jobs: data of a far store, packages (see `cache`)
    HOME/local/cache.lock          locked while a job runs that may use it

`launch` puts the job into the queue and starts a detached runner (`orchestrator.backends.runner`), which takes a slot,
works the queue off and ends. Locks are `flock`s: the system frees them whatever kills the holder, so a started job
without a lock was lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import decoder, notify, secrets
from orchestrator.backends import vault
from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.docker import Docker
from orchestrator.errors import DockerError, NoDocker, Silent
from orchestrator.job import Final, Job
from orchestrator.leash import end_orphan
from orchestrator.settings import Notify
from orchestrator.store import open_store

NOBODY = Notify()
DOCKER = "docker"
"""The backend of jobs that run here in containers."""


class Entry(msgspec.Struct, frozen=True):
    """A job in the queue."""

    store: str
    project: str
    number: int


class Layout(NamedTuple):
    """Every path of the local backend."""

    home: Path

    @property
    def identity(self) -> Path:
        return self.home / "local" / "id"

    @property
    def queue(self) -> Path:
        return self.home / "local" / "queue"

    @property
    def running(self) -> Path:
        return self.home / "local" / "running"

    @property
    def slots(self) -> Path:
        return self.home / "local" / "slots"

    @property
    def launching(self) -> Path:
        return self.home / "local" / "launching"

    def label(self, entry: Entry) -> str:
        """What a job is called here, whatever its store."""
        store = hashlib.sha256(entry.store.encode()).hexdigest()[:12]
        return f"{store}-{entry.project}-{entry.number}"

    def secrets(self, entry: Entry) -> Path:
        return self.secrets_folder / self.label(entry)

    @property
    def secrets_folder(self) -> Path:
        return self.home / "local" / "secrets"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def cache_lock(self) -> Path:
        return self.home / "local" / "cache.lock"

    @property
    def log(self) -> Path:
        return self.home / "local" / "runner.log"

    def work(self, entry: Entry) -> Path:
        store = hashlib.sha256(entry.store.encode()).hexdigest()[:12]
        return self.home / "work" / store / entry.project / str(entry.number)

    def make(self) -> None:
        for folder in (self.queue, self.running, self.slots):
            folder.mkdir(parents=True, exist_ok=True)


def host_name(home: Path) -> str:
    """This computer's name in job records: its host name, and a part that stays when the host name changes or is
    common. Made at the first call."""
    file = Layout(home).identity
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".id.{os.getpid()}")
        temporary.write_text(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}\n")
        with contextlib.suppress(FileExistsError):  # another process was first: its name counts
            os.link(temporary, file)
        temporary.unlink()
    return file.read_text().strip()


def stores(home: Path) -> set[str]:
    """The stores whose jobs wait or run on this computer."""
    layout, found = Layout(home), set()
    for folder in (layout.queue, layout.running):
        for file in sorted(folder.glob("[!.]*")):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):  # its job has just ended
                found.add(decoder.from_json(file.read_bytes(), Entry).store)
    return found


def has_gpu() -> bool:
    """Whether this computer has a GPU that frameworks use: NVIDIA's, by its driver."""
    return os.path.exists("/dev/nvidia0") or shutil.which("nvidia-smi") is not None


class LocalBackend(Backend):
    """Agents as detached processes of this machine; under the name `docker` each in a container. One queue has both."""

    def __init__(self, store_url: str, home: Path, slots: int, tell: Notify = NOBODY, name: str = "local") -> None:
        self.store_url, self.slots, self._tell, self.name = store_url, slots, tell, name
        self.layout = Layout(home)
        self.host = host_name(home)

    def check(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            secrets.collect(job.secrets, os.environ)
        if self.name == DOCKER and jobs:
            Docker().engine()

    def launch(self, jobs: Sequence[Job]) -> None:
        self.layout.make()
        # One launch at a time, or two that both find a job GONE would queue it twice.
        with open(self.layout.launching, "ab") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            try:
                for job in jobs:
                    if self.presence(job) is Presence.GONE:
                        self._launch(job)
            finally:  # those before one that cannot be go on
                self.wake()

    def _launch(self, job: Job) -> None:
        entry = Entry(self.store_url, job.project, job.number)
        file = self.layout.secrets(entry)
        values = secrets.collect(job.secrets, os.environ, vault.names(file))
        vault.keep(file, {**values, **self._tell.addresses})
        self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        for stale in _named(self.layout.running, self.layout.label(entry)):
            stale.unlink(missing_ok=True)
        name = f"{time.time_ns():020d}-{self.layout.label(entry)}"
        temporary = self.layout.queue / f".{name}"
        temporary.write_bytes(msgspec.json.encode(entry))
        temporary.rename(self.layout.queue / name)

    def look(self, jobs: Sequence[Job]) -> list[Sight]:
        said = self._waiting()
        seen = [self.presence(job) for job in jobs]
        return [Sight(presence, said if presence is Presence.WAITING else "") for presence in seen]

    def _waiting(self) -> str:
        """Why a job in the queue does not run yet; nothing where it is just about to."""
        with contextlib.suppress(FileNotFoundError):
            busy = sum(map(_locked, self.layout.running.iterdir()))
            if busy >= self.slots:
                many = "one job runs" if self.slots == 1 else f"{self.slots} jobs run"
                return f"waits for its turn: {many} at a time here (--slots)"
        return ""

    def stop(self, jobs: Sequence[Job]) -> None:
        """The agents look for the mark in the store every second; a command without an agent is ended here."""
        for job in jobs:
            work = self.layout.work(Entry(self.store_url, job.project, job.number))
            if self.name != DOCKER and self.presence(job) is Presence.GONE and work.is_dir():
                end_orphan(work)

    def shell(self, job: Job, terminal: bool) -> list[str]:
        entry = Entry(self.store_url, job.project, job.number)
        if self.name == DOCKER:
            from orchestrator.backends import container

            return Docker().words(*container.shell(self.layout.label(entry), terminal))
        return [sys.executable, "-P", "-m", "job_image.agent", "shell", str(self.layout.work(entry))]

    def ended(self, job: Job, final: Final) -> None:
        self._forget(job)
        notify.tell(open_store(self.store_url), self._tell, job, final)

    def settle(self, jobs: Sequence[Job]) -> None:
        if list(self.layout.secrets_folder.glob("*")):
            for job in jobs:
                self._forget(job)
        left = {file.name.partition("-")[2] for file in self.layout.running.glob("*")}
        for job in jobs if left else ():
            entry = Entry(self.store_url, job.project, job.number)
            if self.layout.label(entry) in left and self.presence(job) is Presence.GONE:
                self._tidy(entry)

    def _tidy(self, entry: Entry) -> None:
        """A job has ended whose runner was killed before: remove what that would have removed."""
        if self.name == DOCKER:
            from orchestrator.backends import container

            try:
                container.remove(Docker(), container.name(self.layout.label(entry)))
            except DockerError:
                return  # the next look tries it again
        for file in _named(self.layout.running, self.layout.label(entry)):
            file.unlink(missing_ok=True)
        work = self.layout.work(entry)
        if not (work / "output").exists():  # what could not be shipped stays
            shutil.rmtree(work, ignore_errors=True)

    def _forget(self, job: Job) -> None:
        vault.forget(self.layout.secrets(Entry(self.store_url, job.project, job.number)))

    def presence(self, job: Job) -> Presence:
        """Whether the job waits or runs on this computer."""
        if job.host != self.host:
            return Presence.ELSEWHERE
        entry = Entry(self.store_url, job.project, job.number)
        if _named(self.layout.queue, self.layout.label(entry)):
            return Presence.WAITING
        started = _named(self.layout.running, self.layout.label(entry))
        if any(_locked(file) for file in started) or (started and self.name == DOCKER and self._outlives(entry)):
            return Presence.RUNNING
        # A runner may have moved it from queue to running between the two looks.
        return Presence.WAITING if _named(self.layout.queue, self.layout.label(entry)) else Presence.GONE

    def _outlives(self, entry: Entry) -> bool:
        """Whether a job's container runs though whoever waited for its end was killed. What no engine runs is gone;
        while one does not answer, nothing is given up, or started again beside it."""
        from orchestrator.backends import container

        try:
            return container.running(Docker(), container.name(self.layout.label(entry)))
        except Silent:
            return True
        except NoDocker:
            return False

    def wake(self) -> None:
        self.layout.make()
        if all(file.startswith(".") for file in os.listdir(self.layout.queue)):
            return
        if all(_locked(self.layout.slots / str(number)) for number in range(self.slots)):
            return  # whoever holds a slot looks into the queue before it ends
        with open(self.layout.log, "ab") as log:
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "orchestrator.backends.runner"),
                    *("--home", str(self.layout.home), "--slots", str(self.slots)),
                ],
                cwd=self.layout.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _named(folder: Path, label: str) -> list[Path]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    # One that begins with a dot was half put there by who then died: it is no job that waits.
    return [folder / name for name in names if name.partition("-")[2] == label and not name.startswith(".")]


def _locked(file: Path) -> bool:
    try:
        with open(file, "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
