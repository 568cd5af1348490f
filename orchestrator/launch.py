"""Values: a launch, one try of a job on a machine that is paid for, as it ended. No I/O.

A job may take several: a machine had no capacity, or the cloud failed. A spot interruption makes none, for the cloud
starts the same training job again by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from orchestrator import contract

TRIES = 3
"""Launches of a job that the cloud itself fails, at most; where machines lack capacity, so many rounds through them."""


LEAST = 60.0
"""Seconds of max_runtime that must be left for another launch."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a launch ended. Times are seconds since 1970; `seconds` is how long its machines worked, `billable` what of
    it is paid, and `usd` that at the rate of `machine`, None where nobody knows the rate. `again`: another follows."""

    schema: int = contract.SCHEMA
    project: str
    number: int
    launch: int
    name: str
    status: str
    secondary: str = ""
    reason: str = ""
    machine: str = ""
    spot: bool = False
    created: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    billable: float = 0.0
    usd: float | None = None
    log: str = ""
    again: bool = False

    @property
    def saved(self) -> float:
        """The share of the price that spot spared, 0 to 1."""
        return max(0.0, 1 - self.billable / self.seconds) if self.spot and self.seconds else 0.0


class Cause(enum.Enum):
    """Why a launch failed, as far as its reason says."""

    CAPACITY = "no capacity"
    CLOUD = "the cloud failed"
    IMAGE = "the image could not be had"
    START = "the image cannot start the agent"
    ACCESS = "the role may not"
    DATA = "the data could not be had"
    MEMORY = "out of memory"
    COMMAND = "the command failed"


_CAUSES = (
    (Cause.CAPACITY, ("capacityerror", "insufficientcapacity", "unable to provision requested ml compute capacity")),
    (Cause.CLOUD, ("internalservererror", "internal server error", "internal error")),
    (Cause.MEMORY, ("outofmemory", "out of memory", "exit code: 137", "exit code 137", "sigkill")),
    (Cause.START, ("the image has no python", "cannotstartcontainer")),
    (Cause.IMAGE, ("cannotpull", "cannot pull", "pull image", "repository", "ecr image")),
    (Cause.ACCESS, ("accessdenied", "access denied", "not authorized", "assume", "forbidden")),
    (Cause.DATA, ("nosuchkey", "no s3 objects", "failed to download data", "input data")),
)

ADVICE = {
    Cause.CAPACITY: "name further machines: `machine` may be a list",
    Cause.CLOUD: "submit again",
    Cause.IMAGE: "swatch doctor looks for the image",
    Cause.START: "add Python 3.8 or later and a shell to it (RUN apt-get install -y python3)",
    Cause.ACCESS: "swatch doctor looks at the role",
    Cause.DATA: "submit again: the data may have been removed from the store",
    Cause.MEMORY: "take a machine with more memory, or smaller textures",
}
"""What a person can do."""


def cause(reason: str) -> Cause:
    """Why a launch failed, by what its FailureReason says."""
    said = reason.lower()
    found = next((found for found, words in _CAUSES if any(word in said for word in words)), Cause.COMMAND)
    # What follows AlgorithmError is the container's own: it must not talk Swatch into paying for another try.
    own = found in (Cause.MEMORY, Cause.START)
    return Cause.COMMAND if said.startswith("algorithmerror") and not own else found


class Verdict(NamedTuple):
    """What is to be done of a launch that has ended: `again`, or the job ends in `state`; with the reason to show."""

    again: bool
    state: str
    reason: str


def judge(launch: Launch, machines: Sequence[str], stop_asked: bool, left: float) -> Verdict:
    """What follows from a launch that has ended without its agent having written how the job ended. `left` are seconds
    of its max_runtime that no launch has used yet. Pure."""
    if stop_asked or (launch.status == "Stopped" and launch.secondary not in LIMITS):
        return Verdict(False, contract.SHUTDOWN, "stopped")
    if launch.secondary in LIMITS:
        state, reason = LIMITS[launch.secondary]
        return Verdict(False, state, reason)
    why = cause(launch.reason) if launch.status == "Failed" else Cause.CLOUD
    most = {Cause.CAPACITY: TRIES * len(machines), Cause.CLOUD: TRIES}.get(why, 1)
    said = f"{why.value}{f' of {launch.machine}' if why is Cause.CAPACITY and launch.machine else ''}"
    if launch.launch < most and left < LEAST:
        return Verdict(False, contract.TIMEOUT, f"{said}, and too little of max_runtime is left for another try")
    if launch.launch < most:
        return Verdict(True, contract.QUEUED, f"try {launch.launch + 1}: {said}")
    told = launch.reason or f"the training job is {launch.status}, and its agent wrote no word"
    last = launch.log.strip().rpartition("\n")[2]
    advice = ADVICE.get(why)
    parts = [f"{said}: {told[:300]}", f"last line: {last[:200]}" if last else "", advice or ""]
    return Verdict(False, contract.FAILED, "; ".join(filter(None, parts)))


LIMITS = {
    "MaxRuntimeExceeded": (contract.TIMEOUT, "ran longer than max_runtime"),
    "MaxWaitTimeExceeded": (contract.FAILED, "no spot capacity came in time; try again, or without spot"),
}
"""Secondary statuses of a training job that a limit has stopped."""


def rotated(machines: Sequence[str], launch: int) -> tuple[str, ...]:
    """The machines in the order in which a launch prefers them: each begins with the next."""
    first = (launch - 1) % len(machines)
    return (*machines[first:], *machines[:first])


def billed(launches: Sequence[Launch]) -> bool:
    """Whether these, in order, are all launches that a job will ever have."""
    return bool(launches) and not launches[-1].again


def total(launches: Iterable[Launch]) -> float | None:
    """USD of all; None where the rate of one that was billed is not known."""
    costs = [launch.usd if launch.billable else 0.0 for launch in launches]
    return None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs)
