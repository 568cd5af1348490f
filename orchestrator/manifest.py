"""A manifest: what a person wishes for, read strictly. Every problem of the file is found at once, at its line.

`read(path)` gives a `Draft`, to which whoever looks at the files it names adds problems of their own; `Draft.check()`
then gives the `Manifest`, or raises all of them. `python -m orchestrator.manifest` prints the JSON Schema.
"""

from __future__ import annotations

import bisect
import functools
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator import command as commands
from orchestrator import document, shape
from orchestrator.document import REFUSED, Document
from orchestrator.entries import DAY, DataMount, Defaults, ManifestEntry, TextureParameters, json_schema
from orchestrator.errors import ManifestError, NotFound, Problem, UsageError
from orchestrator.wording import shown, where

__all__ = ["DataMount", "Draft", "Manifest", "Texture", "TextureParameters", "complete", "json_schema", "read"]

MAX_COMMAND = 32_768
"""Bytes of a command. Linux starts none with an argument over 128 KiB, placeholders filled in."""
MAX_TASKS = 10_000
"""Most tasks of one manifest, all combinations counted."""


class Texture(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `textures`. `patterns` are paths and globs as written; `together` says that they are the sources of
    one texture, else the one pattern makes a texture for each file. `content` is the picture that the method `style`
    paints. `parameters` are those given here, `size` undone. In a draft, a `name`, `content` or pattern that was
    refused is empty."""

    index: int
    patterns: tuple[str, ...]
    together: bool = False
    name: str | None = None
    content: str | None = None
    parameters: dict[str, Any] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is wished for: either `textures` or a `command`. `max_runtime` is in seconds, `max_cost` in USD;
    `tasks_per_job` None means that Swatch decides. `fallbacks` are for when `machine` has no capacity. A command's
    `matrix` holds texts, as they were written."""

    name: str
    machine: str = "cpu"
    fallbacks: tuple[str, ...] = ()
    image: str | None = None
    backend: str = "local"
    queue: str | None = None
    spot: bool = False
    max_runtime: int = DAY
    max_cost: float | None = None
    tasks_per_job: int | None = None
    retries: int = 0
    data: tuple[DataMount, ...] = ()
    defaults: dict[str, Any] = {}
    textures: tuple[Texture, ...] = ()
    command: str | None = None
    matrix: dict[str, tuple[Any, ...]] = {}
    code: str = "."

    @property
    def combinations(self) -> int:
        """How many tasks each texture (or the command) becomes."""
        return math.prod(len(values) for values in self.matrix.values())


class Draft:
    """A manifest being checked. `manifest` holds its valid parts (None if there are none), `problems` what is wrong
    so far, in the order of the file. `path` is as the user gave it."""

    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.manifest: Manifest | None = None
        self.problems: list[Problem] = sorted(document.problems)
        self._document = document

    @property
    def folder(self) -> Path:
        """Where relative paths in the manifest begin."""
        return self.path.parent

    def at(self, *path: str | int) -> tuple[int, int]:
        """Line and column, from 1, of an entry such as `("textures", 3, "width")`, or of the nearest around it."""
        return self._document.at(*path)

    def written(self, *path: str | int) -> str | None:
        """A plain scalar as it stands in the file, where it was read as something other than text."""
        return self._document.texts.get(path)

    def problem(self, path: tuple[str | int, ...], message: str) -> None:
        """Adds a problem of the entry at `path`."""
        bisect.insort(self.problems, Problem(*self.at(*path), where(path), message))

    def check(self) -> Manifest:
        """The manifest; raises ManifestError with every problem if there is one."""
        if self.problems or self.manifest is None:
            raise ManifestError(str(self.path), self.problems)
        return self.manifest


def read(path: Path) -> Draft:
    """Reads a manifest; whatever its content, that never raises. Raises NotFound if there is no such file, and
    UsageError if it is a folder or may not be read."""
    draft = Draft(path, document.read(_bytes(path)))
    data = draft._document.data
    if isinstance(data, dict):
        draft.manifest = _manifest(draft, data)
    elif data is None and not draft.problems:
        draft.problem((), "the manifest is empty: it needs a name, and textures or a command")
    elif data is not None and data is not REFUSED:
        draft.problem((), f"expected keys like name and textures, got {shown(data)}")
    return draft


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Engine parameters with the built-in defaults filled in."""
    return msgspec.structs.asdict(TextureParameters(**given))


def sides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of one level with `size` undone into width and height."""
    plain = {key: value for key, value in given.items() if key != "size"}
    if "size" in given:
        plain["width"], plain["height"] = given["size"]
    return plain


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(document.MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"no such manifest: {path}", f"ls {path.parent}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a manifest", f"name a file in it: {path}/forest.yaml") from None
    except PermissionError:
        raise UsageError(f"{path} may not be read", f"chmod u+r {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(str(path))} cannot be read: {error}", "check the path") from None


@functools.cache
def _types() -> tuple[msgspec.inspect.Type, dict[str, msgspec.inspect.Type]]:
    """The type of the whole file, and that of each parameter a texture's matrix may name."""
    parameters = msgspec.inspect.type_info(Defaults)
    assert isinstance(parameters, msgspec.inspect.StructType)
    return msgspec.inspect.type_info(ManifestEntry), {field.encode_name: field.type for field in parameters.fields}


def _manifest(draft: Draft, data: dict[str, Any]) -> Manifest:
    """The valid parts of the file as a value; what is wrong is reported to the draft."""
    given = shape.fit(_types()[0], data, (), draft.problem)
    _one_of(draft, data)
    textures = [
        _texture(draft, index, entry, data["textures"][index])
        for index, entry in enumerate(given.get("textures", ()))
        if entry is not REFUSED
    ]
    per_job = given.get("tasks_per_job", "auto")
    command = given.get("command")
    if "command" in data and per_job not in ("auto", 1):
        draft.problem(("tasks_per_job",), "a command is one task a job: drop tasks_per_job")
    matrix = _matrix(draft, data, given.get("matrix", {}))
    machine, *fallbacks = given.get("machine", ("cpu",))
    manifest = Manifest(
        **{key: given[key] for key in _PLAIN if key in given},
        name=given.get("name", ""),
        machine=machine,
        fallbacks=tuple(fallbacks),
        tasks_per_job=None if per_job == "auto" else per_job,
        data=_mounts(draft, given.get("data", [])),
        defaults=_level(draft, ("defaults",), given.get("defaults", {})),
        textures=tuple(textures),
        command=command,
        matrix=matrix,
    )
    wanted = data.get("matrix", {})
    if command is not None and len(command.encode("utf-8", "replace")) > MAX_COMMAND:
        draft.problem(("command",), f"has more than {MAX_COMMAND:,} bytes: put it into a script beside this file")
    elif command is not None and isinstance(wanted, dict):
        _placeholders(draft, manifest, command, wanted)
    count = manifest.combinations * max(1, len(manifest.textures))
    if count > MAX_TASKS:
        draft.problem(("matrix" if matrix else "textures",), f"{count:,} tasks: a manifest holds {MAX_TASKS:,} at most")
    return manifest


_PLAIN = ("image", "backend", "queue", "spot", "max_runtime", "max_cost", "retries", "code")


def _one_of(draft: Draft, data: dict[str, Any]) -> None:
    if "command" not in data and "textures" not in data:
        draft.problem((), 'missing key "textures" (or "command")')
    elif "command" in data and "textures" in data:
        draft.problem(("command",), "either textures or a command, not both: make two manifests")
    elif "command" in data and "defaults" in data:
        draft.problem(("defaults",), "belongs to textures: a command takes its values from the matrix")
    elif "textures" in data and "code" in data:
        draft.problem(("code",), "belongs to a command: textures bring no code")


def _texture(draft: Draft, index: int, entry: dict[str, Any], written: Mapping[str, Any]) -> Texture:
    source = entry.pop("source", [])
    together = isinstance(source, list)
    patterns = tuple("" if pattern is REFUSED else pattern for pattern in source) if together else (source,)
    name, content = (entry.pop(key, "" if key in written else None) for key in ("name", "content"))
    parameters = _level(draft, ("textures", index), entry)
    return Texture(index=index, patterns=patterns, together=together, name=name, content=content, parameters=parameters)


def _level(draft: Draft, path: tuple[str | int, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of one level, `size` undone."""
    if "size" in given and ("width" in given or "height" in given):
        draft.problem((*path, "size"), "says the same as width and height: give one or the other")
    return sides(given)


def _mounts(draft: Draft, given: list[Any]) -> tuple[DataMount, ...]:
    first: dict[str, int] = {}
    for index, data in enumerate(given):
        if data is REFUSED:
            continue
        before = first.setdefault(data.mount.lower(), index)
        if before != index:
            line = draft.at("data", before)[0]
            draft.problem(("data", index), f"the mount {shown(data.mount)} is taken on line {line} already")
    return tuple(given[index] for index in first.values())


def _matrix(draft: Draft, data: dict[str, Any], given: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    """The matrix with each key's values as they are meant: parameters of textures, or a command's texts."""
    of_command = "command" in data and "textures" not in data
    if not of_command and "size" in given and ("width" in given or "height" in given):
        draft.problem(("matrix", "size"), "says the same as width and height: give one or the other")
    matrix = {}
    for key, values in given.items():
        if of_command:
            meant = [_word(draft, key, index, value) for index, value in enumerate(values)]
        elif key in _types()[1]:
            kind = _types()[1][key]
            meant = [
                shape.fit(kind, value, ("matrix", key, index), draft.problem) for index, value in enumerate(values)
            ]
        else:
            draft.problem(("matrix", key), shape.unknown("parameter", key, _types()[1]))
            continue
        seen: dict[Any, int] = {}
        for index, value in enumerate(meant):
            if value is not REFUSED and seen.setdefault(value, index) != index:
                draft.problem(("matrix", key, index), f"{shown(values[index])} stands in this list already")
        if seen:
            matrix[key] = tuple(seen)
    return matrix


def _word(draft: Draft, key: str, index: int, value: Any) -> Any:
    """A command's value: the text as it was written, for the shell knows nothing else."""
    if value is REFUSED or isinstance(value, str):
        return value
    if value is None:
        draft.problem(("matrix", key, index), 'expected a value, got nothing: for empty text write ""')
        return REFUSED
    return draft.written("matrix", key, index)


def _placeholders(draft: Draft, manifest: Manifest, command: str, wanted: Mapping[str, Any]) -> None:
    found = commands.placeholders(command)
    for name in found:
        if name not in wanted:
            hint = f"add it there, or write {{{{{name}}}}} for the literal text"
            draft.problem(("command",), f"{{{name}}} is no key of the matrix: {hint}")
    for key in manifest.matrix:
        if key not in found:
            draft.problem(("matrix", key), f"the command never uses {{{key}}}")
    for name in sorted(commands.in_quotes(command)):
        hostile = [value for value in manifest.matrix.get(name, ()) if commands.needs_quotes(value)]
        if hostile:
            hint = "Swatch quotes values itself, so take the quotes away"
            draft.problem(
                ("command",), f"{{{name}}} stands within quotes, and {shown(hostile[0])} needs its own: {hint}"
            )


if __name__ == "__main__":
    json.dump(json_schema(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
