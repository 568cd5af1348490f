"""What Docker says, and what a person reads of it; how far a build or a push is, from its plain progress."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.complaint import explained, last_words
from orchestrator.docker import Docker, pushed, step
from orchestrator.errors import DockerError, NoDocker, SignIn, TagTaken
from tests.fake_docker import Fake

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
SAID = {
    # docker CLI 20.10 and 28, to a socket that is not for this user, and to none
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: connect: permission denied': (
        NoDocker,
        "This user may not use Docker",
    ),
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?": (
        NoDocker,
        "Docker does not answer",
    ),
    "failed to connect to the docker API at npipe:////./pipe/docker_engine; check if the path is correct": (
        NoDocker,
        "Docker does not answer",
    ),
    # the engine
    "write /var/lib/docker/tmp/x: no space left on device": (DockerError, "disk that Docker keeps images on is full"),
    'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].': (
        DockerError,
        "cannot hand its GPU",
    ),
    'docker: Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "python3": executable file not found in $PATH: unknown.': (
        DockerError,
        "no Python 3.8",
    ),
    'exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown': (DockerError, "no Python 3.8"),
    "exec /usr/bin/python3: exec format error": (DockerError, "another kind of processor"),
    "WARNING: The requested image's platform (linux/arm64) does not match the specified platform (linux/amd64)": (
        DockerError,
        "another kind of processor",
    ),
    "no matching manifest for linux/amd64 in the manifest list entries": (DockerError, "another kind of processor"),
    "Error: No such image: mine:1": (DockerError, "no such image"),
    "manifest for x/y:1 not found: manifest unknown: manifest unknown": (DockerError, "no such image"),
    # registries
    f"tag invalid: The image tag '1' already exists in the 'swatch' repository and cannot be overwritten because the repository is immutable. ({HOST})": (
        TagTaken,
        "another image under this tag",
    ),
    "denied: Your authorization token has expired. Reauthenticate and try again.": (SignIn, "refuses the sign-in"),
    "no basic auth credentials": (SignIn, "refuses the sign-in"),
    "unauthorized: authentication required": (SignIn, "refuses the sign-in"),
    'Get "https://x.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused': (DockerError, "not reached"),
    'Head "https://x.example/v2/none/manifests/1": dial tcp: lookup x.example: no such host': (
        DockerError,
        "not reached",
    ),
    # builds, of old and new BuildKit
    '#5 0.091 runc run failed: unable to start container process: error during container init: exec: "/bin/sh": stat /bin/sh: no such file or directory\n#5 ERROR: process "/bin/sh -c x" did not complete successfully: exit code: 1': (
        DockerError,
        "no shell",
    ),
    "executor failed running [/bin/sh -c false]: exit code: 1": (DockerError, "step of the Dockerfile failed"),
    'ERROR: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1': (
        DockerError,
        "step of the Dockerfile failed",
    ),
}


@pytest.mark.parametrize("said", SAID, ids=[f"{words[0].__name__}-{at}" for at, words in enumerate(SAID.values())])
def test_what_docker_says_becomes_a_sentence_with_its_mend(said: str) -> None:
    kind, words = SAID[said]
    error = explained("doing it", f"some lines\nbefore\n{said}\n")
    assert type(error) is kind
    assert words.lower() in error.message.lower()
    assert "doing it" in error.message
    assert error.hint


@pytest.mark.parametrize(
    "said",
    [
        "#7 0.4 curl: (22) The requested URL returned error: 403 Forbidden",
        "#7 0.4 ERROR: 401 Client Error: Unauthorized for url: https://pypi.example/simple",
        "#7 0.4 psycopg.OperationalError: connection to 127.0.0.1 failed: Connection refused",
        "#7 0.4 fatal: repository does not exist",
    ],
)
def test_what_a_step_of_a_dockerfile_says_is_not_taken_for_what_the_registry_says(said: str) -> None:
    failed = 'ERROR: failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 22'
    error = explained("building x", f"{said}\n{failed}")
    assert type(error) is DockerError
    assert error.message == "A step of the Dockerfile failed: building x"


def test_a_computer_that_cannot_run_what_it_builds_is_told_what_makes_it_so() -> None:
    """An arm64 laptop without emulation: it builds for amd64 already."""
    said = "#7 0.1 exec /bin/sh: exec format error"
    failed = 'ERROR: failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 255'
    error = explained("building x", f"{said}\n{failed}")
    assert error.message == "This computer cannot run programs for the machines' kind of processor: building x"
    assert "--remote" in (error.hint or "") and "--platform" not in (error.hint or "")


def test_a_disk_that_is_full_in_a_step_is_still_told() -> None:
    failed = 'ERROR: failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 1'
    assert "is full" in explained("building x", f"#7 0.4 tee: /x: No space left on device\n{failed}").message


STEP = """[packages 2/4] RUN python3 -c 'import pip' || { echo "The base has no Python 3.11 or later with pip" >&2; exit 1; }"""
BUILDERS = {
    "of 2021": """#1 [internal] load remote build context
#1 DONE 0.0s
#4 [packages 1/4] FROM docker.io/mine:1
#5 STEP
#5 0.084 /bin/sh: 1: python3: not found
#5 0.084 The base has no Python 3.11 or later with pip
#5 ERROR: executor failed running [/bin/sh -c python3 -c 'import pip' || { echo "The base has no Python 3.11 or later with pip" >&2; exit 1; }]: exit code: 1
------
 > STEP:
------
executor failed running [/bin/sh -c python3]: exit code: 1""",
    "of 2025": """#6 STEP
#6 0.355 /bin/sh: 1: python3: not found
#6 0.355 The base has no Python 3.11 or later with pip
#6 ERROR: process "/bin/sh -c python3 -c 'import pip'" did not complete successfully: exit code: 1
------
 > STEP:
0.355 /bin/sh: 1: python3: not found
0.355 The base has no Python 3.11 or later with pip
------
Dockerfile:14
--------------------
  13 |     # asked first
  14 | >>> RUN python3 -c 'import pip' || { echo "The base has no Python 3.11 or later with pip" >&2; exit 1; }
--------------------
ERROR: failed to solve: process "/bin/sh -c python3 -c 'import pip'" did not complete successfully: exit code: 1""",
}


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_base_without_python_is_named_with_what_it_lacks_and_what_its_step_wrote(builder: str) -> None:
    said = BUILDERS[builder].replace("STEP", STEP)
    error = explained("building swatch:1 on mine:1", said)
    assert error.message.startswith(
        "The base has no Python 3.11 or later with pip, which Swatch's image needs: building"
    )
    assert "swatch image build --base IMAGE" in (error.hint or "")
    assert last_words(said) == ["/bin/sh: 1: python3: not found", "The base has no Python 3.11 or later with pip"]


def test_a_base_that_has_it_is_not_blamed_for_a_later_step() -> None:
    said = f"#6 {STEP}\n#6 DONE 0.1s\n#7 0.9 ERROR: No matching distribution found for keras==3\n#7 ERROR: process x did not complete successfully: exit code: 1"
    assert "A step of the Dockerfile failed" in explained("building x", said).message
    assert last_words(said) == ["ERROR: No matching distribution found for keras==3"]


def test_what_nobody_knows_is_quoted_by_its_last_line() -> None:
    error = explained("building x", "first\nERROR: failed to solve: dockerfile parse error on line 1: unknown: FROMM")
    assert error.message == "building x failed: dockerfile parse error on line 1: unknown: FROMM"
    assert explained("building x", " \n").message == "building x failed: Docker said nothing"


@pytest.mark.parametrize("bare", [{"Created": "0001-01-01T00:00:00Z"}, {}], ids=["Docker 20", "Docker 26"])
def test_an_image_that_tells_next_to_nothing_of_itself_is_an_image(bare: dict[str, str], tmp_path: Path) -> None:
    """What Nix or a tool of one's own makes: no time, no configuration."""
    found = {"Id": "sha256:" + "a" * 64, "Architecture": "amd64", "Size": 3, "Config": None, "RootFS": None, **bare}
    fake = Fake(tmp_path / "fake", {"mine:1": found})
    facts = Docker(fake.environment).image("mine:1")
    assert facts is not None
    assert (facts.labels, facts.layers, facts.tags) == ({}, (), ())
    assert facts.named <= 0


@given(st.text(max_size=400))
def test_whatever_it_says_is_an_error(said: str) -> None:
    error = explained("it", said)
    assert isinstance(error, DockerError)
    assert len(error.message) < 1000


@pytest.mark.parametrize(
    ("line", "reach"),
    [
        ("#8 [packages 2/3] RUN pip", (2, 3)),
        ("#9 [stage-1 4/5] COPY engine/ /opt", (4, 5)),
        ("#5 [2/2] RUN true", (2, 2)),
        ("#2 [internal] load metadata for x", None),
        ("#8 2.657 WARNING: [2/3]", None),
        ("", None),
    ],
)
def test_how_far_a_build_is(line: str, reach: tuple[int, int] | None) -> None:
    assert step(line) == reach


def test_how_far_a_push_is() -> None:
    lines = [
        "The push refers to repository [127.0.0.1:5000/swatch]",
        "aaaaaaaaaaaa: Preparing",
        "bbbbbbbbbbbb: Preparing",
        "cccccccccccc: Waiting",
    ]
    assert pushed(lines) == (0, 3)
    lines += ["aaaaaaaaaaaa: Layer already exists", "bbbbbbbbbbbb: Pushed"]
    assert pushed(lines) == (2, 3)
    lines += ["cccccccccccc: Mounted from swatch", "1: digest: sha256:00 size: 1"]
    assert pushed(lines) == (3, 3)
