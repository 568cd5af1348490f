"""Deciding: what there is of a wanted task follows from the facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract, plan
from orchestrator.backends.base import Presence
from orchestrator.cargo.tasklist import listing
from orchestrator.engine import MAX_ATTEMPTS, Choice, Verdict, Wish, decide, submit, unique
from orchestrator.facts import Seen, numbers
from orchestrator.job import Final, Job, Source, Task
from orchestrator.journal import Fold
from orchestrator.store.base import Entry
from orchestrator.store.local import LocalStore
from tests.idle import Idle


def task(name: str = "bark", fingerprint: str | None = None) -> Task:
    return Task(name=name, fingerprint=fingerprint or f"fp-{name}")


def job(number: int, tasks: tuple[Task, ...], cargo: str | None = None) -> Job:
    return Job(project="p", number=number, user="alice", created=1.0, command="x", tasks=tasks)


def wish(*tasks: Task, retries: int = 0, retry_failed: bool = False) -> Wish:
    return Wish("p", tasks, lambda some: plan.pack(some, None), job, retries, retry_failed)


def ended(number: int, state: str, *tasks: Task) -> Seen:
    final = Final(state=state, ended=2.0, reason="why", tasks={one.name: state for one in tasks})
    return Seen(job(number, tasks), final, Presence.GONE, Fold())


def live(number: int, presence: Presence, state: str, *tasks: Task, attempt: int = 1) -> Seen:
    return Seen(job(number, tasks), None, presence, Fold(state=state, attempt=attempt))


def verdict(seen: Sequence[Seen], results: set[str] | None = None, **policy: object) -> Choice:
    (choice,) = decide(wish(task(), **policy), seen, results or set())  # type: ignore[arg-type]
    return choice


def test_nothing_known_is_new() -> None:
    assert verdict([]).verdict is Verdict.NEW


def test_a_result_counts_whatever_the_jobs_say() -> None:
    assert verdict([], {"fp-bark"}).verdict is Verdict.CACHED
    assert verdict([ended(1, contract.FAILED, task())], {"fp-bark"}).verdict is Verdict.CACHED


def test_the_name_does_not_matter_the_fingerprint_does() -> None:
    other = task("oak", "fp-bark")
    assert verdict([live(1, Presence.RUNNING, contract.RUNNING, other)]).verdict is Verdict.RUNNING
    assert verdict([live(1, Presence.RUNNING, contract.RUNNING, task("bark", "else"))]).verdict is Verdict.NEW


@pytest.mark.parametrize(
    ("presence", "state", "expected"),
    [
        (Presence.RUNNING, contract.RUNNING, Verdict.RUNNING),
        (Presence.RUNNING, contract.STARTING, Verdict.QUEUED),
        (Presence.WAITING, contract.QUEUED, Verdict.QUEUED),
        (Presence.ELSEWHERE, contract.RUNNING, Verdict.RUNNING),
        (Presence.GONE, contract.RUNNING, Verdict.LOST),
        (Presence.GONE, contract.QUEUED, Verdict.LOST),
    ],
)
def test_what_a_job_has_is_adopted_or_taken_up(presence: Presence, state: str, expected: Verdict) -> None:
    choice = verdict([live(3, presence, state, task())])
    assert choice.verdict is expected
    assert choice.job is not None
    assert choice.job.number == 3


def test_what_is_lost_again_and_again_is_left_alone_unless_asked() -> None:
    seen = [live(1, Presence.GONE, contract.RUNNING, task(), attempt=MAX_ATTEMPTS)]
    assert verdict(seen).verdict is Verdict.FAILED
    assert verdict(seen, retry_failed=True).verdict is Verdict.LOST


@pytest.mark.parametrize("state", [contract.FAILED, contract.TIMEOUT])
def test_a_failure_is_retried_when_asked_or_allowed(state: str) -> None:
    once = [ended(1, state, task())]
    assert verdict(once).verdict is Verdict.FAILED
    assert verdict(once).reason == "why"
    assert verdict(once, retry_failed=True).verdict is Verdict.NEW
    assert verdict(once, retries=1).verdict is Verdict.NEW
    assert verdict([*once, ended(2, state, task())], retries=1).verdict is Verdict.FAILED


def test_what_was_stopped_may_start_again() -> None:
    assert verdict([ended(1, contract.SHUTDOWN, task())]).verdict is Verdict.NEW


def test_a_running_retry_counts_before_an_old_failure() -> None:
    seen = [ended(1, contract.FAILED, task()), live(2, Presence.RUNNING, contract.RUNNING, task())]
    assert verdict(seen).verdict is Verdict.RUNNING


FACTS = st.lists(
    st.one_of(
        st.builds(lambda n, s: ended(n, s, task()), st.integers(1, 9), st.sampled_from(sorted(contract.FINAL))),
        st.builds(
            lambda n, p, s, a: live(n, p, s, task(), attempt=a),
            st.integers(1, 9),
            st.sampled_from(Presence),
            st.sampled_from([contract.QUEUED, contract.RUNNING]),
            st.integers(0, 4),
        ),
    ),
    max_size=5,
    unique_by=lambda one: one.job.number,
)


@given(FACTS, st.integers(0, 3), st.booleans())
def test_nothing_is_started_twice(seen: list[Seen], retries: int, asked: bool) -> None:
    """Whatever the facts: while somebody works on a task, or it is done, it is not new."""
    choice = verdict(seen, retries=retries, retry_failed=asked)
    if any(one.final is None for one in seen):
        assert choice.verdict is not Verdict.NEW
    if choice.verdict in (Verdict.RUNNING, Verdict.QUEUED, Verdict.LOST):
        assert choice.job is not None
    assert verdict(seen, {"fp-bark"}, retries=retries, retry_failed=asked).verdict is Verdict.CACHED


@given(FACTS, st.integers(0, 3))
def test_the_order_of_the_facts_does_not_matter(seen: list[Seen], retries: int) -> None:
    assert verdict(seen, retries=retries) == verdict(seen[::-1], retries=retries)


def test_of_two_names_for_one_thing_one_is_made() -> None:
    assert [one.name for one in unique([task("a", "x"), task("b", "x"), task("c", "y")])] == ["a", "c"]


def test_the_task_list_names_sources_by_content_alone() -> None:
    hostile = Source(path="../../etc/passwd;rm -rf.PnG", sha256="ab" * 32, size=1, width=64, height=64)
    listed = listing([Task(name="bark", fingerprint="f", sources=(hostile,), parameters={"seed": 1})])
    assert listed["tasks"] == [
        {"name": "bark", "sources": [f"sources/{'ab' * 16}.png"], "parameters": {"seed": 1}},
    ]
    listed = listing([Task(name="bark", fingerprint="f", sources=(hostile,), content=hostile, parameters={})])
    assert listed["tasks"][0]["content"] == f"sources/{'ab' * 16}.png"


@pytest.mark.parametrize("moment", ["results/", "projects/p/deleted/"])
def test_a_job_that_another_makes_between_two_looks_is_adopted(tmp_path: Path, moment: str) -> None:
    class Overtaken(LocalStore):
        asked = 0

        def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
            if prefix == moment:
                Overtaken.asked += 1
                if Overtaken.asked == 2 or moment == "results/":
                    submit(LocalStore(str(tmp_path)), Idle(), wish(task()), lambda: None)
            return super().scan(prefix, after)

    done = submit(Overtaken(str(tmp_path)), Idle(), wish(task()), lambda: None)
    assert numbers(LocalStore(str(tmp_path)), "p") == [1]
    assert not done.started and [choice.verdict for choice in done.choices] == [Verdict.QUEUED]
