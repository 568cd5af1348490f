"""From a job to the request that starts it on SageMaker (API reference, CreateTrainingJob). Pure.

What the API's own model can say of a request is checked in `model`; what only its documentation says is observed here:
a spot job has one machine, no warm pool, and waits at least as long as it runs; preferences replace the instance type;
no key is named for disks that the hardware encrypts.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from orchestrator import contract, machines, plan, settings
from orchestrator.backends import entrypoint
from orchestrator.entries import DAY, MAX_RUNTIME
from orchestrator.errors import UsageError
from orchestrator.job import Job

ML = "/opt/ml"
CHECKPOINTS = f"{ML}/checkpoints"
"""The folder that SageMaker copies to S3 while the job runs, and back when it starts again (CheckpointConfig)."""

VOLUME = 50
"""GiB of the disk of a machine that has none of its own: an image, the code and outputs. Data that is copied to the
machine comes on top."""

RETRIES = 2
"""How often SageMaker itself starts a job anew after an internal error (RetryStrategy)."""

SPOT_WAIT = DAY
"""Seconds that a spot job may wait for capacity, beside its maximum runtime."""

PROJECT_TAG, JOB_TAG, FINGERPRINT_TAG, STORE_TAG = "swatch:project", "swatch:job", "swatch:fingerprint", "swatch:store"

_LONGEST_NAME = 63
_LONGEST_TAG = 256


def name_prefix(store_url: str, project: str) -> str:
    """What the names of a project's training jobs begin with, and no other project's or store's: `swatch-1a2b3c4d-`."""
    whole = f"{store_url.rstrip('/')}/{project}"
    return f"swatch-{hashlib.sha256(whole.encode()).hexdigest()[:8]}-"


def name(store_url: str, project: str, number: int, launch: int) -> str:
    """The training job's name for a try of a job (both counted from 1): at most 63 letters, digits and dashes. The
    project is in it for people; store and project are told apart by the digest in front."""
    prefix, suffix = name_prefix(store_url, project), f"{number}-{launch}"
    words = re.sub("[^A-Za-z0-9]+", "-", project)[: _LONGEST_NAME - len(prefix) - len(suffix) - 1].strip("-")
    return f"{prefix}{words}-{suffix}" if words else prefix + suffix


def tag(text: str) -> str:
    """The text as the value of a tag: itself, where AWS takes it, else what of it AWS takes, and a digest of the whole.
    Equal texts have equal tags, and no others."""
    kept = "".join(letter if _fits(letter) else "-" for letter in text)
    if kept == text and len(text) <= _LONGEST_TAG and not re.search(" sha256:[0-9a-f]{32}$", text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{kept[:200]} sha256:{digest}"


def tags(job: Job, store_url: str) -> dict[str, str]:
    """What a training job says of itself; `swatch:store` is how ours are told from those of other stores."""
    return {
        PROJECT_TAG: tag(job.project),
        JOB_TAG: tag(job.name),
        FINGERPRINT_TAG: fingerprint(job),
        STORE_TAG: tag(store_url.rstrip("/")),
    }


def fingerprint(job: Job) -> str:
    """What a job makes, 64 hexadecimal digits: its only task's fingerprint, else a digest of those of all its tasks in
    their order; without tasks, that of its command."""
    if not job.tasks:
        return plan.command_fingerprint(job.command, job.code, {data.mount: data.digest for data in job.data})
    prints = [task.fingerprint for task in job.tasks]
    return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()


def endpoints(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that lead to another AWS-compatible endpoint: a job needs them as much as this computer does.
    Raises UsageError for one that carries a password, for a request's environment is no place for secrets."""
    found = {key: value for key, value in environment.items() if re.fullmatch("AWS_ENDPOINT_URL(_[A-Z0-9_]+)?", key)}
    for key, value in found.items():
        if "@" in urlsplit(value).netloc:
            raise UsageError(f"{key} holds a password", hint="Give the endpoint without user:password@")
    return {key: value for key, value in found.items() if value}


def check_place(store_url: str, aws: settings.Aws) -> None:
    """Raises UsageError unless jobs of this store can run on SageMaker at all."""
    if not store_url.startswith("s3://"):
        raise UsageError(f"Jobs on SageMaker need a store on S3, not {store_url}", hint="swatch setup aws")
    if not aws.role:
        raise UsageError("No role for jobs on SageMaker: config.yaml has no aws.role", hint="swatch setup aws")


def training_job(
    job: Job,
    *,
    name: str,
    store_url: str,
    agent: str,
    image: str,
    aws: settings.Aws,
    machines: tuple[str, ...],
    endpoints: Mapping[str, str],
    tell: Sequence[str] = (),
    boto3: str | None = None,
) -> dict[str, Any]:
    """The request. `agent` is the digest of the agent's file in the store, and so is `boto3` of AWS' SDK, for an image
    that has none; `machines` are instance types in order of
    preference (a spot job takes the first, any other the first five), `endpoints` go into the job's environment, and
    so do the names of the addresses to `tell` its end at. Raises UsageError where the account's settings lack
    something."""
    check_place(store_url, aws)
    if not machines:
        raise UsageError(f"{job.short} names no machine", hint="Give it one: machine: gpu")
    store = store_url.rstrip("/")
    prefix = f"{store}/{contract.job_prefix(job.project, job.number)}"
    isolated = aws.network_isolation
    arguments = ["--store", CHECKPOINTS if isolated else store, "--project", job.project, "--number", str(job.number)]
    arguments += ["--work", f"{ML}/swatch", "--ml", ML]
    if boto3 is not None:
        arguments += ["--boto3", f"{ML}/input/data/{contract.BOTO3_CHANNEL}/{boto3}.zip"]
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": aws.role,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": entrypoint.words(f"{ML}/input/data/{contract.AGENT_CHANNEL}/{agent}.pyz", ()),
            "ContainerArguments": [*arguments, "--isolated"] if isolated else arguments,
        },
        "InputDataConfig": _channels(job, store, agent, boto3),
        "OutputDataConfig": {"S3OutputPath": f"{prefix}sagemaker/", "CompressionType": "NONE"},
        "CheckpointConfig": {"S3Uri": prefix if isolated else f"{prefix}checkpoints/", "LocalPath": CHECKPOINTS},
        "ResourceConfig": _resources(job, machines, aws),
        "StoppingCondition": {"MaxRuntimeInSeconds": job.max_runtime},
        "EnableManagedSpotTraining": job.spot,
        "EnableNetworkIsolation": isolated,
        "RetryStrategy": {"MaximumRetryAttempts": RETRIES},
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": [{"Key": key, "Value": value} for key, value in tags(job, store_url).items()],
    }
    if job.spot:
        longest = max(job.max_runtime, min(job.max_runtime + SPOT_WAIT, MAX_RUNTIME))
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = longest
    if endpoints or tell:
        request["Environment"] = {**endpoints, **({contract.TELL: ",".join(tell)} if tell else {})}
    if aws.kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = aws.kms_key
    if aws.subnets:
        request["VpcConfig"] = {"Subnets": list(aws.subnets), "SecurityGroupIds": list(aws.security_groups)}
    if aws.remote_debug:
        request["RemoteDebugConfig"] = {"EnableRemoteDebug": True}
    return request


def _channels(job: Job, store: str, agent: str, boto3: str | None) -> list[dict[str, Any]]:
    """What the machine has when the job starts: SageMaker puts each object below /opt/ml/input/data/<channel>/."""
    carried = {contract.AGENT_CHANNEL: contract.agent_key(agent)}
    streamed = {contract.data_channel(data.mount) for data in job.data if data.size >= contract.STREAMED}
    if boto3 is not None:
        carried[contract.BOTO3_CHANNEL] = contract.boto3_key(boto3)
    if job.code is not None:
        carried[contract.CODE_CHANNEL] = contract.code_key(job.code)
    if job.input is not None:
        carried[contract.INPUT_CHANNEL] = contract.code_key(job.input)
    carried.update((contract.data_channel(data.mount), data.prefix) for data in job.data)
    return [
        {
            "ChannelName": channel,
            "InputMode": "FastFile" if channel in streamed else "File",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"{store}/{key}",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for channel, key in carried.items()
    ]


def _resources(job: Job, types: tuple[str, ...], aws: settings.Aws) -> dict[str, Any]:
    preferred = types[: 1 if job.spot else machines.MOST]
    copied = sum(data.size for data in job.data if data.size < contract.STREAMED)
    resources: dict[str, Any] = {"InstanceCount": 1, "VolumeSizeInGB": VOLUME + -(-copied // (1 << 30))}
    if len(preferred) == 1:
        resources["InstanceType"] = preferred[0]
    else:
        resources["InstancePreferences"] = [{"InstanceType": one} for one in preferred]
    kinds = [machines.known(one) for one in preferred]
    if aws.kms_key and all(kind is not None and not kind.local_storage for kind in kinds):
        resources["VolumeKmsKeyId"] = aws.kms_key
    if aws.keep_alive and not job.spot:
        resources["KeepAlivePeriodInSeconds"] = aws.keep_alive
    return resources


def _fits(letter: str) -> bool:
    """Whether a tag may hold the letter (API reference, Tag: letters, digits, spaces, and _ . : / = + - @)."""
    return letter in "_.:/=+-@" or unicodedata.category(letter)[0] in "LNZ"
