"""swatch data status"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from orchestrator import names
from orchestrator.cargo import dataset
from orchestrator.cargo.catalogue import version_of
from orchestrator.cargo.dataset import UPLOADING, Version
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.errors import CloudError, NotFound, StoreError
from orchestrator.folder import Here, here
from orchestrator.store import Store


@click.command("status", short_help="List datasets and their versions.")
@click.argument("name", required=False)
@store_option
@json_option
def command(name: str | None, store: str | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first: NAME's, this folder's, or all there are."""
    settings, where = opened(store)
    damaged: list[str] = []
    own = here()
    found = sorted(_found(where, settings.user, own, name, damaged), key=lambda one: -one.record.created)
    if as_json:
        print_json("data status", {"data": [record(one) for one in found], "damaged": damaged})
    elif found:
        show(found)
    elif not damaged and (name or own.dataset):
        click.echo("It has no versions yet. In its folder:  swatch data upload")
    elif not damaged:
        click.echo(f"No datasets in {where.url} yet. Make one:\n  swatch data init NAME\n  swatch data upload")
    for message in damaged:
        click.echo(f"Error: {message}", err=True)
    sys.exit(1 if damaged else 0)


def record(one: Version) -> dict[str, object]:
    """A version for programs."""
    said = one.record
    return {
        "name": one.name,
        "created": said.created,
        "status": one.state,
        "size": said.size,
        "files": said.count,
        "digest": said.digest,
        "description": said.description,
        "from": said.source,
    }


def show(found: list[Version]) -> None:
    """FloydHub's table, and how to go on with what is not whole."""
    described = any(one.record.description for one in found)
    more = ["DESCRIPTION"] if described else []
    rows = screen.table("DATA NAME", "CREATED", "STATUS", "DISK USAGE", *more, right=("DISK USAGE",))
    for one in found:
        about = [screen.cell(one.record.description[:80])] if described else []
        cells = (screen.cell(one.name), screen.ago(one.record.created), one.state, screen.size(one.record.size))
        rows.add_row(*cells, *about)
    screen.console().print(rows)
    for one in found:
        if one.state == UPLOADING:
            click.echo(f"{one.name} is not whole. Go on in its folder:  swatch data upload -r")
            click.echo(f"or give it up:  swatch data delete {one.user}/{one.dataset}/{one.number}")


def _found(store: Store, user: str, here: Here, name: str | None, damaged: list[str]) -> Iterator[Version]:
    wanted: list[tuple[str, str, int | None]]
    if name is None and here.dataset is None:
        wanted = [(owner, called, None) for owner in dataset.users(store) for called in dataset.names(store, owner)]
    else:
        wanted = [version_of(user, here, name)]
    for owner, called, number in wanted:
        there = dataset.numbers(store, owner, called)
        if name is not None and (not there or (number and number not in there)):
            raise NotFound(
                f"Data not found for name: {names.DatasetName(owner, called, number)}", hint="swatch data status"
            )
        for one in [number] if number else there:
            try:
                version = dataset.look(store, owner, called, one)
            except CloudError:
                raise
            except StoreError as error:
                damaged.append(error.message)
                continue
            if version is not None and version.state != dataset.DELETED:
                yield version
