"""What a job's journal is told: the command's lines and what follows from them, states, and the agent's own notes.

It goes to the store in chunks. No secret passes here.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Iterable

from job_image import lines
from job_image.epochs import Epochs
from orchestrator.errors import StoreError
from orchestrator.journal import Event, Fenced, Fold, Log, Metric, Progress, State, TaskEnd, Writer

FLUSH_SECONDS = ((0.0, 0.5), (600.0, 2.0), (3600.0, 5.0))
"""(age of the attempt, pause between chunks): someone watches a young job; a day's journal stays some 20,000 files."""
MAX_LINES = 10_000
"""Lines of log kept between two chunks: a command that floods its output must not fill the disk or this memory."""
TAIL = 20
SHORTEST_SECRET = 4
"""Characters; what is shorter stands in many a harmless word."""


class Veil:
    """Hides values, and each line of those that have several, in any text; also as JSON spells them."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        plain = {piece for value in values for piece in (value, *value.splitlines()) if len(piece) >= SHORTEST_SECRET}
        spelled = {json.dumps(piece, ensure_ascii=ascii)[1:-1] for piece in plain for ascii in (True, False)}
        # The longest first: one may be part of another.
        self._pieces = sorted(plain | spelled, key=len, reverse=True)

    def hide(self, text: str) -> str:
        for piece in self._pieces:
            text = text.replace(piece, "***")
        return text


class Record:
    """One attempt's part of the journal. pace: times slower where each chunk is a paid request; echo: lines go to this
    program's own output, too."""

    def __init__(self, writer: Writer, before: Fold, pace: float, echo: bool) -> None:
        self.writer = writer
        self.began = time.time()
        self.metrics = dict(before.metrics)
        self.tail: list[str] = []
        self.veil = Veil()
        self._pace, self._echo = pace, echo
        self._epochs = Epochs()
        self._progress: dict[str, Progress] = {}
        self._flushed = 0.0
        self._lines = 0
        self._complained = ""

    def line(self, line: str) -> TaskEnd | None:
        """Take a line of the command; the end of a task that it tells, for that is journalled when its files are."""
        now, line = time.time(), self.veil.hide(line)
        event = lines.parse(line, now)
        if isinstance(event, Progress):
            self._progress[event.task] = event  # only the latest counts: a chunk carries one for each task
            return None
        if isinstance(event, TaskEnd):
            return event
        self._measured([event] if event is not None else self._epochs.read(line, now))
        self._lines += 1
        if self._lines <= MAX_LINES:
            self.writer.append(Log(now, line))
            if self._echo:  # the platform's own log: all there is, should this agent be killed
                print(line, flush=True)
        self.tail = [*self.tail, line][-TAIL:]
        return None

    def glance(self, drawing: str) -> None:
        """Take what a line shows that is still redrawn."""
        self._measured(self._epochs.glance(self.veil.hide(drawing), time.time()))

    def note(self, text: str) -> None:
        """Say something in the agent's own name."""
        self._lines += 1
        if self._lines <= MAX_LINES:
            self.writer.append(Log(time.time(), self.veil.hide(text), note=True))

    def add(self, event: Event) -> None:
        self.writer.append(event)

    def state(self, state: str, attempt: int, reason: str = "") -> None:
        """The job enters a state."""
        self.gather()
        self.writer.append(State(time.time(), state, attempt, self.veil.hide(reason)))

    def flush(self, problem: str = "", now: bool = False) -> None:
        """Write what waits, if it is time. `problem` is what else keeps the store from being complete: said when it is
        new. Raises Fenced when another agent has taken over."""
        pause = next(pause for age, pause in reversed(FLUSH_SECONDS) if time.time() - self.began >= age)
        if not now and time.monotonic() - self._flushed < pause * self._pace:
            return
        self._flushed = time.monotonic()
        self.gather()
        try:
            self.writer.flush()
        except Fenced:
            raise
        except StoreError as error:
            problem = error.message  # the events wait; the command goes on
        if problem and problem != self._complained:
            print(f"swatch: {problem}", file=sys.stderr, flush=True)
            self.writer.append(Log(time.time(), self.veil.hide(problem), note=True))
        self._complained = problem

    def gather(self) -> None:
        """Append what was held back since the last chunk: each task's latest progress, and how much log was cut."""
        for event in self._progress.values():
            self.writer.append(event)
        self._progress.clear()
        if self._lines > MAX_LINES:
            note = f"{self._lines - MAX_LINES:,} lines left out here: too many at once"
            self.writer.append(Log(time.time(), note, note=True))
        self._lines = 0

    def _measured(self, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            self.metrics[metric.metric] = metric.value
            self.writer.append(metric)
