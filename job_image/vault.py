"""The values of a job's secrets: from a file that its computer has left, or from AWS Secrets Manager.

Standard library only, and Python 3.8 syntax: this file travels into images that are not ours.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator import aws, contract
from orchestrator.errors import CloudError, SwatchError

MAX_FILE = 1 << 22


class Vault(NamedTuple):
    """Where the secrets of a job are: in a file, else (`cloud`) in Secrets Manager, else nowhere."""

    job: dict[str, Any]
    file: Path | None
    cloud: bool

    def values(self) -> dict[str, str]:
        """What the command gets, by the names of its variables. Raises SwatchError for one that is not there."""
        values = {}
        for name in self.job.get("secrets", []):
            value = self._value(name)
            if value is None:
                where = contract.secret_ids(self.job["project"], name)[0] if self.cloud else name
                raise SwatchError(f"the secret {where} is not there: submit the job again, from where it is known")
            values[name] = value
        return values

    def addresses(self) -> tuple[dict[str, str], str]:
        """Where the end of the job is told; and why it is not told elsewhere, too."""
        told = contract.ADDRESSES if not self.cloud else os.environ.get(contract.TELL, "").split(",")
        found, problem = {}, ""
        for name in set(contract.ADDRESSES).intersection(told):
            try:
                value = self._value(name)
            except SwatchError as error:
                problem = f"the end of the job cannot be told: {error.message}"
                continue
            if value is not None:
                found[name] = value
        return found, problem

    def forget(self) -> None:
        """The job has ended: nobody needs the file any more. One that is mounted its computer removes."""
        if self.file is not None and self.file.exists() and not os.path.ismount(str(self.file)):
            self.file.unlink()

    def _value(self, name: str) -> str | None:
        if self.file is not None:
            return self._filed().get(name)
        return _secret(self.job["project"], name) if self.cloud else None

    def _filed(self) -> dict[str, str]:
        if self.file is None or not self.file.exists():
            return {}
        try:
            with open(str(self.file), "rb") as source:
                found = json.loads(source.read(MAX_FILE))
        except (OSError, ValueError) as error:  # what json would say of it may quote it
            raise SwatchError(f"the job's secrets cannot be read: {type(error).__name__}") from None
        items = found.items() if isinstance(found, dict) else ()
        return {name: value for name, value in items if isinstance(value, str)}


def _secret(project: str, name: str) -> str | None:
    """As Secrets Manager has it (API reference, GetSecretValue): the project's own, or that of all projects."""
    for key in contract.secret_ids(project, name):
        try:
            with aws.explained(f"reading the secret {key}"):
                found = aws.client("secretsmanager").get_secret_value(SecretId=key)
        except CloudError as error:
            if error.code == "ResourceNotFoundException":
                continue
            raise
        if "SecretString" not in found:
            raise SwatchError(f"the secret {key} is no text")
        return str(found["SecretString"])
    return None
