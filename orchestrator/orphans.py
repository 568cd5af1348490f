"""Training jobs that are ours and that no record knows: paid machines which nobody will miss, watch or stop.

Ours is what carries our store's tag and the name that we would have given it, and nothing else, whatever it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from orchestrator import aws, contract
from orchestrator.backends.sagemaker import control, request
from orchestrator.errors import CloudError
from orchestrator.store.base import Store

_PREFIX = "swatch-"
_NUMBERS = re.compile(r".*?-(?P<number>[1-9][0-9]{0,8})-(?P<launch>[1-9][0-9]{0,8})")
_MOST_PAGES = 1000


class Running(NamedTuple):
    """A training job that has not ended, and what its tags say."""

    name: str
    tags: Mapping[str, str]


class Orphan(NamedTuple):
    """One of ours without a record; `job` is what it says it is: user/projects/NAME/39."""

    name: str
    project: str
    number: int
    job: str


def ours(running: Running, store_url: str) -> Orphan | None:
    """The training job as one of this store's; None unless tag and name both say so. Pure."""
    tags = running.tags
    project = tags.get(request.PROJECT_TAG, "")
    found = _NUMBERS.fullmatch(running.name)
    if found is None or tags.get(request.STORE_TAG) != request.tag(store_url.rstrip("/")):
        return None
    number, launch = int(found["number"]), int(found["launch"])
    if running.name != request.name(store_url, project, number, launch):
        return None
    return Orphan(running.name, project, number, tags.get(request.JOB_TAG, ""))


def find(store: Store) -> list[Orphan]:
    """Those that run now and have no record in the store. Raises CloudError and its kin, StoreError."""
    mine = (found for one in _running() if (found := ours(one, store.url)) is not None)
    return [one for one in mine if not store.exists(contract.job_key(one.project, one.number))]


def stop(orphan: Orphan) -> bool:
    """End it (StopTrainingJob: SIGTERM, then two minutes); False where it has ended meanwhile. Raises CloudError."""
    return control.stop(orphan.name)


def _running() -> Iterable[Running]:
    client = aws.client("sagemaker")
    more: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        with aws.explained("listing training jobs"):
            page = client.list_training_jobs(
                NameContains=_PREFIX, StatusEquals="InProgress", MaxResults=100, SortBy="CreationTime", **more
            )
        for one in page.get("TrainingJobSummaries", []):
            if one["TrainingJobName"].startswith(_PREFIX):
                yield Running(one["TrainingJobName"], _tags(client, one["TrainingJobArn"]))
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}
    raise CloudError("listing training jobs: the list has no end")


def _tags(client: Any, arn: str) -> dict[str, str]:
    with aws.explained("reading a training job's tags"):
        return {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn, MaxResults=50).get("Tags", [])}
