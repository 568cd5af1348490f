"""One job for a test: its record in a folder store, and the agent on it as the local queue starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from orchestrator import contract, journal
from orchestrator.cargo.snapshot import of_folder
from orchestrator.job import Job
from orchestrator.store.local import LocalStore
from tests.conftest import REPOSITORY


class Bench:
    """A machine with a store, a cache and a code folder for jobs of the project `p`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.code, self.cache = folder, folder / "code", folder / "cache"
        self.store = LocalStore(str(folder / "store"))
        self.code.mkdir()
        self.options: list[str] = ["--cache", str(self.cache)]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SWATCH", "PIP_"))},
            "SWATCH_STOP_GRACE": "5",
            "PYTHONPATH": str(REPOSITORY),
        }
        self.under: list[str] = []  # words that start the agent
        self.number = 0

    def record(self, command: str, **more: Any) -> int:
        """Put a job into the store; its number."""
        self.number += 1
        cargo = of_folder(self.code)
        cargo.carry(self.store)
        job = Job(
            project="p", number=self.number, user="alice", created=1.0, command=command, code=cargo.digest, **more
        )
        self.store.create(contract.job_key("p", self.number), msgspec.json.encode(job))
        return self.number

    def start(self, number: int, *options: str) -> subprocess.Popen[str]:
        """The agent, on that job."""
        work = self.folder / "work" / str(number)
        words = ["--store", self.store.url, "--project", "p", "--number", str(number), "--work", str(work)]
        return subprocess.Popen(
            [*self.under, sys.executable, "-m", "job_image.agent", *words, *self.options, *options],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, *options: str, **more: Any) -> dict[str, Any]:
        """The final record of a job that runs this."""
        number = self.record(command, **more)
        return self.finish(number, self.start(number, *options))

    def finish(self, number: int, agent: subprocess.Popen[str]) -> dict[str, Any]:
        said, _ = agent.communicate(timeout=300)
        assert "Traceback" not in said, said
        final: dict[str, Any] = json.loads(self.store.read(contract.final_key("p", number)))
        return final

    def events(self, number: int) -> list[journal.Event]:
        return [event for chunk in journal.read(self.store, "p", number) for event in chunk.events]

    def log(self, number: int) -> list[str]:
        return [event.text for event in self.events(number) if isinstance(event, journal.Log)]

    def output(self, number: int, path: str) -> str:
        return self.store.read(contract.output_prefix("p", number) + path).decode()
