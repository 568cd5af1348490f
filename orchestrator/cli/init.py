"""swatch init"""

from __future__ import annotations

import click

from orchestrator.cli.options import store_option
from orchestrator.swatch import Swatch


@click.command("init", short_help="Have this folder belong to a project.")
@click.argument("name", required=False)
@store_option
def command(name: str | None, store: str | None) -> None:
    """Have this folder belong to the project NAME (forest, or alice/forest; without it, called as the folder is).

    Writes .swatchproject, and unless there are such files, FloydHub's included, a .swatchignore and a swatch.yml to
    fill in. Said again it changes nothing else.
    """
    swatch = Swatch(store)
    found, written = swatch.init(name or _folder_name(swatch))
    click.echo(f'Project "{found.name}" initialized in current directory')
    for file in written:
        click.echo(f"Wrote {file.name}")


def _folder_name(swatch: Swatch) -> str:
    from orchestrator.plan import slug

    return slug(swatch.folder.name) or "project"
