"""AWS Batch job queues for SageMaker training: they outlive whoever has submitted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from orchestrator.simulator import Fault
from tests.simulator.conftest import Cloud, refused


def submit(cloud: Cloud, name: str, *words: str, queue: str = "q", **options: Any) -> str:
    payload = json.dumps(cloud.request(name, *words))
    made = cloud.client("batch").submit_service_job(
        jobName=name,
        jobQueue=queue,
        serviceJobType="SAGEMAKER_TRAINING",
        serviceRequestPayload=payload,
        **options,
    )
    return str(made["jobId"])


def status(cloud: Cloud, job: str) -> Any:
    return cloud.client("batch").describe_service_job(jobId=job)


def wait(cloud: Cloud, job: str, *wanted: str) -> Any:
    cloud.wait(lambda: status(cloud, job)["status"] in (wanted or ("SUCCEEDED", "FAILED")))
    return status(cloud, job)


def test_a_queue_runs_as_many_as_it_has_room_for(cloud: Cloud, tmp_path: Path) -> None:
    arn = cloud.make_queue("q", 1)
    os.mkfifo(tmp_path / "gate")
    first = submit(cloud, "one", "sh", "-c", f"read go < {tmp_path}/gate")
    second = submit(cloud, "two", queue=arn)
    third = submit(cloud, "three", schedulingPriority=5)
    wait(cloud, first, "RUNNING")
    assert [status(cloud, job)["status"] for job in (second, third)] == ["RUNNABLE"] * 2
    assert len(cloud.jobs()) == 1
    running = cloud.client("batch").list_service_jobs(jobQueue="q")["jobSummaryList"]
    assert [job["jobId"] for job in running] == [first]
    (tmp_path / "gate").write_text("go\n")
    assert [wait(cloud, job)["status"] for job in (first, second, third)] == ["SUCCEEDED"] * 3
    assert [name[8:-32] for name in cloud.jobs()] == ["one", "three", "two"]


def test_a_service_job_names_its_training_job(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    name = "swatch-0123abcd-forest-1-1-which-is-long"
    described = wait(cloud, submit(cloud, name))
    (training,) = cloud.jobs()
    assert len(training) == 63 and training.startswith("AWSBatchswatch-0123abcd-forest-")
    resource = described["latestAttempt"]["serviceResourceId"]
    assert resource["value"] == cloud.describe(training)["TrainingJobArn"]
    assert described["attempts"][0]["statusReason"] == "Received status from SageMaker: Training job completed"
    assert json.loads(described["serviceRequestPayload"])["TrainingJobName"] == name


def test_the_same_token_is_the_same_job(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    first = submit(cloud, "one", clientToken="t")
    assert submit(cloud, "one", clientToken="t") == first
    payload = json.dumps(cloud.request("two"))
    said = refused(
        cloud.client("batch").submit_service_job,
        jobName="two",
        jobQueue="q",
        serviceJobType="SAGEMAKER_TRAINING",
        serviceRequestPayload=payload,
        clientToken="t",
    )
    assert said.startswith("ClientException: ")
    wait(cloud, first)
    assert len(cloud.jobs()) == 1
    assert submit(cloud, "one", clientToken="u") != first


def test_a_lost_reply_starts_nothing_twice(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    cloud.faults.lost["SubmitServiceJob"] = Fault(next=1)
    wait(cloud, submit(cloud, "one"))  # the client tries again, with the token that it made up
    assert cloud.calls["batch:submitservicejob"] == 2
    assert len(cloud.jobs()) == 1


def test_a_failure_is_tried_again_as_the_rules_say(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    rules = [{"action": "RETRY", "onStatusReason": "*CapacityError*"}, {"action": "EXIT", "onStatusReason": "*"}]
    strategy = {"attempts": 3, "evaluateOnExit": rules}
    cloud.faults.capacity["*"] = Fault(next=1)
    described = wait(cloud, submit(cloud, "one", retryStrategy=strategy))
    assert described["status"] == "SUCCEEDED" and len(described["attempts"]) == 2
    described = wait(cloud, submit(cloud, "two", "false", retryStrategy=strategy))
    assert described["status"] == "FAILED" and len(described["attempts"]) == 1
    assert described["statusReason"] == "Received status from SageMaker: AlgorithmError: , exit code: 1"
    described = wait(cloud, submit(cloud, "three", "false", retryStrategy={"attempts": 2}))
    assert described["status"] == "FAILED" and len(described["attempts"]) == 2


def test_a_full_account_makes_the_queue_wait(cloud: Cloud) -> None:
    cloud.make_queue("q", 5)
    cloud.quotas.set("ml.g5.xlarge", 1)
    cloud.create("other", "sleep", "1000")
    job = submit(cloud, "one")
    cloud.wait(lambda: "service limit" in status(cloud, job).get("statusReason", ""))
    assert status(cloud, job)["status"] == "RUNNABLE"
    cloud.sagemaker.stop_training_job(TrainingJobName="other")
    assert wait(cloud, job)["status"] == "SUCCEEDED"


def test_jobs_are_terminated_whether_they_run_or_wait(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    client = cloud.client("batch")
    first = submit(cloud, "one", "sleep", "1000", retryStrategy={"attempts": 3})
    wait(cloud, first, "RUNNING")
    second = submit(cloud, "two")
    client.terminate_service_job(jobId=second, reason="not wanted")
    client.terminate_service_job(jobId=first, reason="enough")
    described = wait(cloud, first)
    assert (described["status"], described["isTerminated"], described["statusReason"]) == ("FAILED", True, "enough")
    assert status(cloud, second)["statusReason"] == "not wanted"
    assert [cloud.describe(name)["TrainingJobStatus"] for name in cloud.jobs()] == ["Stopped"]
    failed = client.list_service_jobs(jobQueue="q", jobStatus="FAILED", maxResults=1)
    assert [job["jobId"] for job in failed["jobSummaryList"]] == [second]
    rest = client.list_service_jobs(jobQueue="q", jobStatus="FAILED", maxResults=1, nextToken=failed["nextToken"])
    assert [job["jobId"] for job in rest["jobSummaryList"]] == [first]
    named = client.list_service_jobs(jobQueue="q", filters=[{"name": "JOB_NAME", "values": ["TW*"]}])
    assert [job["jobId"] for job in named["jobSummaryList"]] == [second]


def test_what_cannot_be_queued_is_refused(cloud: Cloud) -> None:
    cloud.make_queue("q", 1)
    client, good = cloud.client("batch"), cloud.request("one")
    common = {"jobName": "one", "serviceJobType": "SAGEMAKER_TRAINING"}
    for queue, payload, sentence in (
        ("none", json.dumps(good), "Job queue none does not exist"),
        ("q", "{", "no JSON object"),
        ("q", json.dumps(good | {"TrainingJobName": "a_b"}), "regular expression pattern"),
    ):
        said = refused(client.submit_service_job, jobQueue=queue, serviceRequestPayload=payload, **common)
        assert said.startswith("ClientException: ") and sentence in said
    assert refused(client.describe_service_job, jobId="none") == "ClientException: Service job none does not exist."
    described = wait(cloud, submit(cloud, "two", "x"))
    assert described["status"] == "FAILED"
