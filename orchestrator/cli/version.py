"""swatch version"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click

import orchestrator
from orchestrator.cli.options import json_option, print_json


@click.command("version", short_help="Say which Swatch this is, and where it is installed.")
@json_option
def command(as_json: bool) -> None:
    """Say which Swatch this is, which Python runs it, and where both are installed."""
    place = Path(orchestrator.__file__).resolve().parent.parent
    if as_json:
        said = {"name": "swatch", "version": orchestrator.__version__, "place": str(place)}
        print_json("version", {**said, "python": platform.python_version(), "executable": sys.executable})
        return
    click.echo(f"swatch {orchestrator.__version__}, in {place}")
    click.echo(f"Python {platform.python_version()}, {sys.executable}")
