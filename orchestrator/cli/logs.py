"""swatch logs"""

from __future__ import annotations

import sys
import time

import click

from orchestrator import contract, facts, journal, target
from orchestrator.backends.base import Presence
from orchestrator.cli import screen
from orchestrator.cli.options import fleet, json_option, opened, store_option
from orchestrator.folder import here
from orchestrator.watch import POLL_SECONDS, SLOWEST_POLL_SECONDS


@click.command("logs", short_help="Print what a job wrote.")
@click.argument("name", required=False)
@click.option("-f", "--follow", "-t", "--tail", is_flag=True, help="Go on until the job ends; exit with its result.")
@store_option
@json_option
def command(name: str | None, follow: bool, store: str | None, as_json: bool) -> None:
    """Print what a job wrote: a project stands for its latest job, nothing for the latest of all.

    With --json, the journal's events, one a line.
    """
    settings, where = opened(store, offline=True)
    project, number = target.job(where, name, here())
    machines = fleet(settings, where)
    job = facts.read_job(where, project, number)
    last, delay, told = "", POLL_SECONDS, False
    while True:
        # The end is looked for first: the agent writes the final record last, so no line is missed.
        final = facts.read_final(where, project, number)
        gone = final is None and machines.look([job])[0].presence is Presence.GONE
        gone = gone and facts.read_final(where, project, number) is None
        before = last
        for chunk in journal.read(where, project, number, last):
            last = chunk.key
            for event in chunk.events:
                _print(event, as_json)
        sys.stdout.flush()
        if not follow or final is not None or gone:
            break
        if not last and not told and not as_json:
            click.echo("Waiting for logs ...", err=True)
            told = True
        delay = POLL_SECONDS if last != before else min(delay * 1.3, SLOWEST_POLL_SECONDS)
        time.sleep(delay)
    if not last and not follow and not as_json:
        click.echo("No log yet.", err=True)
    if follow:
        one = facts.see(where, machines, project, number)
        if not as_json and one.lost:
            click.echo(f"[{one.state}] {screen.plain(one.reason)}".rstrip(), err=True)
        sys.exit(0 if one.state == contract.SUCCESS else 1)


def _print(event: journal.Event, as_json: bool) -> None:
    if as_json:
        click.echo(journal.encode(event))
    elif isinstance(event, journal.Log):
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        click.echo(f"{stamp}  {'swatch: ' if event.note else ''}{screen.plain(event.text)}")
    elif isinstance(event, journal.State):
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        click.echo(f"{stamp}  [{event.state}]{attempt} {screen.plain(event.reason)}".rstrip())
