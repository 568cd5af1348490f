"""Where everything lives: plain files under one prefix."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.store.base import Entry, Store

__all__ = ["Entry", "Store", "open_store"]


def open_store(url: str) -> Store:
    """The store at `url`: a folder, or a URL whose scheme names another kind. Raises UsageError for an unknown one."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        from orchestrator.store.local import LocalStore

        return LocalStore(url)
    if scheme == "s3":
        from orchestrator.store.s3 import S3Store

        return S3Store(url)
    raise UsageError(
        f"No store speaks {scheme}://", hint="Name a folder or s3://bucket/prefix, for example: --store ~/.swatch/store"
    )
