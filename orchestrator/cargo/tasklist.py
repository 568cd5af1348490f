"""A job's input as cargo: its task list, and the sources that the list names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator import contract
from orchestrator.cargo.archive import Member
from orchestrator.cargo.snapshot import Snapshot, of_members
from orchestrator.job import Task

FILE = "tasks.json"


def of_tasks(tasks: Sequence[Task]) -> Snapshot:
    """The input of a job with these tasks. A source's digest is part of its task's fingerprint: one that has changed
    since it was planned is refused when the input is packed."""
    sources = {source.sha256: source for task in tasks for source in task.pictures}.values()
    listed = json.dumps(listing(tasks)).encode()
    return of_members(
        [
            Member(FILE, listed, "file", hashlib.sha256(listed).hexdigest()),
            *(Member(source.cargo_name, Path(source.path), "file", source.sha256) for source in sources),
        ]
    )


def listing(tasks: Sequence[Task]) -> dict[str, Any]:
    """The tasks as the program reads them (`synthesize.py --tasks`); paths are relative to the list."""
    return {
        "schema": contract.SCHEMA,
        "tasks": [
            {
                "name": task.name,
                "sources": [source.cargo_name for source in task.sources],
                "parameters": task.parameters,
                **({"content": task.content.cargo_name} if task.content else {}),
            }
            for task in tasks
        ],
    }
