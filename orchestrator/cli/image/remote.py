"""`swatch image build --remote`: a build on AWS, followed from here."""

from __future__ import annotations

import sys
import time

import click

from orchestrator import codebuild, registry
from orchestrator.cargo.image import Context
from orchestrator.cli import screen
from orchestrator.cli.bars import SECOND_THOUGHTS
from orchestrator.cli.options import opened, print_json
from orchestrator.codebuild import Build, BuildFailed
from orchestrator.errors import CloudError

AGAIN = "swatch image build --remote"


def build(wanted: Context, as_json: bool) -> None:
    """Have AWS build and push the image, unless it is there, and show the build's log. Raises SwatchError."""
    settings, store = opened(None)
    where = registry.find(settings)
    uri = where.uri(wanted.tag)
    there = registry.pushed(where, wanted.tag)
    if there is not None:
        _tell(uri, as_json, None)
        return
    began = time.monotonic()
    started = codebuild.begin(settings, store, where, wanted)
    if not as_json:
        verb = "is under way already" if started.adopted else "has started"
        click.echo(f"The build {started.id} {verb}: {uri}", err=True)
    _follow(started, as_json)
    _tell(uri, as_json, time.monotonic() - began, started)


def _follow(started: Build, as_json: bool) -> None:
    """Show how it goes. Ctrl-C leaves it alone, a second one stops it."""

    def phase(name: str) -> None:
        if not as_json:
            click.echo(click.style(f"== {screen.plain(name)}", bold=True), err=True)

    def tell(line: str) -> None:
        if not as_json:
            click.echo(screen.plain(line), err=True)

    try:
        codebuild.follow(started, tell, phase)
    except BuildFailed as error:
        if as_json:  # the log was not shown
            for line in error.said:
                click.echo(screen.plain(line), err=True)
        raise
    except CloudError as error:
        error.hint = f"{error.hint or 'The build goes on'}; then follow it again: {AGAIN}"
        raise
    except KeyboardInterrupt:
        _leave(started)


def _leave(started: Build) -> None:
    try:
        click.echo(f"\nThe build goes on. Follow it again:  {AGAIN}\nCtrl-C once more stops it.", err=True)
        time.sleep(SECOND_THOUGHTS)
    except KeyboardInterrupt:
        codebuild.stop(started)
        click.echo("\nThe build is stopped.", err=True)
    sys.exit(130)


def _tell(uri: str, as_json: bool, seconds: float | None, started: Build | None = None) -> None:
    if as_json:
        built = {"built": started is not None, "build": started.id if started else None}
        print_json("image build", {"remote": True, "image": uri, **built})
    elif seconds is None:
        click.echo(f"{uri} is there already: nothing to build")
    else:
        click.echo(f"Built and pushed in {screen.duration(seconds)}: jobs on SageMaker run in it from now on\n{uri}")
