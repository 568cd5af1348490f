"""How much memory the device has left, and how it says that there is none."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from . import backend

R = TypeVar("R")

OUT_OF_MEMORY = (
    *("resource_exhausted", "resourceexhausted", "oom when allocating"),  # TensorFlow, JAX
    *("out of memory", "outofmemory", "out_of_memory", "alloc_failed"),  # PyTorch, CUDA and its libraries
    *("allocate memory", "not enough memory"),  # PyTorch on the host, and the operating system
)
"""How backends say it, in small letters, in the name or the message of an exception."""
USABLE = 0.6
"""Share of the free memory to plan for: the rest is for what else runs, and for what the estimate leaves out."""
MEMINFO = Path("/proc/meminfo")
"""Where Linux counts the machine's memory."""


class Limit(NamedTuple):
    """Where Linux tells a container what it may use and what it uses, in bytes. cached: the line of `details` with what
    is used for files but given back on demand."""

    most: Path
    used: Path
    details: Path
    cached: str


GROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    Limit(GROUPS / "memory.max", GROUPS / "memory.current", GROUPS / "memory.stat", "inactive_file"),
    Limit(
        GROUPS / "memory/memory.limit_in_bytes",
        GROUPS / "memory/memory.usage_in_bytes",
        GROUPS / "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Control groups, version 2 and 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device's memory, or this machine's, did not suffice."""
    said = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(word in said for word in OUT_OF_MEMORY)


def within_memory(work: Callable[[int], R], size: int, least: int) -> tuple[R, int]:
    """`work(size)` and the size it was done with: half as much at once, but no less than `least`, each time that
    memory does not suffice. Slower, but done; what fails for another reason, or at the least, fails as it did."""
    while True:
        try:
            return work(size), size
        except Exception as error:
            if size <= least or not is_out_of_memory(error):
                raise
        size = max(least, size // 2)  # out here, where the failure no longer holds what it was working on


def free() -> int | None:
    """Bytes of memory free on the device that computes; None where nobody says."""
    on_device = backend.free_memory()
    return _in_memory() if on_device is None else on_device


def _in_memory() -> int | None:
    """What Linux counts as available, or what the container has left, whichever is less."""
    found = []
    try:
        told = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        found.append(int(told["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError, ValueError, IndexError):
        try:  # macOS has no such file, and counts pages
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
        except (ValueError, OSError):
            return None
    for limit in LIMITS:
        try:
            left = int(limit.most.read_text()) - int(limit.used.read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
        found.append(left + _cached(limit))
    return max(0, min(found))


def _cached(limit: Limit) -> int:
    try:
        pairs = dict(line.split() for line in limit.details.read_text().splitlines())
        return int(pairs[limit.cached])
    except (OSError, KeyError, ValueError):
        return 0
