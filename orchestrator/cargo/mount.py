"""Data that a job sees: `SOURCE:MOUNT` as people write it, become what stands in the store.

A source is a dataset (`vgg-weights/1`), the output of a job that has ended (`39/output`), a folder (`./weights`), or
an address (`s3://bucket/prefix`, `https://...`). Folders and addresses become datasets of the user, called after the
project and the mount, with a new version only when something in them has changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from orchestrator import contract
from orchestrator.cargo import catalogue, content, dataset, upload
from orchestrator.cargo.content import Content
from orchestrator.cargo.index import Index
from orchestrator.cargo.upload import Sent
from orchestrator.entries import MAX_DATA, DataMount, data_mount
from orchestrator.errors import NotFound, UsageError
from orchestrator.folder import Here
from orchestrator.job import Mount
from orchestrator.settings import Settings
from orchestrator.shape import Unfit
from orchestrator.store.base import Store

Tell = Callable[[Sent], object]


def parse(given: Iterable[str]) -> tuple[DataMount, ...]:
    """What `--data SOURCE[:MOUNT]` says, each time it is given; without a mount, the only such one stands at `/input`.
    Raises UsageError. Pure."""
    found: dict[str, DataMount] = {}
    for text in given:
        try:
            one = data_mount(text, unnamed=True)
        except Unfit as unfit:
            raise UsageError(f"--data: {unfit}", hint="Write for example: --data vgg-weights/1:vgg_weights") from None
        if one.mount.lower() in found:
            raise UsageError(
                f"--data: two sources for /{one.mount}: {found[one.mount.lower()].source} and {one.source}",
                hint=f"Give each a place of its own: --data {one.source}:NAME",
            )
        found[one.mount.lower()] = one
    if len(found) > MAX_DATA:
        raise UsageError(f"Cannot attach more than {MAX_DATA} datasets to a job", hint="Put some of them into one")
    return tuple(found.values())


class Prepared:
    """The mounts of jobs to be. Until `carry` has been called, those of folders that have changed stand where their
    next version is likely to be; their digests are right from the beginning."""

    def __init__(self, mounts: Sequence[Mount], folders: dict[int, tuple[str, str, Content]]) -> None:
        self.mounts = tuple(mounts)
        self._folders = folders  # of a mount's index: whose dataset it becomes, what it is called, and its files

    @property
    def waiting(self) -> int:
        """Bytes of folders that are not in the store as they are now; of what they share with a version, too."""
        return sum(files.size for _, _, files in self._folders.values())

    def __add__(self, other: Prepared) -> Prepared:
        """The mounts of both."""
        moved = {len(self.mounts) + index: waiting for index, waiting in other._folders.items()}
        return Prepared((*self.mounts, *other.mounts), {**self._folders, **moved})

    def carry(self, store: Store, tell: Tell = lambda sent: None) -> None:
        """Put into the store what is not there yet; called before the first job is made."""
        mounts = list(self.mounts)
        for index, (user, name, files) in self._folders.items():
            done = upload.upload(store, user, name, files, latest=False, tell=tell)
            mounts[index] = _mount(done.version.name, mounts[index].mount, done.version.prefix, files)
        self.mounts, self._folders = tuple(mounts), {}


def resolve(
    store: Store,
    settings: Settings,
    here: Here,
    given: Sequence[DataMount],
    folder: Path,
    *,
    project: str | None = None,
    fetch: bool = True,
    tell: Tell = lambda sent: None,
) -> Prepared:
    """What the sources mean now. Folders are relative to `folder`; `project` names the datasets that they become (the
    folder's own project, if it is None). Addresses are fetched into the store, unless it has them as they are now;
    without `fetch` nothing is, and those that would be have a digest that is nobody's. Raises UsageError, NotFound."""
    name = project or (here.project.name if here.project else "data")
    mounts: list[Mount] = []
    folders: dict[int, tuple[str, str, Content]] = {}
    for index, one in enumerate(given):
        called = dataset_name(name, one.mount)
        if one.is_address:
            from orchestrator.cargo import origin

            mounts.append(origin.mounted(store, settings, one, called, fetch, tell))
        elif one.is_folder:
            where = Path(os.path.normpath(folder / os.path.expanduser(one.source)))
            files = content.of_folder(where, Index(settings.home, where))
            there = upload.holding(store, settings.user, called, files.digest)
            if there is None:
                folders[index] = (settings.user, called, files)
            number = there.number if there else max(dataset.numbers(store, settings.user, called), default=0) + 1
            full = f"{settings.user}/datasets/{called}/{number}"
            mounts.append(_mount(full, one.mount, contract.files_prefix(settings.user, called, number), files))
        else:
            mounts.append(_named(store, settings.user, here, one, folder))
    return Prepared(mounts, folders)


def dataset_name(project: str, mount: str) -> str:
    """The dataset that a mounted folder of a project becomes: `forest-weights`."""
    name = f"{project}-{mount.strip('.')}"
    if len(name) <= contract.MAX_NAME:
        return name
    return f"{name[: contract.MAX_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _named(store: Store, user: str, here: Here, one: DataMount, folder: Path) -> Mount:
    try:
        found = catalogue.find(store, user, here, one.source)
    except (UsageError, NotFound) as error:
        if (folder / one.source).is_dir():
            error.hint = f"A folder is written with ./ before it: ./{one.source}:{one.mount}"
        raise
    if not found.ended:
        job = found.name.removesuffix("/output")
        raise UsageError(
            f"{job} has not ended: what it makes is not whole yet", hint=f"Wait for it: swatch watch {job}"
        )
    if not found.content.files:
        raise UsageError(f"{found.name} holds no files", hint=f"swatch logs {found.name.removesuffix('/output')}")
    return _mount(found.name, one.mount, found.prefix, found.content)


def _mount(source: str, mount: str, prefix: str, files: Content) -> Mount:
    return Mount(
        source=source, mount=mount, digest=files.digest, prefix=prefix, size=files.size, files=len(files.files)
    )
