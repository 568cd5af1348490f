"""Names of jobs and datasets in each of their short forms (FloydHub's rules). Pure: what a name leaves out stays None,
and is filled in by whoever knows the folder and the store.

    alice/projects/forest/3   projects/forest/3   alice/forest/3   forest/3   3    a job
    alice/projects/forest     alice/forest        forest                           a project, or its latest job
    alice/datasets/vgg/2      datasets/vgg/2      alice/vgg/2      vgg/2      2    a version of a dataset
    alice/datasets/vgg        alice/vgg           vgg                              a dataset, or its latest version

A job may be followed by `/output`, `/files`, `/home` or `/code`, which are parts of it. Slashes around a name are
nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.errors import UsageError
from orchestrator.project import NAME

PARTS = ("output", "files", "home", "code")
"""What FloydHub called the parts of a job; the first three are one and the same here."""
JOBS, DATASETS = "projects", "datasets"
EXAMPLES = {
    JOBS: "Write for example: forest/3, or forest",
    DATASETS: "Write for example: vgg-weights/1, or alice/vgg-weights",
}
_NUMBER = re.compile("[0-9]{1,9}")


class JobName(NamedTuple):
    """A job, or a project (`number` None), as far as a name says."""

    user: str | None
    project: str | None
    number: int | None
    part: str | None = None

    def __str__(self) -> str:
        return _written(self.user, JOBS, self.project, self.number)


class DatasetName(NamedTuple):
    """A version of a dataset, or the dataset (`version` None), as far as a name says."""

    user: str | None
    dataset: str | None
    version: int | None

    def __str__(self) -> str:
        return _written(self.user, DATASETS, self.dataset, self.version)


def job(text: str) -> JobName:
    """The job or project of that name. Raises UsageError for what is neither."""
    found = _job(text)
    if found is None:
        raise UsageError(f"Not the name of a job or project: {text!r}", hint=EXAMPLES[JOBS])
    return found


def dataset(text: str) -> DatasetName:
    """The dataset of that name. Raises UsageError for what is none."""
    found = _dataset(text)
    if found is None:
        raise UsageError(f"Not the name of a dataset: {text!r}", hint=EXAMPLES[DATASETS])
    return found


def data(text: str) -> list[JobName | DatasetName]:
    """What a name may mean where data is wanted, the likelier first: a dataset, or the output of a job. Raises
    UsageError where it can be neither.

    A bare number is a job's; any other name that could be both is a dataset's, if there is one.
    """
    one, other = _dataset(text), _job(text)
    if other is not None and other.number is None:
        other = None  # a project is no data
    likely = [other, one] if _NUMBER.fullmatch(text.strip("/")) else [one, other]
    found = [name for name in likely if name is not None]
    if not found:
        raise UsageError(
            f"Not the name of a dataset or of a job's output: {text!r}",
            hint="Write for example: vgg-weights/1, alice/vgg-weights, 3/output, forest/3/output",
        )
    return found


def _job(text: str) -> JobName | None:
    parts = text.strip("/").split("/")
    part = parts.pop() if len(parts) > 1 and parts[-1] in PARTS and _NUMBER.fullmatch(parts[-2]) else None
    found = _taken_apart(parts, JOBS)
    return None if found is None else JobName(*found, part)


def _dataset(text: str) -> DatasetName | None:
    found = _taken_apart(text.strip("/").split("/"), DATASETS)
    return None if found is None else DatasetName(*found)


def _taken_apart(parts: list[str], kind: str) -> tuple[str | None, str | None, int | None] | None:
    """(user, name, number) of `[user/][kind/]name[/number]`, or of a number alone; None for anything else."""
    number = int(parts.pop()) if _NUMBER.fullmatch(parts[-1]) else None
    if number is not None and len(parts) == 2 and parts[1] == kind:
        parts, number = [*parts, str(number)], None  # a project may be called 2024
    if not parts:
        return (None, None, number) if number else None
    name = parts.pop()
    if parts and parts[-1] == kind:
        parts.pop()
    user = parts.pop() if parts else None
    if parts or not all(re.fullmatch(NAME, one) for one in (name, user) if one is not None):
        return None
    if user in (JOBS, DATASETS) or name in (JOBS, DATASETS) or number == 0:
        return None  # the other kind's, or half a name
    if user is not None and _NUMBER.fullmatch(user):
        return None  # a job's part
    return user, name, number


def _written(user: str | None, kind: str, name: str | None, number: int | None) -> str:
    said = [user, kind if user else None, name, str(number) if number else None]
    return "/".join(part for part in said if part)
