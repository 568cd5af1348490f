"""A container: what all have in common, and that which is a process on this computer, as far as one can be: its own
folder in place of /opt/ml, a clean environment, a process group of its own, and an end that leaves nothing running.
Containers of a Docker are in `engine`.
"""

from __future__ import annotations

import abc
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MARK = "SWATCH_SIMULATED_CONTAINER"
"""A variable whose value tells every process of one container, whatever group it has moved to."""
SCRATCH = "/tmp/swatch"
"""Where jobs of ours work: to be as new in every container as it is on AWS. (The rest of /tmp is this computer's: the
words of a test may name files there.)"""
JOB_KEY = "ASIASIMULATEDJOB0000"
"""The access key of every job; nothing checks its secret."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_LINE = 256 * 1024
"""Bytes of a CloudWatch event (Logs quotas: "Event size"); longer lines are cut."""
LAST_WORDS = 5.0
"""Seconds that the log may stay open when all processes that could be found are gone."""
ROUNDS = 100
"""Looks for what is left of a container: each kills what it finds, and what forks fast needs some."""


def mapped(words: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    """The words with each of the absolute paths, where it begins a word, replaced by a folder of this computer."""
    paths = sorted(folders, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w./~+-])(" + "|".join(map(re.escape, paths)) + r")(?![\w.+-])")
    return [pattern.sub(lambda found: str(folders[found[1]]), word) for word in words]


class Container(abc.ABC):
    """One attempt's machine: make it, fill `ml`, `prepare` it, `start` a command in it, and `close` it. `refused` says
    why it could not be started at all."""

    def __init__(self, folder: Path, checkpoint_path: str | None = None) -> None:
        self.folder, self.ml = folder, folder / "ml"
        self.checkpoint_path = (checkpoint_path or "/opt/ml/checkpoints").rstrip("/")
        inside = self.checkpoint_path.removeprefix("/opt/ml/")
        self.checkpoints = self.ml / inside if inside != self.checkpoint_path else folder / "checkpoints"
        for one in ("input/config", "input/data", "model", "output/data", "output/metrics"):
            (self.ml / one).mkdir(parents=True)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.exit_code: int | None = None
        self.refused = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    @abc.abstractmethod
    def prepare(self) -> None:
        """Have the image here. Raises CarryError for one that cannot be had."""

    @abc.abstractmethod
    def start(
        self,
        entrypoint: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        said: Callable[[list[str]], None],
        ended: Callable[[], None],
    ) -> None:
        """Run the entrypoint (the image's own, if none is given) with the arguments. `said` gets lines as they are
        written, `ended` is called when the first process has ended and all others of the container are gone; then
        `exit_code` is set."""

    @abc.abstractmethod
    def terminate(self) -> None:
        """SIGTERM to the first process, as a container engine does."""

    @abc.abstractmethod
    def kill(self) -> None:
        """SIGKILL to everything."""

    @property
    @abc.abstractmethod
    def pid(self) -> int | None:
        """The first process, as this computer counts them."""

    def close(self) -> None:
        """Kill what runs, and wait until it is gone and its log is written."""
        self.kill()
        for thread in self._threads:
            thread.join(LAST_WORDS)

    @abc.abstractmethod
    def _ended(self, code: int, reader: threading.Thread) -> int:
        """The first process is gone: so is the container. Its exit code, from that of the process that is seen here."""

    def _run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        said: Callable[[list[str]], None],
        ended: Callable[[], None],
        folder: Path | None = None,
    ) -> None:
        """Start the process that is seen here, and wait for its end beside. Raises OSError."""
        self._process = process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the simulator, which ends containers in order
        )
        assert process.stdout is not None
        reader = threading.Thread(target=pump, args=(process.stdout, said), name="log", daemon=True)
        reaper = threading.Thread(target=self._reap, args=(reader, ended), name="reaper", daemon=True)
        self._threads = [reader, reaper]
        for thread in self._threads:
            thread.start()

    def _never(self, code: int, why: str, said: Callable[[list[str]], None], ended: Callable[[], None]) -> None:
        """The first process could not even be started: that is its end."""
        said([why])
        self.exit_code = code
        ended()

    def _reap(self, reader: threading.Thread, ended: Callable[[], None]) -> None:
        assert self._process is not None
        code = self._ended(self._process.wait(), reader)
        reader.join(LAST_WORDS)
        self.exit_code = code
        ended()


class ProcessContainer(Container):
    """A process of this computer; paths in its words lead into the container's folder."""

    def __init__(self, folder: Path, checkpoint_path: str | None = None) -> None:
        super().__init__(folder, checkpoint_path)
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        self._folders = {"/opt/ml": self.ml, SCRATCH: folder / "tmp" / "swatch", self.checkpoint_path: self.checkpoints}
        for path in (folder / "tmp", folder / "root"):
            path.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Nothing: an image has no content."""

    def start(
        self,
        entrypoint: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        said: Callable[[list[str]], None],
        ended: Callable[[], None],
    ) -> None:
        name, _, mark = self._mark.partition("=")
        words = [*(entrypoint or ["train"]), *arguments]
        clean = {
            "PATH": f"{Path(sys.executable).parent}:{PATH}",
            "HOME": str(self.folder / "root"),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            **environment,
            name: mark,
        }
        try:
            self._run(mapped(words, self._folders), clean, said, ended, self.folder / "root")
        except OSError as error:
            code = 126 if isinstance(error, PermissionError) else 127
            self._never(code, f"exec: {words[0]}: {error.strerror}", said, ended)

    def terminate(self) -> None:
        if self._process is not None and self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _ended(self, code: int, reader: threading.Thread) -> int:
        """Without /proc only its own process group is found."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for _ in range(ROUNDS):
            left, sure = _marked(self._mark.encode())
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if sure and not left:
                break
            reader.join(0.01)  # a moment, or less if the log ends
        # A shell's and Docker's way to tell a signal.
        return code if code >= 0 else 128 - code


def _marked(mark: bytes) -> tuple[list[int], bool]:
    """Processes that have the variable in the environment they were started with; and whether those are all: one that
    is just being replaced by another program (exec) shows no environment for a moment, but is no thread of the kernel
    and no zombie, which have no program."""
    found, sure = [], True
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes()
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
            elif not environment and os.readlink(entry / "exe"):
                sure = False
    return found, sure


def pump(stream: IO[bytes], said: Callable[[list[str]], None]) -> None:
    """Pass on whole lines as they come; the last one even without its end."""
    rest = b""
    with stream:
        while data := os.read(stream.fileno(), 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            while len(rest) > MAX_LINE:
                lines.append(rest[:MAX_LINE])
                rest = rest[MAX_LINE:]
            if lines:
                said([_text(line) for line in lines])
    if rest:
        said([_text(rest)])


def _text(line: bytes) -> str:
    return line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r")


def environment(request: Mapping[str, Any], arn: str, region: str, url: str) -> dict[str, str]:
    """The variables of a job's container: what the request says, and what the platform sets. Under network isolation
    there are no credentials, and no endpoint to use them at."""
    given = dict(request.get("Environment", {}))
    named = {
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        "TRAINING_JOB_ARN": arn,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
    if request.get("EnableNetworkIsolation"):
        return {name: value for name, value in given.items() if not name.startswith("AWS_")} | named
    account = {
        "AWS_ACCESS_KEY_ID": JOB_KEY,
        "AWS_SECRET_ACCESS_KEY": "simulated",
        "AWS_SESSION_TOKEN": "simulated",
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",  # nobody is to look for a machine's metadata on a laptop
    }
    return {**account, **given, **named}
