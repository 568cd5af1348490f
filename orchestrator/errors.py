"""Everything that Swatch raises on purpose. Imports nothing of ours.

    SwatchError                 a sentence a person can act on; exit code 1
    ├── UsageError              the call itself is wrong; exit code 2
    │   └── ManifestError       a manifest has problems: every one of them, one line each
    ├── NotFound                no such job, project, dataset or key; exit code 2
    ├── DockerError             Docker could not do what it was asked to
    │   ├── NoDocker            there is none to ask: missing, stopped, or not for this user
    │   │   └── Silent          it is there, and does not answer
    │   ├── TagTaken            the registry has another image under that tag
    │   └── SignIn              the registry wants a sign-in
    └── StoreError              the store could not be read or written (full disk, permissions, damage)
        └── CloudError          the cloud refused or was not reached, for the store's bytes or for anything else
            ├── Expired         no credentials, or none that work any more: a person must sign in
            ├── Denied          the credentials work, and may not do this
            ├── Throttled       too many requests, also after waiting
            └── Unreachable     no answer: network, endpoint, proxy

Anything else that escapes is a bug in Swatch, and is shown with its traceback.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence


class SwatchError(Exception):
    """Says what went wrong, where, and in `hint` what to type next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SwatchError):
    """The call is wrong: an unknown name form, a bad value, a flag that does not fit."""

    exit_code = 2


class NotFound(SwatchError):
    """What was named does not exist in this store."""

    exit_code = 2


class StoreError(SwatchError):
    """The store could not be read or written."""


class CloudError(StoreError):
    """The cloud refused a request or did not answer it; `code` is its own word for it, or empty."""

    def __init__(self, message: str, hint: str | None = None, code: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class Expired(CloudError):
    """There are no credentials, or they have expired or are refused. A person must act; then trying again helps."""


class Denied(CloudError):
    """These credentials may not do this."""


class Throttled(CloudError):
    """The cloud takes no more requests for now."""


class Unreachable(CloudError):
    """No answer came: network, endpoint or proxy. Trying again may help."""


class DockerError(SwatchError):
    """Docker could not do what it was asked to; `said` are its own last words."""

    def __init__(self, message: str, hint: str | None = None, said: str = "") -> None:
        super().__init__(message, hint)
        self.said = said


class NoDocker(DockerError):
    """There is no Docker to ask: it is missing, stopped, or not for this user."""


class Silent(NoDocker):
    """There is a Docker, and it does not answer: what it runs cannot be told."""


class TagTaken(DockerError):
    """The registry has another image under that tag, and tags there never change."""


class SignIn(DockerError):
    """The registry wants a sign-in, or takes the one that it got no longer."""


class Problem(NamedTuple):
    """One thing wrong with a manifest: `line` and `column` count from 1, `where` is a path like `textures[3].width`."""

    line: int
    column: int
    where: str
    message: str

    def sentence(self, file: str) -> str:
        place = f"{file}:{self.line}:{self.column}"
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


MAX_LINES = 200
"""Problems of a manifest that are printed: enough to mend by, few enough to read."""


class ManifestError(UsageError):
    """A manifest with problems; the message holds one line for each, in the order of the file."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems))
        lines = [problem.sentence(file) for problem in self.problems[:MAX_LINES]]
        if len(self.problems) > MAX_LINES:
            lines.append(f"and {len(self.problems) - MAX_LINES:,} more")
        super().__init__("\n".join(lines))
