"""What a name of data means in a store: a version of a dataset, or what a job has made."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from orchestrator import contract, journal, names
from orchestrator.cargo import dataset
from orchestrator.cargo.content import Content, Leaf, Shelf, of_files
from orchestrator.cargo.dataset import Version
from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.folder import Belonging, Here
from orchestrator.names import DatasetName, JobName
from orchestrator.store.base import Store, check_key
from orchestrator.wording import shown

VGG19 = ("vgg-weights", "vgg19")
"""Names under which FloydHub's users had the weights that `swatch data fetch vgg19` fetches."""


class Data(NamedTuple):
    """Files that can be mounted or fetched: `name` in full, `prefix` where they stand in the store. Of a job's output,
    `user` is nobody's but whoever asks, and `ended` is False while the job may make more."""

    name: str
    prefix: str
    content: Content
    ended: bool = True
    version: Version | None = None


def find(store: Store, user: str, here: Here, text: str) -> Data:
    """The data of that name: the likelier meaning first that exists. What the name leaves out is `user`'s, and of the
    folder's own project or dataset. Raises UsageError, NotFound."""
    first: NotFound | None = None
    for meant in names.data(text):
        try:
            return (
                _output(store, user, here, meant) if isinstance(meant, JobName) else _version(store, user, here, meant)
            )
        except NotFound as error:
            first = first if first is not None and first.hint else error
        except _Homeless as error:
            first = first or NotFound(error.message, hint=error.hint)
    assert first is not None
    if not isinstance(first, _Missing):
        raise first
    raise NotFound(
        f"Data not found for name: {shown(text)[1:-1]}. Check if the data name is correct and you have permission to "
        f"access it in {store.url}",
        hint=_hint(store, user, text),
    )


def any_version(store: Store, user: str, here: Here, text: str) -> Version:
    """The version of a dataset that a name means (the latest without a number), whole or not; by its number, also one
    whose deletion was cut short. Raises UsageError for the output of a job, NotFound."""
    for meant in names.data(text):
        if isinstance(meant, JobName):
            project = meant.project or (here.project.name if here.project else None)
            if meant.part or (meant.number and project and store.exists(contract.job_key(project, meant.number))):
                raise UsageError("To delete job output, please delete the job itself.", hint=f"swatch delete {meant}")
            continue
        owner, called, number = version_of(user, here, str(meant))
        for version in reversed(dataset.look_all(store, owner, called, None if number is None else [number])):
            return version
        left = dataset.half_deleted(store, owner, called, number) if number is not None else None
        if left is not None:
            return left
    raise NotFound(
        f"Data not found for name: {shown(text)[1:-1]}. Check if the data name is correct and you have permission to "
        f"access it in {store.url}",
        hint="swatch data status",
    )


def version_of(user: str, here: Here, text: str | None) -> tuple[str, str, int | None]:
    """(user, dataset, version or None) that a name of a dataset means; of none, the folder's own dataset. Whether there
    is one is not looked at. Raises UsageError."""
    name = names.dataset(text) if text else DatasetName(None, None, None)
    try:
        return _complete(here, name, user)
    except _Homeless as error:
        raise UsageError(error.message, hint=error.hint) from None


class _Missing(NotFound):
    """Nothing has that name at all."""


class _Homeless(UsageError):
    """The name is a number, and the folder belongs to nothing."""


def _complete(here: Here, name: DatasetName, user: str) -> tuple[str, str, int | None]:
    if name.dataset is not None:
        return name.user or user, name.dataset, name.version
    own: Belonging | None = here.dataset
    if own is None:
        raise _Homeless("This folder belongs to no dataset", hint="swatch data init NAME")
    return own.user or user, own.name, name.version


def _version(store: Store, user: str, here: Here, name: DatasetName) -> Data:
    owner, called, number = _complete(here, name, user)
    known = dataset.numbers(store, owner, called)
    if not known:
        raise _Missing(f"No dataset {owner}/datasets/{called}")
    found = dataset.latest(store, owner, called) if number is None else dataset.look(store, owner, called, number)
    full = f"{owner}/datasets/{called}" + (f"/{number}" if number else "")
    if found is None and number is None:
        found = next(iter(reversed(dataset.look_all(store, owner, called))), None)
    if found is None or found.state == dataset.DELETED:
        there = ", ".join(str(one.number) for one in dataset.look_all(store, owner, called)) or "none any more"
        raise NotFound(f"Data not found for name: {full}. Its versions: {there}", hint=f"swatch data status {called}")
    if found.state == dataset.UPLOADING:
        raise NotFound(f"{found.name} is not whole yet", hint="Finish it in its folder: swatch data upload -r")
    return Data(found.name, found.prefix, found.content(store), version=found)


def _output(store: Store, user: str, here: Here, name: JobName) -> Data:
    if name.part == "code":
        raise UsageError(f"{name}/code is the code of a job", hint=f"swatch clone {name}")
    project, number = name.project, name.number
    if project is None:
        if here.project is None:
            raise _Homeless(
                f"Job {number} of which project?", hint=f"Write PROJECT/{number}/output, or swatch init NAME"
            )
        project = here.project.name
    assert number is not None
    if not store.exists(contract.job_key(project, number)) or store.exists(contract.deleted_key(project, number)):
        raise _Missing(f"No job {project}/{number}")
    # Before the journal: what is in it of a job that has ended is all.
    ended = store.exists(contract.final_key(project, number))
    prefix = contract.output_prefix(project, number)
    made = journal.fold(store, project, number).files.values()
    files = (Leaf(file.path, file.size, file.sha256) for file in made if _is_path(file.path))
    full = f"{name.user or user}/projects/{project}/{number}/output"
    return Data(full, prefix, of_files(files, Shelf(store, prefix)), ended)


def _is_path(path: str) -> bool:
    try:
        check_key(path)
    except StoreError:
        return False
    return True


def _hint(store: Store, user: str, text: str) -> str:
    """What to type instead: fetch the weights that everybody had, or the nearest name that there is."""
    parts = re.sub("/[0-9]+$", "", text.strip("/")).replace("/datasets/", "/").split("/")
    if parts[-1] in VGG19:
        return "swatch data fetch vgg19" + (f" --as {'/'.join(parts)}" if parts != [VGG19[0]] else "")
    known = {
        (called if owner == user else f"{owner}/{called}"): called
        for owner in dataset.users(store)
        for called in dataset.names(store, owner)
    }
    near = difflib.get_close_matches("/".join(parts), known, 1) or [
        full
        for called in difflib.get_close_matches(parts[-1], known.values(), 1)
        for full, one in known.items()
        if one == called
    ]
    return f"Did you mean {near[0]}?" if near else "swatch data status lists the datasets; a folder is written ./FOLDER"
