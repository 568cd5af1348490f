"""Images from the command line: `swatch image push`, and what `run`, `restart`, `plan` and `submit` make of `--image`, on a
simulated account with a stand-in for Docker."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cargo import image
from orchestrator.simulator import Simulator
from tests.account import Account, account
from tests.conftest import Box
from tests.fake_docker import Fake
from tests.fake_docker import image as facts

OURS = image.context()
REPOSITORY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/swatch"
MANIFEST = "name: forest\nbackend: sagemaker\ncommand: echo hello\n"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    """A computer whose account names no image, with a folder of code."""
    with account(tmp_path, image=None) as made:
        made.environment["SWATCH_BACKEND"] = "sagemaker"
        made.swatch("init", "forest")
        yield made


def with_docker(box: Box, *pushes: str) -> Fake:
    fake = Fake(box.home.parent / "docker", {"mine:1": facts(RepoTags=["mine:1"])}, pushes)
    for name in ("SWATCH_DOCKER", "FAKE_DOCKER", "DOCKER_HOST", "DOCKER_CONFIG"):
        box.environment[name] = fake.environment[name]
    return fake


def put(aws: Simulator, tag: str) -> str:
    """Have the account's repository hold an image of that tag; its URI."""
    media = "application/vnd.docker.distribution.manifest.v2+json"
    layers = [{"mediaType": "x", "size": 7, "digest": "sha256:" + tag.encode().hex().ljust(64, "0")[:64]}]
    manifest = {"schemaVersion": 2, "mediaType": media, "config": {"digest": "sha256:" + "1" * 64}, "layers": layers}
    aws.client("ecr").put_image(repositoryName="swatch", imageManifest=json.dumps(manifest), imageTag=tag)
    return f"{REPOSITORY}:{tag}"


def test_an_image_of_this_computer_is_pushed_by_its_content(box: Account) -> None:
    docker = with_docker(box)
    uri = f"{REPOSITORY}:{'a' * 24}"
    assert f"Would push mine:1 as {uri}" in box.swatch("image", "push", "mine:1", "--dry-run")
    assert docker.made("push") == []
    said = box.swatch("image", "push", "mine:1")
    assert f"--image {uri}" in said and docker.made("push") == [["push", uri]]
    put(box.aws, "a" * 24)
    assert "there already" in box.swatch("image", "push", "mine:1")
    assert box.json("image", "push", "mine:1")["pushed"] is False
    assert len(docker.made("push")) == 1
    assert "no image other:1" in box.swatch("image", "push", "other:1", code=1)


def test_ours_is_built_if_need_be_and_pushed(box: Account) -> None:
    docker = with_docker(box)
    made = box.json("image", "push")
    assert made["image"] == f"{REPOSITORY}:{OURS.tag}" and made["pushed"] is True
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


def test_what_is_not_there_is_said_and_left_alone_by_a_dry_run(box: Account) -> None:
    docker = with_docker(box)
    said = box.swatch("run", "true", "--dry-run")
    assert "is built and pushed first" in said and f"{REPOSITORY}:{OURS.tag}" in said
    plan = box.swatch("plan", box.manifest(MANIFEST, "forest.yaml"))
    assert "is built and pushed first" in plan and f"Image: {REPOSITORY}:{OURS.tag}" in plan
    assert box.json("plan", "forest.yaml")["image"]["uri"] == f"{REPOSITORY}:{OURS.tag}"
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


def test_a_manifests_image_counts_and_a_flag_goes_before_it(box: Account) -> None:
    uri, other = put(box.aws, "one"), put(box.aws, "two")
    box.manifest(MANIFEST + f"image: {uri}\n", "forest.yaml")
    assert box.json("plan", "forest.yaml")["image"]["uri"] == uri
    box.swatch("submit", "forest.yaml", "--image", other)
    assert box.json("info", "forest/1")["job"]["image"] == other


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
