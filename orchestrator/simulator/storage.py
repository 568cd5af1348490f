"""A real registry on this computer, which keeps what is pushed to the account: Debian's `docker-registry`, or the image
`registry:2` by Docker."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.docker import Docker
from orchestrator.errors import DockerError, SwatchError
from orchestrator.simulator.engine import labels

PROGRAM = "docker-registry"
IMAGE = "registry:2"
START_SECONDS = 30.0
_LEASHED = '"$@" & read -r _; kill -9 $!'
"""Ends the program when the pipe to the shell does: also when who holds it was killed. It has nothing to keep."""


@contextlib.contextmanager
def storage(docker: Docker, folder: Path) -> Iterator[str]:
    """A registry while this lasts, its HOST:PORT on loopback; what it keeps is gone afterwards. Raises SwatchError
    where neither the program nor the image can be had."""
    address = f"127.0.0.1:{_free_port()}"
    begin = _program if shutil.which(PROGRAM) else _container
    with begin(docker, folder, address) as running:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(address):
            if not running() or time.monotonic() > deadline:
                raise SwatchError("The registry for images did not start", hint="Try again")
            time.sleep(0.05)
        yield address


@contextlib.contextmanager
def _program(docker: Docker, folder: Path, address: str) -> Iterator[Callable[[], bool]]:
    kept = folder / "registry"
    configuration = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(kept)}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    file = folder / "registry.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML, too
    process = subprocess.Popen(
        ["/bin/sh", "-c", _LEASHED, "sh", PROGRAM, "serve", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield lambda: process.poll() is None
    finally:
        process.communicate()
        shutil.rmtree(kept, ignore_errors=True)


@contextlib.contextmanager
def _container(docker: Docker, folder: Path, address: str) -> Iterator[Callable[[], bool]]:
    words = ["run", "--detach", "--rm", *labels(folder), "--network", "host"]
    words += ["--env", f"REGISTRY_HTTP_ADDR={address}", "--env", "REGISTRY_STORAGE_DELETE_ENABLED=true", IMAGE]
    try:
        name = docker.ask(*words, doing=f"starting {IMAGE}")
    except DockerError as error:
        raise SwatchError(
            f"A simulated account needs a registry for its images, and none can be had: {error.message}",
            hint=f"Install one (apt-get install {PROGRAM}), or have Docker fetch one: docker pull {IMAGE}",
        ) from error
    try:
        yield lambda: bool(docker.ask("ps", "--quiet", "--no-trunc", "--filter", f"id={name}", doing="docker ps"))
    finally:
        docker.ask("rm", "--force", "--volumes", name, doing=f"removing {IMAGE}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), 1):
            return True
    except OSError:
        return False
