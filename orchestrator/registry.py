"""The account's image registry (Amazon ECR): what is in our repository, and how one signs in there.

Tags there never change, so an image that is there under the tag of its content is never pushed again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from orchestrator import account, aws, images
from orchestrator.errors import CloudError, Denied, Expired, Throttled, Unreachable
from orchestrator.settings import Settings

MOST_REMOVED = 100
"""Images of one request (API reference, BatchDeleteImage, imageIds)."""
_AWS = (".amazonaws.com", ".amazonaws.com.cn")
POLICY_HINT = "swatch setup aws --dry-run prints the policy to attach to your user or role"


class NoRegistry(CloudError):
    """What answers in AWS' place has no registry: a simulated account, mostly."""


class NoRepository(CloudError):
    """The account has no repository of that name."""


class Registry(NamedTuple):
    """A repository: `host` as images name it (`123456789012.dkr.ecr.us-east-1.amazonaws.com`), its name, its region,
    and the key that it is encrypted with if it is yet to be made."""

    host: str
    repository: str
    region: str
    kms_key: str | None = None

    def uri(self, tag: str) -> str:
        """The image of that tag, as jobs name it."""
        return f"{self.host}/{self.repository}:{tag}"

    def by_digest(self, digest: str) -> str:
        """The same by what it is."""
        return f"{self.host}/{self.repository}@{digest}"


class Login(NamedTuple):
    """What `docker login` wants to know; `expires` in seconds since 1970 (12 hours from now on AWS)."""

    user: str
    password: str
    expires: float

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"  # no password in a traceback


class Pushed(NamedTuple):
    """An image that is there. `size` is in bytes, compressed as the registry keeps it; `pushed_at` in seconds since
    1970."""

    tag: str
    digest: str
    size: int
    pushed_at: float


def find(settings: Settings) -> Registry:
    """The repository that jobs' images are in. Asks AWS only where that does not follow from the configuration. Raises
    NoRegistry, CloudError and its kin."""
    client = aws.client("ecr")
    region, endpoint = client.meta.region_name, urlsplit(client.meta.endpoint_url).hostname or ""
    if endpoint.endswith(_AWS):
        address = images.host(_identity(settings), region)
    else:
        try:
            address = _authorization()[0]
        except (Expired, Throttled, Unreachable):
            raise
        except CloudError as error:
            raise NoRegistry(error.message, hint=error.hint, code=error.code) from error
    return Registry(address, settings.aws.repository, region, settings.aws.kms_key)


def login() -> Login:
    """Asks for a password, which is good for every registry of the region that this identity may use (API reference,
    GetAuthorizationToken). Raises CloudError and its kin."""
    return _authorization()[1]


def pushed(registry: Registry, tag: str) -> Pushed | None:
    """The image of that tag; None if there is none. One request. Raises NoRepository, CloudError and its kin."""
    try:
        with _repository(registry, f"looking for the image {registry.uri(tag)}"):
            reply = aws.client("ecr").describe_images(repositoryName=registry.repository, imageIds=[{"imageTag": tag}])
    except CloudError as error:
        if error.code == "ImageNotFoundException":
            return None
        raise
    return _image(reply["imageDetails"][0], tag)


def listed(registry: Registry) -> list[Pushed]:
    """Every tag of the repository, the newest first. Raises NoRepository, CloudError and its kin."""
    pages = aws.client("ecr").get_paginator("describe_images")
    with _repository(registry, f"listing the images of {registry.repository}"):
        details = [
            one
            for page in pages.paginate(repositoryName=registry.repository, filter={"tagStatus": "TAGGED"})
            for one in page["imageDetails"]
        ]
    found = [_image(one, tag) for one in details for tag in one.get("imageTags", ())]
    return sorted(found, key=lambda one: (-one.pushed_at, one.tag))


def remove(registry: Registry, tags: Sequence[str]) -> None:
    """Take tags away; an image without any goes with its last. One that is gone already counts as removed. Raises
    NoRepository, CloudError and its kin."""
    for start in range(0, len(tags), MOST_REMOVED):
        some = [{"imageTag": tag} for tag in tags[start : start + MOST_REMOVED]]
        with _repository(registry, f"removing images of {registry.repository}"):
            reply = aws.client("ecr").batch_delete_image(repositoryName=registry.repository, imageIds=some)
        left = [one for one in reply.get("failures", ()) if one.get("failureCode") != "ImageNotFound"]
        if left:
            name = left[0].get("imageId", {}).get("imageTag", "an image")
            said = str(left[0].get("failureReason") or left[0].get("failureCode"))[:300]
            raise CloudError(f"{name} of {registry.repository} could not be removed: {said}")


def ensure(registry: Registry) -> None:
    """Make the repository, where `swatch setup aws` has not: its tags never change, and what is pushed is scanned.
    Raises CloudError and its kin."""
    try:
        with permitted(f"making the image repository {registry.repository}"):
            aws.client("ecr").create_repository(**account.image_repository(registry.repository, registry.kms_key))
    except CloudError as error:
        if error.code != "RepositoryAlreadyExistsException":
            raise


def _identity(settings: Settings) -> str:
    """Jobs run under a role of their own account, so its ARN tells which that is; else who asks does."""
    parts = (settings.aws.role or "").split(":")
    if len(parts) > 5 and parts[4].isdigit():
        return parts[4]
    with aws.explained("asking AWS who you are"):
        return str(aws.client("sts").get_caller_identity()["Account"])


def _authorization() -> tuple[str, Login]:
    """The registry's host, and a password for it."""
    with permitted("signing in at the image registry"):
        reply = aws.client("ecr").get_authorization_token()
    try:
        found = reply["authorizationData"][0]
        user, colon, password = base64.b64decode(found["authorizationToken"], validate=True).decode().partition(":")
        address = urlsplit(found["proxyEndpoint"])
        expires = found["expiresAt"].timestamp()
        if not colon or not address.netloc:
            raise ValueError("no user or no address")
    except (LookupError, ValueError, AttributeError, binascii.Error) as error:
        # The error is not quoted: a part of the password may be in it.
        raise CloudError("The image registry's sign-in is not of the form that AWS documents") from error
    return address.netloc, Login(user, password, expires)


@contextmanager
def permitted(what: str) -> Iterator[None]:
    """As aws.explained, with the policy to attach where something is not permitted."""
    try:
        with aws.explained(what):
            yield
    except Denied as error:
        error.hint = POLICY_HINT
        raise


@contextmanager
def _repository(registry: Registry, what: str) -> Iterator[None]:
    """The same, with a sentence of its own for a repository that is missing."""
    try:
        with permitted(what):
            yield
    except CloudError as error:
        if error.code != "RepositoryNotFoundException":
            raise
        said = f"The account has no image repository {registry.repository} in {registry.region}"
        raise NoRepository(said, hint="swatch setup aws makes it", code=error.code) from error


def _image(found: dict[str, Any], tag: str) -> Pushed:
    return Pushed(tag, found["imageDigest"], found.get("imageSizeInBytes", 0), found["imagePushedAt"].timestamp())
