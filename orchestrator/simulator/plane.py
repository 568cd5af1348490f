"""SageMaker's control plane: what each operation does. Requests come in checked against the service model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from orchestrator.simulator import listing
from orchestrator.simulator.account import NUMBER, Account, Place
from orchestrator.simulator.attempt import Life, World
from orchestrator.simulator.job import IN_PROGRESS, STOPPING, Job, WarmPool, description, instance_types, summary
from orchestrator.simulator.limits import WARM_POOL, Quotas
from orchestrator.simulator.rules import check_together
from orchestrator.simulator.wire import ApiError, Invalid

NOT_FOUND = "Requested resource not found."


class Plane:
    """The training jobs of one account and region."""

    def __init__(self, world: World, quotas: Quotas) -> None:
        self._world, self.quotas = world, quotas
        self.jobs: dict[str, Job] = {}
        self._lives: dict[str, threading.Thread] = {}
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": self.describe,
            "ListTrainingJobs": self.page,
            "StopTrainingJob": self.stop,
            "DeleteTrainingJob": self.delete,
            "UpdateTrainingJob": self.update,
            "AddTags": self.add_tags,
            "ListTags": self.list_tags,
        }

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        check_together(request)
        name, account = request["TrainingJobName"], self._world.account
        arn = f"arn:aws:sagemaker:{self._world.region}:{NUMBER}:training-job/{name}"
        with self._world.lock:
            self._expire()
            if name in self.jobs:
                raise ApiError(
                    "ResourceInUse",
                    "Training job names must be unique within an AWS account and region, and a training job with this "
                    f"name already exists ({arn})",
                )
            account.check_role(request["RoleArn"])
            account.check_image(request["AlgorithmSpecification"]["TrainingImage"], request["RoleArn"])
            _check_places(account, request)
            now = self._world.clock.now()
            job = Job(name=name, arn=arn, request=request, created=now)
            job.tags = {one["Key"]: one["Value"] for one in request.get("Tags", [])}
            job.instance_type = (
                "" if request["ResourceConfig"].get("InstancePreferences") else instance_types(request)[0]
            )
            pool = self._pool_for(job)
            self._check_limits(job, pool)
            if pool is not None and pool.warm_pool is not None:
                pool.warm_pool.status, pool.warm_pool.reused_by, pool.warm_pool.until = "Reused", name, None
                pool.warm_pool.retained = int(now - (pool.warm_pool.since or now))
                job.instance_type = pool.instance_type
            if job.keep_alive:
                job.warm_pool = WarmPool()
            job.enter("Starting", now, IN_PROGRESS)
            self.jobs[name] = job
            life = Life(self._world, job, pool is not None, self._released)
            thread = threading.Thread(target=life.run, name=f"job {name}", daemon=True)
            self._lives[name] = thread
            thread.start()
        self._world.notify()
        return {"TrainingJobArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._expire()
            job = self._find(request["TrainingJobName"])
            if self._world.clock.now() < job.created + self._world.fate.faults.described_after:
                raise Invalid(NOT_FOUND)
            return description(job)

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._expire()
            seen = self._world.clock.now() - self._world.fate.faults.visible_after
            return listing.page([summary(job) for job in self.jobs.values() if job.created <= seen], request)

    def summaries(self) -> list[dict[str, Any]]:
        """All jobs, whether or not List shows them yet."""
        with self._world.lock:
            self._expire()
            return [summary(job) for job in self.jobs.values()]

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._find(request["TrainingJobName"])
            if job.done:
                raise Invalid(f"The request was rejected because the training job is in status {job.status}.")
            if job.status != STOPPING:
                job.enter("Stopping", self._world.clock.now(), STOPPING)
                job.bell.set()
        self._world.notify()
        return {}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._expire()
            job = self._find(request["TrainingJobName"], "ResourceNotFound")
            if not job.done or (job.warm_pool and job.warm_pool.status == "Available"):
                raise ApiError("ResourceInUse", f"Training job {job.arn} cannot be deleted in status {job.status}.")
            del self.jobs[job.name], self._lives[job.name]
        return {}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            self._expire()
            job = self._find(request["TrainingJobName"], "ResourceNotFound")
            resources = request.get("ResourceConfig")
            if resources is not None:
                pool = job.warm_pool
                if pool is None or pool.status != "Available" or pool.since is None:
                    raise Invalid("KeepAlivePeriodInSeconds can be updated only while the warm pool is Available.")
                pool.until = pool.since + resources["KeepAlivePeriodInSeconds"]
                job.request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = resources["KeepAlivePeriodInSeconds"]
                self._expire()
            for name in ("ProfilerConfig", "RemoteDebugConfig", "ProfilerRuleConfigurations"):
                if name in request:
                    if job.done:
                        raise Invalid(f"The request was rejected because the training job is in status {job.status}.")
                    job.request[name] = request[name]
            return {"TrainingJobArn": job.arn}

    def add_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._find(request["ResourceArn"].rpartition("/")[2])
            tags = job.tags | {one["Key"]: one["Value"] for one in request["Tags"]}
            if len(tags) > 50:
                raise ApiError("ResourceLimitExceeded", "A resource can have at most 50 tags.")
            job.tags = tags
            return {"Tags": _shown(tags)}

    def list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            return {"Tags": _shown(self._find(request["ResourceArn"].rpartition("/")[2]).tags)}

    def close(self) -> None:
        """Wait until the lives of all jobs are over; the world is closing."""
        with self._world.lock:
            for job in self.jobs.values():
                job.bell.set()
            lives = list(self._lives.values())
        for life in lives:
            life.join()

    def used(self, instance_type: str, kind: str) -> int:
        """Machines of the type that count against the limit of that kind now."""
        with self._world.lock:
            if kind == WARM_POOL:
                pools = [job for job in self.jobs.values() if job.warm_pool and job.warm_pool.status == "Available"]
                return sum(job.count for job in pools if job.instance_type == instance_type)
            return sum(
                job.count
                for job in self.jobs.values()
                if not job.done and job.limit_kind == kind and _type(job) == instance_type
            )

    def _find(self, name: str, code: str = "ValidationException") -> Job:
        job = self.jobs.get(name)
        if job is None:
            raise ApiError(code, NOT_FOUND)
        return job

    def _check_limits(self, job: Job, pool: Job | None) -> None:
        kind = job.limit_kind
        self.quotas.check(_type(job), kind, self.used(_type(job), kind), job.count)
        if job.keep_alive and pool is None:
            # Machines that will stay count from the start: the pool of a job that runs is asked for already.
            held = sum(
                other.count
                for other in self.jobs.values()
                if other.warm_pool and other.warm_pool.status in ("InUse", "Available") and _type(other) == _type(job)
            )
            self.quotas.check(_type(job), WARM_POOL, held, job.count)

    def _pool_for(self, job: Job) -> Job | None:
        """The job whose warm machines fit: same role, machines, network and encryption ("Train Using SageMaker Managed
        Warm Pools", matching jobs)."""
        if job.spot:
            return None
        for other in self.jobs.values():
            if other.warm_pool and other.warm_pool.status == "Available" and _fits(other) == _fits(job):
                return other
        return None

    def _released(self, job: Job) -> None:
        """The job has ended: its machines stay warm, or go."""
        with self._world.lock:
            pool = job.warm_pool
            if pool is None:
                return
            now = self._world.clock.now()
            if job.status == "Completed" or job.started is not None:
                pool.status, pool.since, pool.until = "Available", now, now + job.keep_alive
            else:
                pool.status = "Terminated"
        self._world.notify()

    def _expire(self) -> None:
        """Warm pools whose time is over are gone."""
        now = self._world.clock.now()
        for job in self.jobs.values():
            pool = job.warm_pool
            if pool and pool.status == "Available" and pool.since is not None and pool.until is not None:
                pool.retained = int(min(now, pool.until) - pool.since)
                if now >= pool.until:
                    pool.status = "Terminated"
                    job.modified = pool.until


def _type(job: Job) -> str:
    return job.instance_type or instance_types(job.request)[0]


def _fits(job: Job) -> tuple[Any, ...]:
    resources = job.request["ResourceConfig"]
    return (
        job.request["RoleArn"],
        _type(job),
        job.count,
        *(resources.get(name) for name in ("VolumeSizeInGB", "VolumeKmsKeyId")),
        *(
            job.request.get(name)
            for name in ("VpcConfig", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption")
        ),
    )


def _shown(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _check_places(account: Account, request: dict[str, Any]) -> None:
    role = request["RoleArn"]
    for channel in request.get("InputDataConfig", []):
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        place = Place.of(uri)
        if not uri.startswith("s3://") or next(account.keys(place), None) is None:
            raise Invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({account.region}), that objects exist under that S3 prefix, and that "
                f'the role "{role}" has "s3:ListBucket" permissions on bucket "{place.bucket}".'
            )
    for uri in (request["OutputDataConfig"]["S3OutputPath"], request.get("CheckpointConfig", {}).get("S3Uri")):
        if uri is not None and not (uri.startswith("s3://") and account.has_bucket(Place.of(uri).bucket)):
            raise Invalid(f"The S3 bucket '{Place.of(uri).bucket}' does not exist.")
