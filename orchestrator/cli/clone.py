"""swatch clone"""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli import screen
from orchestrator.cli.bars import shown_path
from orchestrator.cli.options import store_option
from orchestrator.swatch import Swatch


@click.command("clone", short_help="Bring the code that a job ran.")
@click.argument("name", required=False)
@click.option("-p", "--path", type=click.Path(path_type=Path), metavar="FOLDER", help="Into it [./PROJECT-NUMBER].")
@store_option
def command(name: str | None, path: Path | None, store: str | None) -> None:
    """Bring the code that a job ran, byte for byte, into a new folder. Outputs are what `swatch sync` brings."""
    job = Swatch(store).job(name)
    place = job.clone(path or Path(f"{job.project}-{job.number}"))
    click.echo(f"The code of {job.name} is in {screen.plain(shown_path(place))}")
    git = job.record.git
    if git is not None and git.commit:
        click.echo(f"It was commit {git.commit[:12]}{', with changes' if git.dirty else ''}")
