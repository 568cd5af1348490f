"""SageMaker's control plane as the backend needs it: few calls, slow lists, and answers that may be late.

ListTrainingJobs: two calls a second for the whole account (see docs/aws.md), so pages are full ones and are paced.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from orchestrator import aws
from orchestrator.errors import CloudError, Denied, SwatchError

PAGE = 100
"""Jobs a page: the most that ListTrainingJobs gives (API reference)."""
LIST_SECONDS = 0.6
"""Between two calls of ListTrainingJobs: somewhat fewer than the two a second that an account has."""
LINE = 500
"""Characters of a line of CloudWatch's that are kept."""
ENDED = ("Completed", "Failed", "Stopped")
"""Statuses that are final. Whatever else AWS may say one day counts as in progress."""


class Created(enum.Enum):
    """What came of asking for a training job."""

    NEW = "new"
    THERE = "there"
    """There is one of that name already."""
    FULL = "full"
    """The account has no machine of that kind left for now."""


class Listed(NamedTuple):
    """A training job of a list; `said` is what there is to tell of it, or empty."""

    name: str
    status: str
    said: str = ""


class Door(Protocol):
    """How training jobs are asked for: of SageMaker itself (`Direct`), or through a queue. A job is known by the
    name in its request; what `describe` gives is DescribeTrainingJob's."""

    def create(self, request: dict[str, Any], new: bool) -> tuple[Created, str]:
        """Ask for the training job, which nobody has asked for before if it is `new`; what came of it."""

    def listed(self, prefix: str, running: bool, since: float | None = None) -> Iterator[Listed]:
        """Those whose name has the prefix: those in progress, or all that were created after `since`."""

    def describe(self, name: str) -> dict[str, Any] | None:
        """What is known of it; None if there is none of that name."""

    def tags(self, name: str) -> dict[str, str] | None:
        """Its tags; None if there is no such job."""

    def stop(self, name: str) -> bool:
        """Have it end; False where there is none, or it has ended."""


class Direct:
    """Training jobs asked of SageMaker itself."""

    def create(self, request: dict[str, Any], new: bool) -> tuple[Created, str]:
        return create(request)

    def listed(self, prefix: str, running: bool, since: float | None = None) -> Iterator[Listed]:
        return (Listed(*one) for one in listed(prefix, running, since))

    def describe(self, name: str) -> dict[str, Any] | None:
        return describe(name)

    def tags(self, name: str) -> dict[str, str] | None:
        found = describe(name)
        return tags(found["TrainingJobArn"]) if found else None

    def stop(self, name: str) -> bool:
        return stop(name)


class Pace:
    """Lets a call pass at most every so many seconds, whichever thread asks."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next, self._lock = seconds, 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when the next call may be made."""
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._seconds
        time.sleep(mine - now)


_lists = Pace(LIST_SECONDS)


def listed(prefix: str, running: bool, since: float | None = None) -> Iterator[tuple[str, str]]:
    """(name, status) of the training jobs whose name has the prefix: those in progress, or all; of all, those created
    after `since` (seconds since 1970). A job that was created just now may be missing."""
    asked: dict[str, Any] = {"NameContains": prefix, "MaxResults": PAGE}
    if running:
        asked["StatusEquals"] = "InProgress"
    if since is not None:
        asked["CreationTimeAfter"] = since
    while True:
        _lists.wait()
        with aws.explained("listing training jobs"):
            page = aws.client("sagemaker").list_training_jobs(**asked)
        for one in page["TrainingJobSummaries"]:
            if one["TrainingJobName"].startswith(prefix):
                yield one["TrainingJobName"], one["TrainingJobStatus"]
        if not page.get("NextToken"):
            return
        asked["NextToken"] = page["NextToken"]


def describe(name: str) -> dict[str, Any] | None:
    """What SageMaker knows of the training job; None if there is none of that name."""
    try:
        with aws.explained(f"describing the training job {name}"):
            found: dict[str, Any] = aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    except CloudError as error:
        if _missing(error):
            return None
        raise
    return found


def create(request: dict[str, Any]) -> tuple[Created, str]:
    """Ask for the training job; what came of it, and AWS' words where there is no machine. Raises CloudError."""
    try:
        with aws.explained(f"starting the training job {request['TrainingJobName']}"):
            aws.client("sagemaker").create_training_job(**request)
    except CloudError as error:
        if error.code == "ResourceInUse":
            return Created.THERE, ""
        if error.code == "ResourceLimitExceeded":
            return Created.FULL, error.message
        raise
    return Created.NEW, ""


def tags(arn: str) -> dict[str, str]:
    """A training job's tags."""
    with aws.explained(f"reading the tags of {arn}"):
        page = aws.client("sagemaker").list_tags(ResourceArn=arn)
    return {one["Key"]: one["Value"] for one in page["Tags"]}


def stop(name: str) -> bool:
    """Have the training job end; False where there is none, or it has ended."""
    try:
        with aws.explained(f"stopping the training job {name}"):
            aws.client("sagemaker").stop_training_job(TrainingJobName=name)
    except CloudError as error:
        if _missing(error) or error.code == "ValidationException":
            return False
        raise
    return True


def log_tail(name: str, lines: int = 20) -> str:
    """The last lines that the training job has written to CloudWatch: of the newest of its streams, for each restart
    begins another. Empty where there is none, or it may not be read: it only serves to explain a failure."""
    group = "/aws/sagemaker/TrainingJobs"
    try:
        with aws.explained("reading CloudWatch logs"):
            client = aws.client("logs")
            streams = client.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
            if not streams:
                return ""
            newest = max(streams, key=lambda stream: stream.get("firstEventTimestamp") or stream["creationTime"])
            events = client.get_log_events(
                logGroupName=group, logStreamName=newest["logStreamName"], limit=lines, startFromHead=False
            )["events"]
    except SwatchError:
        return ""
    return "\n".join(event["message"][:LINE] for event in events)


def bucket_region(bucket: str) -> str:
    """Where a bucket is; empty where that may not be asked. (API reference, GetBucketLocation: nothing stands for
    us-east-1, `EU` for eu-west-1. HeadBucket would need the right to list more than the store.)"""
    try:
        with aws.explained(f"looking for the bucket {bucket}"):
            found = aws.client("s3").get_bucket_location(Bucket=bucket).get("LocationConstraint")
    except Denied:
        return ""
    return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(found) or str(found)


def _missing(error: CloudError) -> bool:
    """AWS says it in several ways (measured: ValidationException, "Requested resource not found.")."""
    return error.code in ("ResourceNotFound", "ResourceNotFoundException") or (
        error.code == "ValidationException" and "not found" in error.message.lower()
    )
