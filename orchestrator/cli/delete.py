"""swatch delete"""

from __future__ import annotations

import sys

import click

from orchestrator.cli.options import store_option
from orchestrator.errors import SwatchError
from orchestrator.swatch import Swatch


@click.command("delete", short_help="Remove jobs and all that they made.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_option
def command(names: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Remove jobs and all that is kept of them but their bills. Their numbers are never used again.

    A job that waits or runs is not removed: stop it first; nor is one whose output another job reads. What came home
    stays at home.
    """
    swatch = Swatch(store)
    code = 0
    for name in names:
        try:
            job = swatch.one_job(name)
            full = job.name
            if not yes and not click.confirm(f"Delete Job: {full}?"):
                continue
            job.delete()
            click.echo(f"Job {full} Deleted")
        except SwatchError as error:  # the others may go all the same
            code = max(code, error.exit_code)
            click.echo(f"Error: {error.message}" + (f"\nHint: {error.hint}" if error.hint else ""), err=True)
    sys.exit(code)
