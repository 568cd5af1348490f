"""Where jobs run. A backend is named in the manifest or by `--backend`, and imported when it is used."""

from __future__ import annotations

from orchestrator.backends.base import Backend, Presence, Sight
from orchestrator.errors import UsageError
from orchestrator.settings import Settings
from orchestrator.store.base import Store

__all__ = ["Backend", "Presence", "Sight", "open_backend"]


def open_backend(name: str, store: Store, settings: Settings) -> Backend:
    """The backend of that name, for jobs of this store. Raises UsageError for one that is unknown, or that cannot run
    jobs of such a store."""
    if name in ("local", "docker"):
        from orchestrator.backends.local import LocalBackend

        return LocalBackend(store.url, settings.home, settings.slots, settings.notify, name)
    if name == "sagemaker":
        from orchestrator.backends.sagemaker.backend import SageMakerBackend

        return SageMakerBackend(store, settings)
    raise UsageError(
        f"The backend {name!r} is not available in this version", hint="There are `local`, `docker` and `sagemaker`"
    )
