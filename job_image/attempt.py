"""One attempt of one job: its folders, what it requires, its command, and how it ends.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from job_image import packages, shell
from job_image.container import Platform
from job_image.ending import REASONS, Ended, failure
from job_image.gauges import Gauges
from job_image.harvest import Before, Harvest, look
from job_image.places import Places
from job_image.preparation import prepare
from job_image.process import Process
from job_image.record import Record, Veil
from job_image.sandbox import Scene, arrange
from job_image.shipper import Order, Shipper
from job_image.vault import Vault
from orchestrator import contract, notice
from orchestrator.errors import StoreError, SwatchError
from orchestrator.journal import TaskEnd, Writer, fold
from orchestrator.store import Store

FAR = 4
"""Times slower where the store is far, and every chunk and look a paid request."""
STOP_CHECK_SECONDS = 1.0
LATE = 10.0
"""Seconds before the end of max_runtime in which a platform's signal means that end: its clock and ours differ."""
FINAL_TRIES = 60
"""Seconds that the agent goes on trying to write how the job ended, should the store refuse (a full disk)."""


class Options(NamedTuple):
    """The agent's command line."""

    store: str
    project: str
    number: int
    work: Path
    platform: Platform | None = None
    cache: Path | None = None
    secrets: Path | None = None
    mounted: bool = False
    boto3: Path | None = None


class Attempt:
    """One attempt of one job."""

    def __init__(self, options: Options, store: Store) -> None:
        self.store, self.project, self.number = store, options.project, options.number
        self.platform, self.cache, self.mounted = options.platform, options.cache, options.mounted
        self.places = Places(options.work, self.platform.checkpoint if self.platform else None, options.cache)
        self.pace = FAR if store.width > 1 else 1
        self.job: dict[str, Any] = json.loads(store.read(contract.job_key(self.project, self.number)))
        if self.job["schema"] > contract.SCHEMA:
            raise SwatchError("This job was written by a later version of Swatch", hint="Update Swatch on this machine")
        cloud = self.platform is not None and not self.platform.isolated
        self.vault = Vault(self.job, options.secrets, cloud)
        self.addresses: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.stop_signal = False
        self.before = fold(store, self.project, self.number)
        self.attempt = self.before.attempt + 1
        writer = Writer(store, self.project, self.number)
        self.record = Record(writer, self.before, self.pace, echo=self.platform is not None)
        self._stop_checked = float("-inf")
        self._stop_asked = False

    @property
    def name(self) -> str:
        return "{}/projects/{}/{}".format(self.job["user"], self.project, self.number)

    def perform(self) -> Ended:
        """Do the job, to the end. Raises StoreError when the store takes nothing any more."""
        self.addresses, unknown = self.vault.addresses()
        self.record.veil = Veil(self.addresses.values())
        if unknown:
            self.record.note(unknown)
        if self._stop_wish() == contract.SHUTDOWN:
            return self._finish(Ended(contract.SHUTDOWN, None, "stopped before it started"), None)
        self._state(contract.STARTING)
        try:
            self.secrets = self.vault.values()
            self.record.veil = Veil([*self.secrets.values(), *self.addresses.values()])
            prepared = prepare(self.store, self.job, self.places, self.platform, self.before, self.mounted)
            installed = self._install()
            if isinstance(installed, Ended):
                return self._pause(installed) if installed.state == contract.QUEUED else self._finish(installed, None)
            if installed:
                prepared = self._as_installed(prepared)
            mounts = [mount["mount"] for mount in self.job["data"]]
            keep = [installed] if installed else []
            scene = arrange(self.job["command"], self.places, mounts, self.platform, keep, self.mounted)
        except (SwatchError, OSError) as error:
            return self._finish(Ended(contract.FAILED, None, f"could not be prepared: {error}"), None)
        if scene.note and self.attempt == 1:
            self.record.note(scene.note)
        tasks = {task["name"]: Order(task["fingerprint"], _prefix(task)) for task in self.job["tasks"]}
        textures = any(task.get("command") is None for task in self.job["tasks"])
        harvest = Harvest(self.places.output, self.places.code, None if textures else prepared)
        shipper = Shipper(self.store, self.project, self.number, harvest, self.record.writer, tasks, self.before)
        shipper.start()
        try:
            ended = self._command(scene, packages.variables(installed) if installed else {}, shipper)
        finally:
            shipper.finish()
        return self._pause(ended) if ended.state == contract.QUEUED else self._finish(ended, shipper)

    # What runs

    def _install(self) -> Path | Ended | None:
        """The environment with the packages that the job requires; None if it requires none, or how the job has ended
        without it. Raises SwatchError."""
        name = self.job.get("requirements")
        if not name:
            return None
        wish, last = "", [""]

        def take(line: str) -> None:
            last[:] = [*last[-4:], line]
            self.record.note(line)

        def follow(words: Sequence[str], environment: Mapping[str, str], held: int) -> int | None:
            nonlocal wish
            process = Process(words, self.places.code, environment, self.places.work, _grace(), held=[held])
            wish = self._follow(process, take, None)
            return None if wish else process.exit_code

        def ending() -> bool:
            nonlocal wish
            wish = self._stop_wish()
            return bool(wish)

        isolated = self.platform is not None and self.platform.isolated
        root = self.cache / "envs" if self.cache else self.places.work / "envs"
        keep = None if self.cache or isolated else self.store
        jobs = packages.Jobs(follow, self.record.note, ending)
        try:
            folder = packages.install(name, self.places.code, root, keep, isolated, jobs)
        except packages.Failed as error:
            network = "; this job has no network: put the packages into its image" if isolated else ""
            return Ended(contract.FAILED, None, f"{error.message}: {packages.why(last)}{network}")
        return Ended(wish, None, REASONS[wish]) if folder is None else folder

    def _as_installed(self, prepared: Before) -> Before:
        """The working folder before the command, with what pip has left in it; what earlier attempts' commands have
        made there is still theirs."""
        made = {path for path, file in self.before.files.items() if file.home}
        return {
            **{path: stamp for path, stamp in look(self.places.code).items() if path not in made},
            **{path: stamp for path, stamp in prepared.items() if path in made},
        }

    def _command(self, scene: Scene, more: Mapping[str, str], shipper: Shipper) -> Ended:
        given = {**more, **self.job.get("variables", {})}
        told = {
            "SWATCH": "1",
            "FLOYDHUB": "1",
            "PYTHONUNBUFFERED": "1",
            "SWATCH_JOB": self.name,
            **scene.environment,
        }
        environment = {**given, **self.secrets, **told}
        words = ["/bin/sh", "-c", scene.command]
        plain = {name: value for name, value in {**given, **told}.items() if name not in self.secrets}
        try:
            shell.keep(
                self.places.work, scene.wrap, scene.folder, {"PATH": os.environ.get("PATH", os.defpath), **plain}
            )
            process = Process(words, scene.folder, environment, self.places.work, _grace(), scene.wrap)
        except (OSError, ValueError) as error:  # too long for the system, for one
            return Ended(contract.FAILED, None, f"could not be started: {getattr(error, 'strerror', None) or error}")
        shipper.watch_group(process.group)
        gauges = Gauges(self.record.writer, self.places.work)
        gauges.watch(process.group)
        self._state(contract.RUNNING)

        def take(line: str) -> None:
            end = self.record.line(line)
            if end is not None:
                shipper.task_ended(end)

        try:
            wish = self._follow(process, take, shipper)
        finally:
            gauges.close()
        code = process.exit_code
        if wish:
            return Ended(wish, code, REASONS[wish])
        if code == 0:
            return Ended(contract.SUCCESS, 0, "")
        return Ended(contract.FAILED, code, failure(code, self.record.tail, gauges.memory(), scene.real))

    def _follow(self, process: Process, take: Callable[[str], None], shipper: Shipper | None) -> str:
        """Read what a process writes, to its end; the wish that has ended it, or nothing."""
        deadline = time.monotonic() + self.job["max_runtime"]
        wish = ""
        try:
            while process.running:
                for line in process.read(0.2):
                    take(line)
                self.record.glance(process.drawing)
                if not wish:
                    wish = contract.TIMEOUT if time.monotonic() > deadline else self._stop_wish()
                    if wish:
                        process.stop()
                self.record.flush(shipper.problem if shipper else "")
        finally:  # also when this agent must give up: its command must not go on alone
            rest = process.close()
        for line in rest:
            take(line)
        return wish

    # The journal and the end

    def _state(self, state: str, reason: str = "") -> None:
        self.record.state(state, self.attempt, reason)
        self.record.flush(now=True)

    def _stop_wish(self) -> str:
        """`shutdown` when the job shall end: by a signal to this agent, or by the mark in the store. On a platform a
        signal without the mark is `queued`, for the job will be started again; or `timeout`, if it has had its time."""
        now = time.monotonic()
        signalled = self.stop_signal and not self._stop_asked
        if signalled or now - self._stop_checked >= STOP_CHECK_SECONDS * self.pace:
            self._stop_checked = now
            self._stop_asked = self._stop_asked or self.store.exists(contract.stop_key(self.project, self.number))
        if self._stop_asked or (self.stop_signal and not self.platform):
            return contract.SHUTDOWN
        if not self.stop_signal:
            return ""
        # A platform ends a job of its own accord when its time is up, too: then nothing follows.
        spent = self.before.seconds(self.before.last) + time.time() - self.record.began
        return contract.TIMEOUT if spent > self.job["max_runtime"] - LATE else contract.QUEUED

    def _finish(self, ended: Ended, shipper: Shipper | None) -> Ended:
        unkept = shipper.problem if shipper is not None else ""
        if unkept:
            unkept = f"outputs could not be kept: {unkept}; what was made is still in {self.places.work}"
            state = contract.FAILED if ended.state == contract.SUCCESS else ended.state
            ended = Ended(state, ended.exit_code, "; ".join(filter(None, [ended.reason, unkept])))
        tasks = self._task_states(ended, shipper)
        failed = sum(state == contract.FAILED for state in tasks.values())
        if ended.state == contract.SUCCESS and failed:
            ended = Ended(contract.FAILED, ended.exit_code, f"{failed} of {len(tasks)} tasks failed")
        shipped = list((shipper.shipped if shipper else self.before.files).values())
        ended = ended._replace(reason=self.record.veil.hide(ended.reason))
        now = time.time()
        self.record.state(ended.state, self.attempt, ended.reason)
        final = {
            "schema": contract.SCHEMA,
            "state": ended.state,
            "ended": now,
            "started": self.before.started or self.record.began,
            "seconds": round(self.before.seconds(self.before.last) + now - self.record.began, 3),
            "exit_code": ended.exit_code,
            "reason": ended.reason,
            "attempts": self.attempt,
            "tasks": tasks,
            "metrics": self.record.metrics,
            "files": len(shipped),
            "bytes": sum(file.size for file in shipped),
        }
        self._insist(self.record.writer.flush)
        written = self._insist(
            lambda: self.store.create(contract.final_key(self.project, self.number), json.dumps(final).encode())
        )
        self.places.clear(keep_made=bool(unkept))
        self.vault.forget()
        if written:  # else somebody else has told it
            self._tell(final)
        return ended

    def _tell(self, final: dict[str, Any]) -> None:
        """Tell the end of the job where it is to be told; what cannot be is a note, and changes nothing."""
        for problem in notice.tell(self.addresses, self.job, final):
            self.record.note(problem)
        self.record.flush(now=True)

    def _pause(self, ended: Ended) -> Ended:
        """Leave the job to its next attempt."""
        self.record.state(ended.state, self.attempt, ended.reason)
        self._insist(self.record.writer.flush)
        return ended

    def _task_states(self, ended: Ended, shipper: Shipper | None) -> dict[str, str]:
        """Every task's end. A command's only task ends as the command does; a texture that the program never spoke of
        has failed, or shares the end that was put to the job."""
        if shipper is not None and ended.state in (contract.SUCCESS, contract.FAILED):
            for task in self.job["tasks"]:
                if task.get("command") is not None:
                    end = TaskEnd(time.time(), task["name"], ended.state, time.time() - self.record.began, ended.reason)
                    self._insist(functools.partial(shipper.end_task, end))
        told = {name: event.state for name, event in self.before.tasks.items()}
        told.update(shipper.tasks_ended if shipper else {})
        untold = contract.FAILED if ended.state == contract.SUCCESS else ended.state
        return {task["name"]: told.get(task["name"], untold) for task in self.job["tasks"]}

    def _insist(self, write: Callable[[], object]) -> object:
        for left in range(FINAL_TRIES, -1, -1):
            try:
                return write()
            except StoreError as error:
                if type(error) is not StoreError or not left:
                    raise
                print(f"swatch: {error.message}; trying again", file=sys.stderr, flush=True)
                time.sleep(1)
        return None


def _grace() -> float:
    return float(os.environ.get("SWATCH_STOP_GRACE", contract.STOP_GRACE))


def _prefix(task: dict[str, Any]) -> str:
    return "" if task.get("command") is not None else task["name"] + "/"
