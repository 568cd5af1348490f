"""Requirements files (S8): installed once, for all jobs that ask for the same; without a network in these tests."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from job_image import packages
from orchestrator import contract, journal
from orchestrator.errors import SwatchError
from tests.one_job import Bench

USE = "greet > /output/said.txt; python3 -c 'import greeting; print(greeting.WORD)' >> /output/said.txt"


def wheel(folder: Path, version: str = "1.0") -> None:
    """A package `greeting` with a module and a command `greet`, as pip finds it in a folder."""
    folder.mkdir(exist_ok=True)
    info = f"greeting-{version}.dist-info"
    files = {
        "greeting.py": f"WORD = 'hello {version}'\ndef main():\n    print(WORD)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
    }

    def row(name: str, text: str) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(text.encode())}\n"

    with zipfile.ZipFile(folder / f"greeting-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(row(*one) for one in files.items()) + f"{info}/RECORD,,\n")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    wheel(tmp_path / "wheels")
    bench.environment.update(
        PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"), PIP_LOG=str(tmp_path / "pip.log")
    )
    # As in the local queue: `python3` is the Python that Swatch runs on.
    bench.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (bench.code / "requirements.txt").write_text("greeting\n")
    return bench


def pip_runs(bench: Bench) -> int:
    log = bench.folder / "pip.log"
    return log.read_text().count("Looking in links") if log.exists() else 0


def test_s8_installed_for_the_first_job_and_not_for_the_second(bench: Bench) -> None:
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert bench.output(1, "said.txt") == "hello 1.0\n" * 2
    assert bench.log(1).count("Installing requirements.txt (cached for later jobs) ...") == 1
    assert any("Successfully installed greeting" in line for line in bench.log(1)), "pip's words are in the log"
    assert pip_runs(bench) == 1
    (bench.code / "other.txt").write_text("other code, same requirements")
    (made,) = (path for path in (bench.cache / "envs").iterdir() if path.is_dir())
    made.chmod(0o755)  # as if the first job had been killed at its end
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert bench.output(2, "said.txt") == "hello 1.0\n" * 2
    assert pip_runs(bench) == 1
    assert not any("Installing" in line for line in bench.log(2))
    assert not made.stat().st_mode & 0o222, "no job changes what others use"


@pytest.mark.slow
def test_s8_other_requirements_are_another_environment(bench: Bench) -> None:
    wheel(bench.folder / "wheels", "2.0")
    for text in ("greeting==1.0\n", "greeting==2.0\n", "-r deep/more.txt\n"):
        (bench.code / "requirements.txt").write_text(text)
        (bench.code / "deep").mkdir(exist_ok=True)
        (bench.code / "deep" / "more.txt").write_text("greeting==2.0\n")
        assert bench.run(USE, requirements="requirements.txt")["state"] == "success", text
    (bench.code / "deep" / "more.txt").write_text("greeting==1.0\n")
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert [bench.output(number, "said.txt")[:9] for number in (1, 2, 3, 4)] == [f"hello {v}.0" for v in (1, 2, 2, 1)]
    assert pip_runs(bench) == 4


def test_s8_jobs_at_once_install_once(bench: Bench) -> None:
    numbers = [bench.record(USE, requirements="requirements.txt") for _ in range(3)]
    agents = [bench.start(number) for number in numbers]
    assert {bench.finish(*one)["state"] for one in zip(numbers, agents, strict=True)} == {"success"}
    assert pip_runs(bench) == 1


def test_s8_what_cannot_be_installed_is_why_the_job_has_failed(bench: Bench) -> None:
    (bench.code / "requirements.txt").write_text("greeting\nno-such-package-at-all==7\n")
    final = bench.run("true", requirements="requirements.txt")
    assert final["state"] == "failed"
    assert final["reason"] == (
        "requirements.txt could not be installed: No matching distribution found for no-such-package-at-all==7"
    )
    wheel(bench.folder / "wheels")
    (bench.code / "requirements.txt").write_text("greeting\n")
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    final = bench.run("true", requirements="missing.txt")
    assert (final["state"], final["reason"]) == (
        "failed",
        "could not be prepared: missing.txt cannot be read: No such file or directory",
    )


def test_s8_what_is_there_already_needs_no_network(bench: Bench) -> None:
    """A package of the Python that Swatch runs on, and nowhere to have one from."""
    del bench.environment["PIP_FIND_LINKS"]
    (bench.code / "requirements.txt").write_text("click>=8\n")
    final = bench.run("python3 -c 'import click' && cp /dev/null /output/ok", requirements="requirements.txt")
    assert (final["state"], final["reason"]) == ("success", "")
    assert bench.output(1, "ok") == ""


@pytest.mark.slow
def test_s8_what_was_cut_short_is_made_anew(bench: Bench) -> None:
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    (folder,) = (one for one in (bench.cache / "envs").iterdir() if one.is_dir())
    folder.chmod(0o755)
    (folder / packages.COMPLETE).unlink()
    shutil.rmtree(folder / "bin")
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert pip_runs(bench) == 2


def test_s8_a_stop_during_the_installation_is_obeyed(bench: Bench) -> None:
    """A pip that reads a pipe which nobody writes to."""
    os.mkfifo(bench.folder / "gate")
    (bench.folder / "wheels" / "greeting-1.0-py3-none-any.whl").unlink()
    (bench.code / "hang").mkdir()
    (bench.code / "hang" / "setup.py").write_text(f"print(open({str(bench.folder / 'gate')!r}).read())")
    (bench.code / "requirements.txt").write_text("./hang\n")
    bench.environment["PIP_NO_BUILD_ISOLATION"] = "1"
    number = bench.record("true", requirements="requirements.txt")
    agent = bench.start(number)
    with open(bench.folder / "gate", "w"):  # opens once pip reads it
        bench.store.create(contract.stop_key("p", number), b"{}")
        final = bench.finish(number, agent)
    assert (final["state"], final["reason"]) == ("shutdown", "stopped")


@pytest.mark.slow
def test_s8_what_pip_leaves_in_the_code_is_no_output(bench: Bench) -> None:
    """A package of the code itself, built where it stands; and pip holds the lock that says so."""
    local = bench.code / "local"
    local.mkdir()
    (local / "setup.py").write_text(
        "import fcntl, glob\n"
        "from setuptools import setup\n"
        f"for name in glob.glob({str(bench.cache / 'envs' / '*.lock')!r}):\n"
        "    try:\n"
        "        fcntl.flock(open(name), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError:\n"
        "        open('built', 'w').close()\n"
        "setup(name='mine', version='1', py_modules=['mine'])\n"
    )
    (local / "mine.py").write_text("WORD = 'mine'\n")
    (bench.code / "requirements.txt").write_text("./local\n")
    bench.environment["PIP_NO_BUILD_ISOLATION"] = "1"
    final = bench.run(
        "ls local; python3 -c 'import mine; print(mine.WORD)' > said.txt", requirements="requirements.txt"
    )
    assert final["state"] == "success", bench.log(1)
    assert "built" in bench.log(1), "it was built in the code's folder, with the lock held"
    assert [one.path for one in bench.events(1) if isinstance(one, journal.File)] == ["said.txt"]


@pytest.mark.slow
def test_s8_machines_that_keep_nothing_have_it_from_the_store(bench: Bench) -> None:
    for number in (1, 2):
        bench.options = ["--ml", str(bench.folder / f"ml{number}")]
        assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
        assert bench.output(number, "said.txt") == "hello 1.0\n" * 2, "the script, too, runs where it was not made"
    assert pip_runs(bench) == 1
    (kept,) = bench.store.scan("envs/")
    bench.store.write(kept.key, b"damaged")
    bench.options = ["--ml", str(bench.folder / "ml3")]
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert pip_runs(bench) == 2


def test_s8_a_store_that_cannot_keep_them_keeps_no_job_from_running(bench: Bench) -> None:
    bench.options = []
    bench.store.write("envs", b"in the way")
    assert bench.run(USE, requirements="requirements.txt")["state"] == "success"
    assert bench.output(1, "said.txt") == "hello 1.0\n" * 2
    assert any("requirements.txt will be installed anew by later jobs" in line for line in bench.log(1))


def test_s8_a_job_without_a_network_says_what_to_do(bench: Bench) -> None:
    ml = bench.folder / "ml"
    number = bench.record("true", requirements="requirements.txt")
    carried = ml / "checkpoints"
    carried.mkdir(parents=True)
    (carried / "job.json").write_bytes(bench.store.read(contract.job_key("p", number)))
    channel = ml / "input" / "data" / contract.CODE_CHANNEL
    channel.mkdir(parents=True)
    (code,) = bench.store.scan("code/")
    shutil.copy(bench.store.root / code.key, channel)
    del bench.environment["PIP_FIND_LINKS"]
    bench.options = []
    agent = bench.start(number, "--store", str(carried), "--ml", str(ml), "--isolated")
    agent.communicate()
    reason = (ml / "output" / "failure").read_text()
    assert reason.startswith("requirements.txt could not be installed: ")
    assert reason.endswith("this job has no network: put the packages into its image")


def test_files_outside_the_code_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    for text in ("-r ../secret.txt\n", f"-r {tmp_path}/secret.txt\n"):
        (tmp_path / "code" / "requirements.txt").write_text(text)
        with pytest.raises(SwatchError, match="not in the code"):
            packages.digest(tmp_path / "code", "requirements.txt")
    (tmp_path / "code" / "requirements.txt").write_text("-r requirements.txt\n")
    assert packages.digest(tmp_path / "code", "requirements.txt")
