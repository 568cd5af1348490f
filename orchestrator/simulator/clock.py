"""The simulator's time, in seconds since the epoch: real and perhaps faster, or moved by hand.

Whoever waits gives a bell (a `threading.Event`) that others ring when something has happened; the clock rings it too
when the time that was waited for has come.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time


class Clock:
    """Real time, from now on `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed: more than 0, not {speed}")
        self.speed = speed
        self._start, self._origin = time.time(), time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, simulated."""
        return self._start + (time.monotonic() - self._origin) * self.speed

    def wait(self, bell: threading.Event, until: float | None = None) -> None:
        """Return when the bell has rung or the time `until` has come, whichever is first."""
        bell.wait(None if until is None else max(0.0, (until - self.now()) / self.speed))


class ManualClock(Clock):
    """A time that stands still until `advance`."""

    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self._now = time.time() if start is None else start
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._turn = itertools.count()

    def now(self) -> float:
        return self._now

    def wait(self, bell: threading.Event, until: float | None = None) -> None:
        if until is not None:
            with self._lock:
                if until <= self._now:
                    return
                heapq.heappush(self._waiting, (until, next(self._turn), bell))
        bell.wait()

    def advance(self, seconds: float) -> None:
        """Move the time on, and wake those whose time has come. What they then do takes real time: wait for it."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        with self._lock:
            self._now += seconds
            due = []
            while self._waiting and self._waiting[0][0] <= self._now:
                due.append(heapq.heappop(self._waiting)[2])
        for bell in due:
            bell.set()
