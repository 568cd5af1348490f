"""What jobs on AWS need of the account, as it is now: one function a check."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

from orchestrator import account as wanted
from orchestrator import aws, foundry, images, machines
from orchestrator.backends.sagemaker import queue as queues
from orchestrator.checkup.base import FAIL, OK, UNKNOWN, WARN, Check
from orchestrator.errors import CloudError, Denied, SwatchError, UsageError
from orchestrator.settings import Settings

SKEW_WARN, SKEW_FAIL = 60, 300
"""Seconds that this computer's clock may be off. AWS refuses signatures from 5 minutes on, S3 from 15 (IAM User Guide,
"Troubleshoot signed requests")."""

SOON = 3600
"""Seconds: credentials that expire within are worth a word."""

QUOTAS = {
    "training job usage": "on demand",
    "spot training job usage": "spot",
    "training warm pool usage": "warm pool",
}
"""The ends of the quotas' names in Service Quotas, `ml.g5.xlarge for ...`, and what they are of."""

_MOST_PAGES = 100


class Here(NamedTuple):
    """The account that was reached: what the checks of AWS share. `headers` are those of AWS' first reply."""

    settings: Settings
    id: str
    region: str
    headers: dict[str, str]


def checks(settings: Settings, machine: str) -> Iterator[Check]:
    """Every check of the account. The first says whether it is reached at all; if not, it is the only one."""
    if find_spec("boto3") is None:
        yield Check("AWS", FAIL, "boto3 is not installed here", "pip install boto3")
        return
    try:
        here = _reached(settings)
    except SwatchError as error:
        yield Check("credentials", FAIL, error.message, error.hint or "aws configure")
        return
    for check in (credentials, clock, bucket, role, image(machine), queue, quotas(machine), budget):
        name = getattr(check, "__name__", "")
        try:
            yield from check(here)
        except Denied as error:
            yield Check(name, UNKNOWN, error.message, "Ask for what `swatch setup aws --dry-run` prints as your policy")
        except SwatchError as error:
            yield Check(name, UNKNOWN, error.message, error.hint or "")


def credentials(here: Here) -> Iterator[Check]:
    """Whose they are was asked already; here it is how long they last. botocore has no public name for that."""
    import botocore.session

    with aws.explained("reading the AWS credentials"):
        found = botocore.session.get_session().get_credentials()
    expiry = getattr(found, "_expiry_time", None)
    said = f"account {here.id}, region {here.region}"
    if not isinstance(expiry, datetime.datetime):
        yield Check("credentials", OK, f"{said}; they do not say when they expire")
        return
    left = (expiry - datetime.datetime.now(datetime.UTC)).total_seconds()
    soon = left < SOON
    fix = "Sign in anew before a long watch: aws sso login" if soon else ""
    yield Check("credentials", WARN if soon else OK, f"{said}; they expire in {max(0, left) / 60:.0f} minutes", fix)


def clock(here: Here) -> Iterator[Check]:
    """This computer's clock against AWS', by the date of a reply."""
    try:
        theirs = parsedate_to_datetime(here.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        yield Check("clock", UNKNOWN, "AWS' reply has no date")
        return
    off = abs(time.time() - theirs)
    state = OK if off < SKEW_WARN else WARN if off < SKEW_FAIL else FAIL
    yield Check(
        "clock", state, f"{off:.0f} s off AWS'", "" if state == OK else "Set the clock: timedatectl set-ntp true"
    )


def bucket(here: Here) -> Iterator[Check]:
    """Whether the store's bucket is there, in the region, private, encrypted and versioned."""
    if not here.settings.store.startswith("s3://"):
        said = f"the store is {here.settings.store}, which jobs on SageMaker cannot reach"
        yield Check("bucket", FAIL, said, "swatch setup aws")
        return
    name, _, folder = here.settings.store.removeprefix("s3://").rstrip("/").partition("/")
    s3 = aws.client("s3")
    try:
        with aws.explained(f"reaching the bucket {name}"):
            region = s3.get_bucket_location(Bucket=name).get("LocationConstraint") or "us-east-1"
            s3.list_objects_v2(Bucket=name, Prefix=f"{folder}/" if folder else "", MaxKeys=1)
    except Denied as error:
        yield Check("bucket", FAIL, error.message, "It may belong to another account; name yours: swatch setup aws")
        return
    except CloudError as error:
        yield Check("bucket", FAIL, error.message, "swatch setup aws")
        return
    if region != here.region:
        fix = f"export AWS_REGION={region}"
        yield Check("bucket", FAIL, f"{name} is in {region}, and jobs would run in {here.region}", fix)
        return
    yield Check("bucket", OK, f"{name} in {region}")
    block = _absent_as({}, lambda: s3.get_public_access_block(Bucket=name), "NoSuchPublicAccessBlockConfiguration").get(
        "PublicAccessBlockConfiguration"
    )
    private = block == wanted.PUBLIC_ACCESS
    fix = "" if private else "swatch setup aws"
    yield Check(
        "private", OK if private else FAIL, "public access is blocked" if private else "may be made public", fix
    )
    with aws.explained(f"reading the bucket {name}"):
        versioned = s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled"
    keeps = "keeps the old one of a file that is" if versioned else "is not versioned: a file is gone once it is"
    said = f"the bucket {keeps} deleted or overwritten"
    yield Check("old files", OK if versioned else WARN, said, "" if versioned else "swatch setup aws")


def role(here: Here) -> Iterator[Check]:
    """Whether the role is there, and SageMaker, for this account alone, may take it on."""
    arn = here.settings.aws.role
    if arn is None:
        yield Check("role", FAIL, "config.yaml has no aws.role", "swatch setup aws")
        return
    name = arn.rpartition("/")[2]
    found = _absent_as(None, lambda: aws.client("iam").get_role(RoleName=name), "NoSuchEntity")
    if found is None:
        yield Check("role", FAIL, f"there is no role {name}", "swatch setup aws")
        return
    trust = found["Role"]["AssumeRolePolicyDocument"]
    if not _trusts(trust, "sagemaker.amazonaws.com"):
        yield Check("role", FAIL, f"{name} does not trust sagemaker.amazonaws.com", "swatch setup aws")
    elif "SourceAccount" not in str(trust):
        said = f"SageMaker may take {name} on for other accounts, too (no aws:SourceAccount)"
        yield Check("role", WARN, said, "swatch setup aws")
    else:
        yield Check("role", OK, f"{name}, which SageMaker takes on for this account alone")


def image(machine: str) -> Callable[[Here], Iterable[Check]]:
    """Which image jobs would run in, and whether it is there. AWS' own registry answers nobody's questions."""

    def image(here: Here) -> Iterator[Check]:
        try:
            chosen = foundry.choose(here.settings, "sagemaker", None, None, machine)
        except UsageError as error:
            yield Check("image", FAIL, error.message, error.hint or "")
            return
        uri = chosen.uri
        if uri is None:  # a Dockerfile
            yield Check("image", OK, chosen.note)
            return
        if not chosen.there:
            said = f"{uri} is not there yet: the first job has it built and pushed"
            yield Check("image", WARN, said, "swatch image push does it now; aws: {image: aws} in config.yaml without")
            return
        found = images.ECR.fullmatch(uri)
        if found is not None and found["region"] != here.region:
            fix = f"Push it to ECR in {here.region}"
            yield Check("image", FAIL, f"{uri} is in another region than jobs ({here.region})", fix)
        elif found is not None and found["account"] != here.id:
            said = f"{uri} is in the registry of another account, which cannot be asked"
            yield Check("image", UNKNOWN, f"{chosen.note}; {said}" if chosen.note else said)
        elif found is not None and not _pushed(found):
            yield Check(
                "image", FAIL, f"there is no {uri}", "swatch image push IMAGE, and name what it prints: aws.image"
            )
        else:
            yield Check("image", OK, uri)

    return image


def _pushed(found: re.Match[str]) -> bool:
    """Whether the account's registry has the image."""
    asked = {"imageDigest": found["digest"]} if found["digest"] else {"imageTag": found["tag"] or "latest"}
    there = _absent_as(
        None,
        lambda: aws.client("ecr").describe_images(repositoryName=found["repository"], imageIds=[asked]),
        "ImageNotFoundException",
        "RepositoryNotFoundException",
    )
    return there is not None


def queue(here: Here) -> Iterator[Check]:
    """Whether the job queue that config.yaml names, if any, takes jobs."""
    name = here.settings.aws.queue
    if name is not None:
        wrong = queues.trouble(name)
        fix = "Make or mend it in AWS Batch, or name another in config.yaml: aws.queue" if wrong else ""
        yield Check("queue", FAIL if wrong else OK, wrong or f"{name} takes jobs", fix)


def quotas(machine: str) -> Callable[[Here], Iterable[Check]]:
    """How many of the machine, and of those it stands for, the account may have at a time."""

    def quota(here: Here) -> Iterator[Check]:
        types = machines.expand([machine])
        found = _quotas(types)
        for index, one in enumerate(types):
            counts = {of: found.get(f"{one} for {end}") for end, of in QUOTAS.items()}
            yield _quota(one, counts, needed=index == 0, warm=here.settings.aws.keep_alive > 0)

    return quota


def budget(here: Here) -> Iterator[Check]:
    """Whether anything tells the account's owner of costs that Swatch does not see."""
    with aws.explained("asking for budgets"):
        found = aws.client("budgets").describe_budgets(AccountId=here.id).get("Budgets", [])
    if found:
        names = ", ".join(str(one.get("BudgetName", "")) for one in found[:3])
        yield Check("budget", OK, f"{len(found)} in AWS Budgets: {names}")
    else:
        fix = "Make one that writes to you: https://console.aws.amazon.com/billing/home#/budgets"
        yield Check("budget", WARN, "AWS Budgets has none", fix)


def _quota(machine: str, counts: Mapping[str, tuple[float, str] | None], needed: bool, warm: bool) -> Check:
    name = f"quota {machine}"
    if all(count is None for count in counts.values()):
        return Check(name, UNKNOWN, f"Service Quotas does not list {machine}")
    said = ", ".join(f"{count[0]:.0f} {of}" for of, count in counts.items() if count is not None)
    wanting = [of for of, count in counts.items() if count is not None and not count[0] and (of != "warm pool" or warm)]
    if not wanting:
        return Check(name, OK, said)
    usable = any(count is not None and count[0] for of, count in counts.items() if of != "warm pool")
    code = next(count[1] for of, count in counts.items() if of == wanting[0] and count is not None)
    fix = (
        "aws service-quotas request-service-quota-increase --service-code sagemaker "
        f"--quota-code {code} --desired-value 1"
    )
    return Check(name, WARN if usable or not needed else FAIL, said, fix)


def _quotas(types: Iterable[str]) -> dict[str, tuple[float, str]]:
    """Value and code of each quota of training with these machines, by name. A quota's code can be found only so: the
    codes follow no rule."""
    asked = {f"{one} for {end}" for one in types for end in QUOTAS}
    found: dict[str, tuple[float, str]] = {}
    client = aws.client("service-quotas")
    more: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        with aws.explained("asking for quotas"):
            page = client.list_service_quotas(ServiceCode="sagemaker", MaxResults=100, **more)
        for one in page.get("Quotas", []):
            if one.get("QuotaName") in asked:
                found[one["QuotaName"]] = (float(one.get("Value", 0)), str(one.get("QuotaCode", "")))
        if len(found) == len(asked) or not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    return found


def _reached(settings: Settings) -> Here:
    """Raises CloudError and its kin: no region, no credentials, no answer."""
    region = aws.client("sagemaker").meta.region_name
    with aws.explained("asking AWS who you are"):
        reply = aws.client("sts").get_caller_identity()
    headers = {str(key).lower(): str(value) for key, value in reply["ResponseMetadata"].get("HTTPHeaders", {}).items()}
    return Here(settings, reply["Account"], region, headers)


def _absent_as(nothing: Any, ask: Callable[[], Any], *absent: str) -> Any:
    try:
        with aws.explained("asking AWS"):
            return ask()
    except CloudError as error:
        if error.code in absent:
            return nothing
        raise


def _trusts(policy: Any, service: str) -> bool:
    """Whether a statement of a trust policy allows the service to take the role on."""
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    for one in statements if isinstance(statements, list) else [statements]:
        principal = one.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        named = service in (services if isinstance(services, list) else [services])
        if named and one.get("Effect") == "Allow" and "sts:AssumeRole" in str(one.get("Action")):
            return True
    return False
