"""A job for people who go on in the SageMaker Python SDK: a ModelTrainer that would send the same training job.

The SDK (version 3) takes seconds to import, so that nothing else here imports it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator import images, settings
from orchestrator.backends.sagemaker import request
from orchestrator.errors import SwatchError
from orchestrator.job import Job


def to_model_trainer(
    job: Job,
    *,
    store_url: str,
    agent: str,
    region: str,
    aws: settings.Aws,
    machines: tuple[str, ...],
    endpoints: Mapping[str, str] | None = None,
    session: Any = None,
) -> Any:
    """A `sagemaker.train.ModelTrainer` whose training jobs have the image, entrypoint, channels, machines, environment,
    limits and tags of the job; `train()` starts one, under a name of the SDK's. `session` is a
    `sagemaker.core.helper.session_helper.Session`, by default the SDK's own.

    What the job needs from the store (agent, code, input) must be there, as it is after `swatch submit`. Raises
    SwatchError when the SDK is missing, UsageError where the account's settings lack something.
    """
    try:
        from sagemaker.core import shapes
        from sagemaker.train import ModelTrainer
        from sagemaker.train.configs import Compute, Networking
    except ImportError as error:
        raise SwatchError(
            "The SageMaker SDK (version 3) is not installed here", hint="pip install 'sagemaker>=3'"
        ) from error

    class SwatchTrainer(ModelTrainer):  # type: ignore[misc]
        """A ModelTrainer with an entrypoint of its own. The SDK's would wrap the command in a shell that keeps SIGTERM
        to itself, and has no public place for another."""

        def _create_training_job_args(self, *args: Any, **options: Any) -> dict[str, Any]:
            made: dict[str, Any] = super()._create_training_job_args(*args, **options)
            if "AlgorithmSpecification" in made:  # as boto3 spells it
                made["AlgorithmSpecification"].update(entry)
                made["ProfilerConfig"] = sent["ProfilerConfig"]
            else:
                specification = made["algorithm_specification"]
                specification.container_entrypoint = entry["ContainerEntrypoint"]
                specification.container_arguments = entry["ContainerArguments"]
                made["profiler_config"] = shapes.ProfilerConfig(**_snake(sent["ProfilerConfig"]))
            return made

    image = job.image or images.configured(aws.image) or images.retrieved(machines[0], region)
    sent = request.training_job(
        job,
        name="swatch",
        store_url=store_url,
        agent=agent,
        image=image,
        aws=aws,
        machines=machines,
        endpoints=endpoints or {},
    )
    entry = {key: sent["AlgorithmSpecification"][key] for key in ("ContainerEntrypoint", "ContainerArguments")}
    isolated = sent["EnableNetworkIsolation"]
    with _unvalidated_role():
        trainer: Any = SwatchTrainer(
            training_image=image,
            role=sent["RoleArn"],
            sagemaker_session=session,
            base_job_name=re.sub("[^A-Za-z0-9]+", "-", f"{job.project}-{job.number}")[-40:].strip("-"),
            compute=Compute(**_snake(sent["ResourceConfig"]), enable_managed_spot_training=job.spot),
            networking=Networking(**_snake(sent.get("VpcConfig", {})), enable_network_isolation=isolated),
            stopping_condition=shapes.StoppingCondition(**_snake(sent["StoppingCondition"])),
            output_data_config=shapes.OutputDataConfig(**_snake(sent["OutputDataConfig"])),
            checkpoint_config=shapes.CheckpointConfig(**_snake(sent["CheckpointConfig"])),
            input_data_config=[shapes.Channel(**_snake(channel)) for channel in sent["InputDataConfig"]],
            environment=sent.get("Environment", {}),
            tags=[shapes.Tag(**_snake(tag)) for tag in sent["Tags"]],
        )
    trainer = trainer.with_retry_strategy(shapes.RetryStrategy(**_snake(sent["RetryStrategy"])))
    if "RemoteDebugConfig" in sent:
        trainer = trainer.with_remote_debug_config(shapes.RemoteDebugConfig(**_snake(sent["RemoteDebugConfig"])))
    return trainer


@contextmanager
def _unvalidated_role() -> Iterator[None]:
    """The SDK simulates whether a role may touch networks, which ours may not unless jobs run in one; `swatch doctor`
    looks at the role instead. The SDK's switch for it is this variable; what a person has set stays."""
    name = "SAGEMAKER_VALIDATE_ROLE"
    if name in os.environ:
        yield
        return
    os.environ[name] = "false"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _snake(value: Any) -> Any:
    """A request's members as the SDK spells them: `VolumeSizeInGB` is `volume_size_in_gb`."""
    if isinstance(value, Mapping):
        return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower(): _snake(entry) for key, entry in value.items()}
    return [_snake(entry) for entry in value] if isinstance(value, list) else value
