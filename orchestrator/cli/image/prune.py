"""swatch image prune"""

from __future__ import annotations

from collections.abc import Sequence

import click

from orchestrator import facts, registry
from orchestrator.backends import local
from orchestrator.cargo import image
from orchestrator.cli import screen
from orchestrator.cli.options import json_option, opened, print_json, store_option
from orchestrator.docker import Docker, Facts
from orchestrator.errors import DockerError, UsageError
from orchestrator.registry import Pushed, Registry
from orchestrator.settings import Settings
from orchestrator.store import Store, open_store


@click.command("prune", short_help="Remove images that no job needs any more.")
@click.option("--remote", is_flag=True, help="From your account's repository instead.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing from the account.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@store_option
@json_option
def command(remote: bool, yes: bool, dry_run: bool, store: str | None, as_json: bool) -> None:
    """Remove images of Swatch's from this computer that no job needs any more: all but the current one, and those that
    jobs which have not ended run in. What a job needs again is built again. With --remote, the same in your account's
    repository, which jobs of other stores may use as well; tags that Swatch did not make stay."""
    settings, where = opened(store)
    wanted = image.context(settings.docker.base or image.BASE)
    if remote:
        _prune_account(settings, where, wanted.tag, dry_run, yes, as_json)
        return
    docker = Docker()
    current = wanted.name
    # Jobs of every store wait in this computer's one queue.
    needed = {name for queued in {where.url, *local.stores(settings.home)} for name in facts.images(open_store(queued))}
    stale = image.stale(docker.images(image.LABEL), {current, *needed})
    used = [] if dry_run else [one for one in stale if not _removed(docker, one)]
    stale = [one for one in stale if one not in used]
    if as_json:
        removed = [{"name": one.name, "id": one.id, "size": one.size} for one in stale]
        print_json("image prune", {"dry_run": dry_run, "removed": removed})
        return
    for one in stale:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {one.name} ({screen.size(one.size)})")
    for one in used:
        click.echo(f"Kept {one.name}: a container runs in it")
    if not stale and not used:
        click.echo("Nothing to remove")


def _removed(docker: Docker, one: Facts) -> bool:
    """Remove an image by all its names; False for one that a container runs in (of a job of another store, say)."""
    try:
        docker.ask("image", "rm", "--force", one.id, doing=f"removing {one.name}")
    except DockerError as error:
        if "running container" in error.said:
            return False
        if docker.image(one.id) is not None:  # else it went with another, or somebody was first
            raise
    return True


def _prune_account(settings: Settings, where: Store, current: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """The same of the account's repository, but only what Swatch has named: by content."""
    repository = registry.find(settings)
    found = registry.listed(repository)
    needed = {repository.uri(current), settings.aws.image, *facts.images(where)}
    kept = {one.digest for one in found if {repository.uri(one.tag), repository.by_digest(one.digest)} & needed}
    stale = [one for one in found if one.digest not in kept and image.is_tag(one.tag)]
    if stale and as_json and not (dry_run or yes):
        raise UsageError("--json asks nobody, and this removes from the account", hint="Add --yes, or --dry-run")
    if stale and not (dry_run or yes):
        for one in stale:
            click.echo(f"{repository.uri(one.tag)} ({screen.size(one.size)})")
        click.confirm(f"Remove {screen.counted(len(stale), 'image')} from the account?", abort=True)
    if not dry_run:
        registry.remove(repository, [one.tag for one in stale])
    _tell_account(repository, stale, dry_run, as_json)


def _tell_account(repository: Registry, stale: Sequence[Pushed], dry_run: bool, as_json: bool) -> None:
    if as_json:
        removed = [{"name": repository.uri(one.tag), "id": one.digest, "size": one.size} for one in stale]
        print_json("image prune", {"remote": True, "dry_run": dry_run, "removed": removed})
        return
    for one in stale:
        verb = "Would remove" if dry_run else "Removed"
        click.echo(f"{verb} {repository.uri(one.tag)} ({screen.size(one.size)})")
    if not stale:
        click.echo("Nothing to remove")
