"""How builds and pushes are shown: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from orchestrator import docker
from orchestrator.cli import screen
from orchestrator.complaint import last_words
from orchestrator.docker import Tell
from orchestrator.errors import DockerError

Show = Callable[[int, int, str], None]
"""Shows so many of so many, and what is done just now."""


@contextmanager
def building(quiet: bool = False) -> Iterator[Tell]:
    """Shows the lines that a build tells."""
    steps: dict[str, tuple[int, int]] = {}
    with _shown("Building", quiet) as show:

        def tell(line: str) -> None:
            reach = docker.step(line)
            if reach is not None:
                stage = re.match(r"#[0-9]+ \[(.*?)[0-9]+/", line)
                steps[stage[1] if stage else ""] = reach
                done, total = (sum(part) for part in zip(*steps.values(), strict=True))
                show(done, total, line.partition("] ")[2])

        yield tell


@contextmanager
def pushing(quiet: bool = False, label: str = "Pushing") -> Iterator[Tell]:
    """Shows the lines that a push tells, or a pull."""
    lines: list[str] = []
    with _shown(label, quiet) as show:

        def tell(line: str) -> None:
            lines.append(line)
            done, total = docker.pushed(lines)
            show(done, total, "layers")

        yield tell


@contextmanager
def making(quiet: bool = False) -> Iterator[Tell]:
    """Shows the lines of all that makes an image ready: a build and a push, or a pull. Nothing, before there is one.
    Ctrl-C ends the program, and says that nothing is lost."""
    with _kept(), ExitStack() as stack:
        shown: dict[str, Tell] = {}

        def tell(line: str) -> None:
            label = _phase(line)
            if label is not None and label not in shown:
                stack.close()  # one bar at a time
                shown.clear()
                shown[label] = stack.enter_context(building(quiet) if label == "Building" else pushing(quiet, label))
            for show in shown.values():
                show(line)

        yield tell


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except DockerError as error:
        tell_last_words(error)
        raise
    except KeyboardInterrupt:
        click.echo("\nInterrupted; what was built and pushed is kept, and no job was started.", err=True)
        sys.exit(130)


def tell_last_words(error: DockerError) -> None:
    """What Docker said before it failed."""
    for line in last_words(error.said)[-12:]:
        click.echo(f"  {screen.plain(line)}", err=True)


def _phase(line: str) -> str | None:
    """What a line is about; None of one that goes with those before it."""
    if line.startswith("#"):
        return "Building"
    if not re.match("[0-9a-f]{12}: ", line):
        return None
    return "Fetching" if re.search(": (Pull|Download|Already exists|Verifying)", line) else "Pushing"


@contextmanager
def _shown(label: str, quiet: bool) -> Iterator[Show]:
    if quiet:
        yield lambda done, total, what: None
    elif not sys.stderr.isatty():
        yield _Lines(label)
    else:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description}"), TextColumn("{task.fields[what]}", style="dim")
        columns = (text[0], BarColumn(24), TimeElapsedColumn(), text[1])
        with Progress(*columns, console=screen.console(stderr=True), transient=True) as progress:
            bar = progress.add_task(label, total=None, what="")

            def show(done: int, total: int, what: str) -> None:
                progress.update(bar, completed=done, total=total or None, what=screen.plain(what)[:60])

            yield show


class _Lines:
    """One line for each step, as a log wants it."""

    def __init__(self, label: str) -> None:
        self._label, self._said = label, ""

    def __call__(self, done: int, total: int, what: str) -> None:
        line = f"{self._label} [{done}/{total}] {screen.plain(what)[:100]}"
        if total and line != self._said:
            click.echo(line, err=True)
        self._said = line
