"""swatch data listfiles"""

from __future__ import annotations

import click

from orchestrator.cargo import catalogue
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.folder import here


@click.command("listfiles", short_help="List the files of data, one path a line.")
@click.argument("name")
@store_option
@json_option
def command(name: str, store: str | None, as_json: bool) -> None:
    """List all files of a dataset, or what a job has made so far, one path a line."""
    settings, where = opened(store)
    found = catalogue.find(where, settings.user, here(), name)
    if as_json:
        files = [{"path": leaf.path, "size": leaf.size, "sha256": leaf.sha256} for leaf in found.content.files]
        print_json("data listfiles", {"name": found.name, "files": files})
        return
    for leaf in found.content.files:
        click.echo(screen.plain(leaf.path))
