"""Containers of a real Docker: a pushed image, run as SageMaker runs it ("How Amazon SageMaker Runs Your Training
Image"): /opt/ml's folders mounted, the request's entrypoint or the image's own, the argument `train`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator import leash
from orchestrator.docker import Docker
from orchestrator.errors import DockerError, NoDocker
from orchestrator.simulator.cargo import CarryError
from orchestrator.simulator.container import Container
from orchestrator.simulator.registry import Registry

LABEL = "dev.swatch.simulator"
"""On every container; its value is the folder of the simulator that it belongs to."""
COMPUTER_LABEL = "dev.swatch.computer"
"""On every container, too: the computer that the folder is on. An engine may serve several."""
LOCK = "alive.lock"
"""A file in that folder, locked while the simulator lives: the system releases it even after kill -9."""
ARCHITECTURE = "amd64"
"""Of the machines: an image for another does not run on them, even where this computer could run it."""
CANNOT_PULL = "Cannot pull algorithm container. Either the image does not exist or its permissions are incorrect."
"""SageMaker's own sentence, as it is publicly known."""
PATIENCE = 60.0
"""Seconds in which an engine must have removed a container."""


_HAND_OVER = (
    "for one in chmod 'busybox chmod'; do $one -R a+rwX /handed 2>/dev/null && exit; done; exec python3 -c 'import os; "
    '[os.chmod(os.path.join(at, name), 0o777) for at, folders, files in os.walk("/handed") for name in folders + files '
    "if not os.path.islink(os.path.join(at, name))]'"
)


class Engine:
    """The Docker that runs what was pushed to the account's registry. Raises NoDocker when it does not answer."""

    def __init__(self, docker: Docker, registry: Registry, folder: Path) -> None:
        docker.engine()
        self.docker, self.registry, self._folder = docker, registry, folder
        self._alive = leash.lock(folder / LOCK)
        sweep(docker)

    def place(self, uri: str) -> str | None:
        """Where the image is pulled from; None for one that was not pushed to this account."""
        return self.registry.place(uri)

    def container(self, image: str, folder: Path, checkpoint_path: str | None, isolated: bool) -> Container:
        return DockerContainer(self.docker, image, folder, checkpoint_path, isolated, self._folder)

    def close(self) -> None:
        """Take away the names of this account's images, which lead nowhere from now on; an image that has another
        name, too, stays. Containers have been removed by who ran them."""
        format = "{{.Repository}} {{.Tag}} {{.Digest}}"
        listed = self.docker.ask("image", "ls", "--digests", "--format", format, doing="listing images")
        for line in listed.splitlines():
            name, tag, digest = line.split(" ")
            if name.startswith(self.registry.prefixes):
                whole = f"{name}:{tag}" if tag != "<none>" else f"{name}@{digest}"
                with contextlib.suppress(DockerError):  # a container of somebody else's uses it
                    self.docker.ask("image", "rm", whole, doing=f"removing {whole}")
        if self._alive is not None:
            self._alive.close()


def labels(folder: Path) -> list[str]:
    """The options that mark a container as one of the simulator with that folder."""
    return ["--label", f"{LABEL}={folder}", "--label", f"{COMPUTER_LABEL}={socket.gethostname()}"]


def sweep(docker: Docker) -> None:
    """Remove containers whose simulator, one of this computer, is no more. Raises DockerError."""
    ours = ("--filter", f"label={LABEL}", "--filter", f"label={COMPUTER_LABEL}={socket.gethostname()}")
    format = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    listed = docker.ask("ps", "--all", *ours, "--format", format, doing="listing containers")
    for line in listed.splitlines():
        name, _, folder = line.partition(" ")
        if not _alive(Path(folder, LOCK)):
            with contextlib.suppress(DockerError):  # another simulator that begins now removes it
                docker.ask("rm", "--force", name, doing="removing a container")


def _alive(lock: Path) -> bool:
    if not lock.is_file():
        return False
    free = leash.lock(lock)
    if free is not None:
        free.close()
    return free is None


class DockerContainer(Container):
    """A container of Docker, with the computer's network: that is how it reaches the simulated account."""

    def __init__(
        self, docker: Docker, image: str, folder: Path, checkpoint_path: str | None, isolated: bool, owner: Path
    ) -> None:
        super().__init__(folder, checkpoint_path)
        self._docker, self._image, self._isolated, self._owner = docker, image, isolated, owner
        self._id = ""
        self._foreign = ""

    def prepare(self) -> None:
        try:
            self._docker.ask("pull", "--quiet", self._image, doing=f"pulling {self._image}")
            found = self._docker.image(self._image)
        except NoDocker:
            raise
        except DockerError as error:
            raise CarryError(CANNOT_PULL) from error
        if found is None:
            raise CarryError(CANNOT_PULL)
        self._foreign = "" if found.architecture == ARCHITECTURE else found.architecture

    def start(
        self,
        entrypoint: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        said: Callable[[list[str]], None],
        ended: Callable[[], None],
    ) -> None:
        if self._foreign:  # as the system says it, in the log; SageMaker's own reason says nothing of it
            self._never(1, f"exec {entrypoint[0] if entrypoint else 'train'}: exec format error", said, ended)
            return
        words = ["create", *labels(self._owner), "--network", "none" if self._isolated else "host"]
        for inside, access in (("input", ":ro"), ("model", ""), ("output", "")):
            words += ["--volume", f"{self.ml / inside}:/opt/ml/{inside}{access}"]
        words += ["--volume", f"{self.checkpoints}:{self.checkpoint_path}"]
        if self._docker.engine().gpus:
            words += ["--gpus", "all"]
        # Values are in no command line, but for those of several lines, which the file cannot hold.
        plain = {name: value for name, value in environment.items() if not re.search(r"[\r\n]", value)}
        given = self.folder / "environment"
        given.touch(0o600)
        given.write_text("".join(f"{name}={value}\n" for name, value in plain.items()), encoding="utf-8")
        words += ["--env-file", str(given)]
        for name in environment.keys() - plain.keys():
            words += ["--env", f"{name}={environment[name]}"]
        if entrypoint:
            words += ["--entrypoint", entrypoint[0]]
        words += [self._image, *entrypoint[1:], *(arguments or ([] if entrypoint else ["train"]))]
        try:
            self._id = self._docker.ask(*words, doing=f"creating a container of {self._image}")
            self._run(self._docker.words("start", "--attach", self._id), self._docker.environment, said, ended)
        except NoDocker:
            raise
        except DockerError as error:
            self.refused = error.message
            self._never(128, error.said.strip() or error.message, said, ended)

    def terminate(self) -> None:
        self._signal("TERM")

    def kill(self) -> None:
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        if self._id and self.exit_code is None:
            with contextlib.suppress(DockerError):  # it has just ended
                self._docker.ask("kill", "--signal", name, self._id, doing="ending a container")

    @property
    def pid(self) -> int | None:
        if not self._id or self.exit_code is not None:
            return None
        try:
            said = self._docker.ask("inspect", "--format", "{{.State.Pid}}", self._id, doing="looking at a container")
        except DockerError:  # removed meanwhile
            return None
        return int(said) or None

    def close(self) -> None:
        super().close()
        if self._id:
            with contextlib.suppress(DockerError):
                self._docker.ask("rm", "--force", self._id, doing="removing a container")
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ended(self, code: int, reader: threading.Thread) -> int:
        try:
            said = self._docker.ask("inspect", "--format", "{{json .State}}", self._id, doing="looking at a container")
            state = json.loads(said)
            code, self.refused = state["ExitCode"], state["Error"]
            self._hand_over()
        except DockerError as error:  # the engine has ended, or somebody removed the container
            self.refused, code = error.message, 137
        return code

    def _hand_over(self) -> None:
        """What the container made belongs to whom it ran as; this process must be able to read and remove it."""
        if os.geteuid() == 0:
            return
        words = ["run", "--rm", "--network", "none", "--user", "0", "--volume", f"{self.folder}:/handed"]
        words += ["--entrypoint", "/bin/sh", self._image, "-c", _HAND_OVER]
        with contextlib.suppress(DockerError):  # an image that has none of these: what cannot be read fails the job
            self._docker.ask(*words, doing="handing files over")
