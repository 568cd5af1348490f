"""What a NAME on the command line means: a job or a project, in each of its short forms.

alice/projects/forest/3   alice/forest/3   forest/3     the job
3                                                       the job, where the store has one project only
alice/projects/forest     forest                        the project
manifests/forest.yaml                                   the project of that manifest
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator import facts
from orchestrator.errors import NotFound, UsageError
from orchestrator.project import NAME
from orchestrator.store.base import Store


class Target(NamedTuple):
    """A project, or one job of it."""

    project: str
    number: int | None


def parse(name: str) -> tuple[str | None, int | None]:
    """(project, number) as far as the name says. Pure. Raises UsageError for what is no name."""
    parts = name.strip("/").split("/")
    if len(parts) >= 3 and parts[1] == "projects":
        parts = [parts[0], *parts[2:]]
    number = int(parts.pop()) if re.fullmatch(r"[0-9]{1,9}", parts[-1]) else None
    # Two parts are whose it is, and the project: a store has one person's projects.
    if len(parts) > 2 or number == 0 or not all(re.fullmatch(NAME, part) for part in parts):
        raise UsageError(f"Not the name of a job or project: {name!r}", hint="Write for example: forest/3, or forest")
    return (parts[-1] if parts else None), number


def resolve(store: Store, name: str) -> Target:
    """The project or job of that name in this store. Raises NotFound, UsageError."""
    if name.endswith((".yaml", ".yml")):
        from pathlib import Path

        from orchestrator.manifest import read

        return _existing(store, read(Path(name)).check().name, None)
    project, number = parse(name)
    *before, last = name.strip("/").split("/")
    if number is not None and (not before or before[1:] == ["projects"]) and facts.numbers(store, last):
        return Target(last, None)  # a project may be called 2024
    if number is None and len(before) == 1 and not facts.numbers(store, last) and facts.numbers(store, before[0]):
        raise UsageError(f"{name} is no job: a job is a number, as in {before[0]}/1", hint=f"swatch status {before[0]}")
    if project is not None:
        return _existing(store, project, number)
    known = facts.projects(store)
    if len(known) != 1:
        raise UsageError(
            f"Job {number} of which project? " + (f"There are: {', '.join(known)}" if known else "There are none yet"),
            hint=f"Write for example: {known[0]}/{number}" if known else "swatch submit manifests/quickstart.yaml",
        )
    return Target(known[0], number)


def job(store: Store, name: str | None) -> tuple[str, int]:
    """The one job that is meant: a project stands for its latest job; nothing at all, for the latest job there is."""
    target = resolve(store, name) if name else _latest_project(store)
    if target.number is not None:
        return target.project, target.number
    return target.project, facts.numbers(store, target.project)[-1]


def project(store: Store, name: str | None) -> Target:
    """The project (or job) that is meant: nothing at all stands for the project of the latest job."""
    return resolve(store, name) if name else _latest_project(store)


def _existing(store: Store, project: str, number: int | None) -> Target:
    if not facts.numbers(store, project):
        import difflib

        near = difflib.get_close_matches(project, facts.projects(store), 1)
        hint = f"Did you mean {near[0]}?" if near else "swatch status lists what there is"
        raise NotFound(f"No project {project} in {store.url}", hint=hint)
    return Target(project, number)


def _latest_project(store: Store) -> Target:
    known: Sequence[str] = facts.projects(store)
    dated = [
        (facts.read_job(store, name, numbers[-1]).created, name)
        for name in known
        if (numbers := facts.numbers(store, name))
    ]
    if not dated:
        raise NotFound(f"No jobs in {store.url} yet", hint="swatch submit manifests/quickstart.yaml")
    return Target(max(dated)[1], None)
