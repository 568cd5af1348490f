"""What stands on the screen when a watch has ended: outputs, times, quality, and what to type next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator import contract, report
from orchestrator.cli import screen
from orchestrator.cli.bars import shown_path
from orchestrator.watch import TaskView, Watch

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.report import Report

MOST_ROWS = 60
MOST_REASONS = 5
MOST_NAMES = 8
"""Of tasks, in one line."""
NARROW = 72
"""Columns of a terminal below which the table leaves the outputs' paths to the line under it."""
WIDE = 110
"""Columns of a terminal that the quality figures need."""

LEGEND = """
Structure, spectrum, colour: 0 is another crop of the source, 1 is noise (in brackets where the source itself is too
uneven to tell). Copied: the share lifted from the source in recognisable pieces. Seam: 1 is as inside."""
FIGURES = ("structure", "spectrum", "colour", "copied", "seam")


def record(watch: Watch) -> list[dict[str, Any]]:
    """Every task for programs."""
    rows = []
    for view in watch.tasks:
        found = report.read(watch.home.folder / view.task.name)
        rows.append(
            {
                "name": view.task.name,
                "state": view.state,
                "reason": view.reason,
                "job": view.job.name if view.job else None,
                "seconds": (found.seconds if found else None) or view.seconds or None,
                "folder": str(watch.home.folder / view.task.name),
                "files": sorted(view.files),
                "quality": found and {"verdict": found.verdict, "doubtful": sorted(found.doubtful), **found.figures},
            }
        )
    return rows


def show(watch: Watch, name: str, bill: str = "") -> None:
    """Print the table, what it cost, and the next commands; write the contact sheet."""
    console = screen.console()
    folder = watch.home.folder
    textures = any(view.task.command is None for view in watch.tasks)
    found = {view.task.name: report.read(folder / view.task.name) for view in watch.tasks[:MOST_ROWS]}
    console.print()
    console.print(_table(watch, found, console.width, textures))
    if len(watch.tasks) > MOST_ROWS:
        console.print(f"and {len(watch.tasks) - MOST_ROWS} more: swatch watch {name} --json")
    if any(view.files for view in watch.tasks):
        click.echo(f"\nOutputs are in {shown_path(folder)}{os.sep}")
    else:
        click.echo("\nNo outputs: nothing was written to /output")
    sheet = report.write_sheet(folder, name, watch.tasks)
    if sheet:
        click.echo(f"Contact sheet: {shown_path(sheet)}")
    if textures and console.width >= WIDE:
        console.print(LEGEND, style="dim")
    weak = [(task, one.reasons[0]) for task, one in found.items() if one and one.reasons and one.verdict != "good"]
    for task, reason in weak[:MOST_REASONS]:
        console.print(f"{task}: {screen.plain(reason)}", style="dim", markup=False)
    if bill:
        click.echo(bill)
    tell_problems(watch.home.problems)
    _next(watch, name)


def brought(watch: Watch) -> str:
    """A sentence: how many files have come home, and to which folders; where nothing was new, where what came before
    lies."""
    folder = watch.home.folder
    new = {path.relative_to(folder).as_posix() for path in watch.brought}
    if new:
        to = [view.task.name for view in watch.tasks if not new.isdisjoint(view.files)]
        return f"{screen.counted(len(new), 'file')} brought to {_folders(folder, to)}"
    there = [view.task.name for view in watch.tasks if view.files]
    return f"All is at home already: {_folders(folder, there)}" if there else "There is nothing to bring yet."


def _folders(folder: Path, tasks: Sequence[str]) -> str:
    """`outputs/forest/1`; of several tasks `outputs/forest: 1, 2`."""
    if len(tasks) == 1:
        return screen.plain(shown_path(folder / tasks[0]))
    more = f" and {len(tasks) - MOST_NAMES} more" if len(tasks) > MOST_NAMES else ""
    return screen.plain(f"{shown_path(folder)}: {', '.join(tasks[:MOST_NAMES])}{more}")


def tell_problems(problems: Mapping[str, str]) -> None:
    """Say what could not be brought home, and why."""
    for path, problem in problems.items():
        click.echo(screen.plain(f"Not brought home: {path}: {problem}"), err=True)


def _table(watch: Watch, found: Mapping[str, Report | None], width: int, textures: bool) -> Table:
    figures = FIGURES if textures and width >= WIDE else ()
    headings = [*(name.upper() for name in figures), *(["QUALITY"] if textures else [])]
    narrow = width < NARROW
    rows = screen.table(
        *("TASK", "STATUS", "TIME", *headings, *([] if narrow else ["OUTPUT"])), right=("TIME", *headings[:-1])
    )
    for view in watch.tasks[:MOST_ROWS]:
        one = found[view.task.name]
        rows.add_row(
            screen.cell(screen.shortened(view.task.name, 24 if narrow else 64)),
            screen.state("cached" if view.reason == "cached" else view.state),
            screen.duration((one.seconds if one else None) or view.seconds or None),
            *(_figure(one, key) for key in figures),
            *([screen.cell(one.verdict if one else "")] if textures else []),
            *([] if narrow else [screen.cell(_output(watch.home.folder, view))]),
        )
    return rows


def _figure(found: Report | None, key: str) -> str:
    if found is None or key not in found.figures:
        return ""
    return f"({found.figures[key]:.2f})" if key in found.doubtful else f"{found.figures[key]:.2f}"


def _output(folder: Path, view: TaskView) -> str:
    image = f"{view.task.name}/texture.png"
    return image if (folder / image).is_file() else f"{view.task.name}/" if view.files else ""


def _next(watch: Watch, name: str) -> None:
    failed = [view for view in watch.tasks if view.state in (contract.FAILED, contract.TIMEOUT)]
    for view in failed[:MOST_REASONS]:
        click.echo(f"{view.task.name}: {screen.plain(view.reason or view.state)}", err=True)
    if len(failed) > MOST_REASONS:
        click.echo(f"and {len(failed) - MOST_REASONS} more", err=True)
    jobs = [view.job for view in failed or watch.tasks if view.job is not None]
    lines = []
    if jobs:
        latest = max(jobs, key=lambda job: job.created).short
        lines = [(f"swatch logs {latest}", "what the job wrote"), (f"swatch info {latest}", "all that is known of it")]
    lines.append((f"swatch status {name}", "the jobs of this project"))
    if failed:
        again = next((job.short for job in jobs if job.argv), None)
        if again is None:
            lines.append(
                ("swatch submit MANIFEST --retry-failed --watch", "try again; what was lost goes on by itself")
            )
        else:
            lines.append((f"swatch restart {again}", "run it again, with other options if any"))
    width = max(len(line) for line, _ in lines)
    click.echo("\nNext:")
    for line, why in lines:
        click.echo(f"  {line:<{width}}  # {why}")
