"""The local store keeps what a store promises."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.store import open_store
from orchestrator.store.base import check_key
from orchestrator.store.local import LocalStore, replace_file

PARTS = st.text(alphabet="ab.-/0", min_size=1, max_size=3).filter(
    lambda part: "/" not in part and part not in (".", "..")
)
KEYS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def test_write_read_replace(store: LocalStore) -> None:
    store.write("a/b.json", b"1")
    store.write("a/b.json", b"2")
    assert store.read("a/b.json") == b"2"
    assert store.exists("a/b.json")
    assert not store.exists("a/c.json")
    with pytest.raises(NotFound):
        store.read("a/c.json")


def test_create_lets_exactly_one_of_many_win(store: LocalStore) -> None:
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
    kept = set()
    for key in sorted(keys):
        try:
            store.write(key, b"x")
            kept.add(key)
        except StoreError:
            pass  # "a" and "a/b" cannot both be files on a disk
    assert [entry.key for entry in store.scan("")] == sorted(kept)
    assert [entry.key for entry in store.scan("", after)] == [key for key in sorted(kept) if key > after]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "a\nb", "a/./b", "x" * 1025, "a/"]
)
def test_no_key_leaves_the_store(store: LocalStore, key: str) -> None:
    with pytest.raises(StoreError):
        store.write(key, b"x")
    with pytest.raises(StoreError):
        check_key(key)


def test_what_is_half_written_is_not_seen(store: LocalStore, tmp_path: Path) -> None:
    """A writer that waits in the middle: nothing under the final name, nothing in a listing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=store.upload, args=(pipe, "out/image.png"))
    thread.start()
    with open(pipe, "wb") as slow:
        slow.write(b"half")
        slow.flush()
        assert not store.exists("out/image.png")
        assert list(store.scan("")) == []
        slow.write(b"whole")
    thread.join()
    assert store.read("out/image.png") == b"halfwhole"


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


def test_a_disk_without_hard_links_is_a_sentence(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="no hard links"):
        store.create("a", b"x")
    assert list(store.scan("")) == []


def test_folders_and_download(store: LocalStore, tmp_path: Path) -> None:
    store.write("projects/b/jobs/1/job.json", b"{}")
    store.write("projects/a/jobs/1/job.json", b"[]")
    assert store.folders("projects/") == ["a", "b"]
    assert store.folders("nothing/") == []
    store.download("projects/a/jobs/1/job.json", tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_bytes() == b"[]"
    with pytest.raises(NotFound):
        store.download("projects/c", tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_an_empty_folder_is_nothing(store: LocalStore) -> None:
    """What a writer leaves that was killed between the folder and the file."""
    store.write("projects/a/jobs/1/job.json", b"{}")
    (store.root / "projects" / "a" / "jobs" / "2").mkdir()
    (store.root / "projects" / "b" / "jobs" / "1").mkdir(parents=True)
    assert store.folders("projects/a/jobs/") == ["1"]
    assert store.folders("projects/") == ["a"]


def test_a_store_has_one_name_whatever_leads_to_it(store: LocalStore, tmp_path: Path) -> None:
    store.write("a", b"x")
    (tmp_path / "link").symlink_to(store.root)
    assert LocalStore(str(tmp_path / "link")).url == store.url


def test_an_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(UsageError, match="ftp://"):
        open_store("ftp://host/x")
