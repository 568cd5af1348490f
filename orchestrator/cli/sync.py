"""swatch sync"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator import facts, report, target
from orchestrator.cli import screen, summary
from orchestrator.cli.bars import shown_path
from orchestrator.cli.options import fleet, into_option, json_option, opened, print_json, store_option
from orchestrator.cli.watch import choose, home, is_manifest
from orchestrator.engine import Choice, Verdict
from orchestrator.folder import here
from orchestrator.sync import Homecoming
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
    machines = fleet(settings, where)
    wanted = target.project(where, name, here())
    if wanted.number is None and not is_manifest(name):
        jobs = facts.read_jobs(where, wanted.project, facts.numbers(where, wanted.project))
        choices = [Choice(task, Verdict.RUNNING, job) for job in jobs for task in job.tasks]
        folder = home(settings, wanted.project, choices, into)
        choices = latest(choices, Homecoming(where, folder))
    else:
        choices = choose(where, settings, machines, name)[1]
        folder = home(settings, wanted.project, choices, into)
    watch = Watch(where, machines, choices, folder, wake=False)
    if is_manifest(name):
        watch.remember()
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
                "edited": sorted(watch.home.edited),
                "problems": problems,
            },
        )
    else:
        click.echo(summary.brought(watch))
        if sheet:
            click.echo(f"Contact sheet: {shown_path(sheet)}")
        for path in sorted(watch.home.edited):
            click.echo(f"Kept, because you changed it: {screen.plain(path)} (delete it and sync to have it back)")
        summary.tell_problems(problems)
    sys.exit(1 if problems else 0)


def latest(choices: list[Choice], there: Homecoming) -> list[Choice]:
    """Of several results of one name, the one that a manifest last wanted in the folder, else the newest."""
    chosen: dict[str, Choice] = {}
    for choice in choices:
        name = choice.task.name
        if name not in chosen or chosen[name].task.fingerprint != there.choice(name):
            chosen[name] = choice
    return list(chosen.values())
