"""A Docker engine and a registry for tests: of their own where they can be had, and a small base image made from
Debian's packages, so that no public registry is needed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.docker import Docker, DockerError

PACKAGES = [
    "base-files",
    "base-passwd",
    "busybox-static",
    "ca-certificates",
    "gcc-12-base",
    "libbz2-1.0",
    "libc6",
    "libcom-err2",
    "libcrypt1",
    "libdb5.3",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "liblzma5",
    "libncursesw6",
    "libnsl2",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libtinfo6",
    "libtirpc3",
    "libuuid1",
    "media-types",
    "netbase",
    "python3-minimal",
    "python3-pip-whl",
    "python3.11",
    "python3.11-minimal",
    "tzdata",
    "zlib1g",
]
"""What Python needs, with its standard library and pip; and a shell."""
BASE = "swatch-test/base:1"
"""Python 3.11, pip and a shell."""
BARE = "swatch-test/bare:1"
"""A shell and nothing else: no Python."""
START_SECONDS = 60.0


class Missing(Exception):
    """Why there is no engine here, in one line."""


class Daemon(NamedTuple):
    """A running engine, and a registry on loopback that it may push to (`127.0.0.1:port`)."""

    docker: Docker
    environment: dict[str, str]
    registry: str
    folder: Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """An engine and a registry, until the end. Raises Missing."""
    for program in ("dockerd", "docker-registry"):
        if shutil.which(program) is None:
            raise Missing(f"no Docker engine can be started here: {program} is missing")
    if os.geteuid() != 0:
        raise Missing("no Docker engine can be started here: that needs root")
    with contextlib.ExitStack() as stack:
        environment = start(folder, stack)
        registry = _registry(folder, stack)
        docker = Docker(environment)
        _base(docker, folder)
        yield Daemon(docker, environment, registry, folder)


def start(folder: Path, stack: contextlib.ExitStack) -> dict[str, str]:
    """An engine that leaves the computer's network alone."""
    host = f"unix://{folder}/docker.sock"
    # A command line with BuildKit: Debian's own has it, where another that comes first on PATH may lack its plugin.
    environment = {**os.environ, "DOCKER_HOST": host, "SWATCH_DOCKER": "/usr/bin/docker"}
    with open(folder / "dockerd.log", "wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "dockerd.pid"), "--host", host, "--bridge=none", "--ip-forward=false"),
                *("--iptables=false", "--ip6tables=false"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    stack.callback(_end, process)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            Docker(environment).engine()
        except DockerError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (folder / "dockerd.log").read_text(errors="replace").strip().rpartition("\n")[2]
                raise Missing(f"no Docker engine can be started here: {said[:300]}") from error
            time.sleep(0.1)
        else:
            return environment


def _registry(folder: Path, stack: contextlib.ExitStack) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    configuration = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    (folder / "registry.yml").write_text(json.dumps(configuration))  # JSON is YAML, too
    with open(folder / "registry.log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "registry.yml")], stdout=log, stderr=log, start_new_session=True
        )
    stack.callback(_end, process)
    deadline = time.monotonic() + START_SECONDS
    host, _, port = address.partition(":")
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return address
        if process.poll() is not None or time.monotonic() > deadline:
            raise Missing("no registry can be started here")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _base(docker: Docker, folder: Path) -> None:
    """Make the base images, if the engine has them not yet."""
    if docker.image(BASE) and docker.image(BARE):
        return
    root, bare, debs = folder / "root", folder / "bare", folder / "debs"
    for path in (root, bare / "bin", debs):
        path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=debs, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"no base image can be made here: {done.stderr.strip().rpartition(chr(10))[2][:300]}")
    for name in ("bin", "sbin", "lib"):  # before a package makes folders of them
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    (root / "usr" / "lib64").mkdir()
    (root / "lib64").symlink_to("usr/lib64")
    for deb in sorted(debs.glob("*.deb")):
        # As tar, which follows the links above, where `dpkg-deb -x` puts folders in their place.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as unpack:
            subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", str(root)], stdin=unpack.stdout, check=True)
    for name in ("sh", "ls", "cat", "sleep", "env", "mkdir", "rm", "cp", "id", "echo", "touch", "kill", "find", "head"):
        if not (root / "bin" / name).exists():
            (root / "bin" / name).symlink_to("busybox")
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    packages = root / "usr/local/lib/python3.11/dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (wheel,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    shutil.copy2(root / "usr/bin/busybox", bare / "bin/busybox") if (root / "usr/bin/busybox").exists() else None
    (bare / "bin/sh").symlink_to("busybox")
    for tree, name in ((root, BASE), (bare, BARE)):
        packed = folder / "base.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(tree, ".")
        docker.ask("import", "--platform", "linux/amd64", str(packed), name, doing=f"importing {name}")
        packed.unlink()
    shutil.rmtree(debs)
