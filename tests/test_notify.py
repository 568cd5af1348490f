"""The end of a job, told (S16): a webhook and Slack on this computer, the bell, the desktop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import msgspec
import pytest

from orchestrator import contract, engine, facts, notice, notify, settings
from orchestrator.backends import vault
from orchestrator.backends.local import LocalBackend
from orchestrator.errors import UsageError
from orchestrator.job import Final, Job
from orchestrator.settings import Notify
from tests.conftest import Box
from tests.one_job import Bench


class Ear:
    """A web server that keeps what it is told, and answers as a test wants."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[int] = []
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ear.heard.append((self.path, json.loads(body)))
                self.send_response(ear.answers.pop(0) if ear.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{path}"

    @property
    def notify(self) -> Notify:
        return Notify(webhook=self.address("hook-s3cr3t"), slack=self.address("slack-s3cr3t"))


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    monkeypatch.setattr(notice, "PAUSE", 0.0)
    found = Ear()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def bench(tmp_path: Path, ear: Ear) -> Bench:
    bench = Bench(tmp_path)
    vault.keep(tmp_path / "secrets", ear.notify.addresses)
    bench.options += ["--secrets", str(tmp_path / "secrets")]
    return bench


def test_s16_the_agent_tells_the_end_once_at_each_address(bench: Bench, ear: Ear) -> None:
    command = """echo '{"metric": "loss", "value": 0.25}'; echo '{"metric": "acc", "value": 1}'; echo "$SWATCH_NOTIFY_SLACK"; exit 3"""
    final = bench.run(command, hourly=3600.0, machine="gpu", description="a <b> & c")
    (hook, data), (slack, shown) = ear.heard
    assert (hook, slack) == ("/hook-s3cr3t", "/slack-s3cr3t")
    assert data == {
        "schema": 1,
        "id": f"alice/projects/p/1@{final['ended']}",
        "job": "alice/projects/p/1",
        "project": "p",
        "number": 1,
        "description": "a <b> & c",
        "machine": "gpu",
        "backend": "local",
        "state": "failed",
        "reason": 'exit code 3: {"metric": "acc", "value": 1}',
        "seconds": final["seconds"],
        "usd": round(final["seconds"], 4),
        "metrics": {"loss": 0.25, "acc": 1},
        "command": "swatch info p/1",
    }
    assert shown["text"] == "Job alice/projects/p/1 finished with state failed"
    (attachment,) = shown["attachments"]
    fields = {field["title"]: field["value"] for field in attachment["fields"]}
    assert [*fields] == ["Status", "Instance Type", "Duration", "Cost", "Description", "acc", "loss", "Look"]
    assert (fields["Instance Type"], fields["acc"], fields["loss"]) == ("gpu", "1", "0.25")
    assert fields["Description"] == "a &lt;b&gt; &amp; c", "what a job says is no markup of Slack's"
    assert attachment["color"] == "danger"
    bench.finish(1, bench.start(1))
    assert len(ear.heard) == 2, "an agent that comes too late tells nothing"
    everything = "".join(file.read_text(errors="replace") for file in bench.store.root.rglob("*") if file.is_file())
    assert "s3cr3t" not in everything, "and the addresses are in no record"


@pytest.mark.parametrize(
    ("answers", "heard", "noted"),
    [([500, 503], 4, ""), ([500, 500, 500], 4, "the address answers 500"), ([404], 2, "the address answers 404")],
)
def test_s16_an_address_that_fails_is_tried_three_times_and_changes_nothing(
    bench: Bench, ear: Ear, answers: list[int], heard: int, noted: str
) -> None:
    ear.answers = answers
    assert bench.run("true")["state"] == "success"
    assert len(ear.heard) == heard
    told = [line for line in bench.log(1) if "could not be told" in line]
    assert told == ([f"the end of the job could not be told: {noted}"] if noted else [])


def test_s16_an_address_where_nobody_listens_is_a_note(bench: Bench, ear: Ear) -> None:
    ear.server.server_close()
    ear.server.shutdown()
    assert bench.run("true")["state"] == "success"
    assert bench.log(1).count("the end of the job could not be told: Connection refused") == 2


def test_s16_an_address_where_something_else_answers_is_a_note(bench: Bench) -> None:
    class Other(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(b"220 mail.example ESMTP\r\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        vault.keep(bench.folder / "secrets", {contract.WEBHOOK: address})
        agent = bench.start(bench.record("true"))
        agent.communicate()
        server.shutdown()
    assert agent.returncode == 0, "the job has ended well all the same"
    assert "the end of the job could not be told: BadStatusLine" in bench.log(1)


def test_s16_a_job_that_ends_without_an_agent_is_told_by_who_ends_it(
    box: Box, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalBackend, "wake", lambda self: None)
    backend = LocalBackend(box.store.url, box.home, 1, ear.notify)
    job = Job(project="p", number=1, user="alice", created=1.0, command="true", host=backend.host)
    box.store.create(contract.job_key("p", 1), msgspec.json.encode(job))
    backend.launch([job])
    ear.answers = [400]
    engine.stop(box.store, backend, facts.see_all(box.store, backend, "p"))
    assert [(path, data.get("state")) for path, data in ear.heard] == [
        ("/hook-s3cr3t", "shutdown"),
        ("/slack-s3cr3t", None),
    ]
    assert not list((box.home / "local" / "secrets").glob("*"))
    said = box.swatch("logs", "p/1")
    assert "could not be told: the address answers 400" in said
    engine.stop(box.store, backend, facts.see_all(box.store, backend, "p"))
    words = [sys.executable, "-m", "orchestrator.backends.runner", "--home", str(box.home), "--slots", "1"]
    subprocess.run(words, env=box.environment, check=True)
    assert len(ear.heard) == 2


def test_s16_addresses_of_config_yaml_reach_the_job(box: Box, ear: Ear) -> None:
    box.home.mkdir()
    (box.home / "config.yaml").write_text(f"notify:\n  webhook: {ear.address('mine')}\n")
    box.swatch("submit", box.manifest("name: try\ncommand: echo hello\n"))
    box.swatch("watch", "try")
    while not ear.heard:  # the final record stands before the word is out
        pass
    ((path, data),) = ear.heard
    assert (path, data["state"], data["job"]) == ("/mine", "success", "alice/projects/try/1")


def test_what_slack_shows_of_states_costs_and_times() -> None:
    job = {"user": "a", "project": "p", "number": 1}
    for state, colour in (("success", "good"), ("failed", "danger"), ("timeout", "warning"), ("shutdown", "warning")):
        shown = notice.slack(job, {"state": state, "ended": 1.0})
        assert shown["attachments"][0]["color"] == colour
        assert {"title": "Cost", "value": "unknown", "short": True} in shown["attachments"][0]["fields"]
    assert [notice.duration(seconds) for seconds in (0, 59.9, 3600, 3725, 90061)] == [
        *("0 s", "59 s", "1 h", "1 h 2 min 5 s", "25 h 1 min 1 s")
    ]
    assert notice.usd({"hourly": 1.5}, {"seconds": 1800}) == 0.75


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("webhook: ftp://x", "notify.webhook"),
        ("slack: hooks.slack.com", "notify.slack"),
        ("bell: 7", "bell"),
        ("mail: x", "mail"),
    ],
)
def test_what_is_wrong_in_config_yaml_is_said(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(f"notify:\n  {line}\n")
    with pytest.raises(UsageError, match=said):
        settings.load(environment={"SWATCH_HOME": str(tmp_path)})


# The bell


def desktop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    (folder / "notify-send").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/shown\n')
    (folder / "notify-send").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "shown"


def test_s16_the_desktop_shows_it_and_no_shell_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = desktop(tmp_path / "bin", monkeypatch)
    notify.ring(Notify(), "nobody asked")
    assert not shown.exists()
    notify.ring(Notify(bell=True), "--forest $(touch /tmp/x): 3 success")
    assert shown.read_text().splitlines() == [
        "--app-name=Swatch",
        "--",
        "Swatch",
        "--forest $(touch /tmp/x): 3 success",
    ]


def test_s16_a_mac_gets_the_text_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "osascript").write_text("#!/bin/sh\n")
    (tmp_path / "osascript").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    words = notify.desktop('text" & quit', "title")
    assert words[-2:] == ['text" & quit', "title"]
    assert not any("quit" in word for word in words[:-2])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert notify.desktop("text", "title") == []


def test_s16_watching_rings_at_the_end(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = desktop(tmp_path / "bin", monkeypatch)
    box.environment["PATH"] = os.environ["PATH"]
    box.home.mkdir()
    (box.home / "config.yaml").write_text("notify:\n  bell: true\n")
    box.swatch("submit", box.manifest("name: try\ncommand: echo hello\n"))
    box.swatch("watch", "try")
    assert shown.read_text().splitlines()[-1] == "try: 1 success"
    box.swatch("submit", box.manifest("name: other\ncommand: exit 3\n"), "--watch", code=1)
    assert shown.read_text().splitlines()[-1] == "other: 1 failed"
    box.swatch("init", "third")
    box.swatch("run", "true", "-f")
    assert shown.read_text().splitlines()[-1] == "third/1: 1 success"


def test_final_records_of_both_sides_can_be_told() -> None:
    job = msgspec.to_builtins(Job(project="p", number=1, user="a", created=1.0, command="true"))
    final = msgspec.to_builtins(Final(state="failed", ended=2.0, metrics={"x": 1e-9}))
    assert json.loads(json.dumps(notice.webhook(job, final)))["usd"] is None
    assert {"title": "x", "value": "1e-09", "short": True} in notice.slack(job, final)["attachments"][0]["fields"]
