"""Make seamless textures from source images.

    synthesize.py --tasks tasks.json --output-dir DIR
    synthesize.py -s bark.jpg --output-width 512 --output-height 512 --output-dir DIR

Each texture gets a folder in DIR: source.png, previews/, texture.png, tiled.png (the texture two by two) and, last,
report.json. A texture already there is not made again. With --checkpoint-dir an interrupted run goes on where it was.

Standard output has plain lines for people (how each texture begins and ends) and one JSON object a line for machines:
progress while a texture is made, and its end. The exit code is 0 when every texture was made, 1 when some were not, 2
when nothing could be tried, 143 after SIGTERM.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from .texture import checkpoint, images, report, tasks
    from .texture.parameters import Parameters
else:  # run as a script from its own folder
    from texture import checkpoint, images, report, tasks
    from texture.parameters import Parameters

TERMINATED = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        wanted = tasks.read(options.tasks) if options.tasks else [single_task(options)]
    except ValueError as error:
        print(f"synthesize.py: {error}", file=sys.stderr)
        return 2
    if options.output_dir is None:
        print("synthesize.py: give --output-dir, or set SWATCH_OUTPUT_DIR", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    print(f"{len(wanted)} texture{'s' if len(wanted) > 1 else ''} to make")
    print(f"Engine: patch, which needs no network weights ({weights_clause(options.data_dir)})")
    made = [make(task, options.output_dir, options.checkpoint_dir, stop) for task in wanted]
    return 0 if all(made) else 1


def build_parser() -> argparse.ArgumentParser:
    """The command line. Defaults of the directories come from the environment a job runs in."""
    parser = argparse.ArgumentParser(
        prog="synthesize.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tasks", type=Path, metavar="FILE", help="a task list (JSON)")
    what.add_argument("-s", "--source", type=Path, nargs="+", metavar="IMAGE", help="sources of one texture")
    parser.add_argument("--output-width", type=int, default=256, metavar="PIXELS")
    parser.add_argument("--output-height", type=int, default=256, metavar="PIXELS")
    parser.add_argument("--source-width", type=int, metavar="PIXELS", help="width the source is resized to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, metavar="DIR", default=folder("SWATCH_OUTPUT_DIR"))
    parser.add_argument("--checkpoint-dir", type=Path, metavar="DIR", default=folder("SWATCH_CHECKPOINT_DIR"))
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data is mounted, such as VGG weights")
    return parser


def folder(variable: str) -> Path | None:
    """The folder an environment variable names, if any."""
    value = os.environ.get(variable)
    return Path(value) if value else None


def single_task(options: argparse.Namespace) -> tasks.Task:
    """The texture that -s and its companions describe, named after its first source."""
    chosen = {
        "width": options.output_width,
        "height": options.output_height,
        "source_width": options.source_width,
        "seed": options.seed,
    }
    name = options.source[0].stem.lstrip(".")
    if not tasks.is_folder_name(name):
        raise ValueError(f"{options.source[0]}: no folder can be named after this file; rename it")
    return tasks.Task(name, tuple(options.source), chosen)


def weights_clause(data: Path | None) -> str:
    """What became of network weights."""
    if data is not None and data.is_dir() and any(data.iterdir()):
        return f"this version does not use those in {data}"
    return "no VGG weights are mounted"


class Stop:
    """SIGTERM as an end to the run.

    The handler raises, and remembers: an exception raised while Python runs a destructor is lost, so the run also asks
    many times a second.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True
        raise SystemExit(TERMINATED)

    def check(self) -> None:
        """Raise SystemExit(143) if SIGTERM has come."""
        if self.asked:
            raise SystemExit(TERMINATED)


def make(task: tasks.Task, output: Path, checkpoints: Path | None, stop: Stop) -> bool:
    """Make one texture and tell how it ended. Its failure, whatever the cause, leaves the others alone."""
    began = time.monotonic()
    try:
        quality = make_files(task, output / task.name, checkpoints, stop)
    except Exception as error:  # noqa: BLE001 - the boundary between tasks: no failure of one may stop the next
        sentence = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        sentence = (sentence.splitlines() or ["failed"])[0]
        print(f"{task.name}: failed: {sentence}")
        tell({"task": task.name, "state": "failed", "error": sentence})
        return False
    end = {"task": task.name, "state": "success", "seconds": round(time.monotonic() - began, 1)}
    if quality is None:
        print(f"{task.name}: there already")
        tell({**end, "resumed": True})
    else:
        print(f"{task.name}: made in {end['seconds']} s, {quality_clause(quality)}")
        tell(end)
    return True


def quality_clause(quality: dict[str, Any]) -> str:
    """The verdict on a texture, and what speaks against it first."""
    reasons = quality.get("reasons")
    return f"quality {quality.get('verdict', 'unmeasured')}" + (f" ({reasons[0]})" if reasons else "")


def make_files(task: tasks.Task, target: Path, checkpoints: Path | None, stop: Stop) -> dict[str, Any] | None:
    """Make one texture; returns how good it is, or None if it was there already."""
    parameters = Parameters.from_mapping(task.parameters)
    identity = checkpoint.fingerprint(parameters, task.sources)
    if report.is_done(target, identity):
        return None
    print(f"{task.name}: {parameters.width}x{parameters.height}, seed {parameters.seed}")
    sources = [images.read(source) for source in task.sources]
    synthesis = load_engine()
    kept = checkpoint.Checkpoint(checkpoints / f"{task.name}.npz" if checkpoints else None, identity)
    making = synthesis.Synthesis(target, sources, parameters, kept, tell, stop.check)
    del sources  # a dozen photographs in full size are gigabytes, and what is made of them now is small
    quality: dict[str, Any] = making.run()
    return quality


def load_engine() -> Any:
    """Import what needs a backend of Keras: late, so that wrong usage is told at once, and with its chatter turned off.

    Raises ValueError when KERAS_BACKEND names one that is not installed or cannot be used.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if chosen not in report.BACKENDS:
        raise ValueError(f"KERAS_BACKEND is {chosen!r}; it must be one of: {', '.join(report.BACKENDS)}")
    with quiet():
        try:
            if TYPE_CHECKING or __package__:
                from .texture import backend, synthesis
            else:
                from texture import backend, synthesis
        except ModuleNotFoundError as error:
            if error.name != chosen:
                raise
            raise ValueError(
                f"KERAS_BACKEND is {chosen!r}, which is not installed; pip install {chosen}, "
                f"or choose another: {', '.join(report.BACKENDS)}"
            ) from None
        backend.configure()
    return synthesis


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what libraries write to standard error while they load; shown after all when loading fails.

    TensorFlow's first lines come from C++ before its log level is read, so only the file descriptor can hold them.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(screen, held.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)


def tell(record: dict[str, Any]) -> None:
    """One JSON object on a line of its own."""
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    sys.exit(main())
