"""Every method on every source that the repository paints, as one picture: docs/gallery.jpg.

VGG-19 has random weights here, for the repository ships no others: what the picture shows of the methods that use it is
how they work, not how they look with trained ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from tests.vgg import random_weights, write_npz

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("bricks", "cloth", "lichen", "terrazzo", "wood")
SIDE, SHOWN, GAP, TITLE = 256, 176, 6, 18
METHODS: dict[str, dict[str, object]] = {
    "patch": {"method": "patch"},
    "swatch": {"method": "swatch", "iterations": 60},
    "swatch, patches": {"method": "swatch", "iterations": 30, "start": "patches"},
    "snelgrove": {"method": "snelgrove", "octaves": 3, "iterations": 100, "source_width": SIDE},
    "gatys": {"method": "gatys", "iterations": 60, "source_width": SIDE},
    "style": {"method": "style", "iterations": 60, "source_width": SIDE},
}


def run(arguments: Sequence[str] = ()) -> None:
    """Make the textures and the picture. arguments: a folder to keep the textures in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(arguments[0]) if arguments else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(Path(name) / "random.npz", random_weights(1234, "conv5_1"))
        (folder / "tasks.json").write_text(json.dumps({"schema": 1, "tasks": [*map(task, pairs())]}))
        words = [sys.executable, str(REPOSITORY / "job_image" / "synthesize.py"), "--tasks", str(folder / "tasks.json")]
        places = ["--data-dir", str(Path(name) / "random.npz"), "--output-dir", str(folder)]
        with subprocess.Popen([*words, *places], stdout=subprocess.PIPE, text=True) as making:
            assert making.stdout is not None
            for line in making.stdout:
                if not line.startswith("{"):
                    print(line, end="", flush=True)
        sheet(folder).save(REPOSITORY / "docs" / "gallery.jpg", quality=82, optimize=True)


def pairs() -> list[tuple[str, str]]:
    """Each source with each method."""
    return [(source, method) for method in METHODS for source in SOURCES]


def task(pair: tuple[str, str]) -> dict[str, object]:
    """One entry of the task list; style paints the next source in the look of this one."""
    source, method = pair
    made: dict[str, object] = {
        "name": f"{source} {method}",
        "sources": [painted(source)],
        "parameters": {"width": SIDE, "height": SIDE, **METHODS[method]},
    }
    if method == "style":
        made["content"] = painted(SOURCES[(SOURCES.index(source) + 1) % len(SOURCES)])
    return made


def painted(source: str) -> str:
    """The file of one of the repository's sources."""
    return str(REPOSITORY / "manifests" / "textures" / f"{source}.png")


def sheet(folder: Path) -> Image.Image:
    """A row for each source: itself, and what each method makes of it."""
    columns = ["source", *METHODS]
    step = SHOWN + GAP
    made = Image.new("RGB", (step * len(columns) + GAP, step * len(SOURCES) + GAP + TITLE), "white")
    drawing = ImageDraw.Draw(made)
    for column, method in enumerate(columns):
        drawing.text((GAP + column * step, 3), method, fill="black")
        for row, source in enumerate(SOURCES):
            file = painted(source) if method == "source" else folder / f"{source} {method}" / "texture.png"
            with Image.open(file) as image:
                shown = image.convert("RGB").resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
            made.paste(shown, (GAP + column * step, TITLE + GAP + row * step))
    return made
