"""Jobs handed to an AWS Batch queue: real agents on the simulator, started by its queue and by nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import request
from orchestrator.errors import UsageError
from orchestrator.simulator import Fault
from tests.account import Account, account

SAYING = """
name: try
backend: sagemaker
queue: night
machine: ml.m5.xlarge
max_runtime: 10m
command: 'cat hello.txt > /output/said.txt; echo made by {who} >> /output/said.txt'
matrix: {who: [%s]}
"""
SLOW = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: "trap 'echo bye > /output/bye.txt; exit 0' TERM; echo {n} > %s; while :; do sleep 0.1; done"
matrix: {n: [%s]}
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as made:
        (made.folder / "hello.txt").write_text("hello\n")
        made.aws.make_queue("night", 2)
        yield made


def states(box: Account) -> list[str]:
    return [job["state"] for job in box.json("status", "try")["jobs"]]


def queued(box: Account, queue: str = "night") -> list[str]:
    """Names of all service jobs, whatever their status."""
    asked = {"jobQueue": queue, "filters": [{"name": "JOB_NAME", "values": ["*"]}]}
    return sorted(one["jobName"] for one in box.aws.client("batch").list_service_jobs(**asked)["jobSummaryList"])


@pytest.mark.slow
def test_the_queue_outlives_the_program_that_submitted(box: Account) -> None:
    manifest = box.manifest(SAYING % "ann, ben, cid, dan, eve, fay")
    said = box.swatch("submit", manifest)
    assert "the queue night" in said and "not handed over" not in said
    # The program has ended; nothing of ours runs beside the jobs, and all six come to their ends.
    box.aws.wait(lambda: len(box.aws.jobs()) == 6)
    for name in box.aws.jobs():
        assert box.aws.wait_for(name)["TrainingJobStatus"] == "Completed"
    box.swatch("watch", manifest)
    homes = sorted(path.read_text() for path in (box.folder / "outputs/try").rglob("said.txt"))
    assert homes == [f"hello\nmade by {who}\n" for who in ("ann", "ben", "cid", "dan", "eve", "fay")]
    assert states(box) == ["success"] * 6 and len(queued(box)) == 6
    (launch,) = box.json("info", "try/1")["launches"]
    assert launch["status"] == "Completed" and launch["name"].startswith("AWSBatchswatch-"), "billed by its machine"
    assert box.json("info", "try/1")["job"]["queue"] == "night"


@pytest.mark.slow
def test_a_second_submission_adopts_all(box: Account) -> None:
    pipe = box.pipe("ready")
    manifest = box.manifest(SLOW % (pipe, "1, 2, 3") + "queue: night\n")
    box.swatch("submit", manifest)
    pipe.read_text()
    before = queued(box)
    box.environment["SWATCH_USER"] = "ben"
    box.home.rename(box.home.with_name("other"))  # another computer, of which only the configuration is the same
    box.home.mkdir()
    (box.home / "config.yaml").write_text((box.home.with_name("other") / "config.yaml").read_text())
    assert "Nothing to start; 3 on the way" in box.swatch("submit", manifest)
    assert queued(box) == before and len(before) == 3
    said = [job["reason"] for job in box.json("status", "try")["jobs"]]
    assert any("RUNNABLE: waits in the queue night" in one for one in said), said
    stopped = box.swatch("stop", "try")
    assert stopped.count(" shutdown: ") == 3 and states(box) == ["shutdown"] * 3


@pytest.mark.slow
def test_a_job_is_stopped_before_it_starts_and_while_it_runs(box: Account) -> None:
    box.aws.make_queue("one", 1)
    pipe = box.pipe("ready")
    box.swatch("submit", box.manifest(SLOW % (pipe, "1, 2")), "--queue", "one")
    first = pipe.read_text().strip()
    running, waiting = ("try/1", "try/2") if first == "1" else ("try/2", "try/1")
    assert "shutdown: 0.00 USD" in box.swatch("stop", waiting)
    (name,) = box.aws.jobs()
    box.swatch("stop", running)
    assert box.aws.describe(name)["TrainingJobStatus"] == "Stopped"
    assert box.aws.jobs() == [name], "what was stopped while it waited never had a machine"
    box.swatch("sync", "try")
    assert len(list((box.folder / "outputs/try").rglob("bye.txt"))) == 1 and states(box) == ["shutdown"] * 2


def test_a_lost_reply_doubles_nothing(box: Account) -> None:
    box.aws.faults.lost = {"SubmitServiceJob": Fault(next=1)}
    manifest = box.manifest(SAYING % "ann")
    box.swatch("submit", manifest)
    box.swatch("submit", manifest, "--watch")
    assert len(queued(box)) == 1 == len(box.aws.jobs()) and states(box) == ["success"]


@pytest.mark.slow
def test_a_submission_killed_between_record_and_queue_is_mended(box: Account) -> None:
    """The record is there and Batch was never reached: what a kill between the two leaves behind."""
    box.aws.faults.errors = {"SubmitServiceJob": Fault(next=1000)}
    manifest = box.manifest(SAYING % "ann, ben")
    box.swatch("submit", manifest, code=1)
    assert queued(box) == []
    box.aws.faults.errors = {}
    box.swatch("submit", manifest, "--watch")
    assert len(queued(box)) == 2 == len(box.aws.jobs()) and states(box) == ["success"] * 2


@pytest.mark.slow
def test_a_queue_that_takes_no_jobs_is_told_before_anything_is_recorded(box: Account) -> None:
    manifest = box.manifest(SAYING % "ann")
    said = box.swatch("submit", manifest, "--queue", "nihgt", code=1)
    assert "There is no job queue nihgt" in said
    box.aws.make_queue("night", 2, enabled=False)
    assert "The job queue night is disabled" in box.swatch("submit", manifest, code=1)
    box.aws.make_queue("night", 2)
    box.swatch("submit", manifest, "--watch")
    assert states(box) == ["success"], "no job was left behind by the refusals"


def test_a_job_that_batch_cannot_start_tells_why(box: Account) -> None:
    config = (box.home / "config.yaml").read_text()
    (box.home / "config.yaml").write_text(config.replace("role/swatch", "role/nobody"))
    said = box.swatch("submit", box.manifest(SAYING % "ann"), "--watch", code=1)
    assert "role" in said and states(box) == ["failed"] and box.aws.jobs() == []


@pytest.mark.slow
def test_a_plan_names_the_queue_and_the_doctor_looks_at_it(tmp_path: Path) -> None:
    with account(tmp_path, queue="day") as box:
        manifest = box.manifest((SAYING % "ann").replace("queue: night\n", ""))
        (box.folder / "hello.txt").write_text("hello\n")
        assert "Queue: day" in box.swatch("plan", manifest) and box.json("plan", manifest)["queue"] == "day"
        assert box.json("plan", manifest, "--queue", "night")["queue"] == "night"
        assert [one["state"] for one in _checks(box)] == ["fail"]
        box.aws.make_queue("day", 1)
        assert [one["state"] for one in _checks(box)] == ["ok"]
        box.aws.make_queue("day", 1, enabled=False)
        assert [(one["state"], one["said"]) for one in _checks(box)] == [("fail", "The job queue day is disabled")]


def _checks(box: Account) -> list[dict[str, str]]:
    process = box.start("doctor", "--json")
    out, _ = process.communicate()
    return [one for one in json.loads(out)["checks"] if one["name"] == "queue"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("flag", "manifest", "configured"), "flag"),
        ((None, "manifest", "configured"), "manifest"),
        ((None, None, "configured"), "configured"),
        ((None, None, None), None),
    ],
)
def test_the_flag_goes_before_the_manifest_before_the_configuration(
    given: tuple[str | None, ...], found: str | None
) -> None:
    assert request.queue_of("sagemaker", *given) == found
    assert request.queue_of("local", None, *given[1:]) is None


def test_a_queue_is_no_flag_of_a_local_job_and_has_a_plain_name() -> None:
    with pytest.raises(UsageError, match="is for jobs on SageMaker"):
        request.queue_of("local", "night", None, None)
    for name in ("", "a b", "-x", "../x", "x" * 129, "x\n"):
        with pytest.raises(UsageError, match="no name of a job queue"):
            request.queue_of("sagemaker", name, None, None)
