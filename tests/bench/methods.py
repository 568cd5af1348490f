"""How soon the default method is where subjective-functions' algorithm is after 100 and 500 iterations, in CPU time.

Both run in this process, one after the other, with the same random VGG-19: four octaves, pool1 and conv3_2, no
wrapping. Setting up counts for both; measuring the reference loss of the default method does not.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from job_image.texture import backend, images
from job_image.texture.course import Course
from job_image.texture.descent import Descent
from job_image.texture.images import Pixels
from job_image.texture.network import Network
from job_image.texture.objective import Objective
from job_image.texture.parameters import Parameters
from job_image.texture.swatch import Swatch
from tests.vgg import random_weights

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("bricks", "cloth", "lichen", "terrazzo")
DEPTHS, MOST = (100, 500), 1000


def run(arguments: Sequence[str] = ()) -> None:
    """Print CPU seconds and ratios for each source, and their geometric means.

    arguments: the side in pixels (512 when absent; below 277 there are three octaves), the repository's sources by name
    or other image files; when none is named, all of SOURCES.
    """
    side = int(arguments[0]) if arguments and arguments[0].isdecimal() else 512
    named = [one for one in arguments if not one.isdecimal()] or list(SOURCES)
    backend.configure()
    network = Network(random_weights(1234, "conv3_2"), "random")
    painted = REPOSITORY / "manifests" / "textures"
    files = [painted / f"{name}.png" if name in SOURCES else Path(name) for name in named]
    ratios: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for file in files:
        source = square(images.read(file), side)
        began = spent()
        reference = Descent([source], asked("snelgrove", side, max(DEPTHS)), network, lambda: None)
        seconds, losses = {}, {}
        for stand in reference.stands(None):
            if stand.iteration in DEPTHS:
                seconds[stand.iteration], losses[stand.iteration] = spent() - began, stand.loss
        reached = {}
        for depth, (taken, iterations) in reaching(source, network, reference.objective, losses).items():
            ratios[depth].append(taken / seconds[depth])
            reached[depth] = f"{taken:.1f} s ({iterations} at full size), {taken / seconds[depth]:.3f}"
        for depth in DEPTHS:
            print(
                f"{file.stem}: {depth} iterations to loss {losses[depth]:.1f} in {seconds[depth]:.1f} CPU s; "
                f"default method: {reached.get(depth, 'not reached')}",
                flush=True,
            )
    for depth, found in ratios.items():
        print(f"{depth} iterations: geometric mean {np.exp(np.mean(np.log(found))):.3f}, worst {max(found):.3f}")


def asked(method: str, side: int, iterations: int) -> Parameters:
    """The parameters of the comparison; a tolerance of 0 lets nothing end before it is told to."""
    octaves = 4 if side >= 277 else 3
    return Parameters(side, side, method=method, seamless="none", iterations=iterations, octaves=octaves, tolerance=0.0)


def reaching(
    source: Pixels, network: Network, objective: Objective, losses: dict[int, float]
) -> dict[int, tuple[float, int]]:
    """CPU seconds and full-size iterations until the default method has each of the losses."""
    found: dict[int, tuple[float, int]] = {}
    began, besides = spent(), 0.0
    course: Course = Swatch([source], asked("swatch", source.shape[0], MOST), network, lambda: None)
    for stand in course.stands(None):
        if stand.size != course.levels[-1] or not stand.iteration:
            continue
        now, state = spent(), stand.state()
        if "point" not in state:
            print(f"the descent ended after {stand.iteration} iterations")
            break
        missing = {depth: loss for depth, loss in losses.items() if depth not in found}
        loss, _ = objective(state["point"])
        found |= {depth: (now - began - besides, stand.iteration) for depth in missing if loss <= missing[depth]}
        besides += spent() - now
        if len(found) == len(losses):
            break
    return found


def square(pixels: Pixels, side: int) -> Pixels:
    """The middle of a picture, shrunk to `side` pixels."""
    shorter = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - shorter) // 2, (pixels.shape[1] - shorter) // 2
    middle: Pixels = np.clip(images.resize(pixels[top : top + shorter, left : left + shorter], side, side), 0, 1)
    return middle


def spent() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
