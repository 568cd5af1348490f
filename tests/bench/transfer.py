"""Outputs come home from S3: `swatch sync` against `aws s3 sync`, from one server that answers after 50 ms.

    python -m tests.bench transfer [memory]

Wall and CPU seconds of both programs, in turns; with `memory`, the peak memory of a sync as files grow in number and
size instead. `aws` is installed from the package index into a folder of its own, outside this repository.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator import contract, journal
from orchestrator.job import Final, Job, Task
from orchestrator.store.local import LocalStore

LATENCY = 0.05
RUNS = 3
CHUNK = 40
"""Files that a chunk of the journal names: what an agent writes in a while."""
REPOSITORY = Path(__file__).resolve().parents[2]
AWSCLI = Path(os.environ.get("SWATCH_BENCH_AWSCLI", Path(tempfile.gettempdir()) / "swatch-bench-awscli"))
KIB, MIB = 1 << 10, 1 << 20
LOADS = ((2000, 64 * KIB), (20, 32 * MIB))
GROWTH = ((100, MIB), (2000, MIB), (2, 256 * MIB), (20, 256 * MIB))


MEASURE = """
import os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Run by a small process: the peak of memory that a child is said to have is never below that of who started it."""


class Spent(NamedTuple):
    """Of one run: seconds of wall and CPU, and the peak of memory in MiB."""

    wall: float
    cpu: float
    memory: float


def fill(folder: Path, count: int, size: int) -> dict[str, str]:
    """A bucket with one finished job that made so many files; their digests by path. Files of more than a MiB share
    four contents."""
    store = LocalStore(str(folder / "bench-bucket" / "store"))
    chance = random.Random(count)
    task = Task(name="t", fingerprint="f" * 64, parameters={})
    job = Job(project="p", number=1, user="alice", created=1e9, command="x", tasks=(task,), host="elsewhere")
    store.write(contract.job_key("p", 1), msgspec.json.encode(job))
    output = store.root / contract.output_prefix("p", 1)
    (output / task.prefix).mkdir(parents=True)
    digests: dict[str, str] = {}
    kinds: list[tuple[Path, str]] = []
    writer = journal.Writer(store, "p", 1)
    for number in range(count):
        path = f"{task.prefix}image-{number:05d}.bin"
        if size <= MIB or number < 4:
            content = chance.randbytes(min(size, MIB)) * -(-size // MIB)
            (output / path).write_bytes(content)
            kinds.append((output / path, hashlib.sha256(content).hexdigest()))
        file, digests[path] = kinds[number % len(kinds)] if size > MIB else kinds[-1]
        if file != output / path:
            os.link(file, output / path)
        writer.append(journal.File(1e9 + number, path, size, digests[path]))
        if number % CHUNK == CHUNK - 1:
            writer.flush()
    writer.flush()
    final = Final(state=contract.SUCCESS, ended=2e9, started=1e9, seconds=1.0, tasks={"t": contract.SUCCESS})
    store.write(contract.final_key("p", 1), msgspec.json.encode(final))
    return digests


@contextmanager
def served(folder: Path, latency: float = LATENCY) -> Iterator[dict[str, str]]:
    """The environment of a client of the folder's buckets, while a server runs."""
    words = [sys.executable, "-m", "tests.bench.bucket", str(folder), str(latency)]
    server = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SWATCH_"))},
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "SWATCH_HOME": str(folder / "home-of-swatch"),
            "PYTHONPATH": str(REPOSITORY),
        }
    finally:
        server.terminate()
        server.wait()


def spent(words: list[str], environment: dict[str, str], folder: Path) -> Spent:
    """Run it; it must succeed."""
    ended = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *words], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Spent(*map(float, ended.stdout.split()[-3:]))


def swatch(home: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "orchestrator",
        "sync",
        "p",
        "--store",
        "s3://bench-bucket/store",
        "--into",
        str(home),
    ]


def aws(home: Path) -> list[str]:
    source = f"s3://bench-bucket/store/{contract.output_prefix('p', 1)}"
    return [str(AWSCLI / "bin" / "aws"), "s3", "sync", source, str(home), "--only-show-errors"]


def verified(home: Path, digests: dict[str, str]) -> None:
    """Raises AssertionError unless every file is at home as it was made."""
    for path, digest in digests.items():
        with open(home / path, "rb") as handle:
            assert hashlib.file_digest(handle, "sha256").hexdigest() == digest, path


def has_aws() -> bool:
    """Whether `aws` is there, or could be installed."""
    if not (AWSCLI / "bin" / "aws").exists():
        python = AWSCLI / "bin" / "python"
        for words in (
            [sys.executable, "-m", "venv", str(AWSCLI)],
            [str(python), "-m", "pip", "install", "-q", "awscli"],
        ):
            if subprocess.run(words, capture_output=True, check=False).returncode:
                return False
    return True


def run(arguments: list[str]) -> None:
    """Print the figures."""
    if "memory" in arguments:
        memory()
        return
    rivals = {"swatch sync": swatch, "aws s3 sync": aws}
    if not has_aws():
        print("aws s3 sync is left out: awscli could not be installed")
        del rivals["aws s3 sync"]
    for count, size in LOADS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            digests = fill(folder, count, size)
            best: dict[str, Spent] = {}
            with served(folder) as environment:
                for _ in range(RUNS):
                    for label, words in rivals.items():
                        home = folder / "home"
                        one = spent(words(home), environment, folder)
                        verified(home, digests)
                        shutil.rmtree(home)
                        best[label] = min(best.get(label, one), one)
            print(f"{count:,} files of {size // KIB:,} KiB, {LATENCY * 1000:.0f} ms a request, best of {RUNS}:")
            for label, one in best.items():
                print(f"  {label:<12} {one.wall:6.2f} s wall {one.cpu:6.2f} s CPU {one.memory:5.0f} MiB")
            if len(best) == 2:
                ours, theirs = best.values()
                print(
                    f"  {theirs.wall / ours.wall:.2f} times as fast (aim 1.5), {ours.cpu / theirs.cpu:.2f} of the CPU (aim 1)"
                )


def memory() -> None:
    for count, size in GROWTH:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            digests = fill(folder, count, size)
            with served(folder, 0.0) as environment:
                one = spent(swatch(folder / "home"), environment, folder)
            verified(folder / "home", digests)
            print(
                f"{count:5,} files of {size // MIB:3} MiB: peak {one.memory:5.0f} MiB, {one.wall:6.1f} s wall, {one.cpu:5.1f} s CPU"
            )
