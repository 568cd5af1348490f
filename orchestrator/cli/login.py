"""swatch login"""

from __future__ import annotations

import click

from orchestrator.cli import whoami
from orchestrator.cli.options import json_option, store_option
from orchestrator.swatch import Swatch


@click.command("login", short_help="There is nothing to log in to; show which identity and store are used.")
@store_option
@json_option
def command(store: str | None, as_json: bool) -> None:
    """There is nothing to log in to: jobs on this computer need no account, and for AWS the sign-in is AWS' own
    (`aws configure`, `aws sso login`). Shows which identity and store are used.
    """
    whoami.show(Swatch(store), as_json)
    if not as_json:
        click.echo("\nSign in to AWS:  aws configure, or aws sso login; then:  swatch setup aws")
