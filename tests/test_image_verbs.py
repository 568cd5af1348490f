"""`swatch image build`, `list`, `prune`, with a real engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.cargo import image
from orchestrator.docker import Docker
from orchestrator.errors import DockerError, NoDocker
from tests import daemon as daemons
from tests.conftest import Box
from tests.daemon import BARE, BASE, Daemon


@pytest.fixture
def docker_box(box: Box, daemon: Daemon) -> Box:
    """A computer with an engine."""
    box.environment.update({name: daemon.environment[name] for name in ("DOCKER_HOST", "SWATCH_DOCKER")})
    box.home.mkdir()
    (box.home / "config.yaml").write_text(f"docker: {{base: '{BASE}', network: host}}\n")
    return box


def dockerfile(box: Box, text: str) -> str:
    folder = box.folder / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    (folder / "asset").write_text("an asset\n")
    return "mine/Dockerfile"


def test_an_image_is_built_once_listed_and_kept(docker_box: Box, daemon: Daemon) -> None:
    name = image.context(BASE).name
    if daemon.docker.image(name) is None:  # else another test was first
        assert f"Would build {name} on {BASE}" in docker_box.swatch("image", "build", "--dry-run")
    docker_box.swatch("image", "build")
    assert "is there already: nothing would be built" in docker_box.swatch("image", "build", "--dry-run")
    again = docker_box.json("image", "build")
    assert again["name"] == name
    assert again["built"] is False
    assert "nothing to build" in docker_box.swatch("image", "build")
    out = docker_box.swatch("image", "list")
    assert any(name in line and "current" in line for line in out.splitlines())
    assert "tensorflow-training:2.21-gpu-py312  (default)" in out
    assert name in [one["name"] for one in docker_box.json("image", "list")["images"]]
    assert name not in docker_box.swatch("image", "prune")
    assert daemon.docker.image(name) is not None


def test_a_dockerfile_of_ones_own_is_built_with_its_folder_and_pruned(docker_box: Box, daemon: Daemon) -> None:
    file = dockerfile(docker_box, f"FROM {BASE}\nCOPY asset /asset\nLABEL from=alice\n")
    built = docker_box.json("image", "build", file)
    found = daemon.docker.image(built["name"])
    assert found is not None
    assert found.id == built["id"]
    assert found.labels["from"] == "alice"
    assert docker_box.json("image", "build", file)["name"] == built["name"]
    (docker_box.folder / "mine" / "asset").write_text("another\n")
    changed = docker_box.json("image", "build", file)
    assert changed["name"] != built["name"]
    shown = docker_box.json("image", "prune", "--dry-run")["removed"]
    assert {built["name"], changed["name"]} <= {one["name"] for one in shown}
    assert daemon.docker.image(built["name"]) is not None
    docker_box.swatch("image", "prune")
    assert daemon.docker.image(built["name"]) is None
    assert daemon.docker.image(BASE) is not None


def test_an_image_that_a_container_runs_in_stays_and_the_others_go(docker_box: Box, daemon: Daemon) -> None:
    def made(text: str) -> str:
        return str(docker_box.json("image", "build", dockerfile(docker_box, f"FROM {BASE}\nLABEL it={text}\n"))["name"])

    used, others = made("used"), [made("before"), made("after")]
    words = ("run", "--detach", "--network", "none", used, "sleep", "1000")
    running = daemon.docker.ask(*words, doing="a job of another store")
    try:
        said = docker_box.swatch("image", "prune")
    finally:
        daemon.docker.ask("rm", "--force", running, doing="removing it")
    assert f"Kept {used}: a container runs in it" in said
    assert daemon.docker.image(used) is not None
    assert [daemon.docker.image(name) for name in others] == [None, None]
    assert used in [one["name"] for one in docker_box.json("image", "prune")["removed"]]


def test_a_failing_step_is_shown_with_its_words(docker_box: Box) -> None:
    said = docker_box.swatch(
        "image", "build", dockerfile(docker_box, f"FROM {BASE}\nRUN echo oh dear; exit 3\n"), code=1
    )
    assert "oh dear" in said
    assert "Error: A step of the Dockerfile failed: building mine/Dockerfile" in said
    assert "sha256:" not in said


def test_a_base_without_python_is_said_in_a_few_lines(docker_box: Box) -> None:
    said = docker_box.swatch("image", "build", "--base", BARE, code=1).splitlines()
    assert said[-2].startswith("Error: The base has no Python 3.11 or later with pip") and said[-2].endswith(
        f"on {BARE}"
    )
    assert "--base IMAGE" in said[-1]
    assert "  The base has no Python 3.11 or later with pip" in said
    assert all(line.startswith(("Building [", "  ")) and len(line) < 150 for line in said[:-2]), (
        "the step is not repeated"
    )


def test_a_base_that_is_not_there_is_named(docker_box: Box, daemon: Daemon) -> None:
    file = dockerfile(docker_box, f"FROM {daemon.registry}/nothing:1\n")
    assert "There is no such image: building mine/Dockerfile" in docker_box.swatch("image", "build", file, code=1)
    assert "There is no mine/Elsewhere" in docker_box.swatch("image", "build", "mine/Elsewhere", code=2)


def test_without_docker_each_verb_says_what_is_missing(box: Box) -> None:
    stopped = box.swatch("image", "build", code=1)
    assert "Docker does not answer" in stopped
    assert "Hint: Start it" in stopped
    assert "cannot be listed: Docker does not answer" in box.swatch("image", "list")
    assert f"(DOCKER_HOST={box.environment['DOCKER_HOST']})" in stopped
    (box.folder / "Dockerfile").write_text("FROM x\n")
    assert "Hint: swatch image build ./Dockerfile prints a name" in box.swatch("image", "push", "./Dockerfile", code=2)
    assert "Docker does not answer" in box.swatch("image", "build", ".", code=1), "a folder stands for its Dockerfile"
    box.environment["SWATCH_DOCKER"] = "nowhere"
    assert "SWATCH_DOCKER is nowhere, and there is no such program" in box.swatch("image", "build", code=1)
    del box.environment["SWATCH_DOCKER"]
    box.environment["PATH"] = os.devnull
    missing = box.swatch("image", "build", code=1)
    assert "Docker is not installed" in missing
    assert "Hint: Install it" in missing


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user, one must be root")
def test_a_user_who_may_not_use_docker_is_told_how_to(daemon: Daemon) -> None:
    daemon.folder.chmod(0o711)
    os.chmod(daemon.folder / "docker.sock", 0o600)
    docker = Docker(daemon.environment)
    done = subprocess.run(
        docker.words("version"), env=daemon.environment, capture_output=True, text=True, user=65534, group=65534
    )
    if "permission denied" not in done.stderr:
        pytest.skip("the engine's folder is not to be reached by another user here")
    from orchestrator.complaint import explained

    error = explained("docker version", done.stderr)
    assert type(error) is NoDocker
    assert "usermod" in (error.hint or "")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Docker]:
    """An engine whose disk has next to no room."""
    place = tmp_path / "data"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with ExitStack() as stack:
            yield Docker(daemons.start(tmp_path, stack))
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_named_with_what_makes_room(small: Docker, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(16 << 20))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY large /large\n")
    with pytest.raises(DockerError, match="disk that Docker keeps images on is full") as caught:
        image.build_folder(small, tmp_path / "Dockerfile", lambda line: None)
    assert "prune" in (caught.value.hint or "")


def test_an_image_without_python_is_said_to_have_none(daemon: Daemon) -> None:
    with pytest.raises(DockerError, match=r"no Python 3\.8 or later"):
        daemon.docker.ask("run", "--rm", "--network", "none", BARE, "python3", "-c", "1", doing="starting it")


def test_a_gpu_that_is_not_there_is_said_to_be_missing(daemon: Daemon) -> None:
    if daemon.docker.engine().gpus:
        pytest.skip("this engine has GPUs")
    with pytest.raises(DockerError, match="cannot hand its GPU"):
        daemon.docker.ask("run", "--rm", "--gpus", "all", "--network", "none", BASE, "id", doing="starting it")
