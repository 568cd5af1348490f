"""What SageMaker gives a container below /opt/ml: channels, a checkpoint folder that it carries to S3, a place for the
reason of a failure (API guide, "How Amazon SageMaker AI Provides Training Information" and "Use Checkpoints").

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator, NamedTuple

from orchestrator import contract
from orchestrator.errors import UsageError
from orchestrator.store.base import Entry, Store, Tell, nothing
from orchestrator.store.local import LocalStore

MAX_FAILURE = 1024
"""Characters of the failure file that become the FailureReason."""


class Platform(NamedTuple):
    """The folder /opt/ml. isolated: the job has no network, and the checkpoint folder carries all of its records."""

    ml: Path
    isolated: bool = False

    @property
    def checkpoint(self) -> Path:
        """Where the command keeps its state: carried to S3 while it runs, and back when it starts again."""
        return self.ml / "checkpoints" / "checkpoints" if self.isolated else self.ml / "checkpoints"

    def archive(self, channel: str, digest: str) -> Path | None:
        """The snapshot that a channel has brought, if it has."""
        found = self.ml / "input" / "data" / channel / contract.code_key(digest).rpartition("/")[2]
        return found if found.is_file() else None

    def channel(self, name: str) -> Path | None:
        """The folder that a channel has filled, if there is such a channel."""
        found = self.ml / "input" / "data" / name
        return found if found.is_dir() else None

    def tell_failure(self, reason: str) -> None:
        """Have SageMaker show why the job failed."""
        folder = self.ml / "output"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failure").write_text(reason[:MAX_FAILURE], encoding="utf-8", errors="replace")


ML = Path("/opt/ml")
MAX_HYPERPARAMETERS = 1 << 20
"""Bytes; SageMaker itself takes 100 of 2,500 characters at most."""


def told(ml: Path) -> list[str]:
    """The agent's arguments, as the hyperparameters of a training job tell them: store, project, number, isolated. For
    the image started with the one word `train`, by whoever makes training jobs in a way of their own (API guide, "How
    Amazon SageMaker AI Runs Your Training Image"). Raises UsageError."""
    file = ml / "input" / "config" / "hyperparameters.json"
    try:
        with open(str(file), encoding="utf-8") as opened:
            given = json.loads(opened.read(MAX_HYPERPARAMETERS))
        said = {name: _plain(str(given[name])) for name in ("store", "project", "number")}
        isolated = _plain(str(given.get("isolated", ""))).lower() == "true"
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{file} does not say which job this is: {error!r}",
            hint="Give the hyperparameters store, project and number",
        ) from error
    words = [word for name, value in said.items() for word in ("--" + name, value)]
    return [*words, "--work", str(ml / "swatch"), "--ml", str(ml), *(["--isolated"] if isolated else [])]


def _plain(value: str) -> str:
    """SageMaker's SDK writes values as JSON: \"3\" in quotes of its own."""
    return str(json.loads(value)) if value[:1] == '"' else value


class JobStore(Store):
    """The records of one job in the folder that SageMaker carries to the job's own prefix in S3. What stands elsewhere
    in the store (results) is kept below that prefix, and put into its place when the job has ended."""

    def __init__(self, folder: str, project: str, number: int) -> None:
        self._folder = LocalStore(folder)
        self._prefix = contract.job_prefix(project, number)
        self.url = self._folder.url

    def _inside(self, key: str) -> str:
        return key[len(self._prefix) :] if key.startswith(self._prefix) else key

    def read(self, key: str) -> bytes:
        return self._folder.read(self._inside(key))

    def exists(self, key: str) -> bool:
        return self._folder.exists(self._inside(key))

    def write(self, key: str, data: bytes) -> None:
        self._folder.write(self._inside(key), data)

    def create(self, key: str, data: bytes) -> bool:
        return self._folder.create(self._inside(key), data)

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        self._folder.upload(file, self._inside(key), sha256, tell)

    def remove(self, key: str) -> None:
        self._folder.remove(self._inside(key))

    def download(self, key: str, file: Path) -> str:
        return self._folder.download(self._inside(key), file)

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        for entry in self._folder.scan(self._inside(prefix), self._inside(after)):
            yield Entry(self._prefix + entry.key, entry.size)

    def folders(self, prefix: str) -> list[str]:
        return self._folder.folders(self._inside(prefix))
