"""A terminal for tests: a program that believes to be at one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

# The program's standard streams become its controlling terminal, as a login makes it.
_LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A program at a terminal of its own: type, read what it shows, and see how it ends."""

    def __init__(self, words: list[str], environment: dict[str, str], folder: Path) -> None:
        self._ours, theirs = os.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(theirs)

    def write(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def until(self, text: str) -> str:
        """All that was shown, as soon as this is among it. Raises AssertionError when the program ends before."""
        while text not in self.shown:
            try:
                more = os.read(self._ours, 1 << 16)
            except OSError:  # how Linux says that nobody is at the other end
                more = b""
            assert more, f"it ended without {text!r}: {self.shown}"
            self.shown += more.decode("utf-8", "replace").replace("\r\n", "\n")
        return self.shown

    def end(self) -> int:
        return self._process.wait(60)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._ours)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
