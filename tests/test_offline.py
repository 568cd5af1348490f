"""The engine downloads nothing: weights and sources are what it was given."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import program
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

FENCE = """
import os, socket, sys

def fence(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        said = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg") and arguments[0].family != socket.AF_UNIX:
        said = arguments[1]
    else:
        return
    with open(os.environ["FENCE"], "a") as file:  # whoever hides the error is seen all the same
        file.write(f"{event} {said}\\n")
    raise PermissionError(f"{event} {said}: there is no network here")

sys.addaudithook(fence)
"""


class Island:
    """Python processes that no socket leads out of; what they tried all the same."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "tried"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(FENCE)
        around = {name: value for name, value in os.environ.items() if not name.startswith("SWATCH")}
        self.environment = {**around, "PYTHONPATH": str(folder / "site"), "FENCE": str(self.log)}

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, words)], env=self.environment, capture_output=True, text=True, check=False
        )

    @property
    def tried(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def island(tmp_path: Path) -> Island:
    return Island(tmp_path)


def test_the_island_lets_nobody_out(island: Island) -> None:
    """Else the tests below would prove nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = island.run("-c", f"import socket; socket.create_connection({server.getsockname()})")
    assert ended.returncode == 1 and "there is no network here" in ended.stderr
    assert "127.0.0.1" in island.tried


@pytest.mark.parametrize("weights", [False, True], ids=["weight-free", "with weights"])
def test_a_texture_is_made_without_a_network(island: Island, tmp_path: Path, vgg: Path, weights: bool) -> None:
    source = program.painted(tmp_path / "source.png")
    more = ("-d", vgg, "-o", 1, "-m", 2) if weights else ()
    words = (
        REPOSITORY / "job_image" / "synthesize.py",
        "-s",
        source,
        "-ow",
        48,
        "--output-dir",
        tmp_path / "out",
        *more,
    )
    ended = island.run(*words)
    assert (ended.returncode, island.tried) == (0, ""), ended.stderr
    report = program.record(tmp_path / "out")
    assert report["method"].startswith("swatch/" if weights else "patch/")
    assert (report["weights"] is not None) == weights
