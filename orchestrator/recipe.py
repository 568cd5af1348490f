"""What a `run` is made of: flags over a task of swatch.yml over the rest of that file. FloydHub's floyd.yml is read as
it is; each key means there what it means here.

    machine: gpu              env: tensorflow-2.21        max_runtime: 2h          description: first try
    image: ./Dockerfile       in place of env: an image of one's own (see foundry)
    command: python train.py  input: [{source: alice/datasets/mnist/1, destination: mnist}]
    task: {train: {...}, eval: {...}}    swatch run --task train

Reading is strict: each unknown key or value is one line with its place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator import document, environments, shape
from orchestrator.document import REFUSED, Document
from orchestrator.entries import Machines, Runtime
from orchestrator.errors import ManifestError, Problem, UsageError
from orchestrator.shape import Unfit
from orchestrator.wording import Path as Where
from orchestrator.wording import shown, where

FILES = ("swatch.yaml", "swatch.yml", "floyd.yaml", "floyd.yml")
"""The first that is there counts."""
VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,127}"
"""What an environment variable may be called."""
_QUERY = re.compile(r"\A((?:--data=)?https?://[^?#]*)[?#].*?(:[A-Za-z0-9._-]+)?\Z", re.DOTALL | re.IGNORECASE)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a run; None where nothing is. `machine` may be several, the preferred first; `data` holds texts
    `source:mount`; `max_runtime` is in seconds, `max_cost` in USD."""

    command: str | None = None
    machine: tuple[str, ...] | None = None
    env: str | None = None
    image: str | None = None
    data: tuple[str, ...] | None = None
    description: str | None = None
    max_runtime: int | None = None
    max_cost: float | None = None
    backend: str | None = None
    queue: str | None = None
    spot: bool | None = None
    variables: dict[str, str] | None = None
    secrets: tuple[str, ...] | None = None

    def over(self, other: Recipe) -> Recipe:
        """This one, and what it does not say as the other says it; env and image say the same thing, so one that is
        said here goes before either there."""
        if self.env is not None or self.image is not None:
            other = msgspec.structs.replace(other, env=None, image=None)
        said = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(other, **said)

    def said(self) -> dict[str, Any]:
        """What is said, as a record keeps it."""
        data = tuple(map(kept, self.data)) if self.data is not None else None
        said = msgspec.to_builtins(msgspec.structs.replace(self, data=data))
        return {name: value for name, value in said.items() if value is not None}


class File(NamedTuple):
    """A swatch.yml: what it says of every run, and of each named task."""

    path: Path
    recipe: Recipe
    tasks: dict[str, Recipe]


def kept(word: str) -> str:
    """The word as a record keeps it: an address of data without its query, which may be a signature that lets everybody
    in. Pure."""
    return _QUERY.sub(r"\1\2", word)


def find(folder: Path) -> Path | None:
    """The folder's swatch.yml (or floyd.yml); None if it has none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read(path: Path) -> File:
    """Read a swatch.yml. Raises ManifestError with every problem, UsageError for a file that cannot be read."""
    try:
        with open(path, "rb") as opened:
            text = document.read(opened.read(document.MAX_BYTES + 1))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    problems = list(text.problems)
    given: dict[str, Any] = {}

    def report(at: Where, message: str) -> None:
        problems.append(Problem(*text.at(*at), where(at), message))

    if isinstance(text.data, dict):
        given = shape.fit(_type(), text.data, (), report)
        _double(text, report)
    elif text.data is not None and text.data is not REFUSED:
        report((), f"expected keys like command and machine, got {shown(text.data)}")
    if problems:
        raise ManifestError(str(path), sorted(problems))
    tasks = given.pop("task", {})
    return File(path, _recipe(given), {name: _recipe(entry) for name, entry in tasks.items()})


def of(said: Mapping[str, Any]) -> Recipe:
    """What a caller says, checked as the file is; None is not said. Raises UsageError with every problem."""
    problems: list[str] = []
    for name, value in said.items():
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if any(0xD800 <= ord(letter) <= 0xDFFF for part in parts for letter in str(part)):
            raise UsageError(f"{name}: {shown(str(value))} is no text", hint="Put such bytes into a file")
    given = {name: _plain(value) for name, value in said.items() if value is not None}
    fitted = shape.fit(_type(), given, (), lambda at, message: problems.append(f"{where(at)}: {message}"))
    if problems or "task" in fitted:
        raise UsageError("\n".join(problems or [shape.unknown("option", "task", Recipe.__struct_fields__)]))
    return _recipe(fitted)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def settle(flags: Recipe, file: File | None, task: str | None) -> Recipe:
    """What counts: the flags, else the task, else the file. Raises UsageError for a task that is not in the file."""
    if task is None:
        return flags.over(file.recipe) if file else flags
    if file is None:
        raise UsageError(f"--task {task}, and there is no swatch.yml here", hint="swatch init writes one to fill in")
    if task not in file.tasks:
        if not file.tasks:
            raise UsageError(f"--task {task}, and {file.path} has no tasks", hint=f"task: {{{task}: {{command: ...}}}}")
        raise UsageError(f"{file.path}: task: {shape.unknown('task', task, file.tasks)}")
    return flags.over(file.tasks[task]).over(file.recipe)


def variables(given: Sequence[str]) -> dict[str, str] | None:
    """`NAME=value` texts as a mapping; None for none. Raises UsageError."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(VARIABLE, name) or "\0" in value:
            raise UsageError(f"--env-var {shown(text)}: expected NAME=value", hint="--env-var EPOCHS=3")
        found[name] = value
    return found or None


def _double(text: Document, report: shape.Report) -> None:
    for at in [(), *(("task", name) for name in _mapping(text.data.get("task")))]:
        entry = text.data if not at else _mapping(text.data["task"]).get(at[1])
        if isinstance(entry, dict) and "input" in entry and "data" in entry:
            report((*at, "data"), "another word for input, which is given, too: give one of them")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipe(given: dict[str, Any]) -> Recipe:
    inputs = given.pop("input", None) or given.pop("data", None)
    given.pop("mode", None)
    if inputs is not None:
        given["data"] = tuple(inputs)
    if "secrets" in given:
        given["secrets"] = tuple(given["secrets"])
    return Recipe(**given)


# What the file may say: its keys, their types and bounds.


def _env(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"expected an environment like {environments.DEFAULT}, got {shown(value)}")
    try:
        environments.find(value)
    except UsageError as error:
        raise Unfit(error.hint or error.message) from error
    return value


def _mode(value: Any) -> str:
    if value in ("jupyter", "serve"):
        raise Unfit(f"{value} was FloydHub's; Swatch runs commands: drop the key, or say job")
    if value != "job":
        raise Unfit(f"expected job, got {shown(value)}")
    return "job"


def _input(value: Any) -> str:
    """`source:mount`, as a text or as a mapping of two."""
    if isinstance(value, dict):
        unknown = next((key for key in value if key not in ("source", "destination")), None)
        if unknown is not None:
            raise Unfit(shape.unknown("key", str(unknown), ("source", "destination")))
        source, mount = value.get("source"), value.get("destination", "")
        if not isinstance(source, str) or not isinstance(mount, str):
            raise Unfit("expected source and destination, both text")
        return f"{source}:{mount}" if mount else source
    if not isinstance(value, str):
        raise Unfit(f"expected source:mount, as in alice/datasets/mnist/1:mnist, got {shown(value)}")
    return value


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Unfit(f"expected names and values, got {shown(value)}")
    for name, one in value.items():
        if not re.fullmatch(VARIABLE, str(name)):
            raise Unfit(f"{shown(name)} is no name of an environment variable")
        if isinstance(one, list | dict):
            raise Unfit(f"{name}: expected one value, got {shown(one)}")
    return {name: "" if one is None else str(one) for name, one in value.items()}


def _secret(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(VARIABLE, value):
        raise Unfit(f"expected the name of a secret, as in WANDB_API_KEY, got {shown(value)}")
    return value


Text = Annotated[str, Meta(min_length=1)]
_Inputs = list[Annotated[Any, Meta(extra={"read": _input})]]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    machine: Machines | UnsetType = UNSET
    env: Annotated[str, Meta(extra={"read": _env})] | UnsetType = UNSET
    image: Text | UnsetType = UNSET
    input: _Inputs | UnsetType = UNSET
    data: _Inputs | UnsetType = UNSET
    description: str | UnsetType = UNSET
    max_runtime: Runtime | UnsetType = UNSET
    max_cost: Annotated[float, Meta(gt=0)] | UnsetType = UNSET
    command: Text | UnsetType = UNSET
    mode: Annotated[str, Meta(extra={"read": _mode})] | UnsetType = UNSET
    backend: Literal["local", "docker", "sagemaker"] | UnsetType = UNSET
    queue: Text | UnsetType = UNSET
    spot: bool | UnsetType = UNSET
    variables: Annotated[Any, Meta(extra={"read": _variables})] | UnsetType = UNSET
    secrets: list[Annotated[str, Meta(extra={"read": _secret})]] | UnsetType = UNSET


class _Whole(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    task: dict[Text, _Entry] | UnsetType = UNSET


@functools.cache
def _type() -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(_Whole)
