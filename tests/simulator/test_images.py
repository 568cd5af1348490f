"""Training jobs that truly run pushed images, in containers of a real engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.docker import Docker
from orchestrator.errors import SwatchError
from orchestrator.simulator import Durations, ManualClock, Simulator, storage
from orchestrator.simulator.engine import LABEL
from tests.conftest import REPOSITORY, Box
from tests.daemon import BARE, BASE, Daemon
from tests.pushing import push
from tests.simulator.conftest import Cloud, refused
from tests.simulator.test_command import elsewhere, simulating


@pytest.fixture
def cloud(daemon: Daemon) -> Iterator[Cloud]:
    """An account with a registry, whose image is BASE."""
    with Cloud(sync_period=0.01, docker=daemon.docker, registry=daemon.registry) as aws:
        aws.account = aws.account._replace(image=push(aws, daemon.docker, BASE, "jobs", "1"))
        yield aws


def containers(docker: Docker, folder: str = "") -> list[str]:
    label = f"label={LABEL}={folder}" if folder else f"label={LABEL}"
    return docker.ask("ps", "--all", "--quiet", "--filter", label, doing="docker ps").split()


def test_a_pushed_image_runs_under_sagemakers_contract(cloud: Cloud) -> None:
    cloud.put("data/a.txt", "given")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{cloud.account.bucket}/data/"}
    reads = "cat /opt/ml/input/data/train/a.txt /opt/ml/input/config/hyperparameters.json; touch /opt/ml/input/x 2>&1"
    writes = "cd /opt/ml; echo m > model/m; echo o > output/data/o; echo more > code && echo the rest is the image"
    python = "python3 -c 'import sys; print(sys.prefix)'"
    described = cloud.run(
        "one",
        *("sh", "-c", 'for one in "$@"; do sh -c "$one"; done', "sh"),
        *(reads, 'echo "$GREETING, $TRAINING_JOB_NAME"', python, writes),
        HyperParameters={"rate": "0.1"},
        Environment={"GREETING": "hello there\nand here", "PATH": "/bin:/usr/bin"},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{cloud.account.bucket}/out", "CompressionType": "NONE"},
    )
    assert described["TrainingJobStatus"] == "Completed", (described, cloud.log("one"))
    assert cloud.log("one") == [
        'given{"rate": "0.1"}touch: /opt/ml/input/x: Read-only file system',
        *("hello there", "and here, one", "/usr", "the rest is the image"),
    ]
    assert cloud.get("out/one/output/model/m") == b"m\n" and cloud.get("out/one/output/data/o") == b"o\n"


def test_without_an_entrypoint_the_images_own_gets_train(cloud: Cloud, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f'FROM {BASE}\nENTRYPOINT ["echo", "mine:"]\nCMD ["other"]\n')
    daemon.docker.ask("build", "--quiet", "--tag", "swatch-test/own:1", str(tmp_path), doing="building")
    image = {"TrainingImage": push(cloud, daemon.docker, "swatch-test/own:1", "own", "1"), "TrainingInputMode": "File"}
    cloud.run("one", AlgorithmSpecification=image)
    cloud.run("two", AlgorithmSpecification={**image, "ContainerArguments": ["a b", "c"]})
    assert cloud.log("one") == ["mine: train"] and cloud.log("two") == ["mine: a b c"]


def test_a_failing_command_is_the_algorithms_error(cloud: Cloud) -> None:
    described = cloud.run("one", "sh", "-c", "echo sorry > /opt/ml/output/failure; exit 3")
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: sorry, exit code: 3"


RESUMING = (
    "cd /opt/ml/checkpoints; if test -e s; then echo resumed; cat s; test -e /tmp/mark || echo in a new container; exit; "
    "fi; trap 'echo notice >> s; exit 0' TERM; touch /tmp/mark; echo begun > s; echo on; while :; do sleep 0.05; done"
)


def test_stopping_sends_sigterm_and_keeps_the_checkpoint(cloud: Cloud) -> None:
    cloud.create("one", "sh", "-c", RESUMING, CheckpointConfig=cloud.checkpointed())
    cloud.said("one", "on")
    cloud.sagemaker.stop_training_job(TrainingJobName="one")
    assert cloud.wait_for("one")["TrainingJobStatus"] == "Stopped"
    assert cloud.get("checkpoints/s") == b"begun\nnotice\n"


def test_an_interrupted_job_goes_on_in_a_new_container(cloud: Cloud) -> None:
    cloud.create("one", "sh", "-c", RESUMING, spot=True, CheckpointConfig=cloud.checkpointed())
    cloud.said("one", "on")
    cloud.interrupt("one")
    assert cloud.wait_for("one")["TrainingJobStatus"] == "Completed"
    assert cloud.log("one") == ["on", "resumed", "begun", "notice", "in a new container"]


def test_what_ignores_sigterm_is_killed_after_the_grace(daemon: Daemon) -> None:
    with Cloud(ManualClock(1_800_000_000.0), docker=daemon.docker, registry=daemon.registry) as cloud:
        cloud.account = cloud.account._replace(image=push(cloud, daemon.docker, BASE, "jobs", "1"))
        cloud.create("one", "sh", "-c", "trap 'echo no' TERM; echo on; while :; do sleep 0.05; done")
        cloud.said("one", "on")
        cloud.sagemaker.stop_training_job(TrainingJobName="one")
        cloud.said("one", "no")
        cloud.advance(120)
        assert cloud.wait_for("one")["TrainingJobStatus"] == "Stopped"


def test_a_killed_container_is_told_by_its_code(cloud: Cloud, daemon: Daemon) -> None:
    cloud.create("one", "sh", "-c", "echo on; sleep 1000")
    cloud.said("one", "on")
    cloud.crash("one")
    assert cloud.wait_for("one")["FailureReason"] == "AlgorithmError: , exit code: 137"


def test_isolated_containers_have_no_network(cloud: Cloud) -> None:
    words = (
        "python3",
        "-c",
        "import os; print(sorted(os.listdir('/sys/class/net')), 'AWS_ENDPOINT_URL' in os.environ)",
    )
    cloud.run("one", *words, EnableNetworkIsolation=True)
    cloud.run("two", *words)
    assert cloud.log("one") == ["['lo'] False"] and cloud.log("two")[0].endswith("True")


def test_an_image_that_is_not_there_is_refused_or_fails(daemon: Daemon) -> None:
    clock = ManualClock(1_800_000_000.0)
    with Cloud(clock, durations=Durations(starting=60), docker=daemon.docker, registry=daemon.registry) as cloud:
        uri = push(cloud, daemon.docker, BARE, "jobs", "1")
        cloud.account = cloud.account._replace(image=uri.replace(":1", ":2"))
        said = refused(cloud.sagemaker.create_training_job, **cloud.request("none", "sh"))
        assert said == f"ValidationException: Requested image {cloud.account.image} not found."
        cloud.account = cloud.account._replace(image=uri)
        cloud.create("one", "sh")
        cloud.client("ecr").batch_delete_image(repositoryName="jobs", imageIds=[{"imageTag": "1"}])
        cloud.advance(60)
        described = cloud.wait_for("one")
        assert described["TrainingJobStatus"] == "Failed"
        assert described["FailureReason"].startswith("ClientError: Cannot pull algorithm container.")


def test_an_entrypoint_that_the_image_lacks_cannot_start(cloud: Cloud, daemon: Daemon) -> None:
    cloud.account = cloud.account._replace(image=push(cloud, daemon.docker, BARE, "bare", "1"))
    described = cloud.run("one", "python3", "-c", "pass")
    assert described["FailureReason"].startswith("ClientError: CannotStartContainerError. Please make sure")
    assert any("executable file not found" in line for line in cloud.log("one"))


def test_an_image_for_another_processor_does_not_run(cloud: Cloud, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    words = ("build", "--platform", "linux/arm64", "--tag", "swatch-test/arm:1", str(tmp_path))
    daemon.docker.follow(*words, doing="building for arm64", tell=lambda line: None)
    found = daemon.docker.image("swatch-test/arm:1")
    assert found is not None and found.architecture == "arm64"
    cloud.account = cloud.account._replace(image=push(cloud, daemon.docker, "swatch-test/arm:1", "arm", "1"))
    described = cloud.run("one", "/bin/sh")
    assert described["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert cloud.log("one") == ["exec /bin/sh: exec format error"]


def test_images_of_others_and_what_was_never_pushed_run_as_processes(cloud: Cloud) -> None:
    other = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.19.0-cpu-py312"
    mine = f"{cloud.account.image.partition('/')[0]}/swatch:latest"
    for name, image in (("one", other), ("two", mine)):
        cloud.account = cloud.account._replace(image=image)
        cloud.run(name, sys.executable, "-c", f"import os; print(os.path.exists({__file__!r}))")
        assert cloud.log(name) == ["True"]


PROGRAM = """
import os, signal, sys
from orchestrator.docker import Docker
from tests.daemon import BASE
from tests.pushing import push
from tests.simulator.conftest import Cloud
with Cloud(docker=Docker(), registry=sys.argv[1]) as cloud:
    cloud.account = cloud.account._replace(image=push(cloud, Docker(), BASE, "jobs", "1"))
    cloud.create("one", "sh", "-c", "echo on; sleep 1000")
    cloud.said("one", "on")
    print(cloud._folder, flush=True)
    signal.pause()
"""


def test_containers_of_a_simulator_that_was_killed_are_removed_by_the_next(daemon: Daemon) -> None:
    words = [sys.executable, "-c", PROGRAM, daemon.registry]
    other = subprocess.Popen(words, env={**os.environ, **daemon.environment}, stdout=subprocess.PIPE, text=True)
    with other:
        try:
            assert other.stdout is not None
            folder = other.stdout.readline().strip()
            assert folder and len(containers(daemon.docker, folder)) == 1
            with Simulator(docker=daemon.docker, registry=daemon.registry):
                assert len(containers(daemon.docker, folder)) == 1, "it is alive"
        finally:
            other.send_signal(signal.SIGKILL)
    assert len(containers(daemon.docker, folder)) == 1, "nobody was left to remove it"
    with Simulator(docker=daemon.docker, registry=daemon.registry):
        assert containers(daemon.docker, folder) == []


KEEPING = """
import signal
from orchestrator.docker import Docker
from orchestrator.simulator import Simulator
with Simulator(docker=Docker()) as aws:
    print(aws.registry._storage, flush=True)
    signal.pause()
"""


def test_the_registry_of_a_simulator_that_was_killed_ends_with_it(daemon: Daemon) -> None:
    words = [sys.executable, "-c", KEEPING]
    with subprocess.Popen(words, env={**os.environ, **daemon.environment}, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        host, _, port = other.stdout.readline().strip().partition(":")
        with socket.create_connection((host, int(port)), 60) as held:
            other.send_signal(signal.SIGKILL)
            with contextlib.suppress(ConnectionResetError):
                assert held.recv(1) == b"", "whoever held the other end is gone"


def test_its_end_leaves_no_container_and_no_name(daemon: Daemon) -> None:
    with Cloud(docker=daemon.docker, registry=daemon.registry) as cloud:
        uri = push(cloud, daemon.docker, BASE, "jobs", "1")
        cloud.account = cloud.account._replace(image=uri)
        cloud.create("one", "sh", "-c", "echo on; sleep 1000")
        cloud.said("one", "on")
        folder = str(cloud._folder)
        assert len(containers(daemon.docker, folder)) == 1 and daemon.docker.image(uri) is not None
    assert containers(daemon.docker, folder) == [] and daemon.docker.image(uri) is None
    assert daemon.docker.image(BASE) is not None


def test_accounts_that_share_a_storage_see_nothing_of_each_other(daemon: Daemon) -> None:
    for _ in range(2):
        with Cloud(docker=daemon.docker, registry=daemon.registry) as cloud:
            cloud.client("ecr").create_repository(repositoryName="jobs")
            assert cloud.client("ecr").describe_images(repositoryName="jobs")["imageDetails"] == []
            push(cloud, daemon.docker, BARE, "jobs", "1")


# `swatch simulate --docker`

SHIPPED = """
import os, sys
from orchestrator.docker import Docker
from tests.daemon import BARE
from tests.pushing import push
from tests.simulator.conftest import Cloud
import boto3
class Here(Cloud):
    def client(self, service):
        return boto3.client(service)
here = Here()
docker = Docker({**os.environ, **dict(one.split("=", 1) for one in sys.argv[2:])})
role = sys.argv[1]
here.account = type("Made", (), {"role": role, "bucket": "swatch", "image": push(here, docker, BARE, "forest", "1")})
sagemaker = here.client("sagemaker")
sagemaker.create_training_job(**here.request("one", "sh", "-c", "echo in a container"))
waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
waiter.wait(TrainingJobName="one", WaiterConfig={"Delay": 1})
logs, group = here.client("logs"), "/aws/sagemaker/TrainingJobs"
(stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
print(here.account.image, *(event["message"] for event in events))
"""


def docker_box(box: Box, daemon: Daemon) -> Box:
    box.environment |= {name: daemon.environment[name] for name in ("DOCKER_HOST", "SWATCH_DOCKER")}
    return box


def test_the_command_offers_an_account_with_a_registry(box: Box, daemon: Daemon) -> None:
    docker_box(box, daemon).home.mkdir()
    (box.home / "config.yaml").write_text(f"docker: {{base: '{BASE}', network: host}}\n")
    kept = [f"{name}={box.environment[name]}" for name in ("DOCKER_HOST", "SWATCH_DOCKER")]
    with simulating(box, "--docker") as (process, exports):
        said = json.loads(Path(exports["SWATCH_HOME"], "config.yaml").read_text())
        assert said["docker"] == {"base": BASE, "network": "host"} and "image" not in said["aws"]
        words = (sys.executable, "-c", SHIPPED, said["aws"]["role"], *kept)
        image, _, log = elsewhere(box, exports, *words).strip().partition(" ")
        assert log == "in a container"
        assert image == exports["AWS_ENDPOINT_URL"].removeprefix("http://") + "/forest:1"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert daemon.docker.image(image) is None, "the name goes with the account"


def test_without_docker_the_command_says_so(box: Box) -> None:
    assert "Docker" in box.swatch("simulate", "--docker", "true", code=1)


def test_the_registry_may_itself_be_a_container(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where no `docker-registry` is installed; the image is the program of this computer."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is missing, which the image is made of")
    shutil.copy2(program, tmp_path / "registry")
    (tmp_path / "config.yml").write_text("version: 0.1\nstorage: {inmemory: {}}\nhttp: {addr: 127.0.0.1:5000}\n")
    (tmp_path / "Dockerfile").write_text(
        f'FROM {BASE}\nCOPY . /r/\nENTRYPOINT ["/r/registry", "serve", "/r/config.yml"]\n'
    )
    daemon.docker.ask("build", "--quiet", "--tag", "swatch-test/registry:1", str(tmp_path), doing="building")
    monkeypatch.setattr(storage, "PROGRAM", "no-such-program")
    monkeypatch.setattr(storage, "IMAGE", "swatch-test/registry:1")
    with Cloud(docker=daemon.docker) as cloud:
        cloud.account = cloud.account._replace(image=push(cloud, daemon.docker, BARE, "bare", "1"))
        assert cloud.run("one", "sh", "-c", "exit 0")["TrainingJobStatus"] == "Completed"
        folder = str(cloud._folder)
        assert containers(daemon.docker, folder)
    assert containers(daemon.docker, folder) == []


def test_where_no_registry_can_be_had_that_is_said(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PROGRAM", "no-such-program")
    monkeypatch.setattr(storage, "IMAGE", "127.0.0.1:1/registry:2")
    with pytest.raises(SwatchError, match="needs a registry for its images, and none can be had") as caught:
        Simulator(docker=daemon.docker).start()
    assert "docker pull" in str(caught.value.hint)


ORDINARY = """
import sys
from orchestrator.docker import Docker
from tests.daemon import BASE
from tests.pushing import push
from tests.simulator.conftest import Cloud
with Cloud(docker=Docker(), registry=sys.argv[1]) as cloud:
    cloud.account = cloud.account._replace(image=push(cloud, Docker(), BASE, "jobs", "1"))
    script = "umask 077; mkdir /opt/ml/checkpoints/d; echo x > /opt/ml/checkpoints/d/f; echo z > /opt/ml/model/z"
    output = {"S3OutputPath": f"s3://{cloud.account.bucket}/out", "CompressionType": "NONE"}
    cloud.run("one", "sh", "-c", script, CheckpointConfig=cloud.checkpointed(), OutputDataConfig=output)
    print(*cloud.keys())
    folder = cloud._folder
print(folder.exists())
"""


def test_what_a_containers_root_made_an_ordinary_person_can_read_and_remove(daemon: Daemon) -> None:
    socket_file = Path(daemon.environment["DOCKER_HOST"].removeprefix("unix://"))
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None or not socket_file.exists():
        pytest.skip("an ordinary person with this engine can only be played by root, with setpriv")
    person = [setpriv, "--reuid", "65534", "--regid", str(socket_file.stat().st_gid), "--clear-groups", sys.executable]
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o777)
        kept = {"HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**os.environ, **daemon.environment, **kept, "PYTHONPATH": str(REPOSITORY)}
        options: dict[str, Any] = {"env": environment, "cwd": folder, "capture_output": True, "text": True}
        if subprocess.run([*person, "-c", "import tests.pushing"], **options).returncode:
            pytest.skip("an ordinary person cannot read this checkout")
        if subprocess.run([*person[:-1], *daemon.docker.words("version")], **options).returncode:
            pytest.skip("an ordinary person cannot reach the engine's socket")
        done = subprocess.run([*person, "-c", ORDINARY, daemon.registry], **options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert done.stdout.splitlines() == ["checkpoints/d/f out/one/output/model/z", "False"], done.stderr
