"""swatch plan"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from orchestrator import engine, facts
from orchestrator.cli import money, screen
from orchestrator.cli.options import image_option, json_option, print_json, queue_option, store_option
from orchestrator.engine import Choice, Verdict
from orchestrator.job import Job
from orchestrator.request import Request
from orchestrator.swatch import Swatch

MOST_ROWS = 40


@click.command("plan", short_help="Show what a manifest would start, and change nothing.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--retry-failed", is_flag=True, help="Count failed tasks as wanted again.")
@click.option("--backend", metavar="NAME", help="Where jobs would run [the manifest's backend, or local].")
@queue_option
@image_option
@store_option
@json_option
def command(
    manifest: Path,
    retry_failed: bool,
    backend: str | None,
    queue: str | None,
    image: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Show what a manifest would start, and change nothing.

    Each task is new, cached (its output exists), queued or running (a job has it), lost (its job died and would be
    taken up again) or failed (and is left alone, unless the manifest's `retries` or --retry-failed say otherwise).
    """
    swatch = Swatch(store)
    settings, where, machines = swatch.settings, swatch.store, swatch.machines
    wanted = swatch.wish(manifest, backend=backend, queue=queue, image=image, retry_failed=retry_failed, fetch=False)
    asked, wish, queue = wanted.request, wanted.wish, wanted.queue
    seen = facts.see_all(where, machines, wish.project)
    choices = engine.decide(wish, seen, engine.settled(where, wish))
    new = engine.unique(choice.task for choice in choices if choice.verdict is Verdict.NEW)
    drafts = engine.draft(wish, new, facts.last_number(where, wish.project) + 1)
    quote = money.quote(where, settings, asked.manifest, drafts, seen)
    machines.check(drafts)
    held = drafts[wish.afford(seen, drafts) :]
    if as_json:
        jobs = [[task.name for task in job.tasks] for job in drafts]
        cost = {"cost": quote.record() if quote else None, "held": [job.number for job in held]}
        cost["image"] = {"uri": wanted.image.uri, "note": wanted.image.chosen.note} if drafts else None
        print_json(
            "plan",
            {"manifest": str(manifest), "project": wish.project, "queue": queue, **record(choices, jobs), **cost},
        )
        return
    screen.tell_left_out(asked.code)
    more = (
        []
        if queue is None or not drafts
        else [f"Queue: {queue} (AWS Batch), which starts them whether you watch or not"]
    )
    if drafts and wanted.image.uri:
        more.append(f"Image: {screen.plain(wanted.image.uri)}")
    if drafts and wanted.image.chosen.note:
        more.append(screen.plain(wanted.image.chosen.note))
    if quote is not None:
        more += quote.sentences()
        if settings.aws.network_isolation:
            more.append("Without a network: SageMaker itself carries the outputs, as it carries checkpoints.")
    if held:
        cap = asked.manifest.max_cost or 0.0
        few = f"Only {len(drafts) - len(held)} of {len(drafts)} jobs"
        most = "None of the jobs" if len(held) == len(drafts) else few
        more.append(f"{most} may start now: at worst the rest would pass max_cost, {money.usd(cap)} for the project")
    _show(choices, drafts, asked, manifest, backend, more)


def record(choices: Sequence[Choice], jobs: list[list[str]]) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "counts": dict(Counter(choice.verdict.value for choice in choices)),
        "jobs": jobs,
        "tasks": [
            {
                "name": choice.task.name,
                "verdict": choice.verdict.value,
                "fingerprint": choice.task.fingerprint,
                "job": choice.job.name if choice.job else None,
                "reason": choice.reason,
            }
            for choice in choices
        ],
    }


def sentence(choices: Sequence[Choice], jobs: Sequence[object]) -> str:
    """`5 tasks: 1 new (1 job), 4 cached`."""
    counts = Counter(choice.verdict for choice in choices)
    parts = []
    for verdict in Verdict:
        if counts[verdict]:
            extra = f" ({screen.counted(len(jobs), 'job')})" if verdict is Verdict.NEW else ""
            parts.append(f"{counts[verdict]} {verdict.value}{extra}")
    return f"{screen.counted(len(choices), 'task')}: {', '.join(parts)}"


def _show(
    choices: Sequence[Choice],
    jobs: Sequence[Job],
    asked: Request,
    manifest: Path,
    backend: str | None,
    more: Sequence[str],
) -> None:
    job_of = {task.name: job.number for job in jobs for task in job.tasks}
    rows = screen.table("TASK", "", "JOB", "PARAMETERS", "")
    for choice in choices[:MOST_ROWS]:
        task = choice.task
        if choice.job is not None:
            job = choice.job.short
        else:
            job = f"{asked.manifest.name}/{job_of[task.name]}, new" if task.name in job_of else ""
        what = " ".join(f"{key}={value}" for key, value in task.parameters.items() if value is not None)
        rows.add_row(
            screen.cell(task.name),
            screen.state(choice.verdict.value),
            screen.cell(job),
            screen.cell(what if len(what) <= 80 else f"{what[:79]}…"),
            screen.cell(choice.reason[:80]),
        )
    console = screen.console()
    console.print(rows)
    if len(choices) > MOST_ROWS:
        console.print(f"and {len(choices) - MOST_ROWS} more; all of them: swatch plan {manifest} --json\n")
    click.echo(f"\n{sentence(choices, jobs)}")
    if asked.manifest.command is not None:
        files = f"{screen.counted(len(asked.code.members), 'file')}, {screen.size(asked.code.size)}"
        click.echo(f"Code: {manifest.parent / asked.manifest.code}{os.sep}, {files}; a change makes all tasks new")
    for line in more:
        click.echo(line)
    starts = any(choice.verdict in (Verdict.NEW, Verdict.LOST) for choice in choices)
    there = f" --backend {backend}" if backend else ""
    click.echo(f"Start it:  swatch submit {manifest}{there} --watch" if starts else "Nothing to start.")
    if any(choice.verdict is Verdict.FAILED for choice in choices):
        click.echo(f"Try the failed again:  swatch submit {manifest}{there} --retry-failed")
