"""Values that a job needs and nobody may read: where they come from. Pure.

A job's record has the names only. On this computer the values travel in a file of 0600 (see `backends.local`), to AWS
in Secrets Manager, as `swatch/<project>/<NAME>`; there a job also finds `swatch/<NAME>`, which a person has put there
for all projects. The addresses of `notify` travel the same way.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from orchestrator.errors import UsageError

MAX_BYTES = 65_536
"""Of a value (Secrets Manager's quota for SecretString)."""


def collect(names: Sequence[str], environment: Mapping[str, str], kept: Container[str] = ()) -> dict[str, str]:
    """The values of these names that the environment has. Raises UsageError for names that neither it nor what is
    `kept` elsewhere has, and for values that are too large."""
    missing = [name for name in names if name not in environment and name not in kept]
    if missing:
        raise UsageError(
            f"No value for the secret {missing[0]}"
            + (f", nor for {', '.join(missing[1:])}" if len(missing) > 1 else ""),
            hint=f"export {missing[0]}=... in this terminal, and repeat it",
        )
    found = {name: environment[name] for name in names if name in environment}
    for name, value in found.items():
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise UsageError(f"The secret {name} is no text") from None
        if size > MAX_BYTES:
            raise UsageError(f"The secret {name} is too large", hint=f"It may have {MAX_BYTES:,} bytes")
    return found
