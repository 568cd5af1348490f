"""An AWS account for one test, and a training job that is easily asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.simulator import Durations, ManualClock, Simulator


class Cloud(Simulator):
    """The simulator with its account made and a program's job at hand."""

    def start(self) -> None:
        super().start()
        self.account = self.make_account()
        self.sagemaker, self.s3 = self.client("sagemaker"), self.client("s3")

    def put(self, key: str, body: str | bytes) -> None:
        self.s3.put_object(Bucket=self.account.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.account.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.account.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def request(self, name: str, *words: str, spot: bool = False, **changes: Any) -> dict[str, Any]:
        """A request for a job that runs the words, or an empty program."""
        stopping = {"MaxRuntimeInSeconds": 3600, **({"MaxWaitTimeInSeconds": 7200} if spot else {})}
        return {
            "TrainingJobName": name,
            "RoleArn": self.account.role,
            "AlgorithmSpecification": {
                "TrainingImage": self.account.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": list(words or ("true",)),
            },
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.account.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": stopping,
            "EnableManagedSpotTraining": spot,
            **changes,
        }

    def create(self, name: str, *words: str, **changes: Any) -> None:
        self.sagemaker.create_training_job(**self.request(name, *words, **changes))

    def run(self, name: str, *words: str, **changes: Any) -> dict[str, Any]:
        """Run a job to its end; its description."""
        self.create(name, *words, **changes)
        return self.wait_for(name)

    def said(self, name: str, line: str) -> None:
        """Wait until the job has written the line."""
        self.wait(lambda: line in self.log(name))

    def checkpointed(self) -> dict[str, str]:
        return {"S3Uri": f"s3://{self.account.bucket}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}


def refused(call: Any, **request: Any) -> str:
    """`CODE: message` of the error that the call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Time is real, and nothing but the work itself takes any."""
    with Cloud(sync_period=0.01) as aws:
        yield aws


@pytest.fixture
def still() -> Iterator[Cloud]:
    """Time stands still until `advance`; List is not throttled."""
    durations = Durations(starting=60, warm=5, downloading=30, uploading=10, interrupted=60)
    with Cloud(ManualClock(1_800_000_000.0), durations=durations, sync_period=0.01) as aws:
        aws.rates.clear()
        yield aws
