"""swatch data delete"""

from __future__ import annotations

import sys

import click

from orchestrator import facts
from orchestrator.cargo import catalogue, dataset
from orchestrator.cargo.dataset import Version
from orchestrator.cli import screen
from orchestrator.cli.options import opened, store_option
from orchestrator.errors import SwatchError, UsageError
from orchestrator.folder import here
from orchestrator.store import Store


@click.command("delete", short_help="Delete versions of datasets.")
@click.argument("names", nargs=-1, required=True, metavar="NAMES...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_option
def command(names: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Delete versions of datasets, whole or cut short; without a number, the latest. Each is asked about.

    Its number is not used again. A version that a job waits for or reads is not deleted.
    """
    settings, where = opened(store)
    code = 0
    for name in names:
        try:
            version = catalogue.any_version(where, settings.user, here(), name)
            check_unused(where, version)
            if yes or click.confirm(f"Delete Data: {screen.plain(version.name)}?", default=False):
                dataset.delete(where, version)
                click.echo(f"Data {version.name}: Deleted")
        except SwatchError as error:  # the others may go all the same
            code = max(code, error.exit_code)
            click.echo(f"{error.message}{f'. {error.hint}' if error.hint else ''}", err=True)
    sys.exit(code)


def check_unused(store: Store, version: Version) -> None:
    """Raises UsageError for a version that a job waits for or reads."""
    jobs = facts.readers(store, version.prefix)
    if jobs:
        said = ", ".join(job.short for job in jobs[:5]) + (f" and {len(jobs) - 5} more" if len(jobs) > 5 else "")
        raise UsageError(f"{version.name} is mounted by {said}", hint=f"Wait, or: swatch stop {jobs[0].short}")
