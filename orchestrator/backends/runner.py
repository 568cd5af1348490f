"""Works the local queue off: takes a slot, starts one agent after the other, ends when nothing waits.

    python -m orchestrator.backends.runner --home FOLDER --slots N

The agent inherits the locks on the slot and on the queue entry: kill the runner, and both stay taken until the agent
ends; kill the agent, and its job is known to be lost, while the queue goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from orchestrator import contract, decoder, journal, settings
from orchestrator.backends import cache, vault
from orchestrator.backends.base import ending
from orchestrator.backends.local import DOCKER, Entry, Layout, LocalBackend
from orchestrator.errors import Expired, NoDocker, SwatchError, Throttled, Unreachable
from orchestrator.job import Job
from orchestrator.leash import end_orphan
from orchestrator.store import Store, open_store


@contextlib.contextmanager
def free_slot(layout: Layout, slots: int) -> Iterator[IO[bytes] | None]:
    """The lock of a free slot, or None when all are taken."""
    for number in [*range(slots)] * 2:
        with open(layout.slots / str(number), "ab") as handle:
            if _try_lock(handle):
                yield handle
                return
        time.sleep(0.02)  # who only looks whether a slot is taken holds its lock for a moment: ask twice
    yield None


def next_entry(layout: Layout) -> tuple[Path, IO[bytes]] | None:
    """The first waiting job, moved to `running` and locked; None when nothing waits."""
    for name in sorted(os.listdir(layout.queue)):
        if name.startswith("."):
            continue
        try:
            handle = open(layout.queue / name, "rb")
        except FileNotFoundError:
            continue  # another runner took it
        if _try_lock(handle):
            # Gone already, if another runner took it and its job has ended since.
            with contextlib.suppress(FileNotFoundError):
                (layout.queue / name).rename(layout.running / name)
                return layout.running / name, handle
        handle.close()
    return None


def run_agent(layout: Layout, entry: Entry, keep: list[int]) -> None:
    """Run the agent to its end. The job's folders go when the job has ended, and stay for a retry if it was lost."""
    store, work = open_store(entry.store), layout.work(entry)
    attempts = journal.fold(store, entry.project, entry.number).attempt
    job = decoder.from_json(store.read(contract.job_key(entry.project, entry.number)), Job)
    contained = job.backend == DOCKER
    try:
        code = container_code(layout, entry, store, work, keep) if contained else agent_code(layout, entry, work, keep)
    except (NoDocker, Expired, Throttled, Unreachable) as error:  # it passes, or a person mends it: no fault of the job
        note_loss(store, entry, attempts, f"lost: {_sentence(error)}")
        return
    except SwatchError as error:
        give_up(layout, store, job, _sentence(error))
        return
    except OSError as error:
        note_loss(store, entry, attempts, f"lost: its agent could not be started: {error}")
        return
    if store.exists(contract.final_key(entry.project, entry.number)):
        vault.forget(layout.secrets(entry))
        if not (work / "output").exists():  # what could not be shipped stays
            shutil.rmtree(work, ignore_errors=True)
    elif code != contract.BUSY:
        try:
            if not contained:
                end_orphan(work)  # the next job has this machine to itself
        except (SwatchError, OSError) as error:
            print(f"{entry.project}/{entry.number}: {error}", file=sys.stderr, flush=True)
        why = f"killed by {contract.signal_name(-code)}" if code < 0 else f"exit code {code}"
        said = (work / "agent.log").read_text(errors="replace").strip().rpartition("\n")[2]
        note_loss(store, entry, attempts, f"lost: its agent ended early ({why}){f': {said[:300]}' if said else ''}")


def agent_code(layout: Layout, entry: Entry, work: Path, keep: list[int]) -> int:
    """Run the agent on the job; its exit code. Raises OSError when it cannot even be started."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "agent.log", "ab") as log:
        agent = subprocess.Popen(
            [
                *(sys.executable, "-m", "job_image.agent", "--store", entry.store),
                *("--project", entry.project, "--number", str(entry.number), "--work", str(work)),
                *("--cache", str(layout.cache), "--secrets", str(layout.secrets(entry))),
            ],
            cwd=work,
            # `python3` in a command is the interpreter that Swatch itself runs on, with the engine's packages.
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=keep,
        )
    return agent.wait()


def container_code(layout: Layout, entry: Entry, store: Store, work: Path, keep: list[int]) -> int:
    """The same in a container. Raises SwatchError where that cannot be prepared, OSError."""
    from orchestrator.backends import container

    work.mkdir(parents=True, exist_ok=True)
    with open(work / "agent.log", "ab") as log:
        return container.run(layout, entry, store, work, keep, log)


def _sentence(error: SwatchError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message


def give_up(layout: Layout, store: Store, job: Job, reason: str) -> None:
    """The job ends here: no other try would go better."""
    final = ending(job, journal.fold(store, job.project, job.number), contract.FAILED, reason)
    if store.create(contract.final_key(job.project, job.number), msgspec.json.encode(final)):
        found = settings.load(environment={**os.environ, "SWATCH_HOME": str(layout.home)})
        LocalBackend(store.url, layout.home, 1, found.notify, job.backend).ended(job, final)


def note_loss(store: Store, entry: Entry, attempts_before: int, reason: str) -> None:
    """Say in the journal that the agent ended without a final record, and why: so the try counts even if the agent
    never came to write a word."""
    attempt = max(journal.fold(store, entry.project, entry.number).attempt, attempts_before + 1)
    writer = journal.Writer(store, entry.project, entry.number)
    writer.append(journal.State(time.time(), contract.FAILED, attempt, reason))
    writer.flush()


def drain(layout: Layout, slots: int) -> None:
    """Work until nothing waits or no slot is free."""
    while True:
        with free_slot(layout, slots) as slot:
            if slot is None:
                return
            while taken := next_entry(layout):
                file, handle = taken
                with handle:
                    try:
                        entry = decoder.from_json(handle.read(), Entry)
                        with cache.in_use(layout) as using:
                            run_agent(layout, entry, [slot.fileno(), handle.fileno(), using])
                    except (SwatchError, OSError, msgspec.DecodeError) as error:
                        # The job then counts as lost; those behind it go on.
                        print(f"{file.name}: {error}", file=sys.stderr, flush=True)
                    finally:
                        file.unlink(missing_ok=True)
        # Whoever queued a job while this slot was held may have found none free: look again now that it is.
        if not any(not name.startswith(".") for name in os.listdir(layout.queue)):
            return


def _try_lock(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="runner", description=__doc__)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--slots", required=True, type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    layout = Layout(given.home)
    layout.make()
    drain(layout, given.slots)
    try:
        cache.trim(layout)
    except OSError as error:
        print(f"{layout.cache}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
