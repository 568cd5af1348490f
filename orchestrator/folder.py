"""The project and the dataset that a folder belongs to: a small file in it, or in a folder above, says so.

    .swatchproject   {"name": "forest", "namespace": "alice"}     made by `swatch init`
    .swatchdata      {"name": "vgg-weights", "namespace": null}   made by `swatch data init`

FloydHub's own files, `.floydexpt` and `.floyddata`, are read as they are; a file of Swatch beside them goes first.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from orchestrator import project, recipe
from orchestrator.errors import UsageError
from orchestrator.wording import shown

PROJECT, DATASET = ".swatchproject", ".swatchdata"
STATE_FILES = (PROJECT, ".floydexpt", DATASET, ".floyddata")
"""They say where a folder belongs, and are no part of what is in it."""
_KINDS = {PROJECT: (PROJECT, ".floydexpt"), DATASET: (DATASET, ".floyddata")}
_LONGEST = 65_536


class Belonging(NamedTuple):
    """What a folder belongs to: a project or dataset, and whose it is if the file says so. `folder` is where it begins,
    `file` what says so."""

    name: str
    user: str | None
    folder: Path
    file: Path


class Here(NamedTuple):
    """What the folder that a person is in belongs to."""

    project: Belonging | None = None
    dataset: Belonging | None = None


def here(start: Path | None = None) -> Here:
    """What `start` (the working folder) belongs to, or the nearest folder above it that belongs anywhere. Raises
    UsageError for a damaged file."""
    place = (start or Path.cwd()).absolute()
    return Here(_nearest(place, PROJECT), _nearest(place, DATASET))


def tie(folder: Path, kind: str, name: str, user: str | None) -> Path:
    """Have the folder say that it belongs to `name`, as PROJECT or DATASET; the file that says so. Raises UsageError
    for a name that cannot be."""
    complaint = project.check_name(name)
    if complaint:
        raise UsageError(f"The name {shown(name)} {complaint}", hint="Write for example: swatch init forest")
    file = folder / kind
    part = file.with_name(f"{kind}.part")
    part.write_text(json.dumps({"name": name, "namespace": user}) + "\n", encoding="utf-8")
    part.replace(file)
    return file


IGNORE = """# What of this folder does not travel with a job. One pattern a line, as in .gitignore.
# Always left out: .git, virtual environments, caches, files that look like secrets, outputs/.
#
# /data/
# *.ckpt
"""
SETTINGS = """# What `swatch run` does, unless its flags say otherwise. Take a # away to use a line.
#
# machine: gpu                  # cpu, cpu2, gpu, gpu2, or an instance type like ml.g5.xlarge
# backend: docker               # or sagemaker; else it runs as a process of this computer
# env: tensorflow-2.21          # swatch run --help lists them
# image: ./Dockerfile           # instead of env: yours, or the name of one
# command: python train.py
# description: first try
# max_runtime: 2h
# input:
#   - source: alice/datasets/mnist/1
#     destination: mnist        # stands at /mnist
# variables: {EPOCHS: 3}        # of the command's environment
# secrets: [WANDB_API_KEY]      # from your environment, recorded nowhere
# task:
#   evaluate:                   # swatch run --task evaluate
#     command: python evaluate.py
"""


def furnish(folder: Path) -> list[Path]:
    """Write an ignore file and a swatch.yml to fill in, unless there are such files, FloydHub's included; those that
    were written."""
    wanted = {(".swatchignore", ".floydignore"): IGNORE, ("swatch.yml", *recipe.FILES): SETTINGS}
    written = []
    for (name, *others), text in wanted.items():
        if not any(os.path.lexists(folder / one) for one in (name, *others)):
            with open(folder / name, "x", encoding="utf-8") as file:
                file.write(text)
            written.append(folder / name)
    return written


def _nearest(place: Path, kind: str) -> Belonging | None:
    for folder in (place, *place.parents):
        for name in _KINDS[kind]:
            file = folder / name
            if os.path.isfile(file):
                return _read(file)
    return None


def _read(file: Path) -> Belonging:
    try:
        with open(file, "rb") as opened:
            said = json.loads(opened.read(_LONGEST))
        name, user = said["name"], said.get("namespace")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="Remove it, and swatch init NAME") from error
    for text in (name, user):
        if text is not None and (not isinstance(text, str) or project.check_name(text)):
            raise UsageError(f"{file}: {shown(text)} is no name", hint="Remove it, and swatch init NAME")
    return Belonging(name, user or None, file.parent, file)
