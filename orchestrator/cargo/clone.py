"""Brings data to a folder of this computer: whole, verified, going on where it stopped, and never over other files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator import contract
from orchestrator.cargo.content import Content, Leaf, Shelf
from orchestrator.cargo.upload import Sent, Tell
from orchestrator.errors import NotFound, StoreError, UsageError
from orchestrator.store import crowd
from orchestrator.store.base import check_key
from orchestrator.store.local import explain, sha256_of
from orchestrator.wording import quoted

NAMED = 5
"""Files in the way that are named."""


class Cloned(NamedTuple):
    """What a clone did: files that were brought, and files that were there already."""

    brought: tuple[str, ...]
    there: int


def chosen(content: Content, patterns: Sequence[str]) -> tuple[Leaf, ...]:
    """The files that any of the patterns means, as in an ignore file; all without patterns. Raises NotFound if that is
    none."""
    if not patterns:
        return content.files
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(patterns)
    found = tuple(leaf for leaf in content.files if spec.match_file(leaf.path))
    if not found:
        raise NotFound(f"No file matches {' or '.join(patterns)}", hint="swatch data listfiles NAME")
    return found


def clone(content: Content, leaves: Sequence[Leaf], folder: Path, tell: Tell = lambda sent: None) -> Cloned:
    """Have these files of the content stand in the folder. Those that are there are not fetched again; what is there
    and is another file is never overwritten: then nothing is brought. A folder that is new or empty is marked
    (contract.BROUGHT): within a folder of code it is none of that. Raises UsageError, StoreError."""
    assert isinstance(content.place, Shelf)
    place = content.place
    try:
        _mark(folder)
        there = {leaf.path for leaf in leaves if _is_there(target(folder, leaf.path), leaf)}
        wanted = [leaf for leaf in leaves if leaf.path not in there]
        in_the_way = [leaf.path for leaf in wanted if os.path.lexists(folder / leaf.path)]
        if in_the_way:
            said = ", ".join(quoted(path) for path in in_the_way[:NAMED])
            more = f" and {len(in_the_way) - NAMED} more" if len(in_the_way) > NAMED else ""
            raise UsageError(f"In {folder} stand other files: {said}{more}", hint="Name another folder: --into FOLDER")
        total, done = sum(leaf.size for leaf in wanted), 0
        tell(Sent(0, total))

        def bring(leaf: Leaf) -> int:
            _fetch(place, leaf, target(folder, leaf.path))
            return leaf.size

        for size in crowd.each(bring, wanted, place.store.width):
            done += size
            tell(Sent(done, total))
    except OSError as error:
        raise StoreError(*explain(error, str(folder))) from error
    return Cloned(tuple(leaf.path for leaf in wanted), len(there))


def file(content: Content, leaf: Leaf, where: Path, tell: Tell = lambda sent: None) -> None:
    """Have one file of the content stand at `where`, unless it does. Raises UsageError if another one does,
    StoreError."""
    assert isinstance(content.place, Shelf)
    try:
        if _is_there(where, leaf):
            return
        if os.path.lexists(where):
            raise UsageError(f"{where} is another file", hint="Name another: -o FILE")
        tell(Sent(0, leaf.size))
        _fetch(content.place, leaf, where)
        tell(Sent(leaf.size, leaf.size))
    except OSError as error:
        raise StoreError(*explain(error, str(where))) from error


def target(folder: Path, path: str) -> Path:
    """Where a file belongs. Raises StoreError for a path that would leave the folder, by its name or by a link."""
    where = folder / check_key(path)
    root = os.path.realpath(folder)
    if not (os.path.realpath(where.parent) + os.sep).startswith(root + os.sep):
        raise StoreError(
            f"{quoted(path)} would leave {folder} through a link", hint="Name another folder: --into FOLDER"
        )
    return where


def _mark(folder: Path) -> None:
    """Say of a folder that is new or empty that it was brought. One that holds a person's own files stays theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        (folder / contract.BROUGHT).touch()


def _is_there(file: Path, leaf: Leaf) -> bool:
    return (
        file.is_file() and not file.is_symlink() and file.stat().st_size == leaf.size and sha256_of(file) == leaf.sha256
    )


def _fetch(place: Shelf, leaf: Leaf, file: Path) -> None:
    part = file.parent / f".{uuid.uuid4().hex}.part"
    try:
        if place.store.download(place.prefix + leaf.path, part) != leaf.sha256:
            raise StoreError(
                f"{place.prefix}{leaf.path} is not what was uploaded: damaged, or just being replaced",
                hint="The same command tries again",
            )
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
