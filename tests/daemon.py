"""A Docker engine and a registry for tests: of their own where they can be had, and a small base image made from
Debian's packages, so that no public registry is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.docker import Docker
from orchestrator.errors import DockerError, SwatchError
from orchestrator.simulator.storage import storage

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
    """An engine and a registry, until the end: an engine of the tests' own, or with SWATCH_TEST_DOCKER=1 the one that
    `docker` finds, whose base image then comes from its public registry. Raises Missing."""
    with contextlib.ExitStack() as stack:
        if os.environ.get("SWATCH_TEST_DOCKER") == "1":
            environment = {"SWATCH_DOCKER": "docker", **os.environ}
            try:
                Docker(environment).engine()
                environment["DOCKER_HOST"] = Docker(environment).host()
            except DockerError as error:
                raise Missing(f"SWATCH_TEST_DOCKER=1, and there is no engine: {error.message}") from error
        else:
            environment = start(folder, stack)
        docker = Docker(environment)
        try:
            registry = stack.enter_context(storage(docker, folder))
        except SwatchError as error:
            raise Missing(f"no registry can be started here: {error.message}") from error
        if os.environ.get("SWATCH_TEST_DOCKER") == "1":
            _pulled(docker)
        else:
            _base(docker, folder)
        yield Daemon(docker, environment, registry, folder)


def start(folder: Path, stack: contextlib.ExitStack, further: Mapping[str, str] | None = None) -> dict[str, str]:
    """An engine that leaves the computer's network alone, perhaps with further variables; what a client of it needs.
    Raises Missing."""
    if shutil.which("dockerd") is None:
        raise Missing("no Docker engine can be started here: dockerd is missing")
    if os.geteuid() != 0:
        raise Missing("no Docker engine can be started here: that needs root")
    host = f"unix://{folder}/docker.sock"
    environment = {**os.environ, "DOCKER_HOST": host}
    with open(folder / "dockerd.log", "wb") as log:
        process = subprocess.Popen(
            [
                # It ends with this process, even if that is killed.
                *(("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()),
                *("dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "dockerd.pid"), "--host", host, "--bridge=none", "--ip-forward=false"),
                *("--iptables=false", "--ip6tables=false"),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(further or {})},
            start_new_session=True,
        )
    # An engine leaves this mount behind, and no folder with one can be removed.
    stack.callback(subprocess.run, ["umount", "--lazy", str(folder / "exec/netns/default")], capture_output=True)
    stack.callback(_end, process)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            Docker(environment).engine()
        except DockerError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (folder / "dockerd.log").read_text(errors="replace").strip().rpartition("\n")[2]
                raise Missing(f"no Docker engine can be started here: {(said or error.message)[:300]}") from error
            time.sleep(0.1)
        else:
            break
    # A command line with BuildKit: Debian's own has it, where another that comes first on PATH may lack its plugin.
    programs = [{**environment, "SWATCH_DOCKER": one} for one in ("docker", "/usr/bin/docker")]
    return next((one for one in programs if shutil.which(one["SWATCH_DOCKER"]) and Docker(one).builder()), environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pulled(docker: Docker) -> None:
    """The base images from where everybody has them."""
    for name, source in ((BASE, "python:3.12-slim"), (BARE, "busybox:stable")):
        if docker.image(name):
            continue
        try:
            docker.ask("pull", "--quiet", "--platform", "linux/amd64", source, doing=f"pulling {source}")
            docker.ask("tag", source, name, doing=f"naming {name}")
        except DockerError as error:
            raise Missing(f"{source} cannot be had: {error.message}") from error


def _base(docker: Docker, folder: Path) -> None:
    """Make the base images, if the engine has them not yet."""
    if docker.image(BASE) and docker.image(BARE):
        return
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise Missing(f"no base image can be made here: {program} is missing")
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
    shutil.copy2(root / "usr/bin/busybox", bare / "bin/busybox")
    (bare / "bin/sh").symlink_to("busybox")
    for tree, name in ((root, BASE), (bare, BARE)):
        packed = folder / "base.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(tree, ".")
        docker.ask("import", "--platform", "linux/amd64", str(packed), name, doing=f"importing {name}")
        packed.unlink()
    shutil.rmtree(debs)
