"""The values of jobs' secrets on this computer: one file a job, for its user alone, from launch to the job's end."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from orchestrator import decoder


def names(file: Path) -> frozenset[str]:
    """What the file has values of; nothing where there is none."""
    return frozenset(_read(file))


def keep(file: Path, values: dict[str, str]) -> None:
    """Have the file hold these, too; no file where there is nothing to hold. Nobody else may read it at any moment.
    For one caller at a time."""
    values = {**_read(file), **values}
    if not values:
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = _part(file)
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.encode(values))
    part.replace(file)


def forget(file: Path) -> None:
    """Remove the file, and what a killed `keep` has left of it."""
    for one in (file, _part(file)):
        one.unlink(missing_ok=True)


def _part(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")


def _read(file: Path) -> dict[str, str]:
    try:
        return decoder.from_json(file.read_bytes(), dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}  # none, or one that was damaged: its job says what is missing
