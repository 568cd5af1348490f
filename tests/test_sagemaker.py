"""Jobs on SageMaker, as a person runs them, against the simulator: real agents, real commands, real requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account, account

SAYING = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: 'cat hello.txt > /output/said.txt; echo made by {who} >> /output/said.txt'
matrix: {who: [%s]}
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as made:
        (made.folder / "hello.txt").write_text("hello\n")
        yield made


def test_outputs_come_home_from_training_jobs(box: Account) -> None:
    box.swatch("submit", box.manifest(SAYING % "ann, ben"), "--watch")
    said = sorted(path.read_text() for path in (box.folder / "outputs" / "try").rglob("said.txt"))
    assert said == ["hello\nmade by ann\n", "hello\nmade by ben\n"]
    assert [box.aws.describe(name)["TrainingJobStatus"] for name in box.aws.jobs()] == ["Completed"] * 2
    assert [job["state"] for job in box.json("status", "try")["jobs"]] == ["success"] * 2
