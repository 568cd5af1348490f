"""AWS Batch job queues for SageMaker training: they start training jobs by themselves when there is room, and outlive
whoever has submitted (AWS Batch User Guide, "Service jobs").

Batch gives the training job a name of its own. So the service job has ours, which is its client token, too; and what is
known of the training job is asked of SageMaker under the name that Batch tells.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

from orchestrator import aws
from orchestrator.backends.sagemaker import control
from orchestrator.backends.sagemaker.control import PAGE, Created, Listed
from orchestrator.errors import CloudError

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
"""Statuses of a service job that has no training job yet."""
ENDED = ("SUCCEEDED", "FAILED")
_TYPE = "SAGEMAKER_TRAINING"


class Queue:
    """A queue, as the backend speaks to SageMaker (see control.Door)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, request: dict[str, Any], new: bool) -> tuple[Created, str]:
        """Hand the training job to the queue. Only one that is `new` is not looked for first: a client token is good
        for a while, a name for as long as Batch remembers. Raises CloudError."""
        name = request["TrainingJobName"]
        if not new and self._find(name) is not None:
            return Created.THERE, ""
        try:
            with aws.explained(f"handing {name} to the queue {self.name}"):
                aws.client("batch").submit_service_job(
                    jobName=name,
                    jobQueue=self.name,
                    serviceJobType=_TYPE,
                    serviceRequestPayload=json.dumps(request),
                    retryStrategy={"attempts": 1},  # another try is another launch, which is billed by itself
                    clientToken=name,
                    tags={one["Key"]: one["Value"] for one in request["Tags"]},
                )
        except CloudError as error:
            if error.code != "ClientException":
                raise
            if self._find(name) is not None:  # the token was used, with another request or with this
                return Created.THERE, ""
            wrong = trouble(self.name)
            raise CloudError(wrong or error.message, hint=_HINT, code=error.code) from error
        return Created.NEW, ""

    def listed(self, prefix: str, running: bool, since: float | None = None) -> Iterator[Listed]:
        """The queue's jobs whose name has the prefix. Batch lists them whatever their status, and forgets those that
        ended some days ago (ListServiceJobs, `filters`)."""
        for one in self._named(f"{prefix}*"):
            ended = one["status"] in ENDED
            if not (running and ended):
                yield Listed(one["jobName"], "Completed" if ended else "InProgress", "" if ended else self._said(one))

    def describe(self, name: str) -> dict[str, Any] | None:
        """What SageMaker knows of the training job, once there is one; before, what Batch knows, in SageMaker's words.
        None if the queue has no such job."""
        found = self._find(name)
        if found is None:
            return None
        training = _training_job(found)
        described = control.describe(training) if training else None
        if described is not None:
            return described
        return _as_described(found, "" if found["status"] in ENDED else self._said(found))

    def tags(self, name: str) -> dict[str, str] | None:
        """The service job's tags."""
        found = self._find(name)
        if found is None:
            return None
        with aws.explained(f"reading the tags of {name}"):
            described = aws.client("batch").describe_service_job(jobId=found["jobId"])
        return dict(described.get("tags", {}))

    def stop(self, name: str) -> bool:
        """Take the job out of the queue, or have its training job end; False where there is none, or it has ended."""
        found = self._find(name)
        if found is None or found["status"] in ENDED:
            return False
        training = _training_job(found)
        if training and control.stop(training):
            return True
        with aws.explained(f"taking {name} out of the queue {self.name}"):
            aws.client("batch").terminate_service_job(jobId=found["jobId"], reason="stopped by swatch")
        return True

    def _find(self, name: str) -> dict[str, Any] | None:
        """The job of that name: the first, if ever there should be two, so that everybody means the same."""
        return min(self._named(name), key=lambda one: (one.get("createdAt", 0), one["jobId"]), default=None)

    def _named(self, pattern: str) -> list[dict[str, Any]]:
        """Service jobs by name; none where the queue itself is gone, for Batch deletes it with its jobs."""
        asked: dict[str, Any] = {"filters": [{"name": "JOB_NAME", "values": [pattern]}], "maxResults": PAGE}
        found: list[dict[str, Any]] = []
        try:
            while True:
                with aws.explained(f"listing the jobs of the queue {self.name}"):
                    page = aws.client("batch").list_service_jobs(jobQueue=self.name, **asked)
                found += page["jobSummaryList"]
                if not page.get("nextToken"):
                    return found
                asked["nextToken"] = page["nextToken"]
        except CloudError as error:
            if error.code == "ClientException" and _detail(self.name) is None:
                return []
            raise

    def _said(self, found: dict[str, Any]) -> str:
        reason = str(found.get("statusReason") or "")
        waits = "waits in" if found["status"] in WAITING else "from"
        return f"{found['status']}: {waits} the queue {self.name}{f' ({reason[:120]})' if reason else ''}"


_HINT = "swatch doctor looks at the queue of config.yaml; AWS Batch's console shows all"


def trouble(name: str) -> str:
    """Why jobs cannot be handed to the queue, in a sentence; empty if they can. Raises CloudError and its kin."""
    found = _detail(name)
    if found is None:
        return f"There is no job queue {name} in this account and region"
    kind = found.get("jobQueueType", "")
    if kind != _TYPE:
        return f"The job queue {name} is for {kind or 'other jobs'}, not for SageMaker training"
    if found.get("state") != "ENABLED":
        return f"The job queue {name} is disabled"
    if found.get("status") != "VALID":
        return f"The job queue {name} is {found.get('status', 'not ready')}: {found.get('statusReason', '')}".rstrip(
            ": "
        )
    if found.get("schedulingPolicyArn"):
        return f"The job queue {name} shares by identifiers, which Swatch does not give: it takes first-in-first-out"
    return ""


def check(name: str) -> None:
    """Raises CloudError where jobs cannot be handed to the queue."""
    wrong = trouble(name)
    if wrong:
        raise CloudError(wrong, hint=_HINT)


def _detail(name: str) -> dict[str, Any] | None:
    with aws.explained(f"looking at the job queue {name}"):
        found = aws.client("batch").describe_job_queues(jobQueues=[name])["jobQueues"]
    return found[0] if found else None


def _training_job(found: dict[str, Any]) -> str:
    """The name of a service job's training job; empty before there is one."""
    resource = (found.get("latestAttempt") or {}).get("serviceResourceId") or {}
    return str(resource.get("value", "")).rpartition("/")[2]


def _as_described(found: dict[str, Any], said: str) -> dict[str, Any]:
    """A service job without a training job, as DescribeTrainingJob would tell it. Pure."""
    status = "InProgress" if said else "Stopped" if found.get("isTerminated") else "Failed"
    created, ended = (found.get(key) or found["createdAt"] for key in ("createdAt", "stoppedAt"))
    state, _, message = said.partition(": ")
    return {
        "TrainingJobName": found["jobName"],
        "TrainingJobStatus": status,
        "SecondaryStatus": state,
        "SecondaryStatusTransitions": [{"StatusMessage": message}],
        "FailureReason": "" if status == "InProgress" else str(found.get("statusReason", "")),
        "ResourceConfig": {},
        "CreationTime": datetime.datetime.fromtimestamp(created / 1000, datetime.UTC),
        "LastModifiedTime": datetime.datetime.fromtimestamp(ended / 1000, datetime.UTC),
    }
