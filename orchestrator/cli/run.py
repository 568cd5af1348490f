"""swatch run"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from orchestrator import invocation
from orchestrator.cli import running
from orchestrator.cli.options import json_option, store_option
from orchestrator.errors import UsageError
from orchestrator.handle import JobHandle
from orchestrator.swatch import Swatch


@click.command("run", cls=running.Command, short_help="Run a command on this folder's code, as a numbered job.")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@running.recipe_options
@click.option("--task", metavar="NAME", help="A task of swatch.yml (or floyd.yml).")
@click.option("--shell", metavar="NAME", help="Open a shell in that running job instead: local or docker.")
@click.option("--slots", type=int, metavar="N", help="Jobs at a time on this machine [SWATCH_SLOTS, 1].")
@store_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    task: str | None,
    shell: str | None,
    slots: int | None,
    store: str | None,
    **given: Any,
) -> None:
    """Run a command on this folder's code, as a numbered job of its project.

    \b
    swatch init forest
    swatch run --gpu "python train.py --epochs 3" --data alice/datasets/mnist/1:mnist

    The folder travels as the code, less what .swatchignore and .gitignore name; what the command writes to /output,
    or beside the code, is kept. Put the command in quotes: it reaches the shell byte for byte. Behind -- its words
    reach the program as they are. Without a command, that of swatch.yml is run. With --shell 3 no job is started: a
    shell opens beside the command of job 3, and sees its paths and variables; exit ends the shell alone.
    """
    swatch = Swatch(store, slots=slots)
    if shell is not None:
        if words:
            raise UsageError(
                "--shell opens a shell in a job that runs; it takes no command", hint=f"swatch run --shell {shell}"
            )
        enter(swatch.job(shell))
    asked = running.asked(running.command_line(ctx, words), given)
    values = invocation.sweep(given["sweep"])
    launch = swatch.prepare(asked, task=task, values=values, argv=sys.argv[1:], fetch=not given["dry_run"])
    running.perform(swatch, launch, given)


def enter(job: JobHandle) -> NoReturn:
    """Become the shell in a job. Raises SwatchError."""
    words = job.shell(sys.stdin.isatty() and sys.stdout.isatty())
    os.execvp(words[0], words)
