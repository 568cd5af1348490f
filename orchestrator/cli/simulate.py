"""swatch simulate"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import click
import msgspec

from orchestrator.errors import UsageError


@click.command(
    "simulate",
    short_help="Try jobs on AWS without an account: a simulated one, on this computer.",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Where to listen [a free port].")
@click.option(
    "--speed",
    type=click.FloatRange(0.01, 10_000),
    default=1.0,
    metavar="X",
    help="Have the account's time pass X times as fast, limits of runtime included [1].",
)
@click.option("--quota", "quotas", multiple=True, metavar="TYPE=N", help="Allow N machines of a type [20].")
@click.option("--chaos", type=int, metavar="SEED", help="Throttle, interrupt, break: the same for the same number.")
@click.option("--docker", "with_docker", is_flag=True, help="Run and build images with this computer's Docker.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def command(
    port: int, speed: float, quotas: tuple[str, ...], chaos: int | None, with_docker: bool, words: tuple[str, ...]
) -> None:
    """Try jobs on AWS without an account: a simulated one, on this computer.

    \b
    swatch simulate -- swatch submit manifests/quickstart.yaml --backend sagemaker --watch
    swatch simulate --quota ml.g5.xlarge=2 --chaos 7
    swatch simulate --docker -- swatch image push

    With a COMMAND, runs it in the account and ends with its exit code. Without one, prints what to type into another
    terminal, and stays until Ctrl-C. Jobs really run, as processes; they, the store and all that is in it last only as
    long as this command.

    With --docker the account has a registry for images, too: jobs whose image was pushed there run in containers of it,
    and CodeBuild builds. Nothing is ever pushed to AWS.
    """
    from orchestrator import settings, simulator
    from orchestrator.docker import Docker
    from orchestrator.simulator.front import Front

    weather = simulator.chaos(chaos) if chaos is not None else None
    account = simulator.Simulator(
        clock=simulator.Clock(speed),
        durations=simulator.QUICK,
        faults=weather,
        port=port,
        front=Front,
        docker=Docker() if with_docker else None,
    )
    building = settings.load().docker if with_docker else settings.Docker()
    with _signals() as ended, tempfile.TemporaryDirectory(prefix="swatch-simulated-") as home, account:
        for quota in quotas:
            account.quotas.set(*_quota(quota, simulator.instance_types()))
        made = account.make_account(builds=with_docker, versions=True)
        # A name of its own: or outputs of one simulation would come home in place of another's.
        store = f"s3://swatch/{uuid.uuid4().hex[:8]}"
        said = {"store": store, "aws": {"role": made.role}, "docker": msgspec.to_builtins(building)}
        Path(home, "config.yaml").write_text(json.dumps(said, indent=1) + "\n")  # JSON is YAML, too
        variables = {
            **account.environment(),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SWATCH_HOME": home,
        }
        if words:
            sys.exit(_run(words, variables, ended))
        click.echo(f"An AWS account is simulated at {account.url}. In another terminal:\n")
        click.echo(f"unset {' '.join(UNSET)}")
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        click.echo(f"\nStore: {store}, kept only while this runs. Ctrl-C ends it and its jobs.")
        signal.signal(signal.SIGINT, ended)
        number = ended.wait()
        count = len(account.jobs())
        click.echo(f"\nEnded, with all that was kept: {count} training job{'' if count == 1 else 's'} and the store.")
        if number != signal.SIGINT:
            sys.exit(128 + number)


UNSET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "SWATCH_STORE")
"""Variables of a real account, or of another store, that would win over those that are set."""


def _quota(text: str, types: Sequence[str]) -> tuple[str, int]:
    """`ml.g5.xlarge=2`. Raises UsageError."""
    instance_type, _, count = text.partition("=")
    if not count.isascii() or not count.isdecimal() or len(count) > 6:
        raise UsageError(f"--quota: expected TYPE=N, got {text[:80]!r}", hint="As in --quota ml.g5.xlarge=2")
    if instance_type not in types:
        import difflib

        near = difflib.get_close_matches(instance_type, types, 1)
        hint = f"Did you mean {near[0]}?" if near else "As in --quota ml.g5.xlarge=2"
        raise UsageError(f"--quota: SageMaker has no machine type {instance_type[:80]!r}", hint=hint)
    return instance_type, int(count)


def _run(words: Sequence[str], variables: dict[str, str], ended: _Signals) -> int:
    """Run the command to its end; its exit code, as a shell tells it."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    # Ctrl-C reaches the command too: what it makes of it is its own affair.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        child = subprocess.Popen(words, env={**kept, **variables})
    except OSError as error:
        raise UsageError(f"{words[0]}: {error.strerror}", hint="swatch simulate -- COMMAND...") from error

    def watch() -> None:
        child.wait()
        ended(0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    number = ended.wait()
    if number:
        child.terminate()
    watcher.join()
    code = child.wait()
    return 128 + number if number else code if code >= 0 else 128 - code


class _Signals:
    """A handler of signals that notes the first one; `wait` waits for it.

    The system may hand a signal to any thread, but Python's handlers run in the main one, which notices only when what
    it waits for ends. So it waits for a pipe that signals write to.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._number: int | None = None

    def __call__(self, number: int, _: FrameType | None = None) -> None:
        if self._number is None:
            self._number = number
        os.write(self._writer, b"!")

    def wait(self) -> int:
        """The number that was noted first."""
        while self._number is None:
            os.read(self._reader, 1)
        return self._number


@contextlib.contextmanager
def _signals() -> Iterator[_Signals]:
    """Notes a terminal's end and `kill`: they must end the jobs too, and in order."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler = _Signals(reader, writer)
    before = (
        signal.set_wakeup_fd(writer),
        [(one, signal.signal(one, handler)) for one in (signal.SIGTERM, signal.SIGHUP)],
    )
    try:
        yield handler
    finally:
        for number, old in before[1]:
            signal.signal(number, old)
        signal.set_wakeup_fd(before[0])
        os.close(reader)
        os.close(writer)
