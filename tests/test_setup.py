"""`swatch setup aws`: the exact requests, on an empty account and on one that is half set up, and that they work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import account as wanted
from orchestrator import aws, images, provision, settings, stack
from orchestrator.account import Account
from orchestrator.backends.sagemaker import model
from orchestrator.errors import UsageError
from orchestrator.provision import Found, FoundRole
from orchestrator.settings import Aws
from tests.conftest import Box

ID = "123456789012"
"""The account that moto plays."""


def account(**changed: Any) -> Account:
    base: dict[str, Any] = {
        "id": ID,
        "region": "eu-west-1",
        "bucket": "studio",
        "prefix": "swatch",
        "role": "swatch",
        "repository": "swatch",
        "registry": "763104351884",
    }
    return Account(**{**base, **changed})


def test_the_exact_requests_on_an_empty_account() -> None:
    todo = provision.steps(account(), Found())
    whose = {"Bucket": "studio", "ExpectedBucketOwner": ID}
    assert [(step.service, step.operation) for step in todo] == [
        ("s3", "CreateBucket"),
        ("s3", "PutPublicAccessBlock"),
        ("s3", "PutBucketEncryption"),
        ("s3", "PutBucketVersioning"),
        ("s3", "PutBucketLifecycleConfiguration"),
        ("s3", "PutBucketPolicy"),
        ("ecr", "CreateRepository"),
        ("ecr", "PutLifecyclePolicy"),
        ("iam", "CreateRole"),
        ("iam", "PutRolePolicy"),
        ("iam", "CreateRole"),
        ("iam", "PutRolePolicy"),
    ]
    requests = [step.request for step in todo]
    assert requests[0] == {
        "Bucket": "studio",
        "ObjectOwnership": "BucketOwnerEnforced",
        "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"},
    }
    assert requests[1] == {
        **whose,
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    }
    encrypted = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    assert requests[2] == {**whose, "ServerSideEncryptionConfiguration": encrypted}
    assert requests[3] == {**whose, "VersioningConfiguration": {"Status": "Enabled"}}
    rule = {
        "ID": "swatch",
        "Status": "Enabled",
        "Filter": {"Prefix": "swatch/"},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    assert requests[4] == {**whose, "LifecycleConfiguration": {"Rules": [rule]}}
    assert json.loads(requests[5]["Policy"])["Statement"] == [
        {
            "Sid": "SwatchDenyInsecureTransport",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::studio", "arn:aws:s3:::studio/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    assert requests[6] == {
        "repositoryName": "swatch",
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
    }
    assert json.loads(requests[8]["AssumeRolePolicyDocument"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": ID}},
        }
    ]
    assert json.loads(requests[9]["PolicyDocument"]) == wanted.job_policy(account())
    assert requests[10]["RoleName"] == requests[11]["RoleName"] == "swatch-build"
    (trusted,) = json.loads(requests[10]["AssumeRolePolicyDocument"])["Statement"]
    assert trusted["Principal"] == {"Service": "codebuild.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": ID}}
    assert json.loads(requests[11]["PolicyDocument"]) == wanted.build_policy(account())
    for step in todo:
        model.check(step.operation, step.request, step.service)


def after(found: Found, step: provision.Step) -> Found:
    """What there is when AWS has done as it was told."""
    told = step.request
    changes: dict[str, dict[str, Any]] = {
        "CreateBucket": {"bucket_region": "eu-west-1"},
        "PutPublicAccessBlock": {"public_access": told.get("PublicAccessBlockConfiguration")},
        "PutBucketEncryption": {"encryption": told.get("ServerSideEncryptionConfiguration")},
        "PutBucketVersioning": {"versioning": told.get("VersioningConfiguration", {}).get("Status")},
        "PutBucketLifecycleConfiguration": {"rules": told.get("LifecycleConfiguration", {}).get("Rules")},
        "CreateRepository": {"repository": told},
        "PutImageScanningConfiguration": {"repository": {**(found.repository or {}), **told}},
        "PutImageTagMutability": {"repository": {**(found.repository or {}), **told}},
        "PutLifecyclePolicy": {"image_lifecycle": {}},
    }
    if step.operation == "PutBucketPolicy":
        return found._replace(bucket_policy=json.loads(told["Policy"]))
    texts = {
        "CreateRole": ("trust", "AssumeRolePolicyDocument"),
        "UpdateAssumeRolePolicy": ("trust", "PolicyDocument"),
        "PutRolePolicy": ("policy", "PolicyDocument"),
    }
    if step.operation in texts:
        field, member = texts[step.operation]
        changed = {field: json.loads(told[member])}
        if told["RoleName"].endswith("-build"):
            return found._replace(build_role=found.build_role._replace(**changed))
        return found._replace(role=found.role._replace(**changed))
    return found._replace(**changes[step.operation])


statement = st.fixed_dictionaries(
    {"Effect": st.just("Allow"), "Action": st.sampled_from(["s3:GetObject", ["s3:GetObject"]])},
    optional={"Sid": st.sampled_from(["Theirs", wanted.INSECURE])},
)
documents = st.none() | st.fixed_dictionaries(
    {"Version": st.just("2012-10-17"), "Statement": statement | st.lists(statement, max_size=3)}
)
rules = st.fixed_dictionaries({"Status": st.just("Enabled")}, optional={"ID": st.sampled_from(["theirs", wanted.RULE])})
roles = st.builds(FoundRole, trust=documents, policy=documents, is_ours=st.just(True))
anything = st.builds(
    Found,
    bucket_region=st.sampled_from([None, "eu-west-1"]),
    public_access=st.sampled_from([None, wanted.PUBLIC_ACCESS, {"BlockPublicAcls": True}]),
    encryption=st.sampled_from([None, {"Rules": []}, wanted.encryption(account())]),
    versioning=st.sampled_from([None, "Suspended", "Enabled"]),
    rules=st.lists(rules, max_size=3),
    bucket_policy=documents,
    repository=st.sampled_from(
        [
            None,
            {"imageTagMutability": "MUTABLE"},
            {"imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": False}},
        ]
    ),
    image_lifecycle=st.sampled_from([None, {"rules": []}]),
    role=roles,
    build_role=roles,
)


@given(anything, st.sampled_from([Aws(), Aws(kms_key="alias/k"), Aws(remote_debug=True)]))
def test_from_wherever_it_starts_one_run_is_enough(found: Found, aws_: Aws) -> None:
    mine = account(aws=aws_)
    theirs = [one for one in found.rules if one.get("ID") != wanted.RULE]
    for step in provision.steps(mine, found):
        model.check(step.operation, step.request, step.service)
        found = after(found, step)
    assert provision.steps(mine, found) == []
    assert [one for one in found.rules if one.get("ID") != wanted.RULE] == theirs


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["Sid"]: one for one in policy["Statement"]}


def resources(statement: dict[str, Any]) -> list[str]:
    found = statement["Resource"]
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize(
    "aws_", [Aws(), Aws(kms_key="alias/k", subnets=("s",), security_groups=("g",), remote_debug=True)]
)
def test_the_job_may_do_what_it_needs_in_its_own_corner_only(aws_: Aws) -> None:
    policy = statements(wanted.job_policy(account(aws=aws_)))
    everything = {sid for sid, one in policy.items() if "*" in resources(one)}
    # What AWS offers no resources for (Service Authorization Reference), and these alone.
    assert everything <= {"Metrics", "Registry", "Network", "RemoteDebug"}
    actions = [
        action
        for one in policy.values()
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    ]
    assert not [action for action in actions if "*" in action or action.split(":")[0] in ("iam", "sts", "sagemaker")]
    assert resources(policy["StoreObjects"]) == ["arn:aws:s3:::studio/swatch/*"]
    assert resources(policy["Checkpoints"]) == ["arn:aws:s3:::studio/swatch/projects/*/checkpoints/*"]
    assert policy["StoreList"]["Condition"] == {"StringLike": {"s3:prefix": ["swatch", "swatch/*"]}}
    assert resources(policy["Images"]) == [
        f"arn:aws:ecr:eu-west-1:{ID}:repository/swatch",
        "arn:aws:ecr:eu-west-1:763104351884:repository/*",
    ]
    assert ("Network" in policy, "RemoteDebug" in policy, "Key" in policy) == (bool(aws_.subnets),) * 3
    assert len(json.dumps(wanted.job_policy(account(aws=aws_)))) < 10_240, "IAM's limit for a role's inline policies"


def test_whoever_submits_may_pass_that_role_to_sagemaker_alone() -> None:
    policy = statements(wanted.user_policy(account()))
    assert "s3:DeleteObject" in policy["StoreObjects"]["Action"], "swatch delete, swatch data delete"
    assert policy["PassRole"] == {
        "Sid": "PassRole",
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": f"arn:aws:iam::{ID}:role/swatch",
        "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    }
    assert resources(policy["Jobs"]) == [f"arn:aws:sagemaker:eu-west-1:{ID}:training-job/swatch-*"]
    assert "sagemaker:StopTrainingJob" in policy["Jobs"]["Action"]
    assert (
        "batch:SubmitServiceJob" in statements(wanted.user_policy(account(aws=Aws(queue="night"))))["Queue"]["Action"]
    )


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        ("alias/textures", f"arn:aws:kms:eu-west-1:{ID}:key/*", "alias/textures"),
        (f"arn:aws:kms:eu-west-1:{ID}:alias/textures", f"arn:aws:kms:eu-west-1:{ID}:key/*", "alias/textures"),
        ("1234abcd", f"arn:aws:kms:eu-west-1:{ID}:key/1234abcd", None),
        (f"arn:aws:kms:eu-west-1:{ID}:key/1234abcd", f"arn:aws:kms:eu-west-1:{ID}:key/1234abcd", None),
    ],
)
def test_a_key_is_granted_in_each_form(key: str, resource: str, alias: str | None) -> None:
    with_key = account(aws=Aws(kms_key=key))
    policy = statements(wanted.job_policy(with_key))
    assert resources(policy["Key"]) == resources(policy["KeyGrants"]) == [resource]
    condition = policy["Key"].get("Condition")
    assert condition == ({"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}} if alias else None)
    assert policy["KeyGrants"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    default = wanted.encryption(with_key)["Rules"][0]
    assert default["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}


def test_what_others_put_into_the_bucket_is_kept() -> None:
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
    outdated = {**wanted.lifecycle(account()), "NoncurrentVersionExpiration": {"NoncurrentDays": 99}}
    theirs = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "s3:GetObject", "Resource": "y"}
    found = Found(
        bucket_region="eu-west-1", rules=[rule, outdated], bucket_policy={"Version": "2012-10-17", "Statement": theirs}
    )
    todo = {step.operation: step.request for step in provision.steps(account(), found)}
    assert "CreateBucket" not in todo
    rules = todo["PutBucketLifecycleConfiguration"]["LifecycleConfiguration"]["Rules"]
    assert rules == [rule, wanted.lifecycle(account())]
    kept = json.loads(todo["PutBucketPolicy"]["Policy"])["Statement"]
    assert kept == [theirs, *wanted.bucket_policy(account())["Statement"]]


def test_a_role_that_trusts_too_many_is_mended() -> None:
    open_ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    todo = {
        step.operation: step.request for step in provision.steps(account(), Found(role=FoundRole(open_, is_ours=True)))
    }
    assert json.loads(todo["UpdateAssumeRolePolicy"]["PolicyDocument"]) == wanted.trust(account())
    assert "swatch" not in [
        one.request["RoleName"]
        for one in provision.steps(account(), Found(role=FoundRole(open_, is_ours=True)))
        if one.operation == "CreateRole"
    ]


def test_the_trust_of_a_role_that_others_made_is_not_touched() -> None:
    theirs = {"Version": "2012-10-17", "Statement": []}
    with pytest.raises(UsageError, match="was not made by Swatch") as caught:
        provision.steps(account(), Found(role=FoundRole(theirs)))
    assert caught.value.hint is not None and "--role" in caught.value.hint
    todo = provision.steps(account(), Found(role=FoundRole(wanted.trust(account()))))
    assert "PutRolePolicy" in {step.operation for step in todo}, "a role that trusts as ours may serve"


def test_a_repository_whose_tags_change_is_mended(bucket: str) -> None:
    mine = account(region="us-east-1", bucket=f"{bucket}-x", role=bucket, repository=bucket)
    aws.client("ecr").create_repository(repositoryName=bucket)
    todo = provision.steps(mine, provision.look(mine))
    assert [step.operation for step in todo if step.service == "ecr"] == [
        "PutImageTagMutability",
        "PutImageScanningConfiguration",
        "PutLifecyclePolicy",
    ]
    for step in todo:
        model.check(step.operation, step.request, step.service)
        provision.take(step, mine)
    (made,) = aws.client("ecr").describe_repositories(repositoryNames=[bucket])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"


def test_builds_may_do_what_they_need_in_their_own_corner_only() -> None:
    policy = statements(wanted.build_policy(account()))
    assert {sid for sid, one in policy.items() if "*" in resources(one)} == {"Registry"}
    assert resources(policy["Context"]) == ["arn:aws:s3:::studio/swatch/images/*"]
    assert resources(policy["Images"]) == [f"arn:aws:ecr:eu-west-1:{ID}:repository/swatch"]
    assert "ecr:PutImage" not in policy["ImagesOfAws"]["Action"]
    actions = str([one["Action"] for one in policy.values()])
    assert "s3:PutObject" not in actions and "iam:" not in actions and "Delete" not in actions


def test_a_bucket_of_another_region_is_refused() -> None:
    with pytest.raises(UsageError, match="is in us-west-2, not in eu-west-1"):
        provision.steps(account(), Found(bucket_region="us-west-2"))


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_once_done_there_is_nothing_to_do(bucket: str, region: str) -> None:
    mine = account(region=region, bucket=f"{bucket}-{region}", role=bucket, repository=bucket)
    for step in provision.steps(mine, provision.look(mine)):
        provision.take(step, mine)
    assert provision.steps(mine, provision.look(mine)) == []
    assert provision.look(mine).role.is_ours
    again = account(region=region, bucket=f"{bucket}-{region}", role=bucket, repository=bucket, prefix="other")
    todo = provision.steps(again, provision.look(again))
    assert len(todo) == 3  # the rule of the bucket, and the policies of both roles
    changed = {step.operation for step in todo}
    assert changed == {"PutBucketLifecycleConfiguration", "PutRolePolicy"}


def filled(value: Any) -> Any:
    """What CloudFormation makes of a template's texts in moto's account."""
    if isinstance(value, dict) and set(value) == {"Fn::Sub"}:
        known = {"${AWS::AccountId}": ID, "${AWS::Region}": "us-east-1", "${AWS::Partition}": "aws"}
        text = value["Fn::Sub"]
        for name, meaning in known.items():
            text = text.replace(name, meaning)
        return text
    if isinstance(value, dict):
        return {key: filled(entry) for key, entry in value.items()}
    return [filled(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("key", [None, "arn:aws:kms:us-east-1:123456789012:key/1234abcd"])
def test_the_stack_is_equal_in_meaning(key: str | None) -> None:
    """An account that is as the template says leaves nothing to do."""
    ours = Aws(kms_key=key)
    written = account(id=stack.ID, region=stack.REGION, partition=stack.PARTITION, aws=ours)
    template = filled(yaml.safe_load(stack.text(written)))["Resources"]
    assert "${" not in json.dumps(template)
    bucket, policy, repository, role, build = (
        template[name]["Properties"] for name in ("Bucket", "BucketPolicy", "Repository", "Role", "BuildRole")
    )
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    (default,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (inline,), (of_builds,) = role["Policies"], build["Policies"]
    assert (bucket["BucketName"], repository["RepositoryName"], role["RoleName"]) == ("studio", "swatch", "swatch")
    assert build["RoleName"] == "swatch-build"
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    found = Found(
        bucket_region="us-east-1",
        public_access=bucket["PublicAccessBlockConfiguration"],
        encryption={"Rules": [{"ApplyServerSideEncryptionByDefault": default["ServerSideEncryptionByDefault"]}]},
        versioning=bucket["VersioningConfiguration"]["Status"],
        rules=[
            {
                "ID": rule["Id"],
                "Filter": {"Prefix": rule["Prefix"]},
                **{name: value for name, value in rule.items() if name not in ("Id", "Prefix")},
            }
        ],
        bucket_policy=policy["PolicyDocument"],
        repository={
            "imageTagMutability": repository["ImageTagMutability"],
            "imageScanningConfiguration": {"scanOnPush": repository["ImageScanningConfiguration"]["ScanOnPush"]},
        },
        image_lifecycle=json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"]),
        role=FoundRole(role["AssumeRolePolicyDocument"], inline["PolicyDocument"]),
        build_role=FoundRole(build["AssumeRolePolicyDocument"], of_builds["PolicyDocument"]),
    )
    assert provision.steps(account(region="us-east-1", aws=ours), found) == []
    assert repository.get("EncryptionConfiguration") == ({"EncryptionType": "KMS", "KmsKey": key} if key else None)


@pytest.mark.filterwarnings("ignore:Tried to parse AWS.*not supported by moto")
def test_cloudformation_takes_the_template(bucket: str) -> None:
    """moto's makes bucket, repository and role of it (of the bucket its name and encryption alone)."""
    name = f"{bucket[:40]}-stack"
    written = account(
        id=stack.ID, region=stack.REGION, partition=stack.PARTITION, bucket=name, role=name, repository=name
    )
    aws.client("cloudformation").create_stack(
        StackName=name, TemplateBody=stack.text(written), Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    found = provision.look(account(region="us-east-1", bucket=name, role=name, repository=name))
    made = account(region="us-east-1", bucket=name, role=name, repository=name)
    assert found.role.trust == wanted.trust(made)
    assert found.role.is_ours
    assert str(found.role.policy) == str(wanted.job_policy(made))  # moto keeps it as text of Python
    assert found.repository is not None
    assert found.bucket_region == "us-east-1"


def with_aws(box: Box) -> Box:
    box.environment.update((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    return box


def test_the_verb_says_does_and_writes_down(box: Box, bucket: str) -> None:
    names = ["--bucket", f"{bucket}-x/textures", "--role", bucket, "--repository", bucket]
    dry = with_aws(box).swatch("setup", "aws", "--dry-run", *names)
    assert "s3: CreateBucket" in dry and "iam: PutRolePolicy" in dry and '"iam:PassRole"' in dry
    assert "Nothing was changed" in dry
    assert not (box.home / "config.yaml").exists()
    assert f"{bucket}-x" not in [one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]]
    said = box.swatch("setup", "aws", *names)
    assert said.index("iam: PutRolePolicy") < said.index("1/12 done") < said.index("12/12 done")
    found = settings.load(environment={"SWATCH_HOME": str(box.home)})
    assert found.store == f"s3://{bucket}-x/textures"
    assert found.aws.role == f"arn:aws:iam::{ID}:role/{bucket}"
    assert found.aws.repository == bucket
    again = box.swatch("setup", "aws")
    assert "Nothing to do" in again and "says already" in again and " done" not in again


def test_the_template_needs_no_credentials(box: Box) -> None:
    for name in [name for name in box.environment if name.startswith("AWS_")]:
        del box.environment[name]
    box.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    template = yaml.safe_load(box.swatch("setup", "aws", "--print", "cloudformation"))
    assert set(template["Resources"]) == {"Bucket", "BucketPolicy", "Repository", "Role", "BuildRole"}
    assert template["Resources"]["Bucket"]["Properties"]["BucketName"] == {
        "Fn::Sub": "swatch-${AWS::AccountId}-${AWS::Region}"
    }


CONFIGS = [
    "",
    "# mine\nslots: 2  # two\n",
    "store: /old\nuser: alice\n",
    "aws:\n    # where\n    image: me:1\n    role: old\n    queue: night\nslots: 2\n",
    "aws: {image: 'me:1', role: old}\nslots: 2\n",
    "aws:\nslots: 1\n",
    "{store: /old, slots: 3}\n",
    "store: |\n  /old\n",
]


@pytest.mark.parametrize("text", CONFIGS)
def test_the_configuration_keeps_what_is_there(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    before = yaml.safe_load(text) or {}
    assert settings.write(tmp_path, "s3://b/p", "arn:aws:iam::1:role/x")
    changed = (tmp_path / "config.yaml").read_text()
    after = yaml.safe_load(changed)
    assert after == {
        **before,
        "store": "s3://b/p",
        "aws": {**(before.get("aws") or {}), "role": "arn:aws:iam::1:role/x"},
    }
    assert settings.load(environment={"SWATCH_HOME": str(tmp_path)}).aws.repository == "swatch"
    if "{" not in text:
        assert all(comment in changed for comment in ("# mine", "# two", "# where") if comment in text)
    assert not settings.write(tmp_path, "s3://b/p", "arn:aws:iam::1:role/x"), (
        "the second time there is nothing to write"
    )
    assert settings.write(tmp_path, "s3://b/p", "arn:aws:iam::1:role/x", "mine")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {
        **after,
        "aws": {**after["aws"], "repository": "mine"},
    }
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@given(st.text("stor aws:#{}[]-|>\"'\n/e", max_size=40))
def test_any_file_that_is_read_is_kept(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.yaml").write_text(text)
    try:
        before = settings.load(environment={"SWATCH_HOME": str(folder)})
    except UsageError:
        return
    settings.write(folder, "s3://b/p", "r")
    after = settings.load(environment={"SWATCH_HOME": str(folder)})
    assert (after.store, after.aws.role, after.slots, after.aws.image) == (
        "s3://b/p",
        "r",
        before.slots,
        before.aws.image,
    )


REGIONS = ["us-east-1", "eu-west-1", "ap-east-1", "cn-north-1", "us-gov-west-1", "me-south-1"]


def test_the_table_of_registries_is_the_sdks() -> None:
    listed = images.listed()
    if not listed:
        pytest.skip("the SageMaker SDK is not installed")
    assert {region: listed[region] for region in images._REGISTRIES} == images._REGISTRIES


def test_an_image_for_each_kind_of_machine() -> None:
    assert images.base("gpu", "us-east-1") == (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"
    )
    assert images.base("ml.m5.xlarge", "cn-north-1") == (
        "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/tensorflow-training:2.21-cpu-py312"
    )
    with pytest.raises(UsageError, match="mars-1") as caught:
        images.base("gpu", "mars-1")
    assert caught.value.hint


def test_without_the_sdk_the_table_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with_sdk = [images.base("gpu", region) for region in REGIONS]
    monkeypatch.setattr(images, "find_spec", lambda _: None)
    assert images.listed() == {}
    assert [images.base("gpu", region) for region in REGIONS] == with_sdk
    with pytest.raises(UsageError):
        images.base("gpu", "mars-1")


@pytest.mark.slow
def test_the_sdks_own_function_says_the_same() -> None:
    pytest.importorskip("sagemaker")
    for machine in ("ml.g5.xlarge", "ml.m5.xlarge", "ml.p5.48xlarge"):
        for region in REGIONS:
            assert images.retrieved(machine, region) == images.base(machine, region)
    with pytest.raises(UsageError, match="mars-1"):
        images.retrieved("gpu", "mars-1")
