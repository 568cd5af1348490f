"""swatch export"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator import export, target
from orchestrator.cli import screen
from orchestrator.cli.bars import shown_path
from orchestrator.cli.options import fleet, opened, store_option
from orchestrator.errors import UsageError
from orchestrator.folder import here


@click.command("export", short_help="Write a project as a folder that reads without Swatch.")
@click.argument("name", required=False)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@store_option
def command(name: str | None, folder: Path | None, store: str | None) -> None:
    """Write a project as a FOLDER [./NAME-export] that reads without Swatch: a README, and for each job what was asked,
    its log, figures, code and outputs. Into the same folder again, it adds what is new.
    """
    settings, where = opened(store)
    wanted = target.project(where, name, here())
    if wanted.number is not None:
        raise UsageError(f"{name} is a job: a project is exported whole", hint=f"swatch export {wanted.project}")
    place = folder or Path(f"{wanted.project}-export")
    count, missing = 0, []
    for one in export.project(where, fleet(settings, where), wanted.project, place):
        count += 1
        click.echo(f"{one.job.short}  {one.state}")
        if (place / "jobs" / str(one.job.number) / export.MISSING).is_file():
            missing.append(one.job.number)
    click.echo(f"\n{screen.counted(count, 'job')} in {screen.plain(shown_path(place))}: begin with README.md there")
    for number in missing:
        click.echo(
            f"Some of what {wanted.project}/{number} made is missing: see jobs/{number}/{export.MISSING}", err=True
        )
    sys.exit(1 if missing else 0)
