"""What is finished: `results/<fingerprint>.json`, one for each task that succeeded anywhere in the store."""

from __future__ import annotations

import msgspec

from orchestrator import contract, decoder
from orchestrator.errors import CloudError, NotFound, StoreError
from orchestrator.store.base import Store


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a finished task: `path` below its prefix, `size` in bytes."""

    path: str
    size: int
    sha256: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Where a finished task's output is: below `prefix` in the output of job `number` of `project`."""

    schema: int
    fingerprint: str
    project: str
    number: int
    prefix: str
    files: tuple[Made, ...]
    ended: float

    def key(self, made: Made) -> str:
        """Where a file of it is in the store."""
        return contract.output_prefix(self.project, self.number) + self.prefix + made.path


def finished(store: Store) -> set[str]:
    """The fingerprints of all finished tasks of the store."""
    return {entry.key[len("results/") : -len(".json")] for entry in store.scan("results/")}


def read(store: Store, fingerprint: str) -> Result:
    """The record of a finished task. Raises NotFound, StoreError."""
    key = contract.result_key(fingerprint)
    try:
        return decoder.from_json(store.read(key), Result)
    except msgspec.DecodeError as error:
        raise StoreError(f"{key} is damaged: {error}", hint="Make it anew: swatch submit --retry-failed") from error


def intact(store: Store, fingerprint: str) -> bool:
    """Whether a task is finished and all that it made is still there."""
    try:
        result = read(store, fingerprint)
    except CloudError:
        raise  # nothing is known of the result
    except (NotFound, StoreError):
        return False
    return all(store.exists(result.key(made)) for made in result.files)


def forget(store: Store, fingerprint: str, project: str, number: int) -> None:
    """Remove the record of a finished task if its output is that job's, or if nobody can read it."""
    try:
        result = read(store, fingerprint)
    except NotFound:
        return
    except CloudError:
        raise
    except StoreError:
        result = None
    if result is None or (result.project, result.number) == (project, number):
        store.remove(contract.result_key(fingerprint))
