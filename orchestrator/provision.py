"""Makes an account what `account` says: looks at what there is, decides what is missing, and does only that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from orchestrator import account as wanted
from orchestrator import aws
from orchestrator.account import Account
from orchestrator.errors import CloudError, Denied, UsageError


class Step(NamedTuple):
    """One request: `operation` of `service` as the API reference calls it, and a sentence that says what for."""

    what: str
    service: str
    operation: str
    request: dict[str, Any]


class FoundRole(NamedTuple):
    """What there is of a role: whom it trusts, its policy, and whether Swatch made it."""

    trust: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    is_ours: bool = False


class Found(NamedTuple):
    """What there is; None where there is nothing. Policies are decoded."""

    bucket_region: str | None = None
    public_access: dict[str, Any] | None = None
    encryption: dict[str, Any] | None = None
    versioning: str | None = None
    rules: Sequence[dict[str, Any]] = ()
    bucket_policy: dict[str, Any] | None = None
    repository: dict[str, Any] | None = None
    image_lifecycle: dict[str, Any] | None = None
    role: FoundRole = FoundRole()
    build_role: FoundRole = FoundRole()


class _Role(NamedTuple):
    """A role as it should be, and for sentences: the `service` that takes it on, what for, and who runs under it."""

    name: str
    trust: dict[str, Any]
    policy: dict[str, Any]
    says: str
    service: str
    purpose: str
    who: str


def steps(account: Account, found: Found) -> list[Step]:
    """What is to be done, in order. Pure; empty where all is as it should be. Of an existing bucket, rules and policy
    statements that are not ours are kept. Raises UsageError for a bucket of another region, or a role of others."""
    return [*_bucket(account, found), *_repository(account, found), *_roles(account, found)]


def _bucket(account: Account, found: Found) -> Iterator[Step]:
    if found.bucket_region not in (None, account.region):
        raise UsageError(
            f"The bucket {account.bucket} is in {found.bucket_region}, not in {account.region}",
            hint=f"swatch setup aws --region {found.bucket_region}, or name another --bucket",
        )
    whose = {"Bucket": account.bucket, "ExpectedBucketOwner": account.id}
    if found.bucket_region is None:
        request: dict[str, Any] = {"Bucket": account.bucket, "ObjectOwnership": "BucketOwnerEnforced"}
        if account.region != "us-east-1":  # the one region that must not be named (API reference, CreateBucket)
            request["CreateBucketConfiguration"] = {"LocationConstraint": account.region}
        yield Step(f"Make the bucket {account.bucket}", "s3", "CreateBucket", request)
    if found.public_access != wanted.PUBLIC_ACCESS:
        block = {**whose, "PublicAccessBlockConfiguration": wanted.PUBLIC_ACCESS}
        yield Step("Keep it private, whatever policies may say", "s3", "PutPublicAccessBlock", block)
    encryption = wanted.encryption(account)
    if not _encrypted(found.encryption, encryption):
        how = f"the key {account.aws.kms_key}" if account.aws.kms_key else "S3's own keys (SSE-S3)"
        change = {**whose, "ServerSideEncryptionConfiguration": encryption}
        yield Step(f"Encrypt what is in it with {how}", "s3", "PutBucketEncryption", change)
    if found.versioning != "Enabled":
        said = f"Keep versions: what is overwritten or deleted can be brought back for {wanted.OLD_VERSIONS} days"
        yield Step(said, "s3", "PutBucketVersioning", {**whose, "VersioningConfiguration": {"Status": "Enabled"}})
    rule = wanted.lifecycle(account)
    if not any(_same(one, rule) for one in found.rules):
        rules = [*(one for one in found.rules if one.get("ID") != wanted.RULE), rule]
        said = f"Remove old versions after {wanted.OLD_VERSIONS} days, half uploads after {wanted.HALF_UPLOADS}"
        change = {**whose, "LifecycleConfiguration": {"Rules": rules}}
        yield Step(said, "s3", "PutBucketLifecycleConfiguration", change)
    policy = wanted.bucket_policy(account)
    kept = (found.bucket_policy or {}).get("Statement", [])
    kept = kept if isinstance(kept, list) else [kept]
    if not any(_same(one, policy["Statement"][0]) for one in kept):
        others = [one for one in kept if one.get("Sid") != wanted.INSECURE]
        text = json.dumps({**(found.bucket_policy or policy), "Statement": [*others, *policy["Statement"]]})
        yield Step("Refuse connections without TLS", "s3", "PutBucketPolicy", {**whose, "Policy": text})


def _repository(account: Account, found: Found) -> Iterator[Step]:
    name = account.repository
    if found.repository is None:
        request = wanted.image_repository(name, account.aws.kms_key)
        said = f"Make the image repository {name}, which scans what is pushed, and whose tags never change"
        yield Step(said, "ecr", "CreateRepository", request)
    else:
        if found.repository.get("imageTagMutability") != "IMMUTABLE":
            request = {"repositoryName": name, "imageTagMutability": "IMMUTABLE"}
            yield Step("Let no tag of an image ever change", "ecr", "PutImageTagMutability", request)
        if not found.repository.get("imageScanningConfiguration", {}).get("scanOnPush"):
            request = {"repositoryName": name, "imageScanningConfiguration": {"scanOnPush": True}}
            yield Step("Scan images that are pushed", "ecr", "PutImageScanningConfiguration", request)
    if found.image_lifecycle is None:  # one of the user's own is as good
        request = {"repositoryName": name, "lifecyclePolicyText": json.dumps(wanted.IMAGE_LIFECYCLE)}
        said = f"Remove images without a tag after {wanted.UNTAGGED_IMAGES} days"
        yield Step(said, "ecr", "PutLifecyclePolicy", request)


def _roles(account: Account, found: Found) -> Iterator[Step]:
    jobs = _Role(
        name=account.role,
        trust=wanted.trust(account),
        policy=wanted.job_policy(account),
        says=wanted.ROLE_SAYS,
        service="SageMaker",
        purpose="for jobs",
        who="jobs",
    )
    builds = _Role(
        name=account.build_role,
        trust=wanted.trust(account, wanted.CODEBUILD),
        policy=wanted.build_policy(account),
        says=wanted.BUILD_ROLE_SAYS,
        service="CodeBuild",
        purpose="to build images",
        who="builds of images",
    )
    yield from _role(jobs, found.role)
    yield from _role(builds, found.build_role)


def _role(role: _Role, found: FoundRole) -> Iterator[Step]:
    if found.trust is None:
        request = {
            "RoleName": role.name,
            "AssumeRolePolicyDocument": json.dumps(role.trust),
            "Description": role.says,
            "Tags": [wanted.TAG],
        }
        yield Step(
            f"Make the role {role.name}, which {role.service} takes on {role.purpose}", "iam", "CreateRole", request
        )
    elif not _same(found.trust, role.trust):
        if not found.is_ours:
            raise UsageError(
                f"The role {role.name} is there already, was not made by Swatch, and trusts others",
                hint="Name another, which will be made: swatch setup aws --role NAME",
            )
        request = {"RoleName": role.name, "PolicyDocument": json.dumps(role.trust)}
        said = f"Let {role.service} alone take the role on, for this account"
        yield Step(said, "iam", "UpdateAssumeRolePolicy", request)
    if not _same(found.policy, role.policy):
        request = {"RoleName": role.name, "PolicyName": wanted.POLICY, "PolicyDocument": json.dumps(role.policy)}
        yield Step(f"Let {role.who} do what they need, and no more", "iam", "PutRolePolicy", request)


def look(account: Account) -> Found:
    """What there is of it in the account. Raises CloudError and its kin."""
    s3, ecr, iam = (aws.client(service, account.region) for service in ("s3", "ecr", "iam"))
    whose = {"Bucket": account.bucket, "ExpectedBucketOwner": account.id}
    found: dict[str, Any] = {}
    try:
        region = _or_none(
            lambda: s3.get_bucket_location(**whose), f"the bucket {account.bucket}", "NoSuchBucket", "404"
        )
    except Denied as error:
        error.hint = "The name may be taken by another account; give another: swatch setup aws --bucket NAME"
        raise
    if region is not None:
        here = f"reading the bucket {account.bucket}"
        found["bucket_region"] = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(
            region.get("LocationConstraint"), region.get("LocationConstraint")
        )
        block = _or_none(lambda: s3.get_public_access_block(**whose), here, "NoSuchPublicAccessBlockConfiguration")
        found["public_access"] = (block or {}).get("PublicAccessBlockConfiguration")
        default = _or_none(
            lambda: s3.get_bucket_encryption(**whose), here, "ServerSideEncryptionConfigurationNotFoundError"
        )
        found["encryption"] = (default or {}).get("ServerSideEncryptionConfiguration")
        with aws.explained(here):
            found["versioning"] = s3.get_bucket_versioning(**whose).get("Status")
        rules = _or_none(lambda: s3.get_bucket_lifecycle_configuration(**whose), here, "NoSuchLifecycleConfiguration")
        found["rules"] = (rules or {}).get("Rules", [])
        policy = _or_none(lambda: s3.get_bucket_policy(**whose), here, "NoSuchBucketPolicy")
        found["bucket_policy"] = json.loads(policy["Policy"]) if policy else None
    where = f"the image repository {account.repository}"
    named = {"repositoryName": account.repository}
    listed = _or_none(
        lambda: ecr.describe_repositories(repositoryNames=[account.repository]), where, "RepositoryNotFoundException"
    )
    if listed and listed["repositories"]:
        found["repository"] = listed["repositories"][0]
        text = _or_none(lambda: ecr.get_lifecycle_policy(**named), where, "LifecyclePolicyNotFoundException")
        found["image_lifecycle"] = json.loads(text["lifecyclePolicyText"]) if text else None
    found["role"], found["build_role"] = (_look_at_role(one, iam) for one in (account.role, account.build_role))
    return Found(**found)


def _look_at_role(name: str, iam: Any) -> FoundRole:
    role = _or_none(lambda: iam.get_role(RoleName=name), f"the role {name}", "NoSuchEntity")
    if role is None:
        return FoundRole()
    where = f"the policy of the role {name}"
    inline = _or_none(lambda: iam.get_role_policy(RoleName=name, PolicyName=wanted.POLICY), where, "NoSuchEntity")
    trust = role["Role"]["AssumeRolePolicyDocument"]
    return FoundRole(trust, inline["PolicyDocument"] if inline else None, wanted.TAG in role["Role"].get("Tags", []))


def take(step: Step, account: Account) -> None:
    """Make the request. Raises CloudError and its kin."""
    from botocore import xform_name

    with aws.explained(step.what):
        getattr(aws.client(step.service, account.region), xform_name(step.operation))(**step.request)


def _or_none(ask: Callable[[], Any], what: str, *absent: str) -> Any:
    """The answer; None where AWS says that there is no such thing."""
    try:
        with aws.explained(f"looking at {what}" if not what.startswith("reading") else what):
            return ask()
    except CloudError as error:
        if error.code in absent:
            return None
        raise


def _encrypted(found: dict[str, Any] | None, asked: dict[str, Any]) -> bool:
    """Whether the default is the one asked for; what AWS adds to a rule of its own accord does not count."""
    rules = (found or {}).get("Rules", [{}])
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    return bool(default == asked["Rules"][0]["ApplyServerSideEncryptionByDefault"])


def _same(one: Any, other: Any) -> bool:
    """Whether two policies mean the same: AWS may write a list of one as the one, and in another order."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        plain = [_plain(entry) for entry in value]
        if len(plain) == 1:
            return plain[0]
        return sorted(plain) if all(isinstance(entry, str) for entry in plain) else plain
    return value
