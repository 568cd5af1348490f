"""Jobs on SageMaker that run in pushed images: what people type, and containers of a real engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cargo import image
from orchestrator.simulator import Simulator
from orchestrator.simulator.front import Front
from tests.account import Account, account
from tests.daemon import BARE, BASE, Daemon
from tests.pushing import push

MANIFEST = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: |
  %s
"""


@pytest.fixture
def box(tmp_path: Path, daemon: Daemon, own_image: str) -> Iterator[Account]:
    """An account whose jobs run in Swatch's own image, pushed to its registry."""
    with account(tmp_path, Simulator(front=Front, docker=daemon.docker, registry=daemon.registry)) as box:
        use(box, push(box.aws, daemon.docker, own_image, "own", "1"))
        yield box


def use(box: Account, image: str) -> None:
    config = box.home / "config.yaml"
    lines = [line for line in config.read_text().splitlines() if "image:" not in line]
    config.write_text("\n".join(f"{line}\n  image: {image}" if line == "aws:" else line for line in lines) + "\n")


def submit(box: Account, command: str, *flags: str, more: str = "", code: int = 0) -> str:
    said = box.manifest(MANIFEST % command.replace("\n", "\n  ") + more)
    return box.swatch("submit", said, *flags, code=code)


def wait_for_line(box: Account, line: str) -> str:
    (name,) = box.aws.jobs()
    box.aws.wait(lambda: line in box.aws.log(name))
    return name


def test_a_command_runs_in_the_image_and_its_outputs_come_home(box: Account) -> None:
    (box.folder / "paint.py").write_text(
        "import sys\nfrom PIL import Image\nImage.effect_noise((64, 64), 50).save('/output/' + sys.argv[1])\n"
    )
    submit(box, "cat /etc/passwd | head -1; ls /opt/swatch; python3 paint.py noise.png", "--watch")
    (name,) = box.aws.jobs()
    log = "\n".join(box.aws.log(name))
    assert "root:x:0:0:root:/root:/bin/sh" in log and "agent.pyz" in log
    from PIL import Image

    with Image.open(box.folder / "outputs/try/try/noise.png") as image:
        assert image.size == (64, 64)
    assert box.json("status", "try")["jobs"][0]["state"] == "success"


def test_a_failing_command_is_told_with_its_code(box: Account) -> None:
    assert "exit code 7" in submit(box, "echo bad; exit 7", "--watch", code=1)
    (name,) = box.aws.jobs()
    assert box.aws.describe(name)["TrainingJobStatus"] == "Failed"


COUNTING = """n=$(cat "$SWATCH_CHECKPOINT_DIR/n" 2>/dev/null || echo 0); echo "$n" >> /output/starts.txt
echo $((n + 1)) > "$SWATCH_CHECKPOINT_DIR/n"
trap 'echo bye > /output/bye.txt; exit 0' TERM
test $n -gt 0 || { echo ready; while :; do sleep 0.1; done; }"""


def test_stopping_reaches_the_command_and_what_it_made_comes_home(box: Account) -> None:
    submit(box, COUNTING)
    name = wait_for_line(box, "ready")
    box.swatch("stop", "try")
    assert box.aws.describe(name)["TrainingJobStatus"] == "Stopped"
    box.swatch("sync", "try")
    assert (box.folder / "outputs/try/try/bye.txt").read_text() == "bye\n"


def test_an_interrupted_spot_job_goes_on_in_another_container(box: Account) -> None:
    submit(box, COUNTING, more="spot: true\n")
    name = wait_for_line(box, "ready")
    box.aws.interrupt(name)
    box.swatch("watch", "try")
    assert (box.folder / "outputs/try/try/starts.txt").read_text() == "0\n1\n"
    assert box.aws.jobs() == [name] and box.json("status", "try")["jobs"][0]["state"] == "success"


def test_without_a_network_the_platform_carries_all(box: Account) -> None:
    config = box.home / "config.yaml"
    config.write_text(config.read_text().replace("aws:\n", "aws:\n  network_isolation: true\n"))
    submit(box, "ls /sys/class/net > /output/net.txt", "--watch")
    assert (box.folder / "outputs/try/try/net.txt").read_text() == "lo\n"


def test_an_image_without_python_is_told(box: Account, daemon: Daemon) -> None:
    use(box, push(box.aws, daemon.docker, BARE, "bare", "1"))
    assert "the image has no Python 3.8 or later" in submit(box, "true", "--watch", code=1)


def test_an_image_that_is_not_there_is_told_when_it_is_submitted(box: Account) -> None:
    missing = box.aws.client("ecr").describe_repositories()["repositories"][0]["repositoryUri"]
    use(box, f"{missing}:none")
    said = submit(box, "true", code=1)
    assert f"Requested image {missing}:none not found" in said


def test_a_build_on_aws_is_one_line_in_a_simulated_account(box: Account, daemon: Daemon) -> None:
    """`swatch simulate --docker -- swatch image build --remote`, on the small base."""
    (box.home / "config.yaml").write_text(f"docker: {{base: '{BASE}', network: host}}\n")
    box.environment |= {name: daemon.environment[name] for name in ("DOCKER_HOST", "SWATCH_DOCKER")}
    swatch = (sys.executable, "-m", "orchestrator")
    said = box.swatch("simulate", "--docker", "--", *swatch, "image", "build", "--remote")
    assert "Built and pushed in" in said and said.strip().endswith(image.context(BASE).tag)
