"""The policies against what is really asked: every call that the product makes on the simulator is granted by the policy
of whoever makes it, for that resource, and hardly anything else is granted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import account as wanted
from orchestrator import aws, checkup, codebuild, contract, orphans, registry
from orchestrator.account import Account
from orchestrator.backends.sagemaker import control, queue, request
from orchestrator.cargo.image import Context
from orchestrator.job import Job
from orchestrator.settings import Aws, Settings
from orchestrator.simulator import Simulator
from orchestrator.store import open_store
from tests.test_image_jobs import with_registry

ID = "123456789012"
MINE = Account(
    id=ID,
    region="us-east-1",
    bucket="studio",
    prefix="textures",
    role="swatch",
    repository="swatch",
    registry="763104351884",
)
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "budgets:DescribeBudgets": "budgets:ViewBudget",
}
"""Operations that another action permits than their name (Service Authorization Reference)."""
FREE = {"sts:GetCallerIdentity"}
"""What nobody needs a permission for."""


def allows(policy: wanted.Policy, action: str, resource: str, **context: str) -> bool:
    """IAM's rule, as far as our policies use it: some statement allows it, none denies it."""
    found = False
    for one in policy["Statement"]:
        actions, resources = (
            one[name] if isinstance(one[name], list) else [one[name]] for name in ("Action", "Resource")
        )
        if any(fnmatchcase(action, wild) for wild in actions) and any(
            fnmatchcase(resource, wild) for wild in resources
        ):
            met = all(
                any(
                    fnmatchcase(context.get(key.replace(":", "_"), ""), wild)
                    for wild in (value if isinstance(value, list) else [value])
                )
                for kind in one.get("Condition", {}).values()
                for key, value in kind.items()
            )
            found = found or (met and one["Effect"] == "Allow")
    return found


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as cloud:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        aws.forget()
        yield cloud
        aws.forget()


def granted(policy: wanted.Policy) -> set[str]:
    return {
        action
        for one in policy["Statement"]
        for action in (one["Action"] if isinstance(one["Action"], list) else [one["Action"]])
    }


def recorded(*more: str) -> set[str]:
    """Grows by the action that each call of this process' clients needs."""
    asked: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.signing_name
        action = f"{service}:{model.name}"
        if action not in FREE:
            asked.add(ACTIONS.get(action, action))

    for service in ("s3", "sts", "sagemaker", "iam", "ecr", "logs", "budgets", "service-quotas", *more):
        aws.client(service).meta.events.register("before-call", note)
    return asked


def test_whoever_submits_is_granted_every_call_that_is_made(cloud: Simulator, tmp_path: Path) -> None:
    account = cloud.make_account(bucket="studio")
    store = open_store(MINE.store)
    asked = recorded()
    (tmp_path / "big").write_bytes(os.urandom(40 << 20))
    store.upload(tmp_path / "big", "code/big.tar.gz")
    store.download("code/big.tar.gz", tmp_path / "back")
    store.create("a/b", b"x")
    assert store.read("a/b") == b"x" and store.exists("a/b") and list(store.scan("")) and store.folders("")
    list(checkup.checks(Settings(home=tmp_path, store=MINE.store, aws=Aws(role=account.role)), "gpu"))
    job = Job(project="forest", number=1, user="alice", created=0.0, command="true")
    store.write(contract.agent_key("a" * 64), b"print('done')")
    name = request.name(MINE.store, "forest", 1, 1)
    control.create(
        request.training_job(
            job,
            name=name,
            store_url=MINE.store,
            agent="a" * 64,
            image=account.image,
            aws=Aws(role=account.role),
            machines=("ml.m5.xlarge",),
            endpoints={},
        )
    )
    assert control.bucket_region("studio") == "us-east-1"
    list(control.listed("swatch-", running=True))
    orphans.find(store)
    control.describe(name)
    cloud.wait_for(name)
    control.log_tail(name)
    assert asked - granted(wanted.user_policy(MINE)) == set()
    assert asked >= {"sagemaker:CreateTrainingJob", "sagemaker:ListTags", "s3:ListBucket", "iam:GetRole"}


keys = st.lists(
    st.sampled_from(["projects", "forest", "1", "checkpoints", "journal", "output", "..", "x y"]),
    min_size=1,
    max_size=6,
).map("/".join)


@given(keys)
def test_the_store_and_nothing_beside_it(key: str) -> None:
    role, person = wanted.job_policy(MINE), wanted.user_policy(MINE)
    inside, beside = f"arn:aws:s3:::studio/textures/{key}", f"arn:aws:s3:::studio/other/{key}"
    for policy in (role, person):
        for action in ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"):
            assert allows(policy, action, inside)
            assert not allows(policy, action, beside)
            assert not allows(policy, action, f"arn:aws:s3:::studio/textures-of-others/{key}")
            assert not allows(policy, action, f"arn:aws:s3:::other/textures/{key}")
        assert allows(policy, "s3:ListBucket", "arn:aws:s3:::studio", s3_prefix=f"textures/{key}")
        assert not allows(policy, "s3:ListBucket", "arn:aws:s3:::studio", s3_prefix=key.replace("textures", "x"))
        assert not allows(policy, "s3:ListBucket", "arn:aws:s3:::studio", s3_prefix="")
        assert not allows(policy, "s3:DeleteBucket", "arn:aws:s3:::studio")
    # Jobs and datasets are deleted by whom they belong to, and never by a job.
    assert allows(person, "s3:DeleteObject", inside) and not allows(person, "s3:DeleteObject", beside)


def test_a_job_deletes_checkpoints_only() -> None:
    role = wanted.job_policy(MINE)
    of_job = "arn:aws:s3:::studio/textures/projects/forest/jobs/3/"
    assert allows(role, "s3:DeleteObject", of_job + "checkpoints/task/state.npz")
    assert not allows(role, "s3:DeleteObject", of_job + "output/bark/texture.png")
    assert not allows(role, "s3:DeleteObject", of_job + "final.json")
    assert not allows(role, "s3:DeleteObject", "arn:aws:s3:::studio/textures/results/x.json")


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:PassRole", f"arn:aws:iam::{ID}:role/swatch", {"iam_PassedToService": "sagemaker.amazonaws.com"}),
        (
            "sagemaker:CreateTrainingJob",
            f"arn:aws:sagemaker:us-east-1:{ID}:training-job/swatch-1a2b3c4d-forest-1-1",
            {},
        ),
        ("logs:GetLogEvents", f"arn:aws:logs:us-east-1:{ID}:log-group:/aws/sagemaker/TrainingJobs:log-stream:a/b", {}),
        ("logs:DescribeLogStreams", f"arn:aws:logs:us-east-1:{ID}:log-group:/aws/sagemaker/TrainingJobs:", {}),
    ],
)
def test_what_whoever_submits_may(action: str, resource: str, context: dict[str, str]) -> None:
    assert allows(wanted.user_policy(MINE), action, resource, **context)
    assert not allows(wanted.job_policy(MINE), action, resource, **context) or action.startswith("logs:Describe")


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:PassRole", f"arn:aws:iam::{ID}:role/admin", {"iam_PassedToService": "sagemaker.amazonaws.com"}),
        ("iam:PassRole", f"arn:aws:iam::{ID}:role/swatch", {"iam_PassedToService": "lambda.amazonaws.com"}),
        ("sagemaker:StopTrainingJob", f"arn:aws:sagemaker:us-east-1:{ID}:training-job/of-somebody-else", {}),
        ("sagemaker:CreateEndpoint", "*", {}),
        ("logs:GetLogEvents", f"arn:aws:logs:us-east-1:{ID}:log-group:/aws/lambda/x:log-stream:y", {}),
        ("iam:PutRolePolicy", f"arn:aws:iam::{ID}:role/swatch", {}),
    ],
)
def test_what_whoever_submits_may_not(action: str, resource: str, context: dict[str, str]) -> None:
    assert not allows(wanted.user_policy(MINE), action, resource, **context)
    assert not allows(wanted.job_policy(MINE), action, resource, **context)


def test_metrics_of_training_jobs_and_no_others() -> None:
    role = wanted.job_policy(MINE)
    assert allows(role, "cloudwatch:PutMetricData", "*", cloudwatch_namespace="/aws/sagemaker/TrainingJobs")
    assert not allows(role, "cloudwatch:PutMetricData", "*", cloudwatch_namespace="AWS/Billing")


def test_images_are_pulled_from_two_registries_and_pushed_to_none() -> None:
    role = wanted.job_policy(MINE)
    for whose, repository in ((ID, "swatch"), ("763104351884", "tensorflow-training")):
        assert allows(role, "ecr:BatchGetImage", f"arn:aws:ecr:us-east-1:{whose}:repository/{repository}")
    assert not allows(role, "ecr:BatchGetImage", f"arn:aws:ecr:us-east-1:{ID}:repository/secret")
    assert not allows(role, "ecr:PutImage", f"arn:aws:ecr:us-east-1:{ID}:repository/swatch")


def test_whoever_queues_is_granted_batch_and_the_training_jobs_that_it_starts(cloud: Simulator) -> None:
    account = cloud.make_account(bucket="studio")
    cloud.make_queue("night", 1)
    asked = recorded("batch")
    open_store(MINE.store).write(contract.agent_key("a" * 64), b"import time; time.sleep(1000)")
    job = Job(project="forest", number=1, user="alice", created=0.0, command="true", queue="night")
    given: dict[str, Any] = {"agent": "a" * 64, "image": account.image, "machines": ("ml.m5.xlarge",), "endpoints": {}}
    name = request.name(MINE.store, "forest", 1, 1)
    queue.check("night")
    door = queue.Queue("night")
    door.create(
        request.training_job(job, name=name, store_url=MINE.store, aws=Aws(role=account.role), **given), new=False
    )
    assert door.tags(name) == request.tags(job, MINE.store)
    (training,) = cloud.wait(cloud.jobs)
    assert [one.name for one in door.listed("swatch-", running=True)] == [name]
    assert door.stop(name)
    cloud.wait_for(training)
    assert door.describe(name) is not None
    policy = wanted.user_policy(MINE._replace(aws=Aws(queue="night")))
    assert asked - granted(policy) == set() and "batch:SubmitServiceJob" in asked
    for action in ("sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"):
        assert allows(policy, action, f"arn:aws:sagemaker:us-east-1:{ID}:training-job/{training}")
        assert not allows(wanted.user_policy(MINE), action, f"arn:aws:sagemaker:us-east-1:{ID}:training-job/{training}")
        assert not allows(policy, action, f"arn:aws:sagemaker:us-east-1:{ID}:training-job/AWSBatchof-others")


def test_whoever_pushes_and_builds_is_granted_every_call_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_registry(tmp_path) as cloud:
        for name, value in {**cloud.environment(), "AWS_CONFIG_FILE": os.devnull}.items():
            monkeypatch.setenv(name, value)
        aws.forget()
        account = cloud.make_account(bucket="studio")
        trust = json.dumps(wanted.trust(MINE, wanted.CODEBUILD))
        cloud.client("iam").create_role(RoleName=MINE.build_role, AssumeRolePolicyDocument=trust)
        settings = Settings(home=tmp_path, store=MINE.store, aws=Aws(role=account.role))
        asked = recorded("codebuild")
        where = registry.find(settings)
        registry.ensure(where._replace(repository="new"))
        context = Context("base", {"Dockerfile": b"FROM base"})
        assert registry.pushed(where, context.tag) is None and len(registry.listed(where)) == 1
        registry.remove(where, ["latest"])
        build = codebuild.begin(settings, open_store(MINE.store), where, context)
        with pytest.raises(codebuild.BuildFailed):
            codebuild.follow(build, lambda line: None, lambda name: None, lambda seconds: None)
        codebuild.stop(build)
        assert codebuild.begin(settings, open_store(MINE.store), where, context).id != build.id
        aws.forget()
    asked.add("codebuild:UpdateProject")  # of a project that does not serve
    assert asked - granted(wanted.user_policy(MINE)) == set()
    assert asked >= {"codebuild:StartBuild", "codebuild:BatchGetProjects", "logs:GetLogEvents", "ecr:BatchDeleteImage"}


def test_builds_are_started_in_our_projects_and_pass_their_role_alone() -> None:
    person, builds = wanted.user_policy(MINE), wanted.build_policy(MINE)
    project = f"arn:aws:codebuild:us-east-1:{ID}:project"
    assert allows(person, "codebuild:StartBuild", f"{project}/{codebuild.name('swatch')}")
    assert not allows(person, "codebuild:StartBuild", f"{project}/of-others")
    role = f"arn:aws:iam::{ID}:role/swatch-build"
    assert codebuild.role(MINE.role_arn) == role
    assert allows(person, "iam:PassRole", role, iam_PassedToService="codebuild.amazonaws.com")
    assert not allows(person, "iam:PassRole", role, iam_PassedToService="sagemaker.amazonaws.com")
    repository = f"arn:aws:ecr:us-east-1:{ID}:repository"
    for policy in (person, builds):
        assert allows(policy, "ecr:PutImage", f"{repository}/swatch")
        assert not allows(policy, "ecr:PutImage", f"{repository}/others")
    assert not allows(builds, "ecr:BatchDeleteImage", f"{repository}/swatch")
    assert allows(builds, "s3:GetObject", "arn:aws:s3:::studio/textures/images/x.zip")
    assert not allows(builds, "s3:GetObject", "arn:aws:s3:::studio/textures/projects/forest/jobs/1/output/a.png")
    assert not allows(builds, "s3:PutObject", "arn:aws:s3:::studio/textures/images/x.zip")
    log = f"arn:aws:logs:us-east-1:{ID}:log-group:/aws/codebuild/{codebuild.name('swatch')}"
    assert allows(person, "logs:GetLogEvents", f"{log}:log-stream:1")
    assert allows(builds, "logs:CreateLogGroup", log) and allows(builds, "logs:PutLogEvents", f"{log}:log-stream:1")
