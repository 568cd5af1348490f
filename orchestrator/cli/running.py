"""What `run` and `restart` share: their options, what they print, and how a job is followed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from orchestrator import notify, recipe
from orchestrator.cargo.mount import Tell
from orchestrator.cli import bars, logs, money, screen, summary
from orchestrator.cli.data import transfer
from orchestrator.cli.image import progress
from orchestrator.cli.options import print_json
from orchestrator.cli.watch import ending, rung
from orchestrator.environments import ALL
from orchestrator.errors import UsageError
from orchestrator.facts import last_number
from orchestrator.handle import JobHandle
from orchestrator.job import Job
from orchestrator.machines import ALIASES
from orchestrator.recipe import Recipe
from orchestrator.settings import Settings
from orchestrator.starter import Launch
from orchestrator.swatch import Swatch
from orchestrator.watch import Watch

Function = TypeVar("Function", bound=Callable[..., Any])
MACHINES = {"cpu": "A few cores, the default", "gpu": "One GPU", "cpu2": "More cores", "gpu2": "One stronger GPU"}
"""FloydHub's four. Of several, the last of these counts, as it did there."""
_WORDS = "swatch.words"


class Command(click.Command):
    """A command whose last argument is a command line: behind `--` its words reach the program as they are, without a
    shell's eyes on them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = f"{error.option_name} of the command: put that in quotes, or -- before it"
            raise click.NoSuchOption(error.option_name, f"No such option: {said}.", error.possibilities, ctx) from error


def command_line(ctx: click.Context, words: Sequence[str]) -> str | None:
    """The words as one command line: joined by spaces, and behind `--` quoted as well; None for none."""
    if not words:
        return None
    import shlex

    return shlex.join(words) if ctx.meta.get(_WORDS) else " ".join(words)


def recipe_options(function: Function) -> Function:
    """The options that say what a job is; `asked` makes a recipe of them."""
    options = [
        *(
            click.option(f"--{one}", is_flag=True, help=f"{said} (on AWS {ALIASES[one][0]}).")
            for one, said in MACHINES.items()
        ),
        click.option("--machine", metavar="TYPE", multiple=True, help="Another type; again: what to fall back to."),
        click.option("--data", metavar="SOURCE:MOUNT", multiple=True, help="Data that the job reads at /MOUNT."),
        click.option("--env", metavar="NAME", multiple=True, help=f"Image on AWS: {', '.join(ALL)}."),
        click.option("--image", metavar="IMAGE", help="swatch, aws, ./Dockerfile, or the URI of an image."),
        click.option("-m", "--message", metavar="TEXT", help="Description; status and info show it."),
        click.option("-r", "--max-runtime", metavar="TIME", help="Stop it after so many seconds, or 2h [1d]."),
        click.option("--max-cost", type=float, metavar="USD", help="Start nothing that could cost more."),
        click.option("--backend", metavar="NAME", help="local, docker or sagemaker [SWATCH_BACKEND, local]."),
        click.option("--spot", is_flag=True, help="Spare capacity: cheaper, may be interrupted and resumed."),
        click.option("--queue", metavar="NAME", help="AWS Batch job queue that jobs are handed to."),
        click.option("--env-var", metavar="NAME=VALUE", multiple=True, help="Environment variable of the command."),
        click.option("--secret", metavar="NAME", multiple=True, help="The same, from your environment, unrecorded."),
        click.option("--sweep", metavar="NAME=A,B", multiple=True, help="A job for each value of {NAME} in COMMAND."),
        click.option("-f", "--follow", is_flag=True, help="Follow the log to the end; exit with the result."),
        click.option("--dry-run", is_flag=True, help="Show what would be started and sent, and change nothing."),
        click.option("--mode", hidden=True),
        click.option("--tensorboard/--no-tensorboard", hidden=True, default=None),
        click.option("--open/--no-open", "opens", hidden=True, default=None),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def asked(command: str | None, given: dict[str, Any]) -> Recipe:
    """The recipe that the options make. Raises UsageError."""
    if given["mode"] not in (None, "job"):
        raise UsageError(f"--mode {given['mode']} was FloydHub's; Swatch runs commands: drop it")
    if given["tensorboard"] is not None or given["opens"] is not None:
        click.echo("--tensorboard and --open were FloydHub's; they do nothing here", err=True)
    if len(given["env"]) > 1:
        raise UsageError(f"You passed more than one environment: {', '.join(given['env'])}", hint="--env ONE")
    flags = [one for one in MACHINES if given[one]]
    if flags and given["machine"]:
        raise UsageError(f"--{flags[-1]} and --machine {given['machine'][0]}: give one of them")
    machine = flags[-1:] or list(given["machine"])
    runtime = given["max_runtime"]
    return recipe.of(
        {
            "command": command,
            "machine": machine or None,
            "env": given["env"][0] if given["env"] else None,
            "image": given["image"],
            "data": list(given["data"]) or None,
            "description": given["message"],
            "max_runtime": int(runtime) if runtime and runtime.isdecimal() and len(runtime) < 12 else runtime,
            "max_cost": given["max_cost"],
            "backend": given["backend"],
            "queue": given["queue"],
            "spot": given["spot"] or None,
            "variables": recipe.variables(given["env_var"]),
            "secrets": list(given["secret"]) or None,
        }
    )


def perform(swatch: Swatch, launch: Launch, given: dict[str, Any]) -> None:
    """Start what was prepared, or with --dry-run show it; tell of it as FloydHub did; follow it if that is wanted.
    Raises SwatchError for what cannot start, a dry run too."""
    quiet = given["as_json"]
    if given["dry_run"]:
        jobs = launch.jobs(last_number(swatch.store, launch.frame.project) + 1)
        _show_draft(swatch, launch, jobs, quiet)
        swatch.machines.check(jobs)  # what would end them before they start: a secret without a value, say
        return
    if not quiet:
        for note in launch.notes:
            click.echo(note, err=True)
        if launch.code is not None:
            screen.tell_left_out(launch.code)
    # The image comes first, the code before the data: what is said of them stands in that order.
    handles = swatch.start(launch if quiet else _telling(launch))
    if quiet and not given["follow"]:
        print_json("restart" if launch.frame.restarted else "run", {"jobs": [_record(handle) for handle in handles]})
        return
    if not quiet:
        _tell(handles, given["follow"])
    if given["follow"]:
        _follow(swatch, handles, quiet)


def _telling(launch: Launch) -> Launch:
    """The same, telling what is sent as FloydHub did."""

    def data(tell: Tell) -> None:
        with transfer.shown("Data", quiet=not launch.waiting) as show:
            launch.carry_data(show)

    def image(_: object) -> None:
        with progress.making() as show:
            launch.carry_image(show)

    return launch._replace(carry_image=image, carry_code=lambda: _sync(launch), carry_data=data)


def _sync(launch: Launch) -> int:
    if launch.code is None:
        click.echo(f"Restarting job {launch.frame.restarted} ...")
        return launch.carry_code()
    size = launch.code.size
    click.echo(f"Creating project run. Total upload size: {screen.binary_size(size)}")
    click.echo("Syncing code ...")
    began = time.monotonic()
    sent = launch.carry_code()
    spent = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - began))
    click.echo(f"[{'=' * 32}] {size}/{size} - {spent}")
    if not sent:
        click.echo(UNCHANGED)
    elif sent < size:
        click.echo(f"Sent {screen.binary_size(sent)}: the rest was in the store, or is packed smaller.")
    return sent


UNCHANGED = "All of it was in the store already: nothing was sent."


def _tell(handles: Sequence[JobHandle], follow: bool) -> None:
    """The table of names, where to look, and how to go on."""
    swept = list(handles[0].record.tasks[0].parameters)
    rows = screen.table("JOB NAME", *(name.upper() for name in swept))
    for handle in handles:
        values = handle.record.tasks[0].parameters
        rows.add_row(screen.cell(handle.name), *(screen.cell(str(values[name])) for name in swept))
    console = screen.console()
    console.print()
    console.print(rows)
    console.print()
    if len(handles) == 1:
        click.echo(f"URL to job: {handles[0].url}\n")
    if handles[0].record.data:
        mounts = screen.table("DATANAME", "MOUNTING DIRECTORY")
        for mount in handles[0].record.data:
            mounts.add_row(screen.cell(mount.source), screen.cell(f"/{mount.mount}"))
        console.print(mounts)
        console.print()
    if follow:
        return
    if len(handles) == 1:
        click.echo(f"To view logs enter:\n   swatch logs {handles[0].name}\n")
        click.echo(f"What it makes comes home by:\n   swatch sync {handles[0].project}/{handles[0].number}\n")
    else:
        click.echo(f"To compare them enter:\n   swatch status {handles[0].project}\n")


def _follow(swatch: Swatch, handles: Sequence[JobHandle], quiet: bool) -> None:
    """Follow to the end, outputs coming home; exit with the result."""
    alone = len(handles) == 1
    listen = logs.Printer(handles[0].name, as_json=quiet) if alone else None
    choices = [choice for handle in handles for choice in handle.choices()]
    watch = Watch(swatch.store, swatch.machines, choices, handles[0].home, listen=listen)
    name = f"{handles[0].project}/{handles[0].number}" if alone else handles[0].project
    stop, bill = ending(swatch.store, swatch.machines, swatch.settings, watch)
    show = _Waiting(listen) if listen is not None and not quiet else None
    bars.follow(watch, name, stop, bill, quiet=quiet or alone, show=show)
    notify.ring(swatch.settings.notify, rung(watch, name))
    if listen is not None:
        listen.end(handles[0].look())
    if alone and not quiet and watch.brought:
        click.echo(f"\n{summary.brought(watch)}")
    if not alone:
        compare(handles, quiet)
    cost = "" if quiet else money.bill_of(swatch.store, swatch.settings, swatch.machines, watch)
    if cost:
        click.echo(cost)
    summary.tell_problems(watch.home.problems)
    sys.exit(1 if watch.failed or watch.home.problems else 0)


class _Waiting:
    """Says why nothing happens yet, on the way to a job's first line."""

    def __init__(self, printer: logs.Printer) -> None:
        self._printer, self._said = printer, ""

    def __call__(self, watch: Watch) -> None:
        said = watch.trouble or next((view.reason for view in watch.tasks if view.reason), "")
        if (self._printer.told and not watch.trouble) or watch.over:
            return
        if not self._said:
            click.echo("Waiting for logs ...", err=True)
        if said and said != self._said:
            click.echo(screen.plain(said), err=True)
        self._said = said or self._said or "waiting"


def compare(handles: Sequence[JobHandle], as_json: bool) -> None:
    """The results of a sweep side by side: values, state, and the last of each figure."""
    seen = [(handle, handle.look()) for handle in handles]
    if as_json:
        verb = "restart" if handles[0].record.restarted else "run"
        print_json(verb, {"jobs": [{**_record(handle), **_result(handle)} for handle in handles]})
        return
    figures = sorted({name for _, one in seen for name in one.metrics})
    swept = list(handles[0].record.tasks[0].parameters)
    columns = [*(name.upper() for name in swept), "STATUS", "DURATION(s)", *figures]
    rows = screen.table("JOB NAME", *columns, right=("DURATION(s)", *figures))
    for handle, one in seen:
        values = handle.record.tasks[0].parameters
        rows.add_row(
            screen.cell(handle.name),
            *(screen.cell(str(values[name])) for name in swept),
            screen.state(one.state),
            screen.cell(f"{one.seconds(time.time()):.0f}"),
            *(screen.cell(f"{one.metrics[name]:g}" if name in one.metrics else "") for name in figures),
        )
    screen.console().print(rows)


def _record(handle: JobHandle) -> dict[str, Any]:
    job = handle.record
    return {"name": job.name, "url": handle.url, "parameters": job.tasks[0].parameters, "command": job.command}


def _result(handle: JobHandle) -> dict[str, Any]:
    one = handle.look()
    return {"state": one.state, "seconds": round(one.seconds(time.time()), 3), "metrics": one.metrics}


def _show_draft(swatch: Swatch, launch: Launch, jobs: Sequence[Job], as_json: bool) -> None:
    """--dry-run: what would be started, what would travel, where it would run, and what that costs."""
    files = [] if launch.code is None else [(one.name, one.size) for one in launch.code.members]
    if as_json:
        code = {"digest": launch.frame.code, "files": [{"path": name, "size": size} for name, size in files]}
        print_json(
            "run",
            {"dry_run": True, "notes": launch.notes, "jobs": [msgspec.to_builtins(job) for job in jobs], "code": code},
        )
        return
    for note in launch.notes:
        click.echo(note)
    total = sum(size for _, size in files)
    rows = screen.table("", "")
    rows.show_header = False
    for label, value in _draft_rows(swatch.settings, jobs, files, total):
        rows.add_row(screen.cell(label, "bold"), screen.cell(value))
    screen.console().print(rows)
    if launch.code is not None:
        screen.tell_left_out(launch.code)
    click.echo("\nNothing was started or sent: this is a dry run.")


LISTED = 20
"""Files that a dry run names, the largest first."""


def _draft_rows(
    settings: Settings, jobs: Sequence[Job], files: Sequence[tuple[str, int]], total: int
) -> list[tuple[str, str]]:
    from orchestrator.cli.info import machine_of

    job = jobs[0]
    largest = sorted(files, key=lambda file: -file[1])[:LISTED]
    more = f"\nand {len(files) - LISTED:,} smaller ones" if len(files) > LISTED else ""
    rows = [
        ("Would start", "\n".join(f"{one.name}  {one.description}".rstrip() for one in jobs[:LISTED])),
        ("Command", "\n".join(dict.fromkeys(one.command for one in jobs[:LISTED]))),
        ("Instance", machine_of(job)),
        ("Price", money.hourly(settings, job)),
        ("Environment", job.env or ""),
        ("Image", job.image or ""),
        ("Requirements", job.requirements or ""),
        ("Data", "\n".join(f"{mount.source} at /{mount.mount}" for mount in job.data)),
        ("Max runtime", screen.duration(job.max_runtime)),
        ("Secrets", ", ".join(job.secrets)),
        ("Variables", ", ".join(f"{name}={value}" for name, value in job.variables.items())),
        ("Code", f"{len(files):,} files, {screen.binary_size(total)}" if files else f"as {job.restarted} had it"),
        ("", "\n".join(f"{screen.binary_size(size):>10}  {name}" for name, size in largest) + more),
    ]
    return [(label, value) for label, value in rows if value]
