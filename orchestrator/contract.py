"""The words that both sides of a job share: states, keys of the store, names in the job's environment.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import hashlib
import signal
from typing import Iterable

SCHEMA = 1
"""Version of every record in the store. A reader refuses a larger one."""

# States (FloydHub's). A job is in exactly one; the last four are final.
QUEUED = "queued"
STARTING = "starting"
RUNNING = "running"
SUCCESS = "success"
FAILED = "failed"
SHUTDOWN = "shutdown"
TIMEOUT = "timeout"
STATES = (QUEUED, STARTING, RUNNING, SUCCESS, FAILED, SHUTDOWN, TIMEOUT)
FINAL = frozenset({SUCCESS, FAILED, SHUTDOWN, TIMEOUT})

STOP_GRACE = 120.0
"""Seconds between SIGTERM and SIGKILL: SageMaker's own grace for StopTrainingJob (API reference, StopTrainingJob)."""

BUSY = 75
"""Exit code of an agent that leaves its job to another one which is at it (sysexits' EX_TEMPFAIL)."""

BROUGHT = ".swatch-brought"
"""Marks a folder that a clone or an export made: within a folder of code it is none of that."""

HOME_INDEX = ".swatch-index.json"
"""What was brought home into a folder; a folder with it holds outputs, and is no code."""

# Where the end of a job is told: names of values that travel as secrets do, and the variable that says which there are.
WEBHOOK = "SWATCH_NOTIFY_WEBHOOK"
SLACK = "SWATCH_NOTIFY_SLACK"
ADDRESSES = (WEBHOOK, SLACK)
TELL = "SWATCH_NOTIFY"

MAX_NAME = 64
"""Longest name of a project or task, in characters; with suffixes it stays below every file system's 255 bytes."""


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 35` for one that has no name, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def secret_ids(project: str, name: str) -> tuple[str, str]:
    """What AWS Secrets Manager calls a secret: the project's own, and that of all projects."""
    return f"swatch/{project}/{name}", f"swatch/{name}"


# Keys of the store. `number` counts from 1 within a project.
def project_prefix(project: str) -> str:
    return f"projects/{project}/jobs/"


def job_prefix(project: str, number: int) -> str:
    return f"{project_prefix(project)}{number}/"


def job_key(project: str, number: int) -> str:
    """What was asked; its creation allocates the number."""
    return job_prefix(project, number) + "job.json"


def final_key(project: str, number: int) -> str:
    """How it ended; written once."""
    return job_prefix(project, number) + "final.json"


def deleted_prefix(project: str) -> str:
    return f"projects/{project}/deleted/"


def deleted_key(project: str, number: int) -> str:
    """The mark of a job that was deleted: its number is never used again."""
    return f"{deleted_prefix(project)}{number}.json"


def stop_key(project: str, number: int) -> str:
    """The wish that the job ends; written once, obeyed by whoever runs the job."""
    return job_prefix(project, number) + "stop.json"


RETRIED = ".retried"


def launches_prefix(project: str) -> str:
    return f"projects/{project}/launches/"


def launch_key(project: str, number: int, launch: int, retried: bool) -> str:
    """How a try of a job on a backend ended (counted from 1), and what it cost; written once. Its name tells whether
    the job is tried again."""
    return f"{launches_prefix(project)}{number}-{launch}{RETRIED if retried else ''}.json"


def journal_prefix(project: str, number: int) -> str:
    return job_prefix(project, number) + "journal/"


def output_prefix(project: str, number: int) -> str:
    return job_prefix(project, number) + "output/"


def code_key(digest: str) -> str:
    """A snapshot (code, data or input): files packed once, addressed by their content; whole, or as what differs from
    another one."""
    return f"code/{digest}.tar.gz"


def snapshot_digest(members: Iterable[tuple[str, str, str]]) -> str:
    """The digest of a tree, from the path, kind and content of all that is in it: of a `file` or `executable` the
    SHA-256 in hex, of a `link` where it leads, of a `folder` with nothing in it nothing."""
    digest = hashlib.sha256()
    for name, kind, content in sorted(members):
        encoded = name.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b:%b\n" % (len(encoded), encoded, f"{kind}:{content}".encode("utf-8", "surrogateescape")))
    return digest.hexdigest()


# A snapshot that is stored as what differs from another one says so in its archive's global PAX headers.
DELTA_BASE = "SWATCH.base"
"""The digest of the snapshot that it builds on."""
DELTA_REMOVED = "SWATCH.removed"
"""A JSON list of paths that are in that one and not in this, or are of another kind."""
DELTA_DEPTH = "SWATCH.depth"
"""On how many snapshots it builds, one upon the other."""
MAX_DELTA_DEPTH = 8
"""Further ones are whole again: a job fetches all that its code builds on."""


def diff_key(digest: str) -> str:
    """What a working tree had that its commit had not: the text of `git diff`, addressed by its content."""
    return f"code/{digest}.diff"


def env_key(digest: str) -> str:
    """The packages of a requirements file, installed: for jobs on machines that keep nothing."""
    return f"envs/{digest}.tar.gz"


# Datasets: immutable, numbered trees of plain files. `version` counts from 1 within a dataset.
DATASETS = "datasets/"


def dataset_prefix(user: str, name: str) -> str:
    return f"{DATASETS}{user}/{name}/"


def version_prefix(user: str, name: str, version: int) -> str:
    return f"{dataset_prefix(user, name)}{version}/"


def upload_key(user: str, name: str, version: int) -> str:
    """What a version is to hold; its creation allocates the number."""
    return version_prefix(user, name, version) + "upload.json"


def dataset_key(user: str, name: str, version: int) -> str:
    """What a version holds; created when all of it is there, which makes the version valid."""
    return version_prefix(user, name, version) + "dataset.json"


def withdrawn_key(user: str, name: str, version: int) -> str:
    """The mark that a version was deleted; its number is not used again."""
    return version_prefix(user, name, version) + "deleted.json"


def files_prefix(user: str, name: str, version: int) -> str:
    return version_prefix(user, name, version) + "files/"


def listing_key(files: str) -> str:
    """The record that lists what stands below the `files_prefix` of a version."""
    return files[: -len("files/")] + "dataset.json"


def data_digest(files: Iterable[tuple[str, str]]) -> str:
    """The digest of data, from the path and SHA-256 of each file: that of a snapshot with these plain files in it."""
    return snapshot_digest((path, "file", sha256) for path, sha256 in files)


STREAMED = 1 << 30
"""Bytes from which SageMaker does not copy mounted data to the machine first but shows it while it is read: FastFile
mode (Developer Guide, "Setting up training jobs to access datasets"), which starts at once however much there is."""


def agent_key(digest: str) -> str:
    """The agent as one file that any Python runs, addressed by its content."""
    return f"agent/{digest}.pyz"


def boto3_key(digest: str) -> str:
    """AWS' SDK for images that have none, addressed by its content."""
    return f"agent/boto3/{digest}.zip"


# A job on SageMaker finds its files below /opt/ml/input/data/<channel>/ (CreateTrainingJob, InputDataConfig).
AGENT_CHANNEL = "agent"
BOTO3_CHANNEL = "boto3"
CODE_CHANNEL = "code"
INPUT_CHANNEL = "input"
_LONGEST_CHANNEL = 64


def data_channel(mount: str) -> str:
    """The channel of a dataset: its mount behind `data-`. A mount that is too long for a channel is cut, and told
    apart by a digest behind another word, so that two mounts never share a channel."""
    channel = "data-" + mount
    if len(channel) <= _LONGEST_CHANNEL:
        return channel
    return "long-" + hashlib.sha256(mount.encode()).hexdigest()[:16] + "-" + mount[: _LONGEST_CHANNEL - 22]


RESULTS = "results/"


def result_key(fingerprint: str) -> str:
    """Where the output of a finished task is."""
    return f"{RESULTS}{fingerprint}.json"
