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


@click.command("status", short_help="List jobs and their states.")
@click.argument("name", required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show so many, newest first."
)
@store_option
@json_option
def command(name: str | None, limit: int, store: str | None, as_json: bool) -> None:
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
        costs = money.costs(where, settings, seen, time.time())
        jobs = [{**record(one), "usd": costs.get(one.job.short, 0.0)} for one in seen]
        print_json("status", {"jobs": jobs, "damaged": damaged})
    elif seen:
        _show(seen, limit, money.costs(where, settings, seen[:limit], time.time()))
    elif not damaged:
        if wanted is not None:
            click.echo(f'No jobs of {wanted.project} yet. Start one:\n  swatch run "python train.py"')
        else:
            click.echo(f"No jobs in {where.url} yet. Start some:\n  swatch submit manifests/quickstart.yaml --watch")
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


def _show(seen: list[Seen], limit: int, costs: dict[str, float | None]) -> None:
    paid = ["USD"] if costs else []
    columns = ("JOB NAME", "CREATED", "STATUS", "DURATION(s)", "INSTANCE", *paid, "DESCRIPTION", "METRICS")
    rows = screen.table(*columns, right=("DURATION(s)", *paid))
    for one in seen[:limit]:
        said = one.reason or one.job.description
        rows.add_row(
            screen.cell(one.job.name),
            screen.ago(one.job.created),
            screen.state(one.state),
            screen.cell(f"{one.seconds(time.time()):.0f}"),
            screen.cell(one.job.machine),
            *([screen.cell(shown_cost(costs.get(one.job.short, 0.0)))] if paid else []),
            screen.cell(said[:120]),
            screen.cell(shown_metrics(one.metrics)),
        )
    console = screen.console()
    console.print(rows)
    if len(seen) > limit:
        console.print(f"and {len(seen) - limit} more: swatch status -n {len(seen)}")
    lost = [one for one in seen[:limit] if one.lost]
    if lost:
        console.print("A lost job goes on from its last checkpoint when its manifest is submitted again.")
