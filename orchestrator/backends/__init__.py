"""Where jobs run. A backend is named in the manifest or by `--backend`, and imported when it is used."""

from __future__ import annotations

from pathlib import Path

from orchestrator.backends.base import Backend, Presence
from orchestrator.errors import UsageError

__all__ = ["Backend", "Presence", "open_backend"]


def open_backend(name: str, store_url: str, home: Path, slots: int) -> Backend:
    """The backend of that name, for jobs of the store at `store_url`. Raises UsageError for an unknown one."""
    if name == "local":
        from orchestrator.backends.local import LocalBackend

        return LocalBackend(store_url, home, slots)
    raise UsageError(
        f"The backend {name!r} is not available in this version", hint="Use `backend: local`, or --backend local"
    )
