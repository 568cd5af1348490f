"""Where things are on this computer, and whose jobs they are: flags over environment over the configuration file.

    SWATCH_HOME    folder of the store, the local queue and config.yaml   (~/.swatch)
    SWATCH_STORE   folder or URL of the store                             (SWATCH_HOME/store)
    SWATCH_SLOTS   jobs that run at a time on this machine                (1)
    SWATCH_USER    first part of job names                                (the login name)
    SWATCH_BACKEND where `swatch run` runs jobs                           (local)

config.yaml may say `store`, `slots`, `user` and `backend`, and under `aws:` what jobs on SageMaker need beside the
standard AWS configuration: see `Aws`; under `docker:` how images are built: see `Docker`.
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator import contract, decoder, duration
from orchestrator.errors import UsageError

WARM_POOL = 21_600
"""Seconds: the longest that SageMaker keeps a machine warm (CreateTrainingJob, KeepAlivePeriodInSeconds)."""


class Aws(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs on SageMaker need to know of the account. Profile, region, proxies and endpoints are not here: they
    come from the standard AWS configuration.

    role: ARN of the role that jobs run under; `swatch setup aws` makes one.
    image: the image that jobs run in, as `--image` says it; None leaves it to Swatch (see `foundry`).
    repository: the name of the image repository that images are pushed to; `swatch setup aws` makes it.
    kms_key: key (id or ARN) that encrypts volumes and what SageMaker itself writes; None leaves that to AWS.
    subnets, security_groups: the network jobs run in; both or none.
    network_isolation: jobs have no network at all; SageMaker carries what they make.
    keep_alive: seconds that a machine waits, paid, for the next job (a warm pool); 0 to 21600.
    remote_debug: a person may open a shell in a running job (AWS Systems Manager).
    queue: name of an AWS Batch job queue for SageMaker training that jobs are handed to.
    """

    role: str | None = None
    image: str | None = None
    repository: str = "swatch"
    kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    keep_alive: int = 0
    remote_debug: bool = False
    queue: str | None = None


class Notify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the end of a job is told. The addresses are secrets: whoever has one can write there.

    webhook: gets JSON. slack: the same as Slack takes it. bell: whoever watches hears and sees it.
    """

    webhook: str | None = None
    slack: str | None = None
    bell: bool = False

    @property
    def addresses(self) -> dict[str, str]:
        """By the names that they travel under."""
        found = {contract.WEBHOOK: self.webhook, contract.SLACK: self.slack}
        return {name: address for name, address in found.items() if address}


class Docker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are built on this computer.

    base: the image that Swatch's own builds on; None is TensorFlow's for GPUs.
    network: the network of builds (`docker build --network`); None leaves that to Docker.
    """

    base: str | None = None
    network: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every verb needs to know."""

    home: Path
    store: str
    slots: int = 1
    user: str = "me"
    backend: str = "local"
    aws: Aws = Aws()
    notify: Notify = Notify()
    docker: Docker = Docker()


class _Aws(Aws, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As the file has it: `keep_alive` may be written 30m."""

    keep_alive: int | str = 0  # type: ignore[assignment]  # read, and an integer in what leaves here


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str | None = None
    slots: int | None = None
    user: str | None = None
    backend: str | None = None
    aws: _Aws | None = None
    notify: Notify | None = None
    docker: Docker | None = None


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
        backend=environment.get("SWATCH_BACKEND") or file.backend or "local",
        aws=_aws(home / "config.yaml", file.aws or _Aws()),
        notify=_notify(home / "config.yaml", file.notify or Notify()),
        docker=file.docker or Docker(),
    )


def write(home: Path, store: str, role: str, repository: str = Aws().repository) -> bool:
    """Have config.yaml say these of `store` and, under `aws`, `role` and `repository` (where that is not the usual
    one), and keep what else is there, comments included. False if it said so already. Raises UsageError for a file that
    cannot be used."""
    import yaml

    path = home / "config.yaml"
    found = _read(path)
    known = found.aws or _Aws()
    if (found.store, known.role, known.repository) == (store, role, repository):
        return False
    said = {"role": role, **({"repository": repository} if known.repository != repository else {})}
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = yaml.safe_load(text) or {}
        wanted = {**wanted, "store": store, "aws": {**(wanted.get("aws") or {}), **said}}
        changed = _changed(text, store, said)
        try:
            kept = yaml.safe_load(changed) == wanted
        except yaml.YAMLError:
            kept = False
        # Written in a way that lines cannot be replaced in (braces, say): then it is all written anew.
        data = changed if kept else yaml.safe_dump(wanted, sort_keys=False)
        home.mkdir(parents=True, exist_ok=True)
        part = path.with_name("config.yaml.part")
        part.touch()
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)  # addresses in it may be secrets
        part.write_text(data, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}", hint="Check the folder's permissions") from error
    return True


def _changed(text: str, store: str, said: Mapping[str, str]) -> str:
    """The file's text with its lines of `store`, and of what is said of `aws`, replaced or added."""
    lines = [line for line in text.splitlines() if not re.match("store[ \t]*:", line)]
    lines.append(f"store: {json.dumps(store)}")
    start = next((at for at, line in enumerate(lines) if re.match("aws[ \t]*:", line)), None)
    if start is None:
        return "\n".join([*lines, "aws:", *(f"  {key}: {json.dumps(value)}" for key, value in said.items()), ""])
    end = next((at for at in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[at])), len(lines))
    replaced = re.compile(rf"\s+({'|'.join(said)})[ \t]*:")
    inside = [line for line in lines[start + 1 : end] if not replaced.match(line)]
    first = next((line for line in inside if line.strip() and not line.lstrip().startswith("#")), "  ")
    indent = first[: len(first) - len(first.lstrip())]
    written = [f"{indent}{key}: {json.dumps(value)}" for key, value in said.items()]
    return "\n".join([*lines[: start + 1], *written, *inside, *lines[end:], ""])


def _read(path: Path) -> _File:
    if not path.exists():
        return _File()
    import yaml

    try:
        return decoder.from_plain(yaml.safe_load(path.read_bytes()) or {}, _File)
    except (yaml.YAMLError, msgspec.ValidationError, OSError, ValueError) as error:
        hint = "It may say store, slots, user, backend, aws, notify and docker, nothing else"
        raise UsageError(f"{path}: {error}", hint=hint) from error


def _aws(path: Path, given: _Aws) -> Aws:
    written = given.keep_alive
    seconds = duration.parse(written) if isinstance(written, str) else written
    if seconds is None or not 0 <= seconds <= WARM_POOL:
        raise UsageError(f"{path}: aws.keep_alive: expected a duration from 0s to 6h, got {written!r}")
    if bool(given.subnets) != bool(given.security_groups):
        raise UsageError(f"{path}: aws: subnets and security_groups go together: give both or none")
    return Aws(**{**msgspec.structs.asdict(given), "keep_alive": seconds})


def _notify(path: Path, given: Notify) -> Notify:
    for name, address in (("webhook", given.webhook), ("slack", given.slack)):
        if address is not None and not re.match(r"https?://[^\s/]", address):
            raise UsageError(f"{path}: notify.{name}: expected an address that begins with https://")
    return given


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
