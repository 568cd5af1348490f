"""Is everything there that jobs need? One function a check; each says what is, and what to type to mend it."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.checkup import local
from orchestrator.checkup.base import FAIL, OK, UNKNOWN, WARN, Check
from orchestrator.settings import Settings

__all__ = ["FAIL", "OK", "UNKNOWN", "WARN", "Check", "checks"]


def checks(settings: Settings, machine: str) -> Iterator[Check]:
    """Every check, each as soon as it is known. AWS is asked only where something of ours is there: a store on S3, or a
    role; `machine` is the one whose quota is asked for."""
    yield local.python()
    yield local.store(settings)
    yield local.docker()
    if not settings.store.startswith("s3://") and settings.aws.role is None:
        said = "local only: jobs run on this computer, and nothing of AWS is configured"
        yield Check("AWS", OK, said, "swatch setup aws --dry-run shows what jobs on AWS would need")
        return
    from orchestrator.checkup import cloud

    yield from cloud.checks(settings, machine)
