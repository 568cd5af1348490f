"""What this computer needs for jobs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from orchestrator.checkup.base import FAIL, OK, WARN, Check
from orchestrator.docker import Docker
from orchestrator.errors import DockerError
from orchestrator.settings import Settings


def python() -> Check:
    version = platform.python_version()
    enough = sys.version_info >= (3, 11)
    return Check(
        "python", OK if enough else FAIL, f"Python {version}", "" if enough else "Install Python 3.11 or later"
    )


def store(settings: Settings) -> Check:
    """Whether a store on a disk can be written, and has space."""
    if "://" in settings.store:
        return Check("store", OK, settings.store)
    folder = Path(settings.store)
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check("store", FAIL, f"{folder} cannot be written", f"chmod u+w {there}, or name another: SWATCH_STORE")
    free = shutil.disk_usage(there).free
    enough = free > 1 << 30
    fix = "" if enough else "Make room, or name another folder: SWATCH_STORE"
    return Check("store", OK if enough else WARN, f"{folder}, {free / 1e9:.1f} GB free", fix)


def docker() -> Check:
    """Whether an engine answers; only jobs and images on this computer need one."""
    try:
        engine = Docker().engine()
    except DockerError as error:
        fix = f"{error.hint}; only backend: docker and images that are built here need it"
        return Check("docker", WARN, error.message, fix)
    return Check("docker", OK, f"Docker {engine.version[:40]}")
