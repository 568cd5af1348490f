"""ListTrainingJobs: filters, order and pages, as a function of the summaries."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from orchestrator.simulator.wire import Invalid

DEFAULT_PAGE = 10

_FILTERS = ("CreationTimeAfter", "CreationTimeBefore", "NameContains", "StatusEquals", "WarmPoolStatusEquals")
_LATE = ("LastModifiedTimeAfter", "LastModifiedTimeBefore")
_ORDER = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}


def page(summaries: Sequence[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """One page of the jobs that the request asks for, and a NextToken if there is more.

    Filters hold before the page is cut; those by time of modification after it, which is why AWS gives empty pages with
    a NextToken (aws-cli issue 7596). Raises ApiError for a token of another request.
    """
    asked = {name: request.get(name) for name in (*_FILTERS, *_LATE, "SortBy", "SortOrder")}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    key = _ORDER[request.get("SortBy", "CreationTime")]
    found = [one for one in summaries if _wanted(one, request, _FILTERS)]
    found.sort(key=lambda one: _place(one, key), reverse=request.get("SortOrder") == "Descending")
    if request.get("NextToken"):
        last = _opened(request["NextToken"], digest)
        descending = request.get("SortOrder") == "Descending"
        found = [one for one in found if (_place(one, key) < last if descending else _place(one, key) > last)]
    size = request.get("MaxResults", DEFAULT_PAGE)
    cut = found[:size]
    reply: dict[str, Any] = {"TrainingJobSummaries": [one for one in cut if _wanted(one, request, _LATE)]}
    if len(found) > size:
        token = json.dumps([digest, *_place(cut[-1], key)])
        reply["NextToken"] = base64.urlsafe_b64encode(token.encode()).decode()
    return reply


def _place(one: dict[str, Any], key: str) -> tuple[Any, str]:
    return one[key], one["TrainingJobName"]


def _wanted(one: dict[str, Any], request: dict[str, Any], filters: Sequence[str]) -> bool:
    for name in filters:
        limit = request.get(name)
        if limit is None:
            continue
        if name == "NameContains":
            fits = limit in one["TrainingJobName"]
        elif name == "StatusEquals":
            fits = one["TrainingJobStatus"] == limit
        elif name == "WarmPoolStatusEquals":
            fits = one.get("WarmPoolStatus", {}).get("Status") == limit
        else:
            time = one[name.removesuffix("After").removesuffix("Before")]
            fits = time > limit if name.endswith("After") else time < limit
        if not fits:
            return False
    return True


def _opened(token: str, digest: str) -> tuple[Any, str]:
    try:
        of, value, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        raise Invalid("Invalid NextToken.") from None
    if of != digest or not isinstance(name, str) or not isinstance(value, str | int | float):
        raise Invalid("Invalid NextToken.")
    return value, name
