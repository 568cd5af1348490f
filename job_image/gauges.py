"""What a job uses of its machine: processors, memory, disk, GPU, every ten seconds; what the kernel says of memory.

Shares are of what the job may have: its control group's limit where it has one (cgroups(7), versions 1 and 2), else the
machine's. What cannot be known here is None, as is all of /proc on macOS.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

from job_image.ending import Memory
from orchestrator.journal import Log, System, Writer

EVERY = 10.0
"""Seconds between two samples."""
GPU_SECONDS = 5.0
"""In which nvidia-smi must have answered; it can hang for ever in a driver that has failed."""
GPU_TRIES = 3
"""So often in a row may nvidia-smi fail before it is asked no more."""
IDLE_SHARE, IDLE_SECONDS = 5.0, 900.0
IDLE_NOTE = (
    "the GPU has been idle for 15 minutes (under 5 %): a program that does not use it runs as well on a machine without"
)
ROOT = Path("/")


class Usage(NamedTuple):
    """What a process group has used so far: seconds of processors, and bytes of memory now."""

    seconds: float
    memory: int


class Idle:
    """Notices a GPU that nobody uses."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = False

    def take(self, time: float, gpu: float | None) -> bool:
        """Whether it is to be said now that the GPU, used by this share, is idle: once, and again after it was busy."""
        if gpu is None:
            return False
        if gpu >= IDLE_SHARE:
            self._since, self._said = None, False
            return False
        self._since = time if self._since is None else self._since
        if self._said or time - self._since < IDLE_SECONDS:
            return False
        self._said = True
        return True


class Gauges(threading.Thread):
    """Writes a sample into the journal every ten seconds, from `watch` to `close`."""

    def __init__(self, writer: Writer, folder: Path, root: Path = ROOT) -> None:
        super().__init__(name="gauges", daemon=True)
        self.peak = 0
        self._writer, self._folder, self._root = writer, folder, root
        self._limit, self._processors = memory_limit(root), processors(root)
        self._kills = (kills(root), machine_kills(root))
        self._idle, self._ask_gpu = Idle(), graphics()
        self._closing = threading.Event()
        self._group = 0
        self._before: tuple[float, Usage] | None = None

    def watch(self, group: int) -> None:
        """Begin; the job is this process group."""
        self._group = group
        self._before = (time.monotonic(), usage(group, self._root) or Usage(0.0, 0))
        self.start()

    def run(self) -> None:
        while not self._closing.wait(EVERY):
            self.take(time.time(), time.monotonic())

    def close(self) -> None:
        """End; what hangs is left to itself."""
        self._closing.set()

    def take(self, now: float, ticks: float) -> None:
        """Journal a sample, at this time; `ticks` are the seconds of a clock that is never set."""
        used = usage(self._group, self._root)
        cpu = None
        if used is not None and self._before is not None and ticks > self._before[0]:
            spent = (used.seconds - self._before[1].seconds) / (ticks - self._before[0])
            cpu = _share(spent, self._processors)
        if used is not None:
            self._before = (ticks, used)
            self.peak = max(self.peak, used.memory)
        gpu, gpu_memory = self._ask_gpu()
        if self._closing.is_set():
            return
        memory = _share(used.memory, self._limit) if used is not None and self._limit else None
        self._writer.append(
            System(now, cpu, memory, disk(self._folder), gpu, gpu_memory, used.memory if used is not None else None)
        )
        if self._idle.take(ticks, gpu):
            self._writer.append(Log(now, IDLE_NOTE, note=True))

    def memory(self) -> Memory:
        """What is known of the memory that was used, after the end."""
        killed = kills(self._root) - self._kills[0]
        # A control group counts its peak itself, also between two samples.
        peak = max(self.peak, group_peak(self._root) if killed else 0)
        return Memory(peak or None, self._limit, killed, machine_kills(self._root) - self._kills[1])


def _share(used: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * used / whole)), 1)


def usage(group: int, root: Path = ROOT) -> Usage | None:
    """What the processes of the group, and of those that it has made, use; None where nobody tells."""
    if not (root / "proc/self/stat").exists():
        return None
    ticks, seconds, memory = os.sysconf("SC_CLK_TCK"), 0.0, 0
    for name in filter(str.isdigit, os.listdir(str(root / "proc"))):
        folder = root / "proc" / name
        try:
            # proc(5): behind the name in brackets stand state, parent, group, session ... times from the 14th field on.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if group not in (int(fields[2]), int(fields[3])):
                continue
            seconds += sum(map(int, fields[11:15])) / ticks
            memory += _resident(folder)
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    return Usage(seconds, memory)


def _resident(folder: Path) -> int:
    """Bytes of a process; of pages that several share, its part."""
    for line in _text(folder / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    # Not this kernel's, or not ours to read.
    return int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk(folder: Path) -> float | None:
    """The share of the folder's disk that is full, 0 to 100."""
    try:
        found = shutil.disk_usage(str(folder))
    except OSError:
        return None
    return _share(found.total - found.free, found.total)


def processors(root: Path = ROOT) -> float:
    """How many processors the job may use."""
    try:
        found = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        found = float(os.cpu_count() or 1)
    for folder in _groups(root, "cpu"):
        quota = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]):
            found = min(found, int(quota[0]) / int(quota[1]))
    return found


def memory_limit(root: Path = ROOT) -> int | None:
    """Bytes of memory that the job may use."""
    found = [
        int(word)
        for folder in _groups(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for word in _words(folder / name)
        if word.isdigit()
    ]
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            found.append(int(line.split()[1]) * 1024)
    return min(found) if found else None


def kills(root: Path = ROOT) -> int:
    """How many processes of the job's control group the kernel has killed for want of memory."""
    for folder in _groups(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            found = _counter(folder / name)
            if found is not None:
                return found
    return 0


def machine_kills(root: Path = ROOT) -> int:
    """The same, of all the machine."""
    return _counter(root / "proc/vmstat") or 0


def group_peak(root: Path = ROOT) -> int:
    """The most bytes that the job's control group has ever used; 0 where that is not counted."""
    for folder in _groups(root, "memory"):
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            words = _words(folder / name)
            if words and words[0].isdigit():
                return int(words[0])
    return 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process' control group and of those above it, the nearest first."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        inside = Path(path.lstrip("/"))
        # In a container the path may be the machine's, and not be seen here: what is above it is.
        for one in (inside, *inside.parents):
            if (base / one).is_dir() and ".." not in one.parts:
                yield base / one


def _counter(file: Path) -> int | None:
    found = [line.split()[1] for line in _text(file).splitlines() if line.startswith("oom_kill ")]
    return int(found[0]) if found and found[0].isdigit() else None


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


Graphics = Callable[[], "tuple[float | None, float | None]"]
"""Asks for the shares of the GPUs' time and memory that are used."""


def graphics() -> Graphics:
    """How the GPUs of this machine are asked."""
    program = shutil.which("nvidia-smi")
    failures = 0

    def ask() -> tuple[float | None, float | None]:
        nonlocal failures
        if program is None or failures >= GPU_TRIES:
            return None, None
        words = [program, "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=GPU_SECONDS
            )
            found = shares(done.stdout.decode("utf-8", "replace"))
        except (OSError, subprocess.TimeoutExpired):
            found = None, None
        failures = failures + 1 if found == (None, None) else 0
        return found

    return ask


def shares(said: str) -> tuple[float | None, float | None]:
    """What nvidia-smi says of all GPUs: the mean share of their time, and the share of their memory; None for what it
    does not know (`[N/A]`)."""
    rows = [[_number(cell) for cell in line.split(",")] for line in said.splitlines() if line.strip()]
    rows = [row for row in rows if len(row) == 3]
    busy = [row[0] for row in rows if row[0] is not None]
    memory = [(row[1], row[2]) for row in rows if row[1] is not None and row[2]]
    whole = sum(total or 0.0 for _, total in memory)
    return (
        _share(sum(busy), 100.0 * len(busy)) if busy else None,
        _share(sum(used or 0.0 for used, _ in memory), whole) if whole else None,
    )


def _number(cell: str) -> float | None:
    cell = cell.strip()
    return float(cell) if cell.isascii() and cell.replace(".", "", 1).isdigit() and len(cell) < 20 else None
