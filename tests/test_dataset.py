"""Datasets in a store: versions that never change, uploads that survive anything, and only what is missing is sent."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract
from orchestrator.cargo import clone, content, dataset
from orchestrator.cargo.archive import Member
from orchestrator.cargo.content import Content, Leaf, Shelf, of_files, of_folder
from orchestrator.cargo.dataset import DELETED, UPLOADING, VALID, Version
from orchestrator.cargo.index import Index
from orchestrator.cargo.snapshot import of_members
from orchestrator.cargo.upload import Sent, upload
from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.simulator.front import Rule
from orchestrator.store import Store, open_store, s3
from orchestrator.store.base import Tell, nothing
from orchestrator.store.local import LocalStore, sha256_of
from orchestrator.store.s3 import LARGE, S3Store
from tests.cloud import Cloud
from tests.conftest import REPOSITORY


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('bucket')}/store")
    return LocalStore(str(tmp_path / "store"))


both = pytest.mark.parametrize("store", ["local", "s3"], indirect=True)
"""On this computer and on S3."""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Counting(LocalStore):
    """A store that notes the keys that are sent to it and those that it copies itself."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.sent: list[str] = []
        self.copied: list[str] = []

    def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
        super().upload(file, key, sha256, tell)
        self.sent.append(key)

    def copy(self, key: str, to: str, of: Store | None = None) -> None:
        super().copy(key, to, of)
        self.copied.append(to)


def held(store: Store, version: Version) -> dict[str, bytes]:
    return {leaf.path: store.read(version.prefix + leaf.path) for leaf in version.record.files}


# Versions


@both
def test_m10_versions_are_numbered_and_hold_plain_files(store: Store, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", a="1", sub__b="22", empty="")
    one = upload(store, "alice", "mnist", of_folder(folder), description="first").version
    assert (one.name, one.state, one.record.size, one.record.count) == ("alice/datasets/mnist/1", VALID, 3, 3)
    assert {entry.key for entry in store.scan("datasets/")} == {
        "datasets/alice/mnist/1/upload.json",
        "datasets/alice/mnist/1/dataset.json",
        *(f"datasets/alice/mnist/1/files/{path}" for path in ("a", "sub/b", "empty")),
    }
    record = json.loads(store.read("datasets/alice/mnist/1/dataset.json"))
    assert record["schema"] == contract.SCHEMA and record["description"] == "first" and record["from"] == ""
    assert [leaf["path"] for leaf in record["files"]] == ["a", "empty", "sub/b"]
    write(folder, a="changed")
    two = upload(store, "alice", "mnist", of_folder(folder)).version
    assert two.number == 2
    assert held(store, one)["a"] == b"1" and held(store, two)["a"] == b"changed"
    assert dataset.latest(store, "alice", "mnist") == two


@both
def test_m10_an_identical_tree_makes_no_new_version(store: Store, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", a="1")
    first = upload(store, "alice", "d", of_folder(folder))
    os.utime(folder / "a", (0, 0))
    again = upload(store, "alice", "d", of_folder(folder))
    assert (first.made, again.made, again.version) == (True, False, first.version)
    # What is mounted may be any version; what a person uploads is the latest.
    write(folder, a="2")
    upload(store, "alice", "d", of_folder(folder))
    write(folder, a="1")
    assert upload(store, "alice", "d", of_folder(folder), latest=False).version.number == 1
    assert upload(store, "alice", "d", of_folder(folder)).version.number == 3


def test_pain_4_a_new_version_sends_only_what_changed(tmp_path: Path) -> None:
    store = Counting(str(tmp_path / "store"))
    folder = write(tmp_path / "data", **{f"f{n}": f"content {n}" for n in range(50)})
    first = upload(store, "alice", "d", of_folder(folder))
    assert (first.sent, first.copied) == (sum(len(f"content {n}") for n in range(50)), 0)
    store.sent.clear()
    write(folder, f7="changed", new="1234")
    (folder / "f3").rename(folder / "moved")
    second = upload(store, "alice", "d", of_folder(folder))
    prefix = "datasets/alice/d/2/files/"
    assert sorted(store.sent) == [prefix + "f7", prefix + "new"]
    assert (second.sent, second.copied) == (len("changed") + 4, 49)
    assert held(store, second.version)["moved"] == b"content 3"


@both
def test_files_on_s3_are_copied_inside_the_store(store: Store, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(100_000)
    (tmp_path / "file").write_bytes(data)
    store.upload(tmp_path / "file", "a/one")
    store.copy("a/one", "b/two")
    assert store.read("b/two") == data
    assert store.sha256("b/two") == sha256_of(tmp_path / "file")
    with pytest.raises(NotFound):
        store.copy("a/nothing", "b/three")


def test_a_copy_on_s3_sends_no_bytes(bucket: str, cloud: Cloud, tmp_path: Path) -> None:
    store = S3Store(f"s3://{bucket}/store")
    (tmp_path / "file").write_bytes(b"x" * 1000)
    store.upload(tmp_path / "file", "one")
    before = len(cloud.front.requests)
    store.copy("one", "two")
    assert [request.method for request in list(cloud.front.requests)[before:]] == ["HEAD", "PUT"]
    assert store.read("two") == b"x" * 1000


def test_a_large_object_is_copied_in_parts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 does with more than 5 GB, with a smaller limit."""
    monkeypatch.setattr(s3, "MAX_COPY", 5 << 20)
    monkeypatch.setattr(s3, "COPY_PART", 5 << 20)
    store = S3Store(f"s3://{bucket}/store")
    data = random.Random(2).randbytes(11 << 20)
    (tmp_path / "file").write_bytes(data)
    store.upload(tmp_path / "file", "one")
    store.copy("one", "two")
    assert store.read("two") == data
    assert store.sha256("two") == sha256_of(tmp_path / "file"), "S3 has no digest of the whole: it is read"


# Interruption


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from orchestrator.cargo import upload
from orchestrator.cargo.content import of_folder
from orchestrator.store.local import LocalStore
upload.AT_ONCE = int(sys.argv[5])
count = itertools.count(1)
class Dying(LocalStore):
    def _put(self, *words):
        last = next(count) == int(sys.argv[3])
        if last and sys.argv[4] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super()._put(*words)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
done = upload.upload(Dying(sys.argv[1]), "alice", "d", of_folder(Path(sys.argv[2])))
print(done.kept)
"""


@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_m10_an_upload_survives_kill_9_at_every_write_and_sends_nothing_twice(
    tmp_path: Path, moment: str, at_once: int
) -> None:
    folder = write(tmp_path / "data", **{f"f{n}": f"content {n}" for n in range(4)})
    writes = 6  # upload.json, four files, dataset.json
    for step in range(1, writes + 1):
        place = tmp_path / f"store{step}"
        words = [sys.executable, "-c", KILLED, str(place), str(folder), str(step), moment, str(at_once)]
        assert subprocess.run(words, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
        store = Counting(str(place))
        there = {entry.key for entry in store.scan("datasets/alice/d/1/files/")}
        if at_once == 1:  # else others are on their way, too
            assert len(there) == min(max(0, step - (1 if moment == "after" else 2)), 4)
        for version in dataset.look_all(store, "alice", "d"):
            assert version.state == (VALID if (step, moment) == (writes, "after") else UPLOADING)
        done = upload(store, "alice", "d", of_folder(folder))
        assert done.version.number == 1 and done.version.state == VALID
        assert not there & set(store.sent), "what was there is not sent again"
        assert len(there) + len(store.sent) == 4
        assert held(store, done.version) == {f"f{n}": f"content {n}".encode() for n in range(4)}


def test_m10_an_upload_to_s3_goes_on_where_the_network_failed(bucket: str, cloud: Cloud, tmp_path: Path) -> None:
    store = S3Store(f"s3://{bucket}/store")
    folder = write(tmp_path / "data", **{f"f{n}": f"content {n}" for n in range(20)})
    cloud.front.set([Rule("fail", method="PUT", path="/files/f1", times=None)])
    with pytest.raises(StoreError):
        upload(store, "alice", "d", of_folder(folder))
    (version,) = dataset.look_all(store, "alice", "d")
    assert version.state == UPLOADING
    there = {entry.key.rpartition("/")[2] for entry in store.scan(version.prefix)}
    cloud.front.set([])
    before = len(cloud.front.requests)
    done = upload(store, "alice", "d", of_folder(folder))
    put = [one.path.rpartition("/")[2] for one in list(cloud.front.requests)[before:] if one.method == "PUT"]
    assert set(put) == {f"f{n}" for n in range(20)} - there | {"dataset.json"}
    assert (done.version.state, done.kept) == (VALID, len(there))


def test_another_tree_meanwhile_becomes_the_next_version(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    folder = write(tmp_path / "data", a="1", b="2")
    before = of_folder(folder)
    (folder / "b").unlink()
    with pytest.raises(StoreError, match="is gone"):
        upload(store, "alice", "d", before)
    after = upload(store, "alice", "d", of_folder(folder))
    assert (after.version.number, after.made) == (2, True)
    assert [one.state for one in dataset.look_all(store, "alice", "d")] == [UPLOADING, VALID]
    with pytest.raises(UsageError, match="No upload of alice/d was cut short"):
        upload(store, "alice", "d", of_folder(write(folder, c="3")), resume=True)
    write(folder, b="2")
    (folder / "c").unlink()
    assert upload(store, "alice", "d", of_folder(folder), resume=True).version.number == 1


@pytest.mark.parametrize("size", [10, LARGE + 10])
@both
def test_m10_a_file_that_changes_while_it_is_sent_is_refused(store: Store, size: int, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"x" * size)
    looked = of_folder(tmp_path / "data")
    (tmp_path / "data" / "a").write_bytes(b"y" * size)
    with pytest.raises(StoreError, match="changed meanwhile"):
        upload(store, "alice", "d", looked)
    (version,) = dataset.look_all(store, "alice", "d")
    assert version.state == UPLOADING and not list(store.scan(version.prefix))


@both
def test_two_uploads_at_once_are_never_a_mixture(store: Store, tmp_path: Path) -> None:
    folders = [write(tmp_path / name, **{f"f{n}": f"{name} {n}" for n in range(8)}) for name in ("a", "b", "b2")]
    write(folders[2], **{f"f{n}": f"b {n}" for n in range(8)})
    start = threading.Barrier(3)
    done: list[Version] = []

    def work(folder: Path) -> None:
        found = of_folder(folder)
        start.wait()
        done.append(upload(store, "alice", "d", found).version)

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    versions = dataset.look_all(store, "alice", "d")
    assert {one.record.digest for one in versions} == {of_folder(folder).digest for folder in folders}
    for version in versions:
        assert version.state == VALID
        assert len({data.split()[0] for data in held(store, version).values()}) == 1


def test_an_upload_that_another_one_brings_to_its_end_meanwhile_is_done(tmp_path: Path) -> None:
    place, tree = str(tmp_path / "store"), of_folder(write(tmp_path / "data", a="1", b="2"))

    class Slower(LocalStore):
        def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
            upload(LocalStore(place), "alice", "d", tree)
            assert not self.path(key).parent.stat().st_mode & 0o222
            raise StoreError(f"No permission: {key}")  # so says the system, to all but root

    done = upload(Slower(place), "alice", "d", tree)
    assert (done.version.number, done.version.state, done.made) == (1, VALID, False)


def test_progress_counts_bytes_as_they_go(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", a="x" * 3_000_000, b="yy")
    told: list[Sent] = []
    upload(LocalStore(str(tmp_path / "store")), "alice", "d", of_folder(folder), tell=told.append)
    assert told[0] == Sent(0, 3_000_002) and told[-1] == Sent(3_000_002, 3_000_002)
    assert len(told) > 3 and [one.done for one in told] == sorted(one.done for one in told)


# Immutability


def test_m10_files_of_a_valid_version_are_read_only_here(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    version = upload(store, "alice", "d", of_folder(write(tmp_path / "data", a="1", sub__b="2"))).version
    for path in (store.root / version.prefix).rglob("*"):
        assert not path.stat().st_mode & 0o222, path
    write(tmp_path / "data", a="other")
    assert store.read(version.prefix + "a") == b"1", "it shares nothing with the folder"


def test_a_copy_shares_nothing_that_could_change(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    store.write("one", b"1234")
    store.copy("one", "two")
    with open(store.path("two"), "r+b") as file:
        file.write(b"X")
    assert store.read("one") == b"1234"


@both
def test_m10_a_deleted_version_leaves_its_number(store: Store, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", a="1", sub__b="2")
    one = upload(store, "alice", "d", of_folder(folder)).version
    two = upload(store, "alice", "d", of_folder(write(folder, a="2"))).version
    dataset.delete(store, two)
    dataset.delete(store, two)  # cut short, and repeated
    again = dataset.look(store, "alice", "d", 2)
    assert again is not None and again.state == DELETED and not list(store.scan(two.prefix))
    assert dataset.latest(store, "alice", "d") == one
    assert upload(store, "alice", "d", of_folder(folder)).version.number == 3


def test_a_version_deleted_while_it_is_uploaded_never_becomes_valid(tmp_path: Path) -> None:
    class Deleting(Counting):
        def upload(self, file: Path, key: str, sha256: str = "", tell: Tell = nothing) -> None:
            super().upload(file, key, sha256, tell)
            (version,) = dataset.look_all(self, "alice", "d")
            dataset.delete(self, version)

    store = Deleting(str(tmp_path / "store"))
    with pytest.raises(StoreError, match="deleted meanwhile"):
        upload(store, "alice", "d", of_folder(write(tmp_path / "data", a="1")))
    assert dataset.latest(store, "alice", "d") is None


# Folders


def names(folder: Path) -> list[str]:
    return [leaf.path for leaf in of_folder(folder).files]


def test_m11_data_upload_honours_the_ignore_file_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path, a__x="1", b="2", lib__c="3", _env="4")
    write(folder, **{".git__config": "5", ".swatchdata": "{}", ".floyddata": "{}", "a/.swatchdata": "data"})
    assert names(folder) == ["_env", "a/.swatchdata", "a/x", "b", "lib/c"]
    (folder / ".floydignore").write_text("/lib\n*.tmp\n")
    write(folder, **{"n.tmp": "1", "sub__lib__z": "1"})
    assert names(folder) == ["_env", "a/.swatchdata", "a/x", "b", "sub/lib/z"]
    (folder / ".swatchignore").write_text("a/\n!*.tmp\n")
    assert names(folder) == ["_env", "b", "lib/c", "n.tmp", "sub/lib/z"]


def test_links_inside_count_as_what_they_lead_to(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", real__a="1")
    (folder / "link").symlink_to("real/a")
    (folder / "linked").symlink_to("real")
    assert names(folder) == ["link", "linked/a", "real/a"]
    store = LocalStore(str(tmp_path / "store"))
    version = upload(store, "alice", "d", of_folder(folder)).version
    assert set(held(store, version).values()) == {b"1"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "l").symlink_to("/etc"), "leads outside the folder"),
        (lambda folder: (folder / "l").symlink_to("../data2"), "leads outside the folder"),
        (lambda folder: (folder / "l").symlink_to("nowhere"), "leads nowhere"),
        (lambda folder: (folder / "l").symlink_to("."), "round in a circle"),
        (lambda folder: (folder / "back\\slash").write_text("x"), "no name that a store can hold"),
        (lambda folder: (folder / "new\nline").write_text("x"), "no name that a store can hold"),
        (lambda folder: Path(os.fsdecode(bytes(folder) + b"/\xff")).write_text("x"), "no name that a store can hold"),
    ],
)
def test_what_cannot_be_data_is_said(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    write(tmp_path / "data2", a="1")
    folder = write(tmp_path / "data", a="1")
    make(folder)
    with pytest.raises(UsageError, match=said):
        of_folder(folder)


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, said in (("empty", "holds no files"), ("file", "is a file"), ("missing", "No such folder")):
        with pytest.raises(UsageError, match=said):
            of_folder(tmp_path / name)


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "data", a="1", b="2")
    for name in ("a", "b"):
        os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    later = Index(tmp_path / "home", folder, lambda: 1 << 62)
    first = of_folder(folder, later)
    read: list[str] = []

    def noted(path: Path) -> str:
        read.append(path.name)
        return "0" * 64

    monkeypatch.setattr(content, "sha256_of", noted)
    assert of_folder(folder, later) == first
    write(folder, b="3")
    of_folder(folder, later)
    assert read == ["b"]


paths = st.lists(st.sampled_from(["a", "b", "ä", "a.b", "a-b"]), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(paths, st.binary(max_size=20), max_size=6))
def test_the_digest_is_that_of_a_snapshot_with_plain_files(files: dict[str, bytes]) -> None:
    import hashlib

    known = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    ours = of_files((Leaf(path, 1, digest) for path, digest in known.items()), Path("x")).digest
    assert ours == of_members(Member(path, b"", "file", digest) for path, digest in known.items()).digest


# What the store says is not believed


def forged(store: Store, *leaves: Leaf, digest: str | None = None) -> None:
    made = of_files(leaves, Path("x"))
    record = dataset.Record(digest=digest or made.digest, created=0, size=0, count=1, files=tuple(leaves))
    store.write("datasets/alice/d/1/upload.json", b"{}")
    store.write("datasets/alice/d/1/dataset.json", msgspec.json.encode(record))


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", "", "a\\b", "x\x1b[2J", "a/./b"])
def test_hostile_paths_in_a_record_are_refused(tmp_path: Path, path: str) -> None:
    store = LocalStore(str(tmp_path / "store"))
    forged(store, Leaf(path, 1, "0" * 64))
    with pytest.raises(StoreError, match="Not a key"):
        dataset.look(store, "alice", "d", 1)


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    forged(store, Leaf("a", 1, "0" * 64), digest="1" * 64)
    with pytest.raises(StoreError, match="its files are not those of its digest"):
        dataset.look(store, "alice", "d", 1)
    for data in (b"", b"[]", b"{}", b'{"schema": 99}', b"\xff", b'{"schema":1,"files":[{"path":1}]}'):
        store.write("datasets/alice/d/1/dataset.json", data)
        with pytest.raises(StoreError, match=r"damaged|later version"):
            dataset.look(store, "alice", "d", 1)


@given(st.binary(max_size=300))
def test_no_record_makes_it_stumble(data: bytes) -> None:
    with contextlib.suppress(StoreError):
        dataset._decoded(data, "key")


# Bringing it back


def stored(tmp_path: Path, **files: str) -> Content:
    store = LocalStore(str(tmp_path / "store"))
    return upload(store, "alice", "d", of_folder(write(tmp_path / "data", **files))).version.content(store)


def test_s7_a_clone_is_verified_and_goes_on(tmp_path: Path) -> None:
    found = stored(tmp_path, a="1", sub__b="2", sub__c="3")
    into = tmp_path / "into"
    write(into, a="1", other="mine")
    done = clone.clone(found, found.files, into)
    assert (sorted(done.brought), done.there) == (["sub/b", "sub/c"], 1)
    assert clone.clone(found, found.files, into) == clone.Cloned((), 3)
    assert (into / "other").read_text() == "mine" and not list(into.rglob(".*"))


def test_s7_a_clone_never_overwrites(tmp_path: Path) -> None:
    found = stored(tmp_path, a="1", b="2")
    into = write(tmp_path / "into", a="mine")
    with pytest.raises(UsageError, match='stand other files: "a"'):
        clone.clone(found, found.files, into)
    assert [path.name for path in into.iterdir()] == ["a"] and (into / "a").read_text() == "mine"


def test_s7_a_damaged_file_is_not_brought(tmp_path: Path) -> None:
    found = stored(tmp_path, a="1", b="2")
    assert isinstance(found.place, Shelf) and isinstance(found.place.store, LocalStore)
    found.place.store.path(found.place.prefix + "b").chmod(0o600)
    found.place.store.write(found.place.prefix + "b", b"X")
    with pytest.raises(StoreError, match="not what was uploaded"):
        clone.clone(found, found.files, tmp_path / "into")
    assert not (tmp_path / "into" / "b").exists()


def test_s7_nothing_leaves_the_folder_through_a_link(tmp_path: Path) -> None:
    found = stored(tmp_path, sub__b="2")
    (tmp_path / "into").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "into" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="through a link"):
        clone.clone(found, found.files, tmp_path / "into")
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], ["a.png", "b.txt", "s/c.png"]),
        (["*.png"], ["a.png", "s/c.png"]),
        (["/*.png"], ["a.png"]),
        (["s/"], ["s/c.png"]),
        (["b.txt", "s/**"], ["b.txt", "s/c.png"]),
    ],
)
def test_s7_globs(patterns: list[str], expected: list[str]) -> None:
    found = of_files([Leaf(path, 1, "0" * 64) for path in ("a.png", "b.txt", "s/c.png")], Path("x"))
    assert [leaf.path for leaf in clone.chosen(found, patterns)] == expected
    with pytest.raises(NotFound, match="No file matches"):
        clone.chosen(found, ["*.zip"])
