"""A shell in a running job: it sees what the command sees, at a real terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.account import account
from tests.conftest import Box
from tests.terminal import Terminal
from tests.test_jobs import Stream, state

SHELL = [sys.executable, "-m", "orchestrator", "run", "--shell"]


def running(box: Box, command: str, *words: str) -> Stream:
    """A job that has said that it is ready."""
    box.swatch("init", "try")
    box.swatch("run", *words, command)
    stream = Stream(box, "try/1")
    stream.text("ready")
    return stream


@pytest.mark.parametrize("real", [True, False], ids=["real paths", "paths replaced"])
def test_it_sees_what_the_command_sees_and_hands_on_its_exit_code(box: Box, real: bool) -> None:
    if real and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    box.environment.update({"SWATCH_BWRAP": "1" if real else "0", "TOKEN": "s3cret"})
    (box.folder / "tool.txt").write_text("the tool\n")
    gate = box.pipe("gate")
    words = ["--env-var", "COLOUR=blue", "--secret", "TOKEN"]
    stream = running(box, f'echo made > "$SWATCH_OUTPUT_DIR/made.txt"; echo ready; cat {gate}', *words)
    del box.environment["TOKEN"]
    with Terminal([*SHELL, "1"], box.environment, box.folder) as terminal:
        terminal.write('echo "in $(pwd), $COLOUR, [$TOKEN], $SWATCH_JOB, on $(tty)"')
        place = "/floyd/home" if real else str(box.home / "work")
        shown = terminal.until("alice/projects/try/1, on /dev/pts/")
        assert f"in {place}" in shown and ", blue, [], " in shown
        terminal.write("cat tool.txt $SWATCH_OUTPUT_DIR/made.txt")
        terminal.until("the tool\nmade\n")
        if real:
            terminal.write("cat /output/made.txt; echo it is $SWATCH_OUTPUT_DIR")
            terminal.until("made\nit is /output\n")
        terminal.write("exit 7")
        assert terminal.end() == 7
    assert state(box, "try/1") == "running", "the job has nothing of it"
    gate.write_text("")
    assert stream.end() == 0


def test_words_may_come_from_a_pipe_as_well(box: Box) -> None:
    gate = box.pipe("gate")
    stream = running(box, f"echo ready; cat {gate}")
    process = box.start("run", "--shell", "try/1")
    process.communicate()
    assert process.returncode == 0  # at the end of an empty input
    gate.write_text("")
    stream.end()


def test_only_a_job_that_runs_has_one(box: Box) -> None:
    box.swatch("init", "try")
    box.swatch("run", "-f", "true")
    assert "try/1 does not run: it is success" in box.swatch("run", "--shell", "try/1", code=2)
    assert "No job try/7" in box.swatch("run", "--shell", "try/7", code=2)
    assert "it takes no command" in box.swatch("run", "--shell", "1", "ls", code=2)


def test_the_agent_itself_knows_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from job_image import agent, shell

    assert agent.main(["shell", str(tmp_path)]) == 1
    shell.keep(tmp_path, (), tmp_path, {"A": "1"})
    assert agent.main(["shell", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("no command runs there") == 2


@pytest.mark.slow
def test_on_sagemaker_it_is_amazons(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        box.swatch("init", "try")
        box.swatch("run", "--backend", "sagemaker", "echo ready; sleep 600")
        stream = Stream(box, "try/1")
        stream.text("ready")
        (name,) = box.aws.jobs()
        said = box.swatch("run", "--shell", "1", code=2)
        assert f"aws ssm start-session --target sagemaker-training-job:{name}_algo-1, for jobs started with" in said
        box.swatch("stop", "1")
        stream.end()
