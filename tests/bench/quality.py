"""What the measure of quality says of known damage: every kind, on the painted sources and on pictures of one's own.

python -m tests.bench quality [PICTURE...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from job_image.texture import images
from job_image.texture.quality import STATISTICS, measure
from manifests import make_textures
from tests.damage import DAMAGE

Image = NDArray[np.float32]
SOURCES = ("bricks", "cloth", "lichen", "terrazzo", "wood")
SIDE = 256


def run(paths: list[str]) -> None:
    """Print a table for each source: the figures (shares of source pairs), the gates and the verdict."""
    for name, source, elsewhere in (*_painted(), *(_photographed(Path(path)) for path in paths)):
        print(f"\n{name}, {SIDE}x{SIDE}")
        candidates: dict[str, Callable[[Image], Image]] = {"another crop": lambda _, other=elsewhere: other, **DAMAGE}
        for kind, spoil in candidates.items():
            report = measure(source, spoil(source), tileable=kind == "mirror tile")
            if kind == "another crop":
                print(
                    "  90% of its own crop pairs: "
                    + " ".join(f"{n} <= {report['range'][n][1]:.2f}" for n in STATISTICS)
                )
            print(f"  {kind:<18} {line(report)}")
            sys.stdout.flush()


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
