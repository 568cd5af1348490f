"""How near one evaluation of the Gram loss is to what the machine can do, and how much memory it takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from job_image.texture import aims, backend
from job_image.texture.network import Network
from job_image.texture.statistics import GramDistance, Place, Target, View
from job_image.texture.vgg import LAYERS, Layer, layer
from tests.vgg import random_weights

PEAK_SIDE, REPEATS = 4096, 5
LARGEST_REPEATED = 2048
CASES = ((256, None), (512, None), (1024, None), (512, 256), (1024, 256), (2048, 512))
"""Side of the picture, and of the tiles; each in a process of its own."""


def run(arguments: Sequence[str] = ()) -> None:
    """Print, for each case, seconds, the share of the measured peak of float32 products, and bytes a pixel."""
    if arguments:  # one case, in this process
        side, tile = (int(one) for one in arguments[:2])
        print(json.dumps(case(side, tile or None)))
        return
    for side, tile in CASES:
        words = [sys.executable, "-m", "tests.bench", "limit", str(side), str(tile or 0)]
        out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found = json.loads(out.splitlines()[-1])
        print(
            f"{side}x{side}{f' in tiles of {tile}' if tile else '':<17} {found['seconds']:7.3f} s  "
            f"{found['gflops']:6.0f} of {found['peak']:.0f} GFLOP/s: {found['gflops'] / found['peak']:.0%}  "
            f"{found['bytes'] / side**2:6.0f} bytes a pixel",
            flush=True,
        )


def case(side: int, tile: int | None) -> dict[str, float]:
    """One evaluation: layers pool1 and conv3_2, four octaves (three below 277 pixels), random weights."""
    backend.configure()
    network = Network(random_weights(1234, "conv3_2"), "random")
    octaves = range(4 if side >= 277 else 3)
    view = View(tuple(Place(octave, layer(name)) for octave in octaves for name in ("pool1", "conv3_2")))
    wanted = [Target(*(np.zeros(shape, np.float32) for shape in shapes(place.layer))) for place in view.places]
    objective = aims.objective(network, view, GramDistance((1.0,) * len(wanted)), wanted, (1, side, side, 3))
    objective.tile = tile
    picture = ops.convert_to_tensor(np.random.default_rng(0).normal(0, 40, (1, side, side, 3)).astype(np.float32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = best(lambda: objective(picture)[1], REPEATS if side <= LARGEST_REPEATED else 0)
    peak_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    square = ops.convert_to_tensor(np.random.default_rng(0).random((PEAK_SIDE, PEAK_SIDE), np.float32))
    peak = 2 * PEAK_SIDE**3 / best(lambda: ops.matmul(square, square), REPEATS) / 1e9
    # A product counts as two operations; the gradient with respect to the input costs what the forward pass does.
    operations = sum(2 * 2 * work(view.layers(octave), side / 2**octave) for octave in octaves)
    return {"seconds": seconds, "gflops": operations / seconds / 1e9, "peak": peak, "bytes": peak_bytes}


def work(layers: Sequence[Layer], side: float) -> float:
    """Multiply-adds of a forward pass over side x side pixels."""
    last, total, channels = max(layers, key=LAYERS.index), 0.0, 3
    for one in LAYERS[: LAYERS.index(last) + 1]:
        if one.name.startswith("conv"):
            total += 9 * channels * one.channels * (side / one.stride) ** 2
            channels = one.channels
    return total


def shapes(at: Layer) -> tuple[tuple[int, ...], ...]:
    """Of a target's arrays."""
    return (at.channels, at.channels), (at.channels,), (at.channels,)


def best(run_once: Callable[[], object], repeats: int) -> float:
    """The least seconds of several runs, the first left out; without repeats, of that first one, compilation and all."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        backend.to_numpy(run_once())
        times.append(time.perf_counter() - began)
    return min(times[1:] or times)
