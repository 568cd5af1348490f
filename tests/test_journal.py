"""The journal: events round trip, chunks stay in order, one writer only, folds say what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract, journal
from orchestrator.journal import Event, File, Fold, Log, Metric, Progress, State, TaskEnd, Writer
from orchestrator.store.local import LocalStore

TIME = st.floats(0, 2e9)
TEXT = st.text(max_size=20)
NUMBER = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(State, TIME, st.sampled_from(contract.STATES), st.integers(1, 9), TEXT),
    st.builds(Log, TIME, TEXT, st.booleans()),
    st.builds(Metric, TIME, TEXT, NUMBER, st.none() | NUMBER),
    st.builds(Progress, TIME, TEXT, NUMBER, NUMBER, TEXT, st.none() | NUMBER, st.none() | NUMBER),
    st.builds(TaskEnd, TIME, TEXT, st.sampled_from([contract.SUCCESS, contract.FAILED]), NUMBER, TEXT),
    st.builds(File, TIME, TEXT, st.integers(0, 2**60), TEXT),
)


@given(EVENTS)
def test_events_round_trip(event: Event) -> None:
    assert journal.decode(journal.encode(event)) == event


@given(st.one_of(st.text(), st.from_regex(r'\{"kind":"(file|log|state|task)",.*\}', fullmatch=True)))
def test_a_damaged_line_is_passed_over(line: str) -> None:
    journal.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"file","time":1,"path":["x"],"size":1,"sha256":"a"}',
        '{"kind":"file","time":1,"path":"x","size":"1","sha256":"a"}',
        '{"kind":"file","time":1,"path":"x"}',
        '{"kind":"later","time":1}',
        '{"kind":"state","time":true,"state":"running","attempt":1}',
        '{"kind":"log","time":1e300,"text":"x"}',
        '{"kind":"log","time":-1,"text":"x"}',
        '{"kind":"metric","time":1,"metric":"x","value":NaN}',
        f'{{"kind":"metric","time":1,"metric":"x","value":1{"0" * 400}}}',
        f'{{"kind":"file","time":1,"path":"x","size":1{"0" * 400},"sha256":"a"}}',
        "[1]",
        "[" * 100_000,
    ],
)
def test_a_line_of_wrong_types_is_no_event(line: str) -> None:
    assert journal.decode(line) is None


def test_half_a_surrogate_pair_becomes_text_that_can_be_shown() -> None:
    assert journal.decode('{"kind":"log","time":1,"text":"a\\ud800b"}') == Log(1, "a?b")


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert journal.decode('{"kind":"log","time":1,"text":"x","colour":"red"}') == Log(1, "x")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


def test_chunks_are_read_on_from_the_last_key(store: LocalStore) -> None:
    writer = Writer(store, "p", 1)
    writer.append(Log(1, "a"))
    writer.append(Log(2, "b"))
    writer.flush()
    writer.flush()  # nothing waits: no empty chunk
    first = list(journal.read(store, "p", 1))
    assert [event for chunk in first for event in chunk.events] == [Log(1, "a"), Log(2, "b")]
    writer.append(Log(3, "c"))
    writer.flush()
    behind = list(journal.read(store, "p", 1, first[-1].key))
    assert [chunk.events for chunk in behind] == [[Log(3, "c")]]


def test_the_next_attempt_goes_on_behind_the_last_chunk(store: LocalStore) -> None:
    for number in range(1, 13):
        writer = Writer(store, "p", 1)
        writer.append(Log(number, str(number)))
        writer.flush()
    events = [event for chunk in journal.read(store, "p", 1) for event in chunk.events]
    assert events == [Log(number, str(number)) for number in range(1, 13)]


def test_a_foreign_file_among_the_chunks_hides_nothing(store: LocalStore) -> None:
    store.write("projects/p/jobs/1/journal/zzz", b"not ours")
    for number in (1, 2):
        writer = Writer(store, "p", 1)
        writer.append(Log(number, "x"))
        writer.flush()
    assert len(list(journal.read(store, "p", 1))) == 2


def test_running_time_is_of_all_attempts() -> None:
    fold = Fold()
    for event in (
        State(10, contract.STARTING, 1),
        State(11, contract.RUNNING, 1),
        Log(15, "the last word"),
        State(100, contract.STARTING, 2),
        State(101, contract.RUNNING, 2),
    ):
        fold.add(event)
    assert fold.seconds(104) == 4 + 3
    fold.add(State(105, contract.SUCCESS, 2))
    assert fold.seconds(999) == 4 + 4


def test_a_second_writer_is_fenced_off(store: LocalStore) -> None:
    old, new = Writer(store, "p", 1), Writer(store, "p", 1)
    new.append(Log(1, "new"))
    new.flush()
    old.append(Log(1, "old"))
    with pytest.raises(journal.Fenced):
        old.flush()


def test_a_fold_says_what_follows() -> None:
    fold = Fold()
    for event in (
        State(1, contract.STARTING, 1),
        State(2, contract.RUNNING, 1),
        Progress(3, "bark", 1, 10),
        Metric(4, "loss", 0.5),
        Metric(5, "loss", 0.25),
        File(6, "bark/a.png", 3, "aa"),
        File(7, "bark/a.png", 4, "bb"),
        TaskEnd(8, "bark", contract.SUCCESS, 5.0),
        State(9, contract.STARTING, 2),
    ):
        fold.add(event)
    assert (fold.state, fold.attempt, fold.started, fold.last) == (contract.STARTING, 2, 2, 9)
    assert fold.metrics == {"loss": 0.25}
    assert fold.files == {"bark/a.png": File(7, "bark/a.png", 4, "bb")}
    assert fold.tasks["bark"].state == contract.SUCCESS
    assert fold.progress == {}, "a new attempt begins at nothing"
