"""Which image a job runs in: the choice, and that it gets there; on moto's ECR with a stand-in for Docker, and with a real
engine and registry."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import aws, foundry, registry
from orchestrator.cargo import image
from orchestrator.errors import Denied, NoDocker, SwatchError, UsageError
from orchestrator.foundry import Chosen, Kind, Order, Way
from orchestrator.registry import Registry
from orchestrator.settings import Aws, Settings
from orchestrator.settings import Docker as DockerSettings
from tests.daemon import BASE, Daemon
from tests.fake_docker import Fake
from tests.test_registry import HOST, put

OF_AWS = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"
OURS = image.context()


def lines() -> list[str]:
    return []


@pytest.fixture
def settings(bucket: str, tmp_path: Path) -> Settings:
    """Of an account whose repository is yet to be made."""
    return Settings(home=tmp_path, store=f"s3://{bucket}", aws=Aws(repository=bucket))


@pytest.fixture
def where(settings: Settings) -> Registry:
    made = registry.find(settings)
    registry.ensure(made)
    return made


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A Docker on this computer, which builds and pushes by word alone."""
    fake = Fake(tmp_path / "docker", {})
    for name in ("SWATCH_DOCKER", "FAKE_DOCKER", "DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, fake.environment[name])
    return fake


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATCH_DOCKER", "/nonexistent/docker")


def choose(settings: Settings, wanted: str | None = None, env: str | None = None, **more: Any) -> Chosen:
    return foundry.choose(settings, "sagemaker", wanted, env, "gpu", **more)


def signed_in(address: str) -> dict[str, Any]:
    """What a registry at that address is told of by GetAuthorizationToken; the password is `x`."""
    expires = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return {"authorizationToken": "QVdTOng=", "proxyEndpoint": address, "expiresAt": expires}


# The words


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (None, Kind.NONE),
        ("swatch", Kind.OWN),
        ("aws", Kind.AWS),
        ("Dockerfile", Kind.FOLDER),
        ("./docker", Kind.FOLDER),
        ("docker/", Kind.FOLDER),
        (".", Kind.FOLDER),
        ("..", Kind.FOLDER),
        ("~/x", Kind.FOLDER),
        ("/a/b", Kind.FOLDER),
        ("gpu/Dockerfile", Kind.FOLDER),
        ("gpu.Dockerfile", Kind.FOLDER),
        ("Dockerfile.gpu", Kind.FOLDER),
        ("mine:1", Kind.URI),
        ("swatch:1", Kind.URI),
        ("pytorch/pytorch:2", Kind.URI),
        (OF_AWS, Kind.URI),
        (f"{HOST}/dockerfile:1", Kind.URI),
    ],
)
def test_what_an_image_is_given_as(wanted: str | None, kind: Kind) -> None:
    assert foundry.kind(wanted) is kind


@given(st.text(max_size=40))
def test_any_text_is_of_some_kind(text: str) -> None:
    assert foundry.kind(text) in Kind


@pytest.mark.parametrize("pushed", [True, False])
@pytest.mark.parametrize("repository", [True, False])
@pytest.mark.parametrize("builds", [True, False])
@pytest.mark.parametrize("insisted", [True, False])
def test_the_way_of_our_own_image(pushed: bool, repository: bool, builds: bool, insisted: bool) -> None:
    found = foundry.way(pushed, repository, builds, insisted)
    assert (found is Way.THERE) == pushed, "what is there is never made again"
    assert not insisted or found is not Way.INSTEAD, "who asks for it gets it, or an error"
    if not pushed and not insisted:
        assert (found is Way.MAKE) == (repository and builds)


# SageMaker


def test_what_is_pushed_already_costs_one_request_and_no_docker(
    settings: Settings, where: Registry, docker: Fake
) -> None:
    put(where, OURS.tag)
    asked: list[str] = []
    aws.client("ecr").meta.events.register("before-call", lambda model, **_: asked.append(model.name))
    chosen = choose(settings)
    told = lines()
    assert chosen.uri == chosen.ready(told.append) == where.uri(OURS.tag) and chosen.note == ""
    # Where the registry is follows from the role on AWS; moto is asked.
    assert asked == ["GetAuthorizationToken", "DescribeImages"]
    assert docker.calls == [] and told == []


def test_where_docker_builds_ours_is_built_and_pushed_once(settings: Settings, where: Registry, docker: Fake) -> None:
    chosen = choose(settings)
    assert chosen.uri == where.uri(OURS.tag) and "--image aws" in chosen.note
    assert docker.made("push") == [] and docker.made("buildx") == [["buildx", "version"]], "choosing makes nothing"
    told = lines()
    assert chosen.ready(told.append) == chosen.uri
    assert docker.made("push") == [["push", chosen.uri]]
    (build,) = [words for words in docker.made("buildx") if words[1] == "build"]
    assert OURS.name in build and any("packages" in line for line in told)
    put(where, OURS.tag)
    assert choose(settings).ready(told.append) == chosen.uri
    assert len(docker.made("push")) == 1


def test_without_a_docker_it_is_awss_container(settings: Settings, where: Registry, no_docker: None) -> None:
    assert choose(settings)[::2] == (OF_AWS, "")


def test_before_there_is_a_repository_it_is_awss_container(settings: Settings, docker: Fake) -> None:
    assert choose(settings).uri == OF_AWS and docker.calls == []


def test_an_account_without_a_registry_goes_on_as_ever(settings: Settings, docker: Fake) -> None:
    with Stubber(aws.client("ecr")) as replies:
        for _ in range(2):
            replies.add_client_error("get_authorization_token", "AccessDeniedException", "no registry here")
        assert choose(settings)[::2] == (OF_AWS, "")
        with pytest.raises(SwatchError, match="no registry here"):
            choose(settings, "swatch")


def test_who_may_not_look_gets_awss_container_and_is_told(settings: Settings, where: Registry, docker: Fake) -> None:
    token = signed_in(f"https://{HOST}")
    with Stubber(aws.client("ecr")) as replies:
        for _ in range(2):
            replies.add_response("get_authorization_token", {"authorizationData": [token]})
            replies.add_client_error("describe_images", "AccessDeniedException", "User x is not authorized")
        chosen = choose(settings)
        assert chosen.uri == OF_AWS and "not permitted" in chosen.note and "AWS' container" in chosen.note
        with pytest.raises(Denied):
            choose(settings, "swatch")


def test_insisted_on_ours_is_made_with_its_repository_or_says_why_not(
    settings: Settings, docker: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose(settings, "swatch")
    assert chosen.uri is not None and chosen.uri.endswith(f":{OURS.tag}")
    chosen.ready(lines().append)
    assert docker.made("push") == [["push", chosen.uri]]
    assert aws.client("ecr").describe_repositories(repositoryNames=[settings.aws.repository])["repositories"]
    monkeypatch.setenv("SWATCH_DOCKER", "/nonexistent/docker")
    with pytest.raises(NoDocker, match="there is no such program"):
        choose(settings, "swatch").ready(lines().append)


def test_another_build_of_the_same_that_was_first_serves(settings: Settings, where: Registry, docker: Fake) -> None:
    chosen = choose(settings)
    taken = (
        "tag invalid: The image tag already exists in the repository and cannot be overwritten: the tag is immutable."
    )
    (docker.folder / "pushes").write_text(f"{taken}\n{taken}\n")
    with pytest.raises(SwatchError, match="never change"):
        chosen.ready(lines().append)  # nobody has
    pushes = len(docker.made("push"))
    put(where, OURS.tag)
    assert chosen.ready(lines().append) == chosen.uri and len(docker.made("push")) == pushes


def test_the_words_and_the_environment(settings: Settings, where: Registry, docker: Fake) -> None:
    assert choose(settings, "aws").uri == OF_AWS
    assert str(choose(settings, env="pytorch-2.8").uri).endswith("/pytorch-training:2.8-gpu-py312")
    with pytest.raises(UsageError, match="both say what the job runs in"):
        choose(settings, "aws", "pytorch-2.8")
    assert docker.calls == []


def test_the_configurations_image_counts_where_nothing_is_said(
    settings: Settings, docker: Fake, tmp_path: Path
) -> None:
    mine = f"{HOST}/other:1"
    found = Settings(home=tmp_path, store="s3://x", aws=Aws(image=mine))
    assert choose(found).uri == mine
    assert choose(found, "aws").uri == OF_AWS
    assert choose(found, env="tensorflow-2.19").uri != mine


def test_sagemaker_takes_images_from_ecr_alone(settings: Settings) -> None:
    for uri in ("mine:1", "docker.io/library/python:3.12", "127.0.0.1:1/x:1", ""):
        with pytest.raises(UsageError, match="not in ECR") as caught:
            choose(settings, uri)
        assert caught.value.hint is not None and f"swatch image push {uri}" in caught.value.hint
    digest = f"{HOST}/x@sha256:{'0' * 64}"
    assert choose(settings, digest).uri == digest


def test_a_registry_that_stands_in_for_ecr_is_as_good(settings: Settings) -> None:
    token = signed_in("http://127.0.0.1:5000")
    with Stubber(aws.client("ecr")) as replies:
        replies.add_response("get_authorization_token", {"authorizationData": [token]})
        assert choose(settings, "127.0.0.1:5000/swatch:1").uri == "127.0.0.1:5000/swatch:1"


def test_a_dockerfile_is_looked_for_where_it_is_written(settings: Settings, tmp_path: Path) -> None:
    for wanted in ("./Dockerfile", "./mine", "Dockerfile.gpu"):
        with pytest.raises(UsageError, match="There is no"):
            choose(settings, wanted, folder=tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Dockerfile").write_text("FROM x\n")
    chosen = choose(settings, "./mine", folder=tmp_path)
    assert chosen.uri is None and "mine/Dockerfile is built, and pushed" in chosen.note


# Elsewhere


def test_on_docker_ours_is_built_and_on_this_computer_there_is_none(settings: Settings, docker: Fake) -> None:
    chosen = foundry.choose(settings, "docker", None, None, "cpu")
    assert chosen.uri == OURS.name and docker.calls == []
    assert chosen.ready(lines().append) == OURS.name
    assert [words[1] for words in docker.made("buildx")] == ["version", "build"]
    assert foundry.choose(settings, "local", None, None, "cpu")[::2] == (None, "")
    assert "run as processes" in foundry.choose(settings, "local", "mine:1", None, "cpu").note


def test_on_docker_awss_images_are_fetched_with_a_sign_in(settings: Settings, docker: Fake) -> None:
    chosen = foundry.choose(settings, "docker", None, "tensorflow-2.19", "gpu")
    chosen.ready(lines().append)
    (pull,) = [call for call in docker.calls if call["words"][0] == "pull"]
    assert pull["words"] == ["pull", chosen.uri]
    assert list(pull["auths"]) == ["763104351884.dkr.ecr.us-east-1.amazonaws.com"]
    foundry.choose(settings, "docker", "mine:1", None, "gpu").ready(lines().append)
    assert docker.calls[-1]["words"] == ["pull", "mine:1"] and docker.calls[-1]["auths"] == {}


def test_a_base_of_awss_is_fetched_with_a_sign_in_before_the_build(settings: Settings, docker: Fake) -> None:
    base = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"
    foundry.built(settings, image.context(base), lines().append)
    foundry.built(settings, image.context(base), lines().append)
    made = [call["words"][:2] for call in docker.calls if call["words"][0] == "pull" or call["words"][1] == "build"]
    assert made == [["pull", base], ["buildx", "build"]]
    foundry.built(settings, OURS, lines().append)
    assert len(docker.made("pull")) == 1


def test_what_is_ours_is_fetched_from_nowhere(settings: Settings, docker: Fake) -> None:
    """By its name, a public registry might have anybody's."""
    gone = foundry.again(settings, "docker", "swatch:0123")
    with pytest.raises(SwatchError, match="not on this computer any more"):
        gone.ready(lines().append)
    assert docker.made("pull") == []
    assert foundry.again(settings, "docker", OURS.name).ready(lines().append) == OURS.name  # which is built
    assert foundry.again(settings, "sagemaker", "x").uri == "x" and foundry.again(settings, "local", None).uri is None


@pytest.mark.parametrize("name", ["--help", "-v", "a b", "x;y", "", "a\n"])
def test_what_is_no_name_reaches_no_program(settings: Settings, docker: Fake, name: str) -> None:
    for backend in ("docker", "sagemaker"):
        with pytest.raises(UsageError):
            foundry.choose(settings, backend, name, None, "cpu")
    assert docker.calls == []


def test_an_order_is_chosen_once_and_only_when_asked() -> None:
    asked: list[str] = []

    def chosen() -> Chosen:
        asked.append("chosen")
        return Chosen(None, lambda tell: "made:1")

    order = Order(chosen)
    assert asked == []
    assert order.uri is None and order.chosen.uri is None
    order.ready(lines().append)
    assert order.uri == "made:1" and asked == ["chosen"]


def test_a_real_dockerfile_is_built_pushed_and_pulled(
    settings: Settings, where: Registry, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWATCH_DOCKER", "DOCKER_HOST"):
        monkeypatch.setenv(name, daemon.environment[name])
    token = signed_in(f"http://{daemon.registry}")
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY hello /hello\n")
    (tmp_path / "hello").write_text("made by a test\n")
    mine = Settings(home=tmp_path, store="s3://x", aws=settings.aws, docker=DockerSettings(network="host"))
    with Stubber(aws.client("ecr")) as replies:
        replies.add_response("get_authorization_token", {"authorizationData": [token]})
        order = Order(lambda: choose(mine, "./Dockerfile", folder=tmp_path))
        assert order.uri is None
        replies.add_client_error("describe_images", "ImageNotFoundException")
        replies.add_response("get_authorization_token", {"authorizationData": [token]})
        order.ready(lines().append)
    assert order.uri is not None and order.uri.startswith(f"{daemon.registry}/{settings.aws.repository}:")
    daemon.docker.ask("pull", order.uri, doing="pulling")
    said = daemon.docker.ask("run", "--rm", "--network", "none", order.uri, "cat", "/hello", doing="running")
    assert said == "made by a test"
