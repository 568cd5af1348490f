"""Every store keeps what a store promises: the same tests for the folder and for S3 (on moto's server)."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.store import Store, crowd, open_store
from orchestrator.store.base import check_key
from orchestrator.store.local import LocalStore, replace_file

PARTS = st.text(alphabet="ab.-/0", min_size=1, max_size=3).filter(
    lambda part: "/" not in part and part not in (".", "..")
)
KEYS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A new, empty store of each kind."""
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    bucket: str = request.getfixturevalue("bucket")
    return open_store(f"s3://{bucket}/some/prefix")


def test_write_read_replace(store: Store) -> None:
    store.write("a/b.json", b"1")
    store.write("a/b.json", b"2")
    assert store.read("a/b.json") == b"2"
    assert store.exists("a/b.json")
    assert not store.exists("a/c.json")
    with pytest.raises(NotFound):
        store.read("a/c.json")


def test_create_lets_exactly_one_of_many_win(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(12)

    def create(number: int) -> None:
        start.wait()
        if store.create("jobs/1/job.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("jobs/1/job.json") == b"%d" % won[0]


@settings(max_examples=60, deadline=None)
@given(keys=st.sets(KEYS, max_size=12), after=st.one_of(st.just(""), KEYS))
def test_scan_gives_keys_in_byte_order_behind_the_last_seen(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], after: str
) -> None:
    store = LocalStore(str(tmp_path_factory.mktemp("store")))
    assert_scans_in_order(store, keys, after)


def assert_scans_in_order(store: Store, keys: set[str], after: str) -> None:
    kept = set()
    for key in sorted(keys):
        try:
            store.write(key, b"x")
            kept.add(key)
        except StoreError:
            pass  # "a" and "a/b" cannot both be files on a disk
    assert [entry.key for entry in store.scan("")] == sorted(kept)
    assert [entry.key for entry in store.scan("", after)] == [key for key in sorted(kept) if key > after]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(KEYS, max_size=12), after=st.one_of(st.just(""), KEYS))
def test_scan_gives_the_same_order_in_s3(bucket: str, keys: set[str], after: str) -> None:
    assert_scans_in_order(open_store(f"s3://{bucket}/{uuid.uuid4().hex}"), keys, after)


def test_scan_goes_on_over_pages_in_the_order_of_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 lists 1,000 keys at a time, and here ten; a letter beyond the basic plane sorts last by bytes, not by UTF-16."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    keys = [f"many/{number:04d}" for number in range(25)] + ["many/\uffee", "many/\U0001f332"]
    for _ in crowd.each(lambda key: store.write(key, b"x"), keys, 8):
        pass
    assert [entry.key for entry in store.scan("many/")] == keys
    assert [entry.key for entry in store.scan("many/", "many/0013")] == keys[14:]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "a\nb", "a/./b", "x" * 1025, "a/"]
)
def test_no_key_leaves_the_store(store: Store, key: str) -> None:
    with pytest.raises(StoreError):
        store.write(key, b"x")
    with pytest.raises(StoreError):
        check_key(key)


def test_what_is_half_written_is_not_seen(local: LocalStore, tmp_path: Path) -> None:
    """A writer that waits in the middle: nothing under the final name, nothing in a listing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=local.upload, args=(pipe, "out/image.png"))
    thread.start()
    with open(pipe, "wb") as slow:
        slow.write(b"half")
        slow.flush()
        assert not local.exists("out/image.png")
        assert list(local.scan("")) == []
        slow.write(b"whole")
    thread.join()
    assert local.read("out/image.png") == b"halfwhole"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file"

    def fail(out: object) -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        replace_file(target, fail)
    assert list(target.parent.iterdir()) == []


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system (root)")
    try:
        store = LocalStore(str(place))
        with pytest.raises(StoreError, match="The disk is full") as caught:
            store.write("big", b"x" * 200_000)
        assert caught.value.hint is not None
        assert not store.exists("big")
        assert list(store.scan("")) == []
        store.write("small", b"x")
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_without_hard_links_is_a_sentence(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="no hard links"):
        local.create("a", b"x")
    assert list(local.scan("")) == []


def test_folders_and_download(store: Store, tmp_path: Path) -> None:
    store.write("projects/b/jobs/1/job.json", b"{}")
    store.write("projects/a/jobs/1/job.json", b"[]")
    assert store.folders("projects/") == ["a", "b"]
    assert store.folders("nothing/") == []
    digest = store.download("projects/a/jobs/1/job.json", tmp_path / "deep" / "copy")
    assert digest == hashlib.sha256(b"[]").hexdigest()
    assert (tmp_path / "deep" / "copy").read_bytes() == b"[]"
    with pytest.raises(NotFound):
        store.download("projects/c", tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("size", [0, 1, 300_000, (16 << 20) + 1, (24 << 20) + 12345])
def test_files_of_any_size_go_up_and_come_down_as_they_are(store: Store, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    store.upload(tmp_path / "file", "out/file")
    assert [(entry.key, entry.size) for entry in store.scan("out/")] == [("out/file", size)]
    assert store.download("out/file", tmp_path / "home" / "file") == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "home" / "file").read_bytes() == content
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["file"]


def test_an_empty_folder_is_nothing(local: LocalStore) -> None:
    """What a writer leaves that was killed between the folder and the file."""
    local.write("projects/a/jobs/1/job.json", b"{}")
    (local.root / "projects" / "a" / "jobs" / "2").mkdir()
    (local.root / "projects" / "b" / "jobs" / "1").mkdir(parents=True)
    assert local.folders("projects/a/jobs/") == ["1"]
    assert local.folders("projects/") == ["a"]


def test_a_store_has_one_name_whatever_leads_to_it(local: LocalStore, tmp_path: Path) -> None:
    local.write("a", b"x")
    (tmp_path / "link").symlink_to(local.root)
    assert LocalStore(str(tmp_path / "link")).url == local.url


def test_an_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(UsageError, match="ftp://"):
        open_store("ftp://host/x")
