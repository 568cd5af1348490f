"""Jobs on SageMaker, as a person runs them, against the simulator: real agents, real commands, real requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account, account

SAYING = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: 'cat hello.txt > /output/said.txt; echo made by {who} >> /output/said.txt'
matrix: {who: [%s]}
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as made:
        (made.folder / "hello.txt").write_text("hello\n")
        yield made


def test_outputs_come_home_from_training_jobs(box: Account) -> None:
    box.swatch("submit", box.manifest(SAYING % "ann, ben"), "--watch")
    said = sorted(path.read_text() for path in (box.folder / "outputs" / "try").rglob("said.txt"))
    assert said == ["hello\nmade by ann\n", "hello\nmade by ben\n"]
    assert [box.aws.describe(name)["TrainingJobStatus"] for name in box.aws.jobs()] == ["Completed"] * 2
    assert [job["state"] for job in box.json("status", "try")["jobs"]] == ["success"] * 2


SLOW = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: |
  n=$(cat "$SWATCH_CHECKPOINT_DIR/n" 2>/dev/null || echo 0); echo "$n" >> /output/starts.txt
  echo $((n + 1)) > "$SWATCH_CHECKPOINT_DIR/n"
  %s
"""


def states(box: Account) -> list[str]:
    return [job["state"] for job in box.json("status", "try")["jobs"]]


def test_a_spot_interruption_goes_on_from_the_checkpoint(box: Account) -> None:
    pipe = box.pipe("ready")
    wait = f"test $n -gt 0 || {{ trap 'exit 1' TERM; echo ready > {pipe}; while :; do sleep 0.1; done; }}"
    box.swatch("submit", box.manifest(SLOW % wait + "spot: true\n"))
    (name,) = box.aws.jobs()
    pipe.read_text()
    box.aws.interrupt(name)
    box.swatch("watch", "try")
    assert (box.folder / "outputs/try/try/starts.txt").read_text() == "0\n1\n"
    assert states(box) == ["success"] and box.aws.jobs() == [name]


def test_what_the_account_has_no_machine_for_waits_and_is_started_by_the_watch(box: Account) -> None:
    box.aws.quotas.set("ml.m5.xlarge", 1)
    manifest = box.manifest(SAYING % "ann, ben, cid")
    said = box.swatch("submit", manifest)
    assert "3 new" in said and "2 jobs not handed over yet: waiting for a machine" in said
    assert len(box.aws.jobs()) == 1
    box.swatch("watch", manifest)
    assert states(box) == ["success"] * 3 and len(box.aws.jobs()) == 3


def test_a_machine_without_capacity_is_followed_by_the_next(box: Account) -> None:
    from orchestrator.simulator import Fault

    box.aws.faults.capacity = {"ml.m5.xlarge": Fault(next=1)}
    box.swatch("submit", box.manifest(SAYING % "ann" + "spot: false\n"), "--watch")
    first, _ = box.aws.jobs()
    assert box.aws.describe(first)["FailureReason"].startswith("CapacityError")
    assert states(box) == ["success"]
    assert "no capacity" in box.swatch("info", "try/1")


def test_a_container_that_is_killed_is_explained_by_its_log(box: Account) -> None:
    pipe = box.pipe("ready")
    box.swatch("submit", box.manifest(SLOW % f"echo about to die; echo > {pipe}; while :; do sleep 0.1; done"))
    (name,) = box.aws.jobs()
    pipe.read_text()
    box.aws.crash(name)
    said = box.swatch("watch", "try", code=1)
    assert "out of memory" in said and "last line: about to die" in said and states(box) == ["failed"]


def test_stopping_ends_the_paid_machine_and_keeps_the_outputs(box: Account) -> None:
    pipe = box.pipe("ready")
    wait = f"trap 'echo bye > /output/bye.txt; exit 0' TERM; echo > {pipe}; while :; do sleep 0.1; done"
    box.swatch("submit", box.manifest(SLOW % wait))
    (name,) = box.aws.jobs()
    pipe.read_text()
    box.swatch("stop", "try")
    assert box.aws.wait_for(name)["TrainingJobStatus"] == "Stopped"
    box.swatch("watch", "try", code=1)
    assert (box.folder / "outputs/try/try/bye.txt").read_text() == "bye\n"
    assert states(box) == ["shutdown"]


def test_a_job_whose_submission_was_killed_is_started_once(box: Account) -> None:
    """The reply to CreateTrainingJob is lost, and the program with it: the next submission adopts the training job."""
    from orchestrator.simulator import Fault

    box.aws.faults.lost = {"CreateTrainingJob": Fault(next=1)}
    manifest = box.manifest(SAYING % "ann")
    box.swatch("submit", manifest)
    box.swatch("submit", manifest, "--watch")
    assert len(box.aws.jobs()) == 1 and states(box) == ["success"]


def test_without_a_network_the_platform_carries_all(tmp_path: Path) -> None:
    with account(tmp_path, network_isolation=True) as box:
        (box.folder / "hello.txt").write_text("hello\n")
        manifest = box.manifest(SAYING % "ann")
        box.swatch("submit", manifest, "--watch")
        assert next((box.folder / "outputs").rglob("said.txt")).read_text() == "hello\nmade by ann\n"
        assert "1 cached" in box.swatch("plan", manifest)
