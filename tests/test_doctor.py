"""`swatch doctor` against the simulator: an account that is well, and each way in which it is not."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import aws, checkup, contract, orphans
from orchestrator import docker as engines
from orchestrator.backends.sagemaker import request
from orchestrator.cargo.image import context
from orchestrator.checkup import FAIL, OK, UNKNOWN, WARN, Check, local
from orchestrator.checkup import cloud as account_checks
from orchestrator.checkup.cloud import Here
from orchestrator.settings import Aws, Settings
from orchestrator.simulator import Simulated, Simulator
from orchestrator.store import open_store
from tests.aws_stub import serving
from tests.conftest import Box
from tests.fake_docker import Fake
from tests.test_image_jobs import put, with_registry

ROLE = "arn:aws:iam::123456789012:role/swatch"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as cloud:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        aws.forget()
        yield cloud
        aws.forget()


def of(account: Simulated, home: Path, **more: Any) -> Settings:
    return Settings(home=home, store=f"s3://{account.bucket}/textures", aws=Aws(role=account.role, **more))


def looked(found: Settings, machine: str = "gpu") -> dict[str, Check]:
    return {check.name: check for check in checkup.checks(found, machine)}


def states(found: Settings, machine: str = "gpu") -> dict[str, str]:
    return {name: check.state for name, check in looked(found, machine).items()}


def test_what_setup_makes_is_well(cloud: Simulator, box: Box) -> None:
    box.environment.update((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    box.swatch("setup", "aws")
    aws.client("budgets").create_budget(
        AccountId=aws.client("sts").get_caller_identity()["Account"],
        Budget={
            "BudgetName": "studio",
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": "10", "Unit": "USD"},
        },
    )
    cloud.quotas.set("ml.g5.xlarge", 4)
    said = box.json("doctor", "--machine", "ml.g5.xlarge")
    assert said["well"] is True
    found = {check["name"]: check["state"] for check in said["checks"]}
    found.pop("docker")  # as it is where the tests run
    found.pop("quota ml.g5.xlarge")  # spot and warm pools are as the simulator has them
    assert found == {
        **dict.fromkeys(["python", "store", "credentials", "clock", "bucket", "private", "old files", "role"], OK),
        "image": UNKNOWN,  # AWS' own registry
        "budget": OK,
    }
    assert all(check["fix"] for check in said["checks"] if check["state"] in (WARN, FAIL))


def test_local_only_asks_nothing_of_aws(box: Box) -> None:
    with serving() as stub:
        box.environment.update(AWS_ENDPOINT_URL=stub.url, AWS_EC2_METADATA_DISABLED="true")
        text = box.swatch("doctor")
    assert "local only" in text
    assert stub.asked == []


def test_without_credentials_the_rest_is_not_asked(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in box.environment if name.startswith("AWS_")]:
        del box.environment[name]
    box.environment.update(
        AWS_EC2_METADATA_DISABLED="true", AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )  # fmt: skip
    said = box.json("doctor", "--store", "s3://studio/x", code=1)
    assert said["well"] is False
    assert said["checks"][-1]["name"] == "credentials"
    assert said["checks"][-1]["state"] == FAIL
    assert "aws" in said["checks"][-1]["fix"]
    box.environment.pop("AWS_REGION")
    box.environment.pop("AWS_DEFAULT_REGION")
    assert "region" in box.swatch("doctor", "--store", "s3://studio/x", code=1)


def test_of_a_simulated_account_nothing_is_to_be_mended(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account(versions=True)  # as `swatch simulate` makes it
    found = looked(of(account, tmp_path))
    here = {"docker", "store", "python"}  # this computer's
    assert [check for name, check in found.items() if name not in here and check.state in (WARN, FAIL)] == []
    assert found["budget"].said == "1 in AWS Budgets: simulated"
    aws.client("budgets").delete_budget(AccountId="123456789012", BudgetName="simulated")
    assert states(of(account, tmp_path))["budget"] == WARN


def test_a_bucket_that_is_missing_open_or_elsewhere(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account()
    found = states(of(account, tmp_path))
    assert (found["bucket"], found["private"], found["old files"]) == (OK, OK, WARN)
    aws.client("s3").delete_public_access_block(Bucket="swatch")
    assert states(of(account, tmp_path))["private"] == FAIL
    gone = Settings(home=tmp_path, store="s3://no-such-bucket-here/x", aws=Aws(role=account.role))
    assert looked(gone)["bucket"].state == FAIL
    assert looked(gone)["bucket"].fix == "swatch setup aws"
    aws.client("s3", "eu-west-1").create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    far = looked(Settings(home=tmp_path, store="s3://far-away/x", aws=Aws(role=account.role)))
    assert far["bucket"].state == FAIL
    assert far["bucket"].fix == "export AWS_REGION=eu-west-1"
    on_disk = looked(Settings(home=tmp_path, store=str(tmp_path / "store"), aws=Aws(role=account.role)))
    assert on_disk["bucket"].state == FAIL


def test_a_role_that_is_missing_or_trusts_the_wrong_ones(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account()
    assert states(of(account, tmp_path))["role"] == OK, "the simulator's is as setup makes it"
    iam = aws.client("iam")

    def trusting(statement: dict[str, Any]) -> str:
        document = {"Version": "2012-10-17", "Statement": [{"Action": "sts:AssumeRole", **statement}]}
        iam.update_assume_role_policy(RoleName="swatch", PolicyDocument=json.dumps(document))
        return states(of(account, tmp_path))["role"]

    sagemaker = {"Service": ["sagemaker.amazonaws.com"]}
    only = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert trusting({"Effect": "Allow", "Principal": sagemaker, "Condition": only}) == OK
    assert trusting({"Effect": "Allow", "Principal": sagemaker}) == WARN, "for any account"
    assert trusting({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}) == FAIL
    assert trusting({"Effect": "Deny", "Principal": sagemaker}) == FAIL
    assert trusting({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}) == FAIL
    other = Settings(home=tmp_path, store=f"s3://{account.bucket}", aws=Aws(role=ROLE + "-gone"))
    assert states(other)["role"] == FAIL
    assert states(Settings(home=tmp_path, store=f"s3://{account.bucket}"))["role"] == FAIL


def test_an_image_by_tag_or_digest(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account()
    repository = account.image.rpartition(":")[0]

    def image(uri: str) -> str:
        return states(of(account, tmp_path, image=uri))["image"]

    digest = aws.client("ecr").describe_images(repositoryName="swatch")["imageDetails"][0]["imageDigest"]
    assert image(account.image) == image(repository) == image(f"{repository}@{digest}") == OK
    assert image(f"{repository}:nope") == image(f"{repository}-nope:latest") == FAIL
    assert image("python:3.12") == FAIL
    assert image(account.image.replace("us-east-1", "eu-west-1")) == FAIL
    assert image("763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312") == UNKNOWN


def test_the_image_that_jobs_would_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, if it is there or can be made; else AWS' container, of which nobody can tell."""
    with with_registry(tmp_path) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        aws.forget()
        the_image_that_jobs_would_get(cloud, tmp_path, monkeypatch)
        aws.forget()


def the_image_that_jobs_would_get(cloud: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = cloud.make_account()
    docker = Fake(tmp_path / "docker", {})
    monkeypatch.setenv("SWATCH_DOCKER", "/nonexistent/docker")
    assert states(of(account, tmp_path, image=None))["image"] == UNKNOWN
    for name in ("SWATCH_DOCKER", "FAKE_DOCKER", "DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, docker.environment[name])
    found = looked(of(account, tmp_path, image=None))["image"]
    assert found.state == WARN and "swatch image push" in found.fix and docker.made("push") == []
    wanted = context()
    put(cloud, wanted.tag)
    found = looked(of(account, tmp_path, image=None))["image"]
    assert found.state == OK and found.said.endswith(f"/swatch:{wanted.tag}")


@pytest.mark.parametrize(
    ("counts", "needed", "warm", "state"),
    [
        ((4, 4, 0), True, False, OK),
        ((4, 4, 0), True, True, WARN),
        ((4, 0, 0), True, False, WARN),
        ((0, 4, 0), True, False, WARN),
        ((0, 0, 9), True, False, FAIL),
        ((0, 0, 0), False, False, WARN),
    ],
)
def test_what_a_quota_means(counts: tuple[int, int, int], needed: bool, warm: bool, state: str) -> None:
    kinds = dict(
        zip(account_checks.QUOTAS.values(), ((float(count), f"L-{n}") for n, count in enumerate(counts)), strict=True)
    )
    found = account_checks._quota("ml.g5.xlarge", kinds, needed, warm)
    assert found.state == state
    assert found.said == f"{counts[0]} on demand, {counts[1]} spot, {counts[2]} warm pool"
    assert ("request-service-quota-increase" in found.fix) == (state != OK)


def test_quotas_are_found_by_name_over_all_pages(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account()
    cloud.quotas.set("ml.g5.xlarge", 3)
    found = looked(of(account, tmp_path))
    assert found["quota ml.g5.xlarge"].said.startswith("3 on demand")
    assert {name for name in found if name.startswith("quota")} == {
        "quota ml.g5.xlarge",
        "quota ml.g6.xlarge",
        "quota ml.g4dn.xlarge",
    }
    assert looked(of(account, tmp_path), "ml.zz.1")["quota ml.zz.1"].state == UNKNOWN


def test_what_may_not_be_asked_is_unknown(cloud: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = cloud.make_account()
    with serving() as stub:
        stub.answers["DescribeBudgets"] = lambda _: (400, "AccessDeniedException", "no budgets:ViewBudget")
        stub.answers["ListServiceQuotas"] = lambda _: (400, "AccessDeniedException", "no")
        monkeypatch.setenv("AWS_ENDPOINT_URL_BUDGETS", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", stub.url)
        found = looked(of(account, tmp_path))
    assert found["budget"].state == UNKNOWN
    assert "policy" in found["budget"].fix
    assert found["quota"].state == UNKNOWN


@pytest.mark.parametrize(("off", "state"), [(0, OK), (100, WARN), (-100, WARN), (4000, FAIL)])
def test_the_clock_is_compared_with_aws(off: float, state: str, tmp_path: Path) -> None:
    here = Here(
        Settings(home=tmp_path, store="s3://x"), "1", "us-east-1", {"date": email.utils.formatdate(time.time() + off)}
    )
    (found,) = account_checks.clock(here)
    assert found.state == state
    (unknown,) = account_checks.clock(here._replace(headers={"date": "soon"}))
    assert unknown.state == UNKNOWN


def test_credentials_that_expire_soon_are_worth_a_word(cloud: Simulator, tmp_path: Path) -> None:
    minutes = 20
    script = tmp_path / "credentials"
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + minutes * 60))
    keys = {"Version": 1, "AccessKeyId": "AKIAX", "SecretAccessKey": "hush", "SessionToken": "t", "Expiration": until}
    script.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    script.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {script}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_CONFIG_FILE", str(config))
        aws.forget()
        account = cloud.make_account()
        found = looked(of(account, tmp_path))["credentials"]
    assert found.state == WARN
    assert "expire in" in found.said and "hush" not in found.said
    assert "aws sso login" in found.fix


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert local.store(Settings(home=tmp_path, store=str(tmp_path / "file" / "store"))).state == FAIL
    assert local.store(Settings(home=tmp_path, store=str(tmp_path / "new"))).state in (OK, WARN)
    assert not (tmp_path / "new").exists(), "looking makes nothing"


def test_docker_is_asked_as_jobs_will_ask_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(script: str | None) -> Check:
        program = tmp_path / "a-docker"
        program.unlink(missing_ok=True)
        monkeypatch.setenv("SWATCH_DOCKER", str(program))
        if script is not None:
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        return local.docker()

    answers = check("""echo '{"Version": "27.1", "Arch": "amd64"}'""")
    assert (answers.state, answers.said) == (OK, "Docker 27.1")
    stopped = check("echo Cannot connect to the Docker daemon >&2; exit 1")
    assert (stopped.state, stopped.said) == (WARN, "Docker does not answer: docker version")
    barred = check("echo permission denied while trying to connect to it >&2; exit 1")
    assert barred.state == WARN and "usermod" in barred.fix
    missing = check(None)
    assert (missing.state, missing.said) == (
        WARN,
        f"SWATCH_DOCKER is {tmp_path / 'a-docker'}, and there is no such program",
    )
    monkeypatch.setattr(engines, "PROBE_SECONDS", 0.1)
    assert check("exec sleep 1000").state == WARN


STORE = "s3://swatch/textures"
SUMMARY = {
    request.PROJECT_TAG: "forest",
    request.JOB_TAG: "alice/projects/forest/3",
    request.STORE_TAG: STORE,
}


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        (request.name(STORE, "forest", 3, 1), {}),
        (request.name(STORE, "forest", 3, 1), {**SUMMARY, request.STORE_TAG: "s3://swatch/other"}),
        (request.name(STORE, "forest", 3, 1), {**SUMMARY, request.PROJECT_TAG: "park"}),
        (request.name("s3://other", "forest", 3, 1), SUMMARY),
        ("swatch-something-of-theirs", SUMMARY),
        ("swatch-x-3-1", SUMMARY),
    ],
)
def test_what_is_not_known_to_be_ours_is_left_alone(name: str, tags: dict[str, str]) -> None:
    assert orphans.ours(orphans.Running(name, tags), STORE) is None


@pytest.mark.parametrize("project", ["forest", "a-1-2", "x" * 64, "2024", "a.b_c"])
def test_ours_are_known_by_name_and_tag(project: str) -> None:
    tags = {**SUMMARY, request.PROJECT_TAG: project}
    found = orphans.ours(orphans.Running(request.name(STORE, project, 31, 12), tags), STORE)
    assert found is not None
    assert (found.project, found.number, found.job) == (project, 31, "alice/projects/forest/3")


def running(account: Simulated, number: int, tags: dict[str, str]) -> str:
    """A training job that does not end by itself."""
    name = request.name(STORE, "forest", number, 1)
    aws.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=account.role,
        AlgorithmSpecification={
            "TrainingImage": account.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["tail", "-f", "/dev/null"],
        },
        OutputDataConfig={"S3OutputPath": f"{STORE}/out/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    return name


def test_orphans_are_found_and_stopped_and_nobody_else(cloud: Simulator, box: Box) -> None:
    account = cloud.make_account()
    store = open_store(STORE)
    known, lost, foreign = (
        running(account, 1, SUMMARY),
        running(account, 2, SUMMARY),
        running(account, 3, {**SUMMARY, request.STORE_TAG: "s3://swatch/other"}),
    )
    store.create(contract.job_key("forest", 1), b"{}")
    box.environment.update((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    (found,) = orphans.find(store)
    assert found.name == lost
    text = box.swatch("doctor", "--orphans", "--store", STORE)
    assert lost in text and known not in text and foreign not in text
    assert "alice/projects/forest/3" in text and "--yes" in text
    assert {cloud.describe(name)["TrainingJobStatus"] for name in (known, lost, foreign)} == {"InProgress"}
    said = box.json("doctor", "--orphans", "--yes", "--store", STORE)
    assert said["stopped"] == [lost]
    cloud.wait_for(lost, "Stopping", "Stopped")
    assert {cloud.describe(name)["TrainingJobStatus"] for name in (known, foreign)} == {"InProgress"}
    assert "No orphans" in box.swatch("doctor", "--orphans", "--store", STORE)
    cloud.wait_for(lost)
    assert not orphans.stop(found), "it has ended meanwhile"


def test_orphans_need_a_store_on_s3(box: Box) -> None:
    assert "store on S3" in box.swatch("doctor", "--orphans", code=2)
    assert "--orphans" in box.swatch("doctor", "--yes", code=2)
