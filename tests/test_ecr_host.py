"""Pushing and pulling under ECR's own name: by TLS, with its sign-in, its tags and its words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.docker import Docker
from orchestrator.errors import DockerError, SignIn, TagTaken
from tests import ecr_host
from tests.daemon import BARE, BASE, Daemon
from tests.ecr_host import HOST, Host


@pytest.fixture(scope="module")
def host(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    from tests import daemon as engines

    try:
        with ecr_host.standing(tmp_path_factory.mktemp("ecr"), daemon) as started:
            yield started
    except engines.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def person(host: Host, tmp_path: Path) -> Iterator[Docker]:
    """A person's Docker, whose configuration stays what it was."""
    config = tmp_path / "config.json"
    config.write_text('{"auths": {"https://index.docker.io/v1/": {}}}')
    before = config.read_bytes()
    yield Docker({**host.docker.environment, "DOCKER_CONFIG": str(tmp_path)})
    assert config.read_bytes() == before and list(tmp_path.iterdir()) == [config]


def repository(host: Host, name: str, mutability: str = "IMMUTABLE") -> Any:
    ecr = host.aws.client("ecr")
    ecr.create_repository(repositoryName=name, imageTagMutability=mutability)
    return ecr


def password(host: Host) -> str:
    (data,) = host.aws.client("ecr").get_authorization_token()["authorizationData"]
    user, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    return secret


def push(docker: Docker, source: str, name: str) -> str:
    docker.ask("tag", source, name, doing=f"naming {name}")
    return docker.ask("push", name, doing=f"pushing {name}")


def test_who_is_signed_in_may_push_and_pull_by_digest(host: Host, person: Docker) -> None:
    ecr, name = repository(host, "forest"), f"{HOST}/forest:1"
    with person.signed_in(HOST, "AWS", password(host)) as signed:
        push(signed, BARE, name)
        (shown,) = ecr.describe_images(repositoryName="forest")["imageDetails"]
        assert shown["imageTags"] == ["1"] and shown["imageSizeInBytes"] > 100_000
        before = person.image(BARE)
        person.ask("image", "rm", name, doing="forgetting the image's name")
        signed.ask("pull", f"{HOST}/forest@{shown['imageDigest']}", doing="pulling by digest")
        pulled = person.image(f"{HOST}/forest@{shown['imageDigest']}")
    assert before is not None and pulled is not None and pulled.id == before.id
    with pytest.raises(SignIn):
        person.ask("pull", name, doing="pulling without a sign-in")


def test_who_is_not_signed_in_may_not_push(host: Host, person: Docker) -> None:
    repository(host, "closed")
    with pytest.raises(SignIn, match="The registry refuses the sign-in"):
        push(person, BARE, f"{HOST}/closed:1")
    with person.signed_in(HOST, "AWS", "made up") as signed, pytest.raises(SignIn):
        push(signed, BARE, f"{HOST}/closed:1")
    assert host.aws.client("ecr").describe_images(repositoryName="closed")["imageDetails"] == []


def test_a_tag_never_changes_its_image(host: Host, person: Docker) -> None:
    ecr = repository(host, "fixed")
    with person.signed_in(HOST, "AWS", password(host)) as signed:
        push(signed, BARE, f"{HOST}/fixed:1")
        push(signed, BARE, f"{HOST}/fixed:1")  # the same again is no other
        with pytest.raises(TagTaken) as caught:
            push(signed, BASE, f"{HOST}/fixed:1")
        assert "cannot be overwritten because the tag is immutable" in caught.value.said
        assert len(ecr.describe_images(repositoryName="fixed")["imageDetails"]) == 1
        ecr.batch_delete_image(repositoryName="fixed", imageIds=[{"imageTag": "1"}])
        with pytest.raises(DockerError, match="There is no such image"):
            signed.ask("pull", f"{HOST}/fixed:1", doing="pulling what was deleted")
        push(signed, BASE, f"{HOST}/fixed:1")


def test_a_tag_that_may_change_does(host: Host, person: Docker) -> None:
    ecr = repository(host, "loose", "MUTABLE")
    with person.signed_in(HOST, "AWS", password(host)) as signed:
        push(signed, BARE, f"{HOST}/loose:1")
        push(signed, BASE, f"{HOST}/loose:1")
    shown = ecr.describe_images(repositoryName="loose")["imageDetails"]
    assert sorted(one.get("imageTags", []) for one in shown) == [[], ["1"]]


def test_a_login_expires(host: Host, person: Docker) -> None:
    repository(host, "late")
    with person.signed_in(HOST, "AWS", password(host)) as signed:
        push(signed, BARE, f"{HOST}/late:1")
        host.aws.advance(12 * 3600)
        with pytest.raises(SignIn) as caught:
            push(signed, BARE, f"{HOST}/late:2")
        assert "Your authorization token has expired. Reauthenticate and try again." in caught.value.said
    with person.signed_in(HOST, "AWS", password(host)) as signed:
        push(signed, BARE, f"{HOST}/late:2")


def test_a_repository_that_is_not_there_is_named(host: Host, person: Docker) -> None:
    with person.signed_in(HOST, "AWS", password(host)) as signed, pytest.raises(DockerError) as caught:
        push(signed, BARE, f"{HOST}/nowhere:1")
    assert "The repository with name 'nowhere' does not exist in the registry" in caught.value.said
