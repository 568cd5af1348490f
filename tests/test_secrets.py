"""Secrets (S14): the command has them, and nothing that anybody reads does."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.record import SHORTEST_SECRET, Veil
from orchestrator import account as wanted
from orchestrator import aws, contract, secrets
from orchestrator.backends import vault
from orchestrator.backends.local import LocalBackend
from orchestrator.backends.sagemaker import vault as cloud_vault
from orchestrator.backends.sagemaker.backend import SageMakerBackend
from orchestrator.errors import UsageError
from orchestrator.job import Job
from orchestrator.settings import Aws, Settings
from orchestrator.simulator import Simulator
from orchestrator.store import open_store
from tests.conftest import Box
from tests.one_job import Bench
from tests.test_policies import MINE, allows, granted, recorded

VALUE = 's3cr3t "value" & $HOME'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    file = tmp_path / "secrets"
    vault.keep(file, {"TOKEN": VALUE, "PEM": "-----BEGIN\nfirst-line\nx\n-----END", "NOT_ASKED": "other"})
    bench.options += ["--secrets", str(file)]
    return bench


def everything(folder: Path) -> str:
    return "\n".join(file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file())


def test_s14_the_command_has_its_secrets_and_no_log_or_record_has(bench: Bench) -> None:
    command = 'test "$TOKEN" && test -z "$NOT_ASKED"; echo "it is $TOKEN."; echo "$PEM"; echo "$LR"; printf "%s" "$TOKEN" | wc -c; echo "$TOKEN" >&2; exit 3'
    final = bench.run(command, secrets=("TOKEN", "PEM"), variables={"LR": "0.1", "SWATCH": "no"})
    assert bench.log(1) == ["it is ***.", "***", "***", "x", "***", "0.1", str(len(VALUE)), "***"]
    assert final["reason"] == "exit code 3: ***"
    assert not (bench.folder / "secrets").exists(), "nobody needs it any more"
    for folder in (bench.store.root, bench.folder / "work"):
        for part in ("s3cr3t", "first-line"):
            assert part not in everything(folder)


def test_s14_a_secret_that_is_gone_is_said(bench: Bench) -> None:
    final = bench.run("true", secrets=("TOKEN", "MISSING"))
    assert final["state"] == "failed"
    assert final["reason"] == (
        "could not be prepared: the secret MISSING is not there: submit the job again, from where it is known"
    )


def test_s14_pip_does_not_tell_them_either(bench: Bench) -> None:
    (bench.code / "requirements.txt").write_text("no-such-package-tok3n\n")
    vault.keep(bench.folder / "secrets", {"TOKEN": "tok3n"})
    bench.environment["PIP_NO_INDEX"] = "1"
    final = bench.run("true", secrets=("TOKEN",), requirements="requirements.txt")
    assert "No matching distribution found for no-such-package-***" in final["reason"]
    assert "tok3n" not in "\n".join(bench.log(1)) + json.dumps(final)


@given(st.lists(st.text(min_size=SHORTEST_SECRET), max_size=4), st.text(), st.text())
def test_a_veil_hides_each_value_wherever_it_stands(values: list[str], before: str, after: str) -> None:
    veil = Veil(values)
    for value in values:
        hidden = veil.hide(f"{before}{value}{after}")
        assert value not in hidden.replace("***", "\0")


@given(st.lists(st.text(min_size=SHORTEST_SECRET), max_size=4))
def test_a_veil_hides_values_that_json_spells(values: list[str]) -> None:
    veil = Veil(values)
    for value in values:
        for spelled in (json.dumps({"error": value}), json.dumps({"error": value}, ensure_ascii=False)):
            assert value not in str(json.loads(veil.hide(spelled))["error"]).replace("***", "\0")


def test_s14_an_event_tells_no_secret_though_json_spells_it_otherwise(bench: Bench) -> None:
    vault.keep(bench.folder / "secrets", {"TOKEN": 'tök"n-1'})
    (bench.code / "say.py").write_text(
        "import json, os\n"
        "token = os.environ['TOKEN']\n"
        "print(json.dumps({'task': 'x', 'state': 'failed', 'error': token}))\n"
        "print(json.dumps({'progress': 'x', 'step': 1, 'steps': 2, 'size': token}))\n"
        "print(json.dumps({'password': token}))\n"
    )
    assert bench.run("python3 say.py", secrets=("TOKEN",))["state"] == "success"
    told = [event for event in bench.events(1) if 'tök"n-1' in str(event) or "00f6k" in str(event)]
    assert not told and '{"password": "***"}' in bench.log(1)


def test_short_values_are_not_hidden() -> None:
    assert Veil(["1", "abc", ""]).hide("abc 1") == "abc 1"


# From the terminal to the agent, on this computer


def job(box: Box, number: int = 1, **more: object) -> Job:
    fields: dict[str, object] = {"command": 'echo "$TOKEN" > /output/t.txt', "secrets": ("TOKEN",), **more}
    one = Job(project="p", number=number, user="alice", created=1.0, host=box.backend().host, **fields)  # type: ignore[arg-type]
    box.store.create(contract.job_key("p", number), msgspec.json.encode(one))
    return one


def files(box: Box) -> list[Path]:
    return sorted((box.home / "local" / "secrets").glob("*"))


def test_s14_values_wait_in_a_file_of_their_user_alone(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalBackend, "wake", lambda self: None)
    monkeypatch.setenv("TOKEN", VALUE)
    one = job(box)
    box.backend().check([one])
    box.backend().launch([one])
    (file,) = files(box)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    others = [path for path in box.home.rglob("*") if path.is_file() and path != file]
    assert others and not any(b"s3cr3t" in path.read_bytes() for path in others)
    monkeypatch.delenv("TOKEN")
    for entry in (box.home / "local" / "queue").iterdir():
        entry.unlink()  # lost: it is launched again, from a terminal that does not know the value
    box.backend().launch([one])
    assert vault.names(file) == {"TOKEN"}


def test_s14_a_secret_that_nobody_has_is_refused_before_there_is_a_record(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(UsageError) as caught:
        box.backend().check([job(box)])
    assert caught.value.message == "No value for the secret TOKEN"
    assert caught.value.hint == "export TOKEN=... in this terminal, and repeat it"
    with pytest.raises(UsageError, match="too large"):
        secrets.collect(["TOKEN"], {"TOKEN": "x" * (secrets.MAX_BYTES + 1)})
    with pytest.raises(UsageError, match="is no text"):
        secrets.collect(["TOKEN"], {"TOKEN": "\udcff"})


def test_a_job_without_its_secret_keeps_no_other_from_running(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    woken: list[list[str]] = []
    monkeypatch.setattr(LocalBackend, "wake", lambda self: woken.append(os.listdir(self.layout.queue)))
    with pytest.raises(UsageError, match="No value for the secret TOKEN"):
        box.backend().launch([job(box, 1, secrets=()), job(box, 2)])
    assert [len(queue) for queue in woken] == [1]


def test_s14_what_a_killed_launch_has_left_goes_with_the_job(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalBackend, "wake", lambda self: None)
    monkeypatch.setenv("TOKEN", VALUE)
    one = job(box)
    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", lambda self, target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            box.backend().launch([one])
    assert any(b"s3cr3t" in file.read_bytes() for file in files(box))
    box.backend().settle([one])
    assert not files(box)


def test_s14_they_go_when_the_job_has_ended_in_the_queue_too(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in box.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOKEN", VALUE)
    monkeypatch.setattr(LocalBackend, "wake", lambda self: None)
    gate = box.pipe("gate")
    first, second = job(box, 1, command=f'echo "$TOKEN" > /output/t.txt; echo ready; cat {gate}'), job(box, 2)
    box.backend().launch([first, second])
    assert len(files(box)) == 2
    words = [sys.executable, "-m", "orchestrator.backends.runner", "--home", str(box.home), "--slots", "1"]
    runner = subprocess.Popen(words, env=box.environment)
    stream = box.start("logs", "p/1", "-f")
    assert stream.stdout is not None
    assert any("ready" in line for line in stream.stdout)
    box.swatch("stop", "p/2")
    assert len(files(box)) == 1, "of the job that still runs"
    gate.write_text("")
    stream.communicate()
    assert runner.wait() == 0
    assert files(box) == []
    assert box.store.read(contract.output_prefix("p", 1) + "t.txt").decode() == VALUE + "\n"


# On AWS


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as simulator:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setattr(cloud_vault, "_kept", {})
        aws.forget()
        yield simulator
        aws.forget()


def test_s14_on_aws_they_come_from_secrets_manager(
    simulated: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: from this terminal's environment, and from what a person has put there for all projects."""
    made = simulated.make_account(bucket="studio")
    store = open_store(MINE.store)
    asked = recorded("secretsmanager")
    aws.client("secretsmanager").create_secret(Name="swatch/SHARED", SecretString="for-all-projects")
    asked.clear()
    monkeypatch.setenv("TOKEN", VALUE)
    monkeypatch.delenv("SHARED", raising=False)
    settings = Settings(home=tmp_path, store=MINE.store, backend="sagemaker", aws=Aws(role=made.role))
    backend = SageMakerBackend(store, settings)
    command = 'printf "%s %s" "$TOKEN" "$SHARED" | wc -c > /output/n.txt; echo "$TOKEN $SHARED"; exit 4'
    one = Job(
        project="p", number=1, user="alice", created=1.0, command=command, backend="sagemaker", machine="cpu",
        secrets=("TOKEN", "SHARED"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="No value for the secret NOBODY"):
        backend.check([msgspec.structs.replace(one, secrets=("NOBODY",))])
    backend.check([one])
    store.create(contract.job_key("p", 1), msgspec.json.encode(one))
    backend.launch([one])
    (training,) = simulated.wait(simulated.jobs)
    simulated.wait_for(training)
    final = json.loads(store.read(contract.final_key("p", 1)))
    assert final["reason"] == "exit code 4: *** ***"
    assert int(store.read(contract.output_prefix("p", 1) + "n.txt")) == len(f"{VALUE} for-all-projects")
    described = aws.client("sagemaker").describe_training_job(TrainingJobName=training)
    assert "s3cr3t" not in repr(described)
    kept = [store.read(entry.key) for entry in store.scan("projects/")]
    assert not any(b"s3cr3t" in data or b"for-all" in data for data in kept)
    policy = wanted.user_policy(MINE)
    mine = {action for action in asked if action.startswith("secretsmanager:")}
    assert mine == {"secretsmanager:CreateSecret", "secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"}
    assert mine - granted(policy) == set()


def test_s14_whoever_submits_reads_no_secret_and_a_job_reads_ours_alone() -> None:
    person, role = wanted.user_policy(MINE), wanted.job_policy(MINE)
    prefix = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
    assert allows(role, "secretsmanager:GetSecretValue", f"{prefix}swatch/p/TOKEN-AbCdEf")
    assert not allows(role, "secretsmanager:GetSecretValue", f"{prefix}database-AbCdEf")
    assert not allows(role, "secretsmanager:PutSecretValue", f"{prefix}swatch/p/TOKEN-AbCdEf")
    assert not allows(person, "secretsmanager:GetSecretValue", f"{prefix}swatch/p/TOKEN-AbCdEf")
    assert allows(person, "secretsmanager:PutSecretValue", f"{prefix}swatch/p/TOKEN-AbCdEf")
    assert not allows(person, "secretsmanager:PutSecretValue", f"{prefix}database-AbCdEf")


def test_s14_jobs_without_a_network_can_have_none(simulated: Simulator, tmp_path: Path) -> None:
    made = simulated.make_account(bucket="studio")
    isolated = Aws(role=made.role, image=made.image, network_isolation=True)
    backend = SageMakerBackend(open_store(MINE.store), Settings(home=tmp_path, store=MINE.store, aws=isolated))
    one = Job(project="p", number=1, user="alice", created=1.0, command="true", backend="sagemaker", secrets=("TOKEN",))
    with pytest.raises(UsageError, match="network_isolation"):
        backend.check([one])


def test_s14_run_with_secrets_and_variables(box: Box) -> None:
    """As one types it; what one forgot to export is said before anything is recorded."""
    box.swatch("init", "p")
    for words in ((), ("--dry-run",)):
        said = box.swatch("run", "--secret", "TOKEN", "true", *words, code=2)
        assert "No value for the secret TOKEN" in said and "export TOKEN=..." in said
    assert "alice/projects/p/1" in said and "this is a dry run" in said, "the rest is shown all the same"
    assert not box.store.exists(contract.job_key("p", 1))
    box.environment["TOKEN"] = VALUE
    said = box.swatch("run", "-f", "--secret", "TOKEN", "--env-var", "LR=0.1", 'echo "$LR $TOKEN"; test -n "$TOKEN"')
    assert "0.1 ***" in said
    shown = said + box.swatch("info", "p/1") + box.swatch("logs", "p/1") + box.swatch("status", "p")
    assert "s3cr3t" not in shown + everything(box.home) + everything(box.folder)
    assert files(box) == []
