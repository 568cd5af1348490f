"""swatch doctor"""

from __future__ import annotations

import sys

import click

from orchestrator import checkup
from orchestrator.checkup import Check
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.errors import UsageError

STYLE = {checkup.OK: "green", checkup.WARN: "yellow", checkup.FAIL: "red", checkup.UNKNOWN: "dim"}


@click.command("doctor", short_help="See whether all is there that jobs need.")
@click.option("--machine", default="gpu", metavar="NAME", help="Whose quota to ask for [gpu].")
@click.option("--orphans", is_flag=True, help="Instead, find paid jobs of this store that no record knows.")
@click.option("--yes", is_flag=True, help="With --orphans: stop them all without asking.")
@store_option
@json_option
def command(machine: str, orphans: bool, yes: bool, store: str | None, as_json: bool) -> None:
    """See whether all is there that jobs need, and what to type where it is not.

    Each check is ok, warn, fail or unknown (it could not be asked). The exit code is 1 if one fails. Without a store on
    S3 or a role, AWS is not asked.

    --orphans lists running training jobs that carry this store's tag and have no record in it, and offers to stop each.
    """
    if yes and not orphans:
        raise UsageError("--yes goes with --orphans", hint="swatch doctor --orphans --yes")
    if orphans:
        _orphans(store, yes, as_json)
        return
    from orchestrator import settings

    found = settings.load(store)
    done: list[Check] = []
    console = screen.console()
    for check in checkup.checks(found, machine):
        done.append(check)
        if as_json:
            continue
        console.print(screen.cell(f"{check.state:8}", STYLE[check.state]), end="")
        console.print(screen.cell(f"{check.name}: {check.said}"))
        if check.fix:
            console.print(screen.cell(f"        {check.fix}", "dim"))
    failed = any(check.state == checkup.FAIL for check in done)
    if as_json:
        print_json("doctor", {"well": not failed, "checks": [check._asdict() for check in done]})
    if failed:
        sys.exit(1)


def _orphans(store: str | None, yes: bool, as_json: bool) -> None:
    _, where = opened(store)
    if not where.url.startswith("s3://"):
        raise UsageError(
            f"{where.url} has no jobs on SageMaker: orphans are those of a store on S3", hint="--store s3://..."
        )
    from orchestrator import orphans

    found = orphans.find(where)
    stopped = []
    for one in found:
        if not as_json:
            click.echo(f"{one.name}  {screen.plain(one.job)}  running, and {where.url} has no record of it")
        ask = sys.stdin.isatty() and not as_json
        if yes or (ask and click.confirm("Stop it?", default=False)):
            if orphans.stop(one):
                stopped.append(one.name)
            elif not as_json:
                click.echo("It has ended meanwhile.")
    if as_json:
        print_json("doctor", {"orphans": [one._asdict() for one in found], "stopped": stopped})
        return
    left = len(found) - len(stopped)
    click.echo(f"{screen.counted(len(found), 'orphan')}, {len(stopped)} asked to stop." if found else "No orphans.")
    if left and not sys.stdin.isatty():
        click.echo("To stop them all: swatch doctor --orphans --yes")
