"""One job's agent in a container of its own, for the local queue.

What the container sees of this computer, and nothing else:

    /.swatch/work      the job's folder, in it HOME
    /.swatch/store     the store, where that is a folder; what of it the job mounts is read-only there, too
    /.swatch/cache     packages that earlier jobs in containers required
    /.swatch/agent.pyz, /.swatch/secrets                    read-only, as is all data
    /floyd/home /output /input /floyd/input /<mount>        the contract's folders

They are mounts, so they are there whatever the image has in their places, and data is read-only even to root. The
container's name follows from store and job: what outlived its runner is found by it. It runs as the person who started
it (in a rootless engine that is root), without any capability.

`docker wait` is the process that stands for the container in the queue: it holds the locks of slot and job, as an agent
does that is a process here.
"""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import msgspec

from job_image import shelf
from orchestrator import aws, contract, decoder, images, machines
from orchestrator import docker as engines
from orchestrator.backends import entrypoint
from orchestrator.backends.local import Entry, Layout
from orchestrator.cargo import agent, image, sdk
from orchestrator.complaint import explained
from orchestrator.docker import Docker
from orchestrator.errors import DockerError
from orchestrator.job import Job
from orchestrator.store import Store
from orchestrator.store.local import LocalStore

ROOT = "/.swatch"
"""Where Swatch's own files are: no mount of a job can be called so."""
LABEL, STORE_LABEL = "dev.swatch.job", "dev.swatch.store"
DIGEST_LABEL = "dev.swatch.digest"
"""On Swatch's own image, by its Dockerfile, and on what builds on it."""
USER = "swatch"
"""What a person is called in the container."""
SHARED_MEMORY = "2g"
"""Of /dev/shm at most: the loaders of PyTorch pass their batches through it, and Docker's 64 MB end them."""
SPARE = 30
"""Seconds that the engine waits beyond the agent's own grace before it kills."""
LAST_LINES = 50


class Bind(NamedTuple):
    """A file or folder of this computer in the container."""

    source: Path
    target: str
    writable: bool = False

    @property
    def word(self) -> str:
        """The value of `--mount`: fields of a line of CSV (docker run reference, "--mount")."""
        fields = ["type=bind", f"source={self.source}", f"target={self.target}"]
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields if self.writable else [*fields, "readonly"])
        return line.getvalue()


class Plan(NamedTuple):
    """A container to be: what `docker create` is told. `environment` are names, of which the values come from the
    environment of that command."""

    name: str
    image: str
    labels: Mapping[str, str]
    user: str | None
    binds: Sequence[Bind]
    environment: Sequence[str]
    home: str
    network: str | None
    gpus: bool
    grace: float
    words: Sequence[str]

    def creation(self) -> list[str]:
        """The words of `docker create`. Pure."""
        options = ["create", "--name", self.name, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        options += ["--shm-size", SHARED_MEMORY, "--stop-timeout", str(int(self.grace) + SPARE), "--workdir", "/"]
        options += ["--pull", "never"] if self.image.startswith(f"{image.NAME}:") else []
        options += [word for name, value in self.labels.items() for word in ("--label", f"{name}={value}")]
        options += [word for bind in self.binds for word in ("--mount", bind.word)]
        options += [word for name in self.environment for word in ("--env", name)]
        options += ["--env", f"HOME={self.home}"]
        if self.user:  # by number, which the image need not know: programs ask for the name
            options += ["--user", self.user, "--env", f"USER={USER}", "--env", f"LOGNAME={USER}"]
        options += ["--network", self.network] if self.network else []
        options += ["--gpus", "all"] if self.gpus else []
        program, *rest = self.words
        return [*options, "--entrypoint", program, "--", self.image, *rest]


def name(label: str) -> str:
    """The container of a job, by what the queue calls it."""
    return f"swatch-{label}"


def running(docker: Docker, container: str) -> bool:
    """Whether it runs. Raises DockerError."""
    return bool(_ids(docker, container, "--filter", "status=running"))


def run(layout: Layout, entry: Entry, store: Store, work: Path, held: Sequence[int], log: IO[bytes]) -> int:
    """Run the agent on the job to its end; its exit code, minus the signal's number if one killed it. What it wrote
    goes to `log`. Raises DockerError where the agent cannot be started, SwatchError, OSError."""
    docker = Docker()
    docker.engine()
    job = decoder.from_json(store.read(contract.job_key(entry.project, entry.number)), Job)
    container = name(layout.label(entry))
    remove(docker, container)
    wanted = job.image
    if wanted is None:
        raise DockerError(f"{job.short} names no image to run in", hint=f"swatch restart {job.short}")
    values = _environment(store)
    plan = planned(docker, layout, entry, store, work, job, wanted, values)
    Docker({**os.environ, **values}).ask(*plan.creation(), doing=f"starting {job.short} in {wanted}")
    try:
        docker.ask("start", container, doing=f"starting {job.short} in {wanted}")
        code = _waited(docker, container, held)
        said = _said(docker, container)
        log.write(said)
        log.flush()
        if problem := _refused(wanted, code, said.decode("utf-8", "replace")):
            raise problem
        return code
    finally:
        try:
            remove(docker, container)
        except DockerError as error:  # the next attempt removes it
            print(f"{job.short}: {error.message}", file=sys.stderr, flush=True)


def planned(
    docker: Docker,
    layout: Layout,
    entry: Entry,
    store: Store,
    work: Path,
    job: Job,
    wanted: str,
    values: Mapping[str, str],
) -> Plan:
    """The container for a job. Makes its folders, and has its data on this computer. Raises SwatchError, OSError."""
    engine = docker.engine()
    binds, place = _binds(layout, entry, store, work, job)
    words = ["--store", place, "--project", job.project, "--number", str(job.number), "--work", f"{ROOT}/work"]
    words += ["--cache", f"{ROOT}/cache", "--mounted"]
    if not isinstance(store, LocalStore) and not _has_boto3(docker, wanted):
        packed = sdk.kept(layout.cache)
        binds.append(Bind(packed, f"{ROOT}/{packed.name}"))
        words += ["--boto3", f"{ROOT}/{packed.name}"]
    secrets = layout.secrets(entry)
    if secrets.exists():
        binds.append(Bind(secrets, f"{ROOT}/secrets"))
        words += ["--secrets", f"{ROOT}/secrets"]
    kind = machines.known(machines.expand([job.machine])[0])
    return Plan(
        name=name(layout.label(entry)),
        image=wanted,
        labels={LABEL: job.name, STORE_LABEL: store.url},
        user=None if engine.rootless else f"{os.getuid()}:{os.getgid()}",
        binds=binds,
        environment=sorted(values),
        home=f"{ROOT}/work/home",
        network=_network(docker, values),
        gpus=engine.gpus and kind is not None and kind.gpus > 0,
        grace=float(os.environ.get("SWATCH_STOP_GRACE", contract.STOP_GRACE)),
        words=entrypoint.words(f"{ROOT}/agent.pyz", words),
    )


def shell(label: str, terminal: bool) -> list[str]:
    """The words behind `docker` that open a shell beside the command of a job. Pure."""
    options = ["exec", "--interactive", *(["--tty", "--env", "TERM"] if terminal else [])]
    return [*options, name(label), *entrypoint.words(f"{ROOT}/agent.pyz", ["shell", f"{ROOT}/work"])]


def remove(docker: Docker, container: str) -> None:
    """Remove a container, whatever it does; nothing if there is none. Raises DockerError."""
    if _ids(docker, container, "--all"):
        try:
            docker.ask("rm", "--force", container, doing=f"removing the container {container}")
        except DockerError:
            if _ids(docker, container, "--all"):
                raise


def _ids(docker: Docker, container: str, *more: str) -> list[str]:
    exactly = f"name=^/?{re.escape(container)}$"
    words = ("ps", "--quiet", "--filter", exactly, *more)
    return docker.ask(*words, doing=f"looking for {container}", seconds=engines.PROBE_SECONDS).split()


def _binds(layout: Layout, entry: Entry, store: Store, work: Path, job: Job) -> tuple[list[Bind], str]:
    """What the container sees of this computer, and what the store is called there."""
    cache, above = layout.cache / "containers", work / "mounts"
    binds = [
        Bind(work, f"{ROOT}/work", writable=True),
        Bind(cache, f"{ROOT}/cache", writable=True),
        Bind(agent.kept(layout.cache / "agent"), f"{ROOT}/agent.pyz"),
        Bind(work / "code", "/floyd/home", writable=True),
        Bind(work / "output", "/output", writable=True),
        Bind(above, "/floyd/input"),
    ]
    if all(data.mount != "input" for data in job.data):
        binds.append(Bind(work / "input", "/input", writable=True))
    near = isinstance(store, LocalStore)
    place = f"{ROOT}/store" if near else store.url
    if near:
        binds.append(Bind(Path(store.url), place, writable=True))
    for bind in binds:
        if bind.writable:
            bind.source.mkdir(parents=True, exist_ok=True)
    for one in ("home", "mounts"):
        (work / one).mkdir(exist_ok=True)
    for data in job.data:
        folder = shelf.found(store, msgspec.to_builtins(data), layout.cache / "data")
        (above / data.mount).mkdir(exist_ok=True)  # or the engine makes it, as root
        binds += [Bind(folder, f"/{data.mount}"), Bind(folder, f"/floyd/input/{data.mount}")]
        if near:
            binds.append(Bind(folder, f"{place}/{data.prefix.rstrip('/')}"))
    return binds, place


def _has_boto3(docker: Docker, wanted: str) -> bool:
    """Whether the image is known to have AWS' SDK: AWS' own, and those that are or build on Swatch's."""
    facts = docker.image(wanted)
    return images.of_aws(wanted) or (facts is not None and DIGEST_LABEL in facts.labels)


def _environment(store: Store) -> dict[str, str]:
    """Variables of this computer that the agent needs there: the way to AWS where the store is on S3."""
    values = {name: os.environ[name] for name in ("SWATCH_STOP_GRACE",) if name in os.environ}
    return values if isinstance(store, LocalStore) else {**values, **aws.variables()}


def _network(docker: Docker, values: Mapping[str, str]) -> str | None:
    """The network of jobs: Docker's own bridge, but this computer's where the engine has no bridge, or where the way to
    AWS leads to this computer itself (`swatch simulate`), which a bridge hides."""
    hosts = {urlsplit(value).hostname for name, value in values.items() if name.startswith("AWS_ENDPOINT_URL")}
    if hosts & {"localhost", "127.0.0.1", "::1"}:
        return "host"
    listed = docker.ask("network", "ls", "--format", "{{.Name}}", doing="docker network ls").split()
    return None if "bridge" in listed else "host"


def _waited(docker: Docker, container: str, held: Sequence[int]) -> int:
    """The exit code of a container, when it has ended. Whatever ends the program that waits, the container goes on."""
    while True:
        waiting = subprocess.Popen(
            docker.words("wait", container),
            env=dict(docker.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=list(held),
        )
        out, err = waiting.communicate()
        if waiting.returncode == 0:
            code = int(out)
            return code if code <= 128 else 128 - code
        if waiting.returncode > 0:  # somebody has removed it, or the engine has ended
            print(err.decode("utf-8", "replace").strip(), file=sys.stderr, flush=True)
            return -signal.SIGKILL


def _said(docker: Docker, container: str) -> bytes:
    words = docker.words("logs", "--tail", str(LAST_LINES), container)
    done = subprocess.run(words, env=dict(docker.environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout if done.returncode == 0 else b""


def _refused(wanted: str, code: int, said: str) -> DockerError | None:
    """Why the image could not even start the agent; None if it did. Pure."""
    if code == entrypoint.EXIT_NO_PYTHON and entrypoint.NO_PYTHON in said:
        whose = entrypoint.NO_PYTHON.replace("the image", f"The image {wanted}", 1)
        return DockerError(whose, hint=entrypoint.MEND, said=said)
    if code and "exec format error" in said:
        return explained(f"starting {wanted}", said)
    return None
