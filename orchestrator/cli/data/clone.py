"""swatch data clone"""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cargo import catalogue
from orchestrator.cargo import clone as cargo
from orchestrator.cargo.catalogue import Data
from orchestrator.cli import screen
from orchestrator.cli.data import transfer
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.folder import here


@click.command("clone", short_help="Fetch data into a folder.")
@click.argument("name")
@click.option(
    "-p",
    "--path",
    "--into",
    "into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to [a new folder here, called as the data: mnist-2].",
)
@click.option("--only", multiple=True, metavar="GLOB", help="Only such files, as in an ignore file; more than once.")
@store_option
@json_option
def command(name: str, into: Path | None, only: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Fetch a dataset, or what a job has made so far, into a folder.

    Every file is verified. What is there already is not fetched again, so a clone that was cut short goes on, and one
    of a job that still runs brings the rest later. Other files are never overwritten.
    """
    settings, where = opened(store)
    found = catalogue.find(where, settings.user, here(), name)
    leaves = cargo.chosen(found.content, only)
    folder = into or Path(default_folder(found))
    with transfer.going_on("the same command"), transfer.shown(f"Fetching {found.name}", as_json) as tell:
        done = cargo.clone(found.content, leaves, folder, tell)
    if as_json:
        said = {"name": found.name, "folder": str(folder.absolute()), "ended": found.ended}
        print_json("data clone", {**said, "brought": list(done.brought), "there": done.there})
        return
    there = f", {done.there} were there already" if done.there else ""
    click.echo(f"{screen.counted(len(done.brought), 'file')} brought to {folder}{there}")
    if not found.ended:
        click.echo("The job has not ended; the same command brings what it makes from now on.")


def default_folder(found: Data) -> str:
    """`mnist-2`, `forest-39`."""
    parts = found.name.removesuffix("/output").split("/")
    return f"{parts[-2]}-{parts[-1]}"
