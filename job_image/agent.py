"""The agent: runs one job's command under the contract, writes the journal, ships outputs.

    python -m job_image.agent --store URL --project NAME --number N --work FOLDER

One agent works on a job at a time: a lock on FOLDER proves it (released by the system even after kill -9), and the
journal refuses a second writer. Whoever finds the lock free and no `final.json` knows that the job was lost; starting
the agent again is the next attempt, with the checkpoints of the last one.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

if os.name == "posix":
    import fcntl

from job_image import lines
from job_image.shipper import Order, Shipper
from job_image.unpack import unpack
from orchestrator import contract
from orchestrator.errors import StoreError, SwatchError
from orchestrator.journal import Fold, Log, Progress, State, TaskEnd, Writer, read
from orchestrator.store import Store, open_store

FLUSH_SECONDS = 0.5
STOP_CHECK_SECONDS = 1.0
FINAL_TRIES = 60
"""Seconds that the agent goes on trying to write how the job ended, should the store refuse (a full disk)."""


class Places(NamedTuple):
    """The job's folders on this machine."""

    work: Path

    @property
    def code(self) -> Path:
        return self.work / "code"

    @property
    def input(self) -> Path:
        return self.work / "input"

    @property
    def output(self) -> Path:
        return self.work / "output"

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint"

    @property
    def data(self) -> Path:
        return self.work / "data"

    def mapping(self, mounts: list[str]) -> dict[str, str]:
        """The contract's absolute paths, and where they are here."""
        paths = {
            "/output": self.output,
            "/floyd/home": self.code,
            "/input": self.input,
            "/floyd/input": self.data,
        }
        paths.update(("/" + mount, self.data / mount) for mount in mounts)
        return {path: str(place) for path, place in paths.items()}

    def environment(self, job: dict[str, Any], name: str) -> dict[str, str]:
        """The variables that the command sees beside those of this machine."""
        return {
            "SWATCH": "1",
            "FLOYDHUB": "1",
            "PYTHONUNBUFFERED": "1",
            "SWATCH_JOB": name,
            "SWATCH_CODE_DIR": str(self.code),
            "SWATCH_INPUT_DIR": str(self.input),
            "SWATCH_OUTPUT_DIR": str(self.output),
            "SWATCH_CHECKPOINT_DIR": str(self.checkpoint),
            "SWATCH_DATA_DIR": str(self.data),
        }


class Ended(NamedTuple):
    """How the command ended."""

    state: str
    exit_code: int | None
    reason: str


class Taken(SwatchError):
    """Another agent works on this job."""


def map_paths(command: str, mapping: dict[str, str]) -> str:
    """The command with the contract's absolute paths replaced by this machine's; everything else byte for byte.

    A path counts where it stands as a whole path, or is followed by `/`: `/output/x.png`, `--into=/output`,
    but not `/outputs`, `~/output` or `s3://b/output`. Raises SwatchError when a place's name would need quoting.
    """
    if not mapping:
        return command
    longest_first = sorted(mapping, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w.~/*?$}}\])-])({})(?![\w.-])".format("|".join(map(re.escape, longest_first))))

    def place(match: re.Match[str]) -> str:
        found = mapping[match.group(1)]
        if not re.fullmatch(r"[\w./+@%:,=-]+", found):
            raise SwatchError(
                f"The job's folder has a name that a shell would split: {found}",
                hint="Set SWATCH_HOME to a folder without spaces",
            )
        return found

    return pattern.sub(place, command)


def lock(file: Path, wait: bool = False) -> IO[bytes] | None:
    """An exclusive lock on the file, held until it is closed or the process ends; None if another holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = open(str(file), "ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        handle.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return handle


class Run:
    """One attempt of one job."""

    def __init__(self, store: Store, project: str, number: int, work: Path) -> None:
        self.store, self.project, self.number = store, project, number
        self.places = Places(work)
        self.job: dict[str, Any] = json.loads(store.read(contract.job_key(project, number)))
        if self.job["schema"] > contract.SCHEMA:
            raise SwatchError("This job was written by a later version of Swatch", hint="Update Swatch on this machine")
        self.stop_signal = False
        self.began = time.time()
        self.before = Fold()
        for chunk in read(store, project, number):
            for event in chunk.events:
                self.before.add(event)
        self.attempt = self.before.attempt + 1
        self.writer = Writer(store, project, number)
        self.tail: list[str] = []
        self._progress: dict[str, Progress] = {}
        self._flushed = 0.0
        self._stop_checked = 0.0
        self._complained = ""

    @property
    def name(self) -> str:
        return "{}/projects/{}/{}".format(self.job["user"], self.project, self.number)

    def perform(self) -> Ended:
        """Do the job, to the end. Raises StoreError when the store takes nothing any more."""
        if self._stop_wished():
            return self._finish(Ended(contract.SHUTDOWN, None, "stopped before it started"), None)
        self._state(contract.STARTING)
        try:
            command = self._prepare()
        except (SwatchError, OSError) as error:
            return self._finish(Ended(contract.FAILED, None, f"could not be prepared: {error}"), None)
        tasks = {task["name"]: Order(task["fingerprint"], _prefix(task)) for task in self.job["tasks"]}
        shipper = Shipper(self.store, self.project, self.number, self.places.output, self.writer, tasks, self.before)
        shipper.start()
        try:
            ended = self._command(command, shipper)
        finally:
            shipper.finish()
        return self._finish(ended, shipper)

    # Before the command

    def _prepare(self) -> str:
        places = self.places
        for folder in (places.code, places.input, places.data):
            _remove(folder)  # an earlier attempt's, perhaps half-written
        for folder in (places.code, places.input, places.output, places.checkpoint, places.data):
            folder.mkdir(parents=True, exist_ok=True)
        if self.job["code"]:
            self._fetch(self.job["code"], places.code)
        prefix = contract.input_prefix(self.project, self.number)
        for entry in self.store.scan(prefix):
            self.store.download(entry.key, places.input / entry.key[len(prefix) :])
        mounts = [mount["mount"] for mount in self.job["data"]]
        for mount in self.job["data"]:
            self._fetch(mount["digest"], places.data / mount["mount"])
            _make_read_only(places.data / mount["mount"])
        return map_paths(self.job["command"], places.mapping(mounts))

    def _fetch(self, digest: str, folder: Path) -> None:
        archive = self.places.work / "snapshot.tar.gz"
        self.store.download(contract.code_key(digest), archive)
        unpack(archive, folder)
        archive.unlink()

    # The command

    def _command(self, command: str, shipper: Shipper) -> Ended:
        # The command inherits this lock: while anything of it lives, the lock is held, even after this agent's death.
        guard = lock(self.places.work / "command.lock")
        if guard is None:
            raise Taken("An earlier attempt's command still runs")
        with guard:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=str(self.places.code),
                env={**os.environ, **self.places.environment(self.job, self.name)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[guard.fileno()],
            )
            (self.places.work / "command.pid").write_text(str(process.pid))
        shipper.watch_group(process.pid)
        self._state(contract.RUNNING)
        wish = self._follow(process, shipper)
        code = process.wait()
        if wish:
            return Ended(wish, code, "stopped" if wish == contract.SHUTDOWN else "ran longer than max_runtime")
        if code == 0:
            return Ended(contract.SUCCESS, 0, "")
        return Ended(contract.FAILED, code, self._failure(code))

    def _follow(self, process: subprocess.Popen[bytes], shipper: Shipper) -> str:
        """Read what the command prints until it and all that hold its output end; the wish that ended it, if any."""
        assert process.stdout is not None
        pipe = process.stdout
        os.set_blocking(pipe.fileno(), False)
        splitter = lines.Splitter()
        deadline = time.monotonic() + self.job["max_runtime"]
        kill_at = float("inf")
        wish = ""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                for _ in selector.select(0.2):
                    data = os.read(pipe.fileno(), 1 << 20)
                    for line in splitter.feed(data):
                        self._line(line, shipper)
                    if not data:
                        selector.unregister(pipe)
                        pipe.close()
                now = time.monotonic()
                if not wish:
                    wish = contract.TIMEOUT if now > deadline else contract.SHUTDOWN if self._stop_wished() else ""
                    if wish:
                        _signal_group(process.pid, signal.SIGTERM)
                        kill_at = now + float(os.environ.get("SWATCH_STOP_GRACE", contract.STOP_GRACE))
                if now > kill_at:
                    _signal_group(process.pid, signal.SIGKILL)
                    kill_at = float("inf")
                self._flush(shipper)
                if process.poll() is not None:
                    if not pipe.closed:  # what it wrote last; children that it left behind may keep the pipe open
                        _signal_group(process.pid, signal.SIGTERM if not wish else signal.SIGKILL)
                        for line in splitter.feed(_drain(pipe)):
                            self._line(line, shipper)
                        pipe.close()
                    break
                if pipe.closed:
                    time.sleep(0.05)  # it closed its output and works on: nothing to select on
        for line in splitter.close():
            self._line(line, shipper)
        return wish

    def _line(self, line: str, shipper: Shipper) -> None:
        now = time.time()
        event = lines.parse(line, now)
        if isinstance(event, Progress):
            self._progress[event.task] = event  # only the latest counts: a chunk carries one for each task
            return
        if isinstance(event, TaskEnd):
            shipper.task_ended(event)
            return
        if event is not None:
            self.writer.append(event)
        self.writer.append(Log(now, line))
        self.tail = ([*self.tail, line])[-5:]

    def _failure(self, code: int) -> str:
        last = next((line.strip() for line in reversed(self.tail) if line.strip()), "")
        if code < 0:
            name = signal.Signals(-code).name
            why = "killed by {}{}".format(name, ", perhaps out of memory" if name == "SIGKILL" else "")
        else:
            why = f"exit code {code}"
        return f"{why}: {last[:300]}" if last else why

    # The journal and the end

    def _state(self, state: str, reason: str = "") -> None:
        self.writer.append(State(time.time(), state, self.attempt, reason))
        self._flush(None, now=True)

    def _flush(self, shipper: Shipper | None, now: bool = False) -> None:
        if not now and time.monotonic() - self._flushed < FLUSH_SECONDS:
            return
        self._flushed = time.monotonic()
        for event in self._progress.values():
            self.writer.append(event)
        self._progress.clear()
        problem = shipper.problem if shipper else ""
        try:
            self.writer.flush()
        except StoreError as error:
            if type(error) is not StoreError:
                raise  # fenced: another agent has taken over
            problem = error.message  # the events wait; the command goes on
        if problem and problem != self._complained:
            print(f"swatch: {problem}", file=sys.stderr, flush=True)
            self.writer.append(Log(time.time(), problem, note=True))
        self._complained = problem

    def _stop_wished(self) -> bool:
        if self.stop_signal:
            return True
        now = time.monotonic()
        if now - self._stop_checked > STOP_CHECK_SECONDS or not self._stop_checked:
            self._stop_checked = now
            self.stop_signal = self.store.exists(contract.stop_key(self.project, self.number))
        return self.stop_signal

    def _finish(self, ended: Ended, shipper: Shipper | None) -> Ended:
        tasks = self._task_states(ended, shipper)
        if ended.state == contract.SUCCESS and shipper is not None and shipper.problem:
            ended = Ended(contract.FAILED, ended.exit_code, f"outputs could not be kept: {shipper.problem}")
        elif ended.state == contract.SUCCESS and contract.FAILED in tasks.values():
            ended = Ended(
                contract.FAILED,
                ended.exit_code,
                f"{sum(state == contract.FAILED for state in tasks.values())} of {len(tasks)} tasks failed",
            )
        shipped = list(shipper.shipped.values()) if shipper else []
        now = time.time()
        self.writer.append(State(now, ended.state, self.attempt, ended.reason))
        final = {
            "schema": contract.SCHEMA,
            "state": ended.state,
            "ended": now,
            "started": self.before.started or self.began,
            "seconds": round(now - self.began, 3),
            "exit_code": ended.exit_code,
            "reason": ended.reason,
            "attempts": self.attempt,
            "tasks": tasks,
            "files": len(shipped),
            "bytes": sum(file.size for file in shipped),
        }
        self._insist(self.writer.flush)
        self._insist(
            lambda: self.store.create(contract.final_key(self.project, self.number), json.dumps(final).encode())
        )
        _remove(self.places.work, but="agent.lock")
        return ended

    def _task_states(self, ended: Ended, shipper: Shipper | None) -> dict[str, str]:
        """Every task's end. A command's only task ends as the command does."""
        told = {name: event.state for name, event in self.before.tasks.items()}
        told.update(shipper.tasks_ended if shipper else {})
        states = {}
        for task in self.job["tasks"]:
            name = task["name"]
            if task.get("command") is not None and shipper is not None:
                self._end_command_task(name, ended, shipper)
                told[name] = shipper.tasks_ended.get(name, contract.FAILED)
            states[name] = told.get(
                name, contract.FAILED if ended.state in (contract.SUCCESS, contract.FAILED) else ended.state
            )
        return states

    def _end_command_task(self, name: str, ended: Ended, shipper: Shipper) -> None:
        state = contract.SUCCESS if ended.state == contract.SUCCESS and not shipper.problem else contract.FAILED
        if ended.state in (contract.SUCCESS, contract.FAILED):
            shipper.end_task(TaskEnd(time.time(), name, state, time.time() - self.began, ended.reason))

    def _insist(self, write: Any) -> None:
        for left in range(FINAL_TRIES, -1, -1):
            try:
                write()
                return
            except StoreError as error:
                if type(error) is not StoreError or not left:
                    raise
                print(f"swatch: {error.message}; trying again", file=sys.stderr, flush=True)
                time.sleep(1)


def _prefix(task: dict[str, Any]) -> str:
    return "" if task.get("command") is not None else task["name"] + "/"


def _drain(pipe: IO[bytes]) -> bytes:
    blocks = []
    try:
        while True:
            block = os.read(pipe.fileno(), 1 << 20)
            if not block:
                break
            blocks.append(block)
    except BlockingIOError:
        return b"".join(blocks)
    return b"".join(blocks)


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _make_read_only(folder: Path) -> None:
    for parent, _, names in os.walk(str(folder), topdown=False):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & ~0o222)
        os.chmod(parent, 0o555)


def _remove(folder: Path, but: str = "") -> None:
    """Remove what is in the folder, read-only data included, and the folder itself unless `but` is kept in it."""
    if not folder.is_dir():
        return
    for parent, folders, _ in os.walk(str(folder)):
        for name in folders:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)
    for entry in list(folder.iterdir()):
        if entry.name == but:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(str(entry))
        else:
            entry.unlink()
    if not but:
        folder.rmdir()


def end_orphan(work: Path) -> None:
    """End a command that outlived its agent: it would write into the same folders as the next attempt's."""
    held = lock(work / "command.lock")
    if held is None:
        # The lock proves that something of that command lives, so the number is still its group's.
        _signal_group(int((work / "command.pid").read_text()), signal.SIGKILL)
        held = lock(work / "command.lock", wait=True)
    if held is not None:
        held.close()


def arguments(argv: list[str] | None) -> tuple[str, str, int, Path]:
    parser = argparse.ArgumentParser(prog="agent", description="Run one job of a Swatch store.")
    parser.add_argument("--store", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--number", required=True, type=int)
    parser.add_argument("--work", required=True, type=Path)
    given = parser.parse_args(argv)
    return given.store, given.project, given.number, given.work


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0 when it ended (in whatever state), 1 when this agent could not bring it to an end."""
    url, project, number, work = arguments(argv)
    work.mkdir(parents=True, exist_ok=True)
    alone = lock(work / "agent.lock")
    if alone is None:
        return 0  # another agent is at it
    try:
        store = open_store(url)
        if store.exists(contract.final_key(project, number)):
            return 0
        end_orphan(work)
        run = Run(store, project, number, work)

        def stop(signum: int, frame: object) -> None:
            run.stop_signal = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run.perform()
    except SwatchError as error:
        print(f"swatch: {error.message}", file=sys.stderr, flush=True)
        return 1
    finally:
        alone.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
