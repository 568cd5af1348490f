"""The contract's absolute paths, made real for one command: by bubblewrap where it works, else by replacing them.

bubblewrap (bwrap(1)) gives the command a root folder of its own: the entries of / one by one, and the job's folders in
their places. The command is otherwise an ordinary process of this machine. In a container of SageMaker, which is the
job's alone, links do the same.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from job_image.container import Platform
from job_image.places import Places, map_paths

OPT_ML = Path("/opt/ml")
"""Where a container of SageMaker has it: there, and not where one is simulated, all of the file system is the job's."""
PROBE_SECONDS = 20.0
"""In which bubblewrap must have started a program, to count as working."""
UNREAL = (
    "bubblewrap does not work here: /output and its kin are replaced in the command, and stand in $SWATCH_OUTPUT_DIR "
    "and its kin; a program that opens such a path by itself will not find it"
)


class Scene(NamedTuple):
    """How a command sees its folders: the command itself, the words that start what it runs in (none: it runs as it
    is), its working folder, the variables that name its folders, whether the contract's paths are real for it, and what
    there is to note of all that."""

    command: str
    wrap: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    real: bool
    note: str = ""


def arrange(
    command: str,
    places: Places,
    mounts: Sequence[str],
    platform: Platform | None,
    keep: Sequence[Path] = (),
    mounted: bool = False,
) -> Scene:
    """The scene of a command whose folders stand ready; nothing in the folders `keep` may be written. `mounted`: the
    contract's paths are real already, in a container that was made so. Raises SwatchError where a path cannot be
    replaced."""
    mapping = places.mapping(list(mounts))
    if mounted:
        return Scene(command, (), Path("/floyd/home"), _seen(places, mapping), True)
    if platform and platform.ml == OPT_ML:
        left = {path: mapping[path] for path in places.link(list(mounts))}
        return Scene(map_paths(command, left), (), places.code, places.environment(), not left)
    wished = os.environ.get("SWATCH_BWRAP") != "0"
    wrap = _wrap(places, mounts, keep) if wished else None
    if wrap is None:
        note = UNREAL if wished else ""
        return Scene(map_paths(command, mapping), (), places.code, places.environment(), False, note)
    return Scene(command, wrap, Path("/floyd/home"), _seen(places, mapping), True)


def _seen(places: Places, mapping: Mapping[str, str]) -> dict[str, str]:
    """The variables that name the folders, where the contract's paths are real."""
    paths = {place: path for path, place in mapping.items()}
    return {name: paths.get(place, place) for name, place in places.environment().items()}


def _wrap(places: Places, mounts: Sequence[str], keep: Sequence[Path]) -> tuple[str, ...] | None:
    """The words before a program that runs with the paths made real; None where that does not work."""
    found = shutil.which("bwrap")
    if found is None:
        return None
    words = (found, *bindings(places, mounts, os.listdir("/")), *_read_only(keep), "--chdir", "/floyd/home")
    # What is put into place may hide what the job needs, its own folder for one.
    look = "import os, sys; [os.stat(path) for path in sys.argv[1:]]"
    probe = [*words, sys.executable, "-ISc", look, str(places.checkpoint), *map(str, keep)]
    try:
        done = subprocess.run(
            probe, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return words if done.returncode == 0 else None


def bindings(places: Places, mounts: Sequence[str], root: Sequence[str]) -> list[str]:
    """bubblewrap's options: the entries `root` of / as they are, but for those that the job has a folder for."""
    ours = {"output": places.output, "input": places.input}
    data = {mount: Path(os.path.realpath(str(places.data / mount))) for mount in mounts}
    words: list[str] = []
    for name in sorted(set(root) - {"floyd", *ours, *data}):
        path = f"/{name}"
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path) or os.path.isfile(path):
            words += ["--dev-bind", path, path]
    for name, folder in ours.items():
        if name not in data:
            words += ["--bind", str(folder), f"/{name}"]
    words += ["--dir", "/floyd", "--bind", str(places.code), "/floyd/home", "--dir", "/floyd/input"]
    for mount, folder in data.items():
        for path in (f"/{mount}", f"/floyd/input/{mount}"):
            words += ["--ro-bind", str(folder), path]
    return words


def _read_only(folders: Sequence[Path]) -> list[str]:
    return [word for folder in folders for word in ("--ro-bind", str(folder), str(folder))]
