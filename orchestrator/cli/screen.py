"""How things look in a terminal: states, times, sizes, tables and bars. Everything from outside is shown as text."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator import contract
from orchestrator.cargo import ignore

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from orchestrator.cargo.snapshot import Snapshot

STYLE = {
    contract.QUEUED: "dim",
    contract.STARTING: "cyan",
    contract.RUNNING: "cyan",
    contract.SUCCESS: "green",
    contract.FAILED: "red",
    contract.SHUTDOWN: "yellow",
    contract.TIMEOUT: "red",
    "new": "bold",
    "cached": "green",
    "lost": "red",
}

PIPE_WIDTH = 160

_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
"""What colours text, or clears the rest of a line: neither says anything (ECMA-48, SGR and EL)."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text without what could steer a terminal or turn its direction."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _COLOUR.sub("", text))


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    # A pipe has no width: long rows stay in one piece, for grep and for reading a log.
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table in the house's manner: a rule under the head, nothing else. The first column never wraps."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=number == 0 and bool(column),
        )
    return made


def cell(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(plain(text), style)


def shortened(text: str, width: int) -> str:
    """The text in so many characters; of a longer one the middle goes, as names differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def state(name: str) -> Text:
    return cell(name, STYLE.get(name, ""))


def duration(seconds: float | None) -> str:
    """`8.2 s`, `3:07`, `2:00:41`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def ago(then: float) -> str:
    """`just now`, `5 minutes ago`, `3 days ago`."""
    seconds = max(0.0, time.time() - then)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def size(count: float) -> str:
    """`512 B`, `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


NAMED = 5
"""Paths that are named one by one where there may be thousands."""
LEFT_OUT = {
    "secret": "as they look like secrets",
    "outside": "as they lead outside its folder",
    "special": "as they are no files (sockets, pipes, devices)",
}


def tell_left_out(code: Snapshot) -> None:
    """Say what does not travel with a job's code, and why; and how to send it all the same, where that can be."""
    for why, words in LEFT_OUT.items():
        names = [one.name for one in code.left_out if one.why == why]
        if not names:
            continue
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        click.echo(f"Left out of the code, {words}: {plain(', '.join(names[:NAMED]))}{more}")
        if why == "secret":
            line = ignore.line(names[0].rstrip("/"), names[0].endswith("/"))
            click.echo(f"To send one, write a line like this into {code.ignore_file}:  !{plain(line)}")


def binary_size(count: float) -> str:
    """`512.0B`, `25.4KiB`: as FloydHub told the size of code."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.1f}{unit}"
        count /= 1024
    raise AssertionError("unreachable")


def counted(count: int, noun: str) -> str:
    """`1 texture`, `5 textures`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
