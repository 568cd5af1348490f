"""How much memory the device has left, and how large a piece of a picture fits it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from . import backend

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OOM when allocating", "out of memory", "OutOfMemory")
"""How backends say it, in the name or the message of an exception: TensorFlow, JAX, PyTorch, CUDA."""
USABLE = 0.6
"""Share of the free memory to plan for: the rest is for what else runs, and for what the estimate leaves out."""
LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Where Linux tells a container what it may use and what it uses (control groups, version 2 and 1)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device's memory, or this machine's, did not suffice."""
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(word in said for word in OUT_OF_MEMORY)


def free() -> int | None:
    """Bytes of memory free on the device that computes; None where nobody says."""
    known: Iterable[Callable[[], int | None]] = (_on_gpu, _in_memory)
    return next((found for ask in known if (found := ask()) is not None), None)


def _on_gpu() -> int | None:
    if backend.NAME == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        if not devices:
            return None
        import subprocess

        # TensorFlow tells what it uses, not what there is; it takes nearly all of the GPU when it first computes.
        asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
            total = int(told.split()[0]) << 20
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return None
        return total - int(tf.config.experimental.get_memory_info("GPU:0")["current"])
    if backend.NAME == "jax":
        import jax

        stats = jax.devices()[0].memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else None
    if backend.NAME == "torch":
        import torch

        return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return None


def _in_memory() -> int | None:
    """What Linux counts as available, or what the container has left, whichever is less."""
    found = []
    try:
        told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
        found.append(int(told["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError, ValueError, IndexError):
        try:  # macOS has no such file, and counts pages
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
        except (ValueError, OSError):
            return None
    for most, used in LIMITS:
        try:
            found.append(int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(0, min(found))
