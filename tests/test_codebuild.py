"""Building on AWS: the requests against AWS' own model, what is done in which state of the account, and a real build that
the simulator's CodeBuild runs with a real engine."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import account, aws, codebuild, registry
from orchestrator.backends.sagemaker import model
from orchestrator.cargo import image
from orchestrator.cargo.image import Context
from orchestrator.codebuild import BuildFailed
from orchestrator.errors import CloudError, Denied, UsageError
from orchestrator.registry import Registry
from orchestrator.settings import Aws, Settings
from orchestrator.simulator import Simulator
from orchestrator.simulator.buildspec import parse
from orchestrator.store import Store, open_store
from orchestrator.store.local import LocalStore
from tests.account import Account
from tests.aws_stub import Stub, serving
from tests.daemon import BASE, Daemon
from tests.test_image_jobs import put, with_registry

ID = "123456789012"
WHERE = Registry(f"{ID}.dkr.ecr.us-east-1.amazonaws.com", "swatch", "us-east-1")
ROLE = f"arn:aws:iam::{ID}:role/swatch"
OF_AWS = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
SMALL = Context(BASE, {"Dockerfile": b"ARG BASE\nFROM ${BASE}\nARG VERSION\nCOPY hello /hello\n", "hello": b"there\n"})

# What is asked for.


def test_the_project_is_as_aws_takes_it() -> None:
    wanted = codebuild.project("studio/images", ROLE)
    model.check("CreateProject", wanted, "codebuild")
    assert wanted["name"] == "swatch-studio-images" and wanted["environment"]["privilegedMode"] is True
    assert wanted["serviceRole"] == f"{ROLE}-build"
    assert codebuild.role(f"arn:aws:iam::{ID}:role/path/to/mine") == f"arn:aws:iam::{ID}:role/mine-build"


@given(st.from_regex(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) <= 256))
def test_any_repository_has_a_project(repository: str) -> None:
    model.check("CreateProject", codebuild.project(repository, ROLE), "codebuild")


def test_a_project_that_serves_is_left_as_a_person_changed_it() -> None:
    wanted = codebuild.project("swatch", ROLE)
    larger = {**wanted, "timeoutInMinutes": 300, "environment": {**wanted["environment"], "computeType": "LARGE"}}
    assert codebuild.mended(wanted, wanted) is None and codebuild.mended(larger, wanted) is None
    plain = {**larger, "environment": {**larger["environment"], "privilegedMode": False}}
    change = codebuild.mended(plain, wanted)
    assert change is not None
    assert change["environment"] == {**larger["environment"], "privilegedMode": True}
    other = codebuild.mended({**wanted, "serviceRole": "another"}, wanted)
    assert other is not None and other["serviceRole"] == wanted["serviceRole"]
    model.check("UpdateProject", other, "codebuild")


def test_a_build_builds_as_this_computer_does_and_pushes() -> None:
    wanted = image.context()
    asked = codebuild.request(WHERE, wanted, "bucket/swatch/images/x.zip", 2)
    model.check("StartBuild", asked, "codebuild")
    spec = parse(asked["buildspecOverride"])
    (login,) = spec.phases["pre_build"].commands
    assert login == (
        f"aws ecr get-login-password --region us-east-1 | docker login -u AWS --password-stdin {WHERE.host}"
    )
    _, build, push = spec.phases["build"].commands
    uri = WHERE.uri(wanted.tag)
    assert push == f"docker push {uri}"
    command, _, source = build.partition(" < ")
    assert shlex.split(command) == ["docker", "build", *image.build_words(wanted, uri)] and source == "context.tar"
    assert asked["idempotencyToken"] == f"{wanted.tag}-2"


def test_a_base_of_aws_has_its_sign_in_too() -> None:
    spec = parse(codebuild.buildspec(WHERE, image.context(f"{OF_AWS}/tensorflow-training:2.21-gpu-py312")))
    hosts = [line.rpartition(" ")[2] for line in spec.phases["pre_build"].commands]
    assert hosts == [WHERE.host, OF_AWS]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_no_name_of_a_base_is_a_command(base: str) -> None:
    build = parse(codebuild.buildspec(WHERE, Context(base, {}))).phases["build"].commands[1]
    assert f"BASE={base}" in shlex.split(build.rpartition(" < ")[0])


def test_the_source_is_the_context_byte_for_byte() -> None:
    wanted = image.context()
    assert codebuild.packed(wanted) == codebuild.packed(image.context())
    with zipfile.ZipFile(io.BytesIO(codebuild.packed(wanted))) as archive:
        assert archive.namelist() == ["context.tar"]
        inside = archive.read("context.tar")
    assert inside == wanted.packed()
    with tarfile.open(fileobj=io.BytesIO(inside)) as packed:
        assert {one.name for one in packed if one.isfile()} == set(wanted.files)


# What is done. CodeBuild and its log are played by a stub, the bucket by moto.


class Played:
    """CodeBuild as far as it is asked here: a project, builds, and the log of the last one."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.projects: list[dict[str, Any]] = []
        self.builds: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.looks: list[dict[str, Any]] = []  # what the build is like at each look, in order; the last one stays
        stub.answers = {
            "BatchGetProjects": lambda asked: {"projects": self.projects},
            "CreateProject": self.create,
            "UpdateProject": lambda asked: {"project": asked},
            "ListBuildsForProject": lambda asked: {"ids": [one["id"] for one in self.builds][::-1]},
            "BatchGetBuilds": self.get,
            "StartBuild": self.start,
            "StopBuild": lambda asked: {"build": self.builds[-1]},
            "GetLogEvents": self.log,
        }

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [members for name, members in self.stub.asked if name == operation]

    def create(self, asked: dict[str, Any]) -> Any:
        self.projects.append(asked)
        return {"project": asked}

    def start(self, asked: dict[str, Any]) -> Any:
        made = {
            "id": f"swatch-swatch:{len(self.builds) + 1}",
            "buildStatus": "IN_PROGRESS",
            "currentPhase": "QUEUED",
            "environment": {
                "type": "LINUX_CONTAINER",
                "image": "x",
                "computeType": "BUILD_GENERAL1_MEDIUM",
                "environmentVariables": asked["environmentVariablesOverride"],
            },
        }
        self.builds.append(made)
        return {"build": made}

    def get(self, asked: dict[str, Any]) -> Any:
        if self.looks:
            self.builds[-1].update(self.looks.pop(0))
        return {"builds": [one for one in self.builds if one["id"] in asked["ids"]]}

    def log(self, asked: dict[str, Any]) -> Any:
        if not self.lines:
            return (400, "ResourceNotFoundException", "The specified log stream does not exist.")
        at = int(asked.get("nextToken", "0"))
        page = self.lines[at : at + 2]
        events = [{"timestamp": 1, "message": f"{line}\n"} for line in page]
        return {"events": events, "nextForwardToken": str(at + len(page)), "nextBackwardToken": "0"}


@pytest.fixture
def played(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    with serving() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODEBUILD", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", stub.url)
        aws.forget()
        yield Played(stub)


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"s3://{bucket}/textures")


def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, store="", aws=Aws(role=ROLE))


def test_the_first_build_makes_its_project_and_sends_its_source(played: Played, store: Store, tmp_path: Path) -> None:
    begun = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    assert not begun.adopted and not begun.over
    assert played.asked("CreateProject") == [codebuild.project("swatch", ROLE)]
    key = f"images/{SMALL.tag}.zip"
    assert store.read(key) == codebuild.packed(SMALL)
    (asked,) = played.asked("StartBuild")
    assert asked == codebuild.request(WHERE, SMALL, f"{store.url.removeprefix('s3://')}/{key}", 0)


def test_a_build_that_is_under_way_is_followed_and_never_a_second(played: Played, store: Store, tmp_path: Path) -> None:
    first = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    again = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    assert again.adopted and again.id == first.id and len(played.asked("StartBuild")) == 1
    other = codebuild.begin(settings(tmp_path), store, WHERE, SMALL._replace(base="other"))
    assert not other.adopted and other.id != first.id, "another image is another build"


def test_after_a_failed_build_the_next_is_a_new_one(played: Played, store: Store, tmp_path: Path) -> None:
    codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    played.builds[-1]["buildStatus"] = "FAILED"
    codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    tokens = [asked["idempotencyToken"] for asked in played.asked("StartBuild")]
    assert tokens == [f"{SMALL.tag}-0", f"{SMALL.tag}-1"], "the same would bring the failed one back"


def test_two_that_make_the_project_at_once_get_along(played: Played, store: Store, tmp_path: Path) -> None:
    played.stub.answers["CreateProject"] = lambda asked: (400, "ResourceAlreadyExistsException", "there already")
    assert codebuild.begin(settings(tmp_path), store, WHERE, SMALL).id


def test_a_project_without_docker_is_mended(played: Played, store: Store, tmp_path: Path) -> None:
    wanted = codebuild.project("swatch", ROLE)
    played.projects = [{**wanted, "environment": {**wanted["environment"], "privilegedMode": False}}]
    codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    (change,) = played.asked("UpdateProject")
    assert change["environment"]["privilegedMode"] is True and not played.asked("CreateProject")


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        (
            ("InvalidInputException", "CodeBuild is not authorized to perform: sts:AssumeRole on service role."),
            "setup aws",
        ),
        (("AccessDeniedException", "User: x is not authorized"), "policy to attach"),
    ],
)
def test_what_is_missing_in_the_account_is_said(
    played: Played, store: Store, tmp_path: Path, refusal: tuple[str, str], hint: str
) -> None:
    played.stub.answers["StartBuild"] = lambda asked: (400, *refusal)
    with pytest.raises(CloudError) as caught:
        codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    assert caught.value.hint is not None and hint in caught.value.hint
    assert isinstance(caught.value, Denied) == ("Denied" in refusal[0])


def test_a_store_that_codebuild_cannot_reach_and_no_role(played: Played, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot reach"):
        codebuild.begin(settings(tmp_path), LocalStore(str(tmp_path)), WHERE, SMALL)
    with pytest.raises(UsageError, match=r"no aws\.role"):
        codebuild.begin(Settings(home=tmp_path, store=""), store, WHERE, SMALL)
    assert played.stub.asked == []


LOG = {"groupName": "/aws/codebuild/swatch-swatch", "streamName": "1"}


def test_a_log_streams_while_it_grows(played: Played, store: Store, tmp_path: Path) -> None:
    begun = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    told: list[str] = []

    def grow(seconds: float) -> None:
        played.lines += [f"line {len(played.lines) + number}" for number in range(3)]

    phases = [{"phaseType": name} for name in ("QUEUED", "PRE_BUILD", "BUILD", "COMPLETED")]
    played.looks = [
        {"phases": phases[:1], "logs": {}},
        {"phases": phases[:3], "logs": LOG},
        {"phases": phases[:3], "logs": LOG},
        {"phases": phases, "buildStatus": "SUCCEEDED", "logs": LOG},
    ]
    done = codebuild.follow(begun, told.append, lambda name: told.append(f"== {name}"), grow)
    lines = [f"line {number}" for number in range(9)]
    assert told == ["== QUEUED", "== PRE_BUILD", "== BUILD", *lines[:6], "== COMPLETED", *lines[6:]]
    assert done.status == "SUCCEEDED"


def test_a_build_that_codebuild_does_not_know_of_is_an_error_of_one_line(played: Played, tmp_path: Path) -> None:
    """Just begun, or a year ago."""
    with pytest.raises(CloudError, match="CodeBuild knows of no build swatch-swatch:7"):
        codebuild.look(codebuild.Build("swatch-swatch:7", "IN_PROGRESS"))


def test_a_failed_build_says_its_phase_and_its_last_lines(played: Played, store: Store, tmp_path: Path) -> None:
    begun = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    played.lines = [f"line {number}" for number in range(50)]
    said = "Error while executing command: docker build. Reason: exit status 1"
    phases = [
        {"phaseType": "PRE_BUILD", "phaseStatus": "SUCCEEDED"},
        {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [{"statusCode": "E", "message": said}]},
        {"phaseType": "COMPLETED"},
    ]
    played.looks = [{"currentPhase": "COMPLETED", "buildStatus": "FAILED", "phases": phases, "logs": LOG}]
    with pytest.raises(BuildFailed, match="BUILD: Error while executing command") as caught:
        codebuild.follow(begun, lambda line: None, lambda name: None, lambda seconds: None)
    assert caught.value.said == tuple(f"line {number}" for number in range(30, 50))
    assert caught.value.hint is not None and LOG["groupName"] in caught.value.hint
    codebuild.stop(begun)
    assert played.asked("StopBuild") == [{"id": begun.id}]


@pytest.mark.parametrize("status", ["FAULT", "STOPPED", "TIMED_OUT"])
def test_a_build_that_ends_otherwise_says_how(played: Played, store: Store, tmp_path: Path, status: str) -> None:
    begun = codebuild.begin(settings(tmp_path), store, WHERE, SMALL)
    played.looks = [{"currentPhase": "COMPLETED", "buildStatus": status}]
    with pytest.raises(BuildFailed, match=status):
        codebuild.follow(begun, lambda line: None, lambda name: None, lambda seconds: None)


# On the command line, and for real.


def test_an_image_that_is_pushed_is_not_built(tmp_path: Path) -> None:
    with with_registry(tmp_path) as cloud:
        box = Account(tmp_path, cloud)
        uri = put(cloud, image.context().tag)
        assert f"{uri} is there already: nothing to build" in box.swatch("image", "build", "--remote")
        assert box.json("image", "build", "--remote")["built"] is False
        assert not [name for name in cloud.calls if name.startswith("codebuild:")]


def role_of_builds(cloud: Simulator) -> None:
    """What `swatch setup aws` makes for builds."""
    made = account.Account(ID, "us-east-1", "swatch", "studio", "swatch", "swatch", "763104351884")
    trust = json.dumps(account.trust(made, account.CODEBUILD))
    cloud.client("iam").create_role(RoleName=made.build_role, AssumeRolePolicyDocument=trust)


@pytest.fixture
def real(daemon: Daemon, tmp_path: Path) -> Iterator[Account]:
    """A computer without Docker, and an account that builds."""
    with Simulator(docker=daemon.docker, registry=daemon.registry) as cloud:
        role_of_builds(cloud)
        yield Account(tmp_path, cloud)


def test_a_real_build_is_pushed_and_runs(real: Account, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in real.aws.environment().items():
        monkeypatch.setenv(name, value)
    aws.forget()
    found = Settings(home=real.home, store="s3://swatch/studio", aws=Aws(role=ROLE))
    where = registry.find(found)
    told: list[str] = []
    begun = codebuild.begin(found, open_store(found.store), where, SMALL)
    codebuild.follow(begun, told.append, told.append)
    assert "BUILD" in told and any("COPY hello" in line for line in told)
    there = registry.pushed(where, SMALL.tag)
    assert there is not None and there.digest in "\n".join(told)
    with daemon.docker.signed_in(where.host, "AWS", registry.login().password) as docker:
        docker.ask("pull", where.uri(SMALL.tag), doing="pulling")
    pulled = daemon.docker.image(where.uri(SMALL.tag))
    assert pulled is not None and pulled.labels[image.LABEL] == "own"
    aws.forget()


def test_a_real_build_that_fails_is_exit_code_1_with_its_last_words(real: Account) -> None:
    said = real.swatch("image", "build", "--remote", "--base", "nosuch.invalid/base:1", code=1)
    assert "== BUILD" in said and "nosuch.invalid/base:1" in said
    assert "BUILD: Error while executing command: docker build" in said
    assert "exit status 1" in said


def test_ctrl_c_leaves_the_build_and_a_second_one_stops_it(real: Account, daemon: Daemon) -> None:
    process = real.start("image", "build", "--remote", "--base", BASE)
    assert process.stderr is not None
    assert "has started" in process.stderr.readline()
    (first,) = real.aws.client("codebuild").list_builds_for_project(projectName="swatch-swatch")["ids"]
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if "Ctrl-C once more" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "The build is stopped" in err and "Traceback" not in err
    (build,) = real.aws.client("codebuild").batch_get_builds(ids=[first])["builds"]
    assert build["buildStatus"] in ("IN_PROGRESS", "STOPPED", "FAILED")


def test_the_yaml_of_a_buildspec_has_lines() -> None:
    """CodeBuild takes a text of one line for the name of a file."""
    text = codebuild.project("swatch", ROLE)["source"]["buildspec"]
    assert "\n" in text.strip() and yaml.safe_load(text)["version"] == 0.2
