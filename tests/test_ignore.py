"""What of a folder is code: git's own rules, the built-in list, secrets; and none of FloydHub's old bugs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cargo import ignore, tree
from orchestrator.cargo.snapshot import of_folder
from orchestrator.errors import UsageError


def grow(folder: Path, *names: str, **files: str) -> Path:
    """Files of these names in a folder; a name that ends with a slash is an empty folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_text("x")
    for name, text in files.items():
        (folder / f".{name}").write_text(text)
    return folder


def kept(folder: Path) -> set[str]:
    """What travels of a folder, beside ignore files."""
    names = {entry.name for entry in tree.read(folder).entries}
    return {name for name in names if name.rpartition("/")[2] not in (ignore.OURS, ignore.GITS, ignore.FLOYDHUBS)}


# M11: Ignore semantics = real gitignore; default list; honoured by `data upload` too; not bare lib/var.

SEGMENTS = st.just("x y") | st.sampled_from(
    [
        "a",
        "b",
        "x.py",
        "a.txt",
        "*",
        "*.py",
        "?",
        "[ab]",
        "[!a]",
        "**",
        "a*",
        "lib",
        "\\!x",
        "*.*",
        "a\\*",
        "#c",
        "[[:alpha:]]",
        "[]-]",
    ]
)
PATTERNS = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/", " ", "\\ "]),
).map("".join)
FILES = st.lists(
    st.lists(
        st.sampled_from(["a", "b", "x.py", "a.txt", "lib", "!x", "x y", "#c", "a*", "]"]), min_size=1, max_size=4
    ).map("/".join),
    min_size=1,
    max_size=14,
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git itself says what is right")
@settings(max_examples=120)
@given(files=FILES, top=st.lists(PATTERNS, min_size=1, max_size=6), nested=st.lists(PATTERNS, max_size=3))
def test_m11_whatever_the_lines_the_files_are_those_that_git_takes(
    tmp_path_factory: pytest.TempPathFactory, files: list[str], top: list[str], nested: list[str]
) -> None:
    """M11: ignore semantics = real gitignore."""
    folder = tmp_path_factory.mktemp("tree")
    for name in files:
        try:
            grow(folder, name)
        except OSError:  # a file is where this one's folder would be
            continue
    (folder / ".gitignore").write_text("\n".join(top))
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    if inside and nested:
        (inside[0] / ".gitignore").write_text("\n".join(nested))
    # Git's own settings of this computer must not speak here.
    git = ["git", "-C", str(folder), "-c", "core.excludesFile=/dev/null", "-c", "core.quotePath=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    out = subprocess.run([*git, "ls-files", "-zo", "--exclude-standard"], capture_output=True, check=True)
    wanted = {name for name in os.fsdecode(out.stdout).split("\0") if name}
    assert {entry.name for entry in tree.read(folder).entries if entry.kind != "folder"} == wanted


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ("some_folder/**/*.dat", {"deep/some_folder/x.dat", "some_folder/x.py"}),  # `**` was one level
        ("/some_folder", {"deep/some_folder/x.dat"}),  # a leading slash did not anchor
        ("*.dat\n!x.dat\n/some_folder/a", {"some_folder/x.dat", "some_folder/x.py", "deep/some_folder/x.dat"}),
        ("!x.dat\n*.dat", {"some_folder/x.py"}),  # the order of lines did not matter: here the last one wins
        ("/some_folder/\n!/some_folder/x.py", {"deep/some_folder/x.dat"}),  # not out of an ignored folder
        (
            "\\#x\n# all\n",
            {"some_folder/x.dat", "some_folder/a/x.dat", "some_folder/a/b/x.dat", "some_folder/x.py"}
            | {"deep/some_folder/x.dat"},
        ),
    ],
)
def test_bug_1_5_patterns_mean_what_the_documents_said(tmp_path: Path, lines: str, left: set[str]) -> None:
    """1.5: `**` was one level only, `/` did not anchor, the order of lines was irrelevant."""
    names = ("some_folder/x.dat", "some_folder/a/x.dat", "some_folder/a/b/x.dat", "some_folder/x.py")
    grow(tmp_path, *names, "deep/some_folder/x.dat", swatchignore=lines)
    assert {name for name in kept(tmp_path) if (tmp_path / name).is_file()} == left


def test_bug_1_5_packages_called_lib_and_var_travel(tmp_path: Path) -> None:
    """1.5 and M11: bare `lib` and `var` are not in the built-in list."""
    names = {
        f"{above}{name}/x.py" for above in ("", "src/") for name in ("lib", "lib64", "var", "parts", "sdist", "eggs")
    }
    assert kept(grow(tmp_path, *names)) == names


def test_m11_the_built_in_list(tmp_path: Path) -> None:
    """M11: default list includes .git, venvs, __pycache__, .env*, own state. 1.5: without a file nothing was ignored."""
    grow(tmp_path, "train.py", ".git/config", ".venv/bin/python", "venv/bin/python", "a/__pycache__/b.pyc", "a/b.py")
    grow(tmp_path, ".env", ".env.local", "a/.ipynb_checkpoints/n.ipynb", ".DS_Store", "outputs/try/texture.png")
    grow(
        tmp_path, ".swatchproject", ".swatchdata", ".floydexpt", ".floyddata", "deep/.floydexpt", "deep/.git", "deep/c"
    )
    assert kept(tmp_path) == {"train.py", "a/b.py", "deep/c"}


def test_m11_a_line_brings_back_what_the_built_in_list_leaves_out(tmp_path: Path) -> None:
    """M11: negation, of the built-in list too."""
    grow(
        tmp_path,
        "outputs/x.png",
        "node_modules/a.js",
        "venv/x",
        gitignore="!outputs/\n",
        swatchignore="!node_modules\n",
    )
    assert kept(tmp_path) == {"outputs/x.png", "node_modules/a.js"}


def test_m11_wildcards_alone_bring_back_what_lines_took_and_nothing_else(tmp_path: Path) -> None:
    """M11: a list of what is wanted, as in many a .gitignore, is no wish for .git, venvs or keys."""
    grow(tmp_path, "a.py", "deep/b.py", "deep/b.txt", ".git/hooks/x.py", "venv/lib/x.py", ".ssh/x.py")
    (tmp_path / ".gitignore").write_text("*\n!*/\n!*.py\n")
    assert {name for name in kept(tmp_path) if name.endswith((".py", ".txt"))} == {"a.py", "deep/b.py"}


def test_m11_ours_goes_before_gits_and_the_deeper_before_the_higher(tmp_path: Path) -> None:
    """M11: last match wins; nested files count for their folder."""
    grow(tmp_path, "a/x.log", "a/b/x.log", "a/b/y.log", "data/set.bin", "x.log", "a/only.txt", "only.txt")
    (tmp_path / ".gitignore").write_text("*.log\ndata/\n")
    (tmp_path / ".swatchignore").write_text("!data/\n")
    (tmp_path / "a" / ".gitignore").write_text("!*.log\n/only.txt\n")
    (tmp_path / "a" / "b" / ".swatchignore").write_text("y.log\n")
    assert kept(tmp_path) == {"a/x.log", "a/b/x.log", "data/set.bin", "only.txt"}
    (tmp_path / ".swatchignore").write_text("*.log\n")
    assert kept(tmp_path) == {"a/b/x.log", "only.txt"} - {"a/b/x.log"}


def test_m11_an_old_project_has_its_own_ignore_file_and_what_git_does_not_have(tmp_path: Path) -> None:
    """M11 and G11: `.floydignore` is read unchanged, and `.gitignore` is not, as FloydHub never read it; a
    `.swatchignore` makes it a project of today."""
    grow(tmp_path, "data/set.bin", "train.py", "model_data/vgg.h5", "a.pyc", "lib/x.py", ".git/config")
    grow(tmp_path, gitignore="data/\n", floydignore="\n# ours\n.git\nmodel_data\n*.pyc\n")
    assert kept(tmp_path) == {"data/set.bin", "train.py", "lib/x.py"}
    assert tree.read(tmp_path).ignore_file == ".floydignore"
    (tmp_path / ".swatchignore").write_text("")
    assert kept(tmp_path) == {"model_data/vgg.h5", "train.py", "lib/x.py"}
    assert tree.read(tmp_path).ignore_file == ".swatchignore"


def test_m11_data_is_read_by_the_same_rules(tmp_path: Path) -> None:
    """M11 and 1.5: `data upload` honours ignore files too: `tree.read` is what it reads a folder by."""
    grow(tmp_path, "a.bin", "b.bin", "c.bin", swatchignore="b.bin\n")
    assert kept(tmp_path) == {"a.bin", "c.bin"}


def test_m11_files_written_on_windows_and_by_hand(tmp_path: Path) -> None:
    """M11: CRLF, a byte order mark, names that are no text, lines that are no pattern."""
    grow(tmp_path, "a.log", "b.txt", "c.tmp")
    (tmp_path / ".swatchignore").write_bytes(b"\xef\xbb\xbf*.log\r\n!\r\n/\r\n//\r\n[\r\nbad\xff*\r\n*.tmp\r\n")
    assert kept(tmp_path) == {"b.txt"}


def test_an_ignore_file_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"x\n" * ignore.MAX_FILE)
    with pytest.raises(UsageError, match=r"gitignore.* is larger than 1 MiB"):
        tree.read(tmp_path)


@given(
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12), folder=st.booleans()
)
def test_s4_the_line_that_is_told_leaves_out_that_path(name: str, folder: bool) -> None:
    """S4: the ignore line to add, whatever the name."""
    if name in (".", ".."):
        return
    told = ignore.line(name, folder)
    rules = ignore.rules(()).below("", [told, None])
    assert rules.judge(name, folder) == "ignore"
    assert ignore.rules(()).below("", [f"*\n!{told}", None]).judge(name, folder) == "keep"
    if name.isalnum():
        assert rules.judge(name + "x", folder) == "keep"
        assert rules.judge(f"deep/{name}", folder) == "keep"


# S4: warns on files that look like secrets

SECRETS = (
    *("id_rsa", "deploy.pem", "tls/server.key", "me.p12", ".netrc", ".npmrc", ".pypirc", ".env", ".env.production"),
    *("credentials.json", "service-account-7.json", "client_secret_1.json", "id_ed25519", ".aws/", ".ssh/"),
)


def test_s4_what_looks_like_a_secret_stays_here_and_is_named(tmp_path: Path) -> None:
    """S4: warns on files that look like secrets."""
    grow(tmp_path, *(name + "config" if name.endswith("/") else name for name in SECRETS), "train.py", "id_rsa.pub")
    grow(tmp_path, ".env.example", "cacert.pem", "keys.py", "environment.yml", "keyboard.key.png", "tokens.json")
    made = of_folder(tmp_path)
    assert {one.name for one in made.left_out} == set(SECRETS) and {one.why for one in made.left_out} == {"secret"}
    others = {"train.py", "id_rsa.pub", ".env.example", "cacert.pem", "keys.py", "environment.yml", "keyboard.key.png"}
    assert {one.name for one in made.members} == others | {"tokens.json", "tls"}


def test_s4_a_secret_is_sent_when_a_line_says_so_and_not_named_when_one_hides_it(tmp_path: Path) -> None:
    """S4: left out unless allowed."""
    grow(tmp_path, ".env", "deploy.pem", "old.pem", swatchignore="!.env\n", gitignore="deploy.pem\n")
    made = of_folder(tmp_path)
    assert [one.name for one in made.left_out] == ["old.pem"]
    assert ".env" in {one.name for one in made.members}
