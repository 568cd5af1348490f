"""swatch data delete"""

from __future__ import annotations

import sys

import click

from orchestrator.cli import screen
from orchestrator.cli.options import store_option
from orchestrator.errors import SwatchError
from orchestrator.swatch import Swatch


@click.command("delete", short_help="Delete versions of datasets.")
@click.argument("names", nargs=-1, required=True, metavar="NAMES...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_option
def command(names: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Delete versions of datasets, whole or cut short; without a number, the latest. Each is asked about.

    Its number is not used again. A version that a job waits for or reads is not deleted.
    """
    data = Swatch(store).data
    code = 0
    for name in names:
        try:
            version = data.unused(name)
            if yes or click.confirm(f"Delete Data: {screen.plain(version.name)}?", default=False):
                data.delete(version.name)
                click.echo(f"Data {version.name}: Deleted")
        except SwatchError as error:  # the others may go all the same
            code = max(code, error.exit_code)
            click.echo(f"{error.message.rstrip('.')}{f'. {error.hint}' if error.hint else ''}", err=True)
    sys.exit(code)
