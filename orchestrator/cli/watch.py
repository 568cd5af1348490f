"""swatch watch"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from orchestrator import contract, engine, facts, notify, request, target
from orchestrator.backends import Backend
from orchestrator.backends.local import host_name
from orchestrator.cli import bars, money, summary
from orchestrator.cli.options import fleet, into_option, json_option, opened, print_json, store_option
from orchestrator.cli.stop import billed
from orchestrator.engine import Choice, Verdict
from orchestrator.folder import here
from orchestrator.job import FREE, Job
from orchestrator.settings import Settings
from orchestrator.store import Store, crowd
from orchestrator.watch import Watch


@click.command("watch", short_help="Follow jobs to their end; their outputs come home meanwhile.")
@click.argument("name", required=False)
@into_option
@store_option
@json_option
def command(name: str | None, into: Path | None, store: str | None, as_json: bool) -> None:
    """Follow jobs to their end; their outputs come home meanwhile.

    NAME is a manifest (all its tasks), a project (its unfinished jobs, or the latest) or a job; without it, the
    project of the latest job. Ctrl-C detaches and leaves the jobs alone; once more, within three seconds, stops those
    on machines that are paid for.
    """
    settings, where = opened(store)
    machines = fleet(settings, where)
    project, choices = choose(where, settings, machines, name)
    watch = Watch(where, machines, choices, home(settings, project, choices, into))
    if is_manifest(name):
        watch.remember()
    bars.follow(watch, name or project, *ending(where, machines, settings, watch), quiet=as_json)
    notify.ring(settings.notify, rung(watch, project))
    if as_json:
        print_json("watch", {"project": project, "tasks": summary.record(watch)})
    else:
        summary.show(watch, project, money.bill_of(where, settings, machines, watch))
    sys.exit(1 if watch.failed or watch.home.problems else 0)


def ending(
    store: Store, machines: Backend, settings: Settings, watch: Watch
) -> tuple[Callable[[], list[Job]], Callable[[Sequence[Job]], object]]:
    """How the jobs in view are stopped, and how their bill is told: what `bars.follow` asks for."""

    def stop() -> list[Job]:
        going = [view.name for view in watch.jobs.values() if not view.over]
        ended = engine.stop(store, machines, facts.see_each(store, machines, going))
        return [stopped.job for stopped in ended if stopped.job.backend not in FREE]

    return stop, lambda jobs: billed(store, machines, settings, jobs, err=True)


def rung(watch: Watch, project: str) -> str:
    """What the desktop shows when all is over."""
    states = [view.state for view in watch.tasks]
    counted = ", ".join(f"{states.count(state)} {state}" for state in contract.STATES if state in states)
    return f"{project}: {counted}" if counted else project


def is_manifest(name: str | None) -> bool:
    return name is not None and name.endswith((".yaml", ".yml"))


def choose(store: Store, settings: Settings, machines: Backend, name: str | None) -> tuple[str, list[Choice]]:
    """The project and the tasks that NAME means. Raises NotFound, UsageError, ManifestError."""
    if name is not None and is_manifest(name):
        asked = request.read(Path(name), store, settings, fetch=False)
        wish = asked.wish(
            user=settings.user, host=host_name(settings.home), backend=asked.manifest.backend, home=Path.cwd()
        )
        seen = list(facts.see_all(store, machines, wish.project))
        return wish.project, engine.decide(wish, seen, engine.settled(store, wish))
    wanted = target.project(store, name, here())
    if wanted.number is not None:
        jobs = [facts.read_job(store, wanted.project, wanted.number)]
    else:
        numbers = facts.numbers(store, wanted.project)
        ended = crowd.each(lambda n: store.exists(contract.final_key(wanted.project, n)), numbers, store.width)
        going = [number for number, has_ended in zip(numbers, ended, strict=True) if not has_ended]
        jobs = facts.read_jobs(store, wanted.project, going or numbers[-1:])
    return wanted.project, [Choice(task, Verdict.RUNNING, job) for job in jobs for task in job.tasks]


def home(settings: Settings, project: str, choices: list[Choice], into: Path | None) -> Path:
    """Where outputs come home to: as told, else where the newest job was submitted if that was on this computer, else
    `outputs/PROJECT` here."""
    if into is not None:
        return into.absolute()
    jobs = sorted((choice.job for choice in choices if choice.job), key=lambda job: -job.number)
    here = host_name(settings.home)
    folders = [job.home.folder for job in jobs if job.home is not None and job.home.host == here]
    return Path(folders[0]) if folders else Path("outputs", project).absolute()
