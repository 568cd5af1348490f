"""CPU time of the command line: help, a status of 1,000 jobs, a plan of 1,000 textures, an unchanged submit."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from orchestrator import contract
from orchestrator.backends.local import host_name
from orchestrator.job import Final, Job, Task
from orchestrator.store.local import LocalStore

RUNS = 5
JOBS = 1000
TEXTURES = 1000


def cpu(words: list[str], folder: Path, environment: dict[str, str]) -> float:
    """The least CPU milliseconds of several runs; the command must succeed."""
    least = float("inf")
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return least * 1000


def fill(store: LocalStore, host: str) -> None:
    """A store with many finished jobs, and one that waits."""
    for number in range(1, JOBS + 1):
        tasks = tuple(
            Task(name=f"t{number}-{n}", fingerprint=f"{number:060d}{n:04d}", parameters={"width": 256, "height": 256})
            for n in range(4)
        )
        job = Job(project="big", number=number, user="alice", created=1e9 + number, command="x", tasks=tasks, host=host)
        final = Final(
            state=contract.SUCCESS, ended=1e9, started=1e9, seconds=9.5, tasks={t.name: "success" for t in tasks}
        )
        store.write(contract.job_key("big", number), msgspec.json.encode(job))
        if number < JOBS:
            store.write(contract.final_key("big", number), msgspec.json.encode(final))


def manifest(folder: Path) -> None:
    """One of many textures, each with a source file of its own."""
    from PIL import Image

    (folder / "sources").mkdir()
    lines = ["name: many", "textures:"]
    for number in range(TEXTURES):
        image = Image.new("RGB", (64, 64), (number % 256, number // 256, 7))
        image.save(folder / "sources" / f"s{number}.png")
        lines += [f"  - source: sources/s{number}.png", f"    seed: {number}"]
    (folder / "many.yaml").write_text("\n".join(lines) + "\n")


def run(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "home"
        environment = {**os.environ, "SWATCH_HOME": str(home)}
        environment.pop("SWATCH_STORE", None)
        store = LocalStore(str(home / "store"))
        fill(store, host_name(home))
        manifest(folder)
        (folder / "small.yaml").write_text("name: small\ncommand: 'true'\ncode: sources\n")
        swatch = [str(Path(sys.executable).with_name("swatch"))]
        subprocess.run(
            [*swatch, "submit", "small.yaml", "--watch"], cwd=folder, env=environment, capture_output=True, check=True
        )
        floor = cpu([sys.executable, "-c", "pass"], folder, environment)
        print(f"python -c pass                     {floor:7.0f} ms CPU")
        for label, words, aim in (
            ("swatch --help", ["--help"], 150),
            (f"swatch status, {JOBS} jobs", ["status", "big"], 500),
            (f"swatch plan, {TEXTURES} textures", ["plan", "many.yaml"], 1500),
            ("swatch submit, nothing new", ["submit", "small.yaml"], 1000),
        ):
            spent = cpu([*swatch, *words], folder, environment)
            print(f"{label:<34} {spent:7.0f} ms CPU (aim {aim}), {spent / floor:.1f} times python -c pass")
