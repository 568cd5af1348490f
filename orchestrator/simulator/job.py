"""One training job's record, and what Describe and List show of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.simulator import cargo
from orchestrator.simulator.container import Container
from orchestrator.simulator.limits import ON_DEMAND, SPOT

IN_PROGRESS, COMPLETED, FAILED, STOPPING, STOPPED = "InProgress", "Completed", "Failed", "Stopping", "Stopped"
ENDED = (COMPLETED, FAILED, STOPPED)

SPOT_PRICE = 0.3
"""Part of the training time that is billed on spot machines: AWS tells a spot saving by a shorter billable time."""

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Pending": "Waiting for compute capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Managed spot training instances were interrupted",
    "Restarting": "Restarting the training job",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job waiting time exceeded MaxWaitTimeInSeconds provided",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
}


class WarmPool(msgspec.Struct):
    """Machines kept after a job. `until` is when they go; `since` when they became free (None: still in use)."""

    status: str = "InUse"
    since: float | None = None
    until: float | None = None
    retained: int = 0
    reused_by: str | None = None


class Job(msgspec.Struct):
    """The record. Changed only under the simulator's lock; times are seconds since the epoch."""

    name: str
    arn: str
    request: dict[str, Any]
    created: float
    status: str = IN_PROGRESS
    secondary: str = "Starting"
    modified: float = 0.0
    transitions: list[dict[str, Any]] = []
    failure: str | None = None
    instance_type: str = ""
    started: float | None = None
    ended: float | None = None
    trained: float = 0.0
    """Seconds that machines worked for it, over all attempts."""
    busy_since: float | None = None
    """When the machine began to work that works for it now."""
    attempts: int = 0
    metrics: dict[str, tuple[float, float]] = {}
    streams: list[str] = []
    warm_pool: WarmPool | None = None
    tags: dict[str, str] = {}
    bell: threading.Event = msgspec.field(default_factory=threading.Event)
    asked_back: float | None = None
    """When its machine was asked back."""
    container: Container | None = None

    @property
    def done(self) -> bool:
        return self.status in ENDED

    @property
    def spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def limit_kind(self) -> str:
        return SPOT if self.spot else ON_DEMAND

    @property
    def keep_alive(self) -> int:
        return int(self.request["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0))

    @property
    def max_runtime(self) -> int:
        return int(self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86400))

    @property
    def wait_deadline(self) -> float | None:
        """When a spot job's patience ends."""
        wait = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        return None if wait is None or not self.spot else self.created + wait

    @property
    def count(self) -> int:
        """Machines."""
        resources = self.request["ResourceConfig"]
        preferred = resources.get("InstancePreferences") or [{}]
        return int(resources.get("InstanceCount") or preferred[0].get("InstanceCount") or 1)

    def enter(self, secondary: str, now: float, status: str | None = None) -> None:
        """The next secondary status, and with it perhaps a status."""
        if self.transitions:
            self.transitions[-1]["EndTime"] = now
        one = {"Status": secondary, "StartTime": now, "StatusMessage": MESSAGES[secondary]}
        self.status, self.secondary, self.modified = status or self.status, secondary, now
        if self.status in ENDED:
            one["EndTime"] = now
            self.ended = now
        self.transitions.append(one)


def summary(job: Job) -> dict[str, Any]:
    """A TrainingJobSummary."""
    shown = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary,
        "TrainingEndTime": job.ended,
        "WarmPoolStatus": _warm_pool(job),
    }
    return {name: value for name, value in shown.items() if value is not None}


def description(job: Job) -> dict[str, Any]:
    """What DescribeTrainingJob tells, before it is cut to the reply's shape."""
    resources = dict(job.request["ResourceConfig"])
    if "InstancePreferences" in resources and job.instance_type:
        resources["SelectedInstanceType"], resources["SelectedInstanceCount"] = job.instance_type, job.count
    profiler = job.request.get("ProfilerConfig", {})
    shown: dict[str, Any] = {
        **{name: value for name, value in job.request.items() if name != "Tags"},
        **summary(job),
        "ResourceConfig": resources,
        "FailureReason": job.failure,
        "ModelArtifacts": {"S3ModelArtifacts": cargo.artifacts(job.request)},
        "SecondaryStatusTransitions": [dict(one) for one in job.transitions],
        "TrainingStartTime": job.started,
        "FinalMetricDataList": [
            {"MetricName": name, "Value": value, "Timestamp": then} for name, (value, then) in job.metrics.items()
        ]
        or None,
        "EnableNetworkIsolation": job.request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": job.request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": job.spot,
        "ProfilingStatus": "Disabled" if profiler.get("DisableProfiler") else "Enabled",
    }
    if job.done and job.started is not None:
        trained = max(1, round(job.trained))
        shown["TrainingTimeInSeconds"] = trained
        shown["BillableTimeInSeconds"] = max(1, round(trained * SPOT_PRICE)) if job.spot else trained
    return {name: value for name, value in shown.items() if value is not None}


def _warm_pool(job: Job) -> dict[str, Any] | None:
    pool = job.warm_pool
    if pool is None:
        return None
    shown: dict[str, Any] = {"Status": pool.status, "ResourceRetainedBillableTimeInSeconds": pool.retained}
    if pool.reused_by:
        shown["ReusedByJob"] = pool.reused_by
    return shown


def instance_types(request: Mapping[str, Any]) -> list[str]:
    """The types that the job may run on, the best first."""
    resources = request["ResourceConfig"]
    preferred = [one["InstanceType"] for one in resources.get("InstancePreferences", [])]
    groups = [one["InstanceType"] for one in resources.get("InstanceGroups", [])]
    return preferred or groups[:1] or [resources["InstanceType"]]
