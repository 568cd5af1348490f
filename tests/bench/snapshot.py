"""Code snapshots of 5,000 and 50,000 files: first, unchanged, and with one file changed; seconds, CPU seconds, bytes."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cargo.index import GRANULE, Index
from orchestrator.cargo.snapshot import of_folder
from orchestrator.store.local import LocalStore

COUNTS = (5_000, 50_000)
RUNS = 3


def fill(folder: Path, count: int) -> int:
    """A tree of small files that look like code, a hundred a folder; bytes in all."""
    words, total = [f"word{number}" for number in range(2000)], 0
    chance = random.Random(7)
    for number in range(count):
        at = folder / f"package{number // 10_000}" / f"part{number // 100}"
        if not number % 100:
            at.mkdir(parents=True)
        text = " ".join(chance.choices(words, k=chance.randrange(20, 500)))
        (at / f"module{number}.py").write_text(text)
        total += len(text)
    return total


def measured(folder: Path, home: Path, store: LocalStore) -> tuple[float, float, int]:
    """Seconds, CPU seconds and bytes sent of one snapshot and its way into the store. To the index it is later than it
    is: files that were written this moment are read again for two seconds, and nobody wants to wait here."""
    began, cpu = time.perf_counter(), time.process_time()
    sent = of_folder(folder, index=Index(home, folder, lambda: time.time_ns() + 2 * GRANULE)).carry(store)
    return time.perf_counter() - began, time.process_time() - cpu, sent


def run(arguments: Sequence[str] = ()) -> None:
    """Print the figures; the least CPU time of several runs where something can be repeated."""
    for count in map(int, arguments or COUNTS):
        with tempfile.TemporaryDirectory() as name:
            folder, home = Path(name, "code"), Path(name, "home")
            total = fill(folder, count)
            store = LocalStore(str(Path(name, "store")))
            of_folder(folder)  # all files are in the system's memory from here on, for every row alike
            first = measured(folder, home, store)
            unchanged = min((measured(folder, home, store) for _ in range(RUNS)), key=lambda one: one[1])
            changed = []
            for number in range(RUNS):
                (folder / "package0" / "part0" / "module7.py").write_text(f"changed {number} {os.getpid()}")
                changed.append(measured(folder, home, store))
            print(f"{count:,} files, {total / 1e6:.1f} MB")
            for label, (seconds, spent, sent) in (
                ("first", first),
                ("unchanged", unchanged),
                ("one changed", min(changed, key=lambda one: one[1])),
            ):
                print(f"  {label:<12} {seconds:7.2f} s {spent:7.2f} s CPU {sent:>12,} bytes sent")
            print(f"  unchanged/first {unchanged[1] / first[1]:.3f} by CPU, {unchanged[0] / first[0]:.3f} by the clock")
