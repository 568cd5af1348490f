"""Many at once: order kept, errors raised, threads bounded, and gone when nobody waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store import crowd
from tests.conftest import REPOSITORY


@given(items=st.lists(st.integers(), max_size=60), width=st.integers(0, 40))
def test_results_come_in_the_order_of_the_items(items: list[int], width: int) -> None:
    assert list(crowd.each(lambda item: item * 2, items, width)) == [item * 2 for item in items]


def test_as_many_as_asked_work_at_once() -> None:
    meeting = threading.Barrier(8)
    assert sorted(crowd.each(lambda _: meeting.wait(20), range(8), 8)) == list(range(8))


def test_the_first_error_in_order_is_raised_and_no_more_is_begun() -> None:
    begun: list[int] = []
    last = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            last.set()
            raise KeyError(item)
        if item == 2:
            last.wait(20)
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="2"):
        list(crowd.each(work, range(10_000), 4))
    assert len(begun) < 100


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100_000):
            taken.append(number)
            yield number

    results = crowd.each(lambda item: item, items(), 4)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) < 50
    results.close()


def test_crowds_within_crowds_share_the_threads() -> None:
    seen: set[str] = set()

    def inner(item: int) -> int:
        seen.add(threading.current_thread().name)
        return item

    def outer(item: int) -> int:
        return sum(crowd.each(inner, range(20), 32))

    for _ in range(3):
        assert list(crowd.each(outer, range(20), 32)) == [190] * 20
    before = threading.active_count()
    assert list(crowd.each(outer, range(20), 32)) == [190] * 20
    assert threading.active_count() <= before + crowd.MOST


def test_what_works_long_ends_when_the_caller_goes() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(item: int) -> int:
        if item == 0:
            return 0
        began.set()
        try:
            while True:
                crowd.check()
        except crowd.GivenUp:
            ended.set()
            raise

    results = crowd.each(work, range(2), 2)
    assert next(results) == 0
    assert began.wait(20)
    results.close()
    assert ended.is_set()


def test_ctrl_c_ends_a_program_whose_threads_hang() -> None:
    """The threads wait for what never comes; the program ends all the same, by the interruption."""
    program = (
        "import sys, threading\n"
        "from orchestrator.store import crowd\n"
        "crowd.PATIENCE = 0.1\n"
        "never, here = threading.Event(), threading.Barrier(3)\n"
        "def hang(item):\n"
        "    here.wait(); never.wait()\n"
        "def tell():\n"
        "    here.wait(); print('hanging', flush=True)\n"
        "threading.Thread(target=tell, daemon=True).start()\n"
        "list(crowd.each(hang, range(2), 2))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert process.returncode in (-signal.SIGINT, 130, 1)
