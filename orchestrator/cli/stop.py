"""swatch stop"""

from __future__ import annotations

import click

from orchestrator import engine, facts, target
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option
from orchestrator.errors import UsageError


@click.command("stop", short_help="End jobs; what they made is kept.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--now", is_flag=True, help="End the record of a job even if its computer cannot be reached.")
@store_option
@json_option
def command(names: tuple[str, ...], now: bool, store: str | None, as_json: bool) -> None:
    """End jobs; what they made is kept.

    NAME is a job, or a project or manifest (all its unfinished jobs). A running command gets SIGTERM, and SIGKILL
    two minutes later.
    """
    settings, where = opened(store)
    machines = fleet(settings, where)
    going = []
    for name in names:
        wanted = target.resolve(where, name)
        one_job = wanted.number is not None
        for number in [wanted.number] if wanted.number is not None else facts.numbers(where, wanted.project):
            one = facts.see(where, machines, wanted.project, number)
            if one.final is None:
                going.append(one)
            elif one_job:
                raise UsageError(f"{one.job.short} has ended already: {one.final.state}")
    ended = engine.stop(where, machines, going, now)
    if as_json:
        print_json("stop", {"stopped": [{"name": s.job.name, "ended": s.done, "state": s.state} for s in ended]})
        return
    for stopped in ended:
        word = "stopped" if stopped.done else "is asked to stop; its outputs are kept"
        click.echo(f"{stopped.job.short} {word}")
    if not ended:
        click.echo("Nothing to stop: all jobs have ended.")
    elif not all(stopped.done for stopped in ended):
        click.echo(f"See it end:  swatch watch {names[0]}")
