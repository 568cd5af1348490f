"""The lock that a command and its children inherit: while anything of it lives the lock is held, whatever has become of
who started it. So what outlived its agent is found, and ended.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from pathlib import Path
from typing import IO

from orchestrator.errors import SwatchError

try:
    import fcntl
except ImportError as missing:  # Windows
    raise SwatchError("Jobs run on Linux and macOS; on Windows, use WSL") from missing

ORPHAN_WAIT = 10.0
"""Seconds in which a killed command must be gone."""


def lock(file: Path) -> IO[bytes] | None:
    """An exclusive lock on the file, held until it is closed or the process ends; None if another holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = open(str(file), "ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return handle


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; nothing if it has ended."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def end_orphan(work: Path) -> None:
    """End a command that outlived its agent: it would write into the same folders as the next attempt's. Raises
    SwatchError when something of it cannot be ended."""
    held = lock(work / "command.lock")
    if held is None:
        # The lock proves that something of that command lives, so the number is still its group's. There is none if
        # the agent was killed before it could write it.
        with contextlib.suppress(FileNotFoundError, ValueError):
            signal_group(int((work / "command.pid").read_text()), signal.SIGKILL)
        deadline = time.monotonic() + ORPHAN_WAIT
        while (held := lock(work / "command.lock")) is None:
            if time.monotonic() > deadline:
                raise SwatchError("a process of an earlier attempt still runs", hint="End it, and submit again")
            time.sleep(0.05)
    held.close()
