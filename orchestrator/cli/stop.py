"""swatch stop"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from orchestrator import engine, facts, target
from orchestrator.backends import Backend
from orchestrator.cli import money
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option
from orchestrator.errors import SwatchError
from orchestrator.folder import here
from orchestrator.job import FREE, Job
from orchestrator.settings import Settings
from orchestrator.store import Store

PAUSE = 2.0
LONGEST_WAIT = 300.0
"""Seconds: SageMaker gives a command two minutes, and a machine some more."""


@click.command("stop", short_help="End jobs; what they made is kept.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--now", is_flag=True, help="End the record of a job even if its computer cannot be reached.")
@click.option("--no-wait", is_flag=True, help="Do not wait until machines that are paid for have stopped.")
@store_option
@json_option
def command(names: tuple[str, ...], now: bool, no_wait: bool, store: str | None, as_json: bool) -> None:
    """End jobs; what they made is kept.

    NAME is a job, or a project or manifest (all its unfinished jobs); without it, the latest job. A running command
    gets SIGTERM, and SIGKILL two minutes later. Of machines that are paid for, the end is waited for, and their bill
    shown.
    """
    settings, where = opened(store)
    machines = fleet(settings, where)
    chosen: dict[tuple[str, int], bool] = {}
    for name in names or ("{}/{}".format(*target.job(where, None, here())),):
        wanted = target.resolve(where, name, here())
        numbers = [wanted.number] if wanted.number is not None else facts.numbers(where, wanted.project)
        chosen.update({(wanted.project, number): wanted.number is not None for number in numbers})
    seen = facts.see_each(where, machines, list(chosen))
    for one in seen:
        if one.final is not None and chosen[one.job.project, one.job.number]:
            raise SwatchError(f"Job in {one.final.state} state cannot be stopped: {one.job.short} has ended already")
    ended = engine.stop(where, machines, [one for one in seen if one.final is None], now)
    paid = [stopped.job for stopped in ended if stopped.job.backend not in FREE]
    if not as_json:
        for stopped in ended:
            word = "stopped" if stopped.done else "shutdown request submitted; what it made is kept"
            click.echo(f"{stopped.job.short} {word}")
    costs: dict[str, float | None] = {}
    if paid and not no_wait:
        costs = billed(where, machines, settings, paid, quiet=as_json)
    if as_json:
        rows = [
            {"name": s.job.name, "ended": s.done, "state": s.state, "usd": costs.get(s.job.short, 0.0)} for s in ended
        ]
        print_json("stop", {"stopped": rows})
    elif not ended:
        click.echo("Nothing to stop: all jobs have ended.")
    elif not paid and (asked := [stopped.job for stopped in ended if not stopped.done]):
        click.echo(f"Check status to confirm shutdown:  swatch status {asked[0].short}")


def billed(
    where: Store, machines: Backend, settings: Settings, jobs: Sequence[Job], quiet: bool = False, err: bool = False
) -> dict[str, float | None]:
    """Wait until the jobs have ended and are billed; what each has cost, in USD, and said (on stderr with `err`) unless
    `quiet`. Ctrl-C leaves: they end all the same."""
    names = [(job.project, job.number) for job in jobs]
    if not quiet:
        click.echo("Waiting until the machines have stopped (Ctrl-C leaves; they stop all the same) ...", err=err)
    end = time.monotonic() + LONGEST_WAIT
    while True:
        seen = facts.see_each(where, machines, names)
        if machines.settled(jobs) or time.monotonic() > end:
            break
        time.sleep(PAUSE)
    costs = money.costs(where, settings, seen, time.time())
    if not quiet:
        for one in seen:
            click.echo(f"{one.job.short} {one.state}: {money.shown(costs.get(one.job.short))}", err=err)
    return costs
