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

MOST_ROWS = 60
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
                "seconds": view.seconds or None,
                "folder": str(watch.home.folder / view.task.name),
                "files": sorted(view.files),
                "quality": found and {"verdict": found.verdict, "doubtful": sorted(found.doubtful), **found.figures},
            }
        )
    return rows


def show(watch: Watch, name: str) -> None:
    """Print the table and the next commands; write the contact sheet."""
    console = screen.console()
    folder = watch.home.folder
    textures = any(view.task.command is None for view in watch.tasks)
    console.print()
    console.print(_table(watch, FIGURES if textures and console.width >= WIDE else (), textures))
    if len(watch.tasks) > MOST_ROWS:
        console.print(f"and {len(watch.tasks) - MOST_ROWS} more: swatch watch {name} --json")
    click.echo(f"\nOutputs are in {shown_path(folder)}{os.sep}")
    sheet = report.write_sheet(folder, name, watch.tasks)
    if sheet:
        click.echo(f"Contact sheet: {shown_path(sheet)}")
    if textures:
        console.print(LEGEND, style="dim")
    tell_problems(watch.home.problems)
    _next(watch, name)


def tell_problems(problems: Mapping[str, str]) -> None:
    """Say what could not be brought home, and why."""
    for path, problem in problems.items():
        click.echo(screen.plain(f"Not brought home: {path}: {problem}"), err=True)


def _table(watch: Watch, figures: Sequence[str], textures: bool) -> Table:
    headings = [name.upper() for name in figures]
    rows = screen.table(
        *("TASK", "STATUS", "TIME", *headings), *(["QUALITY"] if textures else []), "OUTPUT", right=("TIME", *headings)
    )
    for view in watch.tasks[:MOST_ROWS]:
        found = report.read(watch.home.folder / view.task.name)
        rows.add_row(
            screen.cell(view.task.name),
            screen.state("cached" if view.reason == "cached" else view.state),
            screen.duration(view.seconds or (found.seconds if found else None)),
            *(_figure(found, key) for key in figures),
            *([screen.cell(found.verdict if found else "")] if textures else []),
            screen.cell(_output(watch.home.folder, view)),
        )
    return rows


def _figure(found: report.Report | None, key: str) -> str:
    if found is None or key not in found.figures:
        return ""
    return f"({found.figures[key]:.2f})" if key in found.doubtful else f"{found.figures[key]:.2f}"


def _output(folder: Path, view: TaskView) -> str:
    image = f"{view.task.name}/texture.png"
    return image if (folder / image).is_file() else f"{view.task.name}/" if view.files else ""


def _next(watch: Watch, name: str) -> None:
    failed = [view for view in watch.tasks if view.state in (contract.FAILED, contract.TIMEOUT)]
    job = next((view.job for view in [*failed, *watch.tasks] if view.job is not None), None)
    for view in failed[:5]:
        click.echo(f"{view.task.name}: {screen.plain(view.reason)}", err=True)
    lines = []
    if job is not None:
        lines.append((f"swatch logs {job.project}/{job.number}", "what the job wrote"))
        lines.append((f"swatch info {job.project}/{job.number}", "all that is known of it"))
    lines.append((f"swatch status {name}", "the jobs of this project"))
    width = max(len(line) for line, _ in lines)
    click.echo("\nNext:")
    for line, why in lines:
        click.echo(f"  {line:<{width}}  # {why}")
