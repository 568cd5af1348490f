"""swatch whoami"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli import screen
from orchestrator.cli.options import json_option, print_json, store_option
from orchestrator.errors import CloudError
from orchestrator.swatch import Swatch


@click.command("whoami", short_help="Show whose jobs these are, where they live, and which AWS identity is used.")
@store_option
@json_option
def command(store: str | None, as_json: bool) -> None:
    """Show whose jobs these are, where they live, and which AWS identity is used."""
    show(Swatch(store), as_json)


def show(swatch: Swatch, as_json: bool) -> None:
    """User, store, project, and the identity at AWS where one is used. Raises CloudError where it is used and cannot
    be told."""
    found = swatch.settings
    cloud = found.backend == "sagemaker" or swatch.store.url.startswith("s3://") or found.aws.role is not None
    identity: dict[str, Any] | None = None
    trouble = ""
    if cloud:
        from orchestrator import aws

        try:
            with aws.explained("asking AWS who this is"):
                said = aws.client("sts").get_caller_identity()
            identity = {"account": said["Account"], "arn": said["Arn"], "region": aws.region()}
        except CloudError as error:
            if swatch.store.url.startswith("s3://"):
                raise
            trouble = error.message
    project = swatch.here.project
    about = {
        "user": found.user,
        "store": swatch.store.url,
        "backend": found.backend,
        "project": project.name if project else None,
        "aws": identity,
    }
    if as_json:
        print_json("whoami", about)
        return
    rows = screen.table("", "")
    rows.show_header = False
    shown = [
        ("User", found.user),
        ("Store", swatch.store.url),
        ("Runs on", found.backend),
        ("Project here", project.name if project else "none: swatch init NAME"),
        ("AWS identity", identity["arn"] if identity else trouble or "none needed: jobs run on this computer"),
        ("AWS region", identity["region"] if identity else ""),
    ]
    for label, value in shown:
        if value:
            rows.add_row(screen.cell(label, "bold"), screen.cell(value))
    screen.console().print(rows)
