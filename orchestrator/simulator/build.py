"""One build of CodeBuild: its record, and its life in a thread of its own. Commands are processes of this computer, in
a folder of their own, with Docker at hand where the project is privileged."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.errors import DockerError
from orchestrator.simulator.account import NUMBER, Place
from orchestrator.simulator.attempt import World
from orchestrator.simulator.buildspec import PHASES, Buildspec, Phase, SpecError, parse
from orchestrator.simulator.container import JOB_KEY, PATH, pump

IN_PROGRESS, SUCCEEDED, FAILED, FAULT = "IN_PROGRESS", "SUCCEEDED", "FAILED", "FAULT"
STOPPED, TIMED_OUT = "STOPPED", "TIMED_OUT"
BEFORE = ("SUBMITTED", "QUEUED", "PROVISIONING")
AFTER = ("UPLOAD_ARTIFACTS", "FINALIZING")
MAX_UNPACKED = 4 << 30
"""Bytes of an unpacked source."""


class Step(msgspec.Struct):
    """A phase as it went; times are seconds since the epoch. `code` and `message` are its context."""

    name: str
    began: float
    ended: float | None = None
    status: str | None = None
    code: str = ""
    message: str = ""


class Build(msgspec.Struct):
    """The record. Changed only under the simulator's lock; `ended` is set last."""

    id: str
    number: int
    project: str
    source: dict[str, Any]
    environment: dict[str, Any]
    role: str
    timeout: int
    """Minutes."""
    began: float
    status: str = IN_PROGRESS
    steps: list[Step] = []
    ended: float | None = None
    stopping: bool = False
    bell: threading.Event = msgspec.field(default_factory=threading.Event)

    @property
    def group(self) -> str:
        return f"/aws/codebuild/{self.project}"

    @property
    def stream(self) -> str:
        return self.id.partition(":")[2]


class Failure(Exception):
    """A phase failed: its context's status code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Halted(Exception):
    """The build is to end now, in this status."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Work:
    """Brings a build to its end. `run` is the thread's whole work."""

    def __init__(self, world: World, build: Build) -> None:
        self._world, self._build = world, build
        self._folder = world.folder / "builds" / build.stream
        self._source, self._state = self._folder / "src", self._folder / "state"
        self._spec = Buildspec({}, {})

    def run(self) -> None:
        world, build = self._world, self._build
        status = FAULT
        for path in (self._source, self._state, self._folder / "bin", self._folder / "home"):
            path.mkdir(parents=True)
        world.account.open_log(build.stream, build.group)
        try:
            for name in BEFORE:
                with self._phase(name):
                    self._check()
            with self._phase("DOWNLOAD_SOURCE"):
                self._download()
            status = self._commands()
            for name in AFTER if status == SUCCEEDED else AFTER[1:]:
                with self._phase(name):
                    pass
        except Failure:
            status = FAILED
        except Halted as halted:
            status = halted.status
        except DockerError as error:  # the engine is gone: a machine that breaks
            self._say(error.message)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            with world.lock:
                now = world.clock.now()
                build.steps.append(Step("COMPLETED", now))
                build.status, build.ended = status, now
            world.notify()

    def _commands(self) -> str:
        """Run the phases' commands: after `build` has failed, `post_build` still runs; after the others, nothing."""
        status = SUCCEEDED
        with self._tools() as variables:
            for name in PHASES:
                try:
                    with self._phase(name.upper()):
                        self._run(name, self._spec.phases[name], variables)
                except Failure:
                    status = FAILED
                    if name != "build":
                        break
        return status

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        world = self._world
        self._check()
        step = Step(name, world.clock.now())
        with world.lock:
            self._build.steps.append(step)
        world.notify()
        status = SUCCEEDED
        try:
            yield
        except Failure as failure:
            status, step.code, step.message = FAILED, failure.code, failure.message[:1024]
            raise
        except Halted as halted:
            status = halted.status
            raise
        finally:
            if name not in BEFORE:
                self._say(f"Phase complete: {name} State: {status}")
                self._say(f"Phase context status code: {step.code} Message: {step.message}")
            with world.lock:
                step.status, step.ended = status, world.clock.now()
            world.notify()

    def _check(self) -> None:
        if self._build.stopping or self._world.closing.is_set():
            raise Halted(STOPPED)
        if self._world.clock.now() >= self._deadline:
            raise Halted(TIMED_OUT)

    @property
    def _deadline(self) -> float:
        return self._build.began + 60 * self._build.timeout

    def _download(self) -> None:
        """The source unpacked, and the buildspec read: the one that was given, or the source's own."""
        source, text = self._build.source, self._build.source.get("buildspec") or ""
        if source["type"] == "S3":
            self._say(f"Source is s3://{source['location']}")
            self._unpack(Place.of(source["location"]))
        if "\n" not in text:
            try:
                text = _inside(self._source, text or "buildspec.yml").read_text()
            except (OSError, ValueError) as error:
                said = f"stat {self._source / (text or 'buildspec.yml')}: no such file or directory"
                raise Failure("YAML_FILE_ERROR", said) from error
        try:
            self._spec = parse(text)
        except SpecError as error:
            raise Failure("YAML_FILE_ERROR", str(error)) from error

    def _unpack(self, place: Place) -> None:
        try:
            archive = zipfile.ZipFile(io.BytesIO(self._world.account.read(place)))
            if sum(one.file_size for one in archive.infolist()) > MAX_UNPACKED:
                raise Failure("CLIENT_ERROR", "the source is too large")
            archive.extractall(self._source)  # keeps what is in it below the folder
        except KeyError as error:
            said = f"NoSuchKey: The specified key does not exist. for primary source and source version {place.key}"
            raise Failure("CLIENT_ERROR", said) from error
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise Failure("CLIENT_ERROR", f"{error} for primary source") from error

    @contextlib.contextmanager
    def _tools(self) -> Iterator[dict[str, str]]:
        """The variables of commands, and in front of their PATH what CodeBuild's own images have: `docker`, at this
        engine, and of `aws` the one command that builds of ours need."""
        engine, build = self._world.engine, self._build
        assert engine is not None, "StartBuild has looked"
        password, _ = engine.registry.login()
        tools = self._folder / "bin"
        (tools / "password").touch(0o600)
        (tools / "password").write_text(password + "\n")
        _program(tools / "aws", _AWS.format(password=shlex.quote(str(tools / "password"))))
        host = engine.docker.host()
        if not build.environment.get("privilegedMode"):
            host = "unix:///var/run/docker.sock.of-privileged-builds-only"
        networks = engine.docker.ask("network", "ls", "--format", "{{.Name}}", doing="docker network ls").split()
        network = "" if "bridge" in networks else "--network host"
        _program(tools / "docker", _DOCKER.format(docker=shlex.join(engine.docker.words()), network=network))
        given = {one["name"]: one["value"] for one in build.environment.get("environmentVariables", [])}
        arn = f"arn:aws:codebuild:{self._world.region}:{NUMBER}:build/{build.id}"
        yield {
            "LANG": "C.UTF-8",
            "TMPDIR": str(self._folder),
            **self._spec.variables,
            **given,
            "PATH": f"{tools}:{Path(sys.executable).parent}:{PATH}",
            "HOME": str(self._folder / "home"),
            "DOCKER_HOST": host,
            "AWS_REGION": self._world.region,
            "AWS_DEFAULT_REGION": self._world.region,
            "AWS_ACCESS_KEY_ID": JOB_KEY,
            "AWS_SECRET_ACCESS_KEY": "simulated",
            "AWS_SESSION_TOKEN": "simulated",
            "AWS_ENDPOINT_URL": self._world.url,
            "CODEBUILD_BUILD_ID": build.id,
            "CODEBUILD_BUILD_ARN": arn,
            "CODEBUILD_BUILD_NUMBER": str(build.number),
            "CODEBUILD_INITIATOR": "simulated",
            "CODEBUILD_SRC_DIR": str(self._source),
            "CODEBUILD_START_TIME": str(int(build.began * 1000)),
        }

    def _run(self, name: str, phase: Phase, variables: Mapping[str, str]) -> None:
        """The phase's commands, each after the other in one shell; and then, in another, its last ones."""
        try:
            self._shell(phase.commands, variables)
        finally:
            self._shell(phase.last, variables)

    def _shell(self, commands: tuple[str, ...], variables: Mapping[str, str]) -> None:
        if not commands:
            return
        (self._state / "at").unlink(missing_ok=True)
        lines = [f"cd {shlex.quote(str(self._source))}"]
        lines += [f"if [ -e {self._quoted(one)} ]; then . {self._quoted(one)}; fi" for one in ("variables", "place")]
        # What a shell leaves is what the next one begins with, however it ends.
        lines.append(f"trap 'export -p > {self._quoted('variables')}; echo cd \"$PWD\" > {self._quoted('place')}' EXIT")
        for number, one in enumerate(commands):
            (self._state / f"command-{number}").write_text(one + "\n")
            lines.append(f"echo {number} > {self._quoted('at')}")
            lines.append(f"echo {shlex.quote(f'[Container] {_stamp()} Running command {one}')}")
            lines.append(f". {self._quoted(f'command-{number}')} || exit")
        (self._state / "script").write_text("\n".join(lines) + "\n")
        code = self._process(variables)
        if code != 0:
            at = int((self._state / "at").read_text() or 0) if (self._state / "at").exists() else 0
            said = f"Error while executing command: {commands[at]}. Reason: exit status {code}"
            raise Failure("COMMAND_EXECUTION_ERROR", said)

    def _quoted(self, name: str) -> str:
        return shlex.quote(str(self._state / name))

    def _process(self, variables: Mapping[str, str]) -> int:
        """Run the script to its end, or until the build is to end. Raises Halted."""
        world, build = self._world, self._build
        process = subprocess.Popen(
            ["/bin/sh", str(self._state / "script")],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None

        def log() -> None:
            assert process.stdout is not None
            pump(process.stdout, self._log)
            build.bell.set()

        reader = threading.Thread(target=log, name="build log", daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                build.bell.clear()
                self._check()
                if reader.is_alive():
                    world.clock.wait(build.bell, self._deadline)
            return process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join()

    def _say(self, line: str) -> None:
        self._log([f"[Container] {_stamp()} {line}"])

    def _log(self, lines: list[str]) -> None:
        self._world.account.log(self._build.stream, lines, self._world.clock.now(), self._build.group)
        self._world.notify()


_AWS = """#!/bin/sh
if [ "$1 $2" = "ecr get-login-password" ]; then exec cat {password}; fi
echo "aws: the simulator has only: aws ecr get-login-password" >&2
exit 252
"""

# Where the engine has no network of its own for builds, they take the computer's.
_DOCKER = """#!/bin/sh
case "$1 $2" in
  "buildx build") shift 2; exec {docker} buildx build {network} "$@";;
  "build "*) shift; exec {docker} build {network} "$@";;
esac
exec {docker} "$@"
"""


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"not in the source: {name[:200]!r}")
    return path


def _stamp() -> str:
    """As CodeBuild writes it."""
    return time.strftime("%Y/%m/%d %H:%M:%S.000000", time.gmtime())
