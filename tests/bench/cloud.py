"""Submitting many textures to SageMaker, and watching them: CPU seconds and calls, against the simulator."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from orchestrator.simulator import Simulator
from tests.conftest import REPOSITORY

POLL = """
import sys
from orchestrator import facts, settings
from orchestrator.backends import open_backend
from orchestrator.store import open_store

found = settings.load()
store = open_store(found.store)
backend = open_backend("sagemaker", store, found)
jobs = facts.read_jobs(store, "many", facts.numbers(store, "many"))
backend.look(jobs)
input("first look\\n")
backend._next_look = 0.0  # at once, as if the pause were over
sights = backend.look(jobs)
print(sum(sight.presence.value == "running" for sight in sights))
"""


def run(arguments: Sequence[str] = ()) -> None:
    """Print what a manifest of so many textures (1,000, or the first argument) costs to submit and to look at."""
    count = int(arguments[0]) if arguments else 1000
    for packing in (1, 16):
        with tempfile.TemporaryDirectory() as folder, Simulator(processes=1, quota=2 * count) as aws:
            _case(Path(folder), aws, count, packing)


def _case(folder: Path, aws: Simulator, count: int, packing: int) -> None:
    made = aws.make_account()
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"store": "s3://swatch/bench", "aws": {"role": made.role, "image": made.image}})
    )
    _sources(folder, count)
    (folder / "many.yaml").write_text(
        f"name: many\nbackend: sagemaker\nmachine: ml.g5.xlarge\ntasks_per_job: {packing}\n"
        "defaults: {width: 64, height: 64}\ntextures:\n  - source: sources/*.png\n"
    )
    environment = {**os.environ, **aws.environment(), "SWATCH_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}
    aws.calls.clear()
    began = time.perf_counter()
    submitting = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "submit", "many.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, code, used = os.wait4(submitting.pid, 0)
    submitting.returncode = os.waitstatus_to_exitcode(code)
    assert submitting.returncode == 0
    jobs = len(aws.jobs())
    print(
        f"{count} textures in {jobs} jobs: {time.perf_counter() - began:.1f} s, {used.ru_utime + used.ru_stime:.1f} s CPU "
        f"of the client, {used.ru_maxrss / 1024:.0f} MiB at most"
    )
    _tell(aws.calls, jobs)
    watcher = subprocess.Popen(
        [sys.executable, "-c", POLL],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None and watcher.stdin is not None
    while "first look" not in watcher.stdout.readline():
        pass
    aws.calls.clear()
    watcher.stdin.write("\n")
    watcher.stdin.flush()
    running = watcher.stdout.read().split()[-1]
    watcher.wait()
    print(f"one look at {running} running jobs:")
    _tell(aws.calls, 1)


def _tell(calls: Counter[str], jobs: int) -> None:
    total = sum(calls.values())
    print(f"  {total} calls, {total / jobs:.2f} a job: ", end="")
    print(", ".join(f"{name} {number}" for name, number in sorted(calls.items(), key=lambda one: -one[1])), flush=True)


def _sources(folder: Path, count: int) -> None:
    from PIL import Image

    (folder / "sources").mkdir()
    for number in range(count):
        picture = Image.new("RGB", (64, 64), (number % 256, number // 256, 100))
        picture.putpixel((number % 64, number // 64), (255, 255, 255))
        picture.save(folder / "sources" / f"source{number:04d}.png")
