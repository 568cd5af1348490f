"""The live view of a watch: a bar for each task on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from orchestrator import contract
from orchestrator.cli import screen
from orchestrator.job import Job
from orchestrator.watch import TaskView, Watch

WIDE = 110
"""Columns of a terminal that has room for long names."""
SECOND_THOUGHTS = 3.0
"""Seconds in which a second Ctrl-C ends jobs that are paid for."""
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif")
MOST_BARS = 20
"""Rows of bars; of more tasks, those that run are shown first."""


def follow(
    watch: Watch,
    name: str,
    stop: Callable[[], Sequence[Job]],
    bill: Callable[[Sequence[Job]], object],
    quiet: bool,
    show: Callable[[Watch], None] | None = None,
) -> None:
    """Poll the watch until all is over, showing how it goes (unless `quiet`: then as `show` does). Ctrl-C detaches: it
    says how to take up watching `name` again, and ends this program; nothing is stopped. A second Ctrl-C has machines
    that are paid for stopped (`stop`, which says the jobs); what they made is still brought home, and their `bill`
    told."""
    try:
        _show(watch, quiet, show)
    except KeyboardInterrupt:
        again = f"Take up watching:  swatch watch {name}\nEnd them:          swatch stop {name}"
        if watch.over or not watch.paid:
            click.echo(f"\nThe jobs go on.\n{again}", err=True)
            sys.exit(130)
        try:
            click.echo(f"\nThe jobs go on, and are paid for.\n{again}\nCtrl-C once more ends them now.", err=True)
            time.sleep(SECOND_THOUGHTS)
        except KeyboardInterrupt:
            _stop(watch, name, stop, bill, quiet)
        sys.exit(130)


def _stop(
    watch: Watch, name: str, stop: Callable[[], Sequence[Job]], bill: Callable[[Sequence[Job]], object], quiet: bool
) -> None:
    click.echo("\nThe jobs are asked to stop; their last outputs come home. Ctrl-C leaves at once.", err=True)
    try:
        jobs = stop()
        _show(watch, quiet)
        bill(jobs)
    except KeyboardInterrupt:
        click.echo(f"\nSee them end:  swatch watch {name}", err=True)


def _show(watch: Watch, quiet: bool, show: Callable[[Watch], None] | None = None) -> None:
    console = screen.console()
    if quiet:
        _until_over(watch, show or (lambda _: None))
    elif console.is_terminal and not console.is_dumb_terminal and console.width >= 40:
        _live(watch, console)
    else:
        _until_over(watch, _Lines())


def _until_over(watch: Watch, show_one: Callable[[Watch], None]) -> None:
    while True:
        watch.poll_on()
        show_one(watch)
        if watch.over:
            return
        time.sleep(watch.pause())


class _Lines:
    """One line for each change: for logs of a build machine, and for pipes."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._brought = 0
        self._trouble = ""

    def __call__(self, watch: Watch) -> None:
        if watch.trouble and watch.trouble != self._trouble:
            click.echo(f"{screen.plain(watch.trouble)} (still watching)", err=True)
        self._trouble = watch.trouble
        changed = [view for view in watch.tasks if self._states.get(view.task.name) != view.state]
        for view in changed:
            if not view.ended:
                self._say(view)
        for path in watch.brought[self._brought :]:
            if path.suffix in IMAGES:
                click.echo(f"  {screen.plain(shown_path(path))}")
        self._brought = len(watch.brought)
        for view in changed:
            if view.ended:
                self._say(view)

    def _say(self, view: TaskView) -> None:
        self._states[view.task.name] = view.state
        click.echo(screen.plain(", ".join(filter(None, [f"{view.task.name}: {view.state}", view.reason]))))


def shown_path(path: Path) -> str:
    """The path as a person in this folder would write it."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith(os.pardir) else str(path)


def _live(watch: Watch, console: Any) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.text import Text

    columns = _columns(console.width)
    names = min(max(len(view.task.name) for view in watch.tasks), 24 if console.width < WIDE else 44)
    room = console.width - names - sum(width + 1 for width in columns.values()) - 6

    class Bar(BarColumn):
        """None for a task that does not tell how far it is."""

        def render(self, task: Any) -> Any:
            return super().render(task) if task.fields["percent"] else Text("")

    progress = Progress(
        TextColumn("{task.fields[label]}"),
        Bar(bar_width=max(4, min(32, room)), complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[percent]:>4}"),
        *(TextColumn(f"{{task.fields[{name}]:>{width}}}", markup=False) for name, width in columns.items()),
        console=console,
    )
    bars: dict[str, Any] = {}
    news = Text("")

    def redraw(watch: Watch) -> None:
        for view in _chosen(watch.tasks):
            fields = _fields(view, names)
            if view.task.name not in bars:
                bars[view.task.name] = progress.add_task("", total=1.0, **fields)
            progress.update(bars[view.task.name], completed=_share(view), **fields)
        chosen = {view.task.name for view in _chosen(watch.tasks)}
        for name, bar in bars.items():
            progress.update(bar, visible=name in chosen)
        news.plain = _news(watch)
        live.update(Group(progress, news))

    with Live(Group(progress, news), console=console, refresh_per_second=8, transient=False) as live:
        _until_over(watch, redraw)


def _columns(width: int) -> dict[str, int]:
    """What stands behind the bar, and how wide, as far as a terminal of so many columns has room."""
    least = {"size": 50, "step": 96, "loss": 80, "left": 0}
    wide = {"size": 9, "step": 12, "loss": 11, "left": 11}
    return {name: wide[name] for name in least if width >= least[name]}


def _chosen(tasks: list[TaskView]) -> list[TaskView]:
    if len(tasks) <= MOST_BARS:
        return tasks
    order = {contract.RUNNING: 0, contract.STARTING: 1, contract.FAILED: 2, contract.QUEUED: 3}
    first = sorted(tasks, key=lambda view: order.get(view.state, 4))[:MOST_BARS]
    return [view for view in tasks if view in first]


def _share(view: TaskView) -> float:
    if view.state == contract.SUCCESS:
        return 1.0
    if view.progress is None or view.progress.steps <= 0:
        return 0.0
    return min(1.0, max(0.0, view.progress.step / view.progress.steps))


def _fields(view: TaskView, width: int) -> dict[str, Any]:
    progress = view.progress
    running = view.state == contract.RUNNING and progress is not None
    if running and progress is not None and progress.seconds_left is not None:
        left = f"{screen.duration(progress.seconds_left)} left"
    elif view.state == contract.SUCCESS and view.seconds:
        left = screen.duration(view.seconds)
    else:
        left = "cached" if view.reason == "cached" else view.state
    style = screen.STYLE.get(view.state) or "default"
    told = view.task.command is None or progress is not None  # of a plain command nobody knows how far it is
    return {
        "percent": f"{_share(view):.0%}" if told else "",
        "label": f"[{style}]{screen.shortened(view.task.name, width):<{width}}[/]",
        "size": screen.plain(progress.size)[:9] if running and progress else "",
        "step": f"{progress.step:.0f}/{progress.steps:.0f}" if running and progress else "",
        "loss": f"loss {progress.loss:.3g}" if running and progress and progress.loss is not None else "",
        "left": left,
    }


def _news(watch: Watch) -> str:
    done = sum(view.state == contract.SUCCESS for view in watch.tasks)
    images = [path for path in watch.brought if path.suffix in IMAGES]
    line = f"{done} of {len(watch.tasks)} done"
    if images:
        line += f" · {screen.counted(len(images), 'image')} brought, the latest: {shown_path(images[-1])}"
    waiting = [view.reason for view in watch.tasks if view.state == contract.QUEUED and view.reason]
    if waiting:
        line += f"\n{screen.counted(len(waiting), 'task')} waiting: {waiting[0]}"
    if watch.trouble:
        line += f"\n{watch.trouble} (still watching)"
    for path, problem in list(watch.home.problems.items())[:3]:
        line += f"\n{path}: {problem}"
    return screen.plain(line)
