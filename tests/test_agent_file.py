"""The agent as one file: it runs a job from a folder store with nothing of Swatch installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from orchestrator import contract, facts
from orchestrator.backends.local import LocalBackend
from orchestrator.cargo import agent
from orchestrator.cargo.index import Index
from orchestrator.cargo.snapshot import of_folder
from orchestrator.job import Job, Mount
from orchestrator.store.local import LocalStore


def works(python: str) -> bool:
    """Whether there is such a Python: what is found on the PATH may be a shim that leads nowhere."""
    found = shutil.which(python)
    return found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0


PYTHONS = [sys.executable, *filter(works, ["python3.8"])]


def run(python: str, agent_file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The agent, in an environment as bare as a container's."""
    environment = {"PATH": os.environ["PATH"], "SWATCH_STOP_GRACE": "5"}
    return subprocess.run(
        [shutil.which(python) or python, "-S", str(agent_file), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def job(command: str, code: str, **more: object) -> Job:
    return msgspec.structs.replace(
        Job(project="p", number=1, user="alice", created=1.0, command=command, code=code),
        **more,
    )


@pytest.fixture
def agent_file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.pyz"
    file.write_bytes(agent.packed())
    return file


def test_it_is_the_same_file_each_time(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    digest = agent.carry(store)
    assert digest == agent.carry(store) == hashlib.sha256(store.read(contract.agent_key(digest))).hexdigest()


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_a_job(tmp_path: Path, agent_file: Path, python: str) -> None:
    store = LocalStore(str(tmp_path / "store"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "hello.txt").write_text("hello\n")
    code = of_folder(tmp_path / "code")
    code.carry(store)
    store.create(contract.job_key("p", 1), msgspec.json.encode(job("cat hello.txt > /output/said.txt", code.digest)))
    words = ("--store", store.url, "--project", "p", "--number", "1", "--work", str(tmp_path / "work"))
    done = run(python, agent_file, *words)
    assert done.returncode == 0, done.stderr
    assert store.read(contract.output_prefix("p", 1) + "said.txt") == b"hello\n"


@pytest.mark.parametrize("python", PYTHONS)
def test_it_fetches_what_the_code_builds_on(tmp_path: Path, agent_file: Path, python: str) -> None:
    """The second snapshot was sent as what differs from the first; and a name need not be text."""
    store = LocalStore(str(tmp_path / "store"))
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(os.urandom(1 << 20))
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("un")
    (folder / "old.txt").write_text("x")
    for _ in range(2):
        code = of_folder(folder, index=Index(tmp_path / "home", folder))
        code.carry(store)
        (folder / os.fsdecode(b"caf\xe9.txt")).write_text("deux")
        (folder / "old.txt").unlink(missing_ok=True)
        (folder / "new").mkdir(exist_ok=True)
    command = "cat caf*.txt > /output/said.txt; ls | grep -v caf >> /output/said.txt"
    store.create(contract.job_key("p", 1), msgspec.json.encode(job(command, code.digest)))
    words = ("--store", store.url, "--project", "p", "--number", "1", "--work", str(tmp_path / "work"))
    done = run(python, agent_file, *words)
    assert done.returncode == 0, done.stderr
    assert store.read(contract.output_prefix("p", 1) + "said.txt") == b"deuxnew\nweights.bin\n"
    assert min(entry.size for entry in store.scan("code/")) < 1000, "the second was sent as a delta"


def channel(ml: Path, name: str, store: LocalStore, digest: str) -> None:
    """What SageMaker does before a container starts."""
    folder = ml / "input" / "data" / name
    folder.mkdir(parents=True)
    (folder / f"{digest}.tar.gz").write_bytes(store.read(contract.code_key(digest)))


def test_without_a_network_all_comes_by_channels_and_goes_by_checkpoints(tmp_path: Path, agent_file: Path) -> None:
    here, ml = LocalStore(str(tmp_path / "packed")), tmp_path / "ml"
    for name in ("code", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hello.txt").write_text(f"{name}\n")
    code = of_folder(tmp_path / "code")
    code.carry(here)
    channel(ml, contract.CODE_CHANNEL, here, code.digest)
    shutil.copytree(tmp_path / "data", ml / "input" / "data" / contract.data_channel("greetings"))
    asked = job(
        'cat hello.txt /greetings/hello.txt > /output/said.txt; echo state > "$SWATCH_CHECKPOINT_DIR/s"; exit 3',
        code.digest,
        data=(Mount(source="me/datasets/g/1", mount="greetings", digest="0" * 64, prefix="d/", size=5, files=1),),
    )
    carried = ml / "checkpoints"
    carried.mkdir()
    (carried / "job.json").write_bytes(msgspec.json.encode(asked))
    words = ("--store", str(carried), "--project", "p", "--number", "1", "--work", str(ml / "swatch"))
    done = run(sys.executable, agent_file, *words, "--ml", str(ml), "--isolated")
    assert done.returncode == 1, done.stderr
    assert (carried / "output" / "said.txt").read_text() == "code\ndata\n"
    assert json.loads((carried / "final.json").read_text())["state"] == contract.FAILED
    assert (ml / "output" / "failure").read_text() == "exit code 3"
    # SageMaker has carried the folder to the job's own prefix.
    prefix = contract.job_prefix("p", 1)
    shutil.copytree(carried, tmp_path / "store" / prefix)
    (one,) = facts.see_all(LocalStore(str(tmp_path / "store")), LocalBackend(str(tmp_path / "store"), tmp_path, 1), "p")
    assert (one.state, one.reason) == (contract.FAILED, "exit code 3")
