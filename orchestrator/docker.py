"""Docker on this computer, by its own command line.

Not by one of the SDKs: only the command line knows a person's contexts (Docker Desktop, Colima, a rootless engine),
their credential helpers, and BuildKit. `SWATCH_DOCKER` names another program than `docker`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.complaint import explained
from orchestrator.errors import DockerError, NoDocker, Silent

Tell = Callable[[str], None]
"""Gets each line that Docker writes while it works."""
LAST_LINES = 30
"""Of what Docker wrote before it failed: enough to tell why."""
PROBE_SECONDS = 20.0
"""In which an engine must answer at all."""


class Engine(NamedTuple):
    """An engine that answers. `architecture` is in Docker's words (amd64); `gpus`: it can hand GPUs to containers;
    `rootless`: it runs as this user, who is root in its containers."""

    version: str
    architecture: str
    gpus: bool
    rootless: bool = False


class Facts(NamedTuple):
    """An image of this computer. `id` is the digest of its configuration, and with that of all that it is; `size` is
    in bytes; `named` is when it got its name here, in seconds since 1970 (its own time tells nothing where builds are
    reproducible); `digests` are `repository@sha256:...` where it came from or went to; `layers` the digests of its
    files, from the base up."""

    id: str
    architecture: str
    size: int
    named: float
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    labels: Mapping[str, str]
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a person calls it: its first tag, else the beginning of its id."""
        return self.tags[0] if self.tags else self.id.removeprefix("sha256:")[:12]


class Docker:
    """The command line, and through it the engine that the person's context names."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._program = self._environment.get("SWATCH_DOCKER") or "docker"
        self._engine: Engine | None = None

    def engine(self) -> Engine:
        """The engine. Raises NoDocker, saying which of the reasons it is, and DockerError."""
        if self._engine is None:
            told = self.ask("version", "--format", "{{json .Server}}", doing="docker version", seconds=PROBE_SECONDS)
            version = json.loads(told or "null")
            if not version:
                raise NoDocker("Docker does not answer", hint="Start it, and try again")
            info = json.loads(self.ask("info", "--format", "{{json .}}", doing="docker info", seconds=PROBE_SECONDS))
            names = json.dumps([info.get("Runtimes"), info.get("CDISpecDirs") and info.get("DiscoveredDevices")])
            architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(version["Arch"], version["Arch"])
            rootless = "name=rootless" in (info.get("SecurityOptions") or ())
            self._engine = Engine(version["Version"], architecture, "nvidia" in names, rootless)
        return self._engine

    def builder(self) -> tuple[str, ...]:
        """The words that begin a build, none where BuildKit is missing. It comes by its plugin, or in a command line of
        before there was one (Docker 18.09 to 22), which has it. Raises NoDocker."""
        with contextlib.suppress(DockerError):
            self.ask("buildx", "version", doing="docker buildx")
            # An attestation would make an index of the image, which tells the time, and which SageMaker does not take.
            return ("buildx", "build", "--load", "--provenance=false")
        client = self.ask("version", "--format", "{{.Client.Version}}", doing="docker version")
        major = re.match(r"[0-9]+", client)
        return ("build",) if major and 18 < int(major[0]) < 23 else ()

    def ask(self, *words: str, doing: str, input: bytes | None = None, seconds: float | None = None) -> str:
        """What a command prints. Raises DockerError; Silent, if it takes longer than so many seconds."""
        try:
            done = subprocess.run(
                [self._found, *words],
                env=self._environment,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                timeout=seconds,
            )
        except OSError as error:
            raise NoDocker(f"{self._program} cannot be started: {error.strerror}", hint=_INSTALL) from error
        except subprocess.TimeoutExpired as error:
            raise Silent(f"Docker does not answer: {doing}", hint="Start it anew, and try again") from error
        if done.returncode:
            raise self._failed(doing, (done.stderr or done.stdout).decode("utf-8", "replace"))
        return done.stdout.decode("utf-8", "replace").strip()

    def follow(self, *words: str, doing: str, tell: Tell, input: bytes | None = None) -> None:
        """Run a command, telling each line that it writes. Ctrl-C ends it, too. Raises DockerError."""
        last: deque[str] = deque(maxlen=LAST_LINES)
        with tempfile.TemporaryFile() as given:
            given.write(input or b"")
            given.seek(0)
            try:
                process = subprocess.Popen(
                    [self._found, *words],
                    env={**self._environment, "DOCKER_BUILDKIT": "1"},
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise NoDocker(f"{self._program} cannot be started: {error.strerror}", hint=_INSTALL) from error
            assert process.stdout is not None
            try:
                with process.stdout:
                    for line in process.stdout:
                        last.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                        tell(last[-1])
            except BaseException:
                process.terminate()
                raise
            finally:
                process.wait()
        if process.returncode:
            raise self._failed(doing, "\n".join(last))

    def image(self, name: str) -> Facts | None:
        """What this computer has under a name; None if nothing. Raises DockerError."""
        try:
            (found,) = json.loads(self.ask("image", "inspect", name, doing=f"looking at the image {name}"))
        except DockerError as error:
            if type(error) is DockerError and re.search("no such image", error.said, re.IGNORECASE):
                return None
            raise
        return _facts(found)

    def images(self, label: str) -> list[Facts]:
        """The images of this computer that have a label."""
        listed = self.ask("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={label}", doing="listing images")
        names = list(dict.fromkeys(listed.split()))
        if not names:
            return []
        found = json.loads(self.ask("image", "inspect", *names, doing="looking at images"))
        return [_facts(one) for one in found]

    @contextlib.contextmanager
    def signed_in(self, host: str, user: str, password: str) -> Iterator[Docker]:
        """The same, signed in at a registry. The password stands in a file that only this user can read, while this
        lasts: in no command line, and not in the person's own configuration. All else of that counts as ever: what
        leads to the engine (contexts, certificates), proxies, plugins."""
        own = self._configuration
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        kept = {name: value for name, value in _read(own / _CONFIG).items() if name not in _SIGN_INS}
        with tempfile.TemporaryDirectory(prefix="swatch-") as folder:  # made for its owner alone
            with contextlib.suppress(OSError):  # none, or one of another user (after a `sudo docker login`)
                for one in own.iterdir():
                    if one.name != _CONFIG:
                        Path(folder, one.name).symlink_to(one.absolute())
            Path(folder, _CONFIG).write_text(json.dumps({**kept, "auths": {host: {"auth": secret}}}))
            yield Docker({**self._environment, "DOCKER_CONFIG": folder})

    def host(self) -> str:
        """Where the engine is, as DOCKER_HOST has it. Raises DockerError."""
        return self._environment.get("DOCKER_HOST") or self.ask(
            "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", doing="docker context"
        )

    def words(self, *words: str) -> list[str]:
        """A whole command line, for who runs it otherwise. Raises NoDocker where the program is missing."""
        return [self._found, *words]

    def _failed(self, doing: str, said: str) -> DockerError:
        """Why it failed; of an engine that is not there also where it was looked for, if a variable says that."""
        error = explained(doing, said)
        where = self._environment.get("DOCKER_HOST")
        if isinstance(error, NoDocker) and where:
            error.message += f" (DOCKER_HOST={where})"
        return error

    @property
    def _configuration(self) -> Path:
        """The folder of the person's configuration, whether it is there or not."""
        home = self._environment.get("HOME") or os.path.expanduser("~")
        return Path(self._environment.get("DOCKER_CONFIG") or Path(home, ".docker"))

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @property
    def _found(self) -> str:
        found = shutil.which(self._program, path=self._environment.get("PATH"))
        if found is None and "SWATCH_DOCKER" in self._environment:
            raise NoDocker(
                f"SWATCH_DOCKER is {self._program}, and there is no such program", hint="unset SWATCH_DOCKER"
            )
        if found is None:
            raise NoDocker("Docker is not installed", hint=_INSTALL)
        return found


_INSTALL = "Install it: docs.docker.com/get-docker; without it, jobs run on this computer and in AWS' own containers"


_CONFIG = "config.json"
_SIGN_INS = frozenset({"auths", "credsStore", "credHelpers"})
"""What of a configuration says how to sign in: one of these would win over ours (docker/cli, `configfile`)."""


def _read(config: Path) -> dict[str, Any]:
    """What the file says; nothing where it is none, of which Docker itself complains."""
    try:
        found = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(found: Any) -> Facts:
    return Facts(
        id=found["Id"],
        architecture=found["Architecture"],
        size=found["Size"],
        named=_named(found),
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        labels=(found.get("Config") or {}).get("Labels") or {},
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
    )


def _named(found: Any) -> float:
    """When the image was built or fetched here; an engine that does not keep that tells of its making, if the image
    does: else long ago."""
    told = (found.get("Metadata", {}).get("LastTagTime"), found.get("Created"))
    text = next((str(one) for one in told if one and not str(one).startswith("0001-")), None)
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def step(line: str) -> tuple[int, int] | None:
    """How far a build is, from a line of its plain progress: `#8 [packages 2/3] RUN ...` is step 2 of 3. Pure."""
    found = re.match(r"#[0-9]+ \[(?:[\w.-]+ )?([0-9]+)/([0-9]+)\]", line)
    return (int(found[1]), int(found[2])) if found else None


_LAYER = re.compile(
    r"([0-9a-f]{12}): (?:Preparing|Waiting|Pulling fs layer|Verifying Checksum|Download complete"
    r"|(Pushed|Layer already exists|Mounted from|Pull complete|Already exists))"
)
"""What is said of a layer on its way; the second group once it is there."""


def pushed(lines: Sequence[str]) -> tuple[int, int]:
    """How many layers of a push (or a pull) are there, and of how many, from its plain progress so far. Pure."""
    state: dict[str, bool] = {}
    for line in lines:
        found = _LAYER.match(line)
        if found:
            state[found[1]] = found[2] is not None
    return sum(state.values()), len(state)
