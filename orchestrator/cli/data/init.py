"""swatch data init"""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator import folder, names
from orchestrator.errors import UsageError


@click.command("init", short_help="Have this folder be a dataset's.")
@click.argument("name")
def command(name: str) -> None:
    """Have this folder be a dataset's: `swatch data upload` in it then makes a version.

    Nothing is made elsewhere, and said twice it changes nothing. What is no data stands in .swatchignore (or
    .floydignore), as in .gitignore.
    """
    wanted = names.dataset(name)
    if wanted.dataset is None or wanted.version is not None:
        raise UsageError(f"{name} is no name of a dataset", hint="swatch data init mnist")
    folder.tie(Path.cwd(), folder.DATASET, wanted.dataset, wanted.user)
    click.echo(f'Data source "{wanted.dataset}" initialized in current directory')
