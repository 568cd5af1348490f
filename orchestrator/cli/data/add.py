"""swatch data add"""

from __future__ import annotations

import click

from orchestrator import names
from orchestrator.cargo import catalogue
from orchestrator.cargo.upload import upload
from orchestrator.cli.data import transfer
from orchestrator.cli.data.upload import tell_uploaded
from orchestrator.cli.options import json_option, opened, store_option
from orchestrator.errors import UsageError
from orchestrator.folder import here


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
    settings, where = opened(store)
    owner, called, number = catalogue.version_of(settings.user, here(), name)
    if number is not None:
        raise UsageError(f"{names.DatasetName(owner, called, number)} cannot change", hint=f"--name {called}")
    found = catalogue.find(where, settings.user, here(), source)
    if found.version is not None:
        raise UsageError(f"{found.name} is a dataset already", hint="Name a job: swatch data add 39/output")
    job = found.name.removesuffix("/output")
    if not found.ended:
        raise UsageError(f"{job} has not ended: what it makes is not whole yet", hint=f"swatch watch {job}")
    if not found.content.files:
        raise UsageError(f"{job} has made no files", hint=f"swatch logs {job}")
    with transfer.going_on("the same command"), transfer.shown("Copying", as_json) as tell:
        done = upload(where, owner, called, found.content, description=message, source=found.name, tell=tell)
    tell_uploaded("add", done, as_json)
