"""Names: every short form of jobs and datasets, and the folder that fills in what they leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import folder, names
from orchestrator.errors import UsageError
from orchestrator.names import DatasetName, JobName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("3", JobName(None, None, 3)),
        ("/3/", JobName(None, None, 3)),
        ("forest", JobName(None, "forest", None)),
        ("forest/3", JobName(None, "forest", 3)),
        ("projects/forest/3", JobName(None, "forest", 3)),
        ("alice/forest", JobName("alice", "forest", None)),
        ("alice/projects/forest", JobName("alice", "forest", None)),
        ("alice/forest/3", JobName("alice", "forest", 3)),
        ("alice/projects/forest/3", JobName("alice", "forest", 3)),
        ("alice/projects/forest/3/", JobName("alice", "forest", 3)),
        ("3/output", JobName(None, None, 3, "output")),
        ("forest/3/files", JobName(None, "forest", 3, "files")),
        ("alice/projects/forest/3/home", JobName("alice", "forest", 3, "home")),
        ("alice/forest/3/code", JobName("alice", "forest", 3, "code")),
        ("alice/output", JobName("alice", "output", None)),
        ("alice/projects/2024", JobName("alice", "2024", None)),
    ],
)
def test_m4_names_of_jobs(text: str, name: JobName) -> None:
    assert names.job(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2", DatasetName(None, None, 2)),
        ("mnist", DatasetName(None, "mnist", None)),
        ("mnist/2", DatasetName(None, "mnist", 2)),
        ("datasets/mnist/2", DatasetName(None, "mnist", 2)),
        ("alice/mnist", DatasetName("alice", "mnist", None)),
        ("alice/datasets/mnist", DatasetName("alice", "mnist", None)),
        ("wxswxs/vgg-weights/1", DatasetName("wxswxs", "vgg-weights", 1)),
        ("wxswxs/datasets/vgg-weights/1/", DatasetName("wxswxs", "vgg-weights", 1)),
    ],
)
def test_m4_names_of_datasets(text: str, name: DatasetName) -> None:
    assert names.dataset(text) == name


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mnist", [DatasetName(None, "mnist", None)]),
        ("wxswxs/vgg-weights/1", [DatasetName("wxswxs", "vgg-weights", 1), JobName("wxswxs", "vgg-weights", 1)]),
        ("3", [JobName(None, None, 3), DatasetName(None, None, 3)]),
        ("3/output", [JobName(None, None, 3, "output")]),
        ("a/p/3/output", [JobName("a", "p", 3, "output")]),
        ("a/projects/p/3", [JobName("a", "p", 3)]),
        ("a/datasets/p/3", [DatasetName("a", "p", 3)]),
    ],
)
def test_m4_names_where_data_is_wanted(text: str, meant: list[JobName | DatasetName]) -> None:
    assert names.data(text) == meant


@pytest.mark.parametrize(
    "text", ["", "/", "..", "../x", "a/b/c/d", "a//3", "-x", "alice/stuff/forest/3", "a b", "0", "é"]
)
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    for reads in (names.job, names.dataset, names.data):
        with pytest.raises(UsageError, match="Not the name") as caught:
            reads(text)
        assert caught.value.hint and "for example" in caught.value.hint


name = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True).filter(
    lambda text: text not in (*names.PARTS, names.JOBS, names.DATASETS)
)


@given(user=name, project=name, number=st.integers(1, 999_999_999))
def test_a_written_name_reads_as_itself(user: str, project: str, number: int) -> None:
    job, dataset = JobName(user, project, number), DatasetName(user, project, number)
    assert names.job(str(job)) == job and names.dataset(str(dataset)) == dataset
    assert names.data(str(job)) == [job] and names.data(str(dataset)) == [dataset]


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    for reads in (names.job, names.dataset, names.data):
        try:
            reads(text)
        except UsageError:
            continue


def test_g11_the_folder_says_its_project_also_from_below(tmp_path: Path) -> None:
    (tmp_path / ".floydexpt").write_text(json.dumps({"name": "style", "namespace": "bob", "family_id": "x9"}))
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    found = folder.here(below).project
    assert found is not None and (found.name, found.user, found.folder) == ("style", "bob", tmp_path)
    folder.tie(tmp_path, folder.PROJECT, "forest", "alice")
    found = folder.here(below).project
    assert found is not None and (found.name, found.user) == ("forest", "alice")
    assert folder.here(below).dataset is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": 3}', '{"name": "../x"}', '{"name": "a", "namespace": "b/c"}']
)
def test_a_damaged_state_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / ".swatchproject").write_text(text)
    with pytest.raises(UsageError, match=r"\.swatchproject") as caught:
        folder.here(tmp_path)
    assert "swatch init" in (caught.value.hint or "")
