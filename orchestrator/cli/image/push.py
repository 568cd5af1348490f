"""swatch image push"""

from __future__ import annotations

import time

import click

from orchestrator import foundry, registry, settings
from orchestrator.cargo import image
from orchestrator.cargo import push as pushing
from orchestrator.cli import screen
from orchestrator.cli.image import progress
from orchestrator.cli.options import json_option, print_json
from orchestrator.docker import Docker
from orchestrator.errors import UsageError
from orchestrator.foundry import Kind
from orchestrator.registry import NoRepository, Pushed


@click.command("push", short_help="Push an image to your account's repository, unless it is there.")
@click.argument("name", metavar="[IMAGE]", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be pushed, and change nothing.")
@json_option
def command(name: str | None, dry_run: bool, as_json: bool) -> None:
    """Push an image to your account's repository, unless it is there: Swatch's own, which is built if need be, or one
    of this computer by its name.

    \b
    swatch image push
    swatch image push mine:latest

    What it prints is what `--image` takes for jobs on SageMaker. The tag is the digest of what is in the image, so what
    has not changed is not pushed again. `run` and `submit` push what their jobs need by themselves.
    """
    if name is not None and foundry.kind(name) is Kind.FOLDER:
        raise UsageError(f"{name} is a Dockerfile: build it first", hint=f"swatch image build {name} prints a name")
    found = settings.load()
    where, docker = registry.find(found), Docker()
    if name is None:
        context = image.context(found.docker.base or image.BASE)
        local, tag = context.name, context.tag
    else:
        image.check_name(name)
        context, local, tag = None, name, pushing.tag_of(pushing.local(docker, name))
    uri = where.uri(tag)
    try:
        there = registry.pushed(where, tag)
    except NoRepository:  # it is made with the push
        there = None
    if there is not None or dry_run:
        _tell(uri, there, as_json, local, dry_run=dry_run)
        return
    began = time.monotonic()
    with progress.making(as_json) as tell:
        if context is not None:
            foundry.built(found, context, tell)
        done = pushing.push(docker, local, where, tag, tell)
    _tell(uri, done, as_json, local, time.monotonic() - began)


def _tell(
    uri: str, there: Pushed | None, as_json: bool, local: str, seconds: float | None = None, dry_run: bool = False
) -> None:
    if as_json:
        digest = there.digest if there else None
        print_json("image push", {"image": uri, "digest": digest, "pushed": seconds is not None, "dry_run": dry_run})
    elif there is None:
        click.echo(f"Would push {screen.plain(local)} as {uri}\nNothing was pushed: this is a dry run.")
    elif seconds is None:
        click.echo(f"{uri} is there already ({screen.size(there.size)}): nothing to push")
    else:
        click.echo(f"Pushed {screen.plain(local)} in {screen.duration(seconds)}. For your jobs:  --image {uri}")
