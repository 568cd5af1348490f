"""swatch output"""

from __future__ import annotations

import time

import click

from orchestrator import address, contract, journal, target
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.folder import here


@click.command("output", short_help="List the files that a job has made so far.")
@click.argument("name", required=False)
@click.option("-u", "--url", is_flag=True, help="Print only where they are kept.")
@store_option
@json_option
def command(name: str | None, url: bool, store: str | None, as_json: bool) -> None:
    """List the files that a job has made so far: a project stands for its latest job, nothing for the latest of all."""
    _, where = opened(store, offline=True)
    project, number = target.job(where, name, here())
    if url:
        click.echo(address.output(where.url, project, number))
        return
    files = journal.fold(where, project, number).files
    prefix = contract.output_prefix(project, number)
    ordered = sorted(files.values(), key=lambda file: file.path)
    if as_json:
        print_json("output", {"store": where.url, "prefix": prefix, "files": [vars(file) for file in ordered]})
        return
    if not files:
        click.echo(f"{project}/{number} has made nothing yet.")
        return
    rows = screen.table("FILE", "SIZE", "MADE", right=("SIZE",))
    for file in ordered:
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(file.time))
        rows.add_row(screen.cell(file.path), screen.size(file.size), made)
    screen.console().print(rows)
    click.echo(f"\nIn the store: {where.url}/{prefix}\nBring them home:  swatch sync {project}/{number}")
