"""swatch image prune"""

from __future__ import annotations

import click

from orchestrator import facts
from orchestrator.cargo import image
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.docker import Docker


@click.command("prune", short_help="Remove images that no job needs any more.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@store_option
@json_option
def command(dry_run: bool, store: str | None, as_json: bool) -> None:
    """Remove images of Swatch's from this computer that no job needs any more: all but the current one, and those that
    jobs which have not ended run in. What a job needs again is built again."""
    settings, where = opened(store)
    docker = Docker()
    current = image.context(settings.docker.base or image.BASE).name
    stale = image.stale(docker.images(image.LABEL), {current, *facts.images(where)})
    if not dry_run:
        for one in stale:
            docker.ask("image", "rm", "--force", one.id, doing=f"removing {one.name}")
    if as_json:
        removed = [{"name": one.name, "id": one.id, "size": one.size} for one in stale]
        print_json("image prune", {"dry_run": dry_run, "removed": removed})
        return
    for one in stale:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {one.name} ({screen.size(one.size)})")
    if not stale:
        click.echo("Nothing to remove")
