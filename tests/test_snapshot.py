"""Code travels: what goes in comes out, the digest is of the content, hostile archives are refused."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.unpack import unpack
from orchestrator import contract
from orchestrator.cargo import archive as archives
from orchestrator.cargo import ignore, snapshot, tree
from orchestrator.cargo.archive import Member
from orchestrator.cargo.snapshot import of_engine, of_folder
from orchestrator.cargo.tree import LeftOut
from orchestrator.errors import StoreError, SwatchError, UsageError
from orchestrator.store.local import LocalStore
from tests.conftest import REPOSITORY, Box

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["C"]), min_size=1, max_size=8
)
FILES = st.dictionaries(
    NAMES.filter(lambda name: name not in (".", "..") and not name.startswith(".")).map(lambda name: "x" + name),
    st.tuples(st.binary(max_size=50), st.booleans()),
    max_size=6,
)


def travel(folder: Path, where: Path) -> Path:
    """Pack, store, fetch, unpack."""
    store = LocalStore(str(where / "store"))
    packed = of_folder(folder)
    assert packed.carry(store) > 0
    assert packed.carry(store) == 0, "what is there is not sent again"
    store.download(contract.code_key(packed.digest), where / "code.tar.gz")
    unpack(where / "code.tar.gz", where / "out")
    return where / "out"


@settings(max_examples=25, deadline=None)
@given(files=FILES)
def test_any_tree_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]]
) -> None:
    where = tmp_path_factory.mktemp("travel")
    tree = where / "tree" / "deep"
    tree.mkdir(parents=True)
    for name, (content, executable) in files.items():
        (tree / name).write_bytes(content)
        (tree / name).chmod(0o755 if executable else 0o644)
    out = travel(where / "tree", where) / "deep"
    found = {path.name: (path.read_bytes(), os.access(path, os.X_OK)) for path in out.iterdir()} if out.exists() else {}
    if os.geteuid() == 0:  # root may execute what anybody may: compare the mode instead
        found = {name: (content, bool((out / name).stat().st_mode & 0o100)) for name, (content, _) in found.items()}
    assert found == files


def test_links_inside_travel_and_links_outside_do_not(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / "lib" / "a.py").write_text("1")
    (tree / "alias.py").symlink_to("lib/a.py")
    (tree / "folder").symlink_to("lib")
    (tree / "passwd").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../../secret")
    out = travel(tree, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["alias.py", "folder", "lib"]
    assert (out / "alias.py").readlink() == Path("lib/a.py")
    assert (out / "folder" / "a.py").read_text() == "1"


def test_the_digest_is_of_content_not_of_times(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = of_folder(tmp_path).digest
    os.utime(tmp_path / "a", (1, 1))
    assert of_folder(tmp_path).digest == first
    (tmp_path / "a").chmod(0o755)
    second = of_folder(tmp_path).digest
    (tmp_path / "b").symlink_to("a")
    assert len({first, second, of_folder(tmp_path).digest}) == 3


def test_what_leads_outside_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").symlink_to("/etc/passwd")
    assert of_folder(tmp_path).left_out == (LeftOut("weights.h5", "outside"),)


def test_what_changes_while_it_is_packed_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("1")
    packed = of_folder(tmp_path / "code")
    (tmp_path / "code" / "a.py").write_text("2")
    store = LocalStore(str(tmp_path / "store"))
    with pytest.raises(SwatchError, match="changed meanwhile"):
        packed.upload(store)
    assert not store.exists(contract.code_key(packed.digest))


def test_ignore_files_and_what_is_never_code(tmp_path: Path) -> None:
    for name in (
        "keep.py",
        "a.log",
        "deep/b.log",
        "deep/keep.log",
        ".env",
        ".git/config",
        "x/__pycache__/y.pyc",
        "big/z",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n")
    (tmp_path / ".swatchignore").write_text("/big\n")
    names = {member.name for member in of_folder(tmp_path).members}
    assert names == {"keep.py", "deep/keep.log", "x", ".gitignore", ".swatchignore"}, "x is empty now"


# M12: Code snapshot keeps exec bits, symlinks inside the tree, empty dirs, unicode names.


def test_m12_bug_2_1_what_floydhub_lost_in_transit_is_kept(tmp_path: Path) -> None:
    """M12 and 2.1: lost in transit were the exec bit, empty folders, linked folders."""
    tree = tmp_path / "tree"
    (tree / "checkpoints" / "best").mkdir(parents=True)
    (tree / "src").mkdir()
    (tree / "src" / "naïve – 日本.py").write_text("1")
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o700)
    (tree / "lib").symlink_to("src")
    (tree / "src" / "up").symlink_to("../run.sh")
    (tree / "logs").mkdir()
    (tree / "logs" / "a.log").write_text("x")
    (tree / ".gitignore").write_text("*.log\n")
    out = travel(tree, tmp_path)
    assert (out / "src" / "naïve – 日本.py").read_text() == "1"
    assert subprocess.run([out / "src" / "up"], capture_output=True, check=True).stdout == b"ran\n"
    assert (out / "lib").readlink() == Path("src")
    assert list((out / "checkpoints").iterdir()) == [out / "checkpoints" / "best"]
    assert list((out / "checkpoints" / "best").iterdir()) == []
    assert list((out / "logs").iterdir()) == [], "what is in it is ignored, it is not"


def test_m12_an_empty_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = of_folder(tmp_path).digest
    (tmp_path / "checkpoints").mkdir()
    made = of_folder(tmp_path)
    assert made.digest != before and made.members[1] == Member(
        "checkpoints", str(tmp_path / "checkpoints"), "folder", ""
    )
    (tmp_path / "checkpoints").rmdir()
    assert of_folder(tmp_path).digest == before


def test_m12_links_that_lead_nowhere_or_around_do_not_matter(tmp_path: Path) -> None:
    """2.1: a broken link was told as `Directory contains too many files to upload`."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "broken").symlink_to("gone.py")
    (tmp_path / "tree" / "around").symlink_to("around")
    (tmp_path / "tree" / "here").symlink_to(".")
    out = travel(tmp_path / "tree", tmp_path)
    assert {path.name: os.readlink(path) for path in out.iterdir()} == {
        "broken": "gone.py",
        "around": "around",
        "here": ".",
    }


def test_m12_what_is_no_file_stays_here_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("1")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket's whole path may be too long for the system
        listening.bind("socket")
        made = of_folder(tmp_path)
    assert {one.name for one in made.members} == {"a.py"}
    assert set(made.left_out) == {
        LeftOut("pipe", "special"),
        LeftOut("socket", "special"),
        LeftOut("passwd", "outside"),
    }


UNREADABLE = """
import os, sys
from pathlib import Path
from orchestrator.cargo.snapshot import of_folder
from orchestrator.errors import SwatchError
import pathspec
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    of_folder(Path(sys.argv[1]))
except SwatchError as error:
    print(error.message, error.hint, sep="\\n")
"""


@pytest.mark.parametrize(("name", "line"), [("secret.bin", "/secret.bin"), ("locked", "/locked/")])
def test_bug_2_1_a_file_that_cannot_be_read_is_named(name: str, line: str) -> None:
    """2.1: an unreadable file was told as `Directory contains too many files to upload`."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own folders are closed to others, whom the program becomes
        (Path(folder) / "a.py").write_text("1")
        if line.endswith("/"):
            (Path(folder) / name).mkdir(mode=0)
        else:
            (Path(folder) / name).touch(mode=0)
        words = [sys.executable, "-c", UNREADABLE, folder]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    said, hint = done.stdout.splitlines()
    assert said == f'"{folder}/{name}" cannot be read: Permission denied', done.stderr
    assert hint == f"Make it readable, or leave it out by a line in .swatchignore: {line}"


# S4: Pre-flight: bundle > limit lists the 10 largest paths and the ignore line to add


def test_s4_bug_2_1_too_much_code_tells_the_largest_and_the_lines_to_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4; 2.1: over its limit FloydHub named nothing."""
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1_000_000)
    for number in range(30):
        (tmp_path / "data" / "set").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "set" / f"{number}.bin").write_bytes(bytes(100_000))
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model [1].h5").write_bytes(bytes(2_000_000))
    for number in range(20):
        (tmp_path / "src" / f"m{number}.py").write_bytes(bytes(1000 + number))
    with pytest.raises(UsageError) as caught:
        of_folder(tmp_path)
    said = caught.value.message.splitlines()
    assert said[0] == f"{tmp_path} holds 5 MB, and 1 MB travel as code; largest:"
    assert said[1:3] == ["        3.0 MB  data/set/", "        2.0 MB  src/model [1].h5"]
    assert len(said) == 1 + snapshot.LISTED + 3
    assert said[-3:] == ["Lines for .swatchignore that leave enough out:", "/data/set/", r"/src/model \[1].h5"]
    assert "--data" in str(caught.value.hint)
    (tmp_path / ".swatchignore").write_text("\n".join(said[-2:]))
    assert len(of_folder(tmp_path).members) == 22, "20 modules, the ignore file, and data, where nothing is left"


def test_s4_an_old_project_is_told_its_own_ignore_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1000)
    (tmp_path / ".floydignore").write_text("*.pyc\n")
    (tmp_path / "model.h5").write_bytes(bytes(2000))
    with pytest.raises(UsageError, match=r"Lines for \.floydignore .*\n/model\.h5$"):
        of_folder(tmp_path)


def test_s4_more_files_than_a_job_unpacks_are_refused_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(UsageError, match="more than 3 files"):
        of_folder(tmp_path)


@given(sizes=st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.integers(0, 99), max_size=12))
def test_s4_what_is_listed_stands_for_every_file_once(sizes: dict[str, int]) -> None:
    sizes = {name: size for name, size in sizes.items() if not any(other.startswith(name + "/") for other in sizes)}
    shown = snapshot.largest(sizes, most=100)
    assert sum(size for _, size in shown) == sum(sizes.values())
    assert [size for _, size in shown] == sorted((size for _, size in shown), reverse=True)
    for name in sizes:
        rules = ignore.rules(())
        above = ["/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 1)]
        taken = [
            path
            for path, _ in shown
            if (of := rules.below("", [ignore.line(path.rstrip("/"), path.endswith("/")), None])).judge(name, False)
            == "ignore"
            or any(of.judge(one, True) == "ignore" for one in above)
        ]
        assert len(taken) == 1


def test_what_was_left_out_is_told_by_submit(box: Box) -> None:
    """S4: the screen names secrets and says how to send one."""
    code = box.folder / "code"
    code.mkdir()
    (code / ".env").write_text("TOKEN=1")
    os.mkfifo(code / "pipe")
    (code / "away").symlink_to("/etc/passwd")
    manifest = box.manifest("name: try\ncode: code\nmax_runtime: 10m\ncommand: ls -A > /output/ls.txt\n")
    secrets = "Left out of the code, as they look like secrets: .env"
    assert secrets in box.swatch("plan", manifest).splitlines()
    said = box.swatch("submit", manifest, "--watch").splitlines()
    assert secrets in said
    assert "To send one, write a line like this into .swatchignore:  !/.env" in said
    assert "Left out of the code, as they lead outside its folder: away" in said
    assert "Left out of the code, as they are no files (sockets, pipes, devices): pipe" in said
    assert next((box.folder / "outputs").rglob("ls.txt")).read_text() == ""
    (code / ".swatchignore").write_text("!/.env\n")
    assert "secrets" not in box.swatch("submit", manifest, "--watch")
    assert any(path.read_text() == ".env\n.swatchignore\n" for path in (box.folder / "outputs").rglob("ls.txt"))


def test_the_engine_travels_whole() -> None:
    names = {member.name for member in of_engine().members}
    assert {"synthesize.py", "flags.py", "novelty.py", "texture/__init__.py"} <= names
    assert not any(name.startswith("agent") for name in names)


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "members",
    [
        (member("../out"),),
        (member("/etc/x"),),
        (member("a/../../out"),),
        (member("link", tarfile.SYMTYPE, "/etc"),),
        (member("link", tarfile.SYMTYPE, "../.."),),
        (member("link", tarfile.SYMTYPE, "."), member("link/../../out")),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"),),
        (member("device", tarfile.CHRTYPE),),
        (member("pipe", tarfile.FIFOTYPE),),
    ],
)
def test_a_hostile_archive_writes_nothing_outside(tmp_path: Path, members: tuple[tarfile.TarInfo, ...]) -> None:
    packed = archive(tmp_path / "x.tar.gz", *members)
    with pytest.raises(StoreError):
        unpack(packed, tmp_path / "deep" / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar.gz", "deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"folder"}


def test_a_torn_archive_is_an_error(tmp_path: Path) -> None:
    packed = archive(tmp_path / "x.tar.gz", member("a"))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(StoreError, match="damaged"):
        unpack(packed, tmp_path / "out")
    packed.write_bytes(b"no archive")
    with pytest.raises(StoreError, match="damaged"):
        unpack(packed, tmp_path / "out2")


def test_a_damaged_archive_is_an_error_wherever_the_damage_is(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.bin").write_bytes(bytes(range(256)) * 8 + os.urandom(4096))
    (packed := tmp_path / "x.tar.gz").touch()
    archives.write(packed, snapshot.of_folder(tmp_path / "code").members)
    good = packed.read_bytes()
    for at in range(10, len(good), len(good) // 40):
        packed.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        with pytest.raises(StoreError):
            unpack(packed, tmp_path / "out")


def test_a_file_whose_name_is_no_text_travels_too(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    try:
        (tmp_path / "code" / os.fsdecode(b"bad\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system keeps names that are text only")
    store = LocalStore(str(tmp_path / "store"))
    snapshot.of_folder(tmp_path / "code").upload(store)
    (packed,) = store.scan("code/")
    unpack(store.path(packed.key), tmp_path / "out")
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"bad\xff.txt"]
