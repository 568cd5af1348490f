"""swatch status"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from orchestrator import facts, target
from orchestrator.cli import money, screen
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option, tell_away
from orchestrator.facts import Seen
from orchestrator.folder import here

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


NARROW = 110
"""Columns of a terminal below which names are short."""


def _show(seen: list[Seen], limit: int, costs: dict[str, float | None]) -> None:
    console = screen.console()
    shown = seen[:limit]
    usual = ("JOB NAME", "CREATED", "STATUS", "DURATION(s)", "INSTANCE")
    cut = {"DESCRIPTION": 60, "METRICS": 60, "REASON": 120}
    rows = [
        {
            "JOB NAME": screen.cell(one.job.short if console.width < NARROW else one.job.name),
            "CREATED": screen.cell(screen.ago(one.job.created)),
            "STATUS": screen.state(one.state),
            "DURATION(s)": screen.cell(f"{one.seconds(time.time()):.0f}"),
            "INSTANCE": screen.cell(one.job.machine),
            "USD": screen.cell(shown_cost(costs.get(one.job.short, 0.0)) if costs else ""),
            "DESCRIPTION": screen.cell(one.job.description[: cut["DESCRIPTION"]]),
            "METRICS": screen.cell(shown_metrics(one.metrics)[: cut["METRICS"]]),
            "REASON": screen.cell(one.reason[: cut["REASON"]]),
        }
        for one in shown
    ]
    # What stands in no row has no column; FloydHub's own columns always have.
    always = (*usual, "DESCRIPTION", "METRICS") if console.width >= NARROW else usual
    columns = [name for name in rows[0] if name in always or any(row[name].plain for row in rows)]
    table = screen.table(*columns, right=("DURATION(s)", "USD"))
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
        if column.header in cut:
            column.ratio = 2 if column.header == "REASON" else 1  # what is long gives way, and nothing else
            column.min_width = 6
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    console.print(table)
    if len(seen) > limit:
        console.print(f"and {len(seen) - limit} more: swatch status -n {len(seen)}")
    for one in [one for one in shown if one.lost][:1]:
        console.print(
            f"A lost job starts anew by:  swatch restart {one.job.short}"
            if one.job.argv
            else "A lost job goes on from its last checkpoint when its manifest is submitted again."
        )
