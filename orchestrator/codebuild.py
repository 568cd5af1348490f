"""Swatch's own image, built on AWS (CodeBuild) for who has no Docker: the same Dockerfile, context and arguments.

A build is known by the image that it makes: who asks for one that is being built already follows that build. So there
are never two, whoever asks, and from wherever.
"""

from __future__ import annotations

import io
import re
import shlex
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from orchestrator import account, aws, images
from orchestrator.cargo import image
from orchestrator.cargo.image import Context
from orchestrator.docker import Tell
from orchestrator.errors import CloudError, Denied, SwatchError, UsageError
from orchestrator.registry import Registry, permitted
from orchestrator.settings import Settings
from orchestrator.store.base import Store

MACHINE = "BUILD_GENERAL1_MEDIUM"
"""Of 7 GB memory and 128 GB disk, where TensorFlow's image for GPUs has room (User Guide, "Build environment
compute")."""
STANDARD = "aws/codebuild/standard:7.0"
"""CodeBuild's own Ubuntu, with Docker and the AWS command line (User Guide, "Docker images provided by CodeBuild")."""
LONGEST = 120
"""Minutes of one build."""
SAYS = "Builds the image that jobs of Swatch run in"
IMAGE = "SWATCH_IMAGE"
"""The variable of a build that says which image it makes."""
LOOK_SECONDS = 2.0
"""Between two looks at a build."""
EARLIER = 100
"""Builds that are looked at: those of one request (API reference, BatchGetBuilds)."""
LAST_LINES = 20
_TAR = "context.tar"


class BuildFailed(SwatchError):
    """A build has ended otherwise than well; `said` are the last lines of its log."""

    def __init__(self, message: str, hint: str | None = None, said: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.said = said


class Build(NamedTuple):
    """A build as CodeBuild tells of it: its id, status (IN_PROGRESS, SUCCEEDED, FAILED ...), its phases so far, why one
    failed, and where its log is. `adopted`: somebody had started it."""

    id: str
    status: str
    phases: tuple[str, ...] = ()
    reason: str = ""
    group: str = ""
    stream: str = ""
    adopted: bool = False

    @property
    def over(self) -> bool:
        return self.status != "IN_PROGRESS"


# What is asked for. Pure.


def name(repository: str) -> str:
    """The CodeBuild project of a repository's images: at most 150 letters, digits, - and _ (CreateProject, name)."""
    return f"swatch-{re.sub('[^A-Za-z0-9_-]', '-', repository)}"[:150]


def role(job_role: str) -> str:
    """The ARN of the role that builds run under, which `swatch setup aws` makes beside that of jobs."""
    before, _, rest = job_role.partition(":role/")
    return f"{before}:role/{rest.rpartition('/')[2]}{account.BUILD_ROLE}"


def project(repository: str, job_role: str) -> dict[str, Any]:
    """The request that makes the project (API reference, CreateProject). Each build brings its own source."""
    return {
        "name": name(repository),
        "description": SAYS,
        "source": {"type": "NO_SOURCE", "buildspec": _yaml({"build": ["echo swatch image build --remote"]})},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": STANDARD,
            "computeType": MACHINE,
            "privilegedMode": True,  # without it there is no Docker (User Guide, "Docker sample for CodeBuild")
        },
        "serviceRole": role(job_role),
        "timeoutInMinutes": LONGEST,
        "logsConfig": {"cloudWatchLogs": {"status": "ENABLED"}},
    }


def mended(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The request that has a project that is there serve (API reference, UpdateProject); None where it does. What else
    a person has changed of it (a larger machine, a network) is kept."""
    environment = dict(found["environment"])
    needed = {key: wanted["environment"][key] for key in ("type", "privilegedMode")}
    if found["serviceRole"] == wanted["serviceRole"] and needed.items() <= environment.items():
        return None
    return {
        "name": wanted["name"],
        "serviceRole": wanted["serviceRole"],
        "environment": {**environment, **needed},
    }


def buildspec(registry: Registry, context: Context) -> str:
    """What a build runs (User Guide, "Build specification reference"): it signs in, the password on no command line,
    builds as this computer would, and pushes."""
    uri = registry.uri(context.tag)
    hosts = [registry.host]
    base = images.ECR.fullmatch(context.base)
    if base is not None and base["host"] not in hosts:
        hosts.append(base["host"])
    password = f"aws ecr get-login-password --region {shlex.quote(registry.region)}"
    build = shlex.join(["docker", "build", *image.build_words(context, uri)])
    return _yaml(
        {
            "pre_build": [f"{password} | docker login -u AWS --password-stdin {shlex.quote(host)}" for host in hosts],
            # An attestation would make an index of the image, which SageMaker does not take.
            "build": [
                "export DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1",
                f"{build} < {_TAR}",
                shlex.join(["docker", "push", uri]),
            ],
        }
    )


def request(registry: Registry, context: Context, source: str, earlier: int) -> dict[str, Any]:
    """The request that starts a build (API reference, StartBuild): of `source` (`bucket/key`), after so many `earlier`
    ones of the same image. Two who ask for the same at once get one build: the token is the same."""
    return {
        "projectName": name(registry.repository),
        "sourceTypeOverride": "S3",
        "sourceLocationOverride": source,
        "buildspecOverride": buildspec(registry, context),
        "environmentVariablesOverride": [{"name": IMAGE, "value": registry.uri(context.tag), "type": "PLAINTEXT"}],
        "idempotencyToken": f"{context.tag}-{earlier}",
    }


def packed(context: Context) -> bytes:
    """The context as CodeBuild takes it from S3, unpacking nothing but .zip; the same input makes the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(_TAR), context.packed(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _yaml(phases: Mapping[str, list[str]]) -> str:
    import yaml

    spec = {"version": 0.2, "phases": {key: {"commands": commands} for key, commands in phases.items()}}
    return yaml.safe_dump(spec, sort_keys=False, width=1 << 20)


# Asking.


def begin(settings: Settings, store: Store, registry: Registry, context: Context) -> Build:
    """Have the image being built: by a build that is under way already, else by one that is started now. Raises
    UsageError where the configuration lacks something, CloudError and its kin."""
    if not store.url.startswith("s3://"):
        raise UsageError(f"CodeBuild cannot reach the store {store.url}", hint="swatch setup aws makes one on S3")
    if settings.aws.role is None:
        raise UsageError("No role for builds: config.yaml has no aws.role", hint="swatch setup aws")
    wanted = project(registry.repository, settings.aws.role)
    client = aws.client("codebuild")
    with _told("looking at the CodeBuild project"):
        found = client.batch_get_projects(names=[wanted["name"]])["projects"]
    earlier = _builds(wanted["name"], registry.uri(context.tag)) if found else []
    running = next((one for one in earlier if one["buildStatus"] == "IN_PROGRESS"), None)
    if running is not None:
        return _seen(running)._replace(adopted=True)
    key = f"{account.CONTEXTS}{context.tag}.zip"
    store.write(key, packed(context))
    with _told(f"setting the CodeBuild project {wanted['name']} up"):
        if not found:
            _created(client, wanted)
        elif (change := mended(found[0], wanted)) is not None:
            client.update_project(**change)
    source = f"{store.url.removeprefix('s3://').rstrip('/')}/{key}"
    with _told("starting the build"):
        return _seen(client.start_build(**request(registry, context, source, len(earlier)))["build"])


def look(build: Build) -> Build:
    """The build as it is now. Raises CloudError and its kin."""
    with _told("looking at the build"):
        found = aws.client("codebuild").batch_get_builds(ids=[build.id])["builds"]
    if not found:
        raise CloudError(f"CodeBuild knows of no build {build.id} (yet)", hint="Try again")
    return _seen(found[0])._replace(adopted=build.adopted)


def stop(build: Build) -> None:
    """End it. Raises CloudError and its kin."""
    with _told("stopping the build"):
        aws.client("codebuild").stop_build(id=build.id)


def follow(
    build: Build, tell: Tell, phase: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> Build:
    """Follow a build to its end: `tell` gets the lines of its log as they come, `phase` the name of each phase. The
    build goes on without whoever follows. Raises BuildFailed unless it ends well, CloudError and its kin."""
    log, shown = _Log(), 0
    while True:
        build = look(build)
        for name in build.phases[shown:]:
            phase(name)
        shown = len(build.phases)
        for line in log.more(build):
            tell(line)
        if build.over:
            break
        pause(LOOK_SECONDS)
    if build.status != "SUCCEEDED":
        pause(LOOK_SECONDS)  # its last lines may be on their way yet
        for line in log.more(build):
            tell(line)
        said = build.reason or f"it ended as {build.status}"
        hint = f"All it wrote: CloudWatch Logs, {build.group}, {build.stream}" if build.group else None
        raise BuildFailed(f"The build {build.id} failed: {said}", hint, tuple(log.last))
    return build


class _Log:
    """A build's log, as far as it was read."""

    def __init__(self) -> None:
        self._token: str | None = None
        self.last: list[str] = []

    def more(self, build: Build) -> list[str]:
        """The lines since the last time. None where the log is not there yet."""
        lines: list[str] = []
        while build.group and build.stream:
            after = {"nextToken": self._token} if self._token else {}
            try:
                with _told("reading the build's log"):
                    page = aws.client("logs").get_log_events(
                        logGroupName=build.group, logStreamName=build.stream, startFromHead=True, **after
                    )
            except CloudError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                break
            lines += [line for event in page["events"] for line in event["message"].splitlines()]
            # The end is where the token stays the same (API reference, GetLogEvents).
            if page["nextForwardToken"] == self._token:
                break
            self._token = page["nextForwardToken"]
        self.last = [*self.last, *lines][-LAST_LINES:]
        return lines


def _created(client: Any, wanted: dict[str, Any]) -> None:
    """Make the project; one that somebody made meanwhile is as good."""
    try:
        client.create_project(**wanted)
    except client.exceptions.ResourceAlreadyExistsException:
        return


def _builds(project: str, uri: str) -> list[dict[str, Any]]:
    """The latest builds of an image, the newest first."""
    client = aws.client("codebuild")
    with _told("looking for builds"):
        ids = client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")["ids"][:EARLIER]
        found = client.batch_get_builds(ids=ids)["builds"] if ids else []
    return [one for one in found if _variable(one) == uri]


def _variable(build: Mapping[str, Any]) -> str | None:
    given = build.get("environment", {}).get("environmentVariables", ())
    return next((str(one["value"]) for one in given if one["name"] == IMAGE), None)


def _seen(found: Mapping[str, Any]) -> Build:
    """A build from CodeBuild's own words."""
    failed = [
        one for one in found.get("phases", ()) if one.get("phaseStatus") not in (None, "SUCCEEDED", "IN_PROGRESS")
    ]
    contexts = failed[0].get("contexts", ()) if failed else ()
    said = "; ".join(str(one["message"]) for one in contexts if one.get("message"))
    logs = found.get("logs") or {}
    return Build(
        id=found["id"],
        status=found["buildStatus"],
        phases=tuple(str(one["phaseType"]) for one in found.get("phases", ())),
        reason=f"{failed[0]['phaseType']}: {said}"[:1000] if said else "",
        group=logs.get("groupName") or "",
        stream=logs.get("streamName") or "",
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """As aws.explained; what is missing in the account or its policies has a hint of its own."""
    try:
        with permitted(what):
            yield
    except Denied:
        raise
    except CloudError as error:
        if "service role" in error.message:
            error.hint = "swatch setup aws makes the role that builds run under"
        raise
