"""How bytes on their way are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from orchestrator.cargo.upload import Sent, Tell
from orchestrator.cli import screen


@contextmanager
def shown(label: str, quiet: bool = False) -> Iterator[Tell]:
    """A bar with bytes and rate on a terminal, nothing elsewhere."""
    console = screen.console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda sent: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task(screen.plain(label), total=None)

        def tell(sent: Sent) -> None:
            progress.update(bar, completed=sent.done, total=sent.total)

        yield tell


@contextmanager
def going_on(again: str) -> Iterator[None]:
    """Ctrl-C ends at once, says that nothing is lost, and what to type to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _leave(again)


def _leave(again: str) -> NoReturn:
    click.echo(f"\nInterrupted; what has gone so far is kept. Go on with:  {again}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)  # threads with large files under way would keep the program until they are done
