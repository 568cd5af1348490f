"""swatch image build"""

from __future__ import annotations

import time
from pathlib import Path

import click

from orchestrator import foundry, images, settings
from orchestrator.cargo import image
from orchestrator.cli import screen
from orchestrator.cli.image import progress
from orchestrator.cli.options import json_option, print_json
from orchestrator.docker import Docker, Facts
from orchestrator.errors import DockerError, NoDocker, UsageError


@click.command("build", short_help="Build the image that jobs run in, unless it is there.")
@click.argument("dockerfile", required=False, type=click.Path(path_type=Path))
@click.option("--base", metavar="IMAGE", help=f"What it builds on [docker.base in config.yaml, {image.BASE}].")
@click.option("--aws", is_flag=True, help="Build on AWS' own TensorFlow container instead.")
@click.option("--remote", is_flag=True, help="Have AWS CodeBuild build and push it: no Docker is needed here.")
@click.option("--dry-run", is_flag=True, help="Show what would be built, and change nothing.")
@json_option
def command(dockerfile: Path | None, base: str | None, aws: bool, remote: bool, dry_run: bool, as_json: bool) -> None:
    """Build the image that jobs run in: TensorFlow, the synthesis engine and the agent. With a DOCKERFILE, your own:
    its folder is what the build sees, and it needs no more than Python 3.8.

    An image that is there with all that goes in is not built again. `swatch run` and `swatch submit` build what their
    jobs need by themselves. With --remote, it is built in your AWS account and pushed there; its log is shown here.
    """
    found = settings.load()
    if dockerfile is not None:
        if remote:
            raise UsageError(
                "--remote builds Swatch's image, not a Dockerfile of yours", hint="Build it here, and push"
            )
        if base or aws:
            raise UsageError("Your Dockerfile says what it builds on: --base and --aws are for Swatch's image")
        dockerfile = foundry.dockerfile(str(dockerfile), None)
        if dry_run:
            raise UsageError("What a Dockerfile of yours makes, only its build tells: drop --dry-run")
        _build_own(dockerfile, found.docker.network, as_json)
        return
    if base and aws:
        raise UsageError("--base and --aws: give one of them")
    wanted = image.context(_aws_base() if aws else base or found.docker.base or image.BASE)
    if dry_run:
        _show_draft(wanted, _there(wanted.name), as_json)
        return
    if remote:
        from orchestrator.cli.image import remote as elsewhere

        elsewhere.build(wanted, as_json)
        return
    there = Docker().image(wanted.name)
    if there is not None:
        _tell(there, wanted.name, as_json)
        return
    began = time.monotonic()
    try:
        with progress.building(as_json) as tell:
            built = foundry.built(found, wanted, tell)
    except DockerError as error:
        progress.tell_last_words(error)
        raise
    _tell(built, wanted.name, as_json, time.monotonic() - began)


def _aws_base() -> str:
    from orchestrator import aws

    return images.base("gpu", aws.region())


def _build_own(dockerfile: Path, network: str | None, as_json: bool) -> None:
    began = time.monotonic()
    try:
        with progress.building(as_json) as tell:
            built = image.build_folder(Docker(), dockerfile, tell, network)
    except DockerError as error:
        progress.tell_last_words(error)
        raise
    _tell(built, built.tags[0], as_json, time.monotonic() - began)


def _tell(built: Facts, name: str, as_json: bool, seconds: float | None = None) -> None:
    if as_json:
        print_json("image build", {"name": name, "id": built.id, "size": built.size, "built": seconds is not None})
    elif seconds is None:
        click.echo(f"{name} is there already ({screen.size(built.size)}): nothing to build")
    else:
        click.echo(f"Built {name} ({screen.size(built.size)}) in {screen.duration(seconds)}")


def _there(name: str) -> bool:
    """Whether this computer has the image; without Docker it has not."""
    try:
        return Docker().image(name) is not None
    except NoDocker:
        return False


def _show_draft(wanted: image.Context, there: bool, as_json: bool) -> None:
    files = [(name, len(data)) for name, data in sorted(wanted.files.items())]
    if as_json:
        listed = [{"path": name, "size": size} for name, size in files]
        said = {"name": wanted.name, "base": wanted.base, "there": there, "files": listed}
        print_json("image build", {"dry_run": True, **said})
        return
    if there:
        click.echo(f"{wanted.name} is there already: nothing would be built")
        return
    click.echo(f"Would build {wanted.name} on {wanted.base}, from {len(files)} files:\n")
    for name, size in files:
        click.echo(f"{screen.size(size):>10}  {name}")
    click.echo("\nNothing was built: this is a dry run.")
