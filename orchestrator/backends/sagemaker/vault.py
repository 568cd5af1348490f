"""The values of jobs' secrets in AWS Secrets Manager, as `swatch/<project>/<NAME>`.

They stay there (USD 0.40 a month each, AWS' price list): other jobs of the project may wait for them. `aws
secretsmanager delete-secret --secret-id ...` removes one.
"""

from __future__ import annotations

import threading

from orchestrator import aws, contract
from orchestrator.errors import CloudError

_MISSING = "ResourceNotFoundException"
_lock = threading.Lock()
_kept: dict[str, str] = {}  # what this process has put there already


def has(project: str, name: str) -> bool:
    """Whether a job of the project would find a value. Raises CloudError."""
    return any(_there(key) for key in contract.secret_ids(project, name))


def keep(project: str, values: dict[str, str]) -> None:
    """Have the project's secrets hold these values (PutSecretValue; CreateSecret for a new one). Raises CloudError."""
    for name, value in values.items():
        key = contract.secret_ids(project, name)[0]
        with _lock:
            if _kept.get(key) == value:
                continue
            _put(key, value)
            _kept[key] = value


def _put(key: str, value: str) -> None:
    with aws.explained(f"keeping the secret {key}"):
        client = aws.client("secretsmanager")
        try:
            client.put_secret_value(SecretId=key, SecretString=value)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=key, SecretString=value, Description="What a job of Swatch needs")


def _there(key: str) -> bool:
    try:
        with aws.explained(f"looking for the secret {key}"):
            aws.client("secretsmanager").describe_secret(SecretId=key)
    except CloudError as error:
        if error.code == _MISSING:
            return False
        raise
    return True
