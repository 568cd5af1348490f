"""The job's folders on this machine, and the contract's absolute paths mapped onto them.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import SwatchError


class Places(NamedTuple):
    """Every folder of a job, below `work`; but for the checkpoints, where the platform carries those itself."""

    work: Path
    carried: Path | None = None
    shared: Path | None = None

    @property
    def cache(self) -> Path:
        """What outlives the job on this machine, where there is such a folder; else one of the job's."""
        return self.shared or self.work / "cache"

    @property
    def code(self) -> Path:
        return self.work / "code"

    @property
    def input(self) -> Path:
        return self.work / "input"

    @property
    def output(self) -> Path:
        return self.work / "output"

    @property
    def checkpoint(self) -> Path:
        return self.carried or self.work / "checkpoint"

    @property
    def data(self) -> Path:
        return self.work / "data"

    def make(self) -> None:
        """Make the folders; those that every attempt fills anew are emptied."""
        for folder in (self.code, self.input, self.data):
            empty(folder)
        for folder in self.filled:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def filled(self) -> tuple[Path, ...]:
        """All of them: what a job leaves on the machine."""
        return (self.code, self.input, self.output, self.checkpoint, self.data)

    def clear(self, keep_made: bool) -> None:
        """Remove what a job leaves that has ended; but for what it made, should the store not have all of that."""
        for folder in (*self.filled, self.work / "stage", self.work / "cache"):
            if keep_made and folder in (self.output, self.code):
                continue
            if folder == self.carried:  # the platform holds the folder itself, and removes in S3 what is removed here
                for inside in folder.iterdir():
                    remove(inside)
            else:
                remove(folder)

    def link(self, mounts: list[str]) -> list[str]:
        """Make the contract's absolute paths real, in a container that is the job's alone. Returns those that could not
        be: something is there already, or nothing may be."""
        left = []
        for path, place in self.mapping(mounts).items():
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.symlink(place, path)
            except OSError:
                if not os.path.islink(path) or os.readlink(path) != place:  # the last attempt's, in a warm machine
                    left.append(path)
        return left

    def mapping(self, mounts: list[str]) -> dict[str, str]:
        """The contract's absolute paths, and where they are here."""
        paths = {
            "/output": self.output,
            "/floyd/home": self.code,
            "/input": self.input,
            "/floyd/input": self.data,
        }
        paths.update(("/" + mount, self.data / mount) for mount in mounts)
        return {path: str(place) for path, place in paths.items()}

    def environment(self) -> dict[str, str]:
        """The variables that name the folders to the command."""
        return {
            "SWATCH_CODE_DIR": str(self.code),
            "SWATCH_INPUT_DIR": str(self.input),
            "SWATCH_OUTPUT_DIR": str(self.output),
            "SWATCH_CHECKPOINT_DIR": str(self.checkpoint),
            "SWATCH_DATA_DIR": str(self.data),
        }


def map_paths(command: str, mapping: dict[str, str]) -> str:
    """The command with the contract's absolute paths replaced by this machine's; everything else byte for byte.

    A path counts where it stands as a whole path, or is followed by `/`: `/output/x.png`, `--into=/output`,
    but not `/outputs`, `~/output` or `s3://b/output`. Raises SwatchError when a place's name would need quoting.
    """
    longest_first = sorted(mapping, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w.~/*?$}}\])-])({})(?![\w.-])".format("|".join(map(re.escape, longest_first))))

    def place(match: re.Match[str]) -> str:
        found = mapping[match.group(1)]
        if not re.fullmatch(r"[\w./+@%:,=-]+", found):
            raise SwatchError(
                f"the job's folder has a name that a shell would split: {found}",
                hint="Set SWATCH_HOME to a folder without spaces",
            )
        return found

    return pattern.sub(place, command) if mapping else command


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it, read-only files included; nothing if there is none. Of a link that a
    command put in its place, the link; a file, if it is one."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    for parent, folders, _ in os.walk(str(folder)):
        for name in folders:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)
    if folder.is_dir():
        os.chmod(str(folder), 0o755)
        shutil.rmtree(str(folder))


def empty(folder: Path) -> None:
    """Remove what is in a folder, and not the folder itself, which may be mounted elsewhere, too; what is none, or a
    link, is removed."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
        return
    os.chmod(str(folder), 0o755)
    for inside in list(folder.iterdir()):
        remove(inside)
