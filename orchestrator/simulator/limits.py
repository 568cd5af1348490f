"""Limits of the account: calls per second, and machines at a time by type.

ListTrainingJobs: 2 requests per second for the account, not adjustable. Of the other calls AWS publishes no figure:
unlimited unless it is set here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from orchestrator.simulator.shapes import service_model
from orchestrator.simulator.wire import ApiError

ON_DEMAND, SPOT, WARM_POOL = "training job", "spot training job", "training warm pool"
"""The three limits of an instance type, as Service Quotas names them: `ml.g5.xlarge for spot training job usage`."""
KINDS = (ON_DEMAND, SPOT, WARM_POOL)


class Rate(NamedTuple):
    """Calls per second, and how many may come at once."""

    per_second: float
    burst: float


class Throttle:
    """Token buckets, one an operation, on the simulator's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.rates: dict[str, Rate] = {"ListTrainingJobs": Rate(2, 2)}
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, operation: str) -> None:
        """Count a call. Raises ApiError (ThrottlingException) when it is one too many."""
        rate = self.rates.get(operation)
        if rate is None:
            return
        with self._lock:
            now = self._now()
            tokens, then = self._buckets.get(operation, (rate.burst, now))
            tokens = min(rate.burst, tokens + (now - then) * rate.per_second)
            if tokens < 1:
                self._buckets[operation] = tokens, now
                raise ApiError("ThrottlingException", "Rate exceeded")
            self._buckets[operation] = tokens - 1, now


class Quotas:
    """How many machines of a type may be in use; `default` holds for types that are not named."""

    def __init__(self, default: int = 20) -> None:
        self.default = default
        self.limits: dict[tuple[str, str], int] = {}

    def set(self, instance_type: str, count: int, *kinds: str) -> None:
        """Allow so many of a type, for all three kinds of use unless they are named."""
        for kind in kinds or KINDS:
            self.limits[instance_type, kind] = count

    def limit(self, instance_type: str, kind: str) -> int:
        return self.limits.get((instance_type, kind), self.default)

    def check(self, instance_type: str, kind: str, used: int, more: int) -> None:
        """Raise ApiError (ResourceLimitExceeded) if `more` machines beside those `used` are too many."""
        limit = self.limit(instance_type, kind)
        if used + more > limit:
            name = quota_name(instance_type, kind)
            raise ApiError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit} Instances, with current utilization of "
                f"{used} Instances and a request delta of {more} Instances. Please use AWS Service Quotas to request "
                "an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request "
                "an increase for this quota.",
            )

    def shown(self, instance_type: str, kind: str, region: str, account: str) -> dict[str, Any]:
        """The limit as Service Quotas tells it."""
        name = quota_name(instance_type, kind)
        code = quota_code(name)
        return {
            "ServiceCode": "sagemaker",
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:sagemaker/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(self.limit(instance_type, kind)),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def instance_types() -> list[str]:
    """Every machine type that training jobs can ask for."""
    return list(service_model("sagemaker").shape_for("TrainingInstanceType").enum)


def quota_name(instance_type: str, kind: str) -> str:
    return f"{instance_type} for {kind} usage"


def quota_code(name: str) -> str:
    """A code of the right form. AWS' own codes follow no rule: who wants one looks it up by its name."""
    return "L-" + hashlib.sha256(name.encode()).hexdigest()[:8].upper()
