"""The record beside a finished texture: what was asked, what was made, how long it took and how good it is."""

import json
import platform
import resource
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from .images import write_atomically
from .parameters import Parameters

FILE = "report.json"
PACKAGES = ("keras", "numpy", "pillow")
BACKENDS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),  # the build without GPU support has a name of its own
    "jax": ("jax",),
    "torch": ("torch",),
}
"""What KERAS_BACKEND may be, and the distributions that hold it."""
SCHEMA = 1


def versions() -> dict[str, str | None]:
    """Version of Python and of each package that shapes the result, None when its name is not found; and the name of
    the backend that does the arithmetic."""
    from .backend import NAME  # late: Keras takes seconds to load, and wrong usage is told before

    found: dict[str, str | None] = {"python": platform.python_version(), "backend": NAME}
    found[NAME] = next((version for name in BACKENDS.get(NAME, ()) if (version := version_of(name))), None)
    return found | {package: version_of(package) for package in PACKAGES}


def version_of(name: str) -> str | None:
    """Version of one installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


PROCESS = Path("/proc/self")
"""Where Linux tells a process of itself, and is told (proc(5)): VmHWM in `status`, and 5 to `clear_refs`."""


def forget_peak() -> None:
    """Begin anew with `peak_memory`, for the next texture of a list; where Linux lets one."""
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def peak_memory() -> int:
    """Most bytes of memory this process held since `forget_peak`, or ever, where that cannot be told."""
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (PROCESS / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write(folder: Path, identity: str, parameters: Parameters, made: dict[str, Any]) -> None:
    """Write `report.json` into a texture's folder. It is the last file written: where it is, the texture is whole."""
    record = {
        "schema": SCHEMA,
        "fingerprint": identity,
        "parameters": asdict(parameters),
        **made,
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
    }
    write_atomically(folder / FILE, (json.dumps(record, indent=2) + "\n").encode())


def is_done(folder: Path, identity: str) -> bool:
    """Whether the folder already holds the finished texture with this fingerprint."""
    if not (folder / "texture.png").is_file():
        return False
    try:
        record = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):  # no report, or a torn one: the texture is made again
        return False
    return isinstance(record, dict) and record.get("fingerprint") == identity
