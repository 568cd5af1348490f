"""Where things are on this computer, and whose jobs they are: flags over environment over the configuration file.

    SWATCH_HOME    folder of the store, the local queue and config.yaml   (~/.swatch)
    SWATCH_STORE   folder or URL of the store                             (SWATCH_HOME/store)
    SWATCH_SLOTS   jobs that run at a time on this machine                (1)
    SWATCH_USER    first part of job names                                (the login name)

config.yaml may say `store`, `slots` and `user`.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.errors import UsageError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every verb needs to know."""

    home: Path
    store: str
    slots: int = 1
    user: str = "me"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str | None = None
    slots: int | None = None
    user: str | None = None


def load(store: str | None = None, slots: int | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. Raises UsageError for a value or a configuration file that cannot be used."""
    try:
        home = Path(environment.get("SWATCH_HOME") or "~/.swatch").expanduser().absolute()
    except RuntimeError as error:  # a person without a folder, as in some containers; or ~nobody
        raise UsageError("There is no home folder to keep jobs in", hint="Set SWATCH_HOME to a folder") from error
    file = _read(home / "config.yaml")
    user = environment.get("SWATCH_USER") or file.user or _login()
    return Settings(
        home=home,
        store=store or environment.get("SWATCH_STORE") or file.store or str(home / "store"),
        slots=_slots(slots if slots is not None else environment.get("SWATCH_SLOTS") or file.slots or 1),
        user=re.sub(r"[^A-Za-z0-9._-]", "-", user).strip("-.") or "me",
    )


def _read(path: Path) -> _File:
    if not path.exists():
        return _File()
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()) or {}, _File)
    except (yaml.YAMLError, msgspec.ValidationError, OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}", hint="It may say `store`, `slots` and `user`, nothing else") from error


def _slots(value: int | str) -> int:
    try:
        slots = int(value)
    except ValueError:
        slots = 0
    if not 1 <= slots <= 64:
        raise UsageError(f"slots: expected an integer from 1 to 64, got {value!r}")
    return slots


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no login name, as in some containers
        return "me"
