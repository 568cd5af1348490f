"""Images from the command line: `swatch image push`, and what `run`, `restart`, `plan` and `submit` make of `--image`, on
a simulated account with a stand-in for Docker, and with a real one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from orchestrator.cargo import image
from orchestrator.docker import Docker
from orchestrator.job import Job
from orchestrator.simulator import Simulator
from tests.account import Account, account
from tests.conftest import Box
from tests.daemon import BASE, Daemon
from tests.fake_docker import Fake
from tests.fake_docker import image as facts
from tests.pushing import host
from tests.terminal import Terminal

OURS = image.context()
MANIFEST = "name: forest\nbackend: sagemaker\ncommand: echo hello\n"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    """A computer whose account names no image, with a folder of code."""
    with account(tmp_path, with_registry(tmp_path), image=None) as made:
        made.environment["SWATCH_BACKEND"] = "sagemaker"
        made.swatch("init", "forest")
        yield made


def with_docker(box: Box, *pushes: str) -> Fake:
    fake = Fake(box.home.parent / "docker", {"mine:1": facts(RepoTags=["mine:1"])}, pushes)
    for name in ("SWATCH_DOCKER", "FAKE_DOCKER", "DOCKER_HOST", "DOCKER_CONFIG"):
        box.environment[name] = fake.environment[name]
    return fake


def with_registry(folder: Path) -> Simulator:
    """An account with a registry that nobody asks for bytes: what is pushed is pushed by word alone."""
    return Simulator(docker=Docker(Fake(folder / "engine", {}).environment), registry="127.0.0.1:9")


def put(aws: Simulator, tag: str) -> str:
    """Have the account's repository hold an image of that tag; its URI."""
    media = "application/vnd.docker.distribution.manifest.v2+json"
    layers = [{"mediaType": "x", "size": 7, "digest": "sha256:" + tag.encode().hex().ljust(64, "0")[:64]}]
    manifest = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "sha256:" + "1" * 64}, "layers": layers}
    aws.client("ecr").put_image(repositoryName="swatch", imageManifest=json.dumps(manifest), imageTag=tag)
    return f"{repository(aws)}:{tag}"


def repository(aws: Simulator) -> str:
    return f"{host(aws)}/swatch"


def test_an_image_of_this_computer_is_pushed_by_its_content(box: Account) -> None:
    docker = with_docker(box)
    uri = f"{repository(box.aws)}:{'a' * 24}"
    assert f"Would push mine:1 as {uri}" in box.swatch("image", "push", "mine:1", "--dry-run")
    assert docker.made("push") == []
    said = box.swatch("image", "push", "mine:1")
    assert f"--image {uri}" in said and docker.made("push") == [["push", uri]]
    put(box.aws, "a" * 24)
    assert "there already" in box.swatch("image", "push", "mine:1")
    assert box.json("image", "push", "mine:1")["pushed"] is False
    assert len(docker.made("push")) == 1
    assert "no image other:1" in box.swatch("image", "push", "other:1", code=1)


def test_a_push_is_shown_at_a_terminal_and_an_option_is_no_image(box: Account) -> None:
    reached = box.pipe("reached")
    docker = with_docker(box, f"hang {reached}")
    words = [sys.executable, "-m", "orchestrator", "image", "push", "mine:1"]
    with Terminal(words, {**box.environment, "COLUMNS": "100"}, box.folder) as terminal:
        assert reached.read_text() == "pushing\n"
        assert "━" in terminal.until("layers")
        terminal.write("\x03")
        assert "what was built and pushed is kept" in terminal.until("was started")
        assert terminal.end() == 130
    assert "no name of an image" in box.swatch("image", "push", "--", "--help", code=2)
    assert len(docker.made("push")) == 1


def test_ours_is_built_if_need_be_and_pushed(box: Account) -> None:
    docker = with_docker(box)
    made = box.json("image", "push")
    assert made["image"] == f"{repository(box.aws)}:{OURS.tag}" and made["pushed"] is True
    assert docker.made("push") == [["push", made["image"]]]


def test_a_job_runs_in_the_image_that_is_pushed(box: Account) -> None:
    docker = with_docker(box)
    uri = put(box.aws, OURS.tag)
    box.aws.calls.clear()  # type: ignore[attr-defined]
    box.swatch("run", "true", "-f")
    assert box.json("info")["job"]["image"] == uri
    assert uri in box.swatch("info")
    assert docker.calls == [], "what is there is neither built nor pushed"
    assert box.aws.calls["ecr:DescribeImages"] == 1
    (name,) = box.aws.jobs()
    assert box.aws.describe(name)["AlgorithmSpecification"]["TrainingImage"] == uri


@pytest.mark.slow
def test_what_is_not_there_is_said_and_left_alone_by_a_dry_run(box: Account) -> None:
    docker = with_docker(box)
    said = box.swatch("run", "true", "--dry-run")
    assert "is built and pushed first" in said and f"{repository(box.aws)}:{OURS.tag}" in said
    plan = box.swatch("plan", box.manifest(MANIFEST, "forest.yaml"))
    assert "is built and pushed first" in plan and f"Image: {repository(box.aws)}:{OURS.tag}" in plan
    assert box.json("plan", "forest.yaml")["image"]["uri"] == f"{repository(box.aws)}:{OURS.tag}"
    assert "is built" not in box.swatch("plan", "forest.yaml", "--image", "aws")
    assert not [words for words in docker.made("buildx") if words[1] == "build"] and docker.made("push") == []


def test_run_and_submit_build_and_push_before_any_record_is_there(box: Account) -> None:
    """The stand-in's push reaches no registry, so SageMaker finds no image: what comes before is seen."""
    refused = "denied: User: x is not authorized to perform: ecr:InitiateLayerUpload on resource: y"
    docker = with_docker(box, refused, refused)
    box.manifest(MANIFEST, "forest.yaml")
    for verb in (["run", "true"], ["submit", "forest.yaml"]):
        said = box.swatch(*verb, code=1)
        assert "is built and pushed first" in said and "not permitted" in said and "policy to attach" in said
    assert len(docker.made("push")) == 2 and box.json("status")["jobs"] == [] and not box.aws.jobs()
    assert len([words for words in docker.made("buildx") if words[1] == "build"]) == 1, "what is built is kept"


def test_ctrl_c_while_pushing_starts_nothing(box: Account) -> None:
    reached = box.pipe("reached")
    docker = with_docker(box, f"hang {reached}")
    process = box.start("run", "true")
    assert reached.read_text() == "pushing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert "no job was started" in err and "Traceback" not in err
    assert box.json("status")["jobs"] == [] and len(docker.made("push")) == 1


@pytest.mark.parametrize("where", ["flag", "file"])
def test_what_sagemaker_cannot_take_names_the_way_there(box: Account, where: str) -> None:
    flag = ["--image", "mine:1"] if where == "flag" else []
    if where == "file":
        (box.folder / "swatch.yml").write_text("image: mine:1\n")
    said = box.swatch("run", "true", *flag, code=2)
    assert "mine:1 is not in ECR" in said and "swatch image push mine:1" in said
    box.manifest(MANIFEST + ("image: mine:1\n" if where == "file" else ""), "forest.yaml")
    assert "swatch image push mine:1" in box.swatch("submit", "forest.yaml", *flag, code=2)
    assert box.json("status")["jobs"] == []


@pytest.mark.slow
def test_a_manifests_image_counts_and_a_flag_goes_before_it(box: Account) -> None:
    uri, other = put(box.aws, "one"), put(box.aws, "two")
    box.manifest(MANIFEST + f"image: {uri}\n", "forest.yaml")
    assert box.json("plan", "forest.yaml")["image"]["uri"] == uri
    box.swatch("submit", "forest.yaml", "--image", other)
    assert box.json("info", "forest/1")["job"]["image"] == other


@pytest.mark.slow
def test_a_restart_keeps_the_image_unless_told(box: Account) -> None:
    def restarted(*words: str) -> Any:
        (job,) = box.json("restart", "1", *words, "--dry-run")["jobs"]
        return job["image"]

    mine, other = put(box.aws, "mine"), put(box.aws, "other")
    box.swatch("run", "true", "--image", mine)
    assert restarted() == restarted("--gpu") == mine
    assert restarted("--image", other) == other
    assert restarted("--env", "tensorflow-2.19").endswith("tensorflow-training:2.19-cpu-py312")


def test_image_and_env_say_the_same_thing(box: Account) -> None:
    (box.folder / "swatch.yml").write_text("env: pytorch-2.8\n")
    said = box.swatch("run", "true", "--image", "aws", "--env", "pytorch-2.8", code=2)
    assert "both say what the job runs in" in said
    (job,) = box.json("run", "true", "--image", "aws", "--dry-run")["jobs"]
    assert "/tensorflow-training:" in job["image"] and job["env"] is None


def test_the_library_takes_an_image_too(box: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator import Swatch, aws

    for name in [*os.environ]:
        if name.startswith(("AWS_", "SWATCH")):
            monkeypatch.delenv(name)
    for name, value in box.environment.items():
        if name.startswith(("AWS_", "SWATCH", "DOCKER_HOST")):
            monkeypatch.setenv(name, value)
    aws.forget()
    uri = put(box.aws, "lib")
    path = Path(box.folder, box.manifest(MANIFEST, "forest.yaml"))
    swatch = Swatch(folder=box.folder)
    done = swatch.submit(path, image=uri)
    assert [job.image for job in done.started] == [uri]
    assert swatch.run("true", image=uri).record.image == uri
    aws.forget()


@pytest.mark.slow
def test_the_accounts_images_are_listed_and_pruned(box: Account) -> None:
    old, used, named = "0" * 24, "1" * 24, "v1"
    for tag in (old, used, named, OURS.tag):
        put(box.aws, tag)
    said = box.swatch("image", "list")
    assert f"{repository(box.aws)}:{old}" in said and re.search(rf"{OURS.tag} .*current", said)
    assert len(box.json("image", "list")["account"]) == 5  # and `latest`, which the account came with
    box.aws.quotas.set("ml.m5.xlarge", 0)  # so that the job waits
    box.swatch("run", "true", "--image", f"{repository(box.aws)}:{used}")
    assert f"Would remove {repository(box.aws)}:{old}" in box.swatch("image", "prune", "--remote", "--dry-run")
    assert "Remove 1 image from the account?" in box.swatch("image", "prune", "--remote", code=130), "nobody says yes"
    assert len(box.json("image", "list")["account"]) == 5
    assert "--yes" in box.swatch("image", "prune", "--remote", "--json", code=2), "a script says it, too"
    assert box.json("image", "prune", "--remote", "--dry-run")["removed"]
    box.swatch("image", "prune", "--remote", "--yes")
    left = {one["name"].rpartition(":")[2] for one in box.json("image", "list")["account"]}
    assert left == {used, named, OURS.tag, "latest"}
    assert "Nothing to remove" in box.swatch("image", "prune", "--remote")


# With a real engine and registry.


@pytest.fixture
def whole(tmp_path: Path, daemon: Daemon, own_image: str) -> Iterator[Account]:
    """A computer with Docker, which has Swatch's own image, and an account whose repository is empty of it."""
    simulator = Simulator(docker=daemon.docker, registry=daemon.registry)
    with account(tmp_path, simulator, image=None) as made:
        config = yaml.safe_load((made.home / "config.yaml").read_text())
        config["docker"] = {"base": BASE, "network": "host"}
        (made.home / "config.yaml").write_text(yaml.safe_dump(config))
        made.environment.update({name: daemon.environment[name] for name in ("DOCKER_HOST", "SWATCH_DOCKER")})
        made.environment["SWATCH_BACKEND"] = "sagemaker"
        made.swatch("init", "forest")
        yield made


def test_a_first_run_pushes_and_the_next_does_not(whole: Account) -> None:
    uri = f"{repository(whole.aws)}:{image.context(BASE).tag}"
    first = whole.start("run", "ls /opt/swatch", "-f")
    out, err = first.communicate()
    assert first.returncode == 0, out + err
    assert "is built and pushed first" in err and "Pushing [" in err and "agent.pyz" in out
    assert whole.json("info")["job"]["image"] == uri
    again = whole.start("run", "true", "-f")
    out, err = again.communicate()
    assert again.returncode == 0, out + err
    assert "pushed first" not in err and "Pushing" not in err
    assert whole.json("info")["job"]["image"] == uri


def test_a_dockerfile_of_ones_own_is_built_pushed_and_run_in(whole: Account) -> None:
    (whole.folder / "image").mkdir()
    (whole.folder / "image" / "Dockerfile").write_text(f"FROM {BASE}\nCOPY hello /hello\n")
    (whole.folder / "image" / "hello").write_text("hello from mine\n")
    whole.manifest(MANIFEST.replace("echo hello", "cat /hello > /output/said.txt") + "image: ./image\n", "forest.yaml")
    assert "is built, and pushed to" in whole.swatch("plan", "forest.yaml")
    whole.swatch("submit", "forest.yaml", "--watch")
    assert (whole.folder / "outputs/forest/forest/said.txt").read_text() == "hello from mine\n"
    assert whole.json("info", "forest/1")["job"]["image"].startswith(f"{repository(whole.aws)}:")


LAUNCH = """
import sys
from orchestrator import contract, facts, settings
from orchestrator.backends import open_backend
from orchestrator.store import open_store
found = settings.load()
store = open_store(found.store)
store.create(contract.job_key("forest", 1), sys.argv[1].encode())
open_backend("sagemaker", store, found).launch([facts.read_job(store, "forest", 1)])
"""


@pytest.mark.parametrize("word", ["aws", "swatch", "./Dockerfile"])
def test_a_job_of_before_there_was_a_choice_runs_in_awss_container(box: Account, word: str) -> None:
    """Its record names no image, and what the configuration says now need not be one's name."""
    file = box.home / "config.yaml"
    said = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**said, "aws": {**said["aws"], "image": word}}))
    job = Job(project="forest", number=1, user="alice", created=1.0, command="true", backend="sagemaker")
    words = [sys.executable, "-c", LAUNCH, msgspec.json.encode(job).decode()]
    subprocess.run(words, env=box.environment, cwd=box.folder, check=True)
    client = box.aws.client("sagemaker")
    (made,) = client.list_training_jobs()["TrainingJobSummaries"]
    asked = client.describe_training_job(TrainingJobName=made["TrainingJobName"])["AlgorithmSpecification"]
    assert "/tensorflow-training:" in asked["TrainingImage"]
