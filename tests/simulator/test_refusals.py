"""What AWS refuses and moto takes: every divergence that is known has its test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.conftest import Cloud, refused


def changed(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The request with one member, at a path like `ResourceConfig.InstanceType`, set; or removed if the value is None."""
    *steps, last = path.split(".")
    place = request
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return request


def channel(cloud: Cloud, name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{cloud.account.bucket}/in/"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def test_a_name_is_taken_once(cloud: Cloud) -> None:
    cloud.run("one")
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", "false"))
    assert said.startswith("ResourceInUse: Training job names must be unique")
    assert cloud.describe("one")["TrainingJobStatus"] == "Completed"
    assert cloud.jobs() == ["one"]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("TrainingJobName", "bad_name_under", "regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"),
        ("TrainingJobName", "a" * 64, "'trainingJobName' failed to satisfy constraint: Member must have length less"),
        ("ResourceConfig.InstanceType", "ml.zz.1", "'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum"),
        ("Environment", {"A": "x" * 600}, "'environment.A.value' failed to satisfy constraint: Member must have length less than or equal to 512"),
        ("Environment", {"1A": "x"}, "'environment.1A.key' failed"),
        ("HyperParameters", {f"p{n}": "1" for n in range(101)}, "'hyperParameters' failed to satisfy constraint: Member must have length less than or equal to 100"),
        ("HyperParameters", {"p": "x" * 3000}, "less than or equal to 2500"),
        ("RoleArn", "not-a-role-but-long-enough", "'roleArn' failed to satisfy constraint: Member must satisfy regular"),
        ("AlgorithmSpecification.TrainingImage", None, "either TrainingImage or AlgorithmName"),
        ("ResourceConfig", None, "ResourceConfig is required"),
        ("StoppingCondition", None, "StoppingCondition is required"),
        ("StoppingCondition", {"MaxRuntimeInSeconds": 3000000}, "MaxRuntimeInSeconds must be at most"),
        ("StoppingCondition", {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}, "only allowed when EnableManagedSpotTraining"),
        ("OutputDataConfig.S3OutputPath", "s3://nowhere/out", "bucket 'nowhere' does not exist"),
        ("RoleArn", "arn:aws:iam::123456789012:role/nobody", "Could not assume role"),
        ("AlgorithmSpecification.TrainingImage", "123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1", "Cannot find repository: none"),
        ("AlgorithmSpecification.TrainingImage", "123456789012.dkr.ecr.us-east-1.amazonaws.com/swatch:none", "not found"),
        ("AlgorithmSpecification.TrainingImage", "ubuntu:latest", "Invalid image URI"),
        ("AlgorithmSpecification.ContainerEntrypoint", ["x" * 257], "'algorithmSpecification.containerEntrypoint.1.member' failed"),
        ("ResourceConfig.InstanceCount", 0, "InstanceCount must be at least 1"),
        ("ResourceConfig.InstancePreferences", [{"InstanceType": "ml.g5.xlarge"}], "exactly one of InstanceType"),
        ("ResourceConfig.KeepAlivePeriodInSeconds", 21601, "less than or equal to 21600"),
        ("Tags", [{"Key": "a", "Value": "<b>"}], "'tags.1.member.value' failed"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(cloud: Cloud, path: str, value: Any, sentence: str) -> None:
    request = changed(cloud.request("one"), path, value)
    said = refused(cloud.sagemaker.create_training_job, **request)
    assert said.startswith("ValidationException: ")
    assert sentence in said
    assert cloud.jobs() == []


def test_everything_wrong_is_counted(cloud: Cloud) -> None:
    request = cloud.request("a_b", Environment={"A": "x" * 513})
    assert "2 validation errors detected: " in refused(cloud.sagemaker.create_training_job, **request)


@pytest.mark.parametrize("wait", [None, 3599])
def test_spot_needs_a_wait_that_is_at_least_the_runtime(cloud: Cloud, wait: int | None) -> None:
    request = cloud.request("one", spot=True)
    changed(request, "StoppingCondition.MaxWaitTimeInSeconds", wait)
    said = refused(cloud.sagemaker.create_training_job, **request)
    assert "must be present and be greater than or equal to MaxRuntimeInSeconds" in said


def test_preferences_exclude_spot(cloud: Cloud) -> None:
    request = cloud.request("one", spot=True)
    request["ResourceConfig"] = {"InstancePreferences": [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}]}
    assert "not supported with EnableManagedSpotTraining" in refused(cloud.sagemaker.create_training_job, **request)


def test_channels_are_at_most_twenty_and_have_data(cloud: Cloud) -> None:
    cloud.put("in/x", "x")
    many = [channel(cloud, f"c{n}") for n in range(21)]
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", InputDataConfig=many))
    assert "'inputDataConfig' failed to satisfy constraint: Member must have length less than or equal to 20" in said
    twice = [channel(cloud, "c"), channel(cloud, "c")]
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", InputDataConfig=twice))
    assert "Channel names must be unique" in said
    cloud.s3.delete_object(Bucket=cloud.account.bucket, Key="in/x")
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", InputDataConfig=many[:1]))
    assert f'No S3 objects found under S3 URL "s3://{cloud.account.bucket}/in/"' in said


def test_a_role_must_trust_sagemaker(cloud: Cloud) -> None:
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
    role = cloud.client("iam").create_role(RoleName="other", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", RoleArn=role))
    assert "allows principal 'sagemaker.amazonaws.com' to assume the role" in said


def test_a_public_registry_is_believed(cloud: Cloud) -> None:
    request = cloud.request("one")
    request["AlgorithmSpecification"]["TrainingImage"] = (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"
    )
    cloud.sagemaker.create_training_job(**request)
    assert cloud.wait_for("one")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("operation", ["describe_training_job", "stop_training_job"])
def test_a_job_that_is_not_there(cloud: Cloud, operation: str) -> None:
    said = refused(getattr(cloud.sagemaker, operation), TrainingJobName="nobody")
    assert said == "ValidationException: Requested resource not found."


def test_a_job_that_has_ended_cannot_be_stopped(cloud: Cloud) -> None:
    cloud.run("one")
    said = refused(cloud.sagemaker.stop_training_job, TrainingJobName="one")
    assert said == "ValidationException: The request was rejected because the training job is in status Completed."


def test_delete_frees_a_name_when_the_job_has_ended(cloud: Cloud) -> None:
    cloud.create("one", "sh", "-c", "echo on; exec sleep 1000")
    cloud.wait_for("one", "Training")
    assert refused(cloud.sagemaker.delete_training_job, TrainingJobName="one").startswith("ResourceInUse: ")
    cloud.sagemaker.stop_training_job(TrainingJobName="one")
    cloud.wait_for("one")
    cloud.sagemaker.delete_training_job(TrainingJobName="one")
    assert "not found" in refused(cloud.sagemaker.describe_training_job, TrainingJobName="one")
    assert cloud.run("one")["TrainingJobStatus"] == "Completed"


def test_an_unknown_operation_is_no_crash(cloud: Cloud) -> None:
    assert refused(cloud.sagemaker.list_models).startswith("UnknownOperationException: ")
