"""The agent: runs one job's command under the contract, writes the journal, ships outputs.

    python -m job_image.agent --store URL --project NAME --number N --work FOLDER [--cache FOLDER]
                              [--ml /opt/ml [--isolated]]

One agent works on a job at a time: a lock on FOLDER proves it (released by the system even after kill -9), and the
journal refuses a second writer. Whoever finds the lock free and no `final.json` knows that the job was lost; starting
the agent again is the next attempt, with the checkpoints of the last one.

With --ml it is the entrypoint of a container of SageMaker (see `container`): SIGTERM without the mark `stop.json` means
that the machine is taken away, and that another attempt will go on.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

from job_image import lines
from job_image.container import JobStore, Platform
from job_image.places import Places
from job_image.preparation import prepare
from job_image.process import Process, end_orphan, lock
from job_image.shipper import Order, Shipper
from orchestrator import contract
from orchestrator.errors import StoreError, SwatchError
from orchestrator.journal import Fenced, Log, Progress, State, TaskEnd, Writer, fold
from orchestrator.store import Store, open_store

FLUSH_SECONDS = ((0.0, 0.5), (600.0, 2.0), (3600.0, 5.0))
"""(age of the attempt, pause between chunks): someone watches a young job; a day's journal stays some 20,000 files."""
FAR = 4
"""Times slower where the store is far, and every chunk and look a paid request."""
MAX_LINES = 10_000
"""Lines of log kept between two chunks: a command that floods its output must not fill the disk or this memory."""
STOP_CHECK_SECONDS = 1.0
OUTPUT_HINT = " (here /output is $SWATCH_OUTPUT_DIR: hand it to the program, as in `program.py /output`)"
FINAL_TRIES = 60
"""Seconds that the agent goes on trying to write how the job ended, should the store refuse (a full disk)."""


REASONS = {
    contract.SHUTDOWN: "stopped",
    contract.TIMEOUT: "ran longer than max_runtime",
    contract.QUEUED: "interrupted: its machine was taken away",
}
"""Why a command was ended, by the state its job is in then."""


class Ended(NamedTuple):
    """How the command ended."""

    state: str
    exit_code: int | None
    reason: str


class Run:
    """One attempt of one job."""

    def __init__(self, store: Store, options: Options) -> None:
        _, project, number, work, platform, cache = options
        self.store, self.project, self.number, self.platform = store, project, number, platform
        self.places = Places(work, platform.checkpoint if platform else None, cache)
        self.pace = FAR if store.width > 1 else 1
        self.job: dict[str, Any] = json.loads(store.read(contract.job_key(project, number)))
        if self.job["schema"] > contract.SCHEMA:
            raise SwatchError("This job was written by a later version of Swatch", hint="Update Swatch on this machine")
        self.stop_signal = False
        self.began = time.time()
        self.before = fold(store, project, number)
        self.attempt = self.before.attempt + 1
        self.writer = Writer(store, project, number)
        self.tail: list[str] = []
        self._progress: dict[str, Progress] = {}
        self._flushed = 0.0
        self._lines = 0
        self._stop_checked = float("-inf")
        self._stop_asked = False
        self._complained = ""

    @property
    def name(self) -> str:
        return "{}/projects/{}/{}".format(self.job["user"], self.project, self.number)

    def perform(self) -> Ended:
        """Do the job, to the end. Raises StoreError when the store takes nothing any more."""
        if self._stop_wish() == contract.SHUTDOWN:
            return self._finish(Ended(contract.SHUTDOWN, None, "stopped before it started"), None)
        self._state(contract.STARTING)
        try:
            command = prepare(self.store, self.job, self.places, self.platform, self.before)
        except (SwatchError, OSError) as error:
            return self._finish(Ended(contract.FAILED, None, f"could not be prepared: {error}"), None)
        tasks = {task["name"]: Order(task["fingerprint"], _prefix(task)) for task in self.job["tasks"]}
        shipper = Shipper(self.store, self.project, self.number, self.places.output, self.writer, tasks, self.before)
        shipper.start()
        try:
            ended = self._command(command, shipper)
        finally:
            shipper.finish()
        return self._pause(ended) if ended.state == contract.QUEUED else self._finish(ended, shipper)

    # The command

    def _command(self, command: str, shipper: Shipper) -> Ended:
        environment = {
            "SWATCH": "1",
            "FLOYDHUB": "1",
            "PYTHONUNBUFFERED": "1",
            "SWATCH_JOB": self.name,
            **self.places.environment(),
        }
        grace = float(os.environ.get("SWATCH_STOP_GRACE", contract.STOP_GRACE))
        try:
            process = Process(command, self.places.code, environment, self.places.work, grace)
        except OSError as error:  # too long for the system, for one
            return Ended(contract.FAILED, None, f"could not be started: {error.strerror}")
        shipper.watch_group(process.group)
        self._state(contract.RUNNING)
        deadline = time.monotonic() + self.job["max_runtime"]
        wish = ""
        try:
            while process.running:
                for line in process.read(0.2):
                    self._line(line, shipper)
                if not wish:
                    wish = contract.TIMEOUT if time.monotonic() > deadline else self._stop_wish()
                    if wish:
                        process.stop()
                self._flush(shipper)
        finally:  # also when this agent must give up: its command must not go on alone
            rest = process.close()
        for line in rest:
            self._line(line, shipper)
        code = process.exit_code
        if wish:
            return Ended(wish, code, REASONS[wish])
        if code == 0:
            return Ended(contract.SUCCESS, 0, "")
        return Ended(contract.FAILED, code, self._failure(code))

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
        self._lines += 1
        if self._lines <= MAX_LINES:
            self.writer.append(Log(now, line))
            if self.platform:  # the platform's own log: all there is, should this agent be killed
                print(line, flush=True)
        self.tail = ([*self.tail, line])[-5:]

    def _failure(self, code: int) -> str:
        last = next((line.strip() for line in reversed(self.tail) if line.strip()), "")
        if code < 0:
            why = "killed by {}{}".format(
                contract.signal_name(-code), ", perhaps out of memory" if code == -signal.SIGKILL else ""
            )
        else:
            why = f"exit code {code}"
        hint = OUTPUT_HINT if any(re.search(r"""No such file.*['"]/output\b""", line) for line in self.tail) else ""
        return f"{why}: {last[:300]}{hint}" if last else why

    # The journal and the end

    def _state(self, state: str, reason: str = "") -> None:
        self.writer.append(State(time.time(), state, self.attempt, reason))
        self._flush(None, now=True)

    def _flush(self, shipper: Shipper | None, now: bool = False) -> None:
        pause = next(pause for age, pause in reversed(FLUSH_SECONDS) if time.time() - self.began >= age)
        if not now and time.monotonic() - self._flushed < pause * self.pace:
            return
        self._flushed = time.monotonic()
        self._gather()
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

    def _gather(self) -> None:
        """Append what was held back since the last chunk: each task's latest progress, and how much log was cut."""
        for event in self._progress.values():
            self.writer.append(event)
        self._progress.clear()
        if self._lines > MAX_LINES:
            note = f"{self._lines - MAX_LINES:,} lines left out here: too many at once"
            self.writer.append(Log(time.time(), note, note=True))
        self._lines = 0

    def _stop_wish(self) -> str:
        """`shutdown` when the job shall end: by a signal to this agent, or by the mark in the store. On a platform a
        signal without the mark is `queued`: the job will be started again."""
        now = time.monotonic()
        signalled = self.stop_signal and not self._stop_asked
        if signalled or now - self._stop_checked >= STOP_CHECK_SECONDS * self.pace:
            self._stop_checked = now
            self._stop_asked = self._stop_asked or self.store.exists(contract.stop_key(self.project, self.number))
        if self._stop_asked or (self.stop_signal and not self.platform):
            return contract.SHUTDOWN
        return contract.QUEUED if self.stop_signal else ""

    def _finish(self, ended: Ended, shipper: Shipper | None) -> Ended:
        unkept = shipper.problem if shipper is not None else ""
        if unkept:
            unkept = f"outputs could not be kept: {unkept}; what was made is still in {self.places.output}"
            state = contract.FAILED if ended.state == contract.SUCCESS else ended.state
            ended = Ended(state, ended.exit_code, "; ".join(filter(None, [ended.reason, unkept])))
        tasks = self._task_states(ended, shipper)
        failed = sum(state == contract.FAILED for state in tasks.values())
        if ended.state == contract.SUCCESS and failed:
            ended = Ended(contract.FAILED, ended.exit_code, f"{failed} of {len(tasks)} tasks failed")
        shipped = list(shipper.shipped.values()) if shipper else []
        now = time.time()
        self._gather()
        self.writer.append(State(now, ended.state, self.attempt, ended.reason))
        final = {
            "schema": contract.SCHEMA,
            "state": ended.state,
            "ended": now,
            "started": self.before.started or self.began,
            "seconds": round(self.before.seconds(self.before.last) + now - self.began, 3),
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
        self.places.clear(keep_output=bool(unkept))
        return ended

    def _pause(self, ended: Ended) -> Ended:
        """Leave the job to its next attempt."""
        self._gather()
        self.writer.append(State(time.time(), ended.state, self.attempt, ended.reason))
        self._insist(self.writer.flush)
        return ended

    def _task_states(self, ended: Ended, shipper: Shipper | None) -> dict[str, str]:
        """Every task's end. A command's only task ends as the command does; a texture that the program never spoke of
        has failed, or shares the end that was put to the job."""
        if shipper is not None and ended.state in (contract.SUCCESS, contract.FAILED):
            for task in self.job["tasks"]:
                if task.get("command") is not None:
                    end = TaskEnd(time.time(), task["name"], ended.state, time.time() - self.began, ended.reason)
                    self._insist(functools.partial(shipper.end_task, end))
        told = {name: event.state for name, event in self.before.tasks.items()}
        told.update(shipper.tasks_ended if shipper else {})
        untold = contract.FAILED if ended.state == contract.SUCCESS else ended.state
        return {task["name"]: told.get(task["name"], untold) for task in self.job["tasks"]}

    def _insist(self, write: Callable[[], object]) -> None:
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


class Options(NamedTuple):
    """The agent's command line."""

    store: str
    project: str
    number: int
    work: Path
    platform: Platform | None
    cache: Path | None


def arguments(argv: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="agent", description="Run one job of a Swatch store.")
    parser.add_argument("--store", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--number", required=True, type=int)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--cache", type=Path, help="what outlives jobs on this machine")
    parser.add_argument("--ml", type=Path, help="the folder that SageMaker gives a container")
    parser.add_argument("--isolated", action="store_true", help="the store is the checkpoint folder of this one job")
    given = parser.parse_args(argv)
    platform = Platform(given.ml, given.isolated) if given.ml else None
    return Options(given.store, given.project, given.number, given.work, platform, given.cache)


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0 when it ended (in whatever state), contract.BUSY when another agent is at it, 1 when this agent
    could not bring it to an end. On a platform, 1 also when the job failed, and when it is to be started again."""
    options = arguments(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    alone = lock(options.work / "agent.lock")
    if alone is None:
        return contract.BUSY
    try:
        return _perform(options)
    except Fenced as error:
        print(f"swatch: {error.message}", file=sys.stderr, flush=True)
        return contract.BUSY
    except SwatchError as error:
        print(f"swatch: {error.message}", file=sys.stderr, flush=True)
        if options.platform:
            options.platform.tell_failure(error.message)
        return 1
    finally:
        alone.close()


def _perform(options: Options) -> int:
    project, number, work, platform = options.project, options.number, options.work, options.platform
    isolated = platform is not None and platform.isolated
    store = JobStore(options.store, project, number) if isolated else open_store(options.store)
    if store.exists(contract.final_key(project, number)):
        return 0
    end_orphan(work)
    run = Run(store, options)

    def stop(signum: int, frame: object) -> None:
        run.stop_signal = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = run.perform()
    if platform and ended.state not in (contract.SUCCESS, contract.SHUTDOWN):
        platform.tell_failure(ended.reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
