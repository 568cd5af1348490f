"""Swatch's own image: what goes into it, and the name that follows from that.

The tag is the digest of all that goes in: base, Dockerfile, lock, agent and engine. So an image that is there under its
tag is neither built nor pushed again, and what a job ran in can be told from its record.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Container, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from orchestrator import __version__, contract
from orchestrator.cargo import agent, snapshot
from orchestrator.docker import Docker, Facts, Tell
from orchestrator.errors import DockerError, UsageError

BASE = "tensorflow/tensorflow:2.21.0-gpu"
"""TensorFlow's own image for NVIDIA's GPUs, which runs on a CPU, too; the Dockerfile's default."""
NAME = "swatch"
"""What images of ours are called on this computer."""
LABEL = "dev.swatch.image"
"""On every image that Swatch has built: `own` or `folder`, by which `swatch image` knows them."""
PLATFORM = "linux/amd64"
"""What SageMaker's machines with GPUs are, and its CPU machines by default."""
TAG_LENGTH = 24
HOME = "root/opt/swatch"
"""Where the context has what is Swatch's own in the image."""


class Context(NamedTuple):
    """All that a build sees: the base's name, and files by their path."""

    base: str
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits: the same for the same input, whenever and wherever."""
        members = [(name, "file", hashlib.sha256(data).hexdigest()) for name, data in self.files.items()]
        text = "\n".join([self.base, PLATFORM, contract.snapshot_digest(members)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def tag(self) -> str:
        return self.digest[:TAG_LENGTH]

    @property
    def name(self) -> str:
        """The image's name on this computer."""
        return f"{NAME}:{self.tag}"

    @property
    def arguments(self) -> dict[str, str]:
        """The build's arguments (`--build-arg`)."""
        return {"BASE": self.base, "VERSION": __version__, "DIGEST": self.digest, "SOURCE_DATE_EPOCH": "0"}

    def packed(self) -> bytes:
        """The context as a tar file; the same input makes the same bytes."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            # Folders, too: those that a builder makes by itself have the time of the build.
            for name in sorted({str(one) for path in self.files for one in PurePosixPath(path).parents} - {".", "/"}):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
            for name, data in sorted(self.files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))
        return out.getvalue()


def context(base: str = BASE) -> Context:
    """The context of our own image. Raises SwatchError where Swatch is not installed whole."""
    root = agent.folder("job_image")
    engine = {f"{HOME}/engine/{one.name}": (root / one.name).read_bytes() for one in snapshot.of_engine().members}
    own = {name: (root / name).read_bytes() for name in ("Dockerfile", "requirements.txt")}
    return Context(base, {**own, f"{HOME}/agent.pyz": agent.packed(), **engine})


def build(docker: Docker, wanted: Context, tell: Tell, network: str | None = None) -> Facts:
    """Build the image, unless this computer has it. Raises DockerError."""
    found = docker.image(wanted.name)
    if found is not None:
        return found
    words = [*_builder(docker, network), *_secrets(os.environ), *build_words(wanted, wanted.name)]
    docker.follow(*words, doing=f"building {wanted.name} on {wanted.base}", tell=tell, input=wanted.packed())
    return _built(docker, wanted.name)


def build_words(wanted: Context, name: str) -> list[str]:
    """What a builder is told, wherever it is, to make the image from the context at its standard input. Pure."""
    arguments = [word for key, value in wanted.arguments.items() for word in ("--build-arg", f"{key}={value}")]
    return [*_options("own"), *arguments, "--tag", name, "-"]


def build_folder(docker: Docker, dockerfile: Path, tell: Tell, network: str | None = None) -> Facts:
    """Build a person's own image: the Dockerfile, with the folder that it stands in as its context. What has not
    changed Docker takes from its cache. Raises UsageError where there is no such file, DockerError."""
    if not dockerfile.is_file():
        raise UsageError(f"There is no {dockerfile}", hint="Name a Dockerfile, or an image: --image URI")
    with tempfile.TemporaryDirectory(prefix="swatch-") as folder:
        told = Path(folder, "id")
        words = [*_builder(docker, network), *_options("folder"), *_secrets(os.environ), "--iidfile", str(told)]
        words += ["--file", str(dockerfile), "--", str(dockerfile.parent)]
        docker.follow(*words, doing=f"building {dockerfile}", tell=tell)
        built = _built(docker, told.read_text().strip())
    name = f"{NAME}:{built.id.removeprefix('sha256:')[:TAG_LENGTH]}"
    docker.ask("tag", built.id, name, doing=f"naming {name}")
    return built._replace(tags=(name, *built.tags))


def check_name(name: str) -> None:
    """Raises UsageError for what is no name of an image, and might mean something else to a program that gets it (the
    characters of distribution's reference grammar)."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}", name):
        raise UsageError(f"{name[:80]!r} is no name of an image", hint="It looks like name:tag, or host/name:tag")


def is_tag(text: str) -> bool:
    """Whether a tag is one that Swatch makes: by content. Pure."""
    return len(text) == TAG_LENGTH and all(letter in "0123456789abcdef" for letter in text)


def stale(found: Iterable[Facts], needed: Container[str]) -> list[Facts]:
    """Those of the images that nobody needs by any of their names; one that has a name of a person's own is that
    person's, also where it builds on one of ours, whose labels it inherits. Pure."""
    ours = [one for one in found if all(_by_us(name) for name in one.tags)]
    return [one for one in ours if not any(name in needed for name in one.tags)]


def _by_us(name: str) -> bool:
    """Whether Swatch gave that name: here, or for the way into a registry."""
    return name.startswith(f"{NAME}:") or is_tag(name.rpartition(":")[2])


def _options(kind: str) -> list[str]:
    return ["--progress", "plain", "--platform", PLATFORM, "--label", f"{LABEL}={kind}"]


def _builder(docker: Docker, network: str | None) -> list[str]:
    docker.engine()  # one that does not answer is said to, before anything of BuildKit
    words = docker.builder()
    if not words:
        raise DockerError(
            "This Docker has no BuildKit, which builds images",
            hint="Install its buildx plugin: apt-get install docker-buildx, say; or swatch image build --remote",
        )
    return [*words, "--network", network] if network else list(words)


def _built(docker: Docker, name: str) -> Facts:
    found = docker.image(name)
    if found is None:
        raise DockerError(f"{name} was built, and is not among Docker's images", hint="docker context ls")
    if found.architecture != PLATFORM.partition("/")[2]:
        raise wrong_architecture(name, found.architecture)
    return found


def wrong_architecture(name: str, found: str) -> DockerError:
    """What to say of an image that SageMaker's machines cannot run."""
    return DockerError(
        f"{name} is for {found} processors, and SageMaker's machines are {PLATFORM.partition('/')[2]}",
        hint=f"Build it with --platform {PLATFORM}",
    )


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """What pip needs where a network has certificates or an index of its own: seen while building, and never part of
    the image."""
    named = [environment.get(name) for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    settings = [environment.get("PIP_CONFIG_FILE"), "~/.config/pip/pip.conf", "~/.pip/pip.conf"]
    words = []
    for name, places in (("ca", named), ("pip", settings)):
        found = next((path for place in places if place and (path := Path(place).expanduser()).is_file()), None)
        if found is not None:
            words += ["--secret", f"id={name},src={found}"]
    return words
