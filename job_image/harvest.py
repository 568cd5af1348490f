"""What of a job's folders is output: all that is in /output, and what a command makes or changes where it runs.

Both are one tree of output. Where both have a path, /output's counts.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Callable, Dict, NamedTuple

from orchestrator.errors import StoreError

SCRATCH_SUFFIXES = (".part", ".tmp")
"""Names ending so are half-written by convention; they are never output."""
LITTER = {"__pycache__", ".git", ".ipynb_checkpoints", ".venv", "venv"}
"""Folders in the working folder that programs fill for themselves; as is any with a pyvenv.cfg."""
LITTER_SUFFIXES = (".pyc", ".pyo")
SPARING = 30
"""A working folder may hold a great deal of code: looking at it may take one part in so many of the time."""


class Stamp(NamedTuple):
    """What tells whether a file changed."""

    size: int
    modified: int
    inode: int


class Found(NamedTuple):
    """A file that is output; `home`: it is in the working folder."""

    file: Path
    stamp: Stamp
    home: bool


Before = Dict[str, Stamp]
"""Files of a folder, by their paths in it, as they were."""
Unreadable = Callable[[OSError], None]


class Harvest:
    """The output folder and, where `prepared` tells how the working folder was before, what has changed there."""

    def __init__(self, output: Path, code: Path, prepared: Before | None) -> None:
        self.output, self.code = output, code
        self._prepared = prepared
        self._made: Before = {}
        self._next = 0.0

    def look(self, unreadable: Unreadable, everything: bool) -> dict[str, Found]:
        """All files that are output now, by their paths; the working folder is looked at less often than the other
        unless `everything` is wanted. Raises StoreError."""
        found: dict[str, Found] = {}
        if self._prepared is not None:
            now = time.monotonic()
            if everything or now >= self._next:
                self._made = {
                    path: stamp
                    for path, stamp in _walk(self.code, unreadable, True).items()
                    if self._changed(path, stamp)
                }
                self._next = now + SPARING * (time.monotonic() - now)
            found = {path: Found(self.code / path, stamp, True) for path, stamp in self._made.items()}
        found.update(
            (path, Found(self.output / path, stamp, False))
            for path, stamp in _walk(self.output, unreadable, False).items()
        )
        return found

    def hidden(self, found: dict[str, Found]) -> list[str]:
        """Paths of the working folder that /output has, too."""
        return sorted(path for path in self._made if not found[path].home)

    def _changed(self, path: str, now: Stamp) -> bool:
        was = (self._prepared or {}).get(path)
        return was is None or (was.size, was.modified) != (now.size, now.modified)


def look(folder: Path) -> Before:
    """A working folder as it is. Raises OSError."""

    def unreadable(error: OSError) -> None:
        raise error

    return _walk(folder, unreadable, True)


def _walk(folder: Path, unreadable: Unreadable, working: bool) -> Before:
    """Every regular file that is output, by its path with `/`; links are not followed. In a `working` folder without
    what programs leave there for themselves."""
    if folder.is_symlink():
        name = "working" if working else "output"
        raise StoreError(f"the {name} folder was replaced by a link, and links are not followed")
    found: Before = {}
    for parent, folders, names in os.walk(str(folder), onerror=unreadable):
        if working:
            if "pyvenv.cfg" in names and Path(parent) != folder:
                folders[:] = []
                continue
            folders[:] = [name for name in folders if name not in LITTER]
        folders.sort()
        for name in sorted(names):
            if name.endswith(SCRATCH_SUFFIXES) or (working and name.endswith(LITTER_SUFFIXES)):
                continue
            path = Path(parent, name)
            stamp = stamp_of(path)
            if stamp is not None:
                found[path.relative_to(folder).as_posix()] = stamp
    return found


def stamp_of(path: Path) -> Stamp | None:
    """What tells whether the file changes; None for what is no regular file, or gone."""
    try:
        status = os.lstat(str(path))
    except FileNotFoundError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None
