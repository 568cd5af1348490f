"""What stands on the screen when a watch has ended: outputs, times, quality, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from orchestrator import contract, report
from orchestrator.cli import screen
from orchestrator.cli.bars import shown_path
from orchestrator.watch import TaskView, Watch

MOST_ROWS = 60
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
                "quality": {"verdict": found.verdict, **found.figures} if found else None,
            }
        )
    return rows


def show(watch: Watch, name: str) -> None:
    """Print the table and the next commands; write the contact sheet."""
    console = screen.console()
    folder = watch.home.folder
    textures = any(view.task.command is None for view in watch.tasks)
    figures = FIGURES if textures else ()
    headings = [name.upper() for name in figures]
    rows = screen.table(
        *("TASK", "STATUS", "TIME", *headings), *(["QUALITY"] if textures else []), "OUTPUT", right=("TIME", *headings)
    )
    for view in watch.tasks[:MOST_ROWS]:
        found = report.read(folder / view.task.name)
        rows.add_row(
            screen.cell(view.task.name),
            screen.state("cached" if view.reason == "cached" else view.state),
            screen.duration(view.seconds or (found.seconds if found else None)),
            *(f"{found.figures[key]:.2f}" if found and key in found.figures else "" for key in figures),
            *([screen.cell(found.verdict if found else "")] if textures else []),
            screen.cell(shown_path(_output(folder, view))),
        )
    console.print()
    console.print(rows)
    if len(watch.tasks) > MOST_ROWS:
        console.print(f"and {len(watch.tasks) - MOST_ROWS} more: swatch watch {name} --json")
    if textures:
        console.print(
            "\nStructure, spectrum, colour: 0 is another crop of the source, 1 is noise. Seam: 1 is as inside.",
            style="dim",
        )
    sheet = report.write_sheet(folder, name, watch.tasks)
    if sheet:
        click.echo(f"\nContact sheet: {shown_path(sheet)}")
    tell_problems(watch.home.problems)
    _next(watch, name)


def tell_problems(problems: Mapping[str, str]) -> None:
    """Say what could not be brought home, and why."""
    for path, problem in problems.items():
        click.echo(screen.plain(f"Not brought home: {path}: {problem}"), err=True)


def _output(folder: Path, view: TaskView) -> Path:
    image = folder / view.task.name / "texture.png"
    return image if image.is_file() else folder / view.task.name


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
