"""What Swatch needs of an AWS account: names, and who may do what. Pure; `provision` makes it so.

Policies grant what the API reference names for each operation that Swatch or SageMaker makes ("CreateTrainingJob API:
Execution Role Permissions" for the role), on our bucket's prefix, our repository and our jobs only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from orchestrator.settings import Aws

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
JOBS = "training-job/swatch-*"
"""Names of our training jobs (see backends/sagemaker/request)."""
QUEUED = "training-job/AWSBatchswatch-*"
"""Names of those that AWS Batch starts for us."""

SECRETS = "secret:swatch/*"
"""Values of jobs' secrets (see contract.secret_ids)."""

OLD_VERSIONS = 7
"""Days for which what was overwritten or deleted in the bucket can be brought back."""
HALF_UPLOADS = 7
"""Days after which the parts of an upload that never ended are removed; they cost, and no listing shows them."""
UNTAGGED_IMAGES = 14
"""Days for which an image without a tag is kept."""

POLICY = "swatch"
"""Name of the role's inline policy."""
INSECURE = "SwatchDenyInsecureTransport"
RULE = "swatch"
TAG = {"Key": "swatch", "Value": "execution-role"}
"""On the role, so that a later run knows it for ours: it changes the trust of no other."""
ROLE_SAYS = "What jobs of Swatch run under, and SageMaker for them"
BUILD_ROLE_SAYS = "What builds of Swatch's images run under (CodeBuild)"
BUILD_ROLE = "-build"
"""What the name of the role of builds adds to that of jobs."""
BUILDS = "swatch-*"
"""Names of our CodeBuild projects (see codebuild)."""
BUILD_LOGS = f"/aws/codebuild/{BUILDS}"
CONTEXTS = "images/"
"""Where in the store is what a build is made from."""

Policy = dict[str, Any]


class Account(NamedTuple):
    """An account and what is ours in it. `registry` is the account of AWS' deep-learning containers in the region.
    `id`, `region` and `partition` may be placeholders of CloudFormation."""

    id: str
    region: str
    bucket: str
    prefix: str
    role: str
    repository: str
    registry: str
    partition: str = "aws"
    aws: Aws = Aws()

    @property
    def store(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def objects(self) -> str:
        """The ARN that stands for all objects of the store, without the star."""
        return f"{self.bucket_arn}/{self.prefix}/" if self.prefix else f"{self.bucket_arn}/"

    @property
    def role_arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.id}:role/{self.role}"

    @property
    def build_role(self) -> str:
        return f"{self.role}{BUILD_ROLE}"

    @property
    def build_role_arn(self) -> str:
        return f"{self.role_arn}{BUILD_ROLE}"

    @property
    def repository_arn(self) -> str:
        return self.arn("ecr", f"repository/{self.repository}")

    @property
    def registry_arn(self) -> str:
        """The ARN that stands for all of AWS' own images in the region."""
        return f"arn:{self.partition}:ecr:{self.region}:{self.registry}:repository/*"

    def arn(self, service: str, rest: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{rest}"


def trust(account: Account, service: str = "sagemaker.amazonaws.com") -> Policy:
    """Who may act as a role: a service, for this account alone (IAM User Guide, "The confused deputy problem")."""
    return _policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
        }
    )


def job_policy(account: Account) -> Policy:
    """What a job may do, and SageMaker for it."""
    logs = account.arn("logs", f"log-group:{LOG_GROUP}")
    statements = [
        _allow("StoreObjects", ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{account.objects}*"),
        # What the program removes from its checkpoints, SageMaker removes from their copy.
        _allow("Checkpoints", "s3:DeleteObject", f"{account.objects}projects/*/checkpoints/*"),
        _listing(account),
        _allow("Location", "s3:GetBucketLocation", account.bucket_arn),
        _allow("LogGroup", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [logs, f"{logs}:*"]),
        _allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{logs}:log-stream:*"),
        _allow(
            "Metrics",
            "cloudwatch:PutMetricData",
            "*",
            {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}},
        ),
        _allow("Registry", "ecr:GetAuthorizationToken", "*"),
        _allow("Images", _PULL, [account.repository_arn, account.registry_arn]),
    ]
    statements.append(_allow("Secrets", "secretsmanager:GetSecretValue", account.arn("secretsmanager", SECRETS)))
    if account.aws.subnets:
        statements.append(_allow("Network", _NETWORK, "*"))
    if account.aws.remote_debug:
        statements.append(_allow("RemoteDebug", _REMOTE_DEBUG, "*"))
    return _policy(*statements, *_keys(account))


def user_policy(account: Account) -> Policy:
    """What a person needs who submits, watches and stops jobs, and asks `swatch doctor`. Printed, never attached."""
    logs = account.arn("logs", f"log-group:{LOG_GROUP}")
    bucket_reads = [
        "s3:GetBucketLocation",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
    ]
    jobs = ["AddTags", "CreateTrainingJob", "DescribeTrainingJob", "ListTags", "StopTrainingJob"]
    statements = [
        _allow(
            "StoreObjects",
            ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            f"{account.objects}*",
        ),
        _listing(account),
        _allow("Bucket", bucket_reads, account.bucket_arn),
        _allow("Jobs", [f"sagemaker:{one}" for one in jobs], account.arn("sagemaker", JOBS)),
        _allow("ListJobs", "sagemaker:ListTrainingJobs", "*"),
        _allow(
            "PassRole",
            "iam:PassRole",
            account.role_arn,
            {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        ),
        _allow("Role", "iam:GetRole", account.role_arn),
        _allow("Log", ["logs:DescribeLogStreams", "logs:GetLogEvents"], [f"{logs}:*", f"{logs}:log-stream:*"]),
        _allow("Registry", "ecr:GetAuthorizationToken", "*"),
        _allow("Images", [*_PULL, *_PUSH, *_KEEP], account.repository_arn),
        _allow("ImagesOfAws", _PULL, account.registry_arn),
        _allow("Builds", _BUILD, account.arn("codebuild", f"project/{BUILDS}")),
        _allow(
            "PassBuildRole",
            "iam:PassRole",
            account.build_role_arn,
            {"StringEquals": {"iam:PassedToService": CODEBUILD}},
        ),
        _allow("BuildLog", "logs:GetLogEvents", account.arn("logs", f"log-group:{BUILD_LOGS}:log-stream:*")),
        _allow(
            "Doctor",
            ["budgets:ViewBudget", "pricing:GetProducts", "servicequotas:ListServiceQuotas"],
            "*",
        ),
    ]
    kept = [f"secretsmanager:{one}" for one in ("CreateSecret", "DescribeSecret", "PutSecretValue")]
    statements.append(_allow("Secrets", kept, account.arn("secretsmanager", SECRETS)))
    if account.aws.queue:
        actions = ["DescribeServiceJob", "ListServiceJobs", "SubmitServiceJob", "TagResource", "TerminateServiceJob"]
        resources = [account.arn("batch", f"job-queue/{account.aws.queue}"), account.arn("batch", "service-job/*")]
        statements.append(_allow("Queue", [f"batch:{one}" for one in actions], resources))
        statements.append(_allow("Queues", "batch:DescribeJobQueues", "*"))
        queued = ["DescribeTrainingJob", "ListTags", "StopTrainingJob"]
        statements.append(
            _allow("QueuedJobs", [f"sagemaker:{one}" for one in queued], account.arn("sagemaker", QUEUED))
        )
    return _policy(*statements, *_keys(account))


def build_policy(account: Account) -> Policy:
    """What the build of an image may do: read what it is made from, pull AWS' images, push to the one repository, and
    write its log (CodeBuild User Guide, "Allow CodeBuild to interact with other AWS services")."""
    logs = account.arn("logs", f"log-group:{BUILD_LOGS}")
    return _policy(
        _allow("Context", ["s3:GetObject", "s3:GetObjectVersion"], f"{account.objects}{CONTEXTS}*"),
        _allow("Bucket", ["s3:GetBucketAcl", "s3:GetBucketLocation"], account.bucket_arn),
        _allow("Log", ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [logs, f"{logs}:*"]),
        _allow("Registry", "ecr:GetAuthorizationToken", "*"),
        _allow("Images", [*_PULL, *_PUSH], account.repository_arn),
        _allow("ImagesOfAws", _PULL, account.registry_arn),
        *_keys(account),
    )


def bucket_policy(account: Account) -> Policy:
    """Nobody reaches the bucket without TLS."""
    return _policy(
        {
            "Sid": INSECURE,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [account.bucket_arn, f"{account.bucket_arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def encryption(account: Account) -> dict[str, Any]:
    """How objects are encrypted that do not say: by S3's own keys, or by the account's key."""
    if account.aws.kms_key is None:
        return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": account.aws.kms_key}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]}


def lifecycle(account: Account) -> dict[str, Any]:
    """What S3 removes by itself: old versions and half uploads, below the store's prefix. No job's output ever."""
    return {
        "ID": RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{account.prefix}/" if account.prefix else ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSIONS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": HALF_UPLOADS},
    }


PUBLIC_ACCESS = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


def image_repository(name: str, kms_key: str | None) -> dict[str, Any]:
    """The request that makes the repository: a tag never changes, and what is pushed is scanned (API reference,
    CreateRepository)."""
    request: dict[str, Any] = {
        "repositoryName": name,
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
    }
    if kms_key:
        request["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": kms_key}
    return request


IMAGE_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": f"Images without a tag go after {UNTAGGED_IMAGES} days",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": UNTAGGED_IMAGES,
            },
            "action": {"type": "expire"},
        }
    ]
}

CODEBUILD = "codebuild.amazonaws.com"
_PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
"""ECR User Guide, "Pulling an image"; of which BatchCheckLayerAvailability serves pushing, too."""
_PUSH = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
"""ECR User Guide, "IAM permissions for pushing an image"."""
_KEEP = ["ecr:BatchDeleteImage", "ecr:CreateRepository", "ecr:DescribeImages"]
_BUILD = [
    "codebuild:BatchGetBuilds",
    "codebuild:BatchGetProjects",
    "codebuild:CreateProject",
    "codebuild:ListBuildsForProject",
    "codebuild:StartBuild",
    "codebuild:StopBuild",
    "codebuild:UpdateProject",
]
_NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
]
_REMOTE_DEBUG = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
]


def _policy(*statements: dict[str, Any]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(
    sid: str, actions: str | list[str], resources: str | list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    made = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**made, "Condition": condition} if condition else made


def _listing(account: Account) -> dict[str, Any]:
    inside = [account.prefix, f"{account.prefix}/*"] if account.prefix else ["*"]
    return _allow("StoreList", "s3:ListBucket", account.bucket_arn, {"StringLike": {"s3:prefix": inside}})


def _keys(account: Account) -> list[dict[str, Any]]:
    """Use of the account's key, where one is given: an ARN, an id, or an alias."""
    key = account.aws.kms_key
    if key is None:
        return []
    alias = key.rpartition(":")[2] if "alias/" in key else None
    arn = key if key.startswith("arn:") else account.arn("kms", f"key/{key}")
    resource = account.arn("kms", "key/*") if alias else arn
    named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}} if alias else {}
    uses = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    granted = {**named, "Bool": {"kms:GrantIsForAWSResource": "true"}}  # disks are encrypted by grants
    return [_allow("Key", uses, resource, named or None), _allow("KeyGrants", "kms:CreateGrant", resource, granted)]
