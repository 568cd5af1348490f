"""How the agent is started in an image that is not ours: by whatever Python is there, or with a word why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.backends import entrypoint

OLD = "#!/bin/sh\nexit 1\n"
"""What a Python that is too old answers to the question for its version."""


def started(folder: Path, pythons: dict[str, str], *arguments: str) -> tuple[subprocess.Popen[str], str, str]:
    """The words, run in an image whose PATH has these programs: the process, and what it said and complained."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in pythons.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    agent = folder / "agent.py"
    agent.write_text("import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:]]))")
    process = subprocess.Popen(
        entrypoint.words(str(agent), arguments),
        env={"PATH": str(programs)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)
    return process, out, err


REAL = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


@pytest.mark.parametrize("pythons", [{"python3": REAL}, {"python3": OLD, "python": REAL}, {"python": REAL}])
def test_the_shell_becomes_the_first_python_that_will_do(tmp_path: Path, pythons: dict[str, str]) -> None:
    words = ["--project", "it's", "a b", "$HOME"]
    process, out, err = started(tmp_path, pythons, *words)
    assert (process.returncode, err) == (0, "")
    # The same process: signals reach the agent, which a shell would keep to itself.
    assert json.loads(out) == [process.pid, words]


@pytest.mark.parametrize("pythons", [{}, {"python3": OLD, "python": OLD}])
def test_without_a_python_that_will_do_it_says_so(tmp_path: Path, pythons: dict[str, str]) -> None:
    process, out, err = started(tmp_path, pythons)
    assert (process.returncode, out) == (entrypoint.EXIT_NO_PYTHON, "")
    assert entrypoint.NO_PYTHON in err


def test_what_is_said_is_left_where_sagemaker_reads_it(tmp_path: Path) -> None:
    ml = tmp_path / "output"
    ml.mkdir()
    words = [word.replace("/opt/ml/output", str(ml)) for word in entrypoint.words("agent", ())]
    done = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, cwd=os.sep, check=False)
    assert done.returncode == entrypoint.EXIT_NO_PYTHON
    assert (ml / "failure").read_text().strip() == entrypoint.NO_PYTHON


def test_each_word_is_one_that_sagemaker_takes() -> None:
    longest = f"/opt/ml/input/data/agent/{'d' * 64}.pyz"
    assert max(map(len, entrypoint.words(longest, ()))) <= 256
