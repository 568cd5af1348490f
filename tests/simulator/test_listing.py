"""ListTrainingJobs: whatever is asked for, all pages together are the plain answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator.listing import page
from orchestrator.simulator.wire import ApiError
from tests.simulator.conftest import Cloud, refused

STATUSES = ["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
POOLS = ["Available", "Terminated", "Reused", "InUse"]
TIMES = st.integers(0, 20)


@st.composite
def jobs(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.text("ab-", min_size=1, max_size=4), unique=True, max_size=25))
    made = []
    for name in names:
        created = draw(TIMES)
        one = {
            "TrainingJobName": name,
            "CreationTime": created,
            "LastModifiedTime": created + draw(TIMES),
            "TrainingJobStatus": draw(st.sampled_from(STATUSES)),
        }
        if draw(st.booleans()):
            one["WarmPoolStatus"] = {"Status": draw(st.sampled_from(POOLS))}
        made.append(one)
    return made


REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "NameContains": st.text("ab-", min_size=1, max_size=2),
        "StatusEquals": st.sampled_from([*STATUSES, "Deleting"]),
        "WarmPoolStatusEquals": st.sampled_from(POOLS),
        "CreationTimeAfter": TIMES,
        "CreationTimeBefore": TIMES,
        "LastModifiedTimeAfter": TIMES,
        "LastModifiedTimeBefore": TIMES,
        "SortBy": st.sampled_from(["Name", "CreationTime", "Status"]),
        "SortOrder": st.sampled_from(["Ascending", "Descending"]),
        "MaxResults": st.integers(1, 30),
    },
)


def plain(jobs: list[dict[str, Any]], asked: dict[str, Any]) -> list[str]:
    """The names, by the API reference's words and one after the other."""
    keys = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
    key = keys[asked.get("SortBy", "CreationTime")]
    return [
        one["TrainingJobName"]
        for one in sorted(
            jobs, key=lambda one: (one[key], one["TrainingJobName"]), reverse=asked.get("SortOrder") == "Descending"
        )
        if asked.get("NameContains", "") in one["TrainingJobName"]
        and asked.get("StatusEquals") in (None, one["TrainingJobStatus"])
        and asked.get("WarmPoolStatusEquals") in (None, one.get("WarmPoolStatus", {}).get("Status"))
        and one["CreationTime"] > asked.get("CreationTimeAfter", -1)
        and one["CreationTime"] < asked.get("CreationTimeBefore", 100)
        and one["LastModifiedTime"] > asked.get("LastModifiedTimeAfter", -1)
        and one["LastModifiedTime"] < asked.get("LastModifiedTimeBefore", 100)
    ]


@given(jobs(), REQUESTS)
def test_all_pages_together_are_the_plain_answer(jobs: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    found: list[str] = []
    token: dict[str, str] = {}
    size = asked.get("MaxResults", 10)
    late = {"LastModifiedTimeAfter", "LastModifiedTimeBefore"} & asked.keys()
    while True:
        reply = page(jobs, {**asked, **token})
        names = [one["TrainingJobName"] for one in reply["TrainingJobSummaries"]]
        # A page that is not the last is full, but for the filter that AWS applies too late.
        assert len(names) <= size and (late or "NextToken" not in reply or len(names) == size)
        found += names
        if "NextToken" not in reply:
            break
        token = {"NextToken": reply["NextToken"]}
    assert found == plain(jobs, asked)


@given(st.text(max_size=40))
def test_a_token_of_nobody_is_refused(token: str) -> None:
    with pytest.raises(ApiError, match="NextToken"):
        page([], {"NextToken": token or "x"})


def test_pages_over_the_wire(still: Cloud) -> None:
    for number in range(12):
        still.create(f"job-{number:02}")
        still.advance(1)
    summaries = still.sagemaker.list_training_jobs()
    assert len(summaries["TrainingJobSummaries"]) == 10  # the default page
    token = summaries["NextToken"]
    assert len(still.sagemaker.list_training_jobs(NextToken=token)["TrainingJobSummaries"]) == 2
    assert "NextToken" in refused(still.sagemaker.list_training_jobs, NextToken=token, NameContains="job")
    paginator = still.sagemaker.get_paginator("list_training_jobs")
    pages = paginator.paginate(NameContains="job-1", MaxResults=1, SortBy="Name", SortOrder="Descending")
    assert [[one["TrainingJobName"] for one in page["TrainingJobSummaries"]] for page in pages] == [["job-11"], ["job-10"]]  # fmt: skip
    one = summaries["TrainingJobSummaries"][0]
    assert one["SecondaryStatus"] == "Starting" and "WarmPoolStatus" not in one and "TrainingEndTime" not in one
    assert "HyperParameters" not in one


def test_pages_by_modification_may_be_empty(still: Cloud) -> None:
    for number in range(12):
        still.create(f"job-{number:02}")
        still.advance(1)
    last = still.describe("job-11")["CreationTime"]
    reply = still.sagemaker.list_training_jobs(LastModifiedTimeAfter=last - 0.5)
    assert reply["TrainingJobSummaries"] == [] and reply["NextToken"]


def test_deleting_is_a_status_that_can_be_asked_for(cloud: Cloud) -> None:
    assert cloud.sagemaker.list_training_jobs(StatusEquals="Deleting")["TrainingJobSummaries"] == []
    assert refused(cloud.sagemaker.list_training_jobs, MaxResults=101).startswith("ValidationException: ")
