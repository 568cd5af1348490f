"""The program synthesize.py as tests run it: in this process, on small painted pictures."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from job_image import synthesize
from job_image.texture import images

Array = npt.NDArray[np.float32]
STOPPED_BY = (signal.SIGTERM, signal.SIGINT)


def painted(path: Path, rows: int = 64, columns: int = 64, seed: int = 0) -> Path:
    """A picture of soft blobs of two colours with some grain: a texture without a period."""
    random = np.random.default_rng(seed)
    coarse = images.resize(random.random((rows // 6 + 1, columns // 6 + 1, 1), dtype=np.float32), columns, rows)
    share = np.clip(4 * coarse - 1.5, 0, 1)
    one, other = random.permutation([0.8, 0.5, 0.3]), random.permutation([0.2, 0.3, 0.4])
    pixels = share * one + (1 - share) * other + random.normal(0, 0.02, (rows, columns, 1))
    images.write_png(path, np.clip(pixels, 0, 1).astype(np.float32))
    return path


def run(*words: object) -> int:
    """`synthesize.py WORDS...`: its exit code. The process keeps its own handlers of signals."""
    before = [(sign, signal.getsignal(sign)) for sign in STOPPED_BY]
    try:
        return synthesize.main([str(word) for word in words])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        for sign, handler in before:
            signal.signal(sign, handler)


def only(folder: Path) -> Path:
    """The one texture's folder in an output folder."""
    (found,) = (one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    return found


def record(folder: Path) -> dict[str, Any]:
    """The report of the one texture in an output folder."""
    found: dict[str, Any] = json.loads((only(folder) / "report.json").read_text())
    return found


def pixels(folder: Path) -> npt.NDArray[np.uint8]:
    """The one texture in an output folder."""
    return images.to_bytes(images.read(only(folder) / "texture.png"))
