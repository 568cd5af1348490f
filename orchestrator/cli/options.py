"""Options and output that verbs share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator import contract
from orchestrator.backends import open_backend
from orchestrator.backends.fleet import Fleet
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.swatch import Swatch

Function = TypeVar("Function", bound=Callable[..., Any])


def store_option(function: Function) -> Function:
    """`--store`, on every verb."""
    return click.option("--store", metavar="PLACE", help="Where jobs live: a folder, or s3://bucket/prefix.")(function)


def json_option(function: Function) -> Function:
    """`--json`, on every verb that reads."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def into_option(function: Function) -> Function:
    """`--into`, on verbs that bring outputs home."""
    return click.option(
        "--into",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Bring outputs into this folder [where the jobs were submitted: outputs/PROJECT].",
    )(function)


def queue_option(function: Function) -> Function:
    """`--queue`, on verbs that start jobs."""
    said = "AWS Batch job queue for SageMaker training [the manifest's queue, or aws.queue in config.yaml]."
    return click.option("--queue", metavar="NAME", help=said)(function)


def image_option(function: Function) -> Function:
    """`--image`, on verbs that start jobs."""
    said = "What jobs run in: swatch, aws, ./Dockerfile, or the URI of an image [the manifest's image]."
    return click.option("--image", metavar="IMAGE", help=said)(function)


def print_json(verb: str, data: dict[str, Any]) -> None:
    """One JSON object: `schema`, `command`, and the verb's own keys."""
    click.echo(json.dumps({"schema": contract.SCHEMA, "command": verb, **data}, indent=2, ensure_ascii=False))


def opened(store: str | None, slots: int | None = None, offline: bool = False) -> tuple[Settings, Store]:
    """The settings in force and the store they name; see `Swatch`."""
    swatch = Swatch(store, slots=slots, offline=offline)
    return swatch.settings, swatch.store


def tell_away(store: Store) -> None:
    """Say that a far store could not be asked, and that what stands there is what was last known."""
    error = getattr(store, "away", None)
    if error is not None:
        click.echo(f"As last known; {error.message}. {error.hint or ''}".rstrip(), err=True)


def fleet(found: Settings, store: Store) -> Fleet:
    """Every backend, for the jobs of this store."""
    return Fleet(lambda name: open_backend(name, store, found))
