"""Ships a job's outputs to the store while they are made: whole files only, each with its size and SHA-256.

A file is whole when the task that makes it has said so, or the command has ended, or it has not changed for a while
and (where /proc tells) none of the command's processes has it open for writing. It is copied aside first and
shipped only if it did not change meanwhile, so the store never holds a mixture.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from job_image.harvest import Found, Harvest, Stamp, stamp_of
from orchestrator import contract
from orchestrator.errors import StoreError, SwatchError
from orchestrator.journal import File, Fold, Log, TaskEnd, Writer
from orchestrator.store.base import Store, check_key
from orchestrator.store.local import explain

SCAN_SECONDS = 0.4
LAST_TRIES = 5
"""Passes after the command's end, should the store refuse."""


class Order(NamedTuple):
    """What the shipper must know of a task."""

    fingerprint: str
    prefix: str


class Shipper(threading.Thread):
    """One thread that scans the job's output and ships. `finish` ends it with a last, complete pass."""

    def __init__(
        self,
        store: Store,
        project: str,
        number: int,
        harvest: Harvest,
        writer: Writer,
        tasks: dict[str, Order],
        seen: Fold,
    ) -> None:
        super().__init__(name="shipper", daemon=True)
        self.problem = ""  # why something could not be shipped; empty when all is well
        self.tasks_ended: dict[str, str] = {}
        self.shipped: dict[str, File] = dict(seen.files)
        self._store, self._writer, self._harvest, self._tasks = store, writer, harvest, tasks
        self._project, self._number = project, number
        self._stage = harvest.output.parent / "stage"
        self._group: int | None = None
        self._done: dict[str, Stamp] = {}
        self._before: dict[str, Stamp] = {}
        self._refused: set[str] = set()
        self._said_hidden = False
        self._ended: list[TaskEnd] = []
        self._wake = threading.Event()
        self._closing = self._complete = False
        self._tries = LAST_TRIES
        self._lock = threading.Lock()

    def watch_group(self, group: int) -> None:
        """Files that this process group has open for writing are not whole yet."""
        self._group = group

    def task_ended(self, event: TaskEnd) -> None:
        """A task says that it ended: its files are whole. Its event is journalled when they are in the store."""
        with self._lock:
            self._ended.append(event)
        self._wake.set()

    def finish(self) -> None:
        """Ship what is left and end. The command must have ended."""
        self._closing = True
        self._wake.set()
        self.join()
        if not self._complete:
            self.problem = self.problem or "shipping ended early"

    def run(self) -> None:
        while True:
            closing = self._closing
            began = time.monotonic()
            self._pass(closing)
            if closing:
                self._tries -= 1
                if not self.problem or not self._tries:
                    self._complete = True
                    return
            self._wake.wait(max(SCAN_SECONDS, 5 * (time.monotonic() - began)))
            self._wake.clear()

    def _pass(self, everything: bool) -> None:
        with self._lock:
            ended = list(self._ended)
        whole = tuple(self._tasks[event.task].prefix for event in ended if event.task in self._tasks)
        troubles: dict[str, str] = {}  # path -> why it could not be shipped
        try:
            self._ship_scan(everything, whole, troubles)
            for event in ended:
                order = self._tasks.get(event.task)
                if order is not None and any(path.startswith(order.prefix) for path in troubles):
                    continue
                self.end_task(event)
                with self._lock:
                    self._ended.remove(event)
        except (SwatchError, OSError) as error:
            troubles[""] = _sentence(error, self._harvest.output)
        self.problem = next(iter(troubles.values()), "")

    def _ship_scan(self, everything: bool, whole: tuple[str, ...], troubles: dict[str, str]) -> None:
        def unreadable(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # removed while we looked
                troubles[f"{error.filename}/"] = _sentence(error, self._harvest.output)

        now = self._harvest.look(unreadable, everything)
        self._tell_hidden(now)
        changed = {path: found for path, found in now.items() if self._done.get(path) != found.stamp}
        finished = {path for path in changed if everything or path.startswith(whole)}
        quiet = {
            path for path, found in changed.items() if path not in finished and self._before.get(path) == found.stamp
        }
        self._before = {path: found.stamp for path, found in now.items()}
        if quiet:
            busy = _open_for_writing(self._group)
            quiet = {path for path in quiet if changed[path].stamp.inode not in busy}
        for path in sorted(finished | quiet, key=lambda path: changed[path].stamp.modified):
            try:
                self._ship(path, changed[path])
            except (SwatchError, OSError) as error:  # what cannot be shipped keeps no other file from it
                troubles[path] = _sentence(error, self._harvest.output)

    def _tell_hidden(self, now: dict[str, Found]) -> None:
        hidden = [] if self._said_hidden else self._harvest.hidden(now)
        if hidden:
            self._said_hidden = True
            note = f"{hidden[0]} is in /output and in the working folder: /output's is kept"
            self._writer.append(Log(time.time(), note, note=True))

    def _ship(self, path: str, found: Found) -> None:
        try:
            key = check_key(contract.output_prefix(self._project, self._number) + path)
        except StoreError:
            if path not in self._refused:
                self._refused.add(path)
                self._writer.append(Log(time.time(), f"not kept, its name is no key: {path!r}", note=True))
            return
        self._stage.mkdir(exist_ok=True)
        staged = self._stage / "file"
        digest = _copy(found.file, staged)
        if digest is None or stamp_of(found.file) != found.stamp:
            return  # it changed while it was read: the next pass sees it again
        known = self.shipped.get(path)
        same = known is not None and (known.sha256, known.home) == (digest, found.home)
        if not same or not self._store.exists(key):
            self._store.upload(staged, key)
            event = File(time.time(), path, found.stamp.size, digest, found.home)
            self.shipped[path] = event
            self._writer.append(event)
        self._done[path] = found.stamp

    def end_task(self, event: TaskEnd) -> None:
        """Write the result of a task that succeeded, and journal its end. Its files must be in the store."""
        order = self._tasks.get(event.task)
        if order is not None and event.state == contract.SUCCESS:
            files = [
                {"path": path[len(order.prefix) :], "size": file.size, "sha256": file.sha256}
                for path, file in sorted(self.shipped.items())
                if path.startswith(order.prefix)
            ]
            record = {
                "schema": contract.SCHEMA,
                "fingerprint": order.fingerprint,
                "project": self._project,
                "number": self._number,
                "prefix": order.prefix,
                "files": files,
                "ended": event.time,
            }
            self._store.write(contract.result_key(order.fingerprint), json.dumps(record).encode())
        self.tasks_ended[event.task] = event.state
        self._writer.append(event)


def _sentence(error: SwatchError | OSError, folder: Path) -> str:
    return error.message if isinstance(error, SwatchError) else explain(error, str(folder))[0]


def _copy(source: Path, target: Path) -> str | None:
    """Copy and return the SHA-256 of what was copied; None if the source is gone."""
    digest = hashlib.sha256()
    try:
        reader = open(str(source), "rb")
    except FileNotFoundError:
        return None
    with reader, open(str(target), "wb") as out:
        for block in iter(lambda: reader.read(1 << 20), b""):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _open_for_writing(group: int | None) -> set[int]:
    """Inodes that processes of the group hold open for writing. Empty where there is no /proc."""
    inodes: set[int] = set()
    if group is None or not os.path.isdir("/proc/self/fdinfo"):
        return inodes
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(pid)) != group:
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with open(f"/proc/{pid}/fdinfo/{fd}") as info:
                    flags = next((line.split()[1] for line in info if line.startswith("flags:")), "0")
                if int(flags, 8) & (os.O_WRONLY | os.O_RDWR):
                    inodes.add(os.stat(f"/proc/{pid}/fd/{fd}").st_ino)
        except OSError:
            continue  # the process ended, or the file was closed, while we looked
    return inodes
