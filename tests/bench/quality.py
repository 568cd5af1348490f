"""What the measure of quality says: of known damage, of the method's textures, and of regular ones with many seeds.

On the painted sources, and on photographs of one's own.

python -m tests.bench quality [damage] [textures] [regular] [PICTURE...]

Without one of the three words, all are measured; `textures` takes five seeds at 256 pixels and two at 512.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job_image.texture import images
from job_image.texture.landmark import landmark
from job_image.texture.quality import COPIED, SEAM, STATISTICS, measure
from manifests import make_textures
from tests.damage import DAMAGE

Image = NDArray[np.float32]
REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("bricks", "cloth", "lichen", "terrazzo", "wood")
REGULAR = ("bricks", "cloth")
SIDE = 256
STONES = (13, 26)
"""Radii in pixels: a tenth and a fifth of the side, across."""
SEEDS = {256: 5, 512: 2}
"""By the side of the texture."""
SHARE = 0.05


def run(words: list[str]) -> None:
    """Print what the measure says of known damage, of each texture in two sizes, and of regular ones with ten seeds."""
    parts = [word for word in words if word in PARTS] or list(PARTS)
    paths = [word for word in words if word not in PARTS]
    for part in parts:
        PARTS[part](paths)


def textures(paths: list[str]) -> None:
    """Print the figures of each texture, and the worst of its seeds: least share, most copied, largest seam."""
    sources = [*(REPOSITORY / "manifests" / "textures" / f"{name}.png" for name in SOURCES), *map(Path, paths)]
    for side, seeds in SEEDS.items():
        print(f"\nThe method at {side}x{side}: figures (shares of source pairs)")
        tasks = [(source, side, seed) for source in sources for seed in range(seeds)]
        reports = [report["quality"] for _, report in made(tasks)]
        for number, source in enumerate(sources):
            found = reports[number * seeds :][:seeds]
            for seed, figures in enumerate(found):
                print(f"  {source.stem:<9} seed {seed}  {line(figures)}{'  holds' if holds(figures) else ''}")
            least = " ".join(f"{name} {min(one['share'][name] for one in found):.2f}" for name in STATISTICS)
            most = " ".join(f"{name} {max(one['figures'][name] for one in found):.2f}" for name in ("copied", "seam"))
            kept = sum(map(holds, found))
            print(f"  {source.stem:<9} worst   shares {least}  {most}  {kept} of {seeds} hold")


def holds(report: dict[str, Any]) -> bool:
    """Whether a texture is no further from its source than 95% of its own pairs, honestly made and without a seam."""
    figures = report["figures"]
    near = all(report["share"][name] >= SHARE for name in STATISTICS)
    extra = figures["copied"] - figures["copied_floor"]
    return bool(near and extra <= COPIED[0] and figures["seam"] <= SEAM[0])


def regular(_: list[str]) -> None:
    """Print periods, straightness and dislocations of regular textures with ten seeds."""
    print("\nRegular sources: ten seeds")
    for name in REGULAR:
        tasks = [(REPOSITORY / "manifests" / "textures" / f"{name}.png", SIDE, seed) for seed in range(10)]
        found = [report["quality"]["regularity"] for _, report in made(tasks)]
        for figure in found[0]:
            print(f"  {name:<9} {figure:<20} " + " ".join(f"{figures[figure]:.3f}" for figures in found))


def damage(paths: list[str]) -> None:
    """Print a table for each source: the figures, the gates and the verdict of each kind of damage."""
    for name, source, elsewhere in (*_painted(), *(_photographed(Path(path)) for path in paths)):
        print(f"\n{name}, {SIDE}x{SIDE}")
        candidates: dict[str, Callable[[Image], Image]] = {"another crop": lambda _, other=elsewhere: other, **DAMAGE}
        for kind, spoil in candidates.items():
            report = measure(source, spoil(source), tileable=kind == "mirror tile")
            if kind == "another crop":
                limits = " ".join(f"{name} <= {report['range'][name][1]:.2f}" for name in STATISTICS)
                print(f"  nine in ten of its own pairs: {limits}")
            print(f"  {kind:<18} {line(report)}")
            sys.stdout.flush()
        found = [landmark(stone(source, radius, shade)) for radius in STONES for shade in (0.35, -0.35)]
        print(
            "  landmark with a stone, light and dark, of a tenth and of a fifth: " + " ".join(f"{x:.2f}" for x in found)
        )


def stone(picture: Image, radius: float, shade: float) -> Image:
    """The picture with a round stone, so much lighter than its mean."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    cover = np.clip(radius + 0.5 - np.hypot(y - 120, x - 150), 0, 1)[..., None]
    shown: Image = (picture * (1 - cover) + cover * np.clip(picture.mean((0, 1)) + shade, 0, 1)).astype(np.float32)
    return shown


def made(tasks: list[tuple[Path, int, int]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The report of a texture for each source, side and seed; all in one process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = [
            {
                "name": str(number),
                "sources": [str(source.resolve())],
                "parameters": {"width": side, "height": side, "seed": seed},
            }
            for number, (source, side, seed) in enumerate(tasks)
        ]
        (folder / "tasks.json").write_text(json.dumps({"schema": 1, "tasks": asked}))
        program = REPOSITORY / "job_image" / "synthesize.py"
        subprocess.run(
            [sys.executable, str(program), "--tasks", str(folder / "tasks.json"), "--output-dir", str(folder)],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        for number, (source, _, _) in enumerate(tasks):
            yield source, json.loads((folder / str(number) / "report.json").read_text())


def line(report: dict[str, Any]) -> str:
    """One row of a table."""
    figures = report["figures"]
    worst = max(figures[name] for name in STATISTICS)
    seen = " ".join(f"{figures[name]:6.2f} ({report['share'][name]:.2f})" for name in STATISTICS)
    gates = " ".join(f"{name} {figures[name]:.2f}" for name in ("copied", "seam", "lines", "landmark"))
    return f"{seen}  worst {worst:5.2f}  {gates}  {report['verdict']}"


def _painted() -> Iterator[tuple[str, Image, Image]]:
    for name in SOURCES:
        first, second = (np.asarray(make_textures.paint(name, 2 * SIDE, seed)) for seed in (0, 3))
        yield name, _small(images.from_bytes(first)), _small(images.from_bytes(second))


def _photographed(path: Path) -> tuple[str, Image, Image]:
    """The first and the last square of a photograph, half its longer side wide: pieces of one material."""
    picture = images.read(path)
    side = min(*picture.shape[:2], max(picture.shape[:2]) // 2)
    return path.stem, _small(picture[:side, :side]), _small(picture[-side:, -side:])


def _small(picture: Image) -> Image:
    return np.clip(images.resize(picture, SIDE, SIDE), 0, 1)


PARTS = {"damage": damage, "textures": textures, "regular": regular}
