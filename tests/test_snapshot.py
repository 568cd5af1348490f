"""Code travels: what goes in comes out, the digest is of the content, hostile archives are refused."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.unpack import unpack
from orchestrator import contract
from orchestrator.cargo import archive as archives
from orchestrator.cargo import snapshot
from orchestrator.cargo.snapshot import of_engine, of_folder
from orchestrator.cargo.tree import LeftOut
from orchestrator.errors import StoreError, SwatchError, UsageError
from orchestrator.store.local import LocalStore

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


def test_data_must_not_lead_outside(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").symlink_to("/etc/passwd")
    assert of_folder(tmp_path).left_out == (LeftOut("weights.h5", "outside"),)
    with pytest.raises(UsageError, match=r"weights\.h5 leads outside"):
        of_folder(tmp_path, ignore=False)


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
    assert {member.name for member in of_folder(tmp_path, ignore=False).members} >= {".env", "a.log", "big/z"}


def test_too_much_code_names_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1000)
    (tmp_path / "movie.mp4").write_bytes(b"x" * 2000)
    with pytest.raises(UsageError, match=r"movie\.mp4") as caught:
        of_folder(tmp_path)
    assert ".swatchignore" in str(caught.value.hint)


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
