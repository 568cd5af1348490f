"""CodeBuild in the account: builds that truly run, with a real engine at hand."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator import ManualClock, Simulator
from orchestrator.simulator.buildspec import PHASES, SpecError, parse
from tests.daemon import BASE, Daemon
from tests.pushing import host
from tests.simulator.conftest import refused


class Yard(Simulator):
    """An account with a role for builds, and a project."""

    def start(self) -> None:
        super().start()
        self.build, self.ecr = self.client("codebuild"), self.client("ecr")
        self.client("s3").create_bucket(Bucket="sources")
        trust = {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        self.role = self.client("iam").create_role(RoleName="builder", AssumeRolePolicyDocument=document)["Role"]["Arn"]

    def project(self, name: str = "forge", **changes: Any) -> dict[str, Any]:
        environment = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0"}
        environment |= {"computeType": "BUILD_GENERAL1_SMALL"}
        return {
            "name": name,
            "source": {"type": "NO_SOURCE", "buildspec": spec(build=["true"])},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {**environment, "privilegedMode": True},
            "serviceRole": self.role,
            **changes,
        }

    def begin(self, **changes: Any) -> str:
        if not self.build.list_projects()["projects"]:
            self.build.create_project(**self.project())
        return str(self.build.start_build(projectName="forge", **changes)["build"]["id"])

    def look(self, build: str) -> dict[str, Any]:
        (found,) = self.build.batch_get_builds(ids=[build])["builds"]
        return dict(found)

    def run(self, **changes: Any) -> dict[str, Any]:
        """A build from its start to its end."""
        build = self.begin(**changes)
        self.wait(lambda: self.look(build)["buildComplete"])
        return self.look(build)

    def said(self, build: dict[str, Any]) -> list[str]:
        """The log, without the time in the lines of CodeBuild's own."""
        place = {"logGroupName": build["logs"]["groupName"], "logStreamName": build["logs"]["streamName"]}
        events = self.client("logs").get_log_events(**place, startFromHead=True)["events"]
        lines = [event["message"] for event in events]
        return [" ".join(line.split(" ")[3:]) if line.startswith("[Container] ") else line for line in lines]

    def put(self, key: str, files: dict[str, str]) -> str:
        """A source of these files; its location."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        self.client("s3").put_object(Bucket="sources", Key=key, Body=packed.getvalue())
        return f"sources/{key}"


def spec(variables: dict[str, str] | None = None, **phases: list[str]) -> str:
    """A buildspec of these commands by phase. JSON is YAML, too; a buildspec inline has more than a line."""
    read = {name: {"commands": commands} for name, commands in phases.items()}
    return json.dumps({"version": 0.2, "env": {"variables": variables or {}}, "phases": read}, indent=1)


def phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


@pytest.fixture
def yard(daemon: Daemon) -> Iterator[Yard]:
    with Yard(docker=daemon.docker, registry=daemon.registry) as aws:
        yield aws


def test_an_image_is_built_from_s3_and_pushed(yard: Yard) -> None:
    yard.ecr.create_repository(repositoryName="forest", imageTagMutability="IMMUTABLE")
    location = yard.put("context.zip", {"Dockerfile": f"FROM {BASE}\nCOPY said /\nRUN cat /said\n", "said": "hello\n"})
    login = "aws ecr get-login-password --region $AWS_REGION | docker login --username AWS --password-stdin $HOST"
    commands = {
        "pre_build": [login],
        "build": ["cd .", 'DOCKER_BUILDKIT=1 docker build --progress plain --tag "$HOST/forest:$TAG" .'],
        "post_build": ['docker push "$HOST/forest:$TAG"'],
    }
    build = yard.run(
        sourceTypeOverride="S3",
        sourceLocationOverride=location,
        buildspecOverride=spec({"TAG": "none"}, **commands),
        environmentVariablesOverride=[{"name": "HOST", "value": host(yard)}, {"name": "TAG", "value": "1"}],
    )
    said = yard.said(build)
    assert build["buildStatus"] == "SUCCEEDED", said
    assert list(phases(build)) == [
        *("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"),
        *("UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED"),
    ]
    assert "Login Succeeded" in said and f"Running command {login}" in said
    assert any(line.endswith(" hello") for line in said), "the log of the build itself"
    (shown,) = yard.ecr.describe_images(repositoryName="forest")["imageDetails"]
    assert shown["imageTags"] == ["1"]


def test_commands_of_a_build_share_a_shell_and_its_variables(yard: Yard) -> None:
    commands = {
        "install": ["export FIRST=1", "cd /tmp"],
        "pre_build": ["echo $FIRST $PWD $COLOUR $SIZE", "printf 'no end'"],
        "build": ["echo two\necho lines"],
    }
    build = yard.run(
        buildspecOverride=spec({"COLOUR": "red", "SIZE": "3"}, **commands),
        environmentVariablesOverride=[{"name": "COLOUR", "value": "green's"}],
    )
    said = yard.said(build)
    assert build["buildStatus"] == "SUCCEEDED", said
    assert [line for line in said if line in ("1 /tmp green's 3", "two", "lines")] == [
        "1 /tmp green's 3",
        "two",
        "lines",
    ]


def test_a_command_that_fails_ends_its_phase_and_the_build(yard: Yard) -> None:
    build = yard.run(buildspecOverride=spec(build=["echo before", "exit 3", "echo after"], post_build=["echo at last"]))
    said = yard.said(build)
    assert build["buildStatus"] == "FAILED" and phases(build)["BUILD"] == "FAILED"
    assert phases(build)["POST_BUILD"] == "SUCCEEDED", "what comes after `build` runs even so"
    (failed,) = [phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED"]
    (context,) = failed["contexts"]
    assert context["statusCode"] == "COMMAND_EXECUTION_ERROR"
    assert context["message"] == "Error while executing command: exit 3. Reason: exit status 3"
    assert "before" in said and "at last" in said and "after" not in said
    build = yard.run(buildspecOverride=spec(pre_build=["false"], build=["echo never"], post_build=["echo never"]))
    assert build["buildStatus"] == "FAILED" and "BUILD" not in phases(build)


def test_stopping_ends_the_commands(yard: Yard) -> None:
    build = yard.begin(buildspecOverride=spec(build=["echo on", "sleep 1000"], post_build=["echo never"]))
    yard.wait(lambda: "on" in yard.said(yard.look(build)))
    assert yard.build.list_builds_for_project(projectName="forge")["ids"] == [build]
    assert yard.look(build)["buildStatus"] == "IN_PROGRESS" and yard.look(build)["currentPhase"] == "BUILD"
    yard.build.stop_build(id=build)
    yard.wait(lambda: yard.look(build)["buildComplete"])
    ended = yard.look(build)
    assert ended["buildStatus"] == "STOPPED" and "never" not in yard.said(ended)


def test_a_build_that_takes_too_long_is_ended(daemon: Daemon) -> None:
    with Yard(ManualClock(1_800_000_000.0), docker=daemon.docker, registry=daemon.registry) as yard:
        build = yard.begin(buildspecOverride=spec(build=["echo on", "sleep 1000"]), timeoutInMinutesOverride=5)
        yard.wait(lambda: "on" in yard.said(yard.look(build)))
        yard.advance(300)
        yard.wait(lambda: yard.look(build)["buildComplete"])
        assert yard.look(build)["buildStatus"] == "TIMED_OUT"


def test_docker_is_there_for_privileged_builds_only(yard: Yard) -> None:
    build = yard.run(buildspecOverride=spec(build=["docker version"]), privilegedModeOverride=False)
    assert build["buildStatus"] == "FAILED"
    assert any("Cannot connect to the Docker daemon" in line for line in yard.said(build))


@pytest.mark.parametrize(
    ("files", "key", "message"),
    [
        ({"buildspec.yml": "version: 0.2\nphases: [1]\n"}, "context.zip", "phases: expected a mapping"),
        ({"other": ""}, "context.zip", "buildspec.yml: no such file or directory"),
        ({}, "nothing.zip", "NoSuchKey"),
    ],
)
def test_a_source_that_cannot_be_used_is_said(yard: Yard, files: dict[str, str], key: str, message: str) -> None:
    yard.put("context.zip", files)
    yard.build.create_project(**yard.project(source={"type": "S3", "location": f"sources/{key}"}))
    build = yard.run()
    (failed,) = [phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED"]
    assert build["buildStatus"] == "FAILED" and failed["phaseType"] == "DOWNLOAD_SOURCE"
    assert message in failed["contexts"][0]["message"]


def test_the_end_of_the_account_is_the_end_of_its_builds(daemon: Daemon) -> None:
    with Yard(docker=daemon.docker, registry=daemon.registry) as yard:
        build = yard.begin(buildspecOverride=spec(build=["echo on", "sleep 1000"]))
        yard.wait(lambda: "on" in yard.said(yard.look(build)))
        folder = yard._folder
    assert not folder.exists()


def test_projects_are_made_found_and_changed() -> None:
    with Yard() as yard:
        made = yard.build.create_project(**yard.project())["project"]
        assert made["arn"] == "arn:aws:codebuild:us-east-1:123456789012:project/forge"
        said = refused(yard.build.create_project, **yard.project())
        assert said.startswith("ResourceAlreadyExistsException: Project already exists: arn:aws:codebuild:")
        yard.build.update_project(name="forge", timeoutInMinutes=30)
        found = yard.build.batch_get_projects(names=["forge", "other"])
        assert [one["timeoutInMinutes"] for one in found["projects"]] == [30]
        assert found["projectsNotFound"] == ["other"]
        yard.build.delete_project(name="forge")
        assert yard.build.list_projects()["projects"] == []
        assert "ResourceNotFoundException" in refused(yard.build.stop_build, id="forge:1")


def test_what_codebuild_refuses_is_refused() -> None:
    with Yard() as yard:
        stranger = yard.project(serviceRole="arn:aws:iam::123456789012:role/stranger")
        said = refused(yard.build.create_project, **stranger)
        assert said.startswith("InvalidInputException: CodeBuild is not authorized to perform: sts:AssumeRole")
        said = refused(yard.build.create_project, **yard.project(source={"type": "NO_SOURCE"}))
        assert "NO_SOURCE requires a buildspec" in said
        said = refused(yard.build.create_project, **yard.project("a b"))
        assert "failed to satisfy constraint: Member must satisfy regular expression pattern" in said


def test_without_docker_nothing_is_built_or_pushed() -> None:
    with Yard() as yard:
        yard.build.create_project(**yard.project())
        said = refused(yard.build.start_build, projectName="forge")
        assert said == (
            "InvalidInputException: The simulated account builds nothing, having no Docker: swatch simulate --docker"
        )
        said = refused(yard.ecr.get_authorization_token)
        assert said.endswith("The simulated account has no registry: swatch simulate --docker")


# Buildspecs

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(
    st.text(max_size=60)
    | st.fixed_dictionaries({"version": st.just(0.2), "env": ANYTHING, "phases": ANYTHING}).map(json.dumps)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        assert set(parse(text).phases) == set(PHASES)


@given(st.dictionaries(st.sampled_from(PHASES), st.lists(st.text("ab c'\"\n$", min_size=1), min_size=1), min_size=1))
def test_commands_are_read_byte_for_byte(commands: dict[str, list[str]]) -> None:
    found = parse(spec(None, **commands))
    assert {name: list(phase.commands) for name, phase in found.phases.items() if phase.commands} == commands
