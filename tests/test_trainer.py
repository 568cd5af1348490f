"""The SageMaker SDK's ModelTrainer for a job sends what we would send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import aws as clients
from orchestrator.backends.sagemaker import model, request
from orchestrator.job import Job, Mount, Task
from orchestrator.settings import Aws
from tests.aws_stub import Stub, serving

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the SDK and its 130 packages warn as they like

ROLE = "arn:aws:iam::123456789012:role/swatch"
STORE = "s3://studio/textures"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/x"


@pytest.fixture
def stub(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    pytest.importorskip("sagemaker.train")
    with serving() as stub:
        stub.answers["CreateTrainingJob"] = lambda _: {"TrainingJobArn": ARN}
        stub.answers["DescribeTrainingJob"] = lambda asked: {
            "TrainingJobName": asked["TrainingJobName"],
            "TrainingJobArn": ARN,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "CreationTime": 1.8e9,
        }
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", stub.url)
        clients.forget()
        yield stub


@pytest.mark.parametrize(
    ("spot", "machines", "settings"),
    [
        (False, ("ml.g5.xlarge", "ml.g6.xlarge"), Aws(role=ROLE, keep_alive=600)),
        (True, ("ml.g5.xlarge",), Aws(role=ROLE, image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1")),
        (
            False,
            ("ml.m5.xlarge",),
            Aws(
                role=ROLE,
                kms_key="alias/textures",
                subnets=("subnet-1",),
                security_groups=("sg-1",),
                network_isolation=True,
                remote_debug=True,
            ),
        ),
    ],
)
def test_the_trainer_sends_the_same_training_job(
    stub: Stub, spot: bool, machines: tuple[str, ...], settings: Aws
) -> None:
    import boto3
    from sagemaker.core.helper.session_helper import Session

    from orchestrator.backends.sagemaker.trainer import to_model_trainer

    job = Job(
        project="forest",
        number=39,
        user="alice",
        created=0.0,
        command="make",
        code="c" * 64,
        tasks=(Task(name="bark", fingerprint="f" * 64),),
        data=(
            Mount(
                source="wxswxs/datasets/vgg-weights/1",
                mount="vgg_weights",
                digest="e" * 64,
                prefix="datasets/wxswxs/vgg-weights/1/files/",
                size=1 << 31,
            ),
        ),
        spot=spot,
        max_runtime=7200,
    )
    endpoints = {"AWS_ENDPOINT_URL": "http://10.0.0.1:5000"}
    trainer = to_model_trainer(
        job,
        store_url=STORE,
        agent="d" * 64,
        region="us-east-1",
        aws=settings,
        machines=machines,
        endpoints=endpoints,
        session=Session(boto_session=boto3.Session(region_name="us-east-1")),
    )
    trainer.train(wait=False, logs=False)
    (sent,) = [members for operation, members in stub.asked if operation == "CreateTrainingJob"]
    ours = request.training_job(
        job,
        name=sent["TrainingJobName"],
        store_url=STORE,
        agent="d" * 64,
        image=trainer.training_image,
        aws=settings,
        machines=machines,
        endpoints=endpoints,
    )
    assert sent["TrainingJobName"].startswith("forest-39-")
    assert comparable(sent) == comparable(ours)
    model.check("CreateTrainingJob", sent)


def comparable(sent: dict[str, Any]) -> dict[str, Any]:
    """A request without what is empty."""
    return {key: value for key, value in sent.items() if value not in ({}, [], None)}
