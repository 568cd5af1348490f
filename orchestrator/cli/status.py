"""swatch status"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from orchestrator import facts, target
from orchestrator.cli import money, screen
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option, tell_away
from orchestrator.facts import Seen
from orchestrator.folder import here
from orchestrator.job import Job

MOST = 50
"""Jobs that are shown unless more are asked for."""


@click.command("status", short_help="List jobs and their states.")
@click.argument("name", required=False)
@click.option("-n", "--limit", type=click.IntRange(1), help="Show so many, newest first [50; as JSON all].")
@store_option
@json_option
def command(name: str | None, limit: int | None, store: str | None, as_json: bool) -> None:
    """List jobs and their states, newest first.

    NAME is a job (forest/3), a project (forest) or a manifest; without it, the jobs of this folder's project, or where
    it has none, all jobs of the store.
    """
    settings, where = opened(store, offline=True)
    machines = fleet(settings, where)
    place = here()
    wanted = target.resolve(where, name, place) if name else None
    if wanted is None and place.project is not None:
        wanted = target.Target(place.project.name, None)
    if wanted is not None:
        keys = [
            (wanted.project, number)
            for number in ([wanted.number] if wanted.number else facts.numbers(where, wanted.project))
        ]
    else:
        keys = [(project, number) for project in facts.projects(where) for number in facts.numbers(where, project)]
    damaged: list[str] = []  # one bad record hides no other job
    seen = facts.see_each(where, machines, keys, damaged)
    seen.sort(key=lambda one: -one.job.created)
    if as_json:
        seen = seen[:limit]
        costs = money.costs(where, settings, seen, time.time())
        jobs = [{**record(one), "usd": costs.get(one.job.short, 0.0)} for one in seen]
        print_json("status", {"jobs": jobs, "damaged": damaged})
    elif seen:
        most = limit or MOST
        _show(seen, most, money.costs(where, settings, seen[:most], time.time()))
    elif not damaged:
        if wanted is not None:
            click.echo(f'No jobs of {wanted.project} yet. Start one:\n  swatch run "python train.py"')
        else:
            click.echo(f'No jobs in {where.url} yet. Start one:\n  swatch init NAME; swatch run "python train.py"')
            click.echo("or those of a manifest:\n  swatch submit MANIFEST --watch")
    tell_away(where)
    for message in damaged:
        click.echo(f"Error: {message}", err=True)
    if damaged:
        sys.exit(1)


def record(one: Seen) -> dict[str, Any]:
    """A job's state for programs."""
    return {
        "name": one.job.name,
        "project": one.job.project,
        "number": one.job.number,
        "state": one.state,
        "lost": one.lost,
        "reason": one.reason,
        "created": one.job.created,
        "seconds": round(one.seconds(time.time()), 3),
        "machine": one.job.machine,
        "backend": one.job.backend,
        "description": one.job.description,
        "tasks": len(one.job.tasks),
        "attempts": one.final.attempts if one.final else one.fold.attempt,
        "metrics": one.metrics,
    }


def shown_metrics(metrics: Mapping[str, float]) -> str:
    """`acc=0.9, loss=0.1`"""
    return ", ".join(f"{name}={value:g}" for name, value in sorted(metrics.items()))


def shown_cost(cost: float | None) -> str:
    """Of a machine whose price nobody knows, a question mark: never 0."""
    return "?" if cost is None else f"{cost:.4f}" if cost else "0"


WIDE, NARROW = 150, 90
"""Columns of a terminal from which names are full, and below which those of one project are numbers."""


ALWAYS = ("JOB NAME", "CREATED", "STATUS", "DURATION(s)", "INSTANCE")
FLEXIBLE = ("DESCRIPTION", "METRICS", "REASON")
"""Columns that give way where there is no room, the last first."""
LEAST, GAP = 10, 3
"""Columns of the terminal: that a flexible column takes, and between two."""


def fitted(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """The columns that have something to show, each with its width: what is long is cut, and nothing else."""
    natural = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    wide = ("DESCRIPTION", "METRICS") if width >= WIDE else ()  # FloydHub's own columns always have a place
    wanted = [name for name in natural if name in (*ALWAYS, *wide) or any(row[name] for row in rows)]
    flexible = [name for name in wanted if name in FLEXIBLE]
    left = 0
    while flexible:
        fixed = sum(natural[name] for name in wanted if name not in flexible)
        left = width - fixed - GAP * (len(wanted) - 1)
        if left >= LEAST * len(flexible):
            break
        wanted.remove(flexible.pop())
    widths = dict(natural)
    for at, name in enumerate(sorted(flexible, key=lambda name: natural[name])):
        widths[name] = min(natural[name], left // (len(flexible) - at))
        left -= widths[name]
    return {name: widths[name] for name in wanted}


def after_loss(job: Job) -> str:
    """What to do with a job that was lost."""
    if job.argv:
        return f"A lost job starts anew by:  swatch restart {job.short}"
    return "A lost job goes on from its last checkpoint when its manifest is submitted again."


def instance(job: Job) -> str:
    """The kind of machine; of a container on this computer, that it is one, as `swatch info` has it."""
    return f"{job.machine} ({job.backend})" if job.backend == "docker" else job.machine


def _called(job: Job, width: int, alone: bool) -> str:
    if width >= WIDE:
        return job.name
    return str(job.number) if alone and width < NARROW else job.short


def shortened(text: str, width: int) -> str:
    """The text in so many characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _show(seen: list[Seen], limit: int, costs: dict[str, float | None]) -> None:
    console = screen.console()
    shown = seen[:limit]
    alone = len({one.job.project for one in shown}) == 1
    rows = [
        {
            "JOB NAME": _called(one.job, console.width, alone),
            "CREATED": screen.ago(one.job.created),
            "STATUS": one.state,
            "DURATION(s)": f"{one.seconds(time.time()):.0f}",
            "INSTANCE": instance(one.job),
            "USD": shown_cost(costs.get(one.job.short, 0.0)) if costs else "",
            "DESCRIPTION": screen.plain(one.job.description),
            "METRICS": screen.plain(shown_metrics(one.metrics)),
            "REASON": screen.plain(one.reason),
        }
        for one in shown
    ]
    widths = fitted(rows, console.width)
    table = screen.table(*widths, right=("DURATION(s)", "USD"))
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for row in rows:
        cells = [shortened(row[name], width) for name, width in widths.items()]
        table.add_row(*(screen.state(text) if text == row["STATUS"] else screen.cell(text) for text in cells))
    console.print(table)
    if len(seen) > limit:
        console.print(f"and {len(seen) - limit} more: swatch status -n {len(seen)}")
    for one in [one for one in shown if one.lost][:1]:
        console.print(after_loss(one.job))
