"""Values: a task, a job, and how a job ended. No I/O.

`Job` is the record `job.json`: everything that was asked, written once. `Final` is `final.json`: how it ended.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator import contract

FREE = ("local", "docker")
"""Backends whose machines cost nothing."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One source image of a task. `path` is where it was found; `sha256` and `size` (bytes) are of the file."""

    path: str
    sha256: str
    size: int
    width: int
    height: int

    @property
    def cargo_name(self) -> str:
        """Its path among the job's input: named by content, so that hostile file names never travel."""
        suffix = "." + self.path.rsplit(".", 1)[-1].lower() if "." in self.path.rsplit("/", 1)[-1] else ""
        return f"sources/{self.sha256[:32]}{suffix if suffix[1:].isalnum() and len(suffix) <= 6 else ''}"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A read-only folder that the command sees as `/<mount>`.

    `source` is the full name of what is mounted (`alice/datasets/vgg/1`, `alice/projects/forest/39/output`), `prefix`
    where its files stand in the store, plain and each with the path that it has in the folder; `size` is their bytes,
    `files` their number, and `digest` that of their paths and contents (`contract.data_digest`).
    """

    source: str
    mount: str
    digest: str
    prefix: str = ""  # none in records of before there were datasets: such a job can be read, and not run again
    size: int = 0
    files: int = 0


class Git(msgspec.Struct, frozen=True, kw_only=True):
    """What git said of the code: the commit (None before the first), whether there was more than it holds, and the
    digest of that difference, which is at `contract.diff_key` of the store; None if it was not kept."""

    commit: str | None
    dirty: bool = False
    diff: str | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to make. `parameters` is complete: defaults are filled in.

    A texture has `sources` and no `command`, and for style transfer the `content`, the picture to paint; a task of a
    sweep has a `command` whose placeholders are filled.
    `fingerprint` (64 hexadecimal digits) says what is made, whatever it is called: two tasks of one fingerprint
    have the same output.
    """

    name: str
    fingerprint: str
    sources: tuple[Source, ...] = ()
    content: Source | None = None
    parameters: dict[str, Any] = {}
    command: str | None = None

    @property
    def pictures(self) -> tuple[Source, ...]:
        """All the images it is made from."""
        return self.sources if self.content is None else (*self.sources, self.content)

    @property
    def prefix(self) -> str:
        """Where its files stand within the job's output: a texture in a folder of its own, a command's at the top."""
        return "" if self.command is not None else f"{self.name}/"


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """Where outputs come home: a folder (absolute) on one computer."""

    host: str
    folder: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked (`job.json`). Times are seconds since 1970, `max_runtime` is in seconds, `max_cost` in USD.
    `fallbacks` are machines for when `machine` has no capacity, in order of preference. `queue` is the AWS Batch job
    queue that it is handed to, where everybody looks for it.

    `code` and `input` are digests of snapshots. They, and the files of `data`, are in the store before this record is:
    who sees a job can run it.

    `env` is the environment by name, `requirements` the file within the code whose packages the command needs.
    `variables` go into the command's environment, and so do `secrets`, of which only the names are told. `argv` is the
    command line that asked, `config` what swatch.yml added, `restarted` the job that this one repeats. `hourly` is what
    the machine costs, in USD; None if nobody knows. `image` is what it runs in; None leaves that to the backend.
    """

    schema: int = contract.SCHEMA
    project: str
    number: int
    user: str
    created: float
    command: str
    tasks: tuple[Task, ...] = ()
    code: str | None = None
    input: str | None = None
    data: tuple[Mount, ...] = ()
    machine: str = "cpu"
    fallbacks: tuple[str, ...] = ()
    backend: str = "local"
    queue: str | None = None
    spot: bool = False
    max_runtime: int = 86400
    max_cost: float | None = None
    description: str = ""
    host: str = ""
    home: Home | None = None
    # Of commands: what `run` was told, and what it found.
    env: str | None = None
    requirements: str | None = None
    variables: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    config: dict[str, Any] = {}
    git: Git | None = None
    restarted: str | None = None
    hourly: float | None = None
    image: str | None = None

    @property
    def short(self) -> str:
        """The short name, as one types it: `NAME/39`."""
        return f"{self.project}/{self.number}"

    @property
    def name(self) -> str:
        """The full name, FloydHub's form: `user/projects/NAME/39`."""
        return f"{self.user}/projects/{self.project}/{self.number}"


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended (`final.json`). `tasks` maps a task's name to `success` or `failed`; `metrics` are the last
    values; `seconds` is how long it ran, all attempts together, queueing left out."""

    schema: int = contract.SCHEMA
    state: str
    ended: float
    started: float | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    reason: str = ""
    attempts: int = 1
    tasks: dict[str, str] = {}
    metrics: dict[str, float] = {}
    files: int = 0
    bytes: int = 0
