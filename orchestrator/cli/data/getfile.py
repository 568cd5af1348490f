"""swatch data getfile"""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from orchestrator.cargo import catalogue, clone
from orchestrator.cargo.content import Content
from orchestrator.cli.data import transfer
from orchestrator.cli.options import opened, store_option
from orchestrator.errors import NotFound
from orchestrator.folder import here


@click.command("getfile", short_help="Fetch one file of data.")
@click.argument("name")
@click.argument("path")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to [this folder, under its name]."
)
@store_option
def command(name: str, path: str, output: Path | None, store: str | None) -> None:
    """Fetch one file of a dataset, or of what a job has made so far, into this folder. No other file is overwritten."""
    settings, where = opened(store)
    found = catalogue.find(where, settings.user, here(), name)
    wanted = path.removeprefix("./").strip("/")
    leaf = next((leaf for leaf in found.content.files if leaf.path == wanted), None)
    if leaf is None:
        raise NotFound(f"{found.name} has no file {path}", hint=_near(found.content, wanted, name))
    file = output if output is not None else Path(leaf.path.rpartition("/")[2])
    file = file / leaf.path.rpartition("/")[2] if file.is_dir() else file
    with transfer.going_on("the same command"), transfer.shown(leaf.path) as tell:
        clone.file(found.content, leaf, file, tell)
    click.echo(f"Download finished: {file}")


def _near(content: Content, path: str, name: str) -> str:
    paths = [leaf.path for leaf in content.files]
    ends = [one for one in paths if one.endswith("/" + path)]
    near = ends or difflib.get_close_matches(path, paths, 1)
    return f"Did you mean {near[0]}?" if near else f"swatch data listfiles {name}"
