"""What Docker is told of a job's container, and what becomes of a job where there is no Docker: with a stand-in for its
command line, and without an engine."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract, docker
from orchestrator.backends import Presence, container
from orchestrator.backends.container import Bind, Plan
from orchestrator.backends.local import Entry, Layout, LocalBackend, host_name, stores
from orchestrator.docker import Docker
from orchestrator.job import Job
from orchestrator.store.local import LocalStore
from tests.conftest import Box

PLAN = Plan(
    name="swatch-1-p-1",
    image="mine:1",
    labels={"dev.swatch.job": "alice/projects/p/1"},
    user="1000:1000",
    binds=[Bind(Path("/data"), "/vgg_weights"), Bind(Path("/work"), "/output", writable=True)],
    environment=["AWS_REGION", "AWS_SECRET_ACCESS_KEY"],
    home="/.swatch/work/home",
    network=None,
    gpus=False,
    grace=120.0,
    words=["/bin/sh", "-c", "script", "swatch", "agent"],
)


def pairs(words: Sequence[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def test_a_container_can_do_nothing_that_its_person_cannot() -> None:
    words = PLAN.creation()
    assert pairs(words, "--user") == ["1000:1000"]
    assert pairs(words, "--cap-drop") == ["ALL"] and pairs(words, "--security-opt") == ["no-new-privileges"]
    assert pairs(words, "--mount") == [
        "type=bind,source=/data,target=/vgg_weights,readonly",
        "type=bind,source=/work,target=/output",
    ]
    assert not {"--privileged", "--cap-add", "--gpus", "--network", "--pid", "--ipc"} & set(words)
    assert words[-6:] == ["--", "mine:1", "-c", "script", "swatch", "agent"] and pairs(words, "--entrypoint") == [
        "/bin/sh"
    ]


def test_values_are_handed_over_by_name() -> None:
    assert pairs(PLAN.creation(), "--env")[:3] == ["AWS_REGION", "AWS_SECRET_ACCESS_KEY", "HOME=/.swatch/work/home"]


def test_a_person_whom_the_image_does_not_know_has_a_name_there() -> None:
    """Or getpass.getuser fails, and with it PyTorch's compiler, for one: the image's list of users has no such number."""
    assert pairs(PLAN.creation(), "--env")[3:] == ["USER=swatch", "LOGNAME=swatch"]
    assert len(pairs(PLAN._replace(user=None).creation(), "--env")) == 3


def test_our_own_image_is_never_looked_for_in_a_public_registry() -> None:
    assert pairs(PLAN._replace(image="swatch:abc").creation(), "--pull") == ["never"]
    assert "--pull" not in PLAN.creation()


@given(st.text(st.characters(exclude_characters="\0\n\r", codec="utf-8"), min_size=1), st.booleans())
def test_any_path_is_one_field_of_a_mount(path: str, writable: bool) -> None:
    bind = Bind(Path("/", path), "/output", writable)
    (fields,) = csv.reader([bind.word])
    assert fields == ["type=bind", f"source={Path('/', path)}", "target=/output", *([] if writable else ["readonly"])]


class Engine:
    """A stand-in for the command line of Docker: what an engine of some kind would say."""

    def __init__(self, folder: Path, networks: str = "bridge", runtimes: str = "runc", security: str = "") -> None:
        self.program = folder / "docker"
        info = {"Runtimes": {runtimes: {}}, "SecurityOptions": [security]}
        self.program.write_text(
            f"#!{sys.executable}\nimport sys\nwords = ' '.join(sys.argv[1:])\n"
            f"answers = {{'version --format {{{{json .Server}}}}': {json.dumps(json.dumps({'Version': '28', 'Arch': 'amd64'}))},"
            f" 'info': {json.dumps(json.dumps(info))}, 'network ls': {networks!r}, 'image inspect': '[]'}}\n"
            "print(next((said for asked, said in answers.items() if words.startswith(asked)), ''))\n"
        )
        self.program.chmod(0o755)

    def plan(self, folder: Path, machine: str = "cpu", **values: str) -> Plan:
        layout, store = Layout(folder / "home"), LocalStore(str(folder / "store"))
        entry = Entry(store.url, "p", 1)
        work = layout.work(entry)
        job = Job(project="p", number=1, user="alice", created=1.0, command="true", machine=machine)
        docker = Docker({"SWATCH_DOCKER": str(self.program), "PATH": "/usr/bin:/bin"})
        work.mkdir(parents=True, exist_ok=True)
        return container.planned(docker, layout, entry, store, work, job, "mine:1", values)


def test_the_network_is_dockers_own_where_that_leads_somewhere(tmp_path: Path) -> None:
    assert Engine(tmp_path).plan(tmp_path).network is None
    assert Engine(tmp_path, networks="host").plan(tmp_path).network == "host"
    here = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:5000"}
    assert Engine(tmp_path).plan(tmp_path, **here).network == "host"
    assert Engine(tmp_path).plan(tmp_path, AWS_ENDPOINT_URL="https://s3.example.org").network is None


def test_a_gpu_is_asked_for_where_the_job_wants_one_and_the_engine_has_it(tmp_path: Path) -> None:
    assert "--gpus" in Engine(tmp_path, runtimes="nvidia").plan(tmp_path, "gpu").creation()
    assert "--gpus" not in Engine(tmp_path, runtimes="nvidia").plan(tmp_path, "cpu").creation()
    assert "--gpus" not in Engine(tmp_path).plan(tmp_path, "gpu").creation()


def test_in_a_rootless_engine_the_person_is_root(tmp_path: Path) -> None:
    assert Engine(tmp_path, security="name=rootless").plan(tmp_path).user is None
    assert Engine(tmp_path).plan(tmp_path).user is not None


def test_what_a_container_sees_of_this_computer(tmp_path: Path) -> None:
    plan = Engine(tmp_path).plan(tmp_path)
    seen = {bind.target: bind for bind in plan.binds}
    assert {target for target, bind in seen.items() if bind.writable} == {
        *("/.swatch/work", "/.swatch/cache", "/.swatch/store", "/floyd/home", "/output", "/input")
    }
    assert set(seen) - {target for target, bind in seen.items() if bind.writable} == {
        "/.swatch/agent.pyz",
        "/floyd/input",
    }
    assert all(bind.source.exists() for bind in plan.binds), "or the engine makes it, as root"
    assert len(plan.name) == len("swatch-") + 12 + len("-p-1")


MISSING = "#!/bin/sh\necho 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1\n"


def barred(box: Box) -> None:
    """Docker is there, and not for this person."""
    program = box.folder.parent / "docker"
    program.write_text(MISSING)
    program.chmod(0o755)
    box.environment["SWATCH_DOCKER"] = str(program)


def test_without_docker_nothing_is_submitted(box: Box) -> None:
    box.swatch("init", "try")
    barred(box)
    assert "This user may not use Docker" in box.swatch("run", "--backend", "docker", "true", code=1)
    manifest = box.manifest("name: try\nbackend: docker\ncommand: 'true'\n")
    assert "usermod -aG docker" in box.swatch("submit", manifest, code=1)
    box.environment["SWATCH_DOCKER"] = "no-such-docker"
    box.environment["SWATCH_BACKEND"] = "docker"
    assert "SWATCH_DOCKER is no-such-docker, and there is no such program" in box.swatch("run", "true", code=1)
    assert box.store.folders("projects/") == []


def docker_job(box: Box) -> Job:
    """The record of a job that was started here, in a container."""
    job = Job(
        project="p",
        number=1,
        user="alice",
        created=1.0,
        command="true",
        backend="docker",
        host=host_name(box.home),
        image="mine:1",
    )
    box.store.create(contract.job_key("p", 1), msgspec.json.encode(job))
    return job


def test_a_job_is_not_given_up_while_docker_does_not_answer(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    job = docker_job(box)
    backend = LocalBackend(box.store.url, box.home, 1, name="docker")
    backend.layout.make()
    # Who waited for the end of its container was killed: only the engine knows whether that runs.
    label = backend.layout.label(Entry(box.store.url, "p", 1))
    (backend.layout.running / f"{1:020d}-{label}").touch()
    program = box.folder.parent / "docker"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("SWATCH_DOCKER", str(program))
    monkeypatch.setattr(docker, "PROBE_SECONDS", 0.1)
    assert backend.look([job])[0].presence is Presence.RUNNING
    program.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n")
    assert backend.look([job])[0].presence is Presence.GONE


LAUNCH = """
import sys
from orchestrator import facts, settings
from orchestrator.backends import open_backend
from orchestrator.store import open_store
store = open_store(sys.argv[1])
open_backend("docker", store, settings.load(sys.argv[1])).launch([facts.read_job(store, "p", 1)])
"""


def test_a_docker_that_has_gone_when_the_job_is_to_start_leaves_the_job_to_be_taken_up_again(box: Box) -> None:
    barred(box)
    docker_job(box)
    subprocess.run([sys.executable, "-c", LAUNCH, box.store.url], env=box.environment, check=True)
    box.swatch("logs", "p/1", "-f", code=1)
    found = box.json("info", "p/1")
    assert found["final"] is None, "what it has made so far would be given up with it"
    assert found["state"] == "failed"
    assert "This user may not use Docker: docker version" in found["reason"]
    assert "sudo usermod -aG docker $USER" in found["reason"]


def test_unknown_backends_are_told_the_known_ones(box: Box) -> None:
    box.swatch("init", "try")
    said = box.swatch("run", "--backend", "podman", "true", code=2)
    assert all(name in said for name in ("docker", "local", "sagemaker"))


def test_the_stores_of_what_waits_and_runs_here_are_known(tmp_path: Path) -> None:
    """Whatever is removed from this computer must leave alone what they need."""
    layout = Layout(tmp_path)
    assert stores(tmp_path) == set()
    layout.make()
    (layout.queue / "1-x").write_bytes(msgspec.json.encode(Entry("/a", "p", 1)))
    (layout.running / "2-x").write_bytes(msgspec.json.encode(Entry("s3://b", "p", 1)))
    (layout.queue / ".3-x").write_bytes(msgspec.json.encode(Entry("/half", "p", 1)))
    (layout.queue / "4-x").write_text("damaged")
    assert stores(tmp_path) == {"/a", "s3://b"}
