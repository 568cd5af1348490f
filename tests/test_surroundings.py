"""What a command finds around it (M5): both eras of paths, with and without bubblewrap, and what is kept of its work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from job_image.harvest import Harvest, look
from job_image.places import Places
from job_image.sandbox import bindings
from orchestrator import contract, journal
from orchestrator.job import Job, Mount
from orchestrator.store.local import LocalStore
from tests.conftest import Box
from tests.one_job import Bench
from tests.test_jobs import Stream, agent_of, alive, parent, state, write


def works() -> bool:
    """Whether bubblewrap may do here what it is for."""
    found = shutil.which("bwrap")
    words = [str(found), "--dev-bind", "/", "/", "true"]
    return found is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0


real = pytest.mark.skipif(not works(), reason="needs bubblewrap, and the right to use it")
both = pytest.mark.parametrize("wrapped", [pytest.param("1", marks=real), "0"])


def home(box: Box) -> Path:
    return box.folder / "outputs" / "try" / "try"


@both
def test_m5_commands_of_both_eras_find_their_paths(box: Box, wrapped: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    (box.folder / "weights").mkdir()
    (box.folder / "weights" / "w.txt").write_text("weights")
    command = """
for path in /weights /floyd/input/weights "$SWATCH_DATA_DIR/weights"; do cat $path/w.txt; done > /output/weights.txt
ls /input > /output/input.txt
test "$(pwd)" = "$SWATCH_CODE_DIR" && cd /floyd/home && test "$(pwd)" = "$SWATCH_CODE_DIR" && ls "$SWATCH_CODE_DIR" > /output/ls.txt
echo "$FLOYDHUB $SWATCH $PYTHONUNBUFFERED $SWATCH_OUTPUT_DIR" > "$SWATCH_OUTPUT_DIR/env.txt"
for folder in "$SWATCH_INPUT_DIR" "$SWATCH_OUTPUT_DIR" "$SWATCH_CHECKPOINT_DIR" /floyd/home; do touch "$folder/x.tmp" || exit 1; done
"""
    (box.folder / "code").mkdir()
    (box.folder / "code" / "a.py").write_text("")
    box.swatch("submit", write(box, command, more='code: code\ndata: ["./weights:weights"]'), "--watch")
    assert (home(box) / "weights.txt").read_text() == "weights" * 3
    assert (home(box) / "ls.txt").read_text() == "a.py\n"
    said = (home(box) / "env.txt").read_text().split()
    assert said[:3] == ["1", "1", "1"]
    assert (said[3] == "/output") is (wrapped == "1")


@real
def test_m5_a_program_with_literal_paths_runs_untouched(box: Box) -> None:
    (box.folder / "weights").mkdir()
    (box.folder / "weights" / "w.txt").write_text("42")
    (box.folder / "code").mkdir()
    (box.folder / "code" / "tool.py").write_text(
        "import os\n"
        "assert os.getcwd() == '/floyd/home'\n"
        "found = [open(p + '/w.txt').read() for p in ('/weights', '/floyd/input/weights', '../input/weights')]\n"
        "open('/output/x.txt', 'w').write(' '.join(found))\n"
        "for path in ('/weights/new', '/floyd/input/weights/new'):\n"
        "    try:\n"
        "        open(path, 'w')\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    box.swatch("submit", write(box, "python3 tool.py", more='code: code\ndata: ["./weights:weights"]'), "--watch")
    assert (home(box) / "x.txt").read_text() == "42 42 42"
    assert box.swatch("logs", "try/1").count("Read-only file system") == 2, "mounts are read-only, even for root"
    assert not any(Path(path).exists() for path in ("/weights", "/floyd", "/output")), (
        "of this machine nothing is changed"
    )


@real
def test_a_file_that_is_missing_where_paths_are_real_needs_no_hint(box: Box) -> None:
    said = box.swatch("submit", write(box, "python3 -c \"open('/output/missing.txt')\""), "--watch", code=1)
    assert "No such file" in said and "hand it to the program" not in said


def test_m5_what_the_machine_has_at_a_place_of_the_job_is_hidden_and_nothing_else(tmp_path: Path) -> None:
    places = Places(tmp_path)
    words = bindings(places, ["data", "input"], ["bin", "output", "input", "floyd", "data", "tmp", "etc"])
    targets = [
        words[at + 2] for at, word in enumerate(words) if word in ("--bind", "--ro-bind", "--dev-bind", "--symlink")
    ]
    assert sorted(targets) == [
        *(
            "/bin",
            "/data",
            "/etc",
            "/floyd/home",
            "/floyd/input/data",
            "/floyd/input/input",
            "/input",
            "/output",
            "/tmp",
        ),
    ]
    assert str(places.input) not in words, "/input is the mount of that name"


@pytest.mark.parametrize("wrapped", ["1", "0"])
def test_m5_where_paths_are_not_real_the_journal_says_so_once(box: Box, tmp_path: Path, wrapped: str) -> None:
    """A bubblewrap that may not make its namespaces, as under Ubuntu's AppArmor."""
    box.environment["SWATCH_BWRAP"] = wrapped
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    box.environment["PATH"] = f"{tmp_path / 'bin'}:{box.environment['PATH']}"
    box.swatch("submit", write(box, "echo made > /output/a.txt"), "--watch")
    assert (home(box) / "a.txt").read_text() == "made\n"
    assert box.swatch("logs", "try/1").count("bubblewrap does not work here") == (wrapped == "1")


@both
def test_m5_sigterm_reaches_the_whole_group_which_writes_its_checkpoint(box: Box, wrapped: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    pipe = box.pipe("gate")
    command = f"""
sh -c 'trap "echo child > /output/child.txt; exit" TERM; echo child ready; cat {pipe} & wait' &
trap 'wait; echo saved > "$SWATCH_CHECKPOINT_DIR/c"; cp "$SWATCH_CHECKPOINT_DIR/c" /output/c.txt; exit 7' TERM
echo ready; wait
"""
    box.swatch("submit", write(box, command))
    stream = Stream(box, "try/1")
    seen = {stream.until(kind="log")["text"] for _ in range(2)}
    assert seen == {"ready", "child ready"}
    box.swatch("stop", "try/1")
    assert stream.end() == 1
    final = box.json("info", "try/1")["final"]
    assert (final["state"], final["exit_code"]) == ("shutdown", 7)
    box.swatch("sync", "try")
    assert (home(box) / "c.txt").read_text() == "saved\n"
    assert (home(box) / "child.txt").read_text() == "child\n"


@both
@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("exit 143", 143, "exit code 143"), ("kill -TERM $$", -15, "SIGTERM"), ("sh -c 'kill -9 $$'", 137, "")],
)
def test_exit_codes_and_signals_are_told_apart_in_a_sandbox_too(
    box: Box, wrapped: str, command: str, code: int, reason: str
) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    box.swatch("submit", write(box, f"{command}; exit $?"), "--watch", code=1)
    final = box.json("info", "try/1")["final"]
    assert final["exit_code"] == code
    assert reason in final["reason"]


@both
def test_the_command_of_a_killed_agent_is_ended_by_the_next(box: Box, wrapped: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    pipe = box.pipe("gate")
    command = f'if test -e "$SWATCH_CHECKPOINT_DIR/half"; then exit 0; fi; touch "$SWATCH_CHECKPOINT_DIR/half"; echo ready $$; cat {pipe}'
    manifest = write(box, command)
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    orphan = int(stream.text("ready"))
    agent = agent_of(orphan)
    os.kill(parent(agent), signal.SIGKILL)  # else the runner ends what its agent left
    os.kill(agent, signal.SIGKILL)
    assert stream.end() == 1
    assert alive(orphan)
    box.swatch("submit", manifest, "--watch")
    assert not alive(orphan)


# What is kept


@both
def test_m5_what_a_command_makes_or_changes_where_it_runs_is_kept(box: Box, wrapped: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    code = box.folder / "code"
    (code / "deep").mkdir(parents=True)
    for name in ("same.txt", "changed.txt", "deep/changed.txt"):
        (code / name).write_text("old")
    command = """
mkdir -p made/deeper __pycache__ .git/x .ipynb_checkpoints env/bin
echo new > made/deeper/new.txt; echo new > changed.txt; echo new > deep/changed.txt
for litter in __pycache__/a .git/x/a .ipynb_checkpoints/a env/bin/a a.pyc half.part env/pyvenv.cfg; do echo x > $litter; done
ln -s /etc/passwd link
echo home > both.txt; echo out > /output/both.txt; echo out > /output/only.txt
"""
    box.swatch("submit", write(box, command, more="code: code"), "--watch")
    files = {one["path"] for one in box.json("output", "try/1")["files"]}
    assert files == {"made/deeper/new.txt", "changed.txt", "deep/changed.txt", "both.txt", "only.txt"}
    assert (home(box) / "both.txt").read_text() == "out\n"
    assert box.swatch("logs", "try/1").count("both.txt is in /output and in the working folder") == 1


@both
@pytest.mark.parametrize("end", ["max_runtime: 1s", "stop"])
def test_m8_outputs_of_both_places_are_kept_however_a_job_ends(box: Box, wrapped: str, end: str) -> None:
    box.environment["SWATCH_BWRAP"] = wrapped
    pipe = box.pipe("gate")
    command = f"trap 'echo last > last.txt; exit 0' TERM\necho made > made.txt; echo out > /output/out.txt; echo ready; cat {pipe} & wait"
    box.swatch("submit", write(box, command, more=end if end != "stop" else ""))
    stream = Stream(box, "try/1")
    stream.text("ready")
    if end == "stop":
        box.swatch("stop", "try/1")
    stream.end()
    assert state(box, "try/1") == ("shutdown" if end == "stop" else "timeout")
    files = {one["path"] for one in box.json("output", "try/1")["files"]}
    assert files == {"made.txt", "out.txt", "last.txt"}


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh-machine", "same-machine"])
def test_the_next_attempt_finds_what_the_last_has_made_in_both_places(box: Box, fresh: bool) -> None:
    pipe = box.pipe("gate")
    command = f"""
if test -e first.txt; then
  cat first.txt code.txt /output/out.txt > second.txt; exit 0
fi
echo first > first.txt; echo changed > code.txt; echo out > /output/out.txt
echo ready $$; cat {pipe}
"""
    (box.folder / "code").mkdir()
    (box.folder / "code" / "code.txt").write_text("original\n")
    manifest = write(box, command, more="code: code")
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    command_pid = int(stream.text("ready"))
    paths: set[str] = set()
    while len(paths) < 3:
        paths.add(stream.until(kind="file")["path"])
    agent = agent_of(command_pid)
    os.kill(agent, signal.SIGKILL)
    stream.end()
    if fresh:
        os.killpg(command_pid, signal.SIGKILL)
        for work in box.home.glob("work/*/*/*"):
            shutil.rmtree(work)
    box.swatch("submit", manifest, "--watch")
    assert (home(box) / "second.txt").read_text() == "first\nchanged\nout\n"
    assert {one["path"] for one in box.json("output", "try/1")["files"]} == {
        "first.txt",
        "second.txt",
        "code.txt",
        "out.txt",
    }


def test_a_working_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    for name in ("output", "code", "secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    harvest = Harvest(tmp_path / "output", tmp_path / "code", look(tmp_path / "code"))
    (tmp_path / "code").rmdir()
    (tmp_path / "code").symlink_to(tmp_path / "secret")
    with pytest.raises(Exception, match="replaced by a link"):
        harvest.look(lambda error: None, True)


def test_m5_the_same_on_sagemaker(tmp_path: Path) -> None:
    """The agent as SageMaker's container starts it: the paths are real, and both places are kept."""
    store, ml = LocalStore(str(tmp_path / "store")), tmp_path / "ml"
    store.write("datasets/alice/d/1/files/w.txt", b"42")
    command = "cat /weights/w.txt /floyd/input/weights/w.txt /input/w.txt > /output/o.txt; cd /floyd/home && echo made > made.txt; exit 3"
    told: dict[str, Any] = {"prefix": "datasets/alice/d/1/files/", "digest": "0" * 64, "size": 2, "files": 1}
    mounts = tuple(Mount(source="alice/datasets/d/1", mount=name, **told) for name in ("weights", "input"))
    job = Job(project="p", number=1, user="alice", created=1.0, command=command, data=mounts)
    store.create(contract.job_key("p", 1), msgspec.json.encode(job))
    words = ["--store", store.url, "--project", "p", "--number", "1", "--work", str(ml / "swatch"), "--ml", str(ml)]
    done = subprocess.run(
        [sys.executable, "-m", "job_image.agent", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(store.read(contract.final_key("p", 1)))["reason"].startswith("exit code 3")
    assert store.read(contract.output_prefix("p", 1) + "o.txt") == b"42" * 3
    assert store.read(contract.output_prefix("p", 1) + "made.txt") == b"made\n"
    events = [event for chunk in journal.read(store, "p", 1) for event in chunk.events]
    assert {one.path: one.home for one in events if isinstance(one, journal.File)} == {"o.txt": False, "made.txt": True}


def test_the_end_counts_what_earlier_attempts_have_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    number = bench.record("true")
    writer = journal.Writer(bench.store, "p", number)
    writer.append(journal.State(1.0, contract.RUNNING, 1))
    writer.append(journal.File(2.0, "model", 7, "0" * 64))
    writer.flush()
    bench.store.create(contract.stop_key("p", number), b"{}")
    final = bench.finish(number, bench.start(number))
    assert (final["state"], final["files"], final["bytes"]) == ("shutdown", 1, 7)
