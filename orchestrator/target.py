"""What a NAME on the command line means: a job or a project of this store, in each of the forms that `names` knows, or
a manifest, which stands for its project. What a name leaves out is filled in from the folder one is in (`here`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator import facts, names
from orchestrator.errors import NotFound, UsageError
from orchestrator.folder import Here
from orchestrator.store.base import Store


class Target(NamedTuple):
    """A project, or one job of it."""

    project: str
    number: int | None


def resolve(store: Store, name: str, here: Here) -> Target:
    """The project or job of that name in this store. Raises NotFound, UsageError."""
    if name.endswith((".yaml", ".yml")):
        from pathlib import Path

        from orchestrator.manifest import read

        return _existing(store, read(Path(name)).check().name, None)
    meant = names.job(name)
    last = name.strip("/").rpartition("/")[2]
    if meant.project is None and facts.numbers(store, last):
        return Target(last, None)  # a project may be called 2024
    user = meant.user
    if meant.number is None and user and not facts.numbers(store, last) and facts.numbers(store, user):
        raise UsageError(f"{name} is no job: a job is a number, as in {user}/1", hint=f"swatch status {user}")
    # A store has one person's projects: whose it is says nothing more.
    return _existing(store, meant.project or _project(store, meant.number, here), meant.number)


def job(store: Store, name: str | None, here: Here) -> tuple[str, int]:
    """The one job that is meant: a project stands for its latest job; nothing at all, for the latest of the folder's
    project, or where it has none, for the latest there is."""
    target = project(store, name, here)
    if target.number is not None:
        return target.project, target.number
    return target.project, facts.numbers(store, target.project)[-1]


def project(store: Store, name: str | None, here: Here) -> Target:
    """The project (or job) that is meant: nothing at all stands for the folder's project, or for that of the latest
    job."""
    if name:
        return resolve(store, name, here)
    return _existing(store, here.project.name, None) if here.project else _latest_project(store)


def _project(store: Store, number: int | None, here: Here) -> str:
    """The project of a bare number: the folder's, or the only one there is."""
    if here.project is not None:
        return here.project.name
    known = facts.projects(store)
    if len(known) != 1:
        raise UsageError(
            f"Job {number} of which project? " + (f"There are: {', '.join(known)}" if known else "There are none yet"),
            hint=f"Write for example: {known[0]}/{number}" if known else "swatch submit manifests/quickstart.yaml",
        )
    return known[0]


def _existing(store: Store, project: str, number: int | None) -> Target:
    if not facts.numbers(store, project):
        import difflib

        near = difflib.get_close_matches(project, facts.projects(store), 1)
        hint = f"Did you mean {near[0]}?" if near else "swatch status lists what there is"
        raise NotFound(f"No project {project} with jobs in {store.url}", hint=hint)
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
