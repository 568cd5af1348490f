"""swatch init"""

from __future__ import annotations

import click

from orchestrator.cli.options import store_option
from orchestrator.folder import Belonging
from orchestrator.swatch import Swatch


@click.command("init", short_help="Have this folder belong to a project.")
@click.argument("name", required=False)
@store_option
def command(name: str | None, store: str | None) -> None:
    """Have this folder belong to the project NAME (forest, or alice/forest; without it, the one that it has, or
    called as the folder is).

    Writes .swatchproject, and unless there are such files, FloydHub's included, a .swatchignore and a swatch.yml to
    fill in. Said again it changes nothing else.
    """
    swatch = Swatch(store)
    before = swatch.here.project
    found, written = swatch.init(name or _usual_name(swatch))
    click.echo(f'Project "{_full(found)}" initialized in current directory')
    if before is not None and _full(before) != _full(found):
        click.echo(f'It was "{_full(before)}", by {before.file}; its jobs are as they were')
    for file in written:
        click.echo(f"Wrote {file.name}")


def _usual_name(swatch: Swatch) -> str:
    """The name that the folder has already, else one after the folder."""
    from orchestrator.plan import slug

    own = swatch.here.project
    return _full(own) if own is not None and own.folder == swatch.folder else slug(swatch.folder.name) or "project"


def _full(project: Belonging) -> str:
    return f"{project.user}/{project.name}" if project.user else project.name
