"""From a recipe to the jobs of a `run`: one, or with a sweep one for each combination of its values. Pure, but for the
moment and the chance that each job's record holds."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from orchestrator import command as commands
from orchestrator import shape
from orchestrator.entries import DAY
from orchestrator.errors import UsageError
from orchestrator.job import Git, Home, Job, Mount, Task
from orchestrator.manifest import MAX_COMMAND
from orchestrator.recipe import Recipe
from orchestrator.wording import shown

Draft = Callable[[int], Job]
"""Makes the job of a number."""
MAX_JOBS = 1_000
"""Jobs of one sweep."""


class Frame(NamedTuple):
    """What jobs of one `run` share beside the recipe: what was found, and where it was asked."""

    project: str
    user: str
    host: str
    home: Home
    backend: str
    code: str | None = None
    data: tuple[Mount, ...] = ()
    requirements: str | None = None
    git: Git | None = None
    argv: tuple[str, ...] = ()
    hourly: float | None = None
    restarted: str | None = None


def sweep(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`lr=0.1,0.01` texts as values by name. Raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        listed = tuple(values.split(","))
        if not equals or not name or "" in listed:
            raise UsageError(f"--sweep {shown(text)}: expected a name and values", hint="--sweep lr=0.1,0.01")
        if name in found:
            raise UsageError(f"--sweep {name} is given twice", hint=f"--sweep {name}=A,B,C")
        found[name] = listed
    return found


def combinations(command: str, values: Mapping[str, Sequence[str]]) -> list[tuple[str, dict[str, str]]]:
    """The command for each combination of a sweep's values, with those; without a sweep, the command as it is, byte for
    byte. Raises UsageError where the command and the sweep do not fit."""
    if not values:
        return [(command, {})]
    for name, some in values.items():
        twice = next((value for at, value in enumerate(some) if value in some[:at]), None)
        if twice is not None:
            raise UsageError(f"--sweep {name}: {shown(twice)} stands there twice", hint="Name each value once")
    wanted = commands.placeholders(command)
    for name in values:
        if name not in wanted:
            raise UsageError(
                f"--sweep {name}: the command has no {{{name}}} to fill",
                hint=f'swatch run "python train.py --{name} {{{name}}}" --sweep {name}={",".join(values[name])}',
            )
    missing = next((name for name in wanted if name not in values), None)
    if missing is not None:
        raise UsageError(f"The command has {{{missing}}}: {shape.unknown('sweep', missing, values)}")
    for name in sorted(commands.in_quotes(command)):
        hostile = next((value for value in values.get(name, ()) if commands.needs_quotes(value)), None)
        if hostile is not None:
            raise UsageError(
                f"{{{name}}} stands within quotes, and {shown(hostile)} needs its own",
                hint="Take the quotes away: Swatch quotes values itself",
            )
    chosen = [dict(zip(values, some, strict=True)) for some in itertools.product(*values.values())]
    if len(chosen) > MAX_JOBS:
        raise UsageError(f"The sweep has {len(chosen):,} combinations: {MAX_JOBS:,} at most")
    return [(commands.fill(command, some), some) for some in chosen]


def drafts(recipe: Recipe, frame: Frame, values: Mapping[str, Sequence[str]]) -> list[Draft]:
    """A draft for each job that is asked for. Raises UsageError for a command that cannot be run."""
    command = recipe.command
    if command is None or not command.strip():
        raise UsageError("There is no command to run", hint='swatch run "python train.py", or command: in swatch.yml')
    found = combinations(command, values)
    longest = max(found, key=lambda one: len(one[0]))[0]
    if len(longest.encode("utf-8", "replace")) > MAX_COMMAND or "\0" in longest:
        raise UsageError(f"The command has more than {MAX_COMMAND:,} bytes", hint="Put it into a script")
    return [_draft(recipe, frame, filled, chosen) for filled, chosen in found]


def _draft(recipe: Recipe, frame: Frame, command: str, chosen: dict[str, str]) -> Draft:
    # Drawn once: a draft whose number was taken makes the same job under the next.
    created, fingerprint = time.time(), secrets.token_hex(32)
    machine, *fallbacks = recipe.machine or ("cpu",)
    swept = ", ".join(f"{name}={value}" for name, value in chosen.items())

    def job(number: int) -> Job:
        # Outputs come home to a folder of the job's number.
        task = Task(name=str(number), fingerprint=fingerprint, parameters=chosen, command=command)
        return Job(
            number=number,
            created=created,
            command=command,
            tasks=(task,),
            machine=machine,
            fallbacks=tuple(fallbacks),
            queue=recipe.queue,
            spot=bool(recipe.spot),
            max_runtime=recipe.max_runtime or DAY,
            max_cost=recipe.max_cost,
            description=" ".join(filter(None, [recipe.description, swept])),
            env=recipe.env,
            variables=recipe.variables or {},
            secrets=recipe.secrets or (),
            config=recipe.said(),
            **frame._asdict(),
        )

    return job


def of_job(job: Job) -> Recipe:
    """The recipe that an earlier job was made by: what a restart begins with."""
    return Recipe(
        command=job.command,
        machine=(job.machine, *job.fallbacks),
        env=job.env,
        description=job.description or None,
        max_runtime=job.max_runtime,
        max_cost=job.max_cost,
        backend=job.backend,
        queue=job.queue,
        spot=job.spot,
        variables=job.variables or None,
        secrets=job.secrets or None,
    )


def same(job: Job) -> bool:
    """Whether a job can be made again from its record: one of a command, not of textures."""
    return len(job.tasks) == 1 and job.tasks[0].command is not None
