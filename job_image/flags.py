"""The command line of synthesize.py: every flag of subjective-functions with its meaning, and ours beside them."""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from .texture import tasks
    from .texture.parameters import BITS, DISTANCES, JOINS, LANDMARKS, METHODS, PADDINGS, SEAMLESS, STARTS
else:  # beside synthesize.py, run as a script from its own folder
    from texture import tasks
    from texture.parameters import BITS, DISTANCES, JOINS, LANDMARKS, METHODS, PADDINGS, SEAMLESS, STARTS

DESCRIPTION = """Make textures from source images.

    synthesize.py -s bark.jpg
    synthesize.py -s bark.jpg --output-width 1024 --data-dir /vgg_weights --output-dir /output
    synthesize.py --tasks tasks.json --output-dir DIR

Without --data-dir, weights of VGG-19 are looked for in model_data and in the data mounted into the job. Where there are
none, the weight-free method makes the texture, and says so."""

EPILOGUE = """With -s, the files go to DIR/out.L2,7.o4.512x512 and the like: texture.png, tiled.png (the texture two by
two), report.json, previews/, the seed image, the command, and the picture every so many iterations. A second run with
the same command goes on where the first was stopped, or finds the texture there already."""

DEFAULT_DATA = Path("model_data")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""What a folder of sources is searched for."""
MOST_SOURCES = 1000
OLD_LAYERS = ("2", "7")
"""The layers that subjective-functions names its folders after, by default."""
OLD_OCTAVES = 4


def parser() -> argparse.ArgumentParser:
    """The command line. Defaults of the directories come from the environment a job runs in."""
    made = argparse.ArgumentParser(
        prog="synthesize.py",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = made.add_argument_group("what to make")
    what.add_argument("--tasks", type=Path, metavar="FILE", help="a task list (JSON): many textures in one run")
    what.add_argument(
        "-s", "--source", type=Path, nargs="+", action="extend", metavar="IMAGE", help="image files, or folders of them"
    )
    what.add_argument("--content", type=Path, metavar="IMAGE", help="for --method style: the picture to keep")
    what.add_argument("--novelty", action="store_true", help="no source: frames as unlike each other as can be")
    how = made.add_argument_group("how")
    how.add_argument("--method", choices=METHODS, default="auto", help="auto: swatch with weights, patch without")
    how.add_argument("-ow", "--output-width", type=int, default=512, metavar="PIXELS", help="default: 512")
    how.add_argument("-oh", "--output-height", type=int, metavar="PIXELS", help="default: the width")
    how.add_argument("--seamless", choices=SEAMLESS, help="edges that continue at the opposite edge")
    how.add_argument(
        "--landmarks", choices=LANDMARKS, default="soften", help="lone places that would be found again in each tile"
    )
    how.add_argument("--seed", type=seed, default=(None, 0), metavar="SEED", help="number, random, symmetric, patches")
    how.add_argument("-o", "--octaves", type=int, metavar="N", help="scales, each half the size; default: 4")
    how.add_argument("-l", "--layers", nargs="+", metavar="LAYER", help="of VGG-19: numbers or names; default: 2 7")
    how.add_argument("-m", "--max-iter", type=int, metavar="N", help="most iterations at full size")
    how.add_argument("--tol", type=float, default=1e-9, help="relative decrease, or slope, that ends the descent")
    how.add_argument("-ss", "--source-scale", type=float, metavar="FACTOR", help="scale the sources by this")
    how.add_argument("-sw", "--source-width", type=int, metavar="PIXELS", help="scale the sources to this width")
    how.add_argument("-p", "--padding-mode", choices=PADDINGS, default="valid", help="of convolutions; default: valid")
    how.add_argument("-j", "--join-mode", choices=JOINS, default="average", help="how sources' Gram matrices join")
    how.add_argument("--mul", type=float, default=1.0, help="multiply the target Gram matrices by this")
    how.add_argument("--content-weight", type=float, default=1.0, help="for --method style")
    how.add_argument("--internal", action="store_true", help="with --novelty: octaves unlike each other, too")
    how.add_argument("-os", "--octave-step", type=int, default=1, metavar="N", help="with --novelty: every Nth octave")
    film = made.add_argument_group("frames of a looping video")
    film.add_argument("-c", "--count", type=int, default=1, metavar="N", help="frames made at once")
    film.add_argument("--if-weight", type=float, default=1.0, help="weight of the tie between frames")
    film.add_argument("--if-shift", type=float, default=5.0, help="pixels of movement between frames; default: 5")
    film.add_argument("--if-order", type=int, default=2, help="frames that each is tied to; default: 2")
    film.add_argument("--if-distance-type", choices=DISTANCES, default="lap1", help="default: lap1")
    film.add_argument("--if-octaves", type=int, metavar="N", help="scales that frames are compared at; default: all")
    where = made.add_argument_group("where")
    where.add_argument("-d", "--data-dir", type=Path, metavar="DIR", help="VGG-19 weights: a folder or a file")
    where.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        default=variable("SWATCH_OUTPUT_DIR") or Path("outputs"),
        help="the folder of the folder; default: outputs, in a job its output",
    )
    where.add_argument("-op", "--output-prefix", default="out", metavar="NAME", help="of the folder; default: out")
    where.add_argument("-n", "--save-every", type=int, default=10, metavar="N", help="save the picture so often")
    where.add_argument(
        "--checkpoint-dir",
        type=Path,
        metavar="DIR",
        default=variable("SWATCH_CHECKPOINT_DIR"),
        help="what a stopped run goes on from; default: .checkpoints in the output directory",
    )
    where.add_argument("--bits", type=int, choices=BITS, default=8, help="16: texture.png and .tiff with 16 bits")
    return made


def variable(name: str) -> Path | None:
    """The folder an environment variable names, if any."""
    value = os.environ.get(name)
    return Path(value) if value else None


def seed(text: str) -> tuple[str | None, int]:
    """What --seed says: the kind of start if it names one, and the number that chance begins with.

    subjective-functions has the kinds, and draws differently each time; here no number means 0.
    """
    kind, _, number = text.partition(":")
    if kind in (*STARTS, "random") and (not number or number.isdecimal()):
        return ("noise" if kind == "random" else kind), int(number or 0)
    if text.isdecimal():
        return None, int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor random, symmetric, patches (or symmetric:3)")


def check(options: argparse.Namespace) -> None:
    """Raises ValueError unless the flags say one thing to make."""
    chosen = [name for name in ("tasks", "source", "novelty") if getattr(options, name)]
    if len(chosen) != 1:
        said = "give one of -s/--source, --tasks and --novelty" + (
            f", not --{' and --'.join(chosen)} together" if chosen else "; synthesize.py -h tells more"
        )
        raise ValueError(said)
    if options.save_every < 1:
        raise ValueError(f"--save-every is {options.save_every}; it must be 1 or more")
    if options.octave_step < 1:
        raise ValueError(f"--octave-step is {options.octave_step}; it must be 1 or more")
    if options.content and (options.method != "style" or options.source is None):
        raise ValueError("--content goes with -s and --method style; a task list names its own")
    if not tasks.is_folder_name(options.output_prefix):
        raise ValueError(f"--output-prefix {options.output_prefix!r} cannot begin a folder's name")


def single_task(options: argparse.Namespace) -> tasks.Task:
    """The texture that the flags describe, named as subjective-functions names its folder."""
    kind, number = options.seed
    chosen: dict[str, Any] = {
        "width": options.output_width,
        "height": options.output_height if options.output_height is not None else options.output_width,
        "seed": number,
        "source_width": options.source_width,
        "source_scale": options.source_scale,
        "method": options.method,
        "seamless": options.seamless,
        "layers": options.layers,
        "octaves": options.octaves,
        "iterations": options.max_iter,
        "tolerance": options.tol,
        "padding": options.padding_mode,
        "join": options.join_mode,
        "multiply": options.mul,
        "start": kind or "noise",
        "landmarks": options.landmarks,
        "content_weight": options.content_weight,
        "count": options.count,
        "frame_weight": options.if_weight,
        "frame_shift": options.if_shift,
        "frame_order": options.if_order,
        "frame_distance": options.if_distance_type,
        "frame_octaves": options.if_octaves,
        "bits": options.bits,
    }
    sources = () if options.novelty else tuple(source_files(options.source))
    return tasks.Task(folder_name(options, chosen), sources, chosen, options.content)


def source_files(given: Sequence[Path]) -> list[Path]:
    """The images that the given files and folders (not folders in them) are. Raises ValueError for a folder without."""
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(one for one in path.iterdir() if one.suffix.lower() in IMAGES and one.is_file())
        if not inside:
            raise ValueError(f"{path}: no images in this folder ({', '.join(IMAGES)})")
        found += inside
    if len(found) > MOST_SOURCES:
        raise ValueError(f"{len(found)} sources are too many for one texture; {MOST_SOURCES} go")
    return found


def folder_name(options: argparse.Namespace, chosen: dict[str, Any]) -> str:
    """What subjective-functions calls the folder of such a run: out.L2,7.o4.512x512."""
    name = f"{options.output_prefix}.L{','.join(options.layers or OLD_LAYERS)}.o{options.octaves or OLD_OCTAVES}"
    if options.internal:
        name += ".internal"
    if options.source_scale is not None:
        name += f".w{options.source_scale:.2}"
    if options.source_width is not None:
        name += f".w{options.source_width}"
    if options.count > 1:
        name += f".c{options.count}"
    if options.mul != 1.0:
        name += f".m{options.mul}"
    if options.join_mode != "average":
        name += f".j{options.join_mode}"
    if options.octave_step != 1:
        name += f".os{options.octave_step}"
    if options.method not in ("auto", "swatch", "snelgrove"):
        name += f".{options.method}"
    name = f"{name}.{chosen['width']}x{chosen['height']}"
    if not tasks.is_folder_name(name):
        raise ValueError(f"no folder can be named {name!r}; look at --layers and --output-prefix")
    return name


def command(arguments: Sequence[str]) -> str:
    """The command as it can be typed again."""
    return shlex.join(["synthesize.py", *arguments])
