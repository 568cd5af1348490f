"""Machines that are taken away, are not to be had, or are kept: spot, capacity, retries, warm pools."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import SwatchError
from orchestrator.simulator import Fault
from tests.simulator.conftest import Cloud, refused

RESUME = """
cd $1/checkpoints
if test -e state; then echo resumed; cat state; exit 0; fi
trap 'echo notice >> state; exit 0' TERM
echo begun > state; touch gone; echo on
while :; do sleep 0.01; done
"""


def secondary(described: dict[str, Any]) -> list[str]:
    return [one["Status"] for one in described["SecondaryStatusTransitions"]]


def streams(cloud: Cloud) -> list[str]:
    found = cloud.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")
    return [one["logStreamName"] for one in found["logStreams"]]


def test_an_interrupted_job_goes_on_from_its_checkpoint(cloud: Cloud) -> None:
    cloud.put("code/resume.sh", RESUME)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{cloud.account.bucket}/code/resume.sh"}
    cloud.create(
        "one",
        *("bash", "/opt/ml/input/data/code/resume.sh", "/opt/ml"),
        spot=True,
        CheckpointConfig=cloud.checkpointed(),
        InputDataConfig=[{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
    )
    cloud.said("one", "on")
    cloud.wait(lambda: cloud.keys("checkpoints/") == ["checkpoints/gone", "checkpoints/state"])  # while it runs
    cloud.interrupt("one")
    described = cloud.wait_for("one")
    assert described["TrainingJobStatus"] == "Completed"
    assert secondary(described) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert cloud.log("one") == ["on", "resumed", "begun", "notice"]
    assert len(streams(cloud)) == 2 and all(name.startswith("one/algo-1-") for name in streams(cloud))
    assert described["BillableTimeInSeconds"] <= described["TrainingTimeInSeconds"]


def test_what_is_deleted_in_the_container_is_deleted_in_the_bucket(cloud: Cloud) -> None:
    cloud.put("checkpoints/old", "1")
    cloud.put("checkpoints/kept", "1")
    words = ("sh", "-c", "rm /opt/ml/checkpoints/old; mkdir /opt/ml/checkpoints/d; echo 2 > /opt/ml/checkpoints/d/new")
    cloud.run("one", *words, CheckpointConfig=cloud.checkpointed())
    assert cloud.keys("checkpoints/") == ["checkpoints/d/new", "checkpoints/kept"]


def test_the_checkpoint_uploader_can_stop_silently(cloud: Cloud) -> None:
    cloud.faults.stalled_checkpoints = True
    words = ("sh", "-c", "echo 1 > /opt/ml/checkpoints/a")
    assert cloud.run("one", *words, CheckpointConfig=cloud.checkpointed())["TrainingJobStatus"] == "Completed"
    assert cloud.keys("checkpoints/") == []


def test_a_spot_job_is_billed_less(still: Cloud) -> None:
    still.create("one", "sleep", "1000", spot=True, StoppingCondition={"MaxRuntimeInSeconds": 900, "MaxWaitTimeInSeconds": 5000})  # fmt: skip
    still.advance(60)
    still.wait_for("one", "Downloading")
    still.advance(30)
    still.wait(lambda: still.pid("one"))
    still.advance(60)
    still.interrupt("one")
    still.wait_for("one", "Interrupted")
    still.advance(60)
    still.wait(lambda: still.describe("one")["SecondaryStatus"] == "Downloading")
    still.advance(30)
    still.wait(lambda: still.pid("one"))
    still.advance(4)
    still.crash("one")
    still.wait_for("one", "Uploading")
    still.advance(10)
    described = still.wait_for("one")
    assert described["TrainingTimeInSeconds"] == 30 + 60 + 30 + 4 + 10
    assert described["BillableTimeInSeconds"] == round(134 * 0.3)


def test_a_machine_that_ignores_the_notice_is_gone_after_the_grace(still: Cloud) -> None:
    still.create("one", "bash", "-c", "trap 'echo no' TERM; echo on; while :; do sleep 0.01; done", spot=True)
    still.advance(60)
    still.wait_for("one", "Downloading")
    still.advance(30)
    still.said("one", "on")
    still.interrupt("one")
    still.said("one", "no")
    still.advance(120)
    assert still.wait_for("one", "Interrupted")["TrainingJobStatus"] == "InProgress"


def test_only_spot_machines_are_taken_away(cloud: Cloud) -> None:
    cloud.run("one")
    with pytest.raises(SwatchError, match="no spot job"):
        cloud.interrupt("one")


def test_waiting_for_spot_has_an_end(still: Cloud) -> None:
    still.faults.capacity["ml.g5.xlarge"] = Fault(probability=1)
    still.create("one", spot=True)
    still.advance(7199)
    assert still.describe("one")["SecondaryStatus"] == "Starting"
    still.advance(1)
    described = still.wait_for("one")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert "BillableTimeInSeconds" not in described


def test_a_type_can_be_sold_out(cloud: Cloud) -> None:
    cloud.faults.capacity["ml.g5.xlarge"] = Fault(next=1)
    described = cloud.run("one")
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("CapacityError: Unable to provision requested ML compute capacity. ")
    assert "BillableTimeInSeconds" not in described
    assert cloud.run("two")["TrainingJobStatus"] == "Completed"


def test_the_first_preferred_type_that_is_there_is_taken(cloud: Cloud) -> None:
    cloud.faults.capacity["ml.g5.xlarge"] = Fault(probability=1)
    preferred = [{"InstanceType": f"ml.{name}.xlarge", "InstanceCount": 1} for name in ("g5", "g6", "g4dn")]
    cloud.run("one", ResourceConfig={"InstancePreferences": preferred, "VolumeSizeInGB": 30})
    resources = cloud.sagemaker.describe_training_job(TrainingJobName="one")["ResourceConfig"]
    assert (resources["SelectedInstanceType"], resources["SelectedInstanceCount"]) == ("ml.g6.xlarge", 1)
    assert "InstanceType" not in resources


def test_an_internal_error_is_tried_again_as_often_as_was_asked(cloud: Cloud) -> None:
    cloud.faults.interrupt_after = (0.0, 0.0)
    cloud.faults.internal["*"] = Fault(next=2)
    described = cloud.run("one", "sleep", "1000", RetryStrategy={"MaximumRetryAttempts": 1})
    assert described["FailureReason"].startswith("InternalServerError: ")
    assert secondary(described).count("Restarting") == 1
    cloud.faults.internal["*"] = Fault(next=1)
    cloud.create("two", "sleep", "1000", RetryStrategy={"MaximumRetryAttempts": 1})
    cloud.wait(lambda: secondary(cloud.describe("two")).count("Training") == 2)
    cloud.sagemaker.stop_training_job(TrainingJobName="two")
    assert cloud.wait_for("two")["TrainingJobStatus"] == "Stopped"


def warm(cloud: Cloud, seconds: int) -> dict[str, Any]:
    return {**cloud.request("x")["ResourceConfig"], "KeepAlivePeriodInSeconds": seconds}


def finish(still: Cloud, name: str, starting: float = 60) -> None:
    still.advance(starting)
    still.wait_for(name, "Downloading")
    still.advance(30)
    still.wait_for(name, "Uploading")
    still.advance(10)
    still.wait_for(name)


def test_warm_machines_are_used_again(still: Cloud) -> None:
    def pool(name: str) -> Any:
        return still.sagemaker.describe_training_job(TrainingJobName=name)["WarmPoolStatus"]

    still.create("one", ResourceConfig=warm(still, 600))
    assert pool("one")["Status"] == "InUse"
    finish(still, "one")
    assert pool("one") == {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0}
    assert refused(still.sagemaker.delete_training_job, TrainingJobName="one").startswith("ResourceInUse")
    still.advance(100)
    still.create("two", ResourceConfig=warm(still, 600))
    assert pool("one") == {"Status": "Reused", "ResourceRetainedBillableTimeInSeconds": 100, "ReusedByJob": "two"}
    finish(still, "two", starting=5)
    listed = still.sagemaker.list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [one["TrainingJobName"] for one in listed] == ["two"]
    still.sagemaker.update_training_job(TrainingJobName="two", ResourceConfig={"KeepAlivePeriodInSeconds": 50})
    still.advance(50)
    assert pool("two") == {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 50}
    still.create("three", ResourceConfig=warm(still, 600))
    still.advance(5)
    assert still.describe("three")["SecondaryStatus"] == "Starting"  # cold again


def test_a_machine_of_another_kind_is_not_warm(still: Cloud) -> None:
    still.create("one", ResourceConfig=warm(still, 600))
    finish(still, "one")
    still.create("two", ResourceConfig=warm(still, 600) | {"InstanceType": "ml.g6.xlarge"})
    assert still.sagemaker.describe_training_job(TrainingJobName="one")["WarmPoolStatus"]["Status"] == "Available"


def test_spot_machines_are_not_kept(cloud: Cloud) -> None:
    request = cloud.request("one", spot=True, ResourceConfig=warm(cloud, 60))
    assert "not supported with EnableManagedSpotTraining" in refused(cloud.sagemaker.create_training_job, **request)
