"""What a command prints becomes lines, and lines become events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.lines import MAX_LINE, Splitter, parse
from orchestrator.journal import Metric, Progress, TaskEnd


@given(st.lists(st.text(alphabet="ab\u00e9 ", max_size=5), max_size=8), st.lists(st.integers(1, 7), max_size=20))
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[str], cuts: list[int]) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    splitter, found = Splitter(), []
    for cut in cuts:
        found += splitter.feed(data[:cut])
        data = data[cut:]
    assert found + splitter.feed(data) + splitter.close() == lines


def test_the_last_drawing_of_a_progress_bar_counts() -> None:
    assert Splitter().feed(b" 10%\r 50%\r100%\r\nnext\n") == ["100%", "next"]


def test_an_endless_line_is_cut_and_nothing_of_it_lost() -> None:
    splitter = Splitter()
    found = splitter.feed(b"x" * (3 * MAX_LINE + 5))
    assert all(len(line) == MAX_LINE for line in found)
    assert sum(map(len, found + splitter.close())) == 3 * MAX_LINE + 5


def test_machine_lines_become_events() -> None:
    assert parse('{"metric": "loss", "value": 0.5, "step": 3}', 1) == Metric(1, "loss", 0.5, 3)
    assert parse('{"metric": "loss", "value": 1, "epoch": 2}', 1) == Metric(1, "loss", 1, 2)
    assert parse('{"task": "bark", "state": "failed", "error": "no"}', 1) == TaskEnd(1, "bark", "failed", 0.0, "no")
    assert parse('{"progress": "bark", "step": 1, "steps": 8, "size": "64x64"}', 1) == Progress(
        1, "bark", 1, 8, "64x64"
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "loss 0.5",
        "{",
        "{}",
        '{"metric": "loss"}',
        '{"metric": "loss", "value": NaN}',
        '{"metric": "x", "value": true}',
    ],
)
def test_anything_else_is_log(line: str) -> None:
    assert parse(line, 1) is None


@given(st.text())
def test_no_line_breaks_the_log(line: str) -> None:
    parse(line, 1)
    parse("{" + line + "}", 1)


@pytest.mark.parametrize("value", ["1" * 400, "1e400", "NaN", "true", '"1"', "null", "[1]"])
def test_a_figure_that_is_no_number_is_log(value: str) -> None:
    assert parse(f'{{"metric": "loss", "value": {value}}}', 1) is None
    assert parse(f'{{"progress": "bark", "step": {value}, "steps": 8}}', 1) is None
