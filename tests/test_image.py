"""Swatch's own image, built by a real engine and run by hand as SageMaker runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator import __version__, contract
from orchestrator.cargo import image
from orchestrator.docker import Docker
from orchestrator.store import open_store
from tests.cloud import Cloud
from tests.daemon import BASE, Daemon
from tests.one_job import Bench
from tests.program import painted
from tests.pushing import push
from tests.simulator.conftest import Cloud as Account


@pytest.fixture
def docker(daemon: Daemon) -> Docker:
    return daemon.docker


def test_the_image_says_what_it_is_and_how_it_starts(docker: Docker, own_image: str) -> None:
    found = docker.image(own_image)
    assert found is not None
    assert found.labels["org.opencontainers.image.version"] == __version__
    assert found.labels["dev.swatch.digest"] == image.context(BASE).digest
    (shown,) = json.loads(docker.ask("image", "inspect", own_image, doing="looking at the image"))
    assert shown["Config"]["Entrypoint"] == ["python3", "/opt/swatch/agent.pyz"]
    assert shown["Config"]["Cmd"] == ["train"]
    assert not shown["Config"].get("Healthcheck") and not shown["Config"]["User"]


def test_what_changes_often_is_small(docker: Docker, own_image: str) -> None:
    words = ("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", own_image)
    layers = [line.partition(" ") for line in docker.ask(*words, doing="docker history").splitlines()]
    (agent_and_engine,) = [int(size) for size, _, made in layers if "COPY root/" in made]
    assert 0 < agent_and_engine < 1_000_000


NO_CACHE = """#!/bin/sh
case "$1 $2" in
  "buildx build") shift 2; exec {docker} buildx build --no-cache "$@";;
  "build "*) shift; exec {docker} build --no-cache "$@";;
esac
exec {docker} "$@"
"""


def test_the_same_goes_in_and_the_same_comes_out(daemon: Daemon, own_image: str, tmp_path: Path) -> None:
    first = daemon.docker.image(own_image)
    assert first is not None
    daemon.docker.ask("tag", own_image, "swatch-test/first:1", doing="keeping the first")
    daemon.docker.ask("image", "rm", own_image, doing="forgetting the name")
    program = tmp_path / "docker"
    program.write_text(NO_CACHE.format(docker=daemon.docker.words()[0]))
    program.chmod(0o755)
    fresh = Docker({**daemon.environment, "SWATCH_DOCKER": str(program)})
    lines: list[str] = []
    again = image.build(fresh, image.context(BASE), lines.append, "host")
    steps = {line.split(" ")[0] for line in lines if "] RUN " in line or "] COPY " in line}
    assert steps and not steps & {line.split(" ")[0] for line in lines if line.endswith(" CACHED")}
    assert again.layers == first.layers
    if int(fresh.engine().version.partition(".")[0]) >= 23:  # before that, BuildKit writes the time of the build
        assert again.id == first.id


class Machine:
    """A machine of SageMaker's by hand: /opt/ml, and containers on it one after the other."""

    def __init__(self, docker: Docker, name: str, folder: Path, network: str = "none") -> None:
        self._docker, self._image, self._network = docker, name, network
        self.ml = folder / "ml"
        for one in ("input/config", "output", "model", "checkpoints"):
            (self.ml / one).mkdir(parents=True)
        self.volumes: list[str] = []
        self.environment: dict[str, str] = {}
        self.name = ""

    def told(self, **hyperparameters: str) -> None:
        (self.ml / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The container, with the words after the image: `train`, as SageMaker gives, if none are given."""
        self.name = f"swatch-test-{uuid.uuid4().hex}"
        mounts = [f"{self.ml}/input:/opt/ml/input:ro", *self.volumes]
        mounts += [f"{self.ml}/{one}:/opt/ml/{one}" for one in ("output", "model", "checkpoints")]
        options = [option for mount in mounts for option in ("--volume", mount)]
        options += [option for name in self.environment for option in ("--env", name)]
        return subprocess.Popen(
            self._docker.words(
                *("run", "--rm", "--name", self.name, "--network", self._network, *options),
                *(self._image, *(words or ("train",))),
            ),
            env={**self._docker.environment, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and log."""
        process = self.start(*words)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def stop(self, seconds: int) -> None:
        """As StopTrainingJob does: SIGTERM, and later SIGKILL."""
        self._docker.ask("stop", "--time", str(seconds), self.name, doing="docker stop")

    @property
    def failure(self) -> str | None:
        file = self.ml / "output" / "failure"
        return file.read_text() if file.exists() else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def machine(docker: Docker, own_image: str, tmp_path: Path, bench: Bench) -> Machine:
    """Without a network; the store is a folder that is mounted."""
    made = Machine(docker, own_image, tmp_path)
    made.volumes.append(f"{bench.store.url}:/store")
    Path(bench.store.url).mkdir(exist_ok=True)
    return made


def final(bench: Bench, number: int) -> Mapping[str, object]:
    return dict(json.loads(bench.store.read(contract.final_key("p", number))))


def test_train_runs_the_job_that_the_hyperparameters_name(bench: Bench, machine: Machine) -> None:
    (bench.code / "make.py").write_text(
        "import boto3, h5py, numpy, os, PIL.Image, sys\n"
        "PIL.Image.effect_noise((8, 8), 50).save('/output/noise.png')\n"
        "print(sorted(os.listdir('/sys/class/net')))\n"
    )
    number = bench.record("python3 make.py; echo kept > /output/said.txt")
    machine.told(store="/store", project="p", number=str(number))
    code, said = machine.run()
    assert (code, machine.failure) == (0, None), said
    assert final(bench, number)["state"] == contract.SUCCESS
    assert bench.output(number, "said.txt") == "kept\n" and bench.log(number) == ["['lo']"]
    assert bench.store.read(contract.output_prefix("p", number) + "noise.png").startswith(b"\x89PNG")


def test_a_failing_command_leaves_its_failure(bench: Bench, machine: Machine) -> None:
    number = bench.record("echo bad; exit 3")
    machine.told(store="/store", project="p", number=str(number))
    code, _ = machine.run()
    assert code != 0 and machine.failure is not None and "exit code 3" in machine.failure
    assert final(bench, number)["state"] == contract.FAILED


def test_hyperparameters_that_name_no_job_are_told(machine: Machine) -> None:
    machine.told(project="p")
    code, said = machine.run()
    assert code != 0 and "hyperparameters.json does not say which job this is" in said + (machine.failure or "")
    assert "Traceback" not in said


RESUMING = """n=$(cat $SWATCH_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo attempt $n
trap 'echo saved > $SWATCH_CHECKPOINT_DIR/saved; exit 1' TERM
echo $((n + 1)) > $SWATCH_CHECKPOINT_DIR/n
test $n -gt 0 && { cat $SWATCH_CHECKPOINT_DIR/saved > /output/found; exit 0; }
while :; do sleep 0.1; done"""


def test_docker_stop_reaches_the_command_and_another_container_goes_on(bench: Bench, machine: Machine) -> None:
    number = bench.record(RESUMING)
    machine.told(store="/store", project="p", number=str(number))
    first = machine.start()
    assert first.stdout is not None
    assert any("attempt 0" in line for line in first.stdout), "it runs"
    machine.stop(60)
    first.communicate(timeout=120)
    assert first.returncode != 0 and not bench.store.exists(contract.final_key("p", number))
    assert (machine.ml / "checkpoints/saved").read_text() == "saved\n"
    code, said = machine.run()
    assert code == 0, said
    assert bench.output(number, "found") == "saved\n" and final(bench, number)["state"] == contract.SUCCESS


def test_isolated_the_checkpoint_folder_carries_the_job(bench: Bench, machine: Machine) -> None:
    number = bench.record("echo alone > /output/said.txt")
    prefix = contract.job_key("p", number).rpartition("/")[0]
    carried = machine.ml / "checkpoints"
    (carried / "job.json").write_bytes(bench.store.read(f"{prefix}/job.json"))
    for key in bench.store.scan("code/"):
        place = machine.ml / "input/data" / contract.CODE_CHANNEL / key.key.rpartition("/")[2]
        place.parent.mkdir(parents=True)
        place.write_bytes(bench.store.read(key.key))
    machine.volumes = []
    machine.told(store="/opt/ml/checkpoints", project="p", number=str(number), isolated="true")
    code, said = machine.run()
    assert code == 0, said
    assert (carried / "output/said.txt").read_text() == "alone\n"
    assert json.loads((carried / "final.json").read_text())["state"] == contract.SUCCESS


def test_a_store_on_s3_is_reached_with_the_images_boto3(
    bench: Bench, docker: Docker, own_image: str, tmp_path: Path, cloud: Cloud, bucket: str
) -> None:
    far = open_store(f"s3://{bucket}/studio")
    number = bench.record("echo far > /output/said.txt")
    for key in bench.store.scan(""):
        far.create(key.key, bench.store.read(key.key))
    machine = Machine(docker, own_image, tmp_path, network="host")
    machine.environment = {name: value for name, value in cloud.environment().items() if "FILE" not in name}
    machine.told(store=far.url, project="p", number=str(number))
    code, said = machine.run()
    assert code == 0, said
    assert far.read(contract.output_prefix("p", number) + "said.txt") == b"far\n"


def test_an_image_comes_back_by_its_digest_as_it_went(daemon: Daemon, own_image: str) -> None:
    before = daemon.docker.image(own_image)
    with Account(docker=daemon.docker, registry=daemon.registry) as aws:
        name = push(aws, daemon.docker, own_image, "own", "1")
        (shown,) = aws.client("ecr").describe_images(repositoryName="own")["imageDetails"]
        place = aws.registry.place(f"{name.rpartition(':')[0]}@{shown['imageDigest']}") if aws.registry else None
        assert place is not None
        daemon.docker.ask("pull", "--quiet", place, doing="pulling by digest")
        pulled = daemon.docker.image(place)
    assert before is not None and pulled is not None and pulled.id == before.id


@pytest.mark.slow
def test_the_engine_in_the_image_makes_a_texture(
    docker: Docker, own_image: str, tmp_path: Path, machine: Machine, bench: Bench
) -> None:
    """With the TensorFlow of these tests, mounted where the small base has none."""
    import keras
    import tensorflow

    packages = Path(tensorflow.__file__).parents[1]
    assert Path(keras.__file__).parents[1] == packages
    ask = ("run", "--rm", "--network", "none", "--entrypoint", "python3", own_image)
    version = docker.ask(*ask, "-c", "import sys; print(*sys.version_info[:2])", doing="asking for its Python")
    if version.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"the image's Python is {version}, and the TensorFlow here is for another")
    painted(bench.code / "bark.png")
    machine.volumes.append(f"{packages}:/packages:ro")
    machine.environment = {"PYTHONPATH": "/packages", "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = "python3 /opt/swatch/engine/synthesize.py -s bark.png -ow 64 --method patch --output-dir /output"
    number = bench.record(words)
    machine.told(store="/store", project="p", number=str(number))
    code, said = machine.run()
    assert code == 0, said + "\n".join(bench.log(number))
    made = [
        key.key for key in bench.store.scan(contract.output_prefix("p", number)) if key.key.endswith("/texture.png")
    ]
    assert len(made) == 1, bench.log(number)
    from PIL import Image

    (tmp_path / "made.png").write_bytes(bench.store.read(made[0]))
    with Image.open(tmp_path / "made.png") as picture:
        assert picture.size == (64, 64)
