"""Values of the SageMaker backend: what is known of a job's launch, and what AWS' answers mean. No I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator import prices
from orchestrator.job import Job
from orchestrator.launch import Launch

LATE_SECONDS = 300.0
"""So long a training job that was just created may be unknown to those who ask."""


@dataclass
class Track:
    """What is known of a job's current launch (counted from 1)."""

    job: Job
    launch: int = 1
    phase: str = "unknown"  # unknown, absent (to be created), open, over
    created: float = float("-inf")  # when this process created it, on the monotonic clock
    known: bool = False  # nothing but this process can have stopped it, or tried it before
    said: str = ""


@dataclass
class Block:
    """A kind of machine of which the account had none left: `until` then (monotonic clock) it is not asked for,
    because of what AWS has `said`. `seconds` is how long this pause is: the next may be twice as long."""

    until: float
    seconds: float
    said: str


def groups(tracks: Iterable[Track]) -> dict[tuple[str, str], list[Track]]:
    """Those that one list tells of: of one project, and of one queue or none."""
    groups: dict[tuple[str, str], list[Track]] = {}
    for track in tracks:
        groups.setdefault((track.job.project, track.job.queue or ""), []).append(track)
    return groups


def job_is_old(job: Job) -> bool:
    """Whether another process may have stopped or launched the job by now."""
    return time.time() - job.created > LATE_SECONDS


def kind(track: Track) -> tuple[str, bool, str | None]:
    """What an account has a limit for: a machine, as spot or on demand; a queue waits by itself."""
    return track.job.machine, track.job.spot, track.job.queue


def limit(said: str) -> str:
    """What of AWS' words on a limit matters: "the account's limit of 'ml.g5.xlarge for training job usage' is 2"."""
    found = re.search(r"service limit '([^']{1,100})' is ([0-9]+) Instances", said)
    return f"the account's limit of '{found[1]}' is {found[2]}" if found else said[:200]


def worked(launch: Launch) -> float:
    """Seconds of its job's max_runtime that a launch has used up."""
    return max(launch.seconds, launch.billable)


def progress(found: dict[str, Any]) -> str:
    """What a training job says of itself: `Starting: preparing the instances`."""
    secondary = str(found.get("SecondaryStatus", ""))
    transitions = found.get("SecondaryStatusTransitions") or [{}]
    message = str(transitions[-1].get("StatusMessage") or "")
    return f"{secondary}: {message[:120]}" if message else secondary


def launched(job: Job, launch: int, found: dict[str, Any], region: str, log: str, known: prices.Known) -> Launch:
    """The record of a launch that has ended, from DescribeTrainingJob. Pure.

    Spot is billed by fewer seconds at the same rate (docs: "Managed Spot Training", BillableTimeInSeconds).
    """
    resources = found["ResourceConfig"]
    # Of several types, the one that was found is what is billed (API reference, ResourceConfig).
    machine = resources.get("SelectedInstanceType") or resources.get("InstanceType") or job.machine
    count = resources.get("SelectedInstanceCount") or resources.get("InstanceCount", 1)
    billable = float(found.get("BillableTimeInSeconds") or 0.0) * count
    price = prices.rate(machine, region, known)
    return Launch(
        **who(job, launch),
        name=found["TrainingJobName"],
        status=found["TrainingJobStatus"],
        secondary=found.get("SecondaryStatus", ""),
        reason=found.get("FailureReason", ""),
        machine=machine,
        spot=bool(found.get("EnableManagedSpotTraining")),
        created=found["CreationTime"].timestamp(),
        ended=(found.get("TrainingEndTime") or found["LastModifiedTime"]).timestamp(),
        seconds=float(found.get("TrainingTimeInSeconds") or 0.0),
        billable=billable,
        usd=None if price is None else round(billable * price.usd_per_second, 6),
        log=log,
    )


def who(job: Job, launch: int) -> dict[str, Any]:
    """What every record of a launch begins with."""
    return {"project": job.project, "number": job.number, "launch": launch}
