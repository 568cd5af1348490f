"""What one large texture of the weight-free method takes: seconds, memory by stage, and how it stops and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.resident import resident

REPOSITORY = Path(__file__).resolve().parents[2]
SIDES = (1024, 2048, 4096)
LOOK_SECONDS = 0.1


class Ran(NamedTuple):
    """One process: how it ended, its seconds, those of the processor, its memory at most in bytes; the same by what it
    was last heard of; the seconds it took to stop."""

    code: int
    seconds: float
    spent: float
    peak: int
    stages: dict[str, int]
    stopping: float


def run(arguments: Sequence[str] = ()) -> None:
    """Print, for each side (a source's name first, else bricks), a run that is stopped twice and ends at last."""
    source = next((one for one in arguments if not one.isdecimal()), "bricks")
    for side in [int(one) for one in arguments if one.isdecimal()] or SIDES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            size = f"{side}x{side}"
            parts = [_part(folder, source, side, size, first) for first in ("matching", "finish", None)]
            spent, peak = sum(one.spent for one in parts), max(one.peak for one in parts)
            seconds = sum(one.seconds for one in parts)
            print(
                f"{source} {size}: {seconds:.0f} s wall, {spent:.0f} s CPU, {1e6 * spent / side**2:.0f} us a pixel; "
                f"{peak / 1e9:.2f} GB, {peak / side**2:.0f} bytes a pixel",
                flush=True,
            )
            held: dict[str, int] = {}
            for one in parts:
                held |= {stage: max(most, held.get(stage, 0)) for stage, most in one.stages.items()}
            print("  " + ", ".join(f"{stage} {most / 1e9:.2f} GB" for stage, most in held.items()))
            stops = ", ".join(f"{one.stopping:.1f} s" for one in parts if one.stopping)
            print(f"  stopped in the matching and in the finish: after {stops}")
            made = next(folder.glob("out*"))
            files = sorted(one for one in made.rglob("*") if one.is_file())
            print("  " + ", ".join(f"{one.relative_to(made)} {one.stat().st_size / 1e6:.1f} MB" for one in files))
            report = json.loads((made / "report.json").read_text())
            print(f"  {report['quality']['verdict']} {report['quality']['figures']} {report['seconds']}", flush=True)


def _part(folder: Path, source: str, side: int, size: str, stop: str | None) -> Ran:
    """Begin or go on, and stop in a stage at full size: "matching", "finish" or, if None, not at all."""
    command = [
        *(sys.executable, str(REPOSITORY / "job_image" / "synthesize.py"), "--method", "patch"),
        *("-s", str(REPOSITORY / "manifests" / "textures" / f"{source}.png"), "--output-width", str(side)),
        *("--save-every", "1000", "--output-dir", str(folder)),
    ]
    began, stages, stopping = time.monotonic(), {"start": 0}, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        ended, stage = threading.Event(), ["start"]

        def look() -> None:
            while not ended.wait(LOOK_SECONDS):
                stages[stage[0]] = max(stages.get(stage[0], 0), resident(process.pid))

        watching = threading.Thread(target=look, daemon=True)
        watching.start()
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("size") == size:
                # The preview of a size is written when its matching is done.
                finishing = any(folder.glob(f"out*/previews/{size}.png"))
                stage[0] = "finish" if finishing else "matching"
                stage[0] = "files and figures" if told["step"] == told["steps"] else stage[0]
                if stop == stage[0] and not stopping:
                    stopping = time.monotonic()
                    process.send_signal(signal.SIGTERM)
            elif "size" in told:
                stage[0] = "smaller levels"
        ended.set()
        watching.join()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    now = time.monotonic()
    return Ran(
        process.returncode,
        now - began,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * 1024,
        stages,
        now - stopping if stopping else 0.0,
    )
