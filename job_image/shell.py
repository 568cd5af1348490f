"""A shell beside a running command: with the same paths, variables and working folder; without its secrets.

    python -m job_image.agent shell FOLDER

Each attempt leaves in the job's folder how its command sees the machine; this reads that, and becomes the shell.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Mapping, Sequence

from orchestrator.leash import lock

VERB = "shell"
SCENE = "scene.json"


def keep(work: Path, wrap: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Leave in the job's folder what a shell needs to see what the command sees: the words that a program is started
    with, its working folder and variables. No secret may be among those. Raises OSError."""
    text = json.dumps({"wrap": list(wrap), "folder": str(folder), "environment": dict(environment)})
    (work / SCENE).write_text(text, encoding="utf-8")


def main(words: Sequence[str]) -> int:
    """Become the shell; 1 where no command runs in that folder."""
    work = Path(words[0]) if len(words) == 1 else Path()
    idle = lock(work / "agent.lock") if (work / SCENE).is_file() else open(os.devnull)
    if idle is not None:
        idle.close()
        print("swatch: no command runs there", file=sys.stderr)
        return 1
    scene = json.loads((work / SCENE).read_text(encoding="utf-8"))
    if not scene["wrap"]:
        os.chdir(scene["folder"])
    shell = [*scene["wrap"], shutil.which("bash") or "/bin/sh"]
    return os.execvpe(shell[0], shell, {**os.environ, **scene["environment"]})
