"""swatch restart"""

from __future__ import annotations

import sys
from typing import Any

import click

from orchestrator import invocation
from orchestrator.cli import running
from orchestrator.cli.options import json_option, store_option
from orchestrator.swatch import Swatch


@click.command("restart", cls=running.Command, short_help="Run an earlier job's code again, with other options if any.")
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@running.recipe_options
@click.option("--slots", type=int, metavar="N", help="Jobs at a time on this machine [SWATCH_SLOTS, 1].")
@store_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, name: str, words: tuple[str, ...], slots: int | None, store: str | None, **given: Any
) -> None:
    """Run an earlier job's code again, as a new job: nothing is uploaded, and what is not said stays as it was.

    \b
    swatch restart forest/3
    swatch restart 3 "python train.py --lr {lr}" --sweep lr=0.1,0.01 --gpu2
    """
    swatch = Swatch(store, slots=slots)
    asked = running.asked(running.command_line(ctx, words), given)
    values = invocation.sweep(given["sweep"])
    launch = swatch.prepare_restart(name, asked, values=values, argv=sys.argv[1:], fetch=not given["dry_run"])
    running.perform(swatch, launch, given)
