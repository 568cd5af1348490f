"""The datasets of a store, as a library: `Swatch().data`.

swatch.data.upload("photos", "alice/photos")          # a new version, if anything has changed
swatch.data.find("photos").content.files              # what is in it; also of "39/output"
swatch.data.clone("photos/2", into="old")             # brought here, every file verified
swatch.data.fetch_vgg19()                             # VGG-19's weights, for all jobs to mount
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator import facts, names
from orchestrator.cargo import catalogue, clone, content, dataset, upload, weights
from orchestrator.cargo.catalogue import Data
from orchestrator.cargo.clone import Cloned
from orchestrator.cargo.dataset import Version
from orchestrator.cargo.index import Index
from orchestrator.cargo.mount import Tell
from orchestrator.cargo.upload import Uploaded
from orchestrator.errors import UsageError
from orchestrator.folder import Here
from orchestrator.settings import Settings
from orchestrator.store.base import Store


class Datasets:
    """Datasets are immutable, numbered trees of files: what is uploaded once, every job mounts. Names are as people
    write them (`photos`, `alice/photos/2`); what one leaves out is filled in from the settings and the folder one is
    in. `tell` is told how many bytes have gone. Raises SwatchError."""

    def __init__(self, store: Store, settings: Settings, here: Here) -> None:
        self._store, self._settings, self._here = store, settings, here

    def versions(self, name: str | None = None) -> list[Version]:
        """The versions of a dataset (of the folder's own, without a name), newest first, whole or not."""
        user, called, number = catalogue.version_of(self._settings.user, self._here, name)
        found = dataset.look_all(self._store, user, called, None if number is None else [number])
        return sorted(found, key=lambda version: -version.number)

    def find(self, name: str) -> Data:
        """A version of a dataset (the latest without a number), or what a job has made. Raises NotFound."""
        return catalogue.find(self._store, self._settings.user, self._here, name)

    def upload(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        message: str = "",
        resume: bool = False,
        tell: Tell = lambda sent: None,
    ) -> Uploaded:
        """Make a folder the next version of a dataset, unless the latest is just that. Only what the store has not got
        is sent; what was cut short, however hard, is gone on with (`resume`: that alone)."""
        place = Path(folder).absolute()
        found = content.of_folder(place, Index(self._settings.home, place))
        user, called = self._own(name)
        return upload.upload(self._store, user, called, found, description=message, resume=resume, tell=tell)

    def add(
        self, source: str, name: str | None = None, *, message: str = "", tell: Tell = lambda sent: None
    ) -> Uploaded:
        """Make the output of an ended job the next version of a dataset; the store copies the files itself."""
        user, called = self._own(name)
        found = self.find(source)
        if found.version is not None:
            raise UsageError(f"{found.name} is a dataset already", hint="Name a job: swatch data add 39/output")
        job = found.name.removesuffix("/output")
        if not found.ended:
            raise UsageError(f"{job} has not ended: what it makes is not whole yet", hint=f"swatch watch {job}")
        if not found.content.files:
            raise UsageError(f"{job} has made no files", hint=f"swatch logs {job}")
        return upload.upload(
            self._store, user, called, found.content, description=message, source=found.name, tell=tell
        )

    def clone(
        self,
        name: str,
        into: str | os.PathLike[str] | None = None,
        *,
        only: Sequence[str] = (),
        tell: Tell = lambda sent: None,
    ) -> Cloned:
        """Bring data into a folder (`./NAME-VERSION`): verified, going on where it stopped, never over other files.
        `only` are globs, as in an ignore file."""
        found = self.find(name)
        parts = found.name.removesuffix("/output").split("/")
        folder = Path(into) if into is not None else Path(f"{parts[-2]}-{parts[-1]}")
        return clone.clone(found.content, clone.chosen(found.content, only), folder, tell)

    def unused(self, name: str) -> Version:
        """The version of that name, whole or cut short. Raises UsageError where a job waits for it or reads it."""
        version = catalogue.any_version(self._store, self._settings.user, self._here, name)
        jobs = facts.readers(self._store, version.prefix)
        if jobs:
            said = ", ".join(job.short for job in jobs[:5]) + (f" and {len(jobs) - 5} more" if len(jobs) > 5 else "")
            raise UsageError(f"{version.name} is mounted by {said}", hint=f"Wait, or: swatch stop {jobs[0].short}")
        return version

    def delete(self, name: str) -> None:
        """Delete a version that no job waits for or reads; its number is never used again."""
        dataset.delete(self._store, self.unused(name))

    def fetch_vgg19(
        self,
        name: str = weights.NAME,
        file: str | os.PathLike[str] | None = None,
        *,
        url: str = weights.URL,
        md5: str = weights.MD5,
        tell: Tell = lambda sent: None,
    ) -> tuple[Version, bool]:
        """VGG-19's weights as Keras publishes them, or those of a file, as a dataset; and whether it was made now."""
        found = names.dataset(name)
        if found.dataset is None or found.version is not None:
            raise UsageError(f"{name} is no name of a dataset", hint="swatch data fetch vgg19 --as vgg-weights")
        user = found.user or self._settings.user
        if file is None:
            return weights.fetch(self._store, self._settings, user, found.dataset, url, md5, tell)
        before = dataset.latest(self._store, user, found.dataset)
        version = weights.take(self._store, user, found.dataset, Path(file), "", tell)
        return version, before is None or version.name != before.name

    def _own(self, name: str | None) -> tuple[str, str]:
        """(user, dataset) of a name without a number."""
        user, called, number = catalogue.version_of(self._settings.user, self._here, name)
        if number is not None:
            raise UsageError(f"{names.DatasetName(user, called, number)} cannot change", hint=f"Name it {called}")
        return user, called
