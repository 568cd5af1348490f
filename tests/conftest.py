"""What tests share: a home of their own, and the command line as a person runs it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from orchestrator import aws
from orchestrator.backends.local import LocalBackend
from orchestrator.store.local import LocalStore
from tests.cloud import Cloud
from tests.daemon import Daemon

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
            "PYTHONFAULTHANDLER": "1",  # a crash says where
            "TERM": "xterm",
            "DOCKER_HOST": f"unix://{folder}/no-docker.sock",  # a person's own engine is none of a test's business
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker("docker")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A Docker engine and a registry of the tests' own; tests that use it are marked `docker`."""
    from tests import daemon

    try:
        # Its images are large, and pytest would keep a folder of its own for days.
        with tempfile.TemporaryDirectory(prefix="swatch-daemon-") as folder, daemon.running(Path(folder)) as started:
            yield started
    except daemon.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def own_image(daemon: Daemon) -> str:
    """The name of Swatch's own image there, on the small base."""
    from orchestrator.cargo import image
    from tests.daemon import BASE

    wanted = image.context(BASE)
    image.build(daemon.docker, wanted, lambda line: None, "host")
    return wanted.name


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """S3 on this computer: moto behind our front. Clients are made anew for each test; what they are made of, files of
    botocore's that never change, is read once: that is most of their cost. Between two tries they do not wait."""
    from botocore import session
    from botocore.retries.standard import ExponentialBackoff

    with pytest.MonkeyPatch.context() as patch, Cloud() as running:
        patch.setattr(session, "create_loader", functools.cache(session.create_loader))
        patch.setattr(ExponentialBackoff, "delay_amount", lambda backoff, context: 0)
        yield running


@pytest.fixture
def bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket in that cloud, where this process's clients go while the test runs; no trouble is left of others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    cloud.front.set([])
    aws.forget()
    name = f"swatch-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    yield name
    cloud.front.set([])
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
