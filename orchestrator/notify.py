"""The end of jobs, told from this computer: for jobs that died without their agent, and to who sits in front of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import msgspec

from orchestrator import journal, notice
from orchestrator.errors import StoreError
from orchestrator.job import Final, Job
from orchestrator.settings import Notify
from orchestrator.store import Store

SECONDS = 5.0
"""In which the desktop must have taken a message."""


def tell(store: Store, notify: Notify, job: Job, final: Final) -> None:
    """Tell the end of a job whose final record was just written here: whoever wrote it tells it, and nobody else. What
    cannot be told is noted in the job's log."""
    problems = notice.tell(notify.addresses, msgspec.to_builtins(job), msgspec.to_builtins(final))
    if not problems:
        return
    writer = journal.Writer(store, job.project, job.number)
    for problem in problems:
        writer.append(journal.Log(time.time(), problem, note=True))
    try:
        writer.flush()
    except StoreError as error:
        print(f"swatch: {problems[0]}; nor could that be noted: {error.message}", file=sys.stderr)


def ring(notify: Notify, text: str, title: str = "Swatch") -> None:
    """Ring the terminal's bell and show a message on the desktop, where a person asked for that (`notify.bell`)."""
    if not notify.bell:
        return
    if sys.stderr.isatty():
        sys.stderr.write("\a")
        sys.stderr.flush()
    words = desktop(text, title)
    if words:
        try:
            subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            return  # a desktop that does not answer keeps nobody


def desktop(text: str, title: str) -> list[str]:
    """The words that show a message on this computer's desktop; none where nothing can. No shell reads them, and no
    script has them in its text."""
    if (found := shutil.which("notify-send")) is not None:
        return [found, "--app-name=Swatch", "--", title, text]
    if sys.platform == "darwin" and (found := shutil.which("osascript")) is not None:
        script = ["on run argv", "display notification (item 1 of argv) with title (item 2 of argv)", "end run"]
        return [found, *(word for line in script for word in ("-e", line)), text, title]
    return []
