"""AWS Batch job queues for SageMaker training: they start training jobs by themselves when there is room.

A service job's training job is called `AWSBatch<name><attempt>`, as in AWS' own examples (Batch User Guide, "Service
jobs"); the name asked for is cut where all together would be too long.
"""

from __future__ import annotations

import fnmatch
import json
import re
import threading
import uuid
from typing import Any

import msgspec

from orchestrator.simulator import shapes
from orchestrator.simulator.account import NUMBER
from orchestrator.simulator.attempt import World
from orchestrator.simulator.job import COMPLETED
from orchestrator.simulator.plane import Plane
from orchestrator.simulator.wire import ApiError

MAX_NAME = 63
MAX_ATTEMPTS = 10
WAITING, ENDED = ("SUBMITTED", "RUNNABLE"), ("SUCCEEDED", "FAILED")
STATUSES = {"Starting": "STARTING", "Pending": "STARTING", "Downloading": "STARTING"}
"""Secondary statuses of a training job and what they make its service job; with any other it is RUNNING."""


class Refused(ApiError):
    """ClientException: the request cannot be met."""

    def __init__(self, message: str) -> None:
        super().__init__("ClientException", message)


class ServiceJob(msgspec.Struct):
    """A job in a queue; times are seconds since the epoch."""

    id: str
    queue: str
    request: dict[str, Any]
    payload: dict[str, Any]
    created: float
    status: str = "RUNNABLE"
    reason: str = ""
    terminated: bool = False
    scheduled: float | None = None
    started: float | None = None
    stopped: float | None = None
    attempts: list[dict[str, Any]] = []
    training_job: str | None = None


class Queues:
    """The queues of the account. `make` the first, and a thread begins to work them off."""

    def __init__(self, world: World, plane: Plane) -> None:
        self._world, self._plane = world, plane
        self._slots: dict[str, int] = {}
        self._disabled: set[str] = set()
        self.jobs: dict[str, ServiceJob] = {}
        self._tokens: dict[str, str] = {}
        self._worker: threading.Thread | None = None
        self.operations = {
            "/v1/submitservicejob": ("SubmitServiceJob", self.submit),
            "/v1/describeservicejob": ("DescribeServiceJob", self.describe),
            "/v1/listservicejobs": ("ListServiceJobs", self.page),
            "/v1/terminateservicejob": ("TerminateServiceJob", self.terminate),
            "/v1/describejobqueues": ("DescribeJobQueues", self.queues),
        }

    def make(self, name: str, slots: int, enabled: bool = True) -> str:
        """A queue that has so many training jobs run at a time; its ARN. One that is there is changed."""
        with self._world.lock:
            self._slots[name] = slots
            (self._disabled.discard if enabled else self._disabled.add)(name)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="queues", daemon=True)
                self._worker.start()
        return self._arn(f"job-queue/{name}")

    def close(self) -> None:
        """Wait for the thread; the world is closing."""
        self._world.notify()
        if self._worker is not None:
            self._worker.join()

    def submit(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            token, queue = request.get("clientToken"), self._queue(request["jobQueue"])
            known = self.jobs.get(self._tokens.get(token, "")) if token else None
            if known is not None:
                if known.request != request:
                    raise Refused("The client token was used with another request.")
                return self._named(known)
            if queue in self._disabled:
                raise Refused(f"Job queue {queue[:200]} is disabled.")
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", request["jobName"]):
                raise Refused(f"Job name should match valid pattern: {request['jobName'][:130]}")
            if not 1 <= request.get("retryStrategy", {}).get("attempts", 1) <= MAX_ATTEMPTS:
                raise Refused(f"RetryStrategy attempts must be between 1 and {MAX_ATTEMPTS}.")
            job = ServiceJob(str(uuid.uuid4()), queue, request, self._payload(request), self._world.clock.now())
            self.jobs[job.id] = job
            if token:
                self._tokens[token] = job.id
        self._world.notify()
        return self._named(job)

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._find(request["jobId"])
            shown = {
                **{name: value for name, value in job.request.items() if name != "clientToken"},
                **self._summary(job),
                "jobQueue": self._arn(f"job-queue/{job.queue}"),
                "attempts": job.attempts,
                "startedAt": _milliseconds(job.started) or 0,
            }
            return {name: value for name, value in shown.items() if value is not None}

    def queues(self, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeJobQueues; of a name that no queue has, nothing is said."""
        asked = {name.rpartition("/")[2] for name in request.get("jobQueues") or self._slots}
        with self._world.lock:
            shown: list[dict[str, Any]] = [
                {
                    "jobQueueName": name,
                    "jobQueueArn": self._arn(f"job-queue/{name}"),
                    "state": "DISABLED" if name in self._disabled else "ENABLED",
                    "status": "VALID",
                    "priority": 1,
                    "computeEnvironmentOrder": [],
                    "jobQueueType": "SAGEMAKER_TRAINING",
                }
                for name in self._slots
                if name in asked
            ]
        return {"jobQueues": shown}

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        """RUNNING jobs unless a status is asked for, the latest first; by JOB_NAME whatever their status."""
        with self._world.lock:
            queue = self._queue(request.get("jobQueue", ""))
            filters, status = request.get("filters") or [], request.get("jobStatus", "RUNNING")
            if any(one.get("name") != "JOB_NAME" for one in filters) or len(filters) > 1:
                raise Refused("The simulator filters service jobs by JOB_NAME only.")
            found = [
                job
                for job in reversed(self.jobs.values())
                if job.queue == queue
                and (any(_named_like(job, one) for one in filters[0]["values"]) if filters else job.status == status)
            ]
            token, size = request.get("nextToken") or "0", request.get("maxResults", 100)
            if not token.isdecimal() or not 1 <= size <= 100:
                raise Refused("Invalid nextToken or maxResults.")
            start = int(token)
            reply: dict[str, Any] = {
                "jobSummaryList": [_present(self._summary(job)) for job in found[start : start + size]]
            }
            if start + size < len(found):
                reply["nextToken"] = str(start + size)
            return reply

    def terminate(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._find(request["jobId"])
            if job.status not in ENDED:
                job.terminated, job.reason = True, request["reason"]
                if job.training_job is None:
                    self._end(job, "FAILED", request["reason"])
                elif not self._plane.jobs[job.training_job].done:
                    self._plane.stop({"TrainingJobName": job.training_job})
        self._world.notify()
        return {}

    # The work

    def _work(self) -> None:
        with self._world.changed:
            while not self._world.closing.is_set():
                for job in list(self.jobs.values()):
                    self._follow(job)
                for queue, slots in self._slots.items():
                    self._start(queue, slots)
                self._world.notify()
                self._world.changed.wait()

    def _start(self, queue: str, slots: int) -> None:
        """Have training jobs made for those that wait, by priority and age, while there is room."""
        mine = [job for job in self.jobs.values() if job.queue == queue]
        room = slots - sum(job.training_job is not None and job.status not in ENDED for job in mine)
        waiting = [job for job in mine if job.status in WAITING]
        waiting.sort(key=lambda job: -job.request.get("schedulingPriority", 0))  # stable: then by age
        for job in waiting[: max(0, room)]:
            name = f"AWSBatch{job.payload['TrainingJobName'][: MAX_NAME - 40]}{uuid.uuid4().hex}"
            try:
                self._plane.create({**job.payload, "TrainingJobName": name})
            except ApiError as error:
                if error.code == "ResourceLimitExceeded":
                    job.reason = error.message  # it waits until the account has room
                    continue
                self._end(job, "FAILED", f"{error.code}: {error.message}")
                continue
            now = self._world.clock.now()
            job.training_job, job.status, job.scheduled = name, "SCHEDULED", now
            job.attempts.append({"serviceResourceId": self._resource(name), "startedAt": _milliseconds(now)})

    def _follow(self, job: ServiceJob) -> None:
        """What has become of the training job."""
        training = self._plane.jobs.get(job.training_job or "")
        if training is None or job.status in ENDED:
            return
        job.started = job.started or training.started
        if not training.done:
            job.status = STATUSES.get(training.secondary, "RUNNING")
            return
        reason = f"Received status from SageMaker: {training.failure or training.transitions[-1]['StatusMessage']}"
        job.attempts[-1] |= {"stoppedAt": _milliseconds(training.ended), "statusReason": reason}
        if training.status == COMPLETED:
            self._end(job, "SUCCEEDED", reason)
        elif self._again(job, reason):
            job.status, job.training_job, job.reason = "RUNNABLE", None, reason
        else:
            self._end(job, "FAILED", job.reason if job.terminated else reason)

    def _again(self, job: ServiceJob, reason: str) -> bool:
        strategy = job.request.get("retryStrategy", {})
        if job.terminated or len(job.attempts) >= strategy.get("attempts", 1):
            return False
        for rule in strategy.get("evaluateOnExit", []):
            if fnmatch.fnmatchcase(reason, rule.get("onStatusReason", "*")):
                return bool(rule.get("action", "").upper() == "RETRY")
        return True

    def _end(self, job: ServiceJob, status: str, reason: str) -> None:
        job.status, job.reason, job.stopped = status, reason, self._world.clock.now()

    def _payload(self, request: dict[str, Any]) -> dict[str, Any]:
        """The training job asked for. Its shape is checked now, the rest when it is its turn."""
        try:
            payload = json.loads(request["serviceRequestPayload"])
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            raise Refused("serviceRequestPayload is no JSON object.")
        try:
            shapes.check("sagemaker", "CreateTrainingJob", payload)
        except ApiError as error:
            raise Refused(f"serviceRequestPayload: {error.message}") from error
        return payload

    def _queue(self, name: str) -> str:
        name = name.rpartition("/")[2]
        if name not in self._slots:
            raise Refused(f"Job queue {name[:200]} does not exist.")
        return name

    def _find(self, job_id: str) -> ServiceJob:
        job = self.jobs.get(job_id)
        if job is None:
            raise Refused(f"Service job {job_id[:80]} does not exist.")
        return job

    def _named(self, job: ServiceJob) -> dict[str, Any]:
        return {"jobArn": self._arn(f"service-job/{job.id}"), "jobId": job.id, "jobName": job.request["jobName"]}

    def _summary(self, job: ServiceJob) -> dict[str, Any]:
        latest = job.attempts[-1]["serviceResourceId"] if job.attempts else None
        return {
            **self._named(job),
            "latestAttempt": {"serviceResourceId": latest} if latest else None,
            "createdAt": _milliseconds(job.created),
            "scheduledAt": _milliseconds(job.scheduled),
            "startedAt": _milliseconds(job.started),
            "stoppedAt": _milliseconds(job.stopped),
            "serviceJobType": job.request["serviceJobType"],
            "status": job.status,
            "statusReason": job.reason or None,
            "isTerminated": job.terminated,
        }

    def _resource(self, name: str) -> dict[str, str]:
        arn = f"arn:aws:sagemaker:{self._world.region}:{NUMBER}:training-job/{name}"
        return {"name": "TrainingJobArn", "value": arn}

    def _arn(self, rest: str) -> str:
        return f"arn:aws:batch:{self._world.region}:{NUMBER}:{rest}"


def _named_like(job: ServiceJob, pattern: str) -> bool:
    """JOB_NAME is compared without case; a star at its end stands for any rest (ListServiceJobs, `filters`)."""
    name, pattern = job.request["jobName"].lower(), pattern.lower()
    return bool(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern)


def _present(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value is not None}


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
