"""swatch sync"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator import facts, report, target
from orchestrator.cli import screen, summary
from orchestrator.cli.bars import shown_path
from orchestrator.cli.options import Looker, into_option, json_option, opened, print_json, store_option
from orchestrator.cli.watch import choose, home
from orchestrator.engine import Choice, Verdict
from orchestrator.watch import Watch


@click.command("sync", short_help="Bring outputs home that are not there yet.")
@click.argument("name", required=False)
@into_option
@store_option
@json_option
def command(name: str | None, into: Path | None, store: str | None, as_json: bool) -> None:
    """Bring outputs home that are not there yet, and return: those of jobs that still run as far as they are.

    NAME is a manifest, a project (all its jobs) or a job; without it, the project of the latest job. Files that you
    have changed since they came home stay as they are.
    """
    settings, where = opened(store)
    look = Looker(settings, where)
    wanted = target.project(where, name)
    if wanted.number is None and not (name or "").endswith((".yaml", ".yml")):
        # Of one task made several times, the newest is the one that counts.
        newest: dict[str, Choice] = {}
        for number in facts.numbers(where, wanted.project):
            job = facts.read_job(where, wanted.project, number)
            newest.update((task.name, Choice(task, Verdict.RUNNING, job)) for task in job.tasks)
        choices = list(newest.values())
    else:
        choices = choose(where, settings, look, name)[1]
    watch = Watch(where, look, choices, home(settings, wanted.project, choices, into))
    watch.poll()
    sheet = report.write_sheet(watch.home.folder, wanted.project, watch.tasks)
    problems = watch.home.problems
    if as_json:
        print_json(
            "sync",
            {
                "project": wanted.project,
                "folder": str(watch.home.folder),
                "brought": sorted(path.relative_to(watch.home.folder).as_posix() for path in watch.brought),
                "problems": problems,
            },
        )
    else:
        count = screen.counted(len(watch.brought), "file")
        click.echo(
            f"{count} brought to {shown_path(watch.home.folder)}" if watch.brought else "All is at home already."
        )
        if sheet:
            click.echo(f"Contact sheet: {shown_path(sheet)}")
        summary.tell_problems(problems)
    sys.exit(1 if problems else 0)
