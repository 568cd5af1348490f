"""How bytes on their way are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import click

from orchestrator.cargo.upload import Sent, Tell
from orchestrator.cli import screen


@contextmanager
def shown(label: str, quiet: bool = False) -> Iterator[Tell]:
    """A bar with bytes and rate on a terminal, once anything goes; nothing elsewhere."""
    with ExitStack() as stack:
        bars: list[Callable[[Sent], None]] = []

        def tell(sent: Sent) -> None:
            if not bars and sent.total:
                bars.append(_bar(label, stack))
            for update in bars:
                update(sent)

        yield (lambda sent: None) if quiet or not sys.stderr.isatty() else tell


def _bar(label: str, stack: ExitStack) -> Callable[[Sent], None]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = stack.enter_context(Progress(*columns, TimeRemainingColumn(), console=screen.console(stderr=True)))
    bar = progress.add_task(screen.plain(label), total=None)
    return lambda sent: progress.update(bar, completed=sent.done, total=sent.total)


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
