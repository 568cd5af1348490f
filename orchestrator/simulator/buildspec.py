"""A buildspec: what CodeBuild runs (User Guide, "Build specification reference for CodeBuild"). Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

PHASES = ("install", "pre_build", "build", "post_build")
MAX_CHARACTERS = 1 << 20


class SpecError(ValueError):
    """The buildspec cannot be used; says why."""


class Phase(NamedTuple):
    """A phase's commands, in order; `last` run whatever became of the others."""

    commands: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


class Buildspec(NamedTuple):
    """Variables, and phases by their names."""

    variables: dict[str, str]
    phases: dict[str, Phase]


def parse(text: str) -> Buildspec:
    """The buildspec, of version 0.2. What else it may hold (artifacts, cache, reports, runtimes) is left alone. Raises
    SpecError."""
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise SpecError("the buildspec is too large")
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"the buildspec is no YAML: {str(error)[:300]}") from error
    document = _mapping(read, "the buildspec")
    if str(document.get("version")) != "0.2":
        raise SpecError(f"the simulator reads version 0.2 of buildspecs, not {str(document.get('version'))[:40]!r}")
    variables = _mapping(_mapping(document.get("env"), "env").get("variables"), "env.variables")
    phases = _mapping(document.get("phases"), "phases")
    unknown = sorted(map(str, phases.keys() - set(PHASES)))
    if unknown:
        raise SpecError(f"unknown phase: {unknown[0][:80]}")
    found = {}
    for name in PHASES:
        one = _mapping(phases.get(name), f"phases.{name}")
        commands, last = (_commands(one.get(key), f"phases.{name}.{key}") for key in ("commands", "finally"))
        found[name] = Phase(commands, last)
    if not any(phase.commands for phase in found.values()):
        raise SpecError("the buildspec has no commands")
    return Buildspec({str(name): _text(value, f"env.variables.{name}") for name, value in variables.items()}, found)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected a mapping")
    return value


def _commands(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise SpecError(f"{where}: expected a list")
    return tuple(_text(one, where) for one in value)


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise SpecError(f"{where[:200]}: expected text")
    text = str(value)
    if "\0" in text:
        raise SpecError(f"{where[:200]}: a NUL character")
    return text
