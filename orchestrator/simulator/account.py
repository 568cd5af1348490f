"""The account that jobs run in, as the platform reaches it: objects, roles, images and logs, held by moto.

The platform works on moto's own records, not through the endpoint: what it does is not counted, throttled or cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.simulator.wire import Invalid

NUMBER = "123456789012"
"""moto's account, the example number of AWS' documentation."""
REGION = "us-east-1"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_ROLE = re.compile(r"arn:[^:]+:iam::(\d{12}):role/(?:.*/)?([^/]+)")
_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_IMAGE = re.compile(r"([^/]+)/([^:@]+)(?::([^@]+))?(?:@(.+))?")


class Place(NamedTuple):
    """An `s3://bucket/key`."""

    bucket: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Place:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return cls(bucket, key)

    def below(self, path: str) -> Place:
        """A path under this one, as under a folder."""
        return Place(self.bucket, f"{self.key.rstrip('/')}/{path}".lstrip("/"))


class Account:
    """moto's account NUMBER in one region. `registry` is the host that images are really pushed to, if there is one:
    it stands for the account's own."""

    def __init__(self, region: str = REGION) -> None:
        from moto.ecr.models import ecr_backends
        from moto.iam.models import iam_backends
        from moto.logs.models import logs_backends
        from moto.s3.models import s3_backends

        self.region = region
        self.registry: str | None = None
        self._s3 = s3_backends[NUMBER]["aws"]
        self._iam = iam_backends[NUMBER]["aws"]
        self._ecr = ecr_backends[NUMBER][region]
        self._logs = logs_backends[NUMBER][region]

    # Objects

    def has_bucket(self, bucket: str) -> bool:
        return bucket in self._s3.buckets

    def keys(self, place: Place) -> Iterator[str]:
        """The keys that begin with the place's key, sorted."""
        bucket = self._s3.buckets.get(place.bucket)
        if bucket is not None:
            for key in sorted(bucket.keys.keys()):
                if key.startswith(place.key) and not _deleted(bucket.keys.get(key)):
                    yield key

    def read(self, place: Place) -> bytes:
        """The object's bytes. Raises KeyError."""
        found = self._s3.buckets[place.bucket].keys.get(place.key)
        if found is None or _deleted(found):
            raise KeyError(place.key)
        return bytes(found.value)

    def write(self, place: Place, data: bytes) -> None:
        """Put the object. Raises KeyError when the bucket is gone."""
        if not self.has_bucket(place.bucket):
            raise KeyError(place.bucket)
        self._s3.put_object(place.bucket, place.key, data, disable_notification=True)

    def delete(self, place: Place) -> None:
        if self.has_bucket(place.bucket):
            self._s3.delete_object(place.bucket, place.key)

    # Who and what

    def trusts(self, arn: str, service: str) -> bool:
        """Whether the role is there and lets the service take it."""
        named = _ROLE.fullmatch(arn)
        role = None
        if named and named[1] == NUMBER:
            role = next((one for one in self._iam.roles.values() if one.arn == arn), None)
        return role is not None and _trusts(json.loads(role.assume_role_policy_document), service)

    def check_role(self, arn: str) -> None:
        """Raise ApiError unless the role is there and SageMaker may take it."""
        if not self.trusts(arn, "sagemaker.amazonaws.com"):
            raise Invalid(
                f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            )

    def check_image(self, uri: str, role: str) -> None:
        """Raise ApiError for an image that is none of ECR's, or that this account's registry does not have. What
        other accounts (AWS' own registries) have is not known here."""
        host = uri.partition("/")[0]
        if not _IMAGE.fullmatch(uri) or not (_HOST.fullmatch(host) or host == self.registry):
            raise Invalid(f"Invalid image URI {uri}. Please provide a valid Amazon Elastic Container Registry path.")
        named = self.named(uri)
        if named is None:
            return
        name, reference = named
        if not self.has_repository(name):
            raise Invalid(
                f"Cannot find repository: {name} in registry ID: {NUMBER}. Please check if your ECR repository "
                f"exists and role {role} has proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability, "
                "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer"
            )
        if self.digest(name, reference) is None:
            raise Invalid(f"Requested image {uri} not found.")

    # Images

    def named(self, uri: str) -> tuple[str, str] | None:
        """The repository, and the tag or digest, that an image's address names; None if it is another account's."""
        found = _IMAGE.fullmatch(uri)
        if found is None:
            return None
        host, name, tag, digest = found.groups()
        known = _HOST.fullmatch(host)
        ours = host == self.registry or (known is not None and known[1] == NUMBER)
        return (name, digest or tag or "latest") if ours else None

    def has_repository(self, name: str) -> bool:
        return name in self._ecr.repositories

    def immutable(self, name: str) -> bool:
        """Whether tags of the repository never change."""
        return str(self._ecr.repositories[name].image_tag_mutability).startswith("IMMUTABLE")

    def tags(self, name: str) -> list[str]:
        return sorted(tag for image in self._ecr.repositories[name].images for tag in image.image_tags)

    def digest(self, name: str, reference: str) -> str | None:
        """The digest of the image that a tag or a digest names; None if there is none."""
        repository = self._ecr.repositories.get(name)
        for image in repository.images if repository else ():
            if image.image_digest == reference if ":" in reference else reference in image.image_tags:
                return str(image.image_digest)
        return None

    def push(self, name: str, tag: str | None, digest: str, media_type: str, manifest: str, size: int) -> None:
        """Have the repository hold the image, of `size` bytes, perhaps under a tag that another had before. On moto's
        records: its PutImage counts the configuration as the size, and knows no image without a tag."""
        from moto.ecr.models import Image

        images: list[Any] = self._ecr.repositories[name].images
        for other in images:
            if tag is not None and tag in other.image_tags and other.image_digest != digest:
                other.remove_tag(tag)
                other.image_tag = other.image_tags[-1] if other.image_tags else None
        image = next((one for one in images if one.image_digest == digest), None)
        if image is None:
            image = Image(NUMBER, tag, manifest, name, media_type, digest)  # type: ignore[arg-type]
            image.get_image_size_in_bytes = lambda: size  # type: ignore[method-assign]
            images.append(image)
        elif tag is not None:
            image.update_tag(tag)

    # Logs

    def open_log(self, stream: str, group: str = LOG_GROUP) -> None:
        if group not in self._logs.groups:
            self._logs.create_log_group(group, {})
        if stream not in self._logs.groups[group].streams:
            self._logs.create_log_stream(group, stream)

    def log(self, stream: str, lines: Sequence[str], now: float, group: str = LOG_GROUP) -> None:
        """Append lines at the time `now`. The stream itself is asked: the service refuses what lies two hours ahead of
        the real time, and a simulated clock does."""
        self._logs.groups[group].streams[stream].put_log_events(
            [{"timestamp": int(now * 1000), "message": line} for line in lines]
        )


def _deleted(key: Any) -> bool:
    return key is None or type(key).__name__ == "FakeDeleteMarker"


def _trusts(policy: Mapping[str, Any], service: str) -> bool:
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else [principal]
        actions = statement.get("Action", [])
        if (
            statement.get("Effect") == "Allow"
            and service in ([services] if isinstance(services, str) else services)
            and {"sts:AssumeRole", "sts:*", "*"} & set([actions] if isinstance(actions, str) else actions)
        ):
            return True
    return False
