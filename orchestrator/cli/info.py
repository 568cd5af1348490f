"""swatch info"""

from __future__ import annotations

import time

import click
import msgspec

from orchestrator import contract, facts, journal, target
from orchestrator.cli import screen
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option
from orchestrator.cli.status import record
from orchestrator.facts import Seen


@click.command("info", short_help="Show all that is known of one job.")
@click.argument("name", required=False)
@store_option
@json_option
def command(name: str | None, store: str | None, as_json: bool) -> None:
    """Show all that is known of one job: a project stands for its latest, nothing for the latest of all."""
    settings, where = opened(store)
    project, number = target.job(where, name)
    one = facts.see(where, fleet(settings, where).look, project, number)
    fold = journal.fold(where, project, number)
    if as_json:
        print_json(
            "info",
            {
                **record(one),
                "metrics": fold.metrics,
                "job": msgspec.to_builtins(one.job),
                "final": msgspec.to_builtins(one.final),
                "task_states": {task.name: task_state(one, fold, task.name) for task in one.job.tasks},
                "files": [vars(file) for file in fold.files.values()],
            },
        )
        return
    _show(one, fold)


def task_state(one: Seen, fold: journal.Fold, name: str) -> str:
    """What became of a task, as far as the journal and the final record say."""
    if name in fold.tasks:
        return fold.tasks[name].state
    if one.final is not None:
        return one.final.tasks.get(name, one.final.state)
    if one.state == contract.RUNNING and name not in fold.progress and one.job.tasks[0].command is None:
        return contract.QUEUED
    return one.state


def _show(one: Seen, fold: journal.Fold) -> None:
    job = one.job
    rows = screen.table("", "")
    rows.show_header = False
    about = [
        ("Job name", job.name),
        ("Created", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(job.created))} ({screen.ago(job.created)})"),
        ("Status", one.state),
        ("Reason", one.reason),
        ("Duration", screen.duration(one.seconds(time.time()) or None)),
        ("Machine", f"{job.machine} ({job.backend})"),
        ("Attempts", str(one.final.attempts if one.final else one.fold.attempt)),
        ("Description", job.description),
        ("Metrics", ", ".join(f"{name}={value:g}" for name, value in sorted(fold.metrics.items()))),
        ("Command", job.command),
        ("Code", job.code[:16] if job.code else ""),
        ("Data", ", ".join(f"{mount.source} at /{mount.mount}" for mount in job.data)),
        (
            "Outputs",
            f"{screen.counted(len(fold.files), 'file')}, {screen.size(sum(f.size for f in fold.files.values()))}",
        ),
        ("Come home to", job.home.folder if job.home else ""),
    ]
    for label, value in about:
        if value:
            rows.add_row(screen.cell(label, "bold"), screen.state(value) if label == "Status" else screen.cell(value))
    console = screen.console()
    console.print(rows)
    console.print()
    tasks = screen.table("TASK", "STATUS", "TIME", "", right=("TIME",))
    for task in job.tasks:
        end = fold.tasks.get(task.name)
        tasks.add_row(
            screen.cell(task.name),
            screen.state(task_state(one, fold, task.name)),
            screen.duration(end.seconds if end else None),
            screen.cell(end.error if end else ""),
        )
    console.print(tasks)
