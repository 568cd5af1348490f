"""`make demo` from a clean clone, split into install and synthesis, with the time to the first image."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run(arguments: Sequence[str] = ()) -> None:
    """Clone the last commit, install, run; needs the package index."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "swatch"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SWATCH", "VIRTUAL_ENV", "PYTHON"))}
        environment["SWATCH_HOME"] = str(Path(name) / "home")

        def make(target: str) -> float:
            began = time.monotonic()
            subprocess.run(["make", target], cwd=clone, env=environment, stdout=subprocess.DEVNULL, check=True)
            return time.monotonic() - began

        install, textures, began = make(".venv/.local"), make("textures"), time.time()
        demo = make("demo")
        made = clone / "outputs" / "quickstart"
        previews = [path.stat().st_mtime for path in made.glob("*/previews/*.png")]
        finished = [path.stat().st_mtime for path in made.glob("*/texture.png")]
        print(f"install          {install:6.1f} s")
        print(f"source textures  {textures:6.1f} s")
        print(f"submit --watch   {demo:6.1f} s for {len(finished)} textures")
        print(f"first preview at {min(previews) - began:6.1f} s, first finished image at {min(finished) - began:.1f} s")
