"""Jobs on SageMaker, as a person runs them, against the simulator: real agents, real commands, real requests."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from orchestrator import aws, contract, facts, prices, settings
from orchestrator.backends.base import Presence
from orchestrator.backends.sagemaker.backend import SageMakerBackend
from orchestrator.cargo import archive
from orchestrator.cargo.snapshot import of_folder
from orchestrator.job import Final
from orchestrator.prices import Price, Table
from orchestrator.simulator import Fault, Simulator
from orchestrator.simulator.front import Front
from tests.account import Account, account
from tests.test_jobs import Stream

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


def priced(box: Account) -> None:
    """A price that somebody vouches for."""
    price = Price(region="us-east-1", machine="ml.g5.xlarge", usd_per_hour=1.408, date="2026-11-22", source="a test")
    (box.home / prices.FILE).write_bytes(msgspec.json.encode(Table(prices=(price,))))


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
    assert (box.folder / "outputs/try/try/starts.txt").read_text() == "0\n1\n", "with what it had made before"
    assert states(box) == ["success"] and box.aws.jobs() == [name]


@pytest.mark.slow
def test_s10_what_the_account_has_no_machine_for_waits_and_is_started_by_the_watch(box: Account) -> None:
    box.aws.quotas.set("ml.m5.xlarge", 1)
    manifest = box.manifest(SAYING % "ann, ben, cid")
    said = box.swatch("submit", manifest)
    assert "3 new" in said and "2 jobs not handed over yet: waiting for a machine" in said
    assert len(box.aws.jobs()) == 1
    box.swatch("watch", manifest)
    assert states(box) == ["success"] * 3 and len(box.aws.jobs()) == 3


def test_the_next_step_of_a_plan_names_the_backend_that_was_asked_for(box: Account) -> None:
    manifest = box.manifest(SAYING % "ann")
    assert f"swatch submit {manifest} --backend sagemaker --watch" in box.swatch(
        "plan", manifest, "--backend", "sagemaker"
    )
    assert f"swatch submit {manifest} --watch" in box.swatch("plan", manifest)


@pytest.mark.slow
def test_a_machine_without_capacity_is_followed_by_the_next(box: Account) -> None:
    box.aws.faults.capacity = {"ml.m5.xlarge": Fault(next=1)}
    box.swatch("submit", box.manifest(SAYING % "ann" + "spot: false\n"), "--watch")
    first, _ = box.aws.jobs()
    assert box.aws.describe(first)["FailureReason"].startswith("CapacityError")
    assert states(box) == ["success"]
    assert "no capacity" in box.swatch("info", "try/1")


@pytest.mark.slow
def test_a_container_that_is_killed_is_explained_by_its_log(box: Account) -> None:
    box.swatch("submit", box.manifest(SLOW % "echo about to die; while :; do sleep 0.1; done"))
    (name,) = box.aws.jobs()
    stream = Stream(box, "try/1")
    stream.text("about to die")
    box.aws.crash(name)
    said = box.swatch("watch", "try", code=1)
    assert "out of memory" in said and "last line: about to die" in said and states(box) == ["failed"]
    assert stream.end() == 1
    about = box.swatch("info", "try/1")
    assert "The last lines of its log on AWS" in about and "about to die" in about.partition("on AWS")[2]


def test_stopping_ends_the_paid_machine_and_keeps_the_outputs(box: Account) -> None:
    pipe = box.pipe("ready")
    wait = f"trap 'echo bye > /output/bye.txt; exit 0' TERM; echo > {pipe}; while :; do sleep 0.1; done"
    priced(box)
    box.swatch("submit", box.manifest(SLOW.replace("ml.m5.xlarge", "ml.g5.xlarge") % wait))
    (name,) = box.aws.jobs()
    pipe.read_text()
    said = box.swatch("stop", "try")
    assert box.aws.describe(name)["TrainingJobStatus"] == "Stopped"
    assert re.search(r"try/1 shutdown: 0\.\d+ USD", said), "what was billed"
    box.swatch("sync", "try")
    assert (box.folder / "outputs/try/try/bye.txt").read_text() == "bye\n"
    assert states(box) == ["shutdown"]


@pytest.mark.slow
def test_a_job_whose_submission_was_killed_is_started_once(box: Account) -> None:
    """The reply to CreateTrainingJob is lost, and the program with it: the next submission adopts the training job."""
    box.aws.faults.lost = {"CreateTrainingJob": Fault(next=1)}
    manifest = box.manifest(SAYING % "ann")
    box.swatch("submit", manifest)
    box.swatch("submit", manifest, "--watch")
    assert len(box.aws.jobs()) == 1 and states(box) == ["success"]


@pytest.mark.slow
def test_without_a_network_the_platform_carries_all(tmp_path: Path) -> None:
    with account(tmp_path, network_isolation=True) as box:
        (box.folder / "hello.txt").write_text("hello\n")
        manifest = box.manifest(SAYING % "ann")
        assert "Without a network: SageMaker itself carries the outputs" in box.swatch("plan", manifest)
        box.swatch("submit", manifest, "--watch")
        assert next((box.folder / "outputs").rglob("said.txt")).read_text() == "hello\nmade by ann\n"
        assert "1 cached" in box.swatch("plan", manifest)


@contextmanager
def there(box: Account) -> Iterator[None]:
    """Where this process's clients go to the account's cloud, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in box.environment.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        aws.forget()
        yield
    aws.forget()


CODE = SAYING.replace("matrix", "code: code\nmatrix")


def code(box: Account, text: str) -> Path:
    """A code folder that is large enough for deltas."""
    folder = box.folder / "code"
    folder.mkdir(exist_ok=True)
    if not (folder / "weights.bin").exists():
        (folder / "weights.bin").write_bytes(os.urandom(1 << 20))
    (folder / "hello.txt").write_text(f"{text}\n")
    return folder


def sizes(box: Account) -> list[int]:
    return sorted(entry.size for entry in box.far.scan("code/"))


def said(box: Account) -> list[str]:
    return sorted(path.read_text().split()[0] for path in (box.folder / "outputs").rglob("said.txt"))


@pytest.mark.slow
def test_code_that_builds_on_other_code_is_fetched_from_the_store(box: Account) -> None:
    for text in ("one", "two"):
        code(box, text)
        box.swatch("submit", box.manifest(CODE % "ann"), "--watch")
        assert said(box) == [text]
    with there(box):
        assert len(sizes(box)) == 2 and sizes(box)[0] < 1000, "the channel brings what differs, and no more"


@pytest.mark.slow
def test_without_a_network_code_is_brought_whole(tmp_path: Path) -> None:
    """Sent whole at submit; and what was stored as a delta meanwhile is made whole before a job starts."""
    with account(tmp_path, network_isolation=True) as box, there(box):
        for text in ("one", "two"):
            folder = code(box, text)
            box.swatch("submit", box.manifest(CODE % "ann"), "--watch")
            assert said(box) == [text]
        assert len(sizes(box)) == 2 and sizes(box)[0] > 1 << 20
        box.aws.quotas.set("ml.m5.xlarge", 0)
        code(box, "three")
        box.swatch("submit", box.manifest(CODE % "ann"))
        (made,) = [entry for entry in box.far.scan("code/") if entry.key.split("/")[1][:64] == of_folder(folder).digest]
        code(box, "two")
        base = of_folder(folder)
        code(box, "three")
        known = {one.name: (one.kind, one.content) for one in base.members}
        delta = archive.delta(of_folder(folder).members, base.digest, 0, known)
        assert delta is not None
        archive.write(tmp_path / "delta.tar.gz", delta.members, delta.headers)
        box.far.upload(tmp_path / "delta.tar.gz", made.key)
        box.aws.quotas.set("ml.m5.xlarge", 1)
        box.swatch("watch", "try")
        assert said(box) == ["three"]
        assert sizes(box)[0] > 1 << 20


@pytest.mark.slow
def test_a_job_that_waits_for_a_machine_is_stopped_without_one(box: Account) -> None:
    box.aws.quotas.set("ml.m5.xlarge", 0)
    box.swatch("submit", box.manifest(SAYING % "ann"))
    assert "try/1 shutdown: 0.00 USD" in box.swatch("stop", "try")
    assert box.aws.jobs() == [] and states(box) == ["shutdown"]


def test_ctrl_c_twice_stops_what_is_paid_for_and_brings_the_last_outputs(box: Account) -> None:
    pipe = box.pipe("ready")
    wait = f"trap 'echo bye > /output/bye.txt; exit 0' TERM; echo > {pipe}; while :; do sleep 0.1; done"
    watching = box.start("submit", box.manifest(SLOW % wait), "--watch")
    pipe.read_text()
    (name,) = box.aws.jobs()
    assert watching.stdout is not None and watching.stderr is not None
    for line in watching.stdout:
        if line.startswith("try: "):  # it watches
            break
    watching.send_signal(signal.SIGINT)
    for line in watching.stderr:
        if "Ctrl-C once more" in line:
            break
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate()
    assert watching.returncode == 130 and "try/1 shutdown: " in told, "what was billed"
    assert box.aws.wait_for(name)["TrainingJobStatus"] == "Stopped"
    assert (box.folder / "outputs/try/try/bye.txt").read_text() == "bye\n"


@pytest.mark.slow
def test_an_expired_sign_in_is_told_and_watching_goes_on(box: Account) -> None:
    pipe = box.pipe("ready")
    box.swatch("submit", box.manifest(SLOW % f"cat {pipe}"))
    watching = box.start("watch", "try")
    assert watching.stdout is not None and watching.stderr is not None
    assert watching.stdout.readline().startswith("try: ")
    box.aws.faults.expired = True
    assert "aws sso login" in watching.stderr.readline()
    box.aws.faults.expired = False
    pipe.write_text("")
    watching.communicate()
    assert watching.returncode == 0


@pytest.mark.slow
def test_status_answers_without_a_sign_in(box: Account) -> None:
    box.swatch("submit", box.manifest(SAYING % "ann"), "--watch")
    assert states(box) == ["success"]
    box.aws.faults.expired = True
    process = box.start("status", "try")
    out, err = process.communicate()
    assert process.returncode == 0 and "try/1" in out and "success" in out
    assert "As last known" in err and "aws sso login" in err
    assert "success" in box.swatch("info", "try/1")
    assert "aws sso login" in box.swatch("submit", "try.yaml", code=1)


@pytest.mark.slow
def test_records_of_a_store_that_was_made_anew_are_not_taken_for_the_old(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        (box.folder / "hello.txt").write_text("hello\n")
        box.swatch("submit", box.manifest(SAYING % "ann"), "--watch")
        box.swatch("status")
    with Simulator(front=Front) as aws:
        aws.make_account()
        box.environment.update(aws.environment())
        assert "No jobs" in box.swatch("status")
        box.swatch("submit", box.manifest(SAYING % "ben"))
        assert [job["description"] for job in box.json("status")["jobs"]] == ["try-whoben"]


def test_s11_a_plan_tells_the_price_and_a_cap_holds(box: Account) -> None:
    manifest = box.manifest(SAYING.replace("ml.m5.xlarge", "ml.g5.xlarge") % "ann, ben, cid" + "max_cost: 0.5\n")
    priced(box)
    planned = box.json("plan", manifest)
    assert planned["cost"]["worst"] == pytest.approx(3 * 600 / 3600 * 1.408) and planned["held"] == [3]
    said = box.swatch("plan", manifest)
    assert "at most" in said and "Only 2 of 3 jobs may start now" in said


def test_an_unknown_price_is_refused_under_a_cap(box: Account) -> None:
    manifest = box.manifest(SAYING.replace("ml.m5.xlarge", "ml.g7e.2xlarge") % "ann" + "max_cost: 5\n")
    box.environment["AWS_REGION"] = box.environment["AWS_DEFAULT_REGION"] = "eu-west-3"
    assert "no certain price of ml.g7e.2xlarge in eu-west-3 is known" in box.swatch("submit", manifest, code=2)
    assert box.aws.jobs() == []


@pytest.mark.slow
def test_what_a_job_has_cost_is_shown(box: Account) -> None:
    priced(box)
    asked = SAYING.replace("ml.m5.xlarge", "ml.g5.xlarge") % "ann"
    assert re.search(r"Billed: 0\.\d+ USD", box.swatch("submit", box.manifest(asked), "--watch"))
    (name,) = box.aws.jobs()
    about = box.json("info", "try/1")
    (launch,) = about["launches"]
    assert launch["status"] == "Completed" and launch["billable"] == box.aws.describe(name)["BillableTimeInSeconds"]


@pytest.mark.slow
def test_two_submissions_at_once_start_each_job_once(box: Account) -> None:
    manifest = box.manifest(SAYING % "ann, ben, cid, dan")
    both = [box.start("submit", manifest, "--watch") for _ in range(2)]
    for one in both:
        _, err = one.communicate()
        assert one.returncode == 0, err
    assert len(box.aws.jobs()) == 4 and states(box) == ["success"] * 4


@pytest.mark.slow
def test_a_training_job_of_somebody_else_is_not_adopted(box: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    box.swatch("submit", box.manifest(SAYING % "ann"), "--watch")
    (name,) = box.aws.jobs()
    arn = box.aws.describe(name)["TrainingJobArn"]
    box.aws.client("sagemaker").add_tags(ResourceArn=arn, Tags=[{"Key": "swatch:store", "Value": "s3://theirs/x"}])
    keys = box.aws.client("s3").list_objects_v2(Bucket="swatch", Prefix="studio/projects")["Contents"]
    for one in keys:
        box.aws.client("s3").delete_object(Bucket="swatch", Key=one["Key"])
    for one in box.aws.client("s3").list_objects_v2(Bucket="swatch", Prefix="studio/results")["Contents"]:
        box.aws.client("s3").delete_object(Bucket="swatch", Key=one["Key"])
    assert "is not try/1's by its tags" in box.swatch("submit", "try.yaml", code=1)


@pytest.mark.slow
def test_a_job_that_aws_refuses_keeps_no_other_from_its_machine(box: Account) -> None:
    box.swatch("submit", box.manifest(SAYING % "ann"), "--watch")
    (name,) = box.aws.jobs()
    arn = box.aws.describe(name)["TrainingJobArn"]
    box.aws.client("sagemaker").add_tags(ResourceArn=arn, Tags=[{"Key": "swatch:store", "Value": "s3://theirs/x"}])
    s3 = box.aws.client("s3")
    for one in s3.list_objects_v2(Bucket="swatch", Prefix="studio/")["Contents"]:
        s3.delete_object(Bucket="swatch", Key=one["Key"])
    many = ", ".join(f"n{number}" for number in range(20))
    assert "is not try/1's by its tags" in box.swatch("submit", box.manifest(SAYING % many), code=1)
    assert len(box.aws.jobs()) == 20


@pytest.mark.slow
def test_in_another_region_than_its_store_no_job_is_started_or_taken_for_lost(box: Account) -> None:
    manifest = box.manifest(SAYING % "ann")
    box.environment["AWS_REGION"] = box.environment["AWS_DEFAULT_REGION"] = "us-west-2"
    said = box.swatch("submit", manifest, code=1)
    assert "is in us-east-1, and AWS is set to us-west-2" in said and "export AWS_REGION=us-east-1" in said
    assert box.aws.jobs() == []
    assert "is in us-east-1" in box.swatch("stop", "try", code=1) and states(box) == ["queued"]


@pytest.mark.slow
def test_a_stop_that_was_cut_short_ends_a_job_that_waits(box: Account) -> None:
    """The mark is in the store, and whoever set it died before more was done."""
    box.aws.quotas.set("ml.m5.xlarge", 0)
    box.swatch("submit", box.manifest(SAYING % "ann"))
    box.aws.client("s3").put_object(Bucket="swatch", Key="studio/projects/try/jobs/1/stop.json", Body=b"{}")
    box.aws.quotas.set("ml.m5.xlarge", 1)
    box.swatch("watch", "try", code=1)
    assert states(box) == ["shutdown"] and box.aws.jobs() == []


FAILING = 'case "$TRAINING_JOB_NAME" in *-1) while :; do sleep 0.1; done;; esac'


@pytest.mark.slow
def test_all_tries_of_a_job_together_have_its_maximum_runtime(box: Account) -> None:
    box.aws.faults.internal = {"*": Fault(next=3)}
    box.swatch("submit", box.manifest(SLOW % FAILING), "--watch")
    first, second = (box.aws.describe(name) for name in box.aws.jobs())
    used = max(first["BillableTimeInSeconds"], first["TrainingTimeInSeconds"])
    assert used > 0 and second["StoppingCondition"]["MaxRuntimeInSeconds"] == 600 - used
    assert states(box) == ["success"]


@pytest.mark.slow
def test_a_job_whose_maximum_runtime_is_used_up_is_not_tried_again(box: Account) -> None:
    box.aws.faults.internal = {"*": Fault(next=3)}
    box.swatch("submit", box.manifest(SLOW.replace("10m", "1m") % FAILING), "--watch", code=1)
    assert states(box) == ["timeout"] and len(box.aws.jobs()) == 1


@pytest.mark.slow
def test_the_machine_of_a_job_that_ended_long_ago_is_stopped(box: Account) -> None:
    """Its record was closed by hand, say, or by another computer, while its agent hung."""
    pipe = box.pipe("ready")
    box.swatch("submit", box.manifest(SLOW % f"trap 'exit 0' TERM; echo > {pipe}; while :; do sleep 0.1; done"))
    (name,) = box.aws.jobs()
    pipe.read_text()
    final = Final(state=contract.SHUTDOWN, ended=1e9, reason="by hand")
    box.aws.client("s3").put_object(
        Bucket="swatch", Key=f"studio/{contract.final_key('try', 1)}", Body=msgspec.json.encode(final)
    )
    assert states(box) == ["shutdown"]
    assert box.aws.wait_for(name)["TrainingJobStatus"] == "Stopped"


@pytest.mark.slow
def test_s11_what_a_running_job_costs_grows(box: Account) -> None:
    priced(box)
    pipe = box.pipe("ready")
    asked = SLOW.replace("ml.m5.xlarge", "ml.g5.xlarge") % f"echo > {pipe}; cat {pipe}"
    box.swatch("submit", box.manifest(asked))
    pipe.read_text()
    stream = Stream(box, "try/1")
    stream.until(kind="state", state="running")
    (job,) = box.json("status", "try")["jobs"]
    assert job["state"] == "running" and 0 < job["usd"] < 0.1
    pipe.write_text("")
    assert stream.end() == 0


def test_many_running_jobs_take_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for each hundred, and no question about a job that has not changed."""
    with account(tmp_path, Simulator(front=Front, processes=1, quota=200)) as box:
        (box.folder / "hello.txt").write_text("hello\n")
        waiting = SAYING.replace("cat hello.txt", f"cat {box.pipe('never')}")
        box.swatch("submit", box.manifest(waiting % ", ".join("abcdefgh")))
        for variable, value in box.environment.items():
            monkeypatch.setenv(variable, value)
        aws.forget()
        store = box.far
        backend = SageMakerBackend(store, settings.load())
        jobs = facts.read_jobs(store, "try", facts.numbers(store, "try"))
        many = [msgspec.structs.replace(job, number=number) for number, job in enumerate(jobs * 20, 1)]
        backend.launch(many[len(jobs) :])
        assert len(box.aws.jobs()) == len(many) == 160
        before = dict(box.aws.calls)
        fresh = SageMakerBackend(store, settings.load())
        assert {sight.presence for sight in fresh.look(many)} == {Presence.RUNNING}
        aws.forget()
        asked = {name: count - before.get(name, 0) for name, count in box.aws.calls.items()}
        assert asked["sagemaker:ListTrainingJobs"] == 2 and not asked.get("sagemaker:DescribeTrainingJob")


def test_a_machine_that_does_not_exist_is_told_before_anything_is_recorded(box: Account) -> None:
    manifest = box.manifest(SAYING.replace("ml.m5.xlarge", "ml.g5.nonsense") % "ann")
    for verb in ("plan", "submit"):
        assert '"ml.g5.nonsense" is none of its' in box.swatch(verb, manifest, code=1)
    assert "No jobs" in box.swatch("status")
