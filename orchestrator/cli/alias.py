"""swatch alias"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.errors import UsageError


@click.command("alias", short_help="Have this program answer to another name too: floyd, say.")
@click.argument("name", default="floyd")
@click.option("--remove", is_flag=True, help="Take the other name away again.")
def command(name: str, remove: bool) -> None:
    """Have this program answer to another NAME [floyd] too, so that old scripts go on working."""
    mine = Path(sys.argv[0]).absolute()
    other = mine.parent / name
    if "/" in name or "\0" in name or name in ("", ".", "..") or mine.name == "__main__.py" or other == mine:
        raise UsageError(f"{name!r} cannot be another name for {mine}", hint="swatch alias floyd")
    ours = other.is_symlink() and other.readlink() == Path(mine.name)
    if remove:
        if not ours:
            raise UsageError(f"{other} is not another name for swatch")
        other.unlink()
        click.echo(f"{other} is gone")
        return
    if not ours:
        try:
            other.symlink_to(mine.name)
        except FileExistsError:
            raise UsageError(f"{other} is there already, and another program", hint="Remove that first") from None
    click.echo(f"{name} is swatch now: {other}\nTake it away again:  swatch alias {name} --remove")
