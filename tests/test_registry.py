"""The account's image registry, on moto's ECR; and pushing to it, with a stand-in for Docker and with a real one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from orchestrator import account, aws, docker, images, registry
from orchestrator.backends.sagemaker import model
from orchestrator.cargo import push
from orchestrator.docker import Docker
from orchestrator.errors import CloudError, Denied, DockerError, SignIn, TagTaken
from orchestrator.registry import Login, NoRegistry, NoRepository, Registry
from orchestrator.settings import Aws, Settings
from tests.daemon import BASE, Daemon
from tests.fake_docker import LAYER, Fake, image

ID = "123456789012"
HOST = f"{ID}.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def ours(bucket: str) -> Registry:
    """A repository of its own in moto's account."""
    made = Registry(HOST, bucket, "us-east-1")
    registry.ensure(made)
    return made


def put(ours: Registry, *tags: str, what: str = "0") -> None:
    """Have images in the repository without a registry: moto's `put_image`."""
    media = "application/vnd.docker.distribution.manifest.v2+json"
    for tag in tags:
        config = {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 1,
            "digest": _digest(what + tag),
        }
        layers = [{"mediaType": "x", "size": 7, "digest": _digest(tag)}]
        manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers}
        aws.client("ecr").put_image(repositoryName=ours.repository, imageManifest=json.dumps(manifest), imageTag=tag)


def _digest(text: str) -> str:
    return "sha256:" + text.encode().hex().ljust(64, "0")[:64]


def settings(tmp_path: Path, **changed: Any) -> Settings:
    return Settings(home=tmp_path, store=str(tmp_path), aws=Aws(**changed))


def test_what_is_pushed_is_found_by_its_tag_and_listed(ours: Registry) -> None:
    assert registry.pushed(ours, "a") is None and registry.listed(ours) == []
    put(ours, "a", "b")
    found = registry.pushed(ours, "a")
    assert found is not None and found.tag == "a" and found.digest.startswith("sha256:")
    assert abs(found.pushed_at - time.time()) < 86400
    assert {one.tag for one in registry.listed(ours)} == {"a", "b"}
    assert ours.uri("a") == f"{HOST}/{ours.repository}:a"


def test_removing_takes_any_number_and_what_is_gone_counts(ours: Registry) -> None:
    names = [f"t{number}" for number in range(registry.MOST_REMOVED + 3)]
    put(ours, *names[-3:], "kept")
    registry.remove(ours, names)
    assert [one.tag for one in registry.listed(ours)] == ["kept"]
    registry.remove(ours, names)
    registry.remove(ours, [])


def test_the_repository_is_made_once_with_tags_that_never_change(ours: Registry) -> None:
    registry.ensure(ours)  # a second time
    (made,) = aws.client("ecr").describe_repositories(repositoryNames=[ours.repository])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE" and made["imageScanningConfiguration"] == {"scanOnPush": True}
    model.check("CreateRepository", account.image_repository("swatch", "alias/k"), "ecr")


def test_a_missing_repository_says_what_makes_it(bucket: str) -> None:
    nowhere = Registry(HOST, f"{bucket}-no", "us-east-1")
    for ask in (lambda: registry.pushed(nowhere, "a"), lambda: registry.listed(nowhere)):
        with pytest.raises(NoRepository, match="no image repository") as caught:
            ask()
        assert caught.value.hint is not None and "swatch setup aws" in caught.value.hint


def test_who_may_not_is_told_which_policy_to_attach(ours: Registry) -> None:
    with Stubber(aws.client("ecr")) as stub:
        stub.add_client_error("describe_images", "AccessDeniedException", "User: x is not authorized", 400)
        with pytest.raises(Denied) as caught:
            registry.pushed(ours, "a")
    assert caught.value.hint == registry.POLICY_HINT


def test_the_host_is_what_the_sign_in_says(bucket: str, tmp_path: Path) -> None:
    """Whatever answers in AWS' place says where its registry is."""
    assert registry.find(settings(tmp_path, repository="mine")) == Registry(HOST, "mine", "us-east-1")
    with Stubber(aws.client("ecr")) as replies:
        loopback = {
            "authorizationToken": "QVdTOnNlY3JldDp4",  # AWS:secret:x
            "proxyEndpoint": "http://127.0.0.1:5000",
            "expiresAt": _when(),
        }
        for _ in range(2):
            replies.add_response("get_authorization_token", {"authorizationData": [loopback]})
        assert registry.find(settings(tmp_path)).host == "127.0.0.1:5000"
        assert registry.login() == Login("AWS", "secret:x", _when().timestamp())


def _when() -> Any:
    import datetime

    return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_on_aws_the_host_follows_from_the_role_and_costs_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing leaves this computer
    aws.forget()
    found = registry.find(settings(tmp_path, role="arn:aws:iam::210987654321:role/x"))
    assert found == Registry("210987654321.dkr.ecr.eu-west-1.amazonaws.com", "swatch", "eu-west-1")
    assert images.host("1", "cn-north-1") == "1.dkr.ecr.cn-north-1.amazonaws.com.cn"
    aws.forget()


@pytest.mark.parametrize("token", ["", "!!!", "QVdT", "/////w=="])
def test_a_sign_in_of_another_form_is_refused_and_not_quoted(bucket: str, token: str) -> None:
    with Stubber(aws.client("ecr")) as replies:
        entry = {"authorizationToken": token, "proxyEndpoint": "https://x", "expiresAt": _when()}
        replies.add_response("get_authorization_token", {"authorizationData": [entry]})
        with pytest.raises(CloudError, match="not of the form") as caught:
            registry.login()
    assert not token or token not in caught.value.message


def test_without_a_registry_it_says_so(bucket: str, tmp_path: Path) -> None:
    with Stubber(aws.client("ecr")) as replies:
        replies.add_client_error(
            "get_authorization_token", "AccessDeniedException", "the simulated account has no registry"
        )
        with pytest.raises(NoRegistry, match="no registry"):
            registry.find(settings(tmp_path))


def test_a_password_is_in_no_traceback() -> None:
    assert "secret" not in repr(Login("AWS", "secret", 0.0))


# Pushing


def fake(tmp_path: Path, *pushes: str, **images: Any) -> Fake:
    return Fake(tmp_path / "fake", images or {"mine:1": image(RepoTags=["mine:1"])}, pushes)


def test_what_is_there_is_not_pushed_again(ours: Registry, tmp_path: Path) -> None:
    put(ours, "a")
    program = fake(tmp_path)
    there = push.push(Docker(program.environment), "no-such-image", ours, "a")
    assert there == registry.pushed(ours, "a") and program.calls == []


def test_a_push_tells_its_layers_and_leaves_no_name_behind(ours: Registry, tmp_path: Path) -> None:
    program = fake(tmp_path)
    lines: list[str] = []
    done = push.push(Docker(program.environment), "mine:1", ours, "t1", lines.append)
    assert done.tag == "t1" and done.digest == "sha256:" + "c" * 64
    assert docker.pushed(lines) == (1, 1) and lines[0].startswith(LAYER)
    assert program.made("push") == [["push", ours.uri("t1")]]
    assert [words for words in program.made("image") if words[1] == "rm"] == [
        ["image", "rm", "--no-prune", ours.uri("t1")]
    ]


def test_the_password_is_on_no_command_line_and_not_in_the_persons_configuration(
    ours: Registry, tmp_path: Path
) -> None:
    program = fake(tmp_path)
    own = Path(program.environment["DOCKER_CONFIG"])
    own.mkdir()
    push.push(Docker(program.environment), "mine:1", ours, "t1")
    login = registry.login()
    (call,) = [call for call in program.calls if call["words"][0] == "push"]
    assert call["auths"] == {HOST: f"{login.user}:{login.password}"}
    assert all(call["auths"] == {} for call in program.calls if call["words"][0] != "push")
    words = [word for call in program.calls for word in call["words"]]
    assert not [word for word in words if login.password in word]
    assert list(own.iterdir()) == []


def test_what_leads_to_the_engine_counts_while_signed_in(tmp_path: Path) -> None:
    """Certificates of the engine, and contexts with theirs, lie beside the sign-ins (docs.docker.com, "Protect the
    Docker daemon socket", "Docker contexts"); a helper of credentials would win over the sign-in that is given."""
    program = fake(tmp_path)
    own = Path(program.environment["DOCKER_CONFIG"])
    (own / "contexts" / "tls").mkdir(parents=True)
    (own / "contexts" / "tls" / "key.pem").write_text("theirs")
    (own / "ca.pem").write_text("an authority")
    theirs = {
        "currentContext": "far",
        "proxies": {"default": {}},
        "credHelpers": {HOST: "ecr-login"},
        "credsStore": "x",
    }
    (own / "config.json").write_text(json.dumps({**theirs, "auths": {"elsewhere": {}}}))
    with Docker(program.environment).signed_in(HOST, "AWS", "hush") as signed:
        folder = Path(signed.environment["DOCKER_CONFIG"])
        assert (folder / "ca.pem").read_text() == "an authority"
        assert (folder / "contexts" / "tls" / "key.pem").read_text() == "theirs"
        said = json.loads((folder / "config.json").read_text())
        assert signed.environment["DOCKER_HOST"] == program.environment["DOCKER_HOST"]
    assert said.pop("auths").keys() == {HOST}
    assert said == {"currentContext": "far", "proxies": {"default": {}}}
    assert not folder.exists() and (own / "ca.pem").read_text() == "an authority"


@pytest.mark.parametrize("config", ["", "[1]", "{" * 100_000, "null"])
def test_a_damaged_configuration_keeps_nobody_from_signing_in(config: str, tmp_path: Path) -> None:
    program = fake(tmp_path)
    own = Path(program.environment["DOCKER_CONFIG"])
    own.mkdir()
    (own / "config.json").write_text(config)
    with Docker(program.environment).signed_in(HOST, "AWS", "hush") as signed:
        said = json.loads(Path(signed.environment["DOCKER_CONFIG"], "config.json").read_text())
    assert said.keys() == {"auths"}


def test_a_sign_in_that_expires_is_renewed_once(ours: Registry, tmp_path: Path) -> None:
    expired = "denied: Your authorization token has expired. Reauthenticate and try again."
    program = fake(tmp_path, expired)
    push.push(Docker(program.environment), "mine:1", ours, "t1")
    assert len(program.made("push")) == 2
    again = Fake(tmp_path / "again", {"mine:1": image()}, (expired, expired))
    with pytest.raises(SignIn, match="refuses the sign-in") as caught:
        push.push(Docker(again.environment), "mine:1", ours, "t2")
    assert caught.value.hint is not None and "aws sso login" in caught.value.hint
    assert len(again.made("push")) == 2


def test_who_may_not_push_is_told_which_policy_to_attach(ours: Registry, tmp_path: Path) -> None:
    program = fake(tmp_path, "denied: User: x is not authorized to perform: ecr:InitiateLayerUpload on resource: y")
    with pytest.raises(Denied, match="not permitted") as caught:
        push.push(Docker(program.environment), "mine:1", ours, "t1")
    assert caught.value.hint == registry.POLICY_HINT
    assert len(program.made("push")) == 1


def test_a_tag_that_another_image_took_meanwhile_is_said(ours: Registry, tmp_path: Path) -> None:
    said = "tag invalid: The image tag 't1' already exists in the 'x' repository and cannot be overwritten because the tag is immutable."
    program = fake(tmp_path, said)
    with pytest.raises(TagTaken, match="never change"):
        push.push(Docker(program.environment), "mine:1", ours, "t1")


def test_an_image_for_another_processor_is_refused_before_anything_goes(ours: Registry, tmp_path: Path) -> None:
    program = fake(tmp_path, **{"mine:1": image(architecture="arm64")})
    with pytest.raises(DockerError, match="arm64 processors") as caught:
        push.push(Docker(program.environment), "mine:1", ours, "t1")
    assert caught.value.hint == "Build it with --platform linux/amd64"
    with pytest.raises(DockerError, match="no image other:1"):
        push.push(Docker(program.environment), "other:1", ours, "t1")
    assert program.made("push") == []


def test_the_repository_is_made_for_the_first_push(bucket: str, tmp_path: Path) -> None:
    new = Registry(HOST, f"{bucket}-new", "us-east-1")
    push.push(Docker(fake(tmp_path).environment), "mine:1", new, "t1")
    assert registry.listed(new) == []  # moto's, of which Docker's stand-in knows nothing
    assert aws.client("ecr").describe_repositories(repositoryNames=[new.repository])["repositories"]


def test_a_real_push_into_a_real_registry(ours: Registry, daemon: Daemon) -> None:
    there = ours._replace(host=daemon.registry)
    lines: list[str] = []
    found = daemon.docker.image(BASE)
    assert found is not None
    tag = push.tag_of(found)
    done = push.push(daemon.docker, BASE, there, tag, lines.append)
    done_layers, layers = docker.pushed(lines)
    assert done_layers == layers == len(found.layers)
    assert found.id.removeprefix("sha256:").startswith(tag)
    assert daemon.docker.image(there.uri(tag)) is None, "the name that it was pushed by is gone"
    by_digest = f"{there.host}/{there.repository}@{done.digest}"
    daemon.docker.ask("pull", by_digest, doing="pulling")
    back = daemon.docker.image(by_digest)
    assert back is not None and back.id == found.id
