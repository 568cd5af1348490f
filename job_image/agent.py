"""The agent: runs one job's command under the contract, writes the journal, ships outputs.

    python -m job_image.agent --store URL --project NAME --number N --work FOLDER [--cache FOLDER]
                             [--secrets FILE] [--boto3 FILE] [--mounted] [--ml /opt/ml [--isolated]]
    python -m job_image.agent train
    python -m job_image.agent shell FOLDER

One agent works on a job at a time: a lock on FOLDER proves it (released by the system even after kill -9), and the
journal refuses a second writer. Whoever finds the lock free and no `final.json` knows that the job was lost; starting
the agent again is the next attempt, with the checkpoints of the last one.

With --ml it is the entrypoint of a container of SageMaker (see `container`): SIGTERM without the mark `stop.json` means
that the machine is taken away, and that another attempt will go on. With the one word `train`, which is how SageMaker
starts an image that is told nothing else, the job's hyperparameters say the rest.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from job_image import sdk, shell
from job_image.attempt import Attempt, Options
from job_image.container import ML, JobStore, Platform, told
from orchestrator import contract
from orchestrator.errors import SwatchError
from orchestrator.journal import Fenced
from orchestrator.leash import end_orphan, lock
from orchestrator.store import open_store


def arguments(argv: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="agent", description="Run one job of a Swatch store.")
    parser.add_argument("--store", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--number", required=True, type=int)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--cache", type=Path, help="a folder of this machine that outlives jobs")
    parser.add_argument("--secrets", type=Path, help="a file with the values of the job's secrets; removed at its end")
    parser.add_argument("--ml", type=Path, help="the folder that SageMaker gives a container")
    parser.add_argument("--isolated", action="store_true", help="the store is the checkpoint folder of this one job")
    parser.add_argument("--mounted", action="store_true", help="the contract's paths are mounted, data included")
    parser.add_argument("--boto3", type=Path, help="AWS' SDK as one file, for a Python that has none")
    given = parser.parse_args(argv)
    return Options(
        given.store,
        given.project,
        given.number,
        given.work,
        Platform(given.ml, given.isolated) if given.ml else None,
        given.cache,
        given.secrets,
        given.mounted,
        given.boto3,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0 when it ended (in whatever state), contract.BUSY when another agent is at it, 1 when this agent
    could not bring it to an end. On a platform, 1 also when the job failed, and when it is to be started again."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == [shell.VERB]:
        return shell.main(words[1:])
    try:
        options = arguments(told(ML) if words == ["train"] else words)
    except SwatchError as error:
        print(f"swatch: {error.message}; {error.hint}", file=sys.stderr, flush=True)
        if ML.is_dir():
            Platform(ML).tell_failure(error.message)
        return 1
    options.work.mkdir(parents=True, exist_ok=True)
    alone = lock(options.work / "agent.lock")
    if alone is None:
        return contract.BUSY
    try:
        return _perform(options)
    except Fenced as error:
        print(f"swatch: {error.message}", file=sys.stderr, flush=True)
        return contract.BUSY
    except SwatchError as error:
        print(f"swatch: {error.message}", file=sys.stderr, flush=True)
        if options.platform:
            options.platform.tell_failure(error.message)
        return 1
    finally:
        alone.close()


def _perform(options: Options) -> int:
    if options.boto3 is not None:
        sdk.provide(options.boto3, options.work / "boto3")
    platform = options.platform
    isolated = platform is not None and platform.isolated
    store = JobStore(options.store, options.project, options.number) if isolated else open_store(options.store)
    if store.exists(contract.final_key(options.project, options.number)):
        return 0
    end_orphan(options.work)
    attempt = Attempt(options, store)

    def stop(signum: int, frame: object) -> None:
        attempt.stop_signal = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = attempt.perform()
    if platform and ended.state not in (contract.SUCCESS, contract.SHUTDOWN):
        platform.tell_failure(ended.reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
