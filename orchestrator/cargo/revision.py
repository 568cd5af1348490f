"""What git says of a code folder: the commit, and what the working tree has that the commit has not."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from orchestrator import contract
from orchestrator.cargo import ignore
from orchestrator.job import Git
from orchestrator.store.base import Store

MAX_DIFF = 8 << 20
"""Bytes of a difference that is kept; of a larger one only that there was one."""
SECONDS = 30.0
"""git's own time at most; a folder in which it takes longer is recorded without a revision."""


class Revision(NamedTuple):
    """A commit (None before the first), and the text of the difference to it; None if it was too large."""

    commit: str | None
    difference: bytes | None

    @property
    def record(self) -> Git:
        """As a job keeps it."""
        digest = hashlib.sha256(self.difference).hexdigest() if self.difference else None
        return Git(commit=self.commit, dirty=self.difference != b"", diff=digest)

    def carry(self, store: Store) -> None:
        """Put the difference into the store, unless it is there already."""
        if self.difference:
            store.create(contract.diff_key(hashlib.sha256(self.difference).hexdigest()), self.difference)


def of_folder(folder: Path) -> Revision | None:
    """The revision of a folder; None where there is no git, or the folder is not under it. Files that look like secrets
    are left out of the difference, as they are of the code."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return None if _git(folder, "rev-parse", "--git-dir") is None else Revision(None, None)
    names = [pattern.strip("/") for pattern in ignore.SECRETS if not pattern.startswith("!")]
    without = [f":(exclude,glob)**/{name}{inside}" for name in names for inside in ("", "/**")]
    difference = _git(folder, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD", "--", ".", *without)
    if difference is None or len(difference) > MAX_DIFF:
        difference = None
    return Revision(commit.decode("ascii", "replace").strip(), difference)


def _git(folder: Path, *words: str) -> bytes | None:
    """What git prints; None where it is missing, fails, or does not come to an end."""
    # No pager, no lock taken, nothing started that the folder's own configuration names.
    quiet = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager"]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *quiet, *words],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
