"""The S3 store keeps its promises in trouble: nothing is lost, doubled or torn, whatever a request meets on its way."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import aws
from orchestrator.errors import CloudError, NotFound, StoreError, UsageError
from orchestrator.journal import Log, Writer, read
from orchestrator.simulator.front import ACTIONS, Rule
from orchestrator.store import Store, crowd, open_store, s3
from tests.cloud import Cloud

TROUBLE = [action for action in ACTIONS if action != "delay"]
MIB = 1 << 20


@pytest.fixture
def store(request: pytest.FixtureRequest, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store; where connections stall, its patience is short."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if parameters.get("action") == "stall":
        monkeypatch.setattr(aws, "READ_SECONDS", 0.7)
        aws.forget()
    return open_store(f"s3://{bucket}/store")


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def write(store: Store, folder: Path) -> None:
    store.write("key", b"old")
    store.write("key", b"new")
    assert store.read("key") == b"new"


def create(store: Store, folder: Path) -> None:
    assert store.create("key", b"mine") is True
    assert store.create("key", b"mine") is False
    assert store.create("key", b"other") is False
    assert store.read("key") == b"mine"


def upload(store: Store, folder: Path) -> None:
    (folder / "file").write_bytes(content(100_000))
    store.upload(folder / "file", "key")
    assert store.read("key") == content(100_000)


def upload_in_parts(store: Store, folder: Path) -> None:
    (folder / "file").write_bytes(content(11 * MIB))
    store.upload(folder / "file", "key")
    assert hashlib.sha256(store.read("key")).digest() == hashlib.sha256(content(11 * MIB)).digest()
    assert [(entry.key, entry.size) for entry in store.scan("")] == [("key", 11 * MIB)]


def download(store: Store, folder: Path) -> None:
    store.write("key", content(100_000))
    assert store.download("key", folder / "home" / "file") == hashlib.sha256(content(100_000)).hexdigest()
    assert (folder / "home" / "file").read_bytes() == content(100_000)
    assert [file.name for file in (folder / "home").iterdir()] == ["file"]


def scan(store: Store, folder: Path) -> None:
    for name in ("a/1", "a/2", "b/1"):
        store.write(name, b"x")
    assert [entry.key for entry in store.scan("", "a/1")] == ["a/2", "b/1"]
    assert store.folders("") == ["a", "b"]
    assert store.exists("a/1")
    assert not store.exists("a/3")


WORK: dict[str, tuple[Callable[[Store, Path], None], int]] = {
    "write": (write, 3),
    "create": (create, 4),
    "upload": (upload, 2),
    "download": (download, 2),
    "scan": (scan, 7),
}


@pytest.mark.parametrize("action", TROUBLE)
@pytest.mark.parametrize("name", WORK)
def test_trouble_at_any_request_changes_nothing(
    cloud: Cloud, bucket: str, store: Store, tmp_path: Path, name: str, action: str
) -> None:
    work, count = WORK[name]
    before = cloud.front.troubled
    for place in range(count):
        cloud.front.set([Rule(action, skip=place)])
        work(open_store(f"s3://{bucket}/{place}"), tmp_path)
    assert cloud.front.troubled == before + count


@pytest.mark.parametrize("action", TROUBLE)
@pytest.mark.parametrize("place", range(5))
def test_trouble_at_any_part_of_an_upload_changes_nothing(
    cloud: Cloud, bucket: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, action: str
) -> None:
    """Begin, three parts, completion."""
    monkeypatch.setattr(s3, "PART", 5 * MIB)
    monkeypatch.setattr(s3, "LARGE", 8 * MIB)
    before = cloud.front.troubled
    cloud.front.set([Rule(action, query="upload", skip=place)])
    upload_in_parts(store, tmp_path)
    assert cloud.front.troubled == before + 1


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """450,000 bytes come in five parts, whatever threads other tests of this process have left behind."""
    monkeypatch.setattr(s3, "PART", 100_000)
    monkeypatch.setattr(s3, "LARGE", 200_000)
    monkeypatch.setattr(crowd, "spare", lambda: crowd.MOST)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("action", TROUBLE)
def test_trouble_at_any_part_of_a_download_changes_nothing(
    cloud: Cloud, bucket: str, store: Store, tmp_path: Path, action: str
) -> None:
    data = content(450_000)
    store.write("key", data)
    for place in range(5):
        cloud.front.set([Rule(action, method="GET", skip=place)])
        before = cloud.front.troubled
        assert store.download("key", tmp_path / "file") == hashlib.sha256(data).hexdigest()
        assert cloud.front.troubled == before + 1
        assert (tmp_path / "file").read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("parts")
def test_an_object_replaced_between_two_parts_is_fetched_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the second request goes out, the object is another; parts of two objects never make one file."""
    monkeypatch.setattr(s3.S3Store, "width", 1)
    store.write("key", content(450_000))
    new = content(450_001)
    sent: list[int] = []

    def replace(**_: Any) -> None:
        sent.append(1)
        if len(sent) == 2:
            store.write("key", new)

    aws.client("s3").meta.events.register("before-send.s3.GetObject", replace)
    assert store.download("key", tmp_path / "file") == hashlib.sha256(new).hexdigest()
    assert (tmp_path / "file").read_bytes() == new


def test_a_download_that_fails_leaves_what_was_there(
    cloud: Cloud, bucket: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "TRIES", 2)
    store.write("key", content(1000))
    (tmp_path / "file").write_bytes(b"what was there")
    cloud.front.set([Rule("cut", method="GET", times=None)])
    with pytest.raises(StoreError, match="no answer"):
        store.download("key", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_upload_that_fails_leaves_what_was_there(
    cloud: Cloud, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3, "PART", 5 * MIB)
    monkeypatch.setattr(s3, "LARGE", 8 * MIB)
    aws.forget()
    store = open_store(f"s3://{bucket}")
    store.write("key", b"what was there")
    (tmp_path / "file").write_bytes(content(11 * MIB))
    cloud.front.set([Rule("fail", query="partNumber=2", times=None)])
    with pytest.raises(CloudError):
        store.upload(tmp_path / "file", "key")
    assert store.read("key") == b"what was there"
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads"), "nothing half-sent is paid for"


def test_a_create_whose_answers_are_all_lost_is_known_again(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised, and the object is there: the same asked again is granted, something else is not."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.forget()
    store, other = open_store(f"s3://{bucket}"), open_store(f"s3://{bucket}")
    for key in ("a", "b"):
        cloud.front.set([Rule("lose", method="PUT")])
        with pytest.raises(CloudError):
            store.create(key, b"mine")
    assert other.create("a", b"mine") is False, "another's own word decides, not the content"
    assert store.create("a", b"changed") is False
    assert store.create("a", b"mine") is True
    assert store.create("a", b"mine") is False, "and only once"
    other.write("b", b"mine")
    assert store.create("b", b"mine") is False


def test_one_of_many_creates_wins_among_lost_answers(cloud: Cloud, bucket: str) -> None:
    """Twelve writers of the same bytes, with a third of the answers lost: one wins, and knows it."""
    cloud.front.set([Rule("lose", method="PUT", times=None, share=0.3)])
    won: list[int] = []

    def create(number: int) -> None:
        if open_store(f"s3://{bucket}").create("jobs/1/job.json", b"the same"):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_journal_goes_on_after_a_lost_answer(cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk is there though its writing failed: the writer neither fences itself off nor says a line twice."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.forget()
    store = open_store(f"s3://{bucket}")
    writer = Writer(store, "p", 1)
    for action in ("lose", "throttle"):
        writer.append(Log(1.0, f"before {action}"))
        cloud.front.set([Rule(action, method="PUT")])
        with pytest.raises(StoreError):
            writer.flush()
        writer.append(Log(2.0, f"after {action}"))
        writer.flush()
    chunks = list(read(store, "p", 1))
    texts = [event.text for chunk in chunks for event in chunk.events if isinstance(event, Log)]
    assert texts == ["before lose", "after lose", "before throttle", "after throttle"]
    assert len(chunks) == 4


def test_what_others_put_there_is_no_key(bucket: str) -> None:
    client = aws.client("s3")
    for name in ("p/jobs/", "p/jobs/../../etc/passwd", "p/jobs//x", "p/jobs/a\\b", "p/jobs/good", "p/../x/y", "other"):
        client.put_object(Bucket=bucket, Key=name, Body=b"")
    store = open_store(f"s3://{bucket}/p/")
    assert [entry.key for entry in store.scan("")] == ["jobs/good"]
    assert store.folders("") == ["jobs"]
    assert store.url == f"s3://{bucket}/p"


def test_keys_as_long_as_s3_takes_them(bucket: str) -> None:
    store = open_store(f"s3://{bucket}/prefix")
    longest = "x" * (1024 - len("prefix/"))
    store.write(longest, b"1")
    assert store.read(longest) == b"1"
    with pytest.raises(StoreError, match="1024"):
        store.write(longest + "x", b"1")


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://B", "s3://a_b/x", "s3://bucket//x", "s3://bucket/../x"])
def test_what_is_no_place_in_s3_is_told(url: str) -> None:
    with pytest.raises((UsageError, StoreError)):
        open_store(url)


def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    store = open_store("s3://swatch-nobody-made-this")
    for work in (lambda: store.read("x"), lambda: store.write("x", b""), lambda: list(store.scan(""))):
        with pytest.raises(CloudError, match="no such bucket") as caught:
            work()
        assert caught.value.hint == "swatch setup aws makes one"
    with pytest.raises(NotFound):
        open_store(f"s3://{bucket}").read("nothing")
