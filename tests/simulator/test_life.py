"""A training job's life: what it runs in, what it may see, how it ends, and what is told of it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import Any

import pytest

from tests.simulator.conftest import Cloud

SHOW = """
import json, os, sys
ml = sys.argv[1]
seen = {"env": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd(), "files": []}
for folder, _, names in os.walk(ml):
    seen["files"] += [os.path.relpath(os.path.join(folder, name), ml) for name in names]
for name in ("hyperparameters", "resourceconfig", "inputdataconfig"):
    seen[name] = json.load(open(f"{ml}/input/config/{name}.json"))
print(json.dumps(seen))
"""


def secondary(described: dict[str, Any]) -> list[str]:
    return [one["Status"] for one in described["SecondaryStatusTransitions"]]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def channel(cloud: Cloud, name: str, key: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{cloud.account.bucket}/{key}"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def show(cloud: Cloud, **changes: Any) -> Any:
    """What a job sees."""
    cloud.put("code/show.py", SHOW)
    channels = [channel(cloud, "code", "code/show.py"), *changes.pop("channels", [])]
    words = ("python3", "/opt/ml/input/data/code/show.py", "/opt/ml")
    assert cloud.run("show", *words, InputDataConfig=channels, **changes)["TrainingJobStatus"] == "Completed"
    (line,) = cloud.log("show")
    return json.loads(line)


def test_a_job_goes_through_the_states_of_aws(still: Cloud) -> None:
    still.create("one", "sh", "-c", "read line < /tmp/never-there || exec sleep 1000")
    described = still.sagemaker.describe_training_job(TrainingJobName="one")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("InProgress", "Starting")
    still.advance(60)
    still.wait_for("one", "Downloading")
    still.advance(30)
    still.wait_for("one", "Training")
    still.wait(lambda: still.pid("one"))
    still.advance(100)
    still.crash("one")
    still.wait_for("one", "Uploading")
    still.advance(10)
    described = still.wait_for("one")
    assert secondary(described) == ["Starting", "Downloading", "Training", "Uploading", "Failed"]
    times = [(one["StartTime"], one["EndTime"]) for one in described["SecondaryStatusTransitions"]]
    assert [round(end - start) for start, end in times] == [60, 30, 100, 10, 0]
    assert described["FailureReason"] == "AlgorithmError: , exit code: 137"
    # From the start of the downloads to the end.
    assert described["TrainingTimeInSeconds"] == described["BillableTimeInSeconds"] == 140


def test_describe_tells_what_was_asked(cloud: Cloud) -> None:
    asked = {
        "Environment": {"COLOUR": "red"},
        "HyperParameters": {"width": "64"},
        "RetryStrategy": {"MaximumRetryAttempts": 3},
        "ProfilerConfig": {"DisableProfiler": True},
        "CheckpointConfig": cloud.checkpointed(),
    }
    cloud.run("one", **asked)
    described = cloud.sagemaker.describe_training_job(TrainingJobName="one")
    for name, value in (cloud.request("one") | asked).items():
        assert described[name] == value
    assert described["ProfilingStatus"] == "Disabled"
    assert described["BillableTimeInSeconds"] >= 1
    assert "FailureReason" not in described and "FinalMetricDataList" not in described
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{cloud.account.bucket}/out/one/output/model.tar.gz"


def test_a_job_sees_its_data_and_nothing_of_this_computer(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THIS_COMPUTER", "1")
    for key in ("in/a.txt", "in/deep/b.txt", "in2/c.txt", "in/empty/"):
        cloud.put(key, "x")
    channels = [channel(cloud, "with", "in/"), channel(cloud, "without", "in")]
    seen = show(cloud, channels=channels, Environment={"COLOUR": "red"}, HyperParameters={"width": "64"})
    assert {name for name in seen["files"] if name.startswith("input/data/")} == {
        "input/data/code/show.py",
        "input/data/with/a.txt",
        "input/data/with/deep/b.txt",
        "input/data/without/a.txt",
        "input/data/without/deep/b.txt",
        "input/data/without/in2/c.txt",
    }
    assert seen["hyperparameters"] == {"width": "64"}
    assert seen["resourceconfig"]["current_host"] == "algo-1"
    assert seen["inputdataconfig"]["with"]["TrainingInputMode"] == "File"
    environment = seen["env"]
    assert environment["COLOUR"] == "red"
    assert environment["TRAINING_JOB_NAME"] == "show"
    assert environment["TRAINING_JOB_ARN"].endswith(":training-job/show")
    assert environment["AWS_ENDPOINT_URL"] == cloud.url
    assert "SECRET_OF_THIS_COMPUTER" not in environment and "PYTHONPATH" not in environment


def test_an_isolated_job_has_no_way_to_aws(cloud: Cloud) -> None:
    seen = show(cloud, EnableNetworkIsolation=True, Environment={"AWS_ENDPOINT_URL_S3": cloud.url, "A": "1"})
    assert {name for name in seen["env"] if name.startswith("AWS")} == {"AWS_REGION", "AWS_DEFAULT_REGION"}
    assert seen["env"]["A"] == "1"


def test_paths_are_replaced_where_they_begin_a_word(cloud: Cloud) -> None:
    said = "echo /opt/ml/model=/opt/ml x/opt/ml /opt/mlx '/opt/ml' /tmp/swatch/a"
    cloud.run("one", "sh", "-c", said)
    (line,) = cloud.log("one")
    one, two, three, four, five = line.split(" ")
    model, _, root = one.partition("=")
    assert model == f"{root}/model" and root == four
    assert (two, three) == ("x/opt/ml", "/opt/mlx")
    assert five.endswith("/tmp/swatch/a") and five != "/tmp/swatch/a"


def test_results_are_archived_at_the_end(cloud: Cloud) -> None:
    program = "mkdir -p /opt/ml/output/data/deep; echo 1 >/opt/ml/output/data/deep/a; echo 2 >/opt/ml/model/m"
    cloud.run("one", "sh", "-c", program)
    assert cloud.keys("out/") == ["out/one/output/model.tar.gz", "out/one/output/output.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(cloud.get("out/one/output/output.tar.gz"))) as tar:
        assert tar.getnames() == ["deep/a"]
    output = {"S3OutputPath": f"s3://{cloud.account.bucket}/plain/", "CompressionType": "NONE"}
    cloud.run("two", "sh", "-c", program, OutputDataConfig=output)
    assert cloud.keys("plain/") == ["plain/two/output/data/deep/a", "plain/two/output/model/m"]


def test_a_failure_says_what_the_job_left(cloud: Cloud) -> None:
    described = cloud.run("one", "sh", "-c", "echo no memory > /opt/ml/output/failure; exit 3")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "AlgorithmError: no memory, exit code: 3"
    assert cloud.run("two", "sh", "-c", "exit 1")["FailureReason"] == "AlgorithmError: , exit code: 1"
    described = cloud.run("three", "sh", "-c", f"printf '%04000d' 0 > /opt/ml/output/failure; exit 1")  # noqa: F541
    assert len(described["FailureReason"]) == 1024
    assert cloud.run("four", "not-a-program")["FailureReason"] == "AlgorithmError: , exit code: 127"


def test_metrics_are_read_from_the_log(cloud: Cloud) -> None:
    request = cloud.request("one", "printf", r"loss: 3\nnothing\nloss: 0.5\nlast")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss: ([0-9.]+)"}]
    cloud.sagemaker.create_training_job(**request)
    (metric,) = cloud.wait_for("one")["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("loss", 0.5)
    assert cloud.log("one") == ["loss: 3", "nothing", "loss: 0.5", "last"]


def test_stop_gives_the_job_its_grace(cloud: Cloud) -> None:
    program = "trap 'echo bye; echo saved > /opt/ml/model/m; exit 0' TERM; echo on; while :; do sleep 0.01; done"
    cloud.create("one", "bash", "-c", program)
    cloud.said("one", "on")
    cloud.sagemaker.stop_training_job(TrainingJobName="one")
    described = cloud.wait_for("one")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert secondary(described)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert "FailureReason" not in described
    assert cloud.log("one") == ["on", "bye"]
    assert cloud.keys("out/") == ["out/one/output/model.tar.gz"]


def test_a_job_that_does_not_stop_is_killed_when_the_grace_is_over(still: Cloud) -> None:
    still.create("one", "bash", "-c", "trap 'echo never' TERM; echo on; while :; do sleep 0.01; done")
    still.advance(60)
    still.wait_for("one", "Downloading")
    still.advance(30)
    still.said("one", "on")
    still.sagemaker.stop_training_job(TrainingJobName="one")
    still.said("one", "never")
    still.advance(119)
    pid = still.pid("one")
    assert pid and alive(pid)
    still.advance(1)
    still.wait_for("one", "Uploading")
    assert not alive(pid)
    still.advance(10)
    assert still.wait_for("one")["TrainingJobStatus"] == "Stopped"


def test_a_job_can_be_stopped_before_it_runs(still: Cloud) -> None:
    still.create("one")
    still.sagemaker.stop_training_job(TrainingJobName="one")
    described = still.wait_for("one")
    assert secondary(described) == ["Starting", "Stopping", "Stopped"]
    assert "BillableTimeInSeconds" not in described and "TrainingStartTime" not in described


def test_the_runtime_has_an_end(still: Cloud) -> None:
    still.create("one", "sleep", "1000", StoppingCondition={"MaxRuntimeInSeconds": 50})
    still.advance(60)
    still.wait_for("one", "Downloading")
    still.advance(30)
    still.wait(lambda: still.pid("one"))
    still.advance(50)
    still.wait_for("one", "Uploading")
    still.advance(10)
    described = still.wait_for("one")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_nothing_of_a_container_outlives_it(cloud: Cloud) -> None:
    program = "setsid sleep 1001 & echo $!; setsid setsid sleep 1002 & wait"
    cloud.create("one", "bash", "-c", program)
    cloud.wait(lambda: cloud.log("one"))
    (pid,) = cloud.log("one")
    assert alive(int(pid))
    cloud.crash("one")
    assert cloud.wait_for("one")["FailureReason"] == "AlgorithmError: , exit code: 137"
    assert not alive(int(pid))


def test_a_container_is_gone_however_fast_it_multiplies(cloud: Cloud) -> None:
    seconds = f"1007.{os.getpid()}"
    sleepers = f"for n in 1 2 3 4 5 6 7 8; do setsid sh -c 'exec sleep {seconds}' & done"
    cloud.create("one", "bash", "-c", f"echo on; while :; do {sleepers}; wait -n; done")
    cloud.said("one", "on")
    cloud.crash("one")
    cloud.wait_for("one")
    left = []
    for pid in (name for name in os.listdir("/proc") if name.isdecimal()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                left += [pid] if seconds.encode() in line.read() else []
        except OSError:
            continue
    assert left == []


def test_the_end_of_the_simulator_is_the_end_of_its_jobs() -> None:
    with Cloud() as cloud:
        cloud.create("one", "bash", "-c", "trap '' TERM; setsid sleep 1003 & echo $$ $!; wait")
        cloud.create("two", "sleep", "1004")
        cloud.wait(lambda: cloud.log("one"))
        pids = [int(pid) for pid in cloud.log("one")[0].split()]
        assert all(alive(pid) for pid in pids)
        folder = os.readlink(f"/proc/{pids[0]}/cwd")
    assert not any(alive(pid) for pid in pids)
    assert not os.path.exists(folder)


def test_jobs_wait_for_this_computer_in_their_order(tmp_path: Any) -> None:
    with Cloud(processes=1) as cloud:
        os.mkfifo(tmp_path / "gate")
        cloud.create("one", "sh", "-c", f"read line < {tmp_path}/gate")
        cloud.wait_for("one", "Training")
        cloud.create("two")
        cloud.create("three")
        assert cloud.describe("two")["SecondaryStatus"] == "Starting"
        (tmp_path / "gate").write_text("go\n")
        ends = [cloud.wait_for(name)["TrainingStartTime"] for name in ("one", "two", "three")]
        assert ends == sorted(ends)


def test_tags(cloud: Cloud) -> None:
    cloud.create("one", Tags=[{"Key": "swatch:project", "Value": "forest"}])
    arn = cloud.describe("one")["TrainingJobArn"]
    cloud.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "swatch:project", "Value": "forest"},
        {"Key": "b", "Value": "2"},
    ]
