"""`swatch simulate`, as a person runs it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Box
from tests.simulator.test_life import alive

SWATCH = (sys.executable, "-m", "orchestrator")


@contextmanager
def simulating(box: Box, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A simulator that runs, and what it says is to be exported."""
    process = box.start("simulate", *options)
    assert process.stdout is not None
    exports: dict[str, str] = {}
    try:
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                exports[name] = value
            if "Ctrl-C" in line:
                break
        yield process, exports
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def elsewhere(box: Box, exports: dict[str, str], *words: str) -> str:
    """What words print in another terminal, after what was to be pasted there."""
    environment = {**box.environment, **exports}
    done = subprocess.run(
        words, cwd=box.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


TEXTS = """
name: try
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: echo made by {who} > /output/said.txt
matrix: {who: [ann, ben]}
"""


@pytest.mark.slow
def test_a_manifest_runs_in_the_account_with_one_line(box: Box) -> None:
    box.swatch("simulate", "--", *SWATCH, "submit", box.manifest(TEXTS), "--watch")
    said = sorted(path.read_text() for path in (box.folder / "outputs").rglob("said.txt"))
    assert said == ["made by ann\n", "made by ben\n"]


def test_the_exit_code_is_the_commands(box: Box) -> None:
    box.swatch("simulate", "--", "sh", "-c", 'case "$AWS_ENDPOINT_URL" in http://127.0.0.1:*) exit 7; esac', code=7)
    box.swatch("simulate", "sh", "-c", "kill -TERM $$", code=143)
    said = box.swatch("simulate", "not-a-program", code=2)
    assert "not-a-program: No such file or directory" in said


def test_another_terminal_needs_what_is_printed_and_no_more(box: Box) -> None:
    program = "import boto3; print(len(boto3.client('s3').list_buckets()['Buckets'])); boto3.client('sagemaker').list_training_jobs()"
    with simulating(box, "--quota", "ml.m5.xlarge=1") as (process, exports):
        assert elsewhere(box, exports, sys.executable, "-c", program) == "1\n"
        assert "2 new" in elsewhere(box, exports, *SWATCH, "submit", box.manifest(TEXTS))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert re.search(r"Ended, with all that was kept: 1 training job and the store\.", out)
        assert not Path(exports["SWATCH_HOME"]).exists()


LONG = """
name: long
backend: sagemaker
machine: ml.m5.xlarge
max_runtime: 10m
command: echo pid $$; sleep 1000
"""


def test_its_end_is_the_end_of_its_jobs(box: Box) -> None:
    pipe = box.pipe("pid")
    manifest = box.manifest(LONG.replace("echo pid $$", f"echo $$ > {pipe}"))
    with simulating(box) as (process, exports):
        elsewhere(box, exports, *SWATCH, "submit", manifest)
        pid = int(pipe.read_text())
        assert alive(pid)
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
    assert not alive(pid)


def test_its_end_is_the_end_of_its_command(box: Box) -> None:
    pipe = box.pipe("pid")
    process = box.start("simulate", "--", "sh", "-c", f"echo $$ > {pipe}; exec sleep 1000")
    pid = int(pipe.read_text())
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not alive(pid)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--quota", "ml.g5.xlarge"), "--quota: expected TYPE=N, got 'ml.g5.xlarge'"),
        (("--quota", "ml.g5.xlarg=2"), "Did you mean ml.g5.xlarge?"),
        (("--speed", "0"), "'--speed'"),
    ],
)
def test_wrong_words_are_said(box: Box, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in box.swatch("simulate", *words, "true", code=2)


def test_moto_is_asked_for(box: Box) -> None:
    absent = box.folder / "absent" / "moto"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('No module named moto')")
    box.environment["PYTHONPATH"] = f"{absent.parent}{os.pathsep}{box.environment['PYTHONPATH']}"
    said = box.swatch("simulate", "true", code=1)
    assert "The simulator needs moto, which is not installed" in said
    assert "pip install -e '.[local,aws,simulate]'" in said


def test_setup_works_in_the_account(box: Box) -> None:
    swatch = f"{sys.executable} -m orchestrator"
    said = box.swatch("simulate", "sh", "-c", f"{swatch} doctor; {swatch} setup aws --dry-run")
    wrong = [line for line in said.splitlines() if line.startswith(("warn", "fail"))]
    assert not [line for line in wrong if "docker:" not in line], "the doctor has nothing to say of a simulated account"
    assert "PutBucketEncryption" in said and "PutPublicAccessBlock" not in said and "trusts others" not in said


def test_chaos_is_set_by_its_seed(box: Box) -> None:
    program = (
        "import json, os, urllib.request as u;"
        "print(json.load(u.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_simulator/faults')))"
    )
    said = box.swatch("simulate", "--chaos", "7", "--", sys.executable, "-c", program)
    faults = ast.literal_eval(said)
    assert faults["seed"] == 7 and faults["interrupt"]["*"]["probability"] > 0
