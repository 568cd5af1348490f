"""Many at once: a function over items by threads, for work that waits (for S3, mostly).

All crowds of a process share one number of threads. A crowd within a crowd takes those that are left, and where none
is, its items are done one after the other by who asked: so nesting is free, and threads are never many.

Standard library only, and Python 3.8 syntax: the agent carries this file into images that are not ours.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Callable, Generator, Iterable, TypeVar

MOST = 32
"""Threads of all crowds together."""
AHEAD = 2
"""Items begun for each thread before the first result is taken: memory stays flat however many items there are."""
PATIENCE = 2.0
"""Seconds that a crowd waits for its threads when it ends early; one that hangs on the network is left behind."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class GivenUp(BaseException):
    """The crowd that this thread works in has ended early: nobody waits for the result."""


class _Crew:
    """What the threads of one crowd share."""

    def __init__(self, outer: _Crew | None) -> None:
        self._outer, self._over = outer, False
        self.todo: SimpleQueue[Any] = SimpleQueue()

    @property
    def over(self) -> bool:
        return self._over or (self._outer is not None and self._outer.over)

    def end(self) -> None:
        self._over = True


_here = threading.local()
_lock = threading.Lock()
_free = MOST


def check() -> None:
    """To be called now and then by what works long. Raises GivenUp where nobody waits for the result any more."""
    crew = getattr(_here, "crew", None)
    if crew is not None and crew.over:
        raise GivenUp


def spare() -> int:
    """Threads that no crowd has."""
    return _free


def each(function: Callable[[Item], Result], items: Iterable[Item], width: int) -> Generator[Result, None, None]:
    """function(item) for every item, in the items' order, at most `width` of them at a time. The first error in that
    order is raised; then, and when the caller goes (Ctrl-C too), no other item is begun."""
    rest = iter(items)
    first = list(itertools.islice(rest, 2))
    threads = _take(width) if len(first) > 1 else 0
    if not threads:
        yield from map(function, itertools.chain(first, rest))
        return
    crew = _Crew(getattr(_here, "crew", None))
    workers = [threading.Thread(target=_work, args=(crew, function), daemon=True) for _ in range(threads)]
    waiting: deque[Future[Result]] = deque()
    try:
        for worker in workers:
            worker.start()
        for item in itertools.chain(first, rest):
            future: Future[Result] = Future()
            waiting.append(future)
            crew.todo.put((future, item))
            if len(waiting) >= AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        crew.end()
        for _ in workers:
            crew.todo.put(None)
        end = time.monotonic() + PATIENCE
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))


def _take(width: int) -> int:
    """Threads for a crowd of that width: none where fewer than two are left."""
    global _free
    with _lock:
        taken = min(width, _free)
        taken = taken if taken > 1 else 0
        _free -= taken
    return taken


def _work(crew: _Crew, function: Callable[[Any], Any]) -> None:
    global _free
    _here.crew = crew
    try:
        for future, item in iter(crew.todo.get, None):
            if crew.over:
                continue
            try:
                future.set_result(function(item))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the result is awaited
                future.set_exception(error)
    finally:
        with _lock:
            _free += 1
