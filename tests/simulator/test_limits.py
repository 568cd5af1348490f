"""Limits of the account, and faults that are asked for."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from orchestrator.errors import SwatchError
from orchestrator.simulator import Fault, Faults, ManualClock, Rate, Simulator, chaos
from orchestrator.simulator.faults import Fate
from tests.simulator.conftest import Cloud, refused


def admin(cloud: Cloud, path: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{cloud.url}/_simulator/{path}", data, method=method)
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def impatient(cloud: Cloud, service: str = "sagemaker") -> Any:
    """A client that tries once."""
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    return session.client(service, endpoint_url=cloud.url, config=Config(retries={"total_max_attempts": 1}))


def test_machines_of_a_type_are_limited_for_each_use(cloud: Cloud) -> None:
    cloud.quotas.set("ml.g5.xlarge", 1)
    cloud.create("one", "sleep", "1000")
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("two"))
    assert said.startswith(
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for training job usage' is 1 Instances, "
        "with current utilization of 1 Instances and a request delta of 1 Instances."
    )
    assert cloud.jobs() == ["one"]
    cloud.create("spot", "sleep", "1000", spot=True)
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("two", spot=True))
    assert "'ml.g5.xlarge for spot training job usage'" in said
    cloud.sagemaker.stop_training_job(TrainingJobName="one")
    cloud.wait_for("one")
    assert cloud.run("two")["TrainingJobStatus"] == "Completed"


def test_warm_machines_are_limited_too(cloud: Cloud) -> None:
    cloud.quotas.set("ml.g5.xlarge", 0, "training warm pool")
    resources = {**cloud.request("x")["ResourceConfig"], "KeepAlivePeriodInSeconds": 60}
    said = refused(cloud.sagemaker.create_training_job, **cloud.request("one", ResourceConfig=resources))
    assert "'ml.g5.xlarge for training warm pool usage' is 0 Instances" in said


def test_list_may_be_called_twice_a_second() -> None:
    with Cloud(ManualClock()) as cloud:
        once = impatient(cloud)
        once.list_training_jobs()
        once.list_training_jobs()
        assert refused(once.list_training_jobs) == "ThrottlingException: Rate exceeded"
        cloud.advance(0.5)
        once.list_training_jobs()
        assert refused(once.list_training_jobs) == "ThrottlingException: Rate exceeded"
        cloud.rates["DescribeTrainingJob"] = Rate(1, 1)
        assert "not found" in refused(once.describe_training_job, TrainingJobName="one")
        assert "Rate exceeded" in refused(once.describe_training_job, TrainingJobName="one")


def test_calls_are_throttled_on_request_and_counted(cloud: Cloud) -> None:
    once = impatient(cloud)
    cloud.faults.throttle["CreateTrainingJob"] = Fault(next=1)
    assert "ThrottlingException" in refused(once.create_training_job, **cloud.request("one"))
    assert cloud.jobs() == []
    cloud.faults.errors["CreateTrainingJob"] = Fault(next=1)
    assert "InternalFailure" in refused(once.create_training_job, **cloud.request("one"))
    assert cloud.jobs() == []
    cloud.faults.lost["CreateTrainingJob"] = Fault(next=1)
    assert "InternalFailure" in refused(once.create_training_job, **cloud.request("one"))
    assert cloud.jobs() == ["one"]  # it was done, whatever the caller was told
    assert cloud.calls["sagemaker:CreateTrainingJob"] == 3


def test_a_client_that_tries_again_meets_its_own_job(cloud: Cloud) -> None:
    cloud.faults.lost["CreateTrainingJob"] = Fault(next=1)
    assert refused(cloud.sagemaker.create_training_job, **cloud.request("one")).startswith("ResourceInUse: ")


def test_a_new_job_is_seen_late(still: Cloud) -> None:
    still.faults = Faults(visible_after=5, described_after=2)
    still.create("one")
    assert still.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert "not found" in refused(still.sagemaker.describe_training_job, TrainingJobName="one")
    still.advance(2)
    still.sagemaker.describe_training_job(TrainingJobName="one")
    assert still.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    still.advance(3)
    assert len(still.sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 1


def test_credentials_expire_but_not_those_of_jobs(cloud: Cloud, tmp_path: Path) -> None:
    cloud.put("x", "1")
    cloud.faults.expired = True
    assert refused(cloud.sagemaker.list_training_jobs).startswith("ExpiredTokenException: ")
    assert refused(cloud.s3.get_object, Bucket="swatch", Key="x").startswith("ExpiredToken: ")
    assert refused(cloud.client("sts").get_caller_identity).startswith("ExpiredToken")
    cloud.faults.expired = False
    os.mkfifo(tmp_path / "gate")
    program = "import boto3; print(boto3.client('s3').get_object(Bucket='swatch', Key='x')['Body'].read())"
    cloud.create("one", "sh", "-c", f'read go < {tmp_path}/gate; python3 -c "{program}"')
    cloud.faults.expired = True
    (tmp_path / "gate").write_text("go\n")
    cloud.wait_for("one")
    cloud.faults.expired = False
    assert cloud.log("one") == ["b'1'"]


def test_an_unsigned_request_is_refused(cloud: Cloud) -> None:
    request = urllib.request.Request(cloud.url, b"{}", {"X-Amz-Target": "SageMaker.ListTrainingJobs"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert json.load(caught.value)["__type"] == "MissingAuthenticationTokenException"
    caught.value.close()


def test_another_process_sets_faults_and_reads_counters(cloud: Cloud) -> None:
    admin(cloud, "faults", "PUT", {"throttle": {"StopTrainingJob": {"next": 1}}, "seed": 7})
    assert cloud.faults.seed == 7
    assert admin(cloud, "faults")["throttle"] == {"StopTrainingJob": {"next": 1, "probability": 0.0}}
    with pytest.raises(urllib.error.HTTPError) as caught:
        admin(cloud, "faults", "PUT", {"throtle": {}})
    assert caught.value.code == 400
    caught.value.close()
    cloud.create("one", "sleep", "1000", spot=True)
    cloud.wait(lambda: cloud.pid("one"))
    admin(cloud, "crash", "POST", {"name": "one"})
    assert cloud.wait_for("one")["FailureReason"].endswith("exit code: 137")
    assert [one["TrainingJobName"] for one in admin(cloud, "jobs")["jobs"]] == ["one"]
    assert admin(cloud, "calls")["sagemaker:CreateTrainingJob"] == 1
    admin(cloud, "calls", "DELETE")
    assert admin(cloud, "calls") == {}


def test_the_same_seed_brings_the_same_weather() -> None:
    def weather(seed: int, order: list[str]) -> dict[str, list[bool]]:
        fate = Fate(chaos(seed))
        drawn: dict[str, list[bool]] = {"a": [], "b": []}
        for name in order:
            drawn[name].append(fate.strikes("throttle", name))
        return drawn

    assert weather(1, ["a"] * 50 + ["b"] * 50) == weather(1, ["b", "a"] * 50)
    assert weather(1, ["a"] * 50) != weather(2, ["a"] * 50)
    assert 0 < sum(weather(1, ["a"] * 500)["a"]) < 150


def test_a_taken_port_is_said(cloud: Cloud) -> None:
    port = int(cloud.url.rpartition(":")[2])
    with pytest.raises(SwatchError, match=f"Port {port} is taken"):
        Simulator(port=port).start()


def test_what_stands_before_s3_stands_before_s3_alone() -> None:
    seen: list[str] = []

    def front(application: Any) -> Any:
        def watched(environ: Any, start_response: Any) -> Any:
            seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return application(environ, start_response)

        return watched

    with Cloud(front=front) as cloud:
        cloud.put("x", "1")
        cloud.run("one")
        cloud.client("sts").get_caller_identity()
        assert seen == ["PUT /swatch", "PUT /swatch", "PUT /swatch/x"], (
            "the bucket, that it is private, and what is put"
        )
        assert cloud.calls["s3:PutObject"] == 1 and cloud.calls["sts:GetCallerIdentity"] == 1
