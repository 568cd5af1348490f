"""Only what changed is sent: deltas, what is remembered of a folder, and what happens where either is wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image import unpack
from job_image.unpack import fetch
from orchestrator import contract
from orchestrator.backends.fleet import Fleet
from orchestrator.cargo import archive, index, snapshot
from orchestrator.cargo.archive import Member
from orchestrator.cargo.index import Index
from orchestrator.cargo.snapshot import Snapshot, bring, make_whole, of_folder, of_members
from orchestrator.errors import NotFound, StoreError, SwatchError
from orchestrator.store import open_store
from orchestrator.store.base import Store
from orchestrator.store.local import LocalStore
from orchestrator.swatch import Swatch
from tests.conftest import REPOSITORY, Box
from tests.idle import Idle


def later() -> int:
    """The time once a file system's clock has ticked: what was written just now is settled then."""
    return time.time_ns() + 2 * index.GRANULE


class Desk:
    """A code folder, what is remembered of it, and a store."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.code, self.home = folder / "code", folder / "home"
        self.code.mkdir(parents=True)
        self.store: Store = store or LocalStore(str(folder / "store"))

    def write(self, **files: str | bytes) -> None:
        for name, text in files.items():
            (self.code / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def look(self, now: Callable[[], int] = later) -> Snapshot:
        return of_folder(self.code, index=Index(self.home, self.code, now))

    def send(self, whole: bool = False) -> tuple[str, int]:
        """The digest of what the folder holds now, and how many bytes were sent for it."""
        made = self.look()
        return made.digest, made.carry(self.store, whole)

    def stored(self, digest: str) -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(self.store.read(contract.code_key(digest))))

    def names(self, digest: str) -> list[str]:
        with self.stored(digest) as tar:
            return tar.getnames()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.write(weights=os.urandom(1 << 20), main=b"print(1)")  # more than a delta must save
    return made


def shape(folder: Path) -> dict[str, object]:
    """What is in a folder: content and whether it may be executed, where a link leads, or that a folder is empty."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = os.fsencode(path.relative_to(folder)).decode("latin-1")
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            if not any(path.iterdir()):
                found[name] = "empty"
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


# S3: Content-addressed sync: second run with 1 changed file of 5,000 sends only that file (assert bytes); identical tree
# sends 0; dedup across projects; no "too many open files" at 50k files; 200-file-descriptor limit test.


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_s3_of_5000_files_only_the_changed_one_is_sent(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    """S3: second run with 1 changed file of 5,000 sends only that file (assert bytes); identical tree sends 0."""
    bucket = request.getfixturevalue("bucket") if place == "s3" else ""
    desk = Desk(tmp_path, open_store(f"s3://{bucket}/studio" if bucket else str(tmp_path / "store")))
    for number in range(50):
        (desk.code / f"part{number}").mkdir()
        for file in range(100):
            (desk.code / f"part{number}" / f"m{file}.py").write_text(f"print({number * file})\n")
    _, first = desk.send()
    before = {entry.key: entry.size for entry in desk.store.scan("code/")}
    assert sum(before.values()) == first
    assert desk.send()[1] == 0, "an identical tree sends nothing"
    content = os.urandom(3000)
    (desk.code / "part7" / "m7.py").write_bytes(content)
    digest, sent = desk.send()
    after = {entry.key: entry.size for entry in desk.store.scan("code/")}
    assert desk.names(digest) == ["part7/m7.py"]
    assert sum(after.values()) - sum(before.values()) == sent and len(content) < sent < len(content) + 700
    bring(desk.store, digest, tmp_path / "out")
    assert shape(tmp_path / "out") == shape(desk.code)


def test_s3_equal_trees_of_two_projects_are_one_object(tmp_path: Path) -> None:
    """S3: dedup across projects."""
    desk, other = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    for one in (desk, other):
        one.write(main="print(1)")
    assert desk.send()[1] > 0
    assert other.look().carry(desk.store) == 0


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from orchestrator.cargo.index import Index
from orchestrator.cargo.snapshot import bring, of_folder
from orchestrator.store.local import LocalStore
folder = Path(sys.argv[1])
store = LocalStore(str(folder / "store"))
made = of_folder(folder / "code", index=Index(folder / "home", folder / "code"))
print(len(made.members), made.carry(store) > 0, of_folder(folder / "code").carry(store))
bring(store, made.digest, folder / "out")
"""


@pytest.mark.slow
def test_s3_50000_files_and_200_descriptors(tmp_path: Path) -> None:
    """S3 and 2.1: no "too many open files" at 50,000 files; FloydHub opened all of them at once, and took a broken link
    for too many files."""
    for number in range(100):
        folder = tmp_path / "code" / f"part{number}"
        folder.mkdir(parents=True)
        for file in range(500):
            os.close(os.open(folder / f"m{file}.py", os.O_CREAT | os.O_WRONLY))
    (tmp_path / "code" / "broken").symlink_to("part0/gone.py")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("50001 True 0\n", "")
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "out")) == 50001


# Deltas

NAMES = st.lists(st.sampled_from(["a", "b", "c", "ü", "x y"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(
    NAMES,
    st.tuples(st.just("file"), st.binary(max_size=9), st.booleans())
    | st.tuples(st.just("link"), st.sampled_from(["a", "b", "c/a", "."]), st.booleans())
    | st.tuples(st.just("folder"), st.just(b""), st.booleans()),
    max_size=6,
)


def grown(folder: Path, tree: dict[str, tuple[str, bytes | str, bool]]) -> Path:
    """The folder with as much of the tree as can be; a large file in it makes deltas worth it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "large").write_bytes(bytes(archive.WORTH + 9000))
    for name, (kind, content, executable) in sorted(tree.items()):
        path = folder / name
        try:
            if os.path.realpath(path.parent) != str(path.parent):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif isinstance(content, str):
                path.symlink_to(content)
            else:
                path.write_bytes(content)
                path.chmod(0o755 if executable else 0o644)
        except OSError:  # a file is where a folder would be, or the other way round
            continue
    return folder


@settings(max_examples=20)
@given(trees=st.lists(TREES, min_size=2, max_size=4))
def test_s3_whatever_becomes_of_a_tree_what_is_fetched_is_what_it_was(
    tmp_path_factory: pytest.TempPathFactory, trees: list[dict[str, tuple[str, bytes | str, bool]]]
) -> None:
    """S3 and M12: files become links, folders become files, all goes away: through chains of deltas."""
    where = Path(os.path.realpath(tmp_path_factory.mktemp("trees")))
    desk = Desk(where)
    sent = {}
    for tree in trees:
        grown(desk.code, tree)
        digest, _ = desk.send()
        sent[digest] = shape(desk.code)
    for number, (digest, wanted) in enumerate(sent.items()):
        bring(desk.store, digest, where / f"out{number}")
        assert shape(where / f"out{number}") == wanted
        assert of_folder(where / f"out{number}").digest == digest


def test_s3_a_delta_says_what_it_builds_on_and_what_is_gone(desk: Desk) -> None:
    desk.write(old="x")
    first, _ = desk.send()
    (desk.code / "old").rename(desk.code / "new")
    digest, _ = desk.send()
    with desk.stored(digest) as tar:
        assert tar.getnames() == ["new"]
        assert tar.pax_headers == {"SWATCH.base": first, "SWATCH.depth": "1", "SWATCH.removed": '["old"]'}


def test_s3_what_only_goes_away_is_a_delta_too(desk: Desk, tmp_path: Path) -> None:
    desk.write(old="x")
    desk.send()
    (desk.code / "old").unlink()
    digest, sent = desk.send()
    assert 0 < sent < 1000
    bring(desk.store, digest, tmp_path / "out")
    assert shape(tmp_path / "out") == shape(desk.code)


def test_s3_a_chain_ends_with_a_whole_snapshot(desk: Desk, tmp_path: Path) -> None:
    depths = []
    for number in range(contract.MAX_DELTA_DEPTH + 3):
        desk.write(main=str(number))
        digest, _ = desk.send()
        with desk.stored(digest) as tar:
            depths.append(int(tar.pax_headers.get("SWATCH.depth", 0)))
        bring(desk.store, digest, tmp_path / f"out{number}")
        assert shape(tmp_path / f"out{number}") == shape(desk.code)
    assert depths == [*range(contract.MAX_DELTA_DEPTH + 1), 0, 1]


def test_s3_a_delta_that_saves_little_is_not_made(desk: Desk) -> None:
    desk.send()
    desk.write(weights=os.urandom(1 << 20))
    assert desk.names(desk.send()[0]) == ["main", "weights"]
    small = Desk(desk.home.parent / "small")
    small.write(a="1", b="2")
    small.send()
    small.write(a="3")
    assert small.names(small.send()[0]) == ["a", "b"], "a job's additional request costs more"


def test_s3_a_delta_is_not_made_upon_what_is_gone(desk: Desk, tmp_path: Path) -> None:
    first, _ = desk.send()
    os.unlink(LocalStore(desk.store.url).path(contract.code_key(first)))
    desk.write(main="print(2)")
    digest, _ = desk.send()
    assert desk.names(digest) == ["main", "weights"]
    bring(desk.store, digest, tmp_path / "out")


def test_s3_another_store_is_sent_all(desk: Desk, tmp_path: Path) -> None:
    desk.send()
    desk.write(main="print(2)")
    desk.store = LocalStore(str(tmp_path / "another"))
    assert desk.names(desk.send()[0]) == ["main", "weights"]


def test_a_job_whose_code_was_sent_as_a_delta_has_all_of_it(box: Box) -> None:
    """The agent fetches what the code builds on."""
    (box.folder / "code").mkdir()
    (box.folder / "code" / "weights.bin").write_bytes(os.urandom(1 << 20))
    for word in ("one", "two"):
        (box.folder / "code" / "say.txt").write_text(word)
        said = "cat say.txt > /output/said.txt; wc -c < weights.bin >> /output/said.txt"
        text = f"name: {word}\ncode: code\nmax_runtime: 10m\ncommand: '{said}'\n"
        box.swatch("submit", box.manifest(text), "--watch")
        assert next((box.folder / "outputs" / word).rglob("said.txt")).read_text().split() == [f"{word}1048576"]
    sizes = sorted(entry.size for entry in box.store.scan("code/"))
    assert len(sizes) == 2 and sizes[0] < 1000, "the second was sent as a delta"


# Jobs that cannot read the store


def test_what_must_be_whole_is_sent_whole(desk: Desk) -> None:
    desk.send()
    desk.write(main="print(2)")
    digest, _ = desk.send(whole=True)
    assert desk.names(digest) == ["main", "weights"]
    assert desk.send(whole=True)[1] == 0


def test_what_must_be_whole_and_is_stored_as_a_delta_is_made_whole(desk: Desk, tmp_path: Path) -> None:
    desk.send()
    desk.write(main="print(2)")
    digest, sent = desk.send()
    assert desk.names(digest) == ["main"]
    assert desk.send(whole=True)[1] > sent
    assert desk.names(digest) == ["main", "weights"]
    shutil.rmtree(desk.home)
    assert desk.send(whole=True)[1] == 0, "somebody else's whole one is left as it is"
    for entry in list(desk.store.scan("code/")):
        if entry.key != contract.code_key(digest):
            os.unlink(LocalStore(desk.store.url).path(entry.key))
    bring(desk.store, digest, tmp_path / "out")
    assert shape(tmp_path / "out") == shape(desk.code)


def test_a_delta_never_takes_the_place_of_a_whole_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another laptop puts the whole one there between the look and the writing."""
    desk.send()
    desk.write(main="print(2)")
    made = desk.look()
    write = archive.write

    def late(file: Path, members: tuple[Member, ...], headers: dict[str, str] | None = None) -> None:
        write(file, members, headers)
        if headers:
            made._replace(remembered=None).upload(desk.store)

    monkeypatch.setattr(archive, "write", late)
    made.carry(desk.store)
    assert desk.names(made.digest) == ["main", "weights"]


# Hostile and damaged archives


def hostile(store: LocalStore, digest: str, headers: dict[str, str], *members: tuple[str, bytes]) -> None:
    data = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", fileobj=data) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar,
    ):
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content.startswith(b"->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:].decode()
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    store.write(contract.code_key(digest), data.getvalue())


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("headers", "members", "said"),
    [
        ({"SWATCH.base": "../../etc/passwd"}, [("x", b"x")], "damaged"),
        ({"SWATCH.base": A}, [("x", b"x")], "too many others"),  # upon itself
        ({"SWATCH.base": B, "SWATCH.removed": '["../precious"]'}, [("x", b"x")], "outside"),
        ({"SWATCH.base": B, "SWATCH.removed": '["/etc/passwd"]'}, [("x", b"x")], "outside"),
        ({"SWATCH.base": B, "SWATCH.removed": '[""]'}, [("x", b"x")], "outside"),
        ({"SWATCH.base": B, "SWATCH.removed": '["up/precious"]'}, [("x", b"x")], "outside"),
        ({"SWATCH.base": B, "SWATCH.removed": '["gone"]'}, [("x", b"x")], "not there"),
        ({"SWATCH.base": B, "SWATCH.removed": '{"x": 1}'}, [("x", b"x")], "damaged"),
        ({"SWATCH.base": B, "SWATCH.removed": "[1]"}, [("x", b"x")], "damaged"),
        ({"SWATCH.base": B, "SWATCH.removed": "[" * 100_000}, [("x", b"x")], "damaged"),
        ({"SWATCH.base": B}, [("up/precious", b"x")], "outside"),
        ({"SWATCH.base": B}, [("y/b", b"->."), ("y/a", b"->b/../..")], "outside"),
        ({"SWATCH.base": B}, [("y/a", b"->b/../.."), ("y/b", b"->.")], "outside"),
        ({"SWATCH.base": B}, [("x", b"x")], "other files than its name says"),
        ({}, [("x", b"x")], "other files than its name says"),
        ({"SWATCH.removed": "x" * (65 << 20)}, [("x", b"x")], "damaged"),
    ],
)
def test_hostile_snapshots_are_refused(
    tmp_path: Path, headers: dict[str, str], members: list[tuple[str, bytes]], said: str
) -> None:
    store = LocalStore(str(tmp_path / "store"))
    hostile(store, B, {}, ("file", b"1"), ("up", b"->deep"), ("deep/x", b"1"))
    hostile(store, A, headers, *members)
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "precious").write_text("mine")
    with pytest.raises(StoreError, match=said):
        bring(store, A, tmp_path / "deep" / "out")
    assert (tmp_path / "precious").read_text() == (tmp_path / "deep" / "precious").read_text() == "mine"
    assert {path.name for path in (tmp_path / "deep").iterdir()} <= {"precious", "out"}


def test_what_a_snapshot_builds_on_is_missed_by_name(desk: Desk, tmp_path: Path) -> None:
    first, _ = desk.send()
    desk.write(main="print(2)")
    digest, _ = desk.send()
    os.unlink(LocalStore(desk.store.url).path(contract.code_key(first)))
    with pytest.raises(StoreError, match=f"{digest} builds on {first}, which is gone") as caught:
        bring(desk.store, digest, tmp_path / "out")
    assert contract.code_key(digest) in str(caught.value.hint)
    with pytest.raises(NotFound):
        bring(desk.store, "0" * 64, tmp_path / "out")


def test_what_is_brought_is_fetched_no_more(desk: Desk, tmp_path: Path) -> None:
    """SageMaker's channel has brought the snapshot; only what it builds on comes from the store."""
    desk.send()
    desk.write(main="print(2)")
    digest, _ = desk.send()
    brought = tmp_path / "brought.tar.gz"
    desk.store.download(contract.code_key(digest), brought)
    os.unlink(LocalStore(desk.store.url).path(contract.code_key(digest)))
    fetch(desk.store, digest, tmp_path / "out", tmp_path, brought)
    assert shape(tmp_path / "out") == shape(desk.code)


# What is remembered


def opened(desk: Desk, now: Callable[[], int] = later) -> set[str]:
    """Which files of the code a snapshot opens."""
    found: set[str] = set()
    watching.append((os.path.realpath(desk.code) + os.sep, found))
    try:
        desk.look(now)
    finally:
        watching.pop()
    return found


watching: list[tuple[str, set[str]]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and watching and isinstance(arguments[0], str):
        folder, found = watching[-1]
        path = os.path.realpath(arguments[0])
        if path.startswith(folder) and not os.path.isdir(path):
            found.add(path[len(folder) :])


sys.addaudithook(_watch)


def test_what_has_not_changed_is_not_read_again(desk: Desk) -> None:
    assert opened(desk) == {"main", "weights"}
    assert opened(desk) == set()
    desk.write(main="print(3)")
    assert opened(desk) == {"main"}


def test_what_was_written_a_moment_ago_is_read_again(desk: Desk) -> None:
    """Git's racy entries: within a tick of the clock a change does not show."""
    assert opened(desk, time.time_ns) == {"main", "weights"}
    assert opened(desk, time.time_ns) == {"main", "weights"}


def test_a_change_that_keeps_size_and_time_is_seen(desk: Desk) -> None:
    desk.write(main="print(1)")
    first, state = desk.look().digest, (desk.code / "main").stat()
    desk.write(main="print(2)")
    os.utime(desk.code / "main", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert desk.look().digest != first, "the inode's own time cannot be set"


def test_another_file_of_that_name_is_seen(desk: Desk, tmp_path: Path) -> None:
    first = desk.look().digest
    (tmp_path / "other").write_text("print(9)")
    state = (desk.code / "main").stat()
    os.utime(tmp_path / "other", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "other").replace(desk.code / "main")
    assert desk.look().digest != first


@pytest.mark.parametrize("damage", [b"", b"\x00", bytes(4096), None])
def test_a_damaged_index_costs_time_alone(desk: Desk, damage: bytes | None) -> None:
    digest, _ = desk.send()
    files = [path for path in desk.home.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage is None else damage)
    assert opened(desk) == {"main", "weights"}
    assert desk.send() == (digest, 0)
    desk.write(main="print(2)")
    second, _ = desk.send()
    assert desk.names(second) in (["main"], ["main", "weights"])


def test_an_index_that_cannot_be_written_costs_time_alone(desk: Desk) -> None:
    desk.home.write_text("no folder")
    assert desk.send()[1] > 0
    assert desk.send()[1] == 0


def test_folders_long_not_seen_are_forgotten(tmp_path: Path) -> None:
    for number in range(index.MAX_FOLDERS + 5):
        folder = tmp_path / f"code{number}"
        folder.mkdir()
        (folder / "main").write_text("1")
        of_folder(folder, index=Index(tmp_path / "home", folder, later))
    assert len(list((tmp_path / "home" / "index").iterdir())) == index.MAX_FOLDERS


@given(
    st.dictionaries(NAMES, st.sampled_from(["file", "executable", "link", "folder"]), max_size=8),
    st.dictionaries(NAMES, st.sampled_from(["file", "executable", "link", "folder"]), max_size=8),
)
def test_a_delta_of_any_two_trees_is_what_differs(now: dict[str, str], before: dict[str, str]) -> None:
    """Pure: what a delta sends and removes, applied to the base, is the tree."""
    large = Member("large", bytes(1 << 20), "file", "0")
    little = Member("little", b"1", "file", "1")
    members = of_members([large, little, *(Member(name, b"", kind, kind) for name, kind in now.items())]).members
    base = {"large": ("file", "0"), "little": ("file", "1"), **{name: (kind, kind) for name, kind in before.items()}}
    made = archive.delta(members, A, 0, base)
    assert made is not None
    assert json.loads(made.headers["SWATCH.removed"]) == list(made.removed)
    left = {name: what for name, what in base.items() if name not in made.removed}
    left.update((one.name, (one.kind, one.content)) for one in made.members)
    assert left == {one.name: (one.kind, one.content) for one in members}


def test_make_whole_leaves_a_whole_one_alone(desk: Desk) -> None:
    digest, _ = desk.send()
    before = desk.store.read(contract.code_key(digest))
    assert make_whole(desk.store, digest) == 0
    assert desk.store.read(contract.code_key(digest)) == before


def test_what_is_gone_when_it_is_sent_is_told(desk: Desk) -> None:
    made = desk.look()
    (desk.code / "main").unlink()
    with pytest.raises(SwatchError, match=r"main.* is gone"):
        made.carry(desk.store)
    assert not desk.store.exists(contract.code_key(made.digest))
    assert snapshot.of_folder(desk.code).carry(desk.store) > 0


def test_a_change_of_the_largest_tree_can_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is there already counts once, however many archives have it."""
    monkeypatch.setattr(unpack, "MAX_FILES", 3)
    store = LocalStore(str(tmp_path / "store"))
    first = [Member(name, b"1", "file", hashlib.sha256(b"1").hexdigest()) for name in "abc"]
    base = of_members(first)
    base.upload(store)
    changed = of_members([Member("a", b"2", "file", hashlib.sha256(b"2").hexdigest()), *first[1:]])
    packed = tmp_path / "delta.tar.gz"
    archive.write(packed, changed.members[:1], archive.Delta(base.digest, 1, changed.members[:1], ()).headers)
    store.upload(packed, contract.code_key(changed.digest))
    bring(store, changed.digest, tmp_path / "out")
    assert [(tmp_path / "out" / name).read_bytes() for name in "abc"] == [b"2", b"1", b"1"]
    larger = of_members([*first, Member("d", b"1", "file", first[0].content)])
    larger.upload(store)
    with pytest.raises(StoreError, match="too large"):
        bring(store, larger.digest, tmp_path / "more")


def test_a_file_that_is_larger_than_its_archive_says_is_refused(tmp_path: Path) -> None:
    """A sparse file: a few bytes that would fill the disk."""
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "1000000"}
    packed = tmp_path / "sparse.tar.gz"
    with tarfile.open(packed, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("s")
        info.size, info.pax_headers = 512, said
        tar.addfile(info, io.BytesIO(b"0\n".ljust(512, b"\0")))
    with pytest.raises(StoreError, match="neither file, folder nor link"):
        unpack.unpack(packed, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_library_sends_whole_code_to_jobs_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATCH_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.yaml").write_text(
        "aws: {network_isolation: true, image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1}\n"
    )
    code = tmp_path / "code"
    code.mkdir()
    (code / "large.bin").write_bytes(os.urandom(1 << 20))
    manifest = tmp_path / "try.yaml"
    manifest.write_text("name: try\ncommand: python a.py\ncode: code\n")
    swatch = Swatch(str(tmp_path / "store"), folder=tmp_path)
    swatch.__dict__["machines"] = Fleet(Idle)
    found: list[unpack.Base | None] = []
    for backend in ("local", "local", "sagemaker"):
        (code / "a.py").write_text(f"print({len(found)})")
        (job,) = swatch.submit(manifest, backend=backend, retry_failed=True).started
        assert job.code is not None
        found.append(unpack.base_of(swatch.store.path(contract.code_key(job.code))))  # type: ignore[attr-defined]
    assert [base is None for base in found] == [True, False, True]
