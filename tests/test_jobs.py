"""Jobs on this machine, for real: agents, commands, signals, the queue. Nothing sleeps: tests wait on named pipes, on
the journal's stream (`logs -f`) and on commands that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import facts, leash
from orchestrator.backends.base import Presence
from orchestrator.backends.local import LocalBackend
from orchestrator.errors import SwatchError
from orchestrator.job import Job
from tests.conftest import Box


def indent(command: str) -> str:
    return "\n".join(f"  {line}" for line in command.splitlines())


def write(box: Box, command: str, name: str = "try", more: str = "") -> str:
    """A manifest with this command, called `name`."""
    return box.manifest(f"name: {name}\n{more}\ncommand: |\n{indent(command)}\n", f"{name}.yaml")


class Stream:
    """The journal's events as they come."""

    def __init__(self, box: Box, name: str) -> None:
        self.process = box.start("logs", name, "-f", "--json")
        self.seen: list[dict[str, Any]] = []

    def until(self, **wanted: object) -> dict[str, Any]:
        """The next event with these fields; waits for it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            self.seen.append(event)
            if all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"the journal ended without {wanted}: {self.seen}")

    def text(self, start: str) -> str:
        """The rest of the next log line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.seen.append(event)
            if event["kind"] == "log" and event["text"].startswith(start):
                return str(event["text"][len(start) :]).strip()
        raise AssertionError(f"the journal ended without {start!r}: {self.seen}")

    def end(self) -> int:
        self.process.communicate()
        return self.process.returncode


def state(box: Box, name: str) -> str:
    (job,) = box.json("status", name)["jobs"]
    return str(job["state"])


def test_a_command_gets_its_code_its_folders_and_its_outputs_come_home(box: Box) -> None:
    (box.folder / "tool.sh").write_text("#!/bin/sh\necho from-tool\n")
    (box.folder / "tool.sh").chmod(0o755)
    command = """
./tool.sh > /output/tool.txt
pwd > "$SWATCH_OUTPUT_DIR/pwd.txt"; echo "$SWATCH_CODE_DIR" >> /output/pwd.txt
mkdir /output/deep
echo "$SWATCH $FLOYDHUB $PYTHONUNBUFFERED $SWATCH_JOB" > /output/deep/env.txt
printf '%s\\n' '$HOME "quoted" \\n byte for byte'
"""
    manifest = write(box, command)
    box.swatch("submit", manifest, "--watch")
    home = box.folder / "outputs" / "try" / "try"
    assert (home / "tool.txt").read_text() == "from-tool\n"
    first, second = (home / "pwd.txt").read_text().split()
    assert first == second
    assert (home / "deep" / "env.txt").read_text() == "1 1 1 alice/projects/try/1\n"
    assert '$HOME "quoted" \\n byte for byte' in box.swatch("logs", "try/1")


def test_a_failing_command_says_why_and_is_retried_only_when_asked(box: Box) -> None:
    manifest = write(box, "echo to-stderr >&2; echo kept > /output/kept.txt; exit 3")
    said = box.swatch("submit", manifest, "--watch", code=1)
    assert "exit code 3: to-stderr" in said
    assert (box.folder / "outputs/try/try/kept.txt").read_text() == "kept\n"
    assert "exit code 3" in box.swatch("status", "try")
    assert box.json("plan", manifest)["counts"] == {"failed": 1}
    assert "Nothing to start" in box.swatch("submit", manifest)
    assert box.json("plan", manifest, "--retry-failed")["counts"] == {"new": 1}
    box.swatch("submit", manifest, "--retry-failed", "--watch", code=1)
    assert [job["number"] for job in box.json("status", "try")["jobs"]] == [2, 1]


def test_the_policy_retries_by_itself(box: Box) -> None:
    marker = box.home.parent / "tried"
    manifest = write(box, f"test -e {marker} && exit 0; touch {marker}; exit 1", more="retries: 1")
    box.swatch("submit", manifest, "--watch")
    assert [job["state"] for job in box.json("status", "try")["jobs"]] == ["success", "failed"]


def test_outputs_ship_while_they_are_made_but_never_half(box: Box) -> None:
    pipe = box.pipe("gate")
    command = f"""
exec 3> /output/slow.png
printf half >&3
printf whole > /output/quick.png
cat {pipe}
printf rest >&3
exec 3>&-
"""
    manifest = write(box, command)
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    stream.until(kind="file", path="quick.png")
    # Both were there in every scan, slow.png was the first: had it been taken for whole, it would be in the store.
    assert not box.store.exists("projects/try/jobs/1/output/slow.png")
    box.swatch("sync", "try")
    home = box.folder / "outputs/try/try"
    assert (home / "quick.png").read_text() == "whole"
    assert not (home / "slow.png").exists()
    pipe.write_text("")
    stream.until(kind="file", path="slow.png")
    assert stream.end() == 0
    assert box.store.read("projects/try/jobs/1/output/slow.png") == b"halfrest"


def test_links_and_unusable_names_are_not_output(box: Box) -> None:
    secret = box.home.parent / "secret"
    secret.write_text("secret")
    manifest = write(
        box, f"ln -s {secret} /output/link; printf x > \"$(printf '/output/a\\nb')\"; printf y > /output/c.part"
    )
    box.swatch("submit", manifest, "--watch")
    assert box.json("output", "try/1")["files"] == []
    assert "not kept" in box.swatch("logs", "try/1")


def test_stop_reaches_the_command_and_keeps_what_it_made(box: Box) -> None:
    pipe = box.pipe("gate")
    command = f"trap 'echo bye > /output/bye.txt; exit 0' TERM; echo ready; cat {pipe} & wait"
    manifest = write(box, command)
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    stream.text("ready")
    box.swatch("stop", "try/1")
    assert stream.end() == 1
    assert state(box, "try/1") == "shutdown"
    box.swatch("sync", "try")
    assert (box.folder / "outputs/try/try/bye.txt").read_text() == "bye\n"
    assert "ended already" in box.swatch("stop", "try/1", code=1)
    assert box.json("plan", manifest)["counts"] == {"new": 1}, "what a person stopped, a person may start again"


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(box: Box) -> None:
    box.environment["SWATCH_STOP_GRACE"] = "0.2"
    pipe = box.pipe("gate")
    manifest = write(box, f"trap '' TERM; echo ready; while true; do cat {pipe}; done")
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    stream.text("ready")
    box.swatch("stop", manifest)
    stream.end()
    (job,) = box.json("status", "try/1")["jobs"]
    assert job["state"] == "shutdown"
    assert box.json("info", "try/1")["final"]["exit_code"] == -signal.SIGKILL


def test_max_runtime_ends_in_timeout(box: Box) -> None:
    pipe = box.pipe("gate")
    manifest = write(box, f"echo made > /output/made.txt; cat {pipe}", more="max_runtime: 1s")
    box.swatch("submit", manifest, "--watch", code=1)
    assert state(box, "try/1") == "timeout"
    assert (box.folder / "outputs/try/try/made.txt").read_text() == "made\n"


def test_what_the_command_left_running_ends_with_it(box: Box) -> None:
    pipe = box.pipe("gate")
    manifest = write(box, f"cat {pipe} & echo child $!")
    box.swatch("submit", manifest, "--watch")
    child = int(box.swatch("logs", "try/1").partition("child ")[2].split()[0])
    assert not alive(child)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def agent_of(pid: int) -> int:
    """The agent above a process of its command, which may stand in a sandbox."""
    while b"job_image.agent" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pid = parent(pid)
    return pid


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


RESUMABLE = """
echo agent $PPID
if test -f "$SWATCH_CHECKPOINT_DIR/half"; then
  echo resumed > /output/how.txt
else
  touch "$SWATCH_CHECKPOINT_DIR/half"
  echo ready $$
  cat {pipe}
fi
"""


def test_kill_the_agent_and_a_retry_resumes_from_the_checkpoint(box: Box) -> None:
    manifest = write(box, RESUMABLE.format(pipe=box.pipe("gate")))
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    agent = agent_of(int(stream.text("agent")))
    orphan = int(stream.text("ready"))
    os.kill(parent(agent), signal.SIGKILL)  # else the runner ends what its agent left
    os.kill(agent, signal.SIGKILL)
    assert stream.end() == 1
    (job,) = box.json("status", "try/1")["jobs"]
    assert (job["state"], job["lost"]) == ("failed", True)
    assert "lost" in box.swatch("status", "try")
    assert "goes on from its last checkpoint" in box.swatch("info", "try/1")
    assert alive(orphan), "the command outlived its agent"
    assert box.json("plan", manifest)["counts"] == {"lost": 1}
    assert "Resumed try/1" in box.swatch("submit", manifest, "--watch")
    assert (box.folder / "outputs/try/try/how.txt").read_text() == "resumed\n"
    assert not alive(orphan), "and must not write beside the next attempt"
    (job,) = box.json("status", "try")["jobs"]
    assert (job["state"], job["attempts"]) == ("success", 2)


@pytest.mark.parametrize("runner", [True, False], ids=["with its runner", "without"])
def test_a_command_that_lost_its_agent_is_ended_and_why_it_was_lost_is_kept(box: Box, runner: bool) -> None:
    box.swatch("submit", write(box, RESUMABLE.format(pipe=box.pipe("gate"))))
    stream = Stream(box, "try/1")
    agent = agent_of(int(stream.text("agent")))
    orphan = int(stream.text("ready"))
    if not runner:
        os.kill(parent(agent), signal.SIGKILL)
    os.kill(agent, signal.SIGKILL)
    assert stream.end() == 1
    assert alive(orphan) is not runner, "the runner ends what its agent left"
    box.swatch("stop", "try/1")
    assert not alive(orphan), "and so does a stop"
    (job,) = box.json("status", "try/1")["jobs"]
    assert job["state"] == "shutdown" and "lost" in job["reason"]


def test_a_watched_job_that_is_lost_is_taken_up_again_by_itself(box: Box) -> None:
    manifest = write(box, RESUMABLE.format(pipe=box.pipe("gate")))
    watch = box.start("submit", manifest, "--watch")
    assert watch.stdout is not None
    for line in watch.stdout:
        if "Started" in line:
            break
    stream = Stream(box, "try/1")
    agent = agent_of(int(stream.text("agent")))
    stream.text("ready")
    os.kill(agent, signal.SIGKILL)
    watch.communicate()
    assert watch.returncode == 0
    stream.end()
    assert (box.folder / "outputs/try/try/how.txt").read_text() == "resumed\n"


def test_kill_everything_at_once_as_a_reboot_does(box: Box) -> None:
    pipe = box.pipe("gate")
    first = write(box, RESUMABLE.format(pipe=pipe), "first")
    second = write(box, "echo second > /output/s.txt", "second")
    box.swatch("submit", first)
    box.swatch("submit", second)
    stream = Stream(box, "first/1")
    agent = agent_of(int(stream.text("agent")))
    command = int(stream.text("ready"))
    runner = parent(agent)
    for pid in (runner, agent, command):
        os.kill(pid, signal.SIGKILL)
    assert stream.end() == 1
    (job,) = box.json("status", "first")["jobs"]
    assert job["lost"]
    assert state(box, "second/1") == "queued"
    box.swatch("watch", "second")  # wakes the queue
    assert (box.folder / "outputs/second/second/s.txt").read_text() == "second\n"
    box.swatch("submit", first, "--watch")
    assert (box.folder / "outputs/first/first/how.txt").read_text() == "resumed\n"


def test_kill_the_watching_terminal_and_another_takes_up(box: Box) -> None:
    pipe = box.pipe("gate")
    manifest = write(box, f"echo ready; cat {pipe} > /output/told.txt")
    watch = box.start("submit", manifest, "--watch", start_new_session=True)
    assert watch.stdout is not None
    for line in watch.stdout:
        if "running" in line:
            break
    os.killpg(watch.pid, signal.SIGKILL)
    watch.communicate()
    assert state(box, "try/1") == "running"
    assert box.json("plan", manifest)["counts"] == {"running": 1}
    assert "Nothing to start" in box.swatch("submit", manifest), "what runs is adopted"
    other = box.start("watch")
    pipe.write_text("on and on")
    err = other.communicate()[1]
    assert other.returncode == 0, err
    assert (box.folder / "outputs/try/try/told.txt").read_text() == "on and on"


def test_kill_the_runner_and_agent_and_queue_go_on(box: Box) -> None:
    pipe = box.pipe("gate")
    first = write(box, f"echo agent $PPID; cat {pipe}", "first")
    second = write(box, "echo second > /output/s.txt", "second")
    box.swatch("submit", first)
    box.swatch("submit", second)
    stream = Stream(box, "first/1")
    agent = agent_of(int(stream.text("agent")))
    os.kill(parent(agent), signal.SIGKILL)
    assert state(box, "first/1") == "running"
    watch = box.start("watch", "second")
    assert state(box, "second/1") == "queued", "the agent still has the slot"
    pipe.write_text("")
    assert stream.end() == 0
    assert watch.wait() == 0, "whoever watches keeps the queue going"
    watch.communicate()
    assert state(box, "second/1") == "success"


def test_one_slot_runs_one_job_two_slots_two(box: Box) -> None:
    gates = [box.pipe("gate1"), box.pipe("gate2")]
    for number, gate in enumerate(gates, 1):
        write(box, f"echo ready; cat {gate}", f"job{number}")
    box.swatch("submit", "job1.yaml")
    box.swatch("submit", "job2.yaml")
    one = Stream(box, "job1/1")
    one.text("ready")
    assert state(box, "job2/1") == "queued"
    box.swatch("submit", "job2.yaml", "--slots", "2")  # adopts, and wakes a second runner
    two = Stream(box, "job2/1")
    two.text("ready")
    assert state(box, "job1/1") == "running"
    for gate in gates:
        gate.write_text("")
    assert (one.end(), two.end()) == (0, 0)


def test_a_stopped_job_in_the_queue_never_runs(box: Box) -> None:
    pipe = box.pipe("gate")
    first = write(box, f"echo ready; cat {pipe}", "first")
    second = write(box, "touch /output/ran", "second")
    box.swatch("submit", first)
    box.swatch("submit", second)
    stream = Stream(box, "first/1")
    stream.text("ready")
    assert "stopped" in box.swatch("stop", "second")
    assert state(box, "second/1") == "shutdown"
    third = write(box, "true", "third")
    box.swatch("submit", third)
    pipe.write_text("")
    stream.end()
    box.swatch("watch", "third")
    assert box.json("output", "second/1")["files"] == []
    assert state(box, "second/1") == "shutdown"


def test_two_submits_at_once_make_one_job(box: Box) -> None:
    manifest = write(box, "true")
    both = [box.start("submit", manifest, "--watch") for _ in range(4)]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
    assert [job["number"] for job in box.json("status", "try")["jobs"]] == [1]


@pytest.mark.slow
def test_twenty_at_once_have_twenty_numbers(box: Box) -> None:
    for number in range(20):
        (box.folder / f"m{number}.yaml").write_text(f"name: try\ncommand: echo {number}\n")
    all_of_them = [box.start("submit", f"m{number}.yaml") for number in range(20)]
    for process in all_of_them:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
    box.swatch("watch", "try")
    jobs = box.json("status", "try")["jobs"]
    assert sorted(job["number"] for job in jobs) == list(range(1, 21))
    assert len({box.json("info", f"try/{job['number']}")["job"]["command"] for job in jobs}) == 20


def test_only_what_changed_runs(box: Box) -> None:
    text = "name: try\ncommand: echo {lr} > /output/lr.txt\nmatrix:\n  lr: [%s]\n"
    box.swatch("submit", box.manifest(text % "1, 2"), "--watch")
    again = box.json("submit", box.manifest(text % "1, 2"))
    assert (again["counts"], again["started"]) == ({"cached": 2}, [])
    changed = box.json("submit", box.manifest(text % "1, 3"))
    assert (changed["counts"], len(changed["started"])) == ({"cached": 1, "new": 1}, 1)
    box.swatch("watch", "try.yaml")
    assert {path.read_text() for path in box.folder.glob("outputs/try/*/lr.txt")} == {"1\n", "2\n", "3\n"}
    (box.folder / "new.py").write_text("print()")
    assert box.json("plan", "try.yaml")["counts"] == {"new": 2}, "other code, other outcome"


def test_what_another_project_has_finished_is_not_made_again(box: Box) -> None:
    box.swatch("submit", box.manifest("name: one\ncommand: echo hi > /output/hi.txt\n"), "--watch")
    assert box.json("submit", box.manifest("name: two\ncommand: echo hi > /output/hi.txt\n"))["started"] == []
    assert (box.folder / "outputs/two/two/hi.txt").read_text() == "hi\n"


def test_data_is_mounted_read_only(box: Box) -> None:
    (box.folder / "weights").mkdir()
    (box.folder / "weights" / "w.txt").write_text("42")
    (box.folder / "code").mkdir()
    more = 'code: code\ndata: ["./weights:vgg_weights"]'
    command = """
cat /vgg_weights/w.txt > /output/one.txt; cat /floyd/input/vgg_weights/w.txt > /output/two.txt
ls -ldL /vgg_weights /vgg_weights/w.txt | cut -c1-10 > /output/modes.txt
"""
    box.swatch("submit", write(box, command, more=more), "--watch")
    home = box.folder / "outputs/try/try"
    assert (home / "one.txt").read_text() == (home / "two.txt").read_text() == "42"
    assert (home / "modes.txt").read_text().split() == [
        "dr-xr-xr-x",
        "-r--r--r--" if os.geteuid() == 0 else "-r--------",
    ]
    assert not list(box.home.glob("work/*/*/*")), "the job's folders are gone, read-only ones too"


def test_a_submission_cut_short_is_completed_by_the_next(box: Box) -> None:
    """The record is there, nothing else: as if the first submit had been killed right after."""
    manifest = write(box, "echo hi > /output/hi.txt")
    first = box.json("submit", manifest)
    assert first["started"] == ["alice/projects/try/1"]
    box.swatch("watch", "try")
    record = box.store.read("projects/try/jobs/1/job.json")
    for path in sorted(box.store.root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    box.store.create("projects/try/jobs/1/job.json", record)
    assert "cut short" in box.swatch("status", "try")
    assert box.json("submit", manifest)["resumed"] == ["alice/projects/try/1"]
    box.swatch("watch", "try")
    assert state(box, "try/1") == "success"


def test_a_launch_cut_short_leaves_nothing_that_seems_to_wait(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.swatch("submit", write(box, "true"), "--watch")
    job = facts.read_job(box.store, "try", 1)
    backend = box.backend()

    def killed(self: Path, to: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            backend.launch([job])
    assert backend.presence(job) is Presence.GONE, "so the next launch has it run"


def test_a_full_disk_is_said_and_nothing_is_lost(box: Box) -> None:
    place = box.home.parent / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system (root)")
    box.environment["SWATCH_STORE"] = str(place)
    try:
        manifest = write(box, "echo small > /output/a.txt; head -c 400000 /dev/zero > /output/big.bin")
        said = box.swatch("submit", manifest, "--watch", code=1)
        assert "The disk is full" in said
        assert (box.folder / "outputs/try/try/a.txt").read_text() == "small\n"
        assert not (box.folder / "outputs/try/try/big.bin").exists()
    finally:
        subprocess.run(["umount", place], check=True)


def test_an_agent_that_cannot_even_start_is_said_and_not_tried_for_ever(box: Box) -> None:
    broken = box.home.parent / "broken" / "job_image"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('the agent is broken')")
    box.environment["PYTHONPATH"] = f"{broken.parent}:{box.environment['PYTHONPATH']}"
    said = box.swatch("submit", write(box, "true"), "--watch", code=1)
    assert "the agent is broken" in said
    (job,) = box.json("status", "try")["jobs"]
    assert (job["lost"], job["attempts"]) == (True, 3)


def test_a_damaged_queue_entry_does_not_hold_the_others_up(box: Box) -> None:
    backend = box.backend()
    backend.layout.make()
    (backend.layout.queue / "00000000000000000000-x-try-1").write_text("no entry")
    box.swatch("submit", write(box, "true"), "--watch")
    assert state(box, "try/1") == "success"


def test_outputs_that_came_home_beside_the_code_are_no_code(box: Box) -> None:
    manifest = write(box, "echo made > /output/made.txt")
    box.swatch("submit", manifest, "--watch", "--into", "results")
    assert box.json("plan", manifest)["counts"] == {"cached": 1}


def test_a_second_entry_of_one_job_leaves_the_agent_at_work_alone(box: Box) -> None:
    box.environment["SWATCH_SLOTS"] = "2"
    pipe = box.pipe("gate")
    manifest = write(box, f"echo ready; cat {pipe}; echo made > /output/made.txt")
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    stream.text("ready")
    local = box.home / "local"
    (entry,) = (local / "running").iterdir()
    (local / "queue" / f"9{entry.name[1:]}").write_bytes(entry.read_bytes())
    again = subprocess.run(
        [sys.executable, "-m", "orchestrator.backends.runner", "--home", str(box.home), "--slots", "2"],
        env=box.environment,
        check=False,
    )
    assert again.returncode == 0
    assert list((local / "queue").iterdir()) == []
    pipe.write_text("")
    assert stream.end() == 0
    assert state(box, "try/1") == "success"


def test_launching_twice_at_once_queues_once(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second launch comes just when the first has found that nobody has the job."""
    job = Job(project="try", number=1, user="alice", created=1.0, command="true", host=box.backend().host)
    second = threading.Thread(target=lambda: box.backend().launch([job]))
    look = LocalBackend.presence

    def interrupted(self: LocalBackend, job: Job) -> Presence:
        found = look(self, job)
        if second.ident is None:
            second.start()
            second.join(0.5)  # it must wait for the first; were it let through, it would be done long before
        return found

    monkeypatch.setattr(LocalBackend, "wake", lambda self: None)
    monkeypatch.setattr(LocalBackend, "presence", interrupted)
    box.backend().launch([job])
    second.join()
    assert len(list((box.home / "local" / "queue").iterdir())) == 1


def test_a_daemon_that_a_command_leaves_behind_does_not_hold_its_job(box: Box) -> None:
    pipe = box.pipe("gate")
    daemon = "import os, sys; os.setsid(); open(sys.argv[1], 'w').close(); open(sys.argv[2]).read()"
    ready = box.home.parent / "ready"
    command = f'python3 -c "{daemon}" {ready} {pipe} &\nuntil test -e {ready}; do :; done\necho made > /output/made.txt'
    box.swatch("submit", write(box, command), "--watch")
    assert (box.folder / "outputs/try/try/made.txt").read_text() == "made\n"
    pipe.write_text("")


def test_a_command_that_cannot_be_started_has_failed(box: Box) -> None:
    said = box.swatch("submit", write(box, "true {x}", more=f"matrix: {{x: [{'x' * 200_000}]}}"), "--watch", code=1)
    assert "could not be started" in said
    assert box.json("status", "try")["jobs"][0]["attempts"] == 1


def test_an_output_folder_replaced_by_a_link_is_not_followed(box: Box) -> None:
    box.environment["SWATCH_BWRAP"] = "0"
    secret = box.home.parent / "secret"
    (secret / "deep").mkdir(parents=True)
    (secret / "deep" / "key").write_text("secret")
    (secret / "deep").chmod(0o700)
    manifest = write(box, f'rm -r "$SWATCH_OUTPUT_DIR"; ln -s {secret} "$SWATCH_OUTPUT_DIR"')
    assert "replaced by a link" in box.swatch("submit", manifest, "--watch", code=1)
    assert box.json("output", "try/1")["files"] == []
    assert (secret / "deep" / "key").read_text() == "secret"
    assert (secret / "deep").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_shipped_holds_nothing_else_up_and_stays_on_the_machine(box: Box) -> None:
    (box.store.root / "projects/try/jobs/1/output/a").mkdir(parents=True)  # no file can have this name now
    manifest = write(box, "echo big > /output/a; echo small > /output/b; echo last > /output/c")
    said = box.swatch("submit", manifest, "--watch", code=1)
    assert "outputs could not be kept" in said
    home = box.folder / "outputs/try/try"
    assert (home / "b").read_text() == "small\n"
    assert (home / "c").read_text() == "last\n"
    (left,) = box.home.glob("work/*/try/1/output/a")
    assert str(left.parent.parent) in said
    assert left.read_text() == "big\n"


def test_a_process_that_outlives_its_agent_unknown_is_an_error_not_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent was killed before it could write whose lock that is."""
    monkeypatch.setattr(leash, "ORPHAN_WAIT", 0.1)
    held = leash.lock(tmp_path / "command.lock")
    with pytest.raises(SwatchError, match="still runs"):
        leash.end_orphan(tmp_path)
    assert held is not None
    held.close()
    leash.end_orphan(tmp_path)


def test_a_job_that_cannot_have_its_folder_is_said_and_the_queue_goes_on(box: Box) -> None:
    box.swatch("submit", write(box, "true", "fine"), "--watch")
    (box.home / "local" / "queue" / "0-damaged").write_text("{")
    (store,) = (box.home / "work").iterdir()
    (store / "try").write_text("a file where a folder must be")
    said = box.swatch("submit", write(box, "true"), "--watch", code=1)
    assert "could not be started" in said
    assert box.json("status", "try")["jobs"][0]["attempts"] == 3
    box.swatch("submit", write(box, "true", "other"), "--watch")


def test_what_cannot_be_brought_home_is_said_whoever_brings_it(box: Box) -> None:
    manifest = write(box, "echo made > /output/made.txt")
    (box.folder / "outputs").mkdir()
    (box.folder / "outputs" / "try").write_text("a file where a folder must be")
    for words in (("submit", manifest, "--watch"), ("submit", manifest), ("watch", "try"), ("sync", "try")):
        assert "try/made.txt" in box.swatch(*words, code=1), words


def test_a_flood_of_log_is_cut_and_said(box: Box) -> None:
    box.swatch("submit", write(box, "yes | head -n 300000"), "--watch")
    said = box.swatch("logs", "try/1")
    assert "lines left out here" in said
    assert len(said.splitlines()) < 200_000


def test_a_job_of_a_computer_that_is_gone_can_be_ended(box: Box) -> None:
    box.environment["SWATCH_STOP_GRACE"] = "600"
    pipe = box.pipe("gate")
    manifest = write(box, f"trap '' TERM; echo ready; cat {pipe}")  # goes on, whatever is asked of it
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    stream.text("ready")
    here, box.environment["SWATCH_STORE"] = box.home, str(box.store.root)
    box.environment["SWATCH_HOME"] = str(box.home.parent / "another")
    assert "on another computer" in box.swatch("status", "try")
    assert box.json("plan", manifest)["counts"] == {"running": 1}
    assert "shutdown request submitted" in box.swatch("stop", "try/1")
    assert "try/1 stopped" in box.swatch("stop", "try/1", "--now")
    assert state(box, "try/1") == "shutdown"
    assert box.json("plan", manifest)["counts"] == {"new": 1}
    box.environment["SWATCH_HOME"] = str(here)
    assert stream.end() == 1
    pipe.write_text("")


def test_what_is_gone_from_the_store_is_said_and_made_anew_when_asked(box: Box) -> None:
    manifest = write(box, "echo made > /output/made.txt")
    box.swatch("submit", manifest, "--watch")
    (box.store.root / "projects/try/jobs/1/output/made.txt").unlink()
    (box.folder / "outputs/try/try/made.txt").unlink()
    assert "missing in the store" in box.swatch("submit", manifest, code=1)
    box.swatch("submit", manifest, "--retry-failed", "--watch")
    assert (box.folder / "outputs/try/try/made.txt").read_text() == "made\n"


def test_a_folder_holds_the_files_of_one_result(box: Box) -> None:
    """Wanted large, then small, then large again: what is at home is always what was wanted last."""
    text = "name: try\ncode: empty\ncommand: for i in $(seq %d); do echo %d > /output/$i.txt; done\n"
    (box.folder / "empty").mkdir()
    home = box.folder / "outputs/try/try"

    def names() -> list[str]:
        return sorted(path.name for path in home.iterdir())

    box.swatch("submit", box.manifest(text % (3, 1)), "--watch")
    assert names() == ["1.txt", "2.txt", "3.txt"]
    (home / "2.txt").write_text("mine")
    box.swatch("submit", box.manifest(text % (1, 2)), "--watch")
    assert names() == ["1.txt", "2.txt"], "an edited file stays"
    assert (home / "2.txt").read_text() == "mine"
    assert "all is made" in box.swatch("submit", box.manifest(text % (3, 1)))
    assert (home / "1.txt").read_text() == "1\n"
    box.swatch("sync", "try")
    box.swatch("watch", "try/2")
    assert (home / "1.txt").read_text() == "1\n", "looking at an older result does not bring it back"
    box.swatch("sync", "try/2", "--into", "older")
    assert (box.folder / "older/try/1.txt").read_text() == "2\n"


def test_an_edited_file_is_named(box: Box) -> None:
    box.swatch("submit", write(box, "echo made > /output/made.txt"), "--watch")
    made = box.folder / "outputs/try/try/made.txt"
    made.write_text("mine")
    assert "Kept, because you changed it: try/made.txt" in box.swatch("sync")
    made.unlink()
    assert "1 file brought" in box.swatch("sync")


def test_a_literal_output_folder_inside_a_program_is_explained(box: Box) -> None:
    box.environment["SWATCH_BWRAP"] = "0"
    (box.folder / "tool.py").write_text("open('/output/x.png', 'w')")
    said = box.swatch("submit", write(box, "python3 tool.py"), "--watch", code=1)
    assert "hand it to the program" in said
    assert "nothing was written to /output" in said


def test_a_signal_without_a_name_is_no_riddle(box: Box) -> None:
    said = box.swatch("submit", write(box, "kill -35 $$"), "--watch", code=1)
    assert "killed by signal 35" in said
