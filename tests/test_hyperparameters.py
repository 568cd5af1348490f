"""The image started by SageMaker's one word `train`: the hyperparameters say which job it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from job_image.container import told
from orchestrator.errors import UsageError


def ml(folder: Path, text: str) -> Path:
    place = folder / "input" / "config"
    place.mkdir(parents=True)
    (place / "hyperparameters.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    "given",
    [
        {"store": "s3://b/p", "project": "forest", "number": "3"},
        {"store": '"s3://b/p"', "project": '"forest"', "number": "3"},  # as SageMaker's SDK writes them
        {"store": '"s3://b/p"', "project": '"forest"', "number": 3, "isolated": "false"},
    ],
)
def test_they_become_the_agents_arguments(given: dict[str, object], tmp_path: Path) -> None:
    folder = ml(tmp_path, json.dumps(given))
    assert told(folder) == [
        *("--store", "s3://b/p", "--project", "forest", "--number", "3"),
        *("--work", f"{folder}/swatch", "--ml", str(folder)),
    ]


@pytest.mark.parametrize("isolated", ["true", '"true"', "True", True])
def test_a_job_without_a_network_is_told_as_one(isolated: object, tmp_path: Path) -> None:
    given = {"store": "/opt/ml/checkpoints", "project": "12", "number": "3", "isolated": isolated}
    words = told(ml(tmp_path, json.dumps(given)))
    assert words[-1] == "--isolated"
    assert words[words.index("--project") + 1] == "12"


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"store": "x", "project": "p"}', '{"store": "\\"x"', "\0"])
def test_what_says_no_job_is_refused_and_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"hyperparameters\.json does not say which job this is"):
        told(ml(tmp_path, text))


def test_missing_hyperparameters_are_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"hyperparameters\.json does not say which job this is"):
        told(tmp_path)
