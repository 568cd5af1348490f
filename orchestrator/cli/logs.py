"""swatch logs"""

from __future__ import annotations

import sys
import time

import click

from orchestrator import address, contract, journal, log
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, store_option
from orchestrator.cli.status import after_loss
from orchestrator.facts import Seen
from orchestrator.swatch import Swatch


@click.command("logs", short_help="Print what a job wrote.")
@click.argument("name", required=False)
@click.option("-f", "--follow", "-t", "--tail", is_flag=True, help="Go on until the job ends; exit with its result.")
@click.option("-u", "--url", is_flag=True, help="Print only where the log is kept.")
@store_option
@json_option
def command(name: str | None, follow: bool, url: bool, store: str | None, as_json: bool) -> None:
    """Print what a job wrote: a project stands for its latest job, nothing for the latest of all.

    With --json, the journal's events, one a line, each with its `job`.
    """
    swatch = Swatch(store, offline=True)
    job = swatch.job(name)
    if url:
        click.echo(address.log(swatch.store.url, job.project, job.number))
        return
    say, waiting = Printer(job.name, as_json), False
    try:
        for events in log.batches(swatch.store, swatch.machines, job.record, follow):
            for event in events:
                say(event)
            sys.stdout.flush()
            if follow and not say.told and not waiting and not as_json:
                click.echo("Waiting for logs ...", err=True)
                waiting = True
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on. Take up its log:  swatch logs -f {job.project}/{job.number}", err=True)
        sys.exit(130)
    one = job.look()
    if not say.told and not follow and not as_json and one.final is None:
        click.echo("No log yet.", err=True)
    say.end(one)
    if follow:
        sys.exit(0 if one.state == contract.SUCCESS else 1)


class Printer:
    """Prints the events of a job as they come: their text, or with `as_json` the journal's own lines, and in each the
    job's name."""

    def __init__(self, job: str, as_json: bool) -> None:
        self.told = False
        self._job, self._as_json, self._state = job, as_json, ""

    def end(self, one: Seen) -> None:
        """Say how the job has ended, where its journal does not: it was lost, or never had an agent."""
        if (one.final is not None or one.lost) and self._state not in contract.FINAL and not self._as_json:
            click.echo(f"[{one.state}] {screen.plain(one.reason)}".rstrip(), err=True)
            if one.lost:
                click.echo(after_loss(one.job), err=True)

    def __call__(self, event: journal.Event) -> None:
        self.told = True
        if self._as_json:
            click.echo(journal.encode(event, job=self._job))
        elif isinstance(event, journal.Log):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
            click.echo(f"{stamp}  {'swatch: ' if event.note else ''}{screen.plain(event.text)}")
        elif isinstance(event, journal.State):
            self._state = event.state
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
            attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            click.echo(f"{stamp}  [{event.state}]{attempt} {screen.plain(event.reason)}".rstrip())
