"""swatch info"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import click
import msgspec

from orchestrator import bill, contract, facts, journal, launch, target
from orchestrator.cli import money, screen
from orchestrator.cli.options import fleet, json_option, opened, print_json, store_option, tell_away
from orchestrator.cli.status import after_loss, record, shown_cost, shown_metrics
from orchestrator.facts import Seen
from orchestrator.folder import here
from orchestrator.job import Git, Job
from orchestrator.journal import Fold
from orchestrator.launch import Launch


@click.command("info", short_help="Show all that is known of one job.")
@click.argument("name", required=False)
@store_option
@json_option
def command(name: str | None, store: str | None, as_json: bool) -> None:
    """Show all that is known of one job: a project stands for its latest, nothing for the latest of all."""
    settings, where = opened(store, offline=True)
    project, number = target.job(where, name, here())
    one = facts.see(where, fleet(settings, where), project, number)
    fold = journal.fold(where, project, number)
    tries = bill.launches(where, project, number).get(number, [])
    cost = money.costs(where, settings, [one], time.time()).get(one.job.short, 0.0)
    if as_json:
        print_json(
            "info",
            {
                **record(one),
                "usd": cost,
                "launches": [msgspec.to_builtins(one) for one in tries],
                "metrics": fold.metrics,
                "system": vars(fold.system) if fold.system else None,
                "peak_memory": fold.peak_memory or None,
                "job": msgspec.to_builtins(one.job),
                "final": msgspec.to_builtins(one.final),
                "task_states": {task.name: task_state(one, fold, task.name) for task in one.job.tasks},
                "files": [vars(file) for file in fold.files.values()],
            },
        )
        return
    tell_away(where)
    _show(one, fold, cost)
    if one.lost:
        screen.console().print(after_loss(one.job), markup=False, highlight=False)
    if one.state in (contract.FAILED, contract.TIMEOUT) and one.job.tasks[0].command is not None:
        _show_tail(journal.tail(where, project, number, LAST_LINES))
    if tries:
        _show_launches(tries)


LAST_LINES = 20
"""Of the log of a job that failed."""


def _show_tail(lines: Sequence[str]) -> None:
    if lines:
        console = screen.console()
        console.print("\nIts last lines:", style="bold")
        for line in lines:
            console.print(f"  {screen.plain(line)}", markup=False, highlight=False)


def shown_use(fold: Fold) -> str:
    """`CPU 34 %, memory 12 % (peak 1.2 GB), GPU 97 %`: what a job was last seen to use of its machine."""
    seen = fold.system
    if seen is None:
        return ""
    peak = f" (peak {screen.size(fold.peak_memory)})" if fold.peak_memory else ""
    shares = {
        "CPU": (seen.cpu, ""),
        "memory": (seen.memory, peak),
        "disk": (seen.disk, ""),
        "GPU": (seen.gpu, ""),
        "GPU memory": (seen.gpu_memory, ""),
    }
    return ", ".join(f"{name} {share:.0f} %{more}" for name, (share, more) in shares.items() if share is not None)


def machine_of(job: Job) -> str:
    """Its kinds of machine, in order of preference, and how it comes by one."""
    how = [job.backend, *(["spot"] if job.spot else [])]
    return f"{', '.join([job.machine, *job.fallbacks])} ({', '.join(how)})"


def _show_launches(tries: Sequence[Launch]) -> None:
    """Every try on a paid machine, how it ended, and its bill."""
    rows = screen.table("TRY", "MACHINE", "STATUS", "BILLED", "USD", "", right=("BILLED", "USD"))
    for one in tries:
        spared = f" ({one.saved:.0%} saved by spot)" if one.saved else ""
        rows.add_row(
            screen.cell(str(one.launch)),
            screen.cell(one.machine),
            screen.cell(one.secondary or one.status),
            screen.duration(one.billable),
            screen.cell(shown_cost(one.usd)),
            screen.cell(f"{launch.cause(one.reason).value}: {one.reason}"[:120] if one.reason else spared.strip()),
        )
    console = screen.console()
    console.print()
    console.print(rows)
    if tries[-1].log:
        console.print("\nThe last lines of its log on AWS:", style="bold")
        for line in tries[-1].log.splitlines():
            console.print(f"  {screen.plain(line)}", markup=False, highlight=False)


def task_state(one: Seen, fold: journal.Fold, name: str) -> str:
    """What became of a task, as far as the journal and the final record say."""
    if name in fold.tasks:
        return fold.tasks[name].state
    if one.final is not None:
        return one.final.tasks.get(name, one.final.state)
    if one.state == contract.RUNNING and name not in fold.progress and one.job.tasks[0].command is None:
        return contract.QUEUED
    return one.state


def _home(job: Job) -> str:
    """Where its outputs come home to; those of a command have a folder of their own there."""
    if job.home is None:
        return ""
    return os.path.join(job.home.folder, job.tasks[0].name) if job.tasks[0].command else job.home.folder


def _git(git: Git | None) -> str:
    if git is None:
        return ""
    commit = git.commit[:12] if git.commit else "before the first commit"
    return f"{commit}{', with changes' if git.dirty else ''}"


def _show(one: Seen, fold: journal.Fold, cost: float | None) -> None:
    job = one.job
    rows = screen.table("", "")
    rows.show_header = False
    about = [
        ("Job name", job.name),
        ("Created", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(job.created))} ({screen.ago(job.created)})"),
        ("Status", one.state),
        ("Reason", one.reason),
        ("Duration(s)", f"{one.seconds(time.time()):.0f}"),
        ("Instance", machine_of(job)),
        ("Queue", job.queue or ""),
        ("Cost", "" if cost == 0 else f"{shown_cost(cost)} USD"),
        ("Attempts", str(one.final.attempts if one.final else one.fold.attempt)),
        ("Description", job.description),
        ("Metrics", shown_metrics(fold.metrics)),
        ("Uses", shown_use(fold)),
        ("Command", job.command),
        ("Code", job.code[:16] if job.code else ""),
        ("Git", _git(job.git)),
        ("Restarted from", job.restarted or ""),
        ("Environment", job.env or ""),
        ("Image", job.image or ""),
        ("Requirements", job.requirements or ""),
        ("Variables", ", ".join(f"{name}={value}" for name, value in job.variables.items())),
        ("Secrets", ", ".join(job.secrets)),
        ("Data", ", ".join(f"{mount.source} at /{mount.mount}" for mount in job.data)),
        (
            "Outputs",
            f"{screen.counted(len(fold.files), 'file')}, {screen.size(sum(f.size for f in fold.files.values()))}",
        ),
        ("Come home to", _home(job)),
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
