"""Outputs come home: whole, verified, once; and a person's own edits stay."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orchestrator import contract
from orchestrator.contract import HOME_INDEX
from orchestrator.store.local import LocalStore
from orchestrator.sync import Homecoming, Output


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def made(store: LocalStore, path: str, content: bytes) -> Output:
    store.write("out/file", content)
    return Output("out/file", path, len(content), hashlib.sha256(content).hexdigest())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_brought_once_and_again_when_it_is_newer_or_missing(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    home = Homecoming(store, folder)
    first = made(store, "bark/a.png", b"one")
    assert home.bring(first) == folder / "bark" / "a.png"
    assert home.bring(first) is None
    home.save()
    assert Homecoming(store, folder).bring(first) is None, "another process knows it by the index"
    second = made(store, "bark/a.png", b"two")
    assert home.bring(second) is not None
    assert (folder / "bark" / "a.png").read_bytes() == b"two"
    (folder / "bark" / "a.png").unlink()
    assert home.bring(second) is not None
    assert not home.problems


def test_without_an_index_files_are_compared_by_content(store: LocalStore, tmp_path: Path) -> None:
    output = made(store, "a.png", b"one")
    home = Homecoming(store, tmp_path / "outputs")
    home.bring(output)
    home.save()
    (tmp_path / "outputs" / HOME_INDEX).write_text("damaged")
    assert Homecoming(store, tmp_path / "outputs").bring(output) is None


def test_what_a_person_edited_stays(store: LocalStore, tmp_path: Path) -> None:
    output = made(store, "a.png", b"one")
    home = Homecoming(store, tmp_path)
    home.bring(output)
    (tmp_path / "a.png").write_bytes(b"mine")
    assert home.bring(output) is None
    assert (tmp_path / "a.png").read_bytes() == b"mine"


def test_wrong_bytes_are_never_shown(store: LocalStore, tmp_path: Path) -> None:
    output = made(store, "a.png", b"one")
    store.write("out/file", b"bad")
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(output) is None
    assert "not what the journal says" in home.problems["a.png"]
    assert names(tmp_path / "outputs") == []
    store.write("out/file", b"one")
    assert home.bring(output) is not None, "and it is tried again"
    assert not home.problems


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a\\..\\x", "", "a\nb"])
def test_no_output_leaves_the_folder(store: LocalStore, tmp_path: Path, path: str) -> None:
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, path, b"one")) is None
    assert path in home.problems
    assert names(tmp_path) == ["file"]


def test_no_output_leaves_the_folder_through_a_link(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "bark").symlink_to(tmp_path / "elsewhere")
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, "bark/a.png", b"one")) is None
    assert "through a link" in home.problems["bark/a.png"]
    assert names(tmp_path / "elsewhere") == []


def test_no_index_can_have_a_file_outside_removed(store: LocalStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    status = precious.stat()
    as_brought = {"sha256": hashlib.sha256(b"mine").hexdigest(), "size": 4, "modified": status.st_mtime_ns}
    folder = tmp_path / "outputs"
    (folder / "bark").mkdir(parents=True)
    (folder / contract.HOME_INDEX).write_text(json.dumps({"files": {"bark/../../precious": as_brought}}))
    home = Homecoming(store, folder)
    home.keep_only("bark", set())
    assert precious.read_bytes() == b"mine"
    assert home.problems


def test_a_folder_that_cannot_be_written_is_told(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "bark").write_text("a file where a folder must be")
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, "bark/a.png", b"one")) is None
    assert home.problems["bark/a.png"]
