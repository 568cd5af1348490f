"""A folder of this computer as it would travel: what is in it, and what is left out and why. Reads names and states of
files, and ignore files, but no other content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator import contract
from orchestrator.cargo import ignore
from orchestrator.errors import SwatchError, UsageError
from orchestrator.wording import quoted

MAX_FILES = 200_000
"""As many as a job unpacks."""

MAX_DEPTH = 200
"""Folders within folders."""


class Entry(NamedTuple):
    """A file, link or empty folder: its path inside (of `/`-separated parts), its path here, its state, and its kind:
    `file`, `executable`, `link` or `folder`."""

    name: str
    path: str
    state: os.stat_result
    kind: str


MARKS = (contract.HOME_INDEX, contract.BROUGHT)
"""Files that tell a folder of what was brought here."""


class LeftOut(NamedTuple):
    """What does not travel though no line of an ignore file says so. `why` is `secret` (named as secrets are),
    `outside` (a link that leads out of the folder: the job's machine has nothing there) or `special` (a socket, pipe or
    device). A folder's name ends with a slash."""

    name: str
    why: str


class Tree(NamedTuple):
    """What travels, in the order of the walk; `ignore_file` is where a line would change what does."""

    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    ignore_file: str


def read(folder: Path, without: Path | None = None) -> Tree:
    """What is in `folder`; all but what its ignore files and the built-in lists name, and without that one file. Raises
    UsageError for no folder or for more than MAX_FILES files; SwatchError for what cannot be read."""
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}")
    root = os.path.realpath(folder)
    skipped = os.stat(without) if without is not None and without.exists() else None
    left_out: list[LeftOut] = []
    try:
        rules = ignore.rules(os.listdir(folder))
    except OSError as error:
        raise _unreadable(str(folder), "", True, error, None) from error
    entries: list[Entry] = []
    for entry in _walk(str(folder), "", rules, root, left_out):
        # Where the file's own folder is a link, its path here is another, and it is the same file all the same.
        if skipped is not None and os.path.samestat(skipped, entry.state) and _same(entry.path, without):
            continue
        entries.append(entry)
        if len(entries) > MAX_FILES:
            raise UsageError(
                f"{folder} holds more than {MAX_FILES:,} files; at {quoted(entry.name)} they were too many",
                hint=f"Name what is no code in {rules.files[0]}, or mount it with --data",
            )
    return Tree(tuple(entries), tuple(left_out), rules.files[0])


def _walk(folder: str, below: str, rules: ignore.Rules, root: str, left_out: list[LeftOut]) -> Iterator[Entry]:
    """Everything kept below one folder. No file is open while others are looked at, however deep it goes."""
    if below.count("/") > MAX_DEPTH:
        raise UsageError(f"{quoted(folder)} is more than {MAX_DEPTH} folders deep", hint="Move it up, or leave it out")
    try:
        with os.scandir(folder) as found:
            inside = sorted(found, key=lambda one: one.name)
    except OSError as error:
        raise _unreadable(folder, below.rstrip("/"), True, error, rules) from error
    names = {one.name for one in inside if one.name in rules.files and one.is_file(follow_symlinks=False)}
    texts = [_lines(os.path.join(folder, name)) if name in names else None for name in rules.files]
    rules = rules.below(below, texts) if any(text is not None for text in texts) else rules
    for one in inside:
        name, is_folder = below + one.name, one.is_dir(follow_symlinks=False)
        verdict = rules.judge(name, is_folder)
        if verdict != "keep":
            if verdict == "secret":
                left_out.append(LeftOut(f"{name}/" if is_folder else name, verdict))
            continue
        if is_folder:
            # What came home, wherever it was put: or every job would change the code.
            if any(os.path.isfile(os.path.join(one.path, mark)) for mark in MARKS):
                continue
            any_inside = False
            for entry in _walk(one.path, f"{name}/", rules, root, left_out):
                any_inside = True
                yield entry
            if not any_inside:
                yield Entry(name, one.path, one.stat(follow_symlinks=False), "folder")
            continue
        state = one.stat(follow_symlinks=False)
        if stat.S_ISLNK(state.st_mode):
            if _stays_inside(one.path, root):
                yield Entry(name, one.path, state, "link")
            else:
                left_out.append(LeftOut(name, "outside"))
        elif stat.S_ISREG(state.st_mode):
            yield Entry(name, one.path, state, "executable" if state.st_mode & 0o100 else "file")
        else:
            left_out.append(LeftOut(name, "special"))


def _same(path: str, other: Path | None) -> bool:
    """Whether both are one name of one file, and not two names of it."""
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def _lines(path: str) -> str:
    """An ignore file's text; names that are not UTF-8 keep their bytes, as the names of files do."""
    try:
        with open(path, "rb") as file:
            data = file.read(ignore.MAX_FILE + 1)
    except OSError as error:
        raise SwatchError(f"{quoted(path)} cannot be read: {error.strerror}", hint="Check its permissions") from error
    if len(data) > ignore.MAX_FILE:
        raise UsageError(f"{quoted(path)} is larger than {ignore.MAX_FILE >> 20} MiB", hint="Name folders in it")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _stays_inside(link: str, root: str) -> bool:
    return (os.path.realpath(link) + os.sep).startswith(root + os.sep) and not os.path.isabs(os.readlink(link))


def unreadable(entry: Entry, error: OSError, ignore_file: str = ignore.OURS) -> SwatchError:
    """The sentence for a file that cannot be read."""
    hint = f"Make it readable, or leave it out by a line in {ignore_file}: {ignore.line(entry.name, False)}"
    return SwatchError(f"{quoted(entry.path)} cannot be read: {error.strerror or error}", hint=hint)


def _unreadable(path: str, name: str, folder: bool, error: OSError, rules: ignore.Rules | None) -> SwatchError:
    hint = "Make it readable"
    if name and rules is not None:
        hint += f", or leave it out by a line in {rules.files[0]}: {ignore.line(name, folder)}"
    return SwatchError(f"{quoted(path)} cannot be read: {error.strerror or error}", hint=hint)
