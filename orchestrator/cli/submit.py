"""swatch submit"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import click

from orchestrator import engine, notify
from orchestrator.backends import Backend, Presence
from orchestrator.cli import bars, money, plan, screen, summary
from orchestrator.cli.data import transfer
from orchestrator.cli.image import progress
from orchestrator.cli.options import image_option, into_option, json_option, print_json, queue_option, store_option
from orchestrator.cli.watch import ending, rung
from orchestrator.cli.watch import home as found_home
from orchestrator.engine import Submission, Verdict, Wish
from orchestrator.request import Wanted
from orchestrator.swatch import Swatch
from orchestrator.watch import Watch

MOST_LINES = 20
"""Started jobs that are named one by one."""


@click.command("submit", short_help="Start what a manifest wants and does not have yet.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("-w", "--watch", "watching", is_flag=True, help="Follow to the end; exit with the result.")
@click.option("--retry-failed", is_flag=True, help="Try failed tasks again.")
@click.option("--backend", "backend_name", metavar="NAME", help="Where jobs run [the manifest's backend, or local].")
@queue_option
@image_option
@click.option("--slots", type=int, metavar="N", help="Jobs at a time on this machine [SWATCH_SLOTS, 1].")
@click.option("--dry-run", is_flag=True, help="The same as `swatch plan`.")
@into_option
@store_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    manifest: Path,
    watching: bool,
    retry_failed: bool,
    backend_name: str | None,
    queue: str | None,
    image: str | None,
    slots: int | None,
    dry_run: bool,
    into: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Start what a manifest wants and does not have yet.

    Done stays done, running is adopted, lost is taken up again, failed is tried again under `retries` or with
    --retry-failed. Submitting twice, from two places or after a crash, starts nothing twice. Without --watch it
    returns at once; the jobs outlive the terminal.
    """
    if dry_run:
        ctx.invoke(
            plan.command,
            manifest=manifest,
            retry_failed=retry_failed,
            backend=backend_name,
            queue=queue,
            image=image,
            store=store,
            as_json=as_json,
        )
        return
    swatch = Swatch(store, slots=slots)
    options: dict[str, Any] = {"backend": backend_name, "queue": queue, "image": image}
    options |= {"retry_failed": retry_failed, "into": into}
    with transfer.shown("Fetching data", as_json) as tell:
        submitter = _Submitter(swatch, swatch.wish(manifest, tell=tell, **options), as_json)
    if not as_json:
        screen.tell_left_out(submitter.wanted.request.code)
    done = submitter.submit(submitter.wanted.wish)
    if not done.started and not done.resumed:
        submitter.home = found_home(swatch.settings, submitter.wanted.wish.project, done.choices, into)
        if not as_json:
            _tell(done)
    if watching:
        submitter.follow(done)
    watch = submitter.watch(done)
    if done.started or done.resumed:
        watch.home.save()
    else:
        watch.poll()  # what is finished may not be home yet
    if as_json:
        print_json("submit", _record(done))
    else:
        _tell_waiting(swatch.machines, done)
        _tell_next(watch, done, manifest)
    summary.tell_problems(watch.home.problems)
    sys.exit(1 if watch.home.problems else 0)


class _Submitter:
    """Submits what a manifest wants, as often as it takes, and says how that goes. `home` is where outputs come."""

    def __init__(self, swatch: Swatch, wanted: Wanted, as_json: bool) -> None:
        self.wanted, self.home = wanted, wanted.home
        self._swatch, self._as_json, self._told = swatch, as_json, False

    def submit(self, wish: Wish) -> Submission:
        done = engine.submit(self._swatch.store, self._swatch.machines, wish, self._carry)
        if not self._as_json and (done.started or done.resumed):
            _tell(done)
        return done

    def _carry(self) -> None:
        image = self.wanted.image
        if image.chosen.note and not self._as_json and not self._told:
            click.echo(image.chosen.note, err=True)
        self._told = True
        with progress.making(self._as_json) as build:
            image.ready(build)
        with transfer.shown("Sending data", self._as_json) as tell:
            self._swatch.carry(self.wanted, tell)

    def watch(self, done: Submission) -> Watch:
        watch = Watch(self._swatch.store, self._swatch.machines, done.choices, self.home)
        watch.remember()
        return watch

    def follow(self, done: Submission) -> NoReturn:
        """Follow to the end, submitting again while that starts anything: what was lost, what may be retried. Ends the
        program with the result."""
        swatch, wish = self._swatch, self.wanted.wish
        resumed: Counter[int] = Counter()
        while True:
            watch = self.watch(done)
            ends = ending(swatch.store, swatch.machines, swatch.settings, watch)
            bars.follow(watch, wish.project, *ends, quiet=self._as_json)
            # Where even the journal cannot be written (a full disk), no try is counted there.
            if not watch.failed or any(count >= engine.MAX_ATTEMPTS for count in resumed.values()):
                break
            again = self.submit(wish._replace(retry_failed=False))
            if not again.started and not again.resumed:
                break
            done = again
            resumed.update(job.number for job in done.resumed)
        notify.ring(swatch.settings.notify, rung(watch, wish.project))
        if self._as_json:
            print_json("submit", {**_record(done), "tasks": summary.record(watch)})
        else:
            summary.show(watch, wish.project, money.bill_of(swatch.store, swatch.settings, swatch.machines, watch))
        sys.exit(1 if watch.failed or watch.home.problems else 0)


def _tell(done: Submission) -> None:
    click.echo(plan.sentence(done.choices, done.started))
    for job in done.started[:MOST_LINES]:
        click.echo(f"Started {job.short}: {screen.plain(job.description)}")
    if len(done.started) > MOST_LINES:
        click.echo(f"and {len(done.started) - MOST_LINES} more")
    for job in done.resumed:
        click.echo(f"Resumed {job.short}, which was lost: {screen.plain(job.description)}")
    held = sum(choice.verdict is Verdict.HELD for choice in done.choices)
    if held:
        click.echo(f"{screen.counted(held, 'task')} held back: at worst max_cost would be passed; raise it, or wait")


def _tell_waiting(machines: Backend, done: Submission) -> None:
    """Why jobs that were started do not run yet, where the machines are others' to give."""
    sights = machines.look([*done.started, *done.resumed])
    said = [sight.said for sight in sights if sight.presence is Presence.WAITING and sight.said]
    if said:
        click.echo(f"\n{screen.counted(len(said), 'job')} not handed over yet: {screen.plain(said[0])}")
        click.echo("They are started while you watch, as machines become free.")


def _tell_next(watch: Watch, done: Submission, manifest: Path) -> None:
    """What there is to do after a submit that does not follow."""
    counts = Counter(choice.verdict for choice in done.choices)
    folder = f"{bars.shown_path(watch.home.folder)}{os.sep}"
    queues = {job.queue for job in [*done.started, *done.resumed] if job.queue}
    if queues:
        names = screen.plain(", ".join(sorted(queues)))
        click.echo(f"\nThey wait in the queue {names}, which starts them whether you watch or not.")
    if done.started or done.resumed:
        click.echo(f"\nOutputs come home to {folder} while you watch:  swatch watch {manifest}")
        click.echo(f"or when you ask:  swatch sync {manifest}\nEnd it:  swatch stop {manifest}")
        return
    on_their_way = counts[Verdict.RUNNING] + counts[Verdict.QUEUED]
    if on_their_way:
        click.echo(f"Nothing to start; {on_their_way} on the way:  swatch watch {manifest}")
    elif counts[Verdict.CACHED] == len(done.choices):
        brought = f" ({screen.counted(len(watch.brought), 'file')} brought)" if watch.brought else ""
        click.echo(f"Nothing to start: all is made, and in {folder}{brought}")
    else:
        click.echo("Nothing to start.")
    if counts[Verdict.FAILED]:
        click.echo(f"Try the failed again:  swatch submit {manifest} --retry-failed")


def _record(done: Submission) -> dict[str, object]:
    return {
        **plan.record(done.choices, [[task.name for task in job.tasks] for job in done.started]),
        "started": [job.name for job in done.started],
        "resumed": [job.name for job in done.resumed],
    }
