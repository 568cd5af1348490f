"""The journal: what happened in a job, in order, and what follows from it.

One writer (the agent) appends chunks `journal/00000001.jsonl`, `…2.jsonl`, each a whole object with one JSON event a
line. Readers poll with one LIST after the last key they saw. Status, log, metrics and outputs are folds over it.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import json
import math
import re
import threading
from dataclasses import dataclass, field, fields
from typing import Any, Iterator, NamedTuple, Union

from orchestrator import contract
from orchestrator.errors import StoreError
from orchestrator.store import crowd
from orchestrator.store.base import Store


@dataclass(frozen=True)
class State:
    """The job entered a state; `attempt` counts from 1."""

    time: float
    state: str
    attempt: int
    reason: str = ""


@dataclass(frozen=True)
class Log:
    """One line that the command (or, with `note`, the agent) wrote."""

    time: float
    text: str
    note: bool = False


@dataclass(frozen=True)
class Metric:
    """A figure the command printed: `{"metric": "loss", "value": 0.1, "step": 3}`."""

    time: float
    metric: str
    value: float
    step: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a task is: `step` of `steps` units of work, at `size`, with about `seconds_left` to go."""

    time: float
    task: str
    step: float
    steps: float
    size: str = ""
    loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class TaskEnd:
    """A task ended; on success all its files are in the store by now."""

    time: float
    task: str
    state: str
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class File:
    """An output file is in the store, whole: `path` below the job's output, `size` in bytes. `home`: the command made
    it in its working folder, where the next attempt finds it again."""

    time: float
    path: str
    size: int
    sha256: str
    home: bool = False


@dataclass(frozen=True)
class System:
    """What the job uses of its machine: shares from 0 to 100 of the processors, memory, disk, GPU time and GPU memory
    that it may have, and the bytes of memory; None for what is not known there."""

    time: float
    cpu: float | None = None
    memory: float | None = None
    disk: float | None = None
    gpu: float | None = None
    gpu_memory: float | None = None
    used: int | None = None


Event = Union[State, Log, Metric, Progress, TaskEnd, File, System]
KINDS: dict[str, type[Any]] = {
    "state": State,
    "log": Log,
    "metric": Metric,
    "progress": Progress,
    "task": TaskEnd,
    "file": File,
    "system": System,
}
_KIND_OF = {kind: name for name, kind in KINDS.items()}
LAST_TIME = 1e11
"""Seconds since 1970 (the year 5138): later ones are damage, and calendars refuse them."""


def encode(event: Event, **more: str) -> str:
    """One line of a chunk, without the newline. Absent optional fields are left out; `more` stands beside the event's
    own, for readers who have no chunk to tell it from."""
    record: dict[str, Any] = {**more, "kind": _KIND_OF[type(event)]}
    record.update((name, value) for name, value in vars(event).items() if value is not None)
    return json.dumps(record, separators=(",", ":"))


def decode(line: str) -> Event | None:
    """The event of a line; None for one that is damaged or of a kind that this version does not know."""
    try:
        record = json.loads(line)
        kind = KINDS[record.pop("kind")]
        known = {f.name: _whole(record[f.name]) for f in fields(kind) if f.name in record}
        event: Event = kind(**known)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return event if all(_fits(kind, name, value) for name, value in known.items()) else None


def _whole(value: Any) -> Any:
    """The value; text without halves of surrogate pairs, which JSON can spell and no screen or file can take."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _fits(kind: type[Any], name: str, value: Any) -> bool:
    annotation = str(kind.__annotations__[name])
    if name == "time":
        return finite(value) and 0 <= value < LAST_TIME
    if "float" in annotation:
        return finite(value)
    if "int" in annotation:
        return isinstance(value, int) and finite(value)
    if "bool" in annotation:
        return isinstance(value, bool)
    return isinstance(value, str)


def finite(value: Any) -> bool:
    """Whether the value is a number that one can reckon with: no truth value, infinity, nor 400 digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


_CHUNK = re.compile(r"[0-9]{8}\.jsonl")


class Chunk(NamedTuple):
    """A piece of a journal: remember `key` and read on after it."""

    key: str
    events: list[Event]


def read(store: Store, project: str, number: int, after: str = "") -> Iterator[Chunk]:
    """The chunks behind the key `after`, in order."""
    prefix = contract.journal_prefix(project, number)
    # What is no chunk is not ours: nothing that sorts behind the chunks may hide them.
    keys = (entry.key for entry in store.scan(prefix, after) if _CHUNK.fullmatch(entry.key[len(prefix) :]))
    for key, data in crowd.each(lambda key: (key, store.read(key)), keys, store.width):
        events = (decode(line) for line in data.decode("utf-8", "replace").split("\n") if line)
        yield Chunk(key, [event for event in events if event is not None])


def tail(store: Store, project: str, number: int, lines: int = 20) -> list[str]:
    """The last lines that the command wrote, in order; the journal is read from its end, no further than needed."""
    prefix = contract.journal_prefix(project, number)
    keys = [entry.key for entry in store.scan(prefix) if _CHUNK.fullmatch(entry.key[len(prefix) :])]
    found: list[str] = []
    for key in reversed(keys):
        events = [decode(line) for line in store.read(key).decode("utf-8", "replace").split("\n") if line]
        found = [event.text for event in events if isinstance(event, Log) and not event.note] + found
        if len(found) >= lines:
            break
    return found[len(found) - lines :] if len(found) > lines else found


def fold(store: Store, project: str, number: int) -> Fold:
    """What follows from the whole journal of a job, as far as it is written."""
    found = Fold()
    for chunk in read(store, project, number):
        for event in chunk.events:
            found.add(event)
    return found


class Fenced(StoreError):
    """Another writer has appended to this journal: this one is no longer the job's agent."""


class Writer:
    """Appends events; safe to call from several threads. Continues behind the chunks of earlier attempts."""

    def __init__(self, store: Store, project: str, number: int) -> None:
        self._store = store
        self._prefix = contract.journal_prefix(project, number)
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        # Events of a chunk that was begun. If the store failed, it may have it all the same: it is offered as it was.
        self._asked = 0
        last = ""
        for entry in store.scan(self._prefix):
            last = entry.key if _CHUNK.fullmatch(entry.key[len(self._prefix) :]) else last
        self._next = int(last[len(self._prefix) :].split(".")[0]) + 1 if last else 1

    def append(self, event: Event) -> None:
        """Remember the event for the next flush."""
        with self._lock:
            self._waiting.append(encode(event))

    def flush(self) -> None:
        """Write what waits, as one chunk (two after a failure). Raises StoreError (then the events wait on), Fenced."""
        with self._lock:
            while self._waiting:
                self._asked = self._asked or len(self._waiting)
                data = ("\n".join(self._waiting[: self._asked]) + "\n").encode("utf-8")
                key = f"{self._prefix}{self._next:08d}.jsonl"
                if not self._store.create(key, data):
                    raise Fenced(f"Another agent has taken over this job: {key} exists")
                del self._waiting[: self._asked]
                self._asked = 0
                self._next += 1


@dataclass
class Fold:
    """What follows from the events so far. `add` them in order; the log is not kept."""

    state: str = contract.QUEUED
    reason: str = ""
    attempt: int = 0
    started: float | None = None
    last: float = 0.0
    running_since: float | None = None
    spent: float = 0.0  # seconds of running in earlier attempts
    metrics: dict[str, float] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    tasks: dict[str, TaskEnd] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    system: System | None = None
    peak_memory: int = 0  # bytes

    def add(self, event: Event) -> None:
        """Take one event in."""
        if isinstance(event, State):
            self._enter(event)
        elif isinstance(event, Metric):
            self.metrics[event.metric] = event.value
        elif isinstance(event, Progress):
            self.progress[event.task] = event
        elif isinstance(event, TaskEnd):
            self.tasks[event.task] = event
        elif isinstance(event, File):
            self.files[event.path] = event
        elif isinstance(event, System):
            self.system = event
            self.peak_memory = max(self.peak_memory, event.used or 0)
        self.last = max(self.last, event.time)

    def _enter(self, event: State) -> None:
        if event.attempt > self.attempt:
            self.progress.clear()
        if self.running_since is not None:
            # An attempt that was lost has run until it was last heard of.
            self.spent += max(0.0, (event.time if event.attempt == self.attempt else self.last) - self.running_since)
        self.running_since = event.time if event.state == contract.RUNNING else None
        if self.started is None:
            self.started = self.running_since
        self.state, self.reason, self.attempt = event.state, event.reason, event.attempt

    def seconds(self, now: float) -> float:
        """How long the job has run, all attempts together; until `now` if it runs."""
        return self.spent + (max(0.0, now - self.running_since) if self.running_since is not None else 0.0)
