"""The command as a process: started in a group of its own, read line by line, ended as a whole.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Mapping, Sequence

from job_image.lines import Splitter
from orchestrator.errors import SwatchError
from orchestrator.leash import lock, signal_group

LAST_WORDS = 2.0
"""Seconds that the output of an ended command may stay open: what it wrote before its end is there at once."""


LAUNCHER = """
import os, signal, sys
tell = int(sys.argv[1])
os.set_inheritable(tell, False)
try:
    restored = [signal.SIGPIPE, signal.SIGXFSZ]
    pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, setsid=True, setsigdef=restored)
except OSError as error:
    sys.exit(error.strerror)
os.write(tell, b"%d\\n" % pid)
os.write(tell, b"%d\\n" % os.waitpid(pid, 0)[1])
"""
"""Starts a program inside a sandbox, and tells its process group and how it ended. The group is the program's alone:
signals to it reach neither this nor the sandbox; and no shell's 128 + n stands for a signal."""


class Process:
    """A program, from its start. Read it until it is no longer `running`, then `close` it.

    The program and its children inherit a lock on `work/command.lock`: while anything of it lives the lock is held,
    even after the agent's death, so that the next attempt finds it (`end_orphan`). `wrap` are the words that start what
    it runs in (see `sandbox`), `held` are files that it shall hold, too. Raises OSError when it cannot be started.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        work: Path,
        grace: float,
        wrap: Sequence[str] = (),
        held: Sequence[int] = (),
    ) -> None:
        guard = lock(work / "command.lock")
        if guard is None:
            raise SwatchError("an earlier attempt's command still runs")
        told, tell = os.pipe()
        launched = [*wrap, sys.executable, "-ISc", LAUNCHER, str(tell), *words]
        with guard, open(tell, "wb"), contextlib.ExitStack() as undo:
            self._told = undo.enter_context(open(told, "rb"))
            self._process = subprocess.Popen(
                launched if wrap else list(words),
                cwd="/" if wrap else str(folder),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[guard.fileno(), *([tell] if wrap else []), *held],
            )
            undo.pop_all()
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        self.group = self._launched() if wrap else self._process.pid
        (work / "command.pid").write_text(str(self.group))
        os.set_blocking(self._pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._splitter = Splitter()
        self._grace = grace
        self._kill_at: float | None = None
        self._status = b""

    def _launched(self) -> int:
        """The process group that the launcher has made."""
        line = self._told.readline()
        if not line:
            said = self._pipe.read(4096).decode("utf-8", "replace").strip().rpartition("\n")[2]
            self._process.wait()
            self._pipe.close()
            raise OSError(errno.ECHILD, said or "its sandbox ended early")
        return int(line)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def read(self, seconds: float) -> list[str]:
        """The lines that the command writes next; none when it wrote none for so many seconds."""
        self._reap()
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            signal_group(self.group, signal.SIGKILL)
            self._kill_at = None
        if not self._selector.get_map():
            try:
                self._process.wait(seconds)  # it closed its output and works on
            except subprocess.TimeoutExpired:
                return []
        if not self._selector.select(seconds):
            return []
        data = os.read(self._pipe.fileno(), 1 << 20)
        if not data:
            self._selector.unregister(self._pipe)
        return self._splitter.feed(data)

    def _reap(self) -> None:
        """Lay to rest what of the command has lost its parent: the first process of a container is left with it."""
        while os.getpid() == 1:
            try:
                ended = os.waitid(os.P_PGID, self.group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid == self._process.pid:
                return
            os.waitpid(ended.si_pid, 0)

    @property
    def drawing(self) -> str:
        """What stands behind its last whole line: a bar that is redrawn, say."""
        return self._splitter.drawing

    def stop(self) -> None:
        """SIGTERM to the whole group now, SIGKILL after the grace (by a later `read`)."""
        signal_group(self.group, signal.SIGTERM)
        self._kill_at = time.monotonic() + self._grace

    def close(self) -> list[str]:
        """End what the command left running; its last lines. What left the group (as a daemon does) may hold the
        output open for ever: it is not waited for."""
        signal_group(self.group, signal.SIGKILL)
        rest = []
        deadline = time.monotonic() + LAST_WORDS
        while self._selector.get_map() and self._selector.select(0.2) and time.monotonic() < deadline:
            rest += self.read(0)
        self._selector.close()
        self._pipe.close()
        self._process.wait()
        with self._told:
            self._status = self._told.read()
        return rest + self._splitter.close()

    @property
    def exit_code(self) -> int:
        """Of the closed program; minus the signal's number if one killed it."""
        return _code(int(self._status)) if self._status else self._process.wait()


def _code(status: int) -> int:
    """What a status of wait(2) says, as `subprocess` tells it."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
