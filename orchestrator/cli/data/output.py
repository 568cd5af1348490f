"""swatch data output"""

from __future__ import annotations

import click

from orchestrator import address
from orchestrator.cargo import catalogue
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.errors import UsageError
from orchestrator.folder import here


@click.command("output", short_help="Say where the files of data are.")
@click.argument("name", required=False)
@click.option("-u", "--url", is_flag=True, help="Print the address for a browser, and nothing else.")
@store_option
@json_option
def command(name: str | None, url: bool, store: str | None, as_json: bool) -> None:
    """Say where the files of NAME are, plain as they were uploaded: this folder's dataset, if there is no NAME."""
    settings, where = opened(store)
    found = catalogue.find(where, settings.user, here(), name or own_name())
    place, browser = f"{where.url}/{found.prefix}", address.folder(where.url, found.prefix)
    if as_json:
        print_json("data output", {"name": found.name, "place": place, "url": browser})
    elif url:
        click.echo(browser)
    else:
        click.echo(f"{found.name}: {place}\nIn a browser:  {browser}\nFetch it:  swatch data clone {found.name}")


def own_name() -> str:
    """The folder's own dataset, in full. Raises UsageError where it has none."""
    own = here().dataset
    if own is None:
        raise UsageError("Which data?", hint="Name it, or in its own folder: swatch data init NAME")
    return f"{own.user}/datasets/{own.name}" if own.user else f"datasets/{own.name}"
