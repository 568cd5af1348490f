"""The services beside SageMaker: those that moto lacks, and those it has, through the environment alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.simulator.conftest import Cloud, refused


def test_quotas_are_told_as_service_quotas_tells_them(cloud: Cloud) -> None:
    cloud.quotas.set("ml.g5.xlarge", 3, "spot training job")
    client = cloud.client("service-quotas")
    pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    found = {one["QuotaName"]: one for page in pages for one in page["Quotas"]}
    spot = found["ml.g5.xlarge for spot training job usage"]
    assert spot["Value"] == 3
    assert found["ml.g5.xlarge for training job usage"]["Value"] == 20
    assert found["ml.g5.xlarge for training warm pool usage"]["Adjustable"]
    again = client.get_service_quota(ServiceCode="sagemaker", QuotaCode=spot["QuotaCode"])["Quota"]
    assert again == spot
    said = refused(client.get_service_quota, ServiceCode="sagemaker", QuotaCode="L-00000000")
    assert said.startswith("NoSuchResourceException: ")


def test_quotas_that_are_told_are_those_that_hold(cloud: Cloud) -> None:
    cloud.quotas.set("ml.g5.xlarge", 0)
    assert "is 0 Instances" in refused(cloud.sagemaker.create_training_job, **cloud.request("one"))


def test_prices_are_worded_as_in_the_price_list(cloud: Cloud) -> None:
    match = [{"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.g5.xlarge"}]
    (product,) = cloud.client("pricing").get_products(ServiceCode="AmazonSageMaker", Filters=match)["PriceList"]
    told = json.loads(product)
    (term,) = told["terms"]["OnDemand"].values()
    (rate,) = term["priceDimensions"].values()
    assert (rate["unit"], float(rate["pricePerUnit"]["USD"])) == ("Hrs", 1.5)
    assert told["product"]["attributes"]["component"] == "Training"
    match[0]["Value"] = "ml.zz.1"
    assert cloud.client("pricing").get_products(ServiceCode="AmazonSageMaker", Filters=match)["PriceList"] == []


def test_policies_are_allowed(cloud: Cloud) -> None:
    asked = ["sagemaker:CreateTrainingJob", "s3:GetObject"]
    client = cloud.client("iam")
    told = client.simulate_principal_policy(PolicySourceArn=cloud.account.role, ActionNames=asked)
    assert sorted(one["EvalActionName"] for one in told["EvaluationResults"]) == sorted(asked)
    assert {one["EvalDecision"] for one in told["EvaluationResults"]} == {"allowed"}


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("s3", "list_buckets()['Buckets'][0]['Name']"),
        ("sts", "get_caller_identity()['Account']"),
        ("iam", "list_roles()['Roles'][0]['RoleName']"),
        ("ecr", "describe_repositories()['repositories'][0]['repositoryName']"),
        ("logs", "describe_log_groups()['logGroups'][0]['logGroupName']"),
        ("sagemaker", "list_training_jobs()['TrainingJobSummaries'][0]['TrainingJobName']"),
    ],
)
def test_clients_need_the_environment_alone(cloud: Cloud, service: str, call: str) -> None:
    cloud.run("one")
    words = [sys.executable, "-c", f"import boto3; print(boto3.client('{service}').{call})"]
    environment = {**cloud.environment(), "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert said in ("swatch", "123456789012", "/aws/sagemaker/TrainingJobs", "one")


def test_a_job_is_a_client_too(cloud: Cloud) -> None:
    program = "import boto3; boto3.client('s3').put_object(Bucket='swatch', Key='made', Body=b'by a job')"
    assert cloud.run("one", "python3", "-c", program)["TrainingJobStatus"] == "Completed"
    assert cloud.get("made") == b"by a job"
