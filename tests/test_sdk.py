"""AWS' SDK for images without it: fetched by its digests, packed once, and used where nothing else is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
import yaml

from orchestrator import contract, images
from orchestrator.cargo import agent, sdk
from orchestrator.errors import SwatchError
from orchestrator.job import Job
from orchestrator.store.s3 import S3Store
from tests.account import account
from tests.cloud import Cloud
from tests.test_agent_file import works


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A computer's cache with the SDK in it, from the package index that pip is set to."""
    folder = tmp_path_factory.mktemp("cache")
    try:
        sdk.kept(folder)
    except SwatchError as error:
        pytest.skip(f"no package index is reached from here: {error.message}")
    return folder


def old() -> str:
    """A Python 3.8."""
    found = [*sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3")), shutil.which("python3.8") or ""]
    return next((str(one) for one in found if one and works(str(one))), "")


@pytest.mark.parametrize("python", ["this one", "3.8"])
def test_an_agent_without_boto3_reaches_s3_by_it(
    tmp_path: Path, cache: Path, cloud: Cloud, bucket: str, python: str
) -> None:
    program = sys.executable if python == "this one" else old()
    if not program:
        pytest.skip("there is no Python 3.8 here")
    store = S3Store(f"s3://{bucket}/studio")
    digest = sdk.carry(store, cache)
    assert digest == sdk.carry(store, cache)
    archive, pyz = tmp_path / f"{digest}.zip", tmp_path / "agent.pyz"
    assert store.download(contract.boto3_key(digest), archive) == digest
    pyz.write_bytes(agent.packed())
    command = f"echo made > /output/x; {program} -S -c 'import botocore' || echo alone"
    made = Job(project="p", number=1, user="alice", created=1.0, command=command)
    store.create(contract.job_key("p", 1), msgspec.json.encode(made))
    words = ["--store", store.url, "--project", "p", "--number", "1", "--work", str(tmp_path / "work")]
    bare = {**cloud.environment(), "PATH": os.environ["PATH"]}
    without = subprocess.run([program, "-S", str(pyz), *words], env=bare, capture_output=True, text=True, check=False)
    assert without.returncode == 1 and "needs boto3" in without.stderr, "else this tests nothing"
    words += ["--boto3", str(archive)]
    done = subprocess.run([program, "-S", str(pyz), *words], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(store.read(contract.final_key("p", 1)))["state"] == "success"
    assert store.read(contract.output_prefix("p", 1) + "x") == b"made\n"
    log = b"".join(store.read(one.key) for one in store.scan(contract.journal_prefix("p", 1)))
    assert b'"alone"' in log, "it is the agent's, and not the command's"


def test_what_came_damaged_is_not_used(tmp_path: Path) -> None:
    archive = tmp_path / f"{'a' * 64}.zip"
    archive.write_bytes(b"something else")
    words = ["--store", "s3://bucket/x", "--project", "p", "--number", "1", "--work", str(tmp_path / "work")]
    pyz = tmp_path / "agent.pyz"
    pyz.write_bytes(agent.packed())
    whole = [sys.executable, "-S", str(pyz), *words, "--boto3", str(archive)]
    done = subprocess.run(whole, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"swatch: {archive.name} came damaged: it is not what its name says"


def wheel(folder: Path, name: str, files: list[str]) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(file, file)
    return path


def test_it_is_packed_into_the_same_bytes_with_what_an_agent_uses(tmp_path: Path) -> None:
    files = ["botocore/session.py", "botocore/cacert.pem", "botocore/data/endpoints.json"]
    files += [f"botocore/data/{name}/2020/service-2.json.gz" for name in ("s3", "s3control", "sts", "ec2")]
    files += [
        "botocore/data/s3/2020/examples-1.json",
        "botocore-1.0.dist-info/RECORD",
        "botocore-1.0.dist-info/LICENSE.txt",
    ]
    wheels = [wheel(tmp_path, "botocore", files), wheel(tmp_path, "six", ["six.py"])]
    sdk.pack(wheels, tmp_path / "one")
    os.utime(wheels[0], (0, 0))
    sdk.pack(wheels, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as packed:
        assert packed.namelist() == [
            "botocore-1.0.dist-info/LICENSE.txt",
            "botocore/cacert.pem",
            "botocore/data/endpoints.json",
            "botocore/data/s3/2020/service-2.json.gz",
            "botocore/data/sts/2020/service-2.json.gz",
            "botocore/session.py",
            "six.py",
        ]


def test_without_an_index_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SwatchError, match="needs boto3, which cannot be fetched") as caught:
        sdk.kept(tmp_path)
    assert "RUN pip install boto3" in str(caught.value.hint)
    # Another file under the right name is refused by its digest.
    (tmp_path / "wheels").mkdir()
    pins = [
        line.split()[0].split("==")
        for line in (agent.folder("orchestrator/cargo") / "boto3.txt").read_text().splitlines()
        if "==" in line and "--hash" in line
    ]
    for name, version in pins:
        with zipfile.ZipFile(
            tmp_path / "wheels" / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w"
        ) as archive:
            info = f"{name.replace('-', '_')}-{version}.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(SwatchError, match="needs boto3, which cannot be fetched"):
        sdk.kept(tmp_path)
    assert not [*tmp_path.rglob("*.zip")]


def test_aws_own_images_are_known() -> None:
    region = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
    assert images.of_aws(f"{region}/pytorch-training:2.8-gpu-py312")
    assert images.of_aws("public.ecr.aws/deep-learning-containers/pytorch-training:2.8-cpu-py312")
    for other in ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/swatch:1", "python:3.12", f"evil.example/{region}/x:1"):
        assert not images.of_aws(other)


@pytest.mark.slow
def test_a_job_in_an_image_of_ones_own_is_brought_it(tmp_path: Path, cache: Path) -> None:
    with account(tmp_path) as box:
        shutil.copytree(cache, box.home / "cache")
        box.swatch("init", "try")
        file = box.home / "config.yaml"
        said = yaml.safe_load(file.read_text())
        box.swatch("run", "--backend", "sagemaker", "-f", "true")
        mine = f"{box.aws.client('sts').get_caller_identity()['Account']}.dkr.ecr.us-east-1.amazonaws.com/swatch:latest"
        file.write_text(yaml.safe_dump({**said, "aws": {**said["aws"], "image": mine}}))
        box.swatch("run", "--backend", "sagemaker", "-f", "true")
        first, second = (box.aws.describe(name) for name in box.aws.jobs())
        assert second["AlgorithmSpecification"]["TrainingImage"] == mine
        (packed,) = box.home.glob("cache/boto3/*/*.zip")
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        brought = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in second["InputDataConfig"]}
        assert brought["boto3"].endswith(contract.boto3_key(digest))
        words = second["AlgorithmSpecification"]["ContainerArguments"]
        assert words[words.index("--boto3") + 1] == f"/opt/ml/input/data/boto3/{digest}.zip"
        assert "boto3" not in {one["ChannelName"] for one in first["InputDataConfig"]}, "AWS' own have it"
