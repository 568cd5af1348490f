"""Pushing to a simulated account's registry, as anybody would."""

from __future__ import annotations

import base64

from orchestrator.docker import Docker
from orchestrator.simulator import Simulator


def host(aws: Simulator) -> str:
    """The registry's HOST:PORT, as GetAuthorizationToken tells it."""
    (data,) = aws.client("ecr").get_authorization_token()["authorizationData"]
    return str(data["proxyEndpoint"]).removeprefix("http://")


def push(aws: Simulator, docker: Docker, source: str, repository: str, tag: str) -> str:
    """Push an image of this computer; its address. The repository is made where there is none."""
    ecr = aws.client("ecr")
    if repository not in {one["repositoryName"] for one in ecr.describe_repositories()["repositories"]}:
        ecr.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
    (data,) = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    name = f"{host(aws)}/{repository}:{tag}"
    docker.ask("tag", source, name, doing=f"naming {name}")
    with docker.signed_in(host(aws), user, password) as signed:
        signed.ask("push", name, doing=f"pushing {name}")
    return name
