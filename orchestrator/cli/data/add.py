"""swatch data add"""

from __future__ import annotations

import click

from orchestrator.cli.data import transfer
from orchestrator.cli.data.upload import tell_uploaded
from orchestrator.cli.options import json_option, store_option
from orchestrator.swatch import Swatch


@click.command("add", short_help="Make what a job has made a version of a dataset.")
@click.argument("source")
@click.option("--name", metavar="NAME", help="Of which dataset [this folder's].")
@click.option("-m", "--message", default="", metavar="TEXT", help="What is new in this version.")
@store_option
@json_option
def command(source: str, name: str | None, message: str, store: str | None, as_json: bool) -> None:
    """Make the output of a job (SOURCE: 39/output, forest/39/output) the next version of a dataset.

    The store copies the files itself; the job may be deleted afterwards.
    """
    data = Swatch(store).data
    with transfer.going_on("the same command"), transfer.shown("Copying", as_json) as tell:
        done = data.add(source, name, message=message, tell=tell)
    tell_uploaded("add", done, as_json)
