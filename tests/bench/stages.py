"""What each stage of a large texture without weights holds at most, one after the other in one process."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from job_image.synthesize import give_memory_back
from job_image.texture import backend, checkpoint, images, patches, patchwork, quality, regularity, sliced
from job_image.texture.parameters import Parameters
from job_image.texture.tasks import Task
from tests.bench.resident import resident

SOURCE = Path(__file__).resolve().parents[2] / "manifests" / "textures" / "bricks.png"
LOOK_SECONDS = 0.01


def run(arguments: Sequence[str] = ()) -> None:
    """Print the memory of each stage at a side (default: 2048), in all and beyond what was held before it."""
    side = int(arguments[0]) if arguments else 2048
    give_memory_back([Task("bricks", (), {"width": side, "height": side})])
    backend.configure()
    course = patchwork.Patchwork([images.read(SOURCE)], Parameters(width=side, height=side), lambda: None)
    small = 2 * course.sources[0] - 1
    count = -(-side // min(small.shape[:2]))
    picture = np.ascontiguousarray(np.tile(small, (count, count, 1))[:side, :side], np.float32)
    _measured("an iteration of the matching", side, lambda: _matched(course, picture))
    finish = sliced.Finish(course.symmetric_range(), picture, 0)
    for number in range(2):
        _measured("a step of the finish", side, partial(finish.step, number, lambda: None))
    (made,) = _measured("its last touch", side, partial(course.touched, finish))
    with tempfile.TemporaryDirectory() as folder:
        kept = checkpoint.Checkpoint(Path(folder) / "state.npz", "it")
        _measured("a state written", side, lambda: kept.save(patchwork.finishing_state(finish, 1, 0.0)))
    sheet = np.clip(course.sources[0], 0, 1)
    _measured("figures of quality", side, lambda: quality.measure(sheet, made))
    _measured("regularity", side, lambda: regularity.regularity(sheet, made, course.rhythm))


def _matched(course: patchwork.Patchwork, picture: images.Pixels) -> None:
    """The last iteration, which gives lost grain back; its strips are all taken to be like the first one, which
    alone takes its time."""
    with ExitStack() as usual:
        for name in ("find", "compare", "elect"):
            usual.callback(setattr, patches, name, getattr(patches, name))
            setattr(patches, name, _once(getattr(patches, name)))
        patches.Matcher(course.symmetric_range(), course.schedule[-1], 0, course.rhythm).iterate(
            picture, course.schedule[-1].iterations - 1, lambda: None
        )


def _once(work: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which then gives its first result again and again."""
    first: list[Any] = []

    def once(*arguments: Any, **how: Any) -> Any:
        if not first:
            first.append(work(*arguments, **how))
        return first[0]

    return once


def _measured(name: str, side: int, work: Callable[[], Any]) -> Any:
    before = most = resident(os.getpid())
    ended = threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(LOOK_SECONDS):
            most = max(most, resident(os.getpid()))

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    spent = time.process_time()
    made = work()
    spent = time.process_time() - spent
    ended.set()
    watching.join()
    beyond = (most - before) / side**2
    print(f"{name:<30} {most / 1e9:6.2f} GB, {beyond:4.0f} bytes a pixel more, {spent:6.1f} s CPU", flush=True)
    return made
