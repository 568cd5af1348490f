"""Seconds and quality of a texture at 256x256 and 512x512, from the sources that the repository paints."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("bricks", "cloth", "lichen", "terrazzo", "wood")
SIDES = (256, 512)


def run(arguments: Sequence[str] = ()) -> None:
    """Print seconds, memory and figures of each texture; each size is one process, as a packed job is."""
    for side in SIDES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tasks = [
                {
                    "name": source,
                    "sources": [str(REPOSITORY / "manifests" / "textures" / f"{source}.png")],
                    "parameters": {"width": side, "height": side, "seed": 0},
                }
                for source in SOURCES
            ]
            (folder / "tasks.json").write_text(json.dumps({"schema": 1, "tasks": tasks}))
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(
                [
                    *(sys.executable, str(REPOSITORY / "job_image" / "synthesize.py")),
                    *("--tasks", str(folder / "tasks.json"), "--output-dir", str(folder)),
                ],
                env={**os.environ},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{side}x{side}: {wall:.1f} s wall, {spent:.1f} s CPU for {len(SOURCES)} textures, start included")
            for source in SOURCES:
                print(f"  {source:<9} {_line(json.loads((folder / source / 'report.json').read_text()))}")


def _line(report: dict[str, Any]) -> str:
    figures, sound = report["quality"]["figures"], report["quality"]["stationary"]
    measured = " ".join(
        f"{name} {value:.2f}" if sound.get(name, True) else f"{name} ({value:.2f})" for name, value in figures.items()
    )
    return f"{report['seconds']['total']:6.1f} s  {report['quality']['verdict']}  {measured}"
