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
_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?(?:@(.+))?")


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
    """moto's account NUMBER in one region."""

    def __init__(self, region: str = REGION) -> None:
        from moto.ecr.models import ecr_backends
        from moto.iam.models import iam_backends
        from moto.logs.models import logs_backends
        from moto.s3.models import s3_backends

        self.region = region
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

    def check_role(self, arn: str) -> None:
        """Raise ApiError unless the role is there and SageMaker may take it."""
        named = _ROLE.fullmatch(arn)
        role = None
        if named and named[1] == NUMBER:
            role = next((one for one in self._iam.roles.values() if one.arn == arn), None)
        if role is None or not _trusts(json.loads(role.assume_role_policy_document), "sagemaker.amazonaws.com"):
            raise Invalid(
                f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            )

    def check_image(self, uri: str, role: str) -> None:
        """Raise ApiError for an image that is none of ECR's, or that this account's registry does not have. What
        other accounts (AWS' own registries) have is not known here."""
        named = _IMAGE.fullmatch(uri)
        if named is None:
            raise Invalid(f"Invalid image URI {uri}. Please provide a valid Amazon Elastic Container Registry path.")
        registry, name, tag, digest = named.groups()
        if registry != NUMBER:
            return
        repository = self._ecr.repositories.get(name)
        if repository is None:
            raise Invalid(
                f"Cannot find repository: {name} in registry ID: {registry}. Please check if your ECR repository "
                f"exists and role {role} has proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability, "
                "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer"
            )
        wanted = tag or "latest"
        for image in repository.images:
            if image.image_digest == digest if digest else wanted in image.image_tags:
                return
        raise Invalid(f"Requested image {uri} not found.")

    # Logs

    def open_log(self, stream: str) -> None:
        if LOG_GROUP not in self._logs.groups:
            self._logs.create_log_group(LOG_GROUP, {})
        if stream not in self._logs.groups[LOG_GROUP].streams:
            self._logs.create_log_stream(LOG_GROUP, stream)

    def log(self, stream: str, lines: Sequence[str], now: float) -> None:
        """Append lines at the time `now`. The stream itself is asked: the service refuses what lies two hours ahead of
        the real time, and a simulated clock does."""
        self._logs.groups[LOG_GROUP].streams[stream].put_log_events(
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
