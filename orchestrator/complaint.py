"""What Docker complains of, as sentences with what mends it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.errors import DockerError, NoDocker, SignIn, TagTaken


class _Known(NamedTuple):
    pattern: str
    error: type[DockerError]
    message: str
    hint: str


_KNOWN = (
    _Known(
        r"permission denied while trying to connect|dial unix .*: connect: permission denied",
        NoDocker,
        "This user may not use Docker",
        "sudo usermod -aG docker $USER, then sign in again",
    ),
    _Known(
        r"cannot connect to the docker daemon|is the docker daemon running|error during connect|"
        r"failed to connect to the docker API",
        NoDocker,
        "Docker does not answer",
        "Start it (Docker Desktop, or: sudo systemctl start docker)",
    ),
    _Known(
        r"no space left on device|disk quota exceeded",
        DockerError,
        "The disk that Docker keeps images on is full",
        "swatch image prune, or docker system prune",
    ),
    _Known(
        r"exec format error[\s\S]*did not complete successfully",
        DockerError,
        "This computer cannot run programs for the machines' kind of processor",
        "swatch image build --remote builds it on AWS; or have Docker emulate it (apt-get install qemu-user-static)",
    ),
    _Known(
        r"exec format error|does not match the (specified|detected host) platform|no match for platform in manifest|"
        r"no matching manifest for|cannot be used on this platform",
        DockerError,
        "The image is for another kind of processor",
        "Build it for the machines that run it: docker build --platform linux/amd64",
    ),
    _Known(
        r"(?m:^)#[0-9]+ [0-9.]+ The base has no Python 3\.11",  # job_image/Dockerfile; not where its step is announced
        DockerError,
        "The base has no Python 3.11 or later with pip, which Swatch's image needs",
        "Name one that has: swatch image build --base IMAGE, or docker.base in config.yaml",
    ),
    _Known(
        r"(?m:^)#[0-9]+ [0-9.]+ runc run failed: .*exec: \"/bin/sh\": stat /bin/sh: no such file",
        DockerError,
        "The base has no shell (/bin/sh), which a build's steps run in",
        "Name one that has: FROM in the Dockerfile; of Swatch's image, --base IMAGE",
    ),
    _Known(
        r"executor failed running|did not complete successfully: exit code",
        DockerError,
        "A step of the Dockerfile failed",
        "What it said is above",
    ),
    _Known(
        r"tag.* already exists .*(immutable|cannot be overwritten)|ImageTagAlreadyExists",
        TagTaken,
        "The registry has another image under this tag, and its tags never change",
        "swatch image list shows it; swatch image prune --remote removes what no job uses",
    ),
    _Known(
        r"authorization token (has expired|is invalid)|no basic auth credentials|authentication required|"
        r"unauthorized|denied: .*(not authorized|expired)|denied: requested access|403 forbidden",
        SignIn,
        "The registry refuses the sign-in",
        "aws sso login (or your way to sign in), then the same again",
    ),
    _Known(
        r"could not select device driver.*gpu|nvidia-container-cli|failed to discover GPU",
        DockerError,
        "Docker here cannot hand its GPU to a container",
        "Install the NVIDIA Container Toolkit, or run without --gpu",
    ),
    _Known(
        r"exec: \\?\"?(python3?|/bin/sh|sh)\\?\"?: (executable file not found|stat .*: no such file)|"
        r"\"(python3?|/bin/sh|sh)\": (executable file not found|stat .*no such file)",
        DockerError,
        "The image has no Python 3.8 or later, which the agent runs on",
        "Add it to the image: RUN apt-get install -y python3",
    ),
    _Known(
        r"manifest unknown|pull access denied|repository does not exist|no such image|manifest for .* not found|"
        r"\S:\S+: not found\s*$",
        DockerError,
        "There is no such image",
        "Check its name; a private registry wants docker login first",
    ),
    _Known(
        r"no such host|i/o timeout|network is unreachable|connection refused|TLS handshake timeout|x509:",
        DockerError,
        "The registry was not reached",
        "Check the image's name, the network and its proxy; then the same again",
    ),
)
"""Docker's own sentences (docker/cli, moby, containerd, ECR), what they mean, and what mends it. The first that fits
counts: what stands behind a step of a Dockerfile is not looked for in what such a step has written."""


def explained(doing: str, said: str) -> DockerError:
    """Why Docker failed at something, in a person's words, from what it wrote. Pure."""
    last = said.strip().rpartition("\n")[2].strip()
    for known in _KNOWN:
        if re.search(known.pattern, said, re.IGNORECASE):
            return known.error(f"{known.message}: {doing}", known.hint, said)
    last = re.sub(r"^(ERROR: )?failed to solve.*?: (failed to create LLB definition: )?", "", last)
    return DockerError(f"{doing} failed: {last[:400] or 'Docker said nothing'}", said=said)


def last_words(said: str) -> list[str]:
    """What a person should read of Docker's words: of a build what the step that failed wrote, and not the step itself,
    which a builder repeats up to four times; else all lines less what every build says. Pure."""
    failed = re.findall(r"^#([0-9]+) ERROR", said, re.MULTILINE)
    wrote = re.findall(rf"^#{failed[-1]} [0-9.]+ (.*)", said, re.MULTILINE) if failed else []
    every = r"#[0-9]+ (sha256:|DONE|CACHED)|-*$"
    return wrote or [line for line in said.splitlines() if not re.match(every, line)]
