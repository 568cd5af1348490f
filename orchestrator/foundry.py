"""Which image a job runs in, and how it gets where the job can have it.

    --image swatch              Swatch's own: built where it is not there yet, and for SageMaker pushed
    --image aws                 AWS' TensorFlow container as it is
    --image ./Dockerfile        a person's own, built with the folder that the file stands in
    --image URI                 one that is there already; for SageMaker in ECR, where `swatch image push` brings it

Unsaid, `--env` names an image of AWS'. Without that, Docker on this computer takes Swatch's own; SageMaker takes it
where the account's repository has it, or can get it from this computer, and AWS' container otherwise.
"""

from __future__ import annotations

import enum
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from orchestrator import aws, environments, images, registry
from orchestrator.cargo import image
from orchestrator.cargo import push as pushing
from orchestrator.cargo.image import Context
from orchestrator.docker import Docker, Facts, Tell
from orchestrator.errors import CloudError, Denied, DockerError, TagTaken, UsageError
from orchestrator.registry import NoRegistry, NoRepository, Registry
from orchestrator.settings import Settings

OWN, AWS = "swatch", "aws"
"""The words that name no image: Swatch's own, and AWS' container."""
_PATH = re.compile(r"(\.{1,2}|~)(/.*)?|/.*|.*/|(.*/)?(Dockerfile[^/:]*|[^/:]*\.Dockerfile)", re.DOTALL)


class Kind(enum.Enum):
    """What is wanted, by its form."""

    NONE = "none"
    OWN = "own"
    AWS = "aws"
    FOLDER = "folder"
    URI = "uri"


class Way(enum.Enum):
    """How a job on SageMaker comes by Swatch's own image."""

    THERE = "there"
    MAKE = "make"
    INSTEAD = "instead"
    """It does not: AWS' container stands in."""


class Chosen(NamedTuple):
    """The image of a job. `uri` is what the job's record says; None where no image is used, and for a Dockerfile before
    `ready`, which has the image be where the job can have it, tells Docker's lines meanwhile, and returns what the
    record is to say. `note` is a sentence that a person should read first, or empty."""

    uri: str | None
    ready: Callable[[Tell], str | None]
    note: str = ""
    there: bool = True
    """Whether nothing need be made first, as far as that is known without making it."""


class Order:
    """An image that is chosen when it is first asked for, and made ready once."""

    def __init__(self, choose: Callable[[], Chosen]) -> None:
        self._choose = choose
        self._made: str | None = None

    @functools.cached_property
    def chosen(self) -> Chosen:
        """Raises SwatchError."""
        return self._choose()

    @property
    def uri(self) -> str | None:
        return self._made or self.chosen.uri

    def ready(self, tell: Tell) -> None:
        """Raises SwatchError. What was built and pushed before it ended is there the next time."""
        self._made = self._made or self.chosen.ready(tell)


def kind(wanted: str | None) -> Kind:
    """What kind of thing `--image` names. Pure: a path begins with ., / or ~, ends with /, or is called Dockerfile."""
    if wanted is None:
        return Kind.NONE
    return {OWN: Kind.OWN, AWS: Kind.AWS}.get(wanted) or (Kind.FOLDER if _PATH.fullmatch(wanted) else Kind.URI)


def way(pushed: bool, repository: bool, builds: bool, insisted: bool) -> Way:
    """How to come by our own image: from whether the repository has the tag, whether there is a repository, whether
    Docker here can build, and whether that image was asked for by name. Pure."""
    if pushed:
        return Way.THERE
    return Way.MAKE if insisted or (repository and builds) else Way.INSTEAD


def choose(
    settings: Settings, backend: str, wanted: str | None, env: str | None, machine: str, folder: Path | None = None
) -> Chosen:
    """The image of jobs on a backend: `wanted` is what `--image` says, `env` what `--env` does; of a Dockerfile, paths
    are relative to `folder`. Builds and sends nothing; on SageMaker our own image costs one request. Raises UsageError
    for what no job can run in, CloudError and its kin."""
    if wanted is not None and env is not None:
        raise UsageError(f"--image {wanted} and --env {env} both say what the job runs in", hint="Give one of them")
    if backend == "docker":
        return _on_docker(settings, wanted, env, machine, folder)
    if backend != "sagemaker":
        note = f"--image is for jobs in containers: on {backend} commands run as processes" if wanted else ""
        return Chosen(None, _nothing(None), note)
    if wanted is None and env is None:
        wanted = settings.aws.image
    what = kind(wanted)
    if what is Kind.URI and wanted is not None:
        _check_ecr(settings, wanted)
        return as_is(wanted)
    if what is Kind.FOLDER and wanted is not None:
        return _from_folder(settings, dockerfile(wanted, folder), registry.find(settings))
    if what is Kind.AWS or env is not None:
        return as_is(_of_aws(env, machine))
    return _own(settings, machine, insisted=what is Kind.OWN)


def again(settings: Settings, backend: str, uri: str | None) -> Chosen:
    """The image of an earlier job as it was: on this computer it may be gone meanwhile. Raises SwatchError."""
    if backend != "docker" or uri is None:
        return as_is(uri)
    own = image.context(settings.docker.base or image.BASE).name
    return _on_docker(settings, OWN if uri == own else uri, None, "cpu", None)


def _own(settings: Settings, machine: str, insisted: bool) -> Chosen:
    """Our own image on SageMaker."""
    context = image.context(settings.docker.base or image.BASE)
    repository, there = True, None
    try:
        where = registry.find(settings)
        there = registry.pushed(where, context.tag)
    except NoRepository:
        repository = False
    except (NoRegistry, Denied) as error:
        if insisted:
            raise
        # An account that was set up before there were images of ours goes on as it did.
        note = f"{error.message}: jobs run in AWS' container" if isinstance(error, Denied) else ""
        return as_is(_of_aws(None, machine))._replace(note=note)
    docker = Docker()
    builds = repository and there is None and not insisted and _builds(docker)
    found = way(there is not None, repository, builds, insisted)
    if found is Way.INSTEAD:
        return as_is(_of_aws(None, machine))
    uri = where.uri(context.tag)
    if found is Way.THERE:
        return as_is(uri)

    def ready(tell: Tell) -> str:
        built(settings, context, tell)
        # The tag says all that goes in, so another build of the same may have been there first, and serves as well.
        _push(docker, context.name, where, context.tag, tell)
        return uri

    skip = "" if insisted else "; --image aws does without"
    return Chosen(uri, ready, f"Swatch's own image is built and pushed first, once: some GB{skip}", there=False)


def _from_folder(settings: Settings, file: Path, where: Registry) -> Chosen:
    """A person's Dockerfile on SageMaker. Its tag is known when it is built."""

    def ready(tell: Tell) -> str:
        docker = Docker()
        name = image.build_folder(docker, file, tell, settings.docker.network).tags[0]
        tag = name.rpartition(":")[2]
        _push(docker, name, where, tag, tell)
        return where.uri(tag)

    said = f"{file} is built, and pushed to {where.host}/{where.repository}, unless that has it as it is"
    return Chosen(None, ready, said, there=False)


def _on_docker(settings: Settings, wanted: str | None, env: str | None, machine: str, folder: Path | None) -> Chosen:
    what = kind(wanted)
    if what is Kind.URI and wanted is not None:
        image.check_name(wanted)
        return Chosen(wanted, functools.partial(pulled, wanted))
    if what is Kind.FOLDER and wanted is not None:
        file = dockerfile(wanted, folder)

        def made(tell: Tell) -> str:
            return image.build_folder(Docker(), file, tell, settings.docker.network).tags[0]

        return Chosen(None, made, f"{file} is built, unless this computer has it as it is")
    if what is Kind.AWS or env is not None:
        try:
            uri = _of_aws(env, machine)
        except CloudError as error:
            error.message = f"--{f'env {env}' if env else 'image aws'} is an image of AWS': {error.message}"
            raise
        return Chosen(uri, functools.partial(pulled, uri))
    context = image.context(settings.docker.base or image.BASE)

    def ready(tell: Tell) -> str:
        built(settings, context, tell)
        return context.name

    return Chosen(context.name, ready)


def built(settings: Settings, context: Context, tell: Tell) -> Facts:
    """Swatch's own image on this computer, built if it is not there. A base in ECR is fetched first, by the account's
    sign-in, which no build has. Raises DockerError, CloudError and its kin."""
    docker = Docker()
    if images.ECR.fullmatch(context.base) and docker.image(context.name) is None:
        pulled(context.base, tell)
    return image.build(docker, context, tell, settings.docker.network)


def pulled(uri: str, tell: Tell) -> str:
    """Have the image on this computer. One in ECR is asked for with the account's own sign-in, never written down."""
    docker = Docker()
    if docker.image(uri) is not None:
        return uri
    if uri.startswith(f"{image.NAME}:"):  # a public registry might have somebody else's by this name
        raise DockerError(f"{uri} is not on this computer any more", hint="--image swatch builds the current one")
    found = images.ECR.fullmatch(uri)
    if found is None:
        docker.follow("pull", uri, doing=f"fetching {uri}", tell=tell)
        return uri
    login = registry.login()
    with docker.signed_in(found["host"], login.user, login.password) as signed:
        signed.follow("pull", uri, doing=f"fetching {uri}", tell=tell)
    return uri


def _push(docker: Docker, name: str, where: Registry, tag: str, tell: Tell) -> None:
    try:
        pushing.push(docker, name, where, tag, tell)
    except TagTaken:
        if registry.pushed(where, tag) is None:
            raise


def _builds(docker: Docker) -> bool:
    """Whether Docker here can build at all."""
    try:
        docker.engine()
        return bool(docker.builder())
    except DockerError:  # who insists is told why when it is to build
        return False


def _of_aws(env: str | None, machine: str) -> str:
    return images.base(machine, aws.region(), environments.find(env or environments.DEFAULT).environment)


def as_is(uri: str | None) -> Chosen:
    """An image that is where the job can have it."""
    return Chosen(uri, _nothing(uri))


def _nothing(uri: str | None) -> Callable[[Tell], str | None]:
    return lambda tell: uri


def dockerfile(wanted: str, folder: Path | None) -> Path:
    """The Dockerfile that is meant. Raises UsageError where there is none."""
    path = Path(folder or ".", os.path.expanduser(wanted))
    found = path / "Dockerfile" if path.is_dir() else path
    if not found.is_file():
        raise UsageError(f"There is no {found}", hint="--image takes a Dockerfile, or an image as in --image NAME:TAG")
    return found


def _check_ecr(settings: Settings, uri: str) -> None:
    """Raises UsageError for an image that SageMaker would not take."""
    if images.ECR.fullmatch(uri) or uri.startswith(f"{_host(settings)}/"):
        return
    raise UsageError(
        f"{uri} is not in ECR, where SageMaker takes images from",
        hint=f"swatch image push {uri} brings it there, and says what to give to --image",
    )


def _host(settings: Settings) -> str:
    """The account's registry; of what answers in AWS' place, it need not be called as AWS' are."""
    try:
        return registry.find(settings).host
    except CloudError:
        return ""
