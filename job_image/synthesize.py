"""Make textures from source images: `synthesize.py -h` tells how.

Standard output has plain lines for people (how each texture begins and ends) and one JSON object a line for machines:
progress while a texture is made, and its end. The exit code is 0 when every texture was made, 1 when some were not, 2
when nothing could be tried, 143 after SIGTERM and 130 after Ctrl-C; then the state is saved, and the same command goes
on from it.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING or __package__:
    from . import flags
    from .texture import checkpoint, images, report, tasks, weights
    from .texture.parameters import LARGE, Parameters
else:  # run as a script from its own folder
    import flags
    from texture import checkpoint, images, report, tasks, weights
    from texture.parameters import LARGE, Parameters

CHECKPOINTS = ".checkpoints"
"""Where states are kept, in the output folder, when no other place is given."""
COMMAND = "Acommand.txt"
"""The command, in the texture's folder, by the name that subjective-functions gives it."""
MOST_RUNS = 1000
"""Folders of one name, numbered as subjective-functions numbers them: out.L2,7.o4.512x512.0 and so on."""


class Run(NamedTuple):
    """What is the same for every texture of a run.

    weights: where network weights are, if anywhere. novelty: what the textures are to be novel in, as a record; None
    for textures of sources. tree: whether folders are numbered, and filled, as subjective-functions does. command: as
    it was typed.
    """

    output: Path
    checkpoints: Path
    weights: Path | None
    novelty: dict[str, Any] | None
    tree: bool
    save_every: int
    command: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = flags.parser().parse_args(given)
    try:
        flags.check(options)
        wanted = tasks.read(options.tasks) if options.tasks else [flags.single_task(options)]
        run = Run(
            options.output_dir,
            options.checkpoint_dir or options.output_dir / CHECKPOINTS,
            found_weights(options.data_dir),
            {"internal": options.internal, "step": options.octave_step} if options.novelty else None,
            not options.tasks,
            options.save_every,
            flags.command(given),
        )
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        stop = Stop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, stop)
        print(f"{len(wanted)} texture{'s' if len(wanted) > 1 else ''} to make")
        give_memory_back(wanted)
        network = load_network(run, wanted)
    except (ValueError, OSError) as error:
        print(f"synthesize.py: {sentence(error)}", file=sys.stderr)
        return 2
    made = [make(task, run, network, stop) for task in wanted]
    return 0 if all(made) else 1


def found_weights(given: Path | None) -> Path | None:
    """The file with VGG-19's weights: in the folder given, else in `model_data`, else in the data mounted into the job.

    Raises ValueError when a folder is given and has none: whoever names one means it.
    """
    if given is not None:
        found = weights.find(given)
        if found is None:
            raise ValueError(
                f"--data-dir {given}: no VGG-19 weights there (.h5, .npz or .safetensors); "
                "without --data-dir, the weight-free method makes the texture"
            )
        return found
    mounted = flags.variable("SWATCH_DATA_DIR")
    folders = sorted(one for one in mounted.iterdir() if one.is_dir()) if mounted and mounted.is_dir() else []
    return next((found for one in (flags.DEFAULT_DATA, *folders) if (found := weights.find(one))), None)


def load_network(run: Run, wanted: Sequence[tasks.Task]) -> Any:
    """The network up to the deepest layer that any texture needs, or None where none needs it or there are no weights;
    says which it is. A texture that needs a deeper layer than the weights have fails when its turn comes. Raises
    ValueError when the weights cannot be used for any."""
    needed = [parameters for task in wanted if (parameters := valid(task)) is not None]
    if needed and all(one.method == "patch" for one in needed) and run.novelty is None:
        print("Method: patch, which needs no network weights")
        return None
    if run.weights is None:
        print("NO VGG-19 WEIGHTS: none in --data-dir, model_data or mounted data.")
        print("Textures are made by the weight-free method, from patches of their sources.")
        return None
    synthesis = load_engine()
    loaded = loaded_for(run.weights, [synthesis.deepest_layer([one]) for one in needed or [Parameters()]])
    print(f"Weights: {run.weights} ({loaded.layout}, SHA-256 {loaded.digest[:12]})")
    return synthesis.network(loaded)


def loaded_for(path: Path, layers: Sequence[str]) -> weights.Weights:
    """The weights up to the deepest of these convolutions that the file has. Raises ValueError when it has none of
    them, or is no file of weights; of several reasons, with the one that the shallowest gives."""
    deepest_first = sorted(set(layers), key=weights.LAYERS.index, reverse=True)
    for layer in deepest_first[:-1]:
        with suppress(weights.TooShallow):
            return weights.load(path, layer)
    return weights.load(path, deepest_first[-1])


def give_memory_back(wanted: Sequence[tasks.Task]) -> None:
    """Have TensorFlow give unused memory back to the system where a texture is large; before it is loaded.

    Its own pool of memory (that of its build with oneDNN) keeps all it ever had: of a picture of 4096x4096 some 100
    bytes a pixel, nearly as many as are in use. Small pictures are made a little quicker with it. No number changes.
    """
    sizes = [one.width * one.height * one.count for task in wanted if (one := valid(task)) is not None]
    if max(sizes, default=0) > LARGE:
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def valid(task: tasks.Task) -> Parameters | None:
    """A task's parameters, or None when they are wrong, which is told when the task's turn comes."""
    try:
        return Parameters.from_mapping(task.parameters)
    except (ValueError, TypeError):
        return None


class Stop:
    """SIGTERM, or Ctrl-C, as an end to the run.

    The handler raises, and remembers: an exception raised while Python runs a destructor is lost, so the run also asks
    many times a second. A second SIGTERM, of several who pass it on, does not tear the saving that the first began.
    """

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if signum == self.asked == signal.SIGTERM:
            return
        self.asked = signum
        raise SystemExit(128 + signum)

    def check(self) -> None:
        """Raise SystemExit(143), or 130, if the signal has come."""
        if self.asked:
            raise SystemExit(128 + self.asked)


def make(task: tasks.Task, run: Run, network: Any, stop: Stop) -> bool:
    """Make one texture and tell how it ended. Its failure, whatever the cause, leaves the others alone."""
    began = time.monotonic()
    try:
        name, quality = make_files(task, run, network, stop)
    except Exception as error:  # noqa: BLE001 - the boundary between tasks: no failure of one may stop the next
        print(f"{task.name}: failed: {sentence(error)}")
        tell({"task": task.name, "state": "failed", "error": sentence(error)})
        return False
    end = {"task": name, "state": "success", "seconds": round(time.monotonic() - began, 1)}
    if quality is None:
        print(f"{name}: there already")
        tell({**end, "resumed": True})
    else:
        print(f"{name}: made in {end['seconds']} s, {quality_clause(quality)}")
        tell(end)
    return True


def sentence(error: Exception) -> str:
    """What went wrong, on one line: in our own words, or in the system's beside the file it is about."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return (said.splitlines() or ["failed"])[0]


def quality_clause(quality: dict[str, Any]) -> str:
    """The verdict on a texture, and what speaks against it first."""
    reasons = quality.get("reasons")
    return f"quality {quality.get('verdict', 'unmeasured')}" + (f" ({reasons[0]})" if reasons else "")


def make_files(task: tasks.Task, run: Run, network: Any, stop: Stop) -> tuple[str, dict[str, Any] | None]:
    """Make one texture; returns its folder's name, and how good it is, or None if it was there already."""
    parameters = Parameters.from_mapping(task.parameters)
    pictures = (*task.sources, *([task.content] if task.content else []))
    besides = {
        "sources": len(task.sources),
        "weights": network.digest if network is not None and (parameters.method != "patch" or run.novelty) else None,
        "novelty": run.novelty,
    }
    identity = checkpoint.fingerprint(parameters, pictures, besides)
    name = folder_of(task.name, run, identity) if run.tree else task.name
    target = run.output / name
    if report.is_done(target, identity):
        return name, None
    print(f"{name}: {parameters.width}x{parameters.height}, seed {parameters.seed}")
    report.forget_peak()
    sources = [images.read(source) for source in task.sources]
    content = images.read(task.content) if task.content else None
    synthesis = load_engine()
    kept = checkpoint.Checkpoint(run.checkpoints / f"{name}.npz", identity)
    subject = synthesis.subject(sources, network, content, run.novelty)
    making = synthesis.Synthesis(
        target, subject, parameters, kept, tell, stop.check, run.save_every if run.tree else None
    )
    if making.course.covered:
        print(f"{name}: {making.course.covered:.1%} of the source would be found in every tile, and is painted over")
        print("    (--landmarks keep, or landmarks: keep in a manifest, leaves it)")
    del sources, subject  # a dozen photographs in full size are gigabytes, and what is made of them now is small
    if run.tree:
        images.write_atomically(target / COMMAND, os.fsencode(f"{run.command}\n"))
    quality: dict[str, Any] = making.run()
    return name, quality


def folder_of(name: str, run: Run, identity: str) -> str:
    """The folder of a run: the first of its name, or with a number after it, that holds this very texture, or has its
    state, or what this very command left before there was a state, or is free. What other runs made stays."""
    for number in range(-1, MOST_RUNS):
        numbered = name if number < 0 else f"{name}.{number}"
        target = run.output / numbered
        if not target.exists() or report.is_done(target, identity) or left_by(run.command, target):
            return numbered
        load_engine()  # a state is of one engine's versions
        if checkpoint.Checkpoint(run.checkpoints / f"{numbered}.npz", identity).is_ours():
            return numbered
    raise ValueError(f"{run.output / name}: {MOST_RUNS} runs lie there already; name another --output-dir")


def left_by(command: str, target: Path) -> bool:
    """Whether a folder is what a run of this command left, stopped before it had made anything."""
    if (target / report.FILE).exists() or (target / "texture.png").exists():
        return False
    try:
        return (target / COMMAND).read_bytes() == os.fsencode(f"{command}\n")
    except OSError:  # none: somebody else's folder
        return False


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
                f"KERAS_BACKEND is {chosen!r}, which is not installed; pip install {chosen} "
                f"(in the image, where this runs in one), or choose another: {', '.join(report.BACKENDS)}"
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
