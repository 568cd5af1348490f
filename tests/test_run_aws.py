"""FloydHub's workflow on SageMaker: the same commands, the same outcome, on a simulated account."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account, account
from tests.test_floydhub import weights


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as box:
        box.environment["SWATCH_BACKEND"] = "sagemaker"
        box.swatch("init", "forest")
        (box.folder / "train.py").write_text("import sys\nprint('args', sys.argv[1:])\n")
        yield box


def test_m1_the_tutorial_on_sagemaker(box: Account) -> None:
    weights(box)
    said = box.swatch(
        *("run", "--gpu", "ls -l /vgg_weights/; cat /vgg_weights/vgg19.h5 > /output/out.txt; echo x > here.txt"),
        *("--data", "wxswxs/vgg-weights/1:vgg_weights", "-f"),
    )
    assert "Syncing code ..." in said and "alice/projects/forest/1" in said and "[success]" in said
    assert re.search(r"^(Billed|Cost)", said, re.M), "what it has cost is told at the end"
    assert re.search(r"^URL to job: https://console\.aws\.amazon\.com/s3/buckets/swatch\?prefix=studio/", said, re.M)
    assert (box.folder / "outputs/forest/1/out.txt").read_bytes() == b"weights"
    assert (box.folder / "outputs/forest/1/here.txt").read_text() == "x\n"
    (name,) = box.aws.jobs()
    channels = {one["ChannelName"]: one for one in box.aws.describe(name)["InputDataConfig"]}
    uri = channels["data-vgg_weights"]["DataSource"]["S3DataSource"]["S3Uri"]
    assert uri == "s3://swatch/studio/datasets/wxswxs/vgg-weights/1/files/"
    machines = box.aws.describe(name)["ResourceConfig"]["InstancePreferences"]
    assert machines[0] == {"InstanceType": "ml.g5.xlarge"}


@pytest.mark.slow
def test_m7_restart_clone_and_delete_on_sagemaker(box: Account, tmp_path: Path) -> None:
    box.swatch("run", "python3 train.py one", "-f")
    (box.folder / "train.py").write_text("print('changed')\n")
    said = box.swatch("restart", "1", "-f")
    assert "args ['one']" in said
    box.swatch("clone", "1", "-p", str(tmp_path / "again"))
    assert "sys.argv" in (tmp_path / "again" / "train.py").read_text()
    box.swatch("delete", "1", "-y")
    assert [job["number"] for job in box.json("status")["jobs"]] == [2]
    said = box.swatch("run", "python3 train.py", "-f")
    assert "changed" in said and "alice/projects/forest/3" in said


@pytest.mark.slow
def test_m8_max_runtime_and_failures_on_sagemaker(box: Account) -> None:
    said = box.swatch("run", "echo made > /output/a.txt; exec sleep 600", "--max-runtime", "3", "-f", code=1)
    assert "[timeout]" in said
    assert (box.folder / "outputs/forest/1/a.txt").read_text() == "made\n"
    assert "exit code 7" in box.swatch("run", "echo bad; exit 7", "-f", code=1)
    assert [job["state"] for job in box.json("status")["jobs"]] == ["failed", "timeout"]


@pytest.mark.slow
def test_s6_a_folder_and_an_output_are_data_on_sagemaker(box: Account) -> None:
    (box.folder / ".swatchignore").write_text("/photos/\n")
    (box.folder / "photos").mkdir()
    (box.folder / "photos" / "a.txt").write_text("one\n")
    box.swatch("run", "cp /photos/a.txt /output/b.txt", "--data", "./photos:photos", "-f")
    said = box.swatch("run", "cat /model/b.txt", "--data", "1/output:model", "-f")
    assert re.search(r" one$", said, re.M)


def test_s14_secrets_on_sagemaker_are_in_no_record(box: Account) -> None:
    box.environment["TOKEN"] = "very-secret-value"  # noqa: S105
    said = box.swatch("run", 'test "$TOKEN" = very-secret""-value && echo "it is $TOKEN"', "--secret", "TOKEN", "-f")
    assert "it is ***" in said and "very-secret-value" not in said
    (name,) = box.aws.jobs()
    assert "very-secret-value" not in repr(box.aws.describe(name))
    box.environment.pop("TOKEN")
    assert "it is ***" in box.swatch("restart", "1", "-f")


@pytest.mark.slow
def test_g3_a_sweep_on_sagemaker(box: Account) -> None:
    out = box.swatch("run", 'echo \'{"metric": "score", "value": \'{x}\'}\'', "--sweep", "x=1,2", "-f")
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if " success " in line]
    assert sorted((row[1], row[4]) for row in rows) == [("1", "1"), ("2", "2")]


def test_a_run_that_could_cost_too_much_is_refused_before_anything_is_sent(box: Account) -> None:
    said = box.swatch("run", "true", "--machine", "ml.g5.xlarge", "--max-cost", "0.01", code=2)
    assert "max_cost is 0.01 USD" in said
    assert box.json("status")["jobs"] == [] and not box.aws.jobs()


def test_whoami_names_the_aws_identity(box: Account) -> None:
    about = box.json("whoami")
    assert about["store"] == "s3://swatch/studio" and about["aws"]["account"].isdigit()


def test_s5_a_dry_run_on_sagemaker_tells_machine_and_price(box: Account) -> None:
    said = box.swatch("run", "--gpu", "true", "--dry-run")
    assert "gpu (sagemaker)" in said and not box.aws.jobs()
    assert re.search(r"Price +ml\.g5\.xlarge: about [0-9.]+ USD/h \(us-east-1, [0-9-]+\)", said), (
        "what is asked for first"
    )
    assert re.search(r"if sold out, ml\.g6\.xlarge: not known in us-east-1 *\n", said)
    assert "swatch prices --refresh reads what is not known" in said


def test_s12_the_image_is_part_of_the_record(box: Account) -> None:
    record = box.json("run", "--gpu", "true", "--env", "pytorch-2.8", "--dry-run")
    assert record["jobs"][0]["image"].endswith("amazonaws.com/pytorch-training:2.8-gpu-py312")
    box.swatch("run", "true", "-f")
    image = box.json("info")["job"]["image"]
    (name,) = box.aws.jobs()
    assert image == box.aws.describe(name)["AlgorithmSpecification"]["TrainingImage"]
    again = box.json("restart", "1", "--dry-run")
    assert again["jobs"][0]["image"] == image
    other = box.json("restart", "1", "--env", "tensorflow-2.19", "--dry-run")
    assert other["jobs"][0]["image"].endswith("/tensorflow-training:2.19-cpu-py312")
