"""Bytes that the local install downloads, against TensorFlow's default build."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def size(folder: Path, *what: str) -> float:
    """Megabytes of all that pip downloads for `what`."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *what],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def run(arguments: Sequence[str] = ()) -> None:
    """Print both sizes and their ratio; needs the package index."""
    with tempfile.TemporaryDirectory() as name:
        local, default = Path(name, "local"), Path(name, "default")
        local.mkdir()
        default.mkdir()
        ours = size(local, "--constraint", "requirements.txt", ".[local]")
        engine = sum(path.stat().st_size for path in local.glob("tensorflow*")) / 1e6
        usual = size(default, "--no-deps", "tensorflow==2.21.0")
        print(f"local install {ours:.0f} MB, of which TensorFlow {engine:.0f} MB")
        print(f"TensorFlow's default build {usual:.0f} MB: {engine / usual:.2f} of it are downloaded here")
