"""Outputs come home: whole, verified, once; and a person's own edits stay."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orchestrator import aws, contract
from orchestrator.backends.local import LocalBackend
from orchestrator.cli.summary import brought
from orchestrator.contract import HOME_INDEX
from orchestrator.job import Task
from orchestrator.simulator.front import Rule
from orchestrator.store import Store, open_store
from orchestrator.store.local import LocalStore
from orchestrator.sync import Homecoming, Output
from orchestrator.watch import TaskView, Watch
from tests.cloud import Cloud


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    bucket: str = request.getfixturevalue("bucket")
    return open_store(f"s3://{bucket}/store")


def made(store: Store, path: str, content: bytes, key: str = "out/file") -> Output:
    store.write(key, content)
    return Output(key, path, len(content), hashlib.sha256(content).hexdigest())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_brought_once_and_again_when_it_is_newer_or_missing(store: Store, tmp_path: Path) -> None:
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


def test_what_is_said_of_it_names_where_it_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    watch = Watch(LocalStore("store"), LocalBackend("store", tmp_path, 1), [], tmp_path / "outputs")
    for number in range(1, 12):
        watch.tasks.append(TaskView(Task(name=str(number), fingerprint="", command="x"), None, "success"))
    assert brought(watch) == "There is nothing to bring yet."

    def bring(*paths: str) -> str:
        watch.brought = [watch.home.folder / path for path in paths]
        for path in paths:
            watch.tasks[int(path.partition("/")[0]) - 1].files.append(path)
        return brought(watch)

    assert bring("2/a.png", "2/sub/a.png") == "2 files brought to outputs/2"
    assert bring() == "All is at home already: outputs/2"
    assert bring("1/a.png") == "1 file brought to outputs/1", "that of 2 came before"
    assert bring("2/b.png", "11/a.png") == "2 files brought to outputs: 2, 11"
    everything = bring(*[f"{number}/new" for number in range(1, 12)])
    assert everything == "11 files brought to outputs: 1, 2, 3, 4, 5, 6, 7, 8 and 3 more"


def test_outputs_of_another_store_come_home_beside_those_that_are_there(store: Store, tmp_path: Path) -> None:
    """Jobs of two stores have the same numbers: a job of a simulated account is not the one of the same name here."""
    folder = tmp_path / "outputs" / "forest"
    home = Homecoming(store, folder)
    home.bring(made(store, "1/a.png", b"one"))
    home.save()
    other = LocalStore(str(tmp_path / "other"))
    guest = Homecoming(other, folder)
    guest.keep_only("1", set())
    guest.bring(made(other, "1/a.png", b"other"))
    guest.save()
    assert (folder / "1" / "a.png").read_bytes() == b"one"
    assert (guest.folder / "1" / "a.png").read_bytes() == b"other"
    assert guest.folder.parent == folder.parent and guest.folder.name.startswith("forest-")
    assert Homecoming(other, folder).folder == guest.folder
    assert Homecoming(store, folder).folder == folder


def test_without_an_index_files_are_compared_by_content(store: Store, tmp_path: Path) -> None:
    output = made(store, "a.png", b"one")
    home = Homecoming(store, tmp_path / "outputs")
    home.bring(output)
    home.save()
    (tmp_path / "outputs" / HOME_INDEX).write_text("damaged")
    assert Homecoming(store, tmp_path / "outputs").bring(output) is None


def test_what_a_person_edited_stays(store: Store, tmp_path: Path) -> None:
    output = made(store, "a.png", b"one")
    home = Homecoming(store, tmp_path)
    home.bring(output)
    (tmp_path / "a.png").write_bytes(b"mine")
    assert home.bring(output) is None
    assert (tmp_path / "a.png").read_bytes() == b"mine"


def test_wrong_bytes_are_never_shown(store: Store, tmp_path: Path) -> None:
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
def test_no_output_leaves_the_folder(store: Store, tmp_path: Path, path: str) -> None:
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, path, b"one")) is None
    assert path in home.problems
    assert [name for name in names(tmp_path) if name != "file"] == []


def test_no_output_leaves_the_folder_through_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "bark").symlink_to(tmp_path / "elsewhere")
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, "bark/a.png", b"one")) is None
    assert "through a link" in home.problems["bark/a.png"]
    assert names(tmp_path / "elsewhere") == []


def test_no_index_can_have_a_file_outside_removed(store: Store, tmp_path: Path) -> None:
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


def test_a_folder_that_cannot_be_written_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "bark").write_text("a file where a folder must be")
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(made(store, "bark/a.png", b"one")) is None
    assert home.problems["bark/a.png"]


def test_many_come_home_at_once_and_each_as_it_must(store: Store, tmp_path: Path) -> None:
    """Good ones, a damaged one, one that would leave the folder, an edited one, and two of one path."""
    folder = tmp_path / "outputs"
    home = Homecoming(store, folder)
    good = [made(store, f"t/{number}.png", b"%d" % number, f"out/{number}") for number in range(100)]
    assert list(home.bring_all(good)) == [folder / output.path for output in good]
    (folder / "t" / "7.png").write_bytes(b"mine")
    damaged = made(store, "t/damaged.png", b"right", "out/damaged")
    store.write("out/damaged", b"wrong")
    outside = made(store, "../x", b"x", "out/outside")
    first, second = made(store, "t/two.png", b"first", "out/a"), made(store, "t/two.png", b"second", "out/b")
    brought = list(home.bring_all([*good, damaged, outside, first, second]))
    assert [path for path in brought if path] == [folder / "t" / "two.png"] * 2
    assert (folder / "t" / "two.png").read_bytes() == b"second"
    assert (folder / "t" / "7.png").read_bytes() == b"mine"
    assert home.edited == {"t/7.png"}
    assert set(home.problems) == {"t/damaged.png", "../x"}
    home.save()
    assert not any(Homecoming(store, folder).bring_all([*good, second])), "the index knows them all"
    assert not [name for name in names(folder) if name.endswith(".part")]


@pytest.mark.slow
def test_trouble_on_the_way_home_tears_and_forgets_nothing(
    cloud: Cloud, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of all requests goes wrong. What is at home is whole, what is not is told, and comes the next time."""
    store = open_store(f"s3://{bucket}/store")
    outputs = [made(store, f"{n}.bin", bytes([n]) * 50_000, f"out/{n}") for n in range(60)]
    cloud.front.set(
        [Rule(action, method="GET", times=None, share=0.1) for action in ("throttle", "cut", "drop", "lose")]
    )
    folder = tmp_path / "outputs"
    home = Homecoming(store, folder)
    first = [path for path in home.bring_all(outputs) if path]
    assert len(first) + len(home.problems) == 60
    assert all(
        (folder / f"{n}.bin").read_bytes() == bytes([n]) * 50_000 for n in range(60) if folder / f"{n}.bin" in first
    )
    assert sorted(names(folder)) == sorted(path.name for path in first)
    cloud.front.set([])
    list(home.bring_all(outputs))
    assert not home.problems
    assert len(names(folder)) == 60


def test_no_credentials_are_a_problem_of_every_file_and_of_no_index(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"s3://{bucket}/store")
    output = made(store, "a.png", b"one")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.forget()
    home = Homecoming(store, tmp_path / "outputs")
    assert home.bring(output) is None
    assert "credentials" in home.problems["a.png"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "again")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "again")
    assert home.bring(output) is not None, "signed in again, it goes on by itself"
    assert not home.problems
