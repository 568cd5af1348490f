"""Images: what they weigh, what a build and a push cost, and what a container adds to a job.

Figures are of the tests' own small base (Python and pip); TensorFlow's adds its gigabytes to the first build and push.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from orchestrator.cargo import image
from orchestrator.docker import Docker
from orchestrator.registry import Registry
from tests import daemon
from tests.daemon import BASE, Daemon

RUNS = 7


def run(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name, "daemon")
        folder.mkdir()
        try:
            started = stack.enter_context(daemon.running(folder))
        except daemon.Missing as missing:
            sys.exit(str(missing))
        print(f"Docker {started.docker.engine().version}, base {started.docker.image(BASE).size / 1e6:.0f} MB")
        _build(started)
        _layers(started.docker)
        _push(started)
        _jobs(started, Path(name))


def _timed(doing: Callable[[], object]) -> float:
    began = time.perf_counter()
    doing()
    return time.perf_counter() - began


def _nobody(line: str) -> None:
    return


def _build(started: Daemon) -> None:
    """Seconds of a build with nothing cached, of one that Docker has in its cache, and of the look that finds it."""
    docker, wanted = started.docker, image.context(BASE)

    def build() -> object:
        return image.build(docker, wanted, _nobody, "host")

    cold = _timed(build)
    docker.ask("image", "rm", wanted.name, doing="removing it")
    cached = _timed(build)
    there = statistics.median(_timed(lambda: (image.context(BASE), build())) for _ in range(RUNS))
    print(f"build        cold {cold:6.2f} s, from Docker's cache {cached:.2f} s, unchanged {there:.2f} s")


def _layers(docker: Docker) -> None:
    """Megabytes of each layer that is ours, the last first."""
    listed = docker.ask("history", "--no-trunc", "--format", "{{json .}}", image.context(BASE).name, doing="history")
    for line in listed.splitlines():
        one = json.loads(line)
        if one["Size"] != "0B" and "COPY" in one["CreatedBy"]:
            print(f"layer        {one['Size']:>8}  {one['CreatedBy'].partition(' #')[0][:60]}")


def _push(started: Daemon) -> None:
    registry = Registry(started.registry, "swatch", "us-east-1")
    name = image.context(BASE).name
    target = f"{registry.host}/{registry.repository}"

    def pushed() -> None:
        started.docker.ask("tag", name, f"{target}:1", doing="naming it")
        started.docker.follow("push", f"{target}:1", doing="pushing", tell=_nobody)

    first = _timed(pushed)
    again = statistics.median(_timed(pushed) for _ in range(RUNS))
    print(
        f"push         first {first:6.2f} s, unchanged by Docker {again:.2f} s (Swatch asks for the tag first, and pushes nothing)"
    )


def _jobs(started: Daemon, folder: Path) -> None:
    """Seconds from the start of a container or process to its first line, bare and as a job."""
    docker, name = started.docker, image.context(BASE).name

    def bare() -> object:
        return docker.ask("run", "--rm", "--network", "none", "--entrypoint", "echo", name, "hello", doing="echo")

    print(f"docker run   {statistics.median(_timed(bare) for _ in range(RUNS)):6.2f} s for `echo`, without Swatch")
    code = folder / "code"
    code.mkdir()
    base = {"SWATCH_HOME": str(folder / "home"), "SWATCH_USER": "bench"}
    environment = {**os.environ, **started.environment, **base}
    (folder / "home").mkdir()
    (folder / "home" / "config.yaml").write_text(f"docker: {{base: '{BASE}', network: host}}\n")
    swatch = [sys.executable, "-m", "orchestrator"]

    def called(*words: str) -> str:
        done = subprocess.run([*swatch, *words], cwd=code, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout

    called("init", "bench")
    medians = []
    for backend in ("local", "docker"):
        first, whole = [], []
        for _ in range(RUNS):
            began = time.time()
            out = called("run", "--backend", backend, "date +%s.%N || date +%s", "--json")
            job = json.loads(out)["jobs"][0]["name"]
            events = [json.loads(line) for line in called("logs", job, "-f", "--json").splitlines()]
            first.append(next(one["time"] for one in events if one["kind"] == "log" and not one.get("note")) - began)
            started_at = next(one["time"] for one in events if one.get("state") == "starting")
            whole.append(events[-1]["time"] - started_at)
        told = f"{statistics.median(first):6.2f} s (best {min(first):.2f}) from `swatch run` to the first line"
        print(f"job {backend:8} {told}; the agent itself {statistics.median(whole):.2f} s")
        medians.append(statistics.median(first))
    print(f"docker / local {medians[1] / medians[0]:4.1f} to the first line")
