"""The account as a CloudFormation template, for people whose account is made that way: equal in meaning to what
`provision` does. Pure; the account's id and region are CloudFormation's to fill in."""

from __future__ import annotations

import json
from typing import Any

from orchestrator import account as wanted
from orchestrator.account import Account

ID, REGION, PARTITION = "${AWS::AccountId}", "${AWS::Region}", "${AWS::Partition}"


def template(account: Account) -> dict[str, Any]:
    """The template's data. The bucket and the repository outlive the stack: what jobs made is not for a stack to
    delete."""
    rule = wanted.lifecycle(account)
    resources: dict[str, Any] = {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "BucketName": account.bucket,
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "PublicAccessBlockConfiguration": wanted.PUBLIC_ACCESS,
                "BucketEncryption": {"ServerSideEncryptionConfiguration": _encryption(account)},
                "VersioningConfiguration": {"Status": "Enabled"},
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": rule["ID"],
                            "Status": rule["Status"],
                            "Prefix": rule["Filter"]["Prefix"],
                            "NoncurrentVersionExpiration": rule["NoncurrentVersionExpiration"],
                            "AbortIncompleteMultipartUpload": rule["AbortIncompleteMultipartUpload"],
                        }
                    ]
                },
            },
        },
        "BucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": wanted.bucket_policy(account)},
        },
        "Repository": {
            "Type": "AWS::ECR::Repository",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": _repository(account),
        },
        "Role": _role(account.role, wanted.ROLE_SAYS, wanted.trust(account), wanted.job_policy(account)),
        "BuildRole": _role(
            account.build_role,
            wanted.BUILD_ROLE_SAYS,
            wanted.trust(account, wanted.CODEBUILD),
            wanted.build_policy(account),
        ),
    }
    outputs = {"Store": {"Value": account.store}, "Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}}}
    filled = _filled({"Resources": resources, "Outputs": outputs})
    assert isinstance(filled, dict)
    return {"AWSTemplateFormatVersion": "2010-09-09", "Description": "What Swatch needs of an AWS account", **filled}


def text(account: Account) -> str:
    """The template as YAML."""
    import yaml

    return yaml.safe_dump(template(account), sort_keys=False, width=110)


def _encryption(account: Account) -> list[dict[str, Any]]:
    """CloudFormation has its own word for the default of a rule."""
    rules = []
    for rule in wanted.encryption(account)["Rules"]:
        others = {key: value for key, value in rule.items() if key != "ApplyServerSideEncryptionByDefault"}
        rules.append({"ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"], **others})
    return rules


def _role(name: str, says: str, trust: wanted.Policy, policy: wanted.Policy) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "Description": says,
            "Tags": [wanted.TAG],
            "AssumeRolePolicyDocument": trust,
            "Policies": [{"PolicyName": wanted.POLICY, "PolicyDocument": policy}],
        },
    }


def _repository(account: Account) -> dict[str, Any]:
    made: dict[str, Any] = {
        "RepositoryName": account.repository,
        "ImageTagMutability": "IMMUTABLE",
        "ImageScanningConfiguration": {"ScanOnPush": True},
        "LifecyclePolicy": {"LifecyclePolicyText": json.dumps(wanted.IMAGE_LIFECYCLE)},
    }
    if account.aws.kms_key:
        made["EncryptionConfiguration"] = {"EncryptionType": "KMS", "KmsKey": account.aws.kms_key}
    return made


def _filled(value: Any) -> Any:
    """The value with each text that has something to fill in marked as such. Nothing else in it has a `${`."""
    if isinstance(value, dict):
        return {key: _filled(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry) for entry in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${AWS::" in value else value
