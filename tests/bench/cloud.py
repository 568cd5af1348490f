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

import msgspec
import yaml

from orchestrator import contract
from orchestrator.job import Final, Job, Task
from orchestrator.launch import Launch
from orchestrator.simulator import Simulator
from orchestrator.store import Store, crowd
from orchestrator.store.s3 import S3Store
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
    with tempfile.TemporaryDirectory() as folder, Simulator() as aws:
        _status(Path(folder), aws, count)


def _case(folder: Path, aws: Simulator, count: int, packing: int) -> None:
    environment = _computer(folder, aws)
    _sources(folder, count)
    (folder / "many.yaml").write_text(
        f"name: many\nbackend: sagemaker\nmachine: ml.g5.xlarge\ntasks_per_job: {packing}\n"
        "defaults: {width: 64, height: 64}\ntextures:\n  - source: sources/*.png\n"
    )
    aws.calls.clear()
    used = _timed([sys.executable, "-m", "orchestrator", "submit", "many.yaml"], folder, environment)
    jobs = len(aws.jobs())
    print(f"{count} textures in {jobs} jobs: {used}")
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


def _computer(folder: Path, aws: Simulator) -> dict[str, str]:
    """The environment of a computer that is set up for the account."""
    made = aws.make_account()
    said = {"store": "s3://swatch/bench", "aws": {"role": made.role}}
    (folder / "config.yaml").write_text(yaml.safe_dump(said))
    return {**os.environ, **aws.environment(), "SWATCH_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}


def _status(folder: Path, aws: Simulator, count: int) -> None:
    """A status of jobs that have ended, on a computer that never saw them, and again."""
    environment = _computer(folder, aws)
    os.environ.update(aws.environment())
    store = S3Store("s3://swatch/bench")
    store.create("store.json", b'{"schema": 1, "id": "%s"}' % (b"0" * 32))
    list(crowd.each(lambda number: _ended(store, number), range(1, count + 1), store.width))
    for time_ in ("first", "second"):
        aws.calls.clear()
        used = _timed([sys.executable, "-m", "orchestrator", "status", "many"], folder, environment)
        print(f"status of {count} jobs, the {time_} time: {used}")
        _tell(aws.calls, count)


def _ended(store: Store, number: int) -> None:
    task = Task(name=f"t{number}", fingerprint=f"{number:064d}")
    job = Job(
        project="many",
        number=number,
        user="alice",
        created=1e9 + number,
        command="x",
        tasks=(task,),
        backend="sagemaker",
        machine="ml.g5.xlarge",
    )
    final = Final(state=contract.SUCCESS, ended=2e9, started=1e9, seconds=9.5, tasks={task.name: contract.SUCCESS})
    bill = Launch(
        project="many", number=number, launch=1, name="x", status="Completed", machine="ml.g5.xlarge", usd=0.02
    )
    store.write(contract.job_key("many", number), msgspec.json.encode(job))
    store.write(contract.final_key("many", number), msgspec.json.encode(final))
    store.write(contract.launch_key("many", number, 1, False), msgspec.json.encode(bill))


def _timed(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a program; what it took."""
    began = time.perf_counter()
    program = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(code)
    assert program.returncode == 0
    seconds, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
    return f"{seconds:.1f} s, {cpu:.1f} s CPU of the client, {used.ru_maxrss / 1024:.0f} MiB at most"


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
