"""A report that came home is read as far as it can be used, whatever a program wrote into it."""

import json
from pathlib import Path

import pytest

from orchestrator import report


def written(folder: Path, text: str) -> report.Report | None:
    (folder / "report.json").write_text(text)
    return report.read(folder)


def test_what_a_report_says(tmp_path: Path) -> None:
    quality = {
        "verdict": "fair",
        "figures": {"colour": 0.2, "seam": 1},
        "stationary": {"colour": False, "structure": True},
        "reasons": ["colour: so so"],
    }
    record = {"parameters": {"width": 64, "height": 32}, "seconds": {"total": 2}, "quality": quality}
    assert written(tmp_path, json.dumps(record)) == report.Report(
        "64x32", 2.0, {"colour": 0.2, "seam": 1.0}, frozenset({"colour"}), "fair", ("colour: so so",)
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_what_is_no_report(tmp_path: Path, text: str) -> None:
    assert written(tmp_path, text) is None


@pytest.mark.parametrize("value", ["null", "5", '"x"', "{}", "[7]", "true", "NaN", "1e999", "9" * 400])
def test_a_hostile_report_says_nothing_but_breaks_nothing(tmp_path: Path, value: str) -> None:
    quality = f'{{"figures": {{"colour": {value}}}, "reasons": {value}, "stationary": {value}, "verdict": "good"}}'
    found = written(tmp_path, f'{{"quality": {quality}, "seconds": {{"total": {value}}}, "parameters": {value}}}')
    assert found is not None and found.verdict == "good"
    assert found.reasons == () and found.doubtful == frozenset()
    usable = value == "5"
    assert found.figures == ({"colour": 5.0} if usable else {}) and found.seconds == (5.0 if usable else None)
