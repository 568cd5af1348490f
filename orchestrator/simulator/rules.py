"""What CreateTrainingJob asks of a request beyond its shape: members that need or exclude each other.

The rules are those of the API reference (CreateTrainingJob, ResourceConfig, StoppingCondition); the sentences are
AWS' where they are known from public reports, else in its manner.
"""

from __future__ import annotations

from typing import Any

from orchestrator.simulator.wire import Invalid

MAX_RUNTIME = 28 * 24 * 3600
"""Seconds (StoppingCondition: "The maximum value is 28 days")."""


def check_together(request: dict[str, Any]) -> None:
    """Raise ApiError (ValidationException) for the first rule that the request breaks."""
    for name in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        # The model leaves them open for serverless jobs, which are not simulated.
        if not request.get(name):
            raise Invalid(f"{name} is required for a training job that is not serverless.")
    _algorithm(request["AlgorithmSpecification"])
    _resources(request["ResourceConfig"], bool(request.get("EnableManagedSpotTraining")))
    _stopping(request["StoppingCondition"], bool(request.get("EnableManagedSpotTraining")))
    _channels(request)


def _algorithm(algorithm: dict[str, Any]) -> None:
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise Invalid("You must specify either TrainingImage or AlgorithmName in AlgorithmSpecification, not both.")
    if algorithm.get("AlgorithmName"):
        raise Invalid(f"Requested resource not found: algorithm {algorithm['AlgorithmName']}")


def _resources(resources: dict[str, Any], spot: bool) -> None:
    named = [name for name in ("InstanceType", "InstanceGroups", "InstancePreferences") if resources.get(name)]
    if len(named) != 1:
        raise Invalid("Specify exactly one of InstanceType, InstanceGroups and InstancePreferences in ResourceConfig.")
    if "SelectedInstanceType" in resources or "SelectedInstanceCount" in resources:
        raise Invalid("SelectedInstanceType and SelectedInstanceCount are read-only.")
    if named == ["InstancePreferences"]:
        if spot:
            raise Invalid("InstancePreferences is not supported with EnableManagedSpotTraining.")
        if resources.get("InstancePlacementConfig"):
            raise Invalid("InstancePreferences is not supported with InstancePlacementConfig.")
        counts = [one.get("InstanceCount", resources.get("InstanceCount", 0)) for one in resources[named[0]]]
    elif named == ["InstanceGroups"]:
        counts = [one["InstanceCount"] for one in resources["InstanceGroups"]]
    else:
        counts = [resources.get("InstanceCount", 0)]
    if min(counts) < 1:
        raise Invalid("InstanceCount must be at least 1.")
    if resources.get("KeepAlivePeriodInSeconds") and spot:
        raise Invalid("KeepAlivePeriodInSeconds is not supported with EnableManagedSpotTraining.")


def _stopping(stopping: dict[str, Any], spot: bool) -> None:
    runtime, wait = stopping.get("MaxRuntimeInSeconds", 86400), stopping.get("MaxWaitTimeInSeconds")
    if runtime > MAX_RUNTIME:
        raise Invalid(f"MaxRuntimeInSeconds must be at most {MAX_RUNTIME}.")
    if spot and (wait is None or wait < runtime):
        raise Invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if wait is not None and not spot:
        raise Invalid("MaxWaitTimeInSeconds is only allowed when EnableManagedSpotTraining is true.")


def _channels(request: dict[str, Any]) -> None:
    channels = request.get("InputDataConfig", [])
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) < len(names):
        raise Invalid("Channel names must be unique.")
    for channel in channels:
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise Invalid("The simulator carries channels of the S3DataType S3Prefix only.")
        mode = channel.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"])
        if mode == "Pipe":
            raise Invalid("The simulator carries channels in the input modes File and FastFile only.")
