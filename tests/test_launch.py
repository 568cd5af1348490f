"""What follows from a launch that has ended, and what it cost: decided from its record alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract
from orchestrator.backends.entrypoint import NO_PYTHON
from orchestrator.backends.sagemaker.track import launched
from orchestrator.job import Job
from orchestrator.launch import TRIES, Cause, Launch, cause, judge, rotated, total
from orchestrator.prices import Price

TWO = ("ml.g5.xlarge", "ml.g6.xlarge")


def launch(number: int = 1, status: str = "Failed", **more: object) -> Launch:
    return Launch(project="p", number=1, launch=number, name="x", status=status, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("CapacityError: Unable to provision requested ML compute capacity. Please retry", Cause.CAPACITY),
        ("InternalServerError: We encountered an internal error.  Please try again.", Cause.CLOUD),
        ("AlgorithmError: , exit code: 137", Cause.MEMORY),
        ("AlgorithmError: could not open bark.jpg, exit code: 1", Cause.COMMAND),
        ("ClientError: Cannot pull image ... CannotPullContainerError", Cause.IMAGE),
        (f"AlgorithmError: {NO_PYTHON}, exit code: 127", Cause.START),
        ("ClientError: CannotStartContainerError. Please make sure the container can be run", Cause.START),
        ("ClientError: AccessDenied when calling GetObject", Cause.ACCESS),
        ("AlgorithmError: CapacityError: says the program, exit code: 1", Cause.COMMAND),
        ("", Cause.COMMAND),
    ],
)
def test_a_failure_is_understood_by_its_reason(reason: str, expected: Cause) -> None:
    assert cause(reason) is expected


@pytest.mark.parametrize(
    ("resources", "machine", "usd"),
    [
        ({"InstanceType": "ml.b.1", "InstanceCount": 1}, "ml.b.1", 2.0),
        ({"InstanceCount": 1, "SelectedInstanceType": "ml.b.1", "SelectedInstanceCount": 1}, "ml.b.1", 2.0),
        ({"InstanceCount": 1, "SelectedInstanceType": "ml.c.1", "SelectedInstanceCount": 1}, "ml.c.1", None),
        ({"InstanceCount": 1}, "gpu", 1.5),  # none was found: what was wished for is all there is to say
    ],
)
def test_a_launch_names_the_machine_that_was_billed_and_costs_its_rate(
    resources: dict[str, object], machine: str, usd: float | None
) -> None:
    """API reference, ResourceConfig: of InstancePreferences "the job is billed for" SelectedInstanceType."""
    then = datetime.fromtimestamp(0, UTC)
    found = {
        "TrainingJobName": "x", "TrainingJobStatus": "Completed", "CreationTime": then, "LastModifiedTime": then,
        "ResourceConfig": resources, "BillableTimeInSeconds": 3600,
    }  # fmt: skip
    rates = {"ml.b.1": 2.0, "ml.g5.xlarge": 1.5}
    known = {
        ("r", one): Price(region="r", machine=one, usd_per_hour=rate, date="2026-11-22", source="a test")
        for one, rate in rates.items()
    }
    job = Job(project="p", number=1, user="u", created=0.0, command="x", backend="sagemaker", machine="gpu")
    ended = launched(job, 1, found, "r", "", known)
    assert (ended.machine, ended.usd) == (machine, usd)


def test_what_lacks_capacity_is_tried_on_every_machine_and_not_for_ever() -> None:
    said = "CapacityError: Unable to provision requested ML compute capacity."
    again = [judge(launch(number, reason=said), TWO, stop_asked=False, left=600).again for number in range(1, 9)]
    assert again == [True] * (2 * TRIES - 1) + [False] * (9 - 2 * TRIES)
    assert [rotated(TWO, number)[0] for number in (1, 2, 3)] == ["ml.g5.xlarge", "ml.g6.xlarge", "ml.g5.xlarge"]


def test_a_command_that_fails_is_not_tried_again_by_the_backend() -> None:
    verdict = judge(
        launch(reason="AlgorithmError: , exit code: 137", log="a\nlast words\n"), TWO, stop_asked=False, left=600
    )
    assert (verdict.again, verdict.state) == (False, contract.FAILED)
    assert "out of memory" in verdict.reason and "last words" in verdict.reason


def test_an_image_without_python_ends_with_what_it_needs() -> None:
    verdict = judge(launch(reason=f"AlgorithmError: {NO_PYTHON}, exit code: 127"), TWO, stop_asked=False, left=600)
    assert (verdict.again, verdict.state) == (False, contract.FAILED)
    assert "no Python 3.8 or later" in verdict.reason and "apt-get install -y python3" in verdict.reason


def test_limits_of_the_platform_have_names() -> None:
    late = judge(launch(status="Stopped", secondary="MaxRuntimeExceeded"), TWO, stop_asked=False, left=600)
    assert (late.state, late.reason) == (contract.TIMEOUT, "ran longer than max_runtime")
    waited = judge(launch(status="Stopped", secondary="MaxWaitTimeExceeded"), TWO, stop_asked=False, left=600)
    assert waited.state == contract.FAILED and "spot" in waited.reason


@given(
    st.sampled_from(["Completed", "Failed", "Stopped", "Deleted", "SomethingNew"]),
    st.sampled_from(["", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"]),
    st.text(max_size=2000),
    st.integers(1, 50),
    st.booleans(),
)
def test_every_end_is_judged_in_a_line_and_a_stop_is_never_undone(
    status: str, secondary: str, reason: str, number: int, stop_asked: bool
) -> None:
    verdict = judge(launch(number, status, secondary=secondary, reason=reason), TWO, stop_asked, 600.0)
    assert verdict.reason and len(verdict.reason) < 700
    assert verdict.state in (contract.FINAL | {contract.QUEUED}) and verdict.again == (verdict.state == contract.QUEUED)
    if stop_asked or number >= 2 * TRIES:
        assert not verdict.again


def test_bills_add_up_and_what_is_not_known_stays_unknown() -> None:
    assert total([launch(usd=0.5, billable=10.0), launch(usd=None, billable=0.0)]) == 0.5
    assert total([launch(usd=0.5, billable=10.0), launch(usd=None, billable=1.0)]) is None
    assert launch(spot=True, seconds=100.0, billable=30.0).saved == pytest.approx(0.7)
    assert launch(spot=False, seconds=100.0, billable=30.0).saved == 0.0
