"""A hundred paid jobs in bad weather, with the command line killed again and again: all is made, and once."""

from __future__ import annotations

import itertools
import json
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.simulator import Simulator, chaos
from orchestrator.simulator.front import Front
from tests.account import Account, account

JOBS = 100
STEPS = 4
PROGRAM = """
import os, pathlib, sys, time
output, state = pathlib.Path(os.environ["SWATCH_OUTPUT_DIR"]), pathlib.Path(os.environ["SWATCH_CHECKPOINT_DIR"], "step")
done = int(state.read_text()) if state.exists() else 0
for step in range(int(sys.argv[2])):
    # A machine that dies without notice may take outputs with it that a checkpoint knows of.
    if step < done and (output / f"{step}.txt").exists():
        continue
    (output / f"{step}.txt").write_text(f"{sys.argv[1]} {step}\\n")
    state.with_suffix(".new").write_text(str(max(done, step + 1)))
    state.with_suffix(".new").rename(state)
    time.sleep(0.1)
"""
MANIFEST = f"""
name: storm
backend: sagemaker
machine: [ml.g5.xlarge, ml.g6.xlarge]
spot: true
max_runtime: 10m
retries: 3
command: python3 work.py {{n}} {STEPS}
matrix: {{n: [{", ".join(map(str, range(JOBS)))}]}}
"""


@pytest.mark.slow
def test_all_is_made_once_in_any_weather(tmp_path: Path) -> None:
    weather = chaos(7)
    weather.interrupt_after = (0.2, 1.0)
    chance = random.Random(7)
    with account(tmp_path, Simulator(front=Front, faults=weather, processes=4, quota=12)) as box:
        (box.folder / "work.py").write_text(PROGRAM)
        manifest = box.manifest(MANIFEST)
        killed = 0
        while not went_through(box, manifest, chance):
            killed += 1
            assert killed < 200, "it does not come to an end"
        assert killed > 5
        box.aws.faults = type(weather)()
        for name in box.aws.jobs():
            box.aws.wait_for(name)
        check(box, manifest)


def went_through(box: Account, manifest: str, chance: random.Random) -> bool:
    """Submit and watch, and kill the program after some jobs have ended, or right at its beginning. True when it came to
    its end, and all is made."""
    process = box.start("submit", manifest, "--watch")
    early = chance.random() < 0.3
    left = chance.randint(1, 30) if early else chance.randint(2, 12)
    assert process.stdout is not None
    for line in process.stdout:
        left -= early or (": success" in line and "cached" not in line)
        if not left:
            process.send_signal(signal.SIGKILL)
            break
    _, err = process.communicate()
    assert "Traceback" not in err, err
    return process.returncode == 0


def check(box: Account, manifest: str) -> None:
    """Every output is home, as it was made; each job was paid for until it succeeded, and never beside itself."""
    home = box.folder / "outputs" / "storm"
    for number in range(JOBS):
        for step in range(STEPS):
            assert (home / f"storm-n{number}" / f"{step}.txt").read_text() == f"{number} {step}\n"
    jobs = box.json("status", "storm")["jobs"]
    assert len(jobs) == JOBS and Counter(job["state"] for job in jobs) == {"success": JOBS}
    described = [box.aws.describe(name) for name in box.aws.jobs()]
    assert {one["TrainingJobStatus"] for one in described} <= {"Completed", "Failed"}
    completed = Counter(
        one["TrainingJobName"].rpartition("-")[0] for one in described if one["TrainingJobStatus"] == "Completed"
    )
    assert len(completed) == JOBS and set(completed.values()) == {1}
    by_job: dict[str, list[dict[str, object]]] = {}
    for one in described:
        by_job.setdefault(one["TrainingJobName"].rpartition("-")[0], []).append(one)
    for tries in by_job.values():
        for earlier, later in itertools.pairwise(tries):
            assert earlier["TrainingEndTime"] <= later["CreationTime"], "two machines at once"  # type: ignore[operator]
    # Every training job has its record in the store: no orphan, none without a bill.
    listed = (
        box.aws.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket="swatch", Prefix="studio/projects/storm/launches/")
    )
    records = [one["Key"] for page in listed for one in page.get("Contents", [])]
    named = {
        json.loads(box.aws.client("s3").get_object(Bucket="swatch", Key=key)["Body"].read())["name"] for key in records
    }
    assert named == set(box.aws.jobs())
