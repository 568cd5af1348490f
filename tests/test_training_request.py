"""From a job to CreateTrainingJob: whatever job our own types allow, AWS' model takes the request."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import contract, machines
from orchestrator.backends.entrypoint import SCRIPT
from orchestrator.backends.sagemaker import model, request
from orchestrator.entries import MAX_DATA, MAX_RUNTIME
from orchestrator.errors import SwatchError, UsageError
from orchestrator.job import Job, Mount, Task
from orchestrator.project import check_name
from orchestrator.settings import WARM_POOL, Aws

ROLE = "arn:aws:iam::123456789012:role/swatch"
STORE = "s3://studio/textures"
AGENT = "d" * 64
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"


VGG = Mount(
    source="wxswxs/datasets/vgg-weights/1",
    mount="vgg_weights",
    digest="e" * 64,
    prefix="datasets/wxswxs/vgg-weights/1/files/",
    size=80_134_624,
    files=1,
)
POINTS = Mount(
    source="alice/projects/scan/7/output",
    mount="points",
    digest="f" * 64,
    prefix="projects/scan/jobs/7/output/",
    size=contract.STREAMED,
    files=9,
)


def job(**given_: Any) -> Job:
    base: dict[str, Any] = {"project": "forest", "number": 39, "user": "alice", "created": 0.0, "command": "make"}
    return Job(**{**base, **given_})


def built(one: Job, aws: Aws | None = None, types: tuple[str, ...] = ("ml.g5.xlarge",), **more: Any) -> dict[str, Any]:
    settings = aws or Aws(role=ROLE)
    given_ = {"name": "swatch-x", "store_url": STORE, "agent": AGENT, "image": IMAGE, "endpoints": {}, **more}
    made = request.training_job(one, aws=settings, machines=types, **given_)
    model.check("CreateTrainingJob", made)
    return made


def test_the_whole_request_of_a_plain_job() -> None:
    one = job(
        code="c" * 64,
        input="d" * 64,
        tasks=(Task(name="bark", fingerprint="f" * 64),),
        data=(VGG, POINTS),
    )

    def channel(name: str, key: str, mode: str = "File") -> dict[str, Any]:
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://studio/textures/{key}",
            "S3DataDistributionType": "FullyReplicated",
        }
        return {"ChannelName": name, "InputMode": mode, "DataSource": {"S3DataSource": source}}

    assert built(one, name="swatch-1a2b3c4d-forest-39-1", store_url="s3://studio/textures/") == {
        "TrainingJobName": "swatch-1a2b3c4d-forest-39-1",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh", "-c", SCRIPT, "swatch", f"/opt/ml/input/data/agent/{AGENT}.pyz"],
            "ContainerArguments": [
                *("--store", "s3://studio/textures", "--project", "forest", "--number", "39"),
                *("--work", "/opt/ml/swatch", "--ml", "/opt/ml"),
            ],
        },
        "InputDataConfig": [
            channel("agent", f"agent/{AGENT}.pyz"),
            channel("code", f"code/{'c' * 64}.tar.gz"),
            channel("input", f"code/{'d' * 64}.tar.gz"),
            channel("data-vgg_weights", "datasets/wxswxs/vgg-weights/1/files/"),
            channel("data-points", "projects/scan/jobs/7/output/", "FastFile"),
        ],
        "OutputDataConfig": {
            "S3OutputPath": "s3://studio/textures/projects/forest/jobs/39/sagemaker/",
            "CompressionType": "NONE",
        },
        "CheckpointConfig": {
            "S3Uri": "s3://studio/textures/projects/forest/jobs/39/checkpoints/",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 51, "InstanceType": "ml.g5.xlarge"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "EnableManagedSpotTraining": False,
        "EnableNetworkIsolation": False,
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": [
            {"Key": "swatch:project", "Value": "forest"},
            {"Key": "swatch:job", "Value": "alice/projects/forest/39"},
            {"Key": "swatch:fingerprint", "Value": "f" * 64},
            {"Key": "swatch:store", "Value": "s3://studio/textures"},
        ],
    }


def test_a_spot_job_takes_the_first_machine_and_waits_longer_than_it_runs() -> None:
    made = built(job(spot=True, max_runtime=3600), Aws(role=ROLE, keep_alive=600), ("ml.g5.xlarge", "ml.g6.xlarge"))
    assert made["ResourceConfig"] == {"InstanceCount": 1, "VolumeSizeInGB": 50, "InstanceType": "ml.g5.xlarge"}
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600 + 86400}
    assert built(job(spot=True, max_runtime=MAX_RUNTIME))["StoppingCondition"]["MaxWaitTimeInSeconds"] == MAX_RUNTIME


def test_several_machines_on_demand_are_preferences() -> None:
    made = built(job(), types=("ml.g5.xlarge", "ml.g6.xlarge"))
    assert made["ResourceConfig"]["InstancePreferences"] == [
        {"InstanceType": "ml.g5.xlarge"},
        {"InstanceType": "ml.g6.xlarge"},
    ]
    assert "InstanceType" not in made["ResourceConfig"]
    many = tuple(f"ml.m5.{size}" for size in ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge"))
    assert len(built(job(), types=many)["ResourceConfig"]["InstancePreferences"]) == 5


def test_what_the_account_says_stands_in_the_request() -> None:
    aws = Aws(
        role=ROLE,
        kms_key="alias/textures",
        subnets=("subnet-1", "subnet-2"),
        security_groups=("sg-1",),
        keep_alive=1800,
        remote_debug=True,
    )
    made = built(job(), aws, ("ml.m5.xlarge",), endpoints={"AWS_ENDPOINT_URL": "http://10.0.0.1:5000"})
    assert made["OutputDataConfig"]["KmsKeyId"] == made["ResourceConfig"]["VolumeKmsKeyId"] == "alias/textures"
    assert made["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert made["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800
    assert made["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert made["Environment"] == {"AWS_ENDPOINT_URL": "http://10.0.0.1:5000"}


def test_no_key_is_named_for_disks_that_the_hardware_encrypts() -> None:
    made = built(job(), Aws(role=ROLE, kms_key="alias/textures"), ("ml.m5.xlarge", "ml.g5.xlarge"))
    assert "VolumeKmsKeyId" not in made["ResourceConfig"]


def test_without_a_network_sagemaker_carries_the_whole_job() -> None:
    made = built(job(), Aws(role=ROLE, network_isolation=True))
    assert made["EnableNetworkIsolation"] is True
    assert made["CheckpointConfig"]["S3Uri"] == "s3://studio/textures/projects/forest/jobs/39/"
    arguments = made["AlgorithmSpecification"]["ContainerArguments"]
    assert arguments[:2] == ["--store", "/opt/ml/checkpoints"]
    assert arguments[-1] == "--isolated"


@pytest.mark.parametrize(
    ("aws", "store", "types", "said"),
    [
        (Aws(), STORE, ("ml.g5.xlarge",), "aws.role"),
        (Aws(role=ROLE), "/home/store", ("ml.g5.xlarge",), "need a store on S3"),
        (Aws(role=ROLE), STORE, (), "names no machine"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(aws: Aws, store: str, types: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        built(job(), aws, types, store_url=store)
    assert caught.value.hint


def test_endpoints_travel_and_nothing_else_does() -> None:
    environment = {
        "AWS_ENDPOINT_URL": "http://localhost:1",
        "AWS_ENDPOINT_URL_S3": "http://localhost:2",
        "AWS_ENDPOINT_URL_LOGS": "",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_PROFILE": "me",
    }
    assert request.endpoints(environment) == {
        "AWS_ENDPOINT_URL": "http://localhost:1",
        "AWS_ENDPOINT_URL_S3": "http://localhost:2",
    }
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL_S3 holds a password") as caught:
        request.endpoints({"AWS_ENDPOINT_URL_S3": "http://me:hush@proxy"})
    assert "hush" not in caught.value.message


LETTERS = "abcXYZ019._-"
names = st.text(LETTERS, min_size=1, max_size=64).filter(lambda name: check_name(name) is None)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
mounts = st.lists(
    st.text(LETTERS, min_size=1, max_size=100) | st.sampled_from(["agent", "code", "input"]),
    max_size=MAX_DATA,
    unique=True,
)
jobs = st.builds(
    Job,
    project=names,
    number=st.integers(1, 999_999_999),
    user=st.text(min_size=1, max_size=400),
    created=st.just(0.0),
    command=st.text(max_size=2000),
    tasks=st.lists(st.builds(Task, name=names, fingerprint=digests), max_size=8).map(tuple),
    code=st.none() | digests,
    data=mounts.flatmap(
        lambda found: st.tuples(
            *(
                st.builds(
                    Mount,
                    source=st.just("alice/datasets/x/1"),
                    mount=st.just(mount),
                    digest=digests,
                    prefix=st.just("datasets/alice/x/1/files/"),
                    size=st.integers(0, 1 << 45),
                )
                for mount in found
            )
        )
    ),
    spot=st.booleans(),
    max_runtime=st.integers(1, MAX_RUNTIME),
)
accounts = st.builds(
    Aws,
    role=st.just(ROLE),
    kms_key=st.none() | st.just("arn:aws:kms:eu-west-1:123456789012:key/1234abcd"),
    subnets=st.sampled_from([(), ("subnet-0abc",)]),
    security_groups=st.just(("sg-0abc",)),
    network_isolation=st.booleans(),
    keep_alive=st.integers(0, WARM_POOL),
    remote_debug=st.booleans(),
)
wanted = st.lists(
    st.sampled_from(["cpu", "gpu", "ml.p5.48xlarge", "ml.c7i.large", "ml.g4dn.2xlarge"]), min_size=1, unique=True
)
stores = st.builds("s3://{}{}".format, st.just("studio-textures"), st.just("") | st.text("ab/é !*'", max_size=60))


@given(jobs, accounts, wanted, st.integers(1, 9999))
def test_any_job_of_our_types_makes_a_request_that_aws_takes(one: Job, aws: Aws, on: list[str], launch: int) -> None:
    made = built(one, aws, machines.expand(on), name=request.name(STORE, one.project, one.number, launch))
    assert len({channel["ChannelName"] for channel in made["InputDataConfig"]}) == len(made["InputDataConfig"])
    stopping = made["StoppingCondition"]
    assert one.max_runtime == stopping["MaxRuntimeInSeconds"] <= stopping.get("MaxWaitTimeInSeconds", MAX_RUNTIME)
    assert "KeepAlivePeriodInSeconds" not in made["ResourceConfig"] or not one.spot


tries = st.tuples(stores, names, st.integers(1, 200), st.integers(1, 200))


@given(st.sets(tries, min_size=2, max_size=2))
def test_each_try_of_each_job_has_a_name_of_its_own(two: set[tuple[str, str, int, int]]) -> None:
    made = [(url.rstrip("/"), project, number, launch) for url, project, number, launch in two]
    assert (len({request.name(*one) for one in made}) == 2) == (len(set(made)) == 2)
    for store, project, number, launch in made:
        name = request.name(store, project, number, launch)
        assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
        assert name.startswith(request.name_prefix(store, project))


def test_neighbours_are_told_apart() -> None:
    cases = [("a", 1, 11), ("a", 11, 1), ("a-1", 1, 1), ("a", 1, 1), ("a.1", 1, 1), ("a_1", 1, 1), ("x" * 64, 1, 1)]
    assert len({request.name(STORE, *case) for case in [*cases, ("x" * 63, 1, 1)]}) == 8


@given(st.sets(st.text(max_size=300), min_size=2, max_size=2))
def test_a_tag_is_taken_by_aws_and_tells_texts_apart(two: set[str]) -> None:
    values = [request.tag(text) for text in two]
    assert values[0] != values[1]
    model.check(
        "AddTags",
        {
            "ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/x",
            "Tags": [{"Key": "swatch:store", "Value": one} for one in values],
        },
    )


def test_a_tag_cannot_be_made_to_look_like_another() -> None:
    made = request.tag("x" * 300)
    assert request.tag(made) != made


@given(st.sets(st.text(LETTERS, min_size=1, max_size=100), min_size=2, max_size=2))
def test_mounts_never_share_a_channel(two: set[str]) -> None:
    assert len({contract.data_channel(mount) for mount in two}) == 2


def test_jobs_that_make_the_same_have_the_same_fingerprint() -> None:
    one, other = Task(name="a", fingerprint="a" * 64), Task(name="b", fingerprint="b" * 64)
    assert request.fingerprint(job(tasks=(one,))) == "a" * 64
    assert request.fingerprint(job(tasks=(one, other))) != request.fingerprint(job(tasks=(other, one)))
    assert request.fingerprint(job(number=1)) == request.fingerprint(job(number=2))
    assert request.fingerprint(job(command="other")) != request.fingerprint(job())


def test_a_request_that_aws_would_refuse_is_refused_here_with_all_that_is_wrong() -> None:
    made = built(job())
    made["TrainingJobName"] = "under_score" * 7
    made["ResourceConfig"] = {"InstanceType": "ml.g5.xlrge", "KeepAlivePeriodInSeconds": 30_000}
    made["Environment"] = {"1": "x" * 600}
    made["Tags"][0]["Value"] = "a*b\x1b[31m"
    made["InputDataConfig"] *= 21
    made["StoppingCondition"]["MaxRuntimeInSeconds"] = 0
    made["RetryStrategy"] = {"MaximumRetryAttempts": "2"}
    made["VpcConfig"] = {"Subnets": ["a"]}
    made["StopingCondition"] = {}
    with pytest.raises(SwatchError) as caught:
        model.check("CreateTrainingJob", made)
    lines = caught.value.message.splitlines()
    for said in (
        'TrainingJobName: "under_scoreunder_score',
        "has 77 characters: at most 63",
        'ResourceConfig.InstanceType: "ml.g5.xlrge" is none of its',
        "near: ml.g5.xlarge",
        "KeepAlivePeriodInSeconds: 30000: at most 21,600",
        'Environment, its key: "1" does not match',
        "has 600 characters: at most 512",
        'Tags[0].Value: "a*b\\x1b[31m" does not match',
        "has 21 entries: at most 20",
        "MaxRuntimeInSeconds: 0: at least 1",
        'MaximumRetryAttempts: "2" is no integer',
        "VpcConfig.SecurityGroupIds is missing",
        "StopingCondition is unknown; did you mean StoppingCondition?",
    ):
        assert any(said in line for line in lines), f"{said!r} is not said:\n{caught.value.message}"
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    "operation", ["CreateTrainingJob", "ListTrainingJobs", "DescribeTrainingJob", "StopTrainingJob"]
)
def test_every_pattern_of_the_operations_we_use_is_read(operation: str) -> None:
    seen: set[str] = set()

    def walk(shape: Any) -> None:
        if shape.name in seen:
            return
        seen.add(shape.name)
        pattern = shape.metadata.get("pattern")
        assert pattern is None or model.readable(pattern) is not None, pattern
        for member in getattr(shape, "members", {}).values():
            walk(member)
        for part in ("member", "key", "value"):
            if hasattr(shape, part):
                walk(getattr(shape, part))

    walk(model._service("sagemaker").operation_model(operation).input_shape)
    assert seen


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["ResourceConfig", "Tags", "Environment", "TrainingJobName", "EnableNetworkIsolation"]), anything
)
def test_whatever_a_request_holds_the_check_says_a_sentence(member: str, value: Any) -> None:
    found = list(model.violations("CreateTrainingJob", {member: value}))
    assert any("RoleArn is missing" in line for line in found)
    assert all("\n" not in line for line in found)
