"""swatch data upload"""

from __future__ import annotations

import click

from orchestrator.cargo.upload import Uploaded
from orchestrator.cli import screen
from orchestrator.cli.data import transfer
from orchestrator.cli.options import json_option, print_json, store_option
from orchestrator.errors import UsageError
from orchestrator.swatch import Swatch


@click.command("upload", short_help="Upload this folder as a new version; go on where it stopped.")
@click.option("-r", "--resume", is_flag=True, help="Only bring to its end what was cut short.")
@click.option("-m", "--message", default="", metavar="TEXT", help="What is new in this version.")
@store_option
@json_option
def command(resume: bool, message: str, store: str | None, as_json: bool) -> None:
    """Upload this folder as a new version of its dataset.

    Only what the store has not got is sent: files of an earlier version are copied there, and an upload that was cut
    short, however hard, goes on (with -r or without). If nothing has changed, there is no new version.
    """
    swatch = Swatch(store)
    own = swatch.here.dataset
    if own is None:
        raise UsageError("This folder belongs to no dataset", hint="swatch data init NAME")
    if not as_json:
        click.echo(f"Uploading {screen.plain(str(own.folder))} ...")
    with transfer.going_on("swatch data upload -r"), transfer.shown("Uploading", as_json) as tell:
        done = swatch.data.upload(own.folder, message=message, resume=resume, tell=tell)
    tell_uploaded("upload", done, as_json)


def tell_uploaded(verb: str, done: Uploaded, as_json: bool) -> None:
    """Say what an upload did: FloydHub's table, and what went."""
    if as_json:
        said = {
            "name": done.version.name,
            "new": done.made,
            "sent": done.sent,
            "copied": done.copied,
            "kept": done.kept,
        }
        print_json(f"data {verb}", {**said, "digest": done.version.record.digest})
        return
    if not done.made:
        click.echo(f"Nothing to do: {done.version.name} holds just these files.")
    else:
        kept = f", {screen.counted(done.kept, 'file')} already there" if done.kept else ""
        copied = f", {screen.counted(done.copied, 'file')} copied in the store" if done.copied else ""
        click.echo(f"Sent {screen.size(done.sent)}{copied}{kept}")
    rows = screen.table("NAME")
    rows.add_row(screen.cell(done.version.name))
    console = screen.console()
    console.print()
    console.print(rows)
