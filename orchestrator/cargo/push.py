"""An image of this computer on its way into the account's registry."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from orchestrator import registry as registries
from orchestrator.cargo import image
from orchestrator.docker import Docker, Facts, Tell
from orchestrator.errors import Denied, DockerError, SignIn
from orchestrator.registry import NoRepository, Pushed, Registry


def push(docker: Docker, name: str, registry: Registry, tag: str, tell: Tell = lambda line: None) -> Pushed:
    """Have the repository (made, if need be) hold the image of that name under the tag; nothing goes where one is.
    `tell` gets Docker's lines, of which `docker.pushed` counts layers. Ended at any moment, it can be repeated: layers
    that arrived are not sent again. Raises DockerError (an image that is not there or for another processor; TagTaken
    where another image took the tag meanwhile; SignIn), CloudError and its kin."""
    try:
        there = registries.pushed(registry, tag)
    except NoRepository:
        registries.ensure(registry)
        there = None
    if there is not None:
        return there
    found, uri = local(docker, name), registry.uri(tag)
    with _named(docker, found, uri):
        _send(docker, registry, uri, tell)
        sent = docker.image(uri)
    # What Docker knows of it now: the registry's own list may lag behind.
    return Pushed(tag, _digest(sent, registry), sent.size if sent else 0, time.time())


def local(docker: Docker, name: str) -> Facts:
    """The image of that name on this computer, which SageMaker's machines could run. Raises DockerError."""
    found = docker.image(name)
    if found is None:
        raise DockerError(f"There is no image {name} on this computer", hint="docker image ls; docker pull brings one")
    if found.architecture != image.PLATFORM.partition("/")[2]:
        raise image.wrong_architecture(name, found.architecture)
    return found


def tag_of(found: Facts) -> str:
    """The tag that a person's image gets: by its content."""
    return found.id.removeprefix("sha256:")[: image.TAG_LENGTH]


@contextlib.contextmanager
def _named(docker: Docker, found: Facts, name: str) -> Iterator[None]:
    """The image has that name meanwhile, too: Docker pushes to where a name says."""
    if name in found.tags:
        yield
        return
    docker.ask("tag", found.id, name, doing=f"naming {name}")
    try:
        yield
    finally:
        with contextlib.suppress(DockerError):  # a name too many on this computer harms nobody
            docker.ask("image", "rm", "--no-prune", name, doing=f"removing the name {name}")


def _send(docker: Docker, registry: Registry, uri: str, tell: Tell) -> None:
    """Push it; a sign-in that expires on the way is renewed once."""
    for again in (True, False):
        login = registries.login()
        with docker.signed_in(registry.host, login.user, login.password) as signed:
            try:
                signed.follow("push", uri, doing=f"pushing {uri}", tell=tell)
                return
            except SignIn as error:
                if "not authorized" in error.said:
                    raise Denied(f"pushing {uri}: not permitted", hint=registries.POLICY_HINT) from error
                if not again:
                    raise


def _digest(sent: Facts | None, registry: Registry) -> str:
    prefix = f"{registry.host}/{registry.repository}@"
    return next((one.removeprefix(prefix) for one in (sent.digests if sent else ()) if one.startswith(prefix)), "")
