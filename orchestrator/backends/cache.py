"""What jobs leave on this computer for later ones, below HOME/cache: data of far stores (`data`) and environments of
packages (`envs`, and `containers/envs` of jobs in Docker). An entry is a folder; whoever uses one sets its time.

Beyond a limit the entries that nobody has used for longest go, once a day at most, when no job runs: a job holds a
shared lock from before its agent starts, which agent and container inherit, and who removes holds it alone. A job that
comes meanwhile waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.local import Layout
from orchestrator.leash import lock

KINDS = ("data", "envs", "containers/envs")
LIMIT = 20 << 30
"""Bytes on the disk that may stay."""
REST = 7 * 86_400.0
"""Seconds in which an entry was used that stays whatever it takes: one that is needed again and again is worth it."""
PAUSE = 86_400.0
"""Seconds from one look at all the files to the next."""
_GONE = ".gone-"


@contextlib.contextmanager
def in_use(layout: Layout) -> Iterator[int]:
    """While a job runs: nothing is removed. The lock's descriptor, for the processes that the job consists of."""
    with open(layout.cache_lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield held.fileno()


def trim(layout: Layout, limit: int = LIMIT, now: float | None = None) -> list[Path]:
    """Remove what is beyond the limit; the entries that went. None where a job runs, or within a day of the last look,
    which is the time of the lock's file. Raises OSError; ended at any moment, the next call goes on."""
    now = time.time() if now is None else now
    held = lock(layout.cache_lock)
    if held is None:
        return []
    with held:
        if now - os.fstat(held.fileno()).st_mtime < PAUSE:
            return []
        found = sorted(_entries(layout.cache))
        sizes = {path: _size(path) for _, path in found}
        total, gone = sum(sizes.values()), []
        for used, path in found:
            if path.name.startswith(_GONE) or (total > limit and now - used > REST):
                _remove(path)
                total -= sizes[path]
                gone.append(path)
        os.utime(held.fileno(), (now, now))
        return gone


def _entries(cache: Path) -> Iterator[tuple[float, Path]]:
    """When each was last used, and its folder."""
    for kind in KINDS:
        with contextlib.suppress(FileNotFoundError), os.scandir(cache / kind) as found:
            for one in found:
                if one.is_dir(follow_symlinks=False):
                    yield one.stat().st_mtime, Path(one.path)


def _size(folder: Path) -> int:
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(file).st_blocks * 512 for file in files)


def _remove(folder: Path) -> None:
    """Never is half of an entry to be seen under its name."""
    gone = folder
    if not folder.name.startswith(_GONE):
        gone = folder.with_name(_GONE + folder.name)
        folder.chmod(0o755)
        folder.rename(gone)
    for at, _, _ in os.walk(gone):
        os.chmod(at, 0o755)  # entries are read-only
    shutil.rmtree(gone)
