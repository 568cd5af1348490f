"""The simulator as a whole: one process, one endpoint, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from orchestrator.account import BUILD_ROLE
from orchestrator.docker import Docker
from orchestrator.errors import NotFound, SwatchError
from orchestrator.simulator.account import LOG_GROUP, NUMBER, REGION, Account
from orchestrator.simulator.attempt import Durations, Slots, World
from orchestrator.simulator.builds import Builds
from orchestrator.simulator.clock import Clock, ManualClock
from orchestrator.simulator.endpoint import Endpoint
from orchestrator.simulator.engine import Engine
from orchestrator.simulator.faults import Fate, Faults
from orchestrator.simulator.job import Job, description
from orchestrator.simulator.limits import Quotas, Throttle
from orchestrator.simulator.plane import Plane
from orchestrator.simulator.queues import Queues
from orchestrator.simulator.registry import Registry
from orchestrator.simulator.storage import storage
from orchestrator.simulator.wire import Application

WAIT = 60.0
"""Real seconds after which `wait` gives up: nothing that is waited for takes so long unless it never comes."""

USER_KEY, SECRET = "AKIASIMULATEDUSER000", "simulated"
"""What a person's client signs with. Signatures are not verified."""

_open = 0
_open_lock = threading.Lock()
_session_lock = threading.Lock()


class Simulated(NamedTuple):
    """What an account has for its jobs."""

    bucket: str
    role: str
    image: str


class Simulator:
    """An account that jobs can be run in, from `with` or `start` to `close`.

    clock        real time by default; `Clock(speed)`, `ManualClock()`
    faults       what goes wrong; may be replaced or changed at any time
    quotas       machines by type: `quotas.set("ml.g5.xlarge", 2)`
    rates        calls per second: `rates["DescribeTrainingJob"] = Rate(10, 20)`
    durations    simulated seconds of starting, uploading, grace ...; none but the grace unless given
    processes    containers at a time on this computer; further jobs stay Starting
    front        WSGI middleware around S3: `front(application) -> application`
    port         0 lets the system choose
    docker       runs and builds images that are pushed to the account's registry; else there is none of these
    registry     HOST:PORT of a registry that keeps them; one is started unless given

    moto keeps one state for a process: simulators that are open at the same time in one process share S3, IAM and ECR.
    Raises SwatchError when moto is not installed, the port is taken, or Docker or a registry cannot be had.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        faults: Faults | None = None,
        durations: Durations | None = None,
        processes: int | None = None,
        front: Callable[[Application], Application] | None = None,
        port: int = 0,
        sync_period: float = 0.5,
        quota: int = 20,
        docker: Docker | None = None,
        registry: str | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.quotas = Quotas(quota)
        self._fate = Fate(faults)
        self._throttle = Throttle(self.clock.now)
        self.rates = self._throttle.rates
        self._docker, self._storage = docker, registry
        self.registry: Registry | None = None
        """The front of the account's registry, while it is open: a WSGI application."""
        self._durations, self._front, self._port = durations or Durations(), front, port
        self._slots = Slots(processes or os.cpu_count() or 1)
        self._sync_period = sync_period
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._clients: dict[str, Any] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Open the endpoint."""
        try:
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                MotoRequestHandler,
                create_backend_app,
            )
            from werkzeug.serving import make_server
        except ImportError as missing:
            raise SwatchError(
                "The simulator needs moto, which is not installed",
                hint="In Swatch's own folder: pip install -e '.[local,aws,simulate]'",
            ) from missing

        class Silent(MotoRequestHandler):
            def log(self, type: str, message: str, *args: object) -> None:
                """Requests are counted, not printed."""

        moto = DomainDispatcherApplication(create_backend_app)
        _opened()
        self._folder = Path(tempfile.mkdtemp(prefix="swatch-simulator-"))

        # The endpoint is told its address, which is known when the socket is bound.
        def application(environ: Any, start_response: Any) -> Any:
            return self._endpoint(environ, start_response)

        try:
            self._server = make_server("127.0.0.1", self._port, application, threaded=True, request_handler=Silent)
        except (OSError, SystemExit) as error:  # werkzeug exits when the port is taken
            self._forget()
            raise SwatchError(f"Port {self._port} is taken", hint="Leave --port out: a free one is chosen") from error
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        world = self._world = World(
            account=Account(REGION),
            clock=self.clock,
            fate=self._fate,
            folder=self._folder,
            slots=self._slots,
            durations=self._durations,
            region=REGION,
            url=self.url,
            sync_period=self._sync_period,
            lock=self._lock,
            changed=self._changed,
            closing=self._closing,
        )
        if self._docker is not None:
            try:
                self._open_registry(self._docker)
            except BaseException:
                self._server.server_close()
                self._forget()
                raise
        self._plane = Plane(world, self.quotas)
        self._queues = Queues(world, self._plane)
        self._builds = Builds(world)
        objects = self._front(moto) if self._front else moto
        self._endpoint = Endpoint(
            self._plane,
            self._queues,
            self._builds,
            self.registry,
            self._fate,
            self._throttle,
            moto,
            objects,
            {"interrupt": self.interrupt, "crash": self.crash},
        )
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True)
        self._serving.start()

    def _open_registry(self, docker: Docker) -> None:
        world = self._world
        kept = self._storage or self._open.enter_context(storage(docker, self._folder))
        self.registry = Registry(kept, world.account, self.clock.now)
        world.account.registry = self.url.removeprefix("http://")
        world.engine = Engine(docker, self.registry, self._folder)
        self._open.callback(world.engine.close)

    def close(self) -> None:
        """End all jobs and the endpoint; everything that was kept is gone."""
        self._closing.set()
        self._queues.close()
        self._builds.close()
        self._plane.close()
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()
        self._forget()

    def _forget(self) -> None:
        self._open.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        _closed()

    # What a test holds in its hands

    @property
    def faults(self) -> Faults:
        return self._fate.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._fate.faults = faults

    @property
    def calls(self) -> Mapping[str, int]:
        """Calls by operation, as IAM names it: `sagemaker:CreateTrainingJob`, `s3:PutObject`. `calls.clear()` works."""
        return self._endpoint.calls

    def environment(self) -> dict[str, str]:
        """The variables that a client process needs."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": USER_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        """A boto3 client of this simulator, whatever the environment says."""
        with _session_lock:
            if service not in self._clients:
                self._clients[service] = _session().client(service, endpoint_url=self.url)
            return self._clients[service]

    def make_account(
        self,
        bucket: str = "swatch",
        role: str = "swatch",
        repository: str = "swatch",
        builds: bool = False,
        versions: bool = False,
    ) -> Simulated:
        """A bucket, a role that SageMaker may take, a budget, and a repository with an image `latest`: its jobs are
        processes. `builds`: and a role that CodeBuild may take. `versions`: the bucket keeps old ones, as that of
        `swatch setup aws` does (and as moto has it, lists folders of which all is deleted)."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=bucket)
        private = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        blocked = dict.fromkeys(private, True)
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
        if versions:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        limit = {"Amount": "10", "Unit": "USD"}
        budget = {"BudgetName": "simulated", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
        self.client("budgets").create_budget(AccountId=NUMBER, Budget=budget)
        made = self._make_role(role, "sagemaker.amazonaws.com")
        if builds:
            self._make_role(role + BUILD_ROLE, "codebuild.amazonaws.com")
        ecr = self.client("ecr")
        uri = ecr.create_repository(repositoryName=repository)["repository"]["repositoryUri"]
        media = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "sha256:" + "0" * 64}, "layers": []}
        ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag="latest")
        return Simulated(bucket, made, f"{uri}:latest")

    def _make_role(self, name: str, service: str) -> str:
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": NUMBER}},
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        return str(made["Role"]["Arn"])

    def make_queue(self, name: str, slots: int, enabled: bool = True) -> str:
        """An AWS Batch job queue for SageMaker training that runs so many jobs at a time; its ARN."""
        return self._queues.make(name, slots, enabled)

    def jobs(self) -> list[str]:
        """The names of all training jobs, in the order of their creation."""
        with self._lock:
            return list(self._plane.jobs)

    def describe(self, name: str) -> dict[str, Any]:
        """What DescribeTrainingJob tells, but never throttled, late or counted. Raises NotFound."""
        with self._lock:
            return description(self._job(name))

    def log(self, name: str) -> list[str]:
        """What the job has written, over all its attempts."""
        with self._lock:
            streams = list(self._job(name).streams)
        client = self.client("logs")
        return [
            event["message"]
            for stream in streams
            for event in client.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)[
                "events"
            ]
        ]

    def interrupt(self, name: str) -> None:
        """Take a spot job's machine away, with notice. Raises NotFound."""
        with self._lock:
            job = self._job(name)
            if not job.spot:
                raise SwatchError(f"{name} is no spot job")
            job.asked_back = self.clock.now()
            job.bell.set()

    def crash(self, name: str) -> None:
        """Kill a job's container without notice. Raises NotFound."""
        with self._lock:
            container = self._job(name).container
        if container is None:
            raise SwatchError(f"{name} has no container now")
        container.kill()

    def pid(self, name: str) -> int | None:
        """The process of the job's container, if it has one now."""
        with self._lock:
            container = self._job(name).container
        return container.pid if container else None

    def wait(self, ready: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Wait until `ready()` is true; its value. It is asked after every change, and may itself call the endpoint.
        Raises SwatchError when it does not come to be in so many real seconds."""
        end = time.monotonic() + seconds
        while True:
            version = self._world.version
            found = ready()
            if found:
                return found
            with self._changed:
                while self._world.version == version:
                    if not self._changed.wait(max(0.0, end - time.monotonic())):
                        raise SwatchError(f"What was waited for did not happen: {self._states()}")

    def wait_for(self, name: str, *statuses: str) -> dict[str, Any]:
        """Wait until the job is in one of the statuses or secondary statuses (an end of its own, if none is given)."""
        wanted = statuses or ("Completed", "Failed", "Stopped")
        self.wait(lambda: {self._job(name).status, self._job(name).secondary} & set(wanted))
        return self.describe(name)

    def advance(self, seconds: float) -> None:
        """Move a ManualClock on."""
        assert isinstance(self.clock, ManualClock), "advance() is for a ManualClock"
        self.clock.advance(seconds)

    def _states(self) -> list[tuple[str, str, str | None]]:
        return [(job.name, job.secondary, job.failure) for job in self._plane.jobs.values()]

    def _job(self, name: str) -> Job:
        job = self._plane.jobs.get(name)
        if job is None:
            raise NotFound(f"No such training job: {name[:80]}")
        return job


@functools.cache
def _session() -> Any:
    """One for the process: it reads the services' models once. Making a client of it is not thread-safe."""
    import boto3

    return boto3.session.Session(USER_KEY, SECRET, region_name=REGION)


def _opened() -> None:
    """moto's state belongs to the process: the first simulator finds it empty."""
    global _open
    with _open_lock:
        if _open == 0:
            _reset()
        _open += 1


def _closed() -> None:
    global _open
    with _open_lock:
        _open -= 1
        if _open == 0:
            _reset()


def _reset() -> None:
    from moto.core.base_backend import BackendDict
    from moto.core.model_instances import reset_model_data

    with contextlib.suppress(RuntimeError):  # a late request may still add a service
        BackendDict.reset()
    reset_model_data()
