"""The life of one training job, from start to end, in a thread of its own."""

from __future__ import annotations

import contextlib
import enum
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from orchestrator.errors import NoDocker
from orchestrator.simulator import cargo
from orchestrator.simulator.account import Account, Place
from orchestrator.simulator.clock import Clock
from orchestrator.simulator.container import Container, ProcessContainer, environment
from orchestrator.simulator.engine import Engine
from orchestrator.simulator.faults import Fate
from orchestrator.simulator.job import COMPLETED, FAILED, IN_PROGRESS, STOPPED, STOPPING, Job, instance_types

NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
CANNOT_START = (
    "CannotStartContainerError. Please make sure the container can be run with 'docker run <image> train'. Please "
    "refer SageMaker documentation for details. It is possible that the Docker entrypoint is not properly defined, or "
    "missing permissions."
)
INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated seconds of what costs time on AWS, beside the work that is really done."""

    starting: float = 0.0
    warm: float = 0.0
    """Starting, on a warm pool."""
    downloading: float = 0.0
    uploading: float = 0.0
    interrupted: float = 0.0
    capacity: float = 60.0
    """Between a spot job's looks for a machine."""
    grace: float = 120.0
    """From SIGTERM to SIGKILL (StopTrainingJob's documentation)."""


REALISTIC = Durations(starting=60, warm=5, downloading=30, uploading=10, interrupted=60)
"""About what a GPU job meets."""
QUICK = Durations(starting=2, warm=0.5, downloading=1, uploading=1, interrupted=3, capacity=5)
"""For trying out: every state is to be seen, none is waited for."""


class Slots:
    """How many containers run at a time on this computer; those that wait are served in their order."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()

    def take(self, bell: threading.Event) -> bool:
        """Whether a slot is the caller's now; if not, its bell will ring."""
        with self._lock:
            if bell not in self._queue:
                self._queue.append(bell)
            if self._free == 0 or self._queue[0] is not bell:
                return False
            self._free -= 1
            self._queue.popleft()
            self._ring()
            return True

    def give(self) -> None:
        with self._lock:
            self._free += 1
            self._ring()

    def leave(self, bell: threading.Event) -> None:
        """Wait no longer."""
        with self._lock, contextlib.suppress(ValueError):
            self._queue.remove(bell)
            self._ring()

    def _ring(self) -> None:
        if self._free and self._queue:
            self._queue[0].set()


class World(msgspec.Struct, kw_only=True):
    """What all jobs share."""

    account: Account
    clock: Clock
    fate: Fate
    folder: Path
    slots: Slots
    durations: Durations
    region: str
    url: str
    sync_period: float
    lock: threading.RLock
    changed: threading.Condition
    """Notified when anything has changed that can be seen."""
    closing: threading.Event
    engine: Engine | None = None
    """What runs images that were pushed; without one, every container is a process."""

    version: int = 0
    """Counts the changes."""

    def notify(self) -> None:
        with self.lock:
            self.version += 1
            self.changed.notify_all()


class End(enum.Enum):
    """Why a wait, or an attempt, was over."""

    READY = "ready"
    TIME = "time"
    STOP = "stop"
    MAX_WAIT = "max wait"
    MAX_RUNTIME = "max runtime"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class Closed(Exception):
    """The simulator is being closed."""


class Life:
    """Brings a job to its end. `run` is the thread's whole work."""

    def __init__(self, world: World, job: Job, warm: bool, released: Callable[[Job], None]) -> None:
        self._world, self._job, self._warm, self._released = world, job, warm, released
        self._retries = int(job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))

    def run(self) -> None:
        with contextlib.suppress(Closed):
            self._live()

    def _live(self) -> None:
        """Attempt after attempt, until one settles the job."""
        durations = self._world.durations
        end = self._wait(self._job.created + (durations.warm if self._warm else durations.starting))
        if end is End.TIME:
            end = self._machine()
        while end is End.READY:
            end = self._attempt()
            if end is End.INTERRUPTED:
                end = self._wait(self._enter("Interrupted") + durations.interrupted)
                if end is End.TIME:
                    self._enter("Starting")
                    end = self._machine()
            elif end is End.INTERNAL and self._retries > 0:
                self._retries -= 1
                self._enter("Restarting")
                end = End.READY
            elif end is End.INTERNAL:
                self._fail(INTERNAL)
        if end is End.STOP:
            self._finish("Stopped", STOPPED)
        elif end is End.MAX_WAIT:
            self._finish("MaxWaitTimeExceeded", STOPPED)
        elif end is End.MAX_RUNTIME:
            self._finish("MaxRuntimeExceeded", STOPPED)

    def _machine(self) -> End:
        """Find capacity: READY, or why there is none. On-demand jobs fail at once, spot jobs wait."""
        if self._warm:
            return End.READY
        while True:
            for instance_type in instance_types(self._job.request):
                if not self._world.fate.strikes("capacity", instance_type):
                    self._job.instance_type = instance_type
                    return End.READY
            if not self._job.spot:
                self._fail(NO_CAPACITY)
                return End.TIME
            waited = self._wait(self._now() + self._world.durations.capacity)
            if waited is not End.TIME:
                return waited

    def _attempt(self) -> End:
        """One machine's work. TIME says that the job has ended by itself."""
        job, world = self._job, self._world
        ready = self._wait(None, lambda: world.slots.take(job.bell))
        if ready is not End.READY:
            world.slots.leave(job.bell)
            return ready
        with world.lock:
            job.attempts += 1
            job.asked_back = None
            job.busy_since = self._now()
            job.started = job.started or job.busy_since
        folder = world.folder / job.name / str(job.attempts)
        container = self._container(folder)
        try:
            return self._work(container)
        except NoDocker:  # the engine itself is gone: a machine that breaks
            return End.INTERNAL
        except cargo.CarryError as error:
            self._fail(f"ClientError: {error}")
            return End.TIME
        finally:
            container.close()
            with world.lock:
                job.container = None
                self._settle(self._now())
            world.slots.give()
            shutil.rmtree(folder, ignore_errors=True)

    def _container(self, folder: Path) -> Container:
        """A machine of the kind that the image asks for."""
        request, engine = self._job.request, self._world.engine
        checkpoint_path = request.get("CheckpointConfig", {}).get("LocalPath")
        image = engine.place(request["AlgorithmSpecification"]["TrainingImage"]) if engine else None
        if engine is None or image is None:
            return ProcessContainer(folder, checkpoint_path)
        return engine.container(image, folder, checkpoint_path, bool(request.get("EnableNetworkIsolation")))

    def _work(self, container: Container) -> End:
        job, world = self._job, self._world
        begun = self._enter("Downloading")
        cargo.write_configuration(job.request | {"ResourceConfig": self._resources()}, container.ml)
        cargo.fetch_channels(world.account, job.request, container.ml)
        container.prepare()
        with self._checkpoints(container):
            end = self._wait(begun + world.durations.downloading)
            if end is End.TIME:
                end = self._train(container, self._enter("Training"))
        if end is End.INTERRUPTED or end is End.INTERNAL:
            return end
        if end is End.READY or container.exit_code is not None:
            begun = self._enter("Uploading")
            cargo.upload_results(world.account, job.request, container.ml)
            self._idle(begun + world.durations.uploading)
        if end is not End.READY:
            return end
        if job.status == STOPPING:
            return End.STOP
        assert container.exit_code is not None
        if container.refused:
            self._fail(f"ClientError: {CANNOT_START}")
        elif container.exit_code == 0:
            self._finish("Completed", COMPLETED)
        else:
            self._fail(f"AlgorithmError: {_failure(container.ml)}, exit code: {container.exit_code}")
        return End.TIME

    def _train(self, container: Container, begun: float) -> End:
        """From the first line to the end of the container. READY says that it ended by itself."""
        job, world, fate = self._job, self._world, self._world.fate
        moment: tuple[float, End] | None = None
        if job.spot and fate.strikes("interrupt", job.name):
            moment = begun + fate.moment(job.name), End.INTERRUPTED
        elif fate.strikes("internal", job.name):
            moment = begun + fate.moment(job.name), End.INTERNAL
        limit = begun + max(0.0, job.max_runtime - job.trained)
        words = job.request["AlgorithmSpecification"]
        container.start(
            words.get("ContainerEntrypoint", []),
            words.get("ContainerArguments", []),
            environment(job.request, job.arn, world.region, world.url),
            self._log(),
            job.bell.set,
        )
        with world.lock:
            job.container = container
        world.notify()

        def over() -> bool:
            return container.exit_code is not None or job.asked_back is not None

        end = self._wait(min(limit, moment[0]) if moment else limit, over)
        if end is End.TIME:
            end = moment[1] if moment and moment[0] <= limit else End.MAX_RUNTIME
        elif end is End.READY and container.exit_code is None:
            end = End.INTERRUPTED
        if end is End.READY:
            return end
        noticed = self._now()
        if end is End.MAX_RUNTIME or end is End.MAX_WAIT:
            noticed = self._enter("Stopping", STOPPING)
        elif end is End.STOP:
            noticed = job.modified
        elif job.asked_back is not None:
            noticed = job.asked_back
        if end is not End.INTERNAL:  # a machine that breaks gives no notice
            container.terminate()
            self._idle(noticed + world.durations.grace, lambda: container.exit_code is not None)
        container.close()
        return end

    @contextlib.contextmanager
    def _checkpoints(self, container: Container) -> Iterator[None]:
        """The checkpoint channel: restored before, uploaded meanwhile and once more at the end."""
        config, world = self._job.request.get("CheckpointConfig"), self._world
        if config is None:
            yield
            return
        place, folder = Place.of(config["S3Uri"]), container.checkpoints
        place = place._replace(key=place.key.rstrip("/") + "/" if place.key.strip("/") else "")
        cargo.download(world.account, place, folder)
        uploader = cargo.Checkpoints(
            world.account,
            place,
            folder,
            world.sync_period,
            lambda: world.fate.faults.stalled_checkpoints,
            world.notify,
        )
        uploader.start()
        try:
            yield
        finally:
            uploader.close()

    def _log(self) -> Callable[[list[str]], None]:
        """Where lines go: a new stream of the log, and the metrics that are read from them."""
        job, world = self._job, self._world
        taken = int(job.streams[-1].rpartition("-")[2]) if job.streams else 0
        stream = f"{job.name}/algo-1-{max(taken + 1, int(self._now()))}"
        world.account.open_log(stream)
        with world.lock:
            job.streams.append(stream)
        definitions = [
            (one["Name"], re.compile(one["Regex"]))
            for one in job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        ]

        def said(lines: list[str]) -> None:
            now = self._now()
            world.account.log(stream, lines, now)
            for line in lines:
                for name, pattern in definitions:
                    found = pattern.search(line)
                    with contextlib.suppress(ValueError, IndexError):
                        if found:
                            job.metrics[name] = float(found[1]), now
            world.notify()

        return said

    def _resources(self) -> dict[str, object]:
        return {**self._job.request["ResourceConfig"], "InstanceType": self._job.instance_type}

    def _wait(self, until: float | None, ready: Callable[[], bool] = lambda: False) -> End:
        """Wait for `ready`, the time `until`, a stop, or the end of a spot job's patience."""
        job, world, deadline = self._job, self._world, self._job.wait_deadline
        while True:
            job.bell.clear()
            if world.closing.is_set():
                raise Closed
            if ready():
                return End.READY
            now = self._now()
            if job.status == STOPPING:
                return End.STOP
            if deadline is not None and now >= deadline:
                return End.MAX_WAIT
            if until is not None and now >= until:
                return End.TIME
            times = [time for time in (until, deadline) if time is not None]
            world.clock.wait(job.bell, min(times, default=None))

    def _idle(self, until: float, ready: Callable[[], bool] = lambda: False) -> None:
        """Wait for `ready` or the time `until`, whatever else is wanted."""
        while True:
            self._job.bell.clear()
            if self._world.closing.is_set():
                raise Closed
            if ready() or self._now() >= until:
                return
            self._world.clock.wait(self._job.bell, until)

    def _enter(self, secondary: str, status: str | None = None) -> float:
        """The job's next secondary status; the time of it. All that is measured is measured from such times: whoever
        sees the status and then moves the clock knows what comes of it."""
        with self._world.lock:
            now = self._now()
            # A stop that was asked for meanwhile stays asked for.
            self._job.enter(secondary, now, status or (None if self._job.status == STOPPING else IN_PROGRESS))
        self._world.notify()
        return now

    def _finish(self, secondary: str, status: str) -> None:
        with self._world.lock:
            now = self._now()
            self._settle(now)
            self._job.enter(secondary, now, status)
            self._released(self._job)
        self._world.notify()

    def _fail(self, reason: str) -> None:
        with self._world.lock:
            self._job.failure = reason[:1024]
        self._finish("Failed", FAILED)

    def _settle(self, now: float) -> None:
        """The machine works for the job no longer."""
        if self._job.busy_since is not None:
            self._job.trained += now - self._job.busy_since
            self._job.busy_since = None

    def _now(self) -> float:
        return self._world.clock.now()


def _failure(ml: Path) -> str:
    """What the job left in output/failure; AWS shows the first 1,024 characters of the whole reason."""
    try:
        with open(ml / "output" / "failure", "rb") as file:
            return file.read(1024).decode("utf-8", "replace").strip()
    except OSError:
        return ""
