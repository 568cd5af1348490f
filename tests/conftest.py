"""What tests share: a home of their own, and the command line as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from orchestrator import aws
from orchestrator.backends.local import LocalBackend
from orchestrator.store.local import LocalStore

# No test asserts a time, property tests included; and where nobody looks for new examples, they are the same each time.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("here", untimed)
settings.register_profile("ci", untimed, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

REPOSITORY = Path(__file__).resolve().parent.parent


class Box:
    """A computer for one test: its own SWATCH_HOME, a working folder, and `swatch` in it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder / "home", folder / "work"
        self.folder.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWATCH")},
            "SWATCH_HOME": str(self.home),
            "SWATCH_USER": "alice",
            "SWATCH_STOP_GRACE": "5",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
            "TERM": "xterm",
        }

    @property
    def store(self) -> LocalStore:
        return LocalStore(str(self.home / "store"))

    def backend(self, slots: int = 1) -> LocalBackend:
        return LocalBackend(self.store.url, self.home, slots)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """`swatch WORDS...`, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def swatch(self, *words: str, code: int = 0) -> str:
        """What `swatch WORDS...` prints; it must end with this exit code, and never with a traceback."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        assert process.returncode == code, f"swatch {' '.join(words)} ended with {process.returncode}:\n{out}\n{err}"
        return out if code == 0 else out + err

    def json(self, *words: str, code: int = 0) -> Any:
        """What `swatch WORDS... --json` prints."""
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return json.loads(out)

    def manifest(self, text: str, name: str = "try.yaml") -> str:
        """Write a manifest; its name."""
        (self.folder / name).write_text(text)
        return name

    def pipe(self, name: str) -> Path:
        """A named pipe: whoever reads it waits until the test writes, and the other way round."""
        path = self.home.parent / name
        os.mkfifo(path)
        return path


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The URL of a moto server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket on moto's server, where this process's clients go while the test runs."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    aws.forget()
    name = f"swatch-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    yield name
    aws.forget()


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textures are not measured: the measures have tests of their own, and take longer than small textures."""
    from job_image.texture import synthesis

    monkeypatch.setattr(synthesis, "measure", lambda *_, **__: {"figures": {}, "reasons": [], "verdict": "good"})


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory of a test, an empty folder; and nothing of a surrounding job in the environment."""
    for name in [name for name in os.environ if name.startswith("SWATCH")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VGG-19 of random weights."""
    from tests.vgg import random_weights, write_npz

    folder = tmp_path_factory.mktemp("vgg")
    write_npz(folder / "vgg19.npz", random_weights())
    return folder
