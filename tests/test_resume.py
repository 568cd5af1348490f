"""A run that was stopped goes on from where it stood, wherever that was, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from job_image.texture import images, progress, sliced, synthesis
from job_image.texture.checkpoint import Checkpoint
from job_image.texture.lbfgs import LBFGS
from job_image.texture.network import Network
from job_image.texture.parameters import Parameters
from job_image.texture.synthesis import Subject, Synthesis
from tests import program
from tests.conftest import REPOSITORY
from tests.vgg import random_weights

pytestmark = pytest.mark.usefixtures("bare", "unmeasured")

METHODS = ("swatch", "snelgrove")
"""The weight-free method is stopped in test_texture_synthesis."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """One whose rough arithmetic is another, whatever this processor is fast with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("job_image.texture.network.fast_type", lambda: "bfloat16")
        made = Network(random_weights(), "random")
        assert made.rough is not made
        yield made


def nothing() -> None:
    """Does not stop."""


class Making:
    """One small texture, made as often as a test likes."""

    def __init__(self, folder: Path, network: Network, method: str) -> None:
        self.folder = folder
        self.subject = Subject([images.read(program.painted(folder / "moss.png", 48, 48))], network)
        self.parameters = Parameters(48, 48, method=method, iterations=5, octaves=2)
        self.told: list[dict[str, Any]] = []

    def checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self.folder / f"{name}.npz", "this task")

    def run(self, name: str, tell: Callable[[dict[str, Any]], None] | None = None) -> bytes:
        """The texture that a run, or the next part of it, ends with."""
        kept = self.checkpoint(name)
        Synthesis(
            self.folder / name, self.subject, self.parameters, kept, tell or self.told.append, nothing, save_every=1
        ).run()
        return (self.folder / name / "texture.png").read_bytes()

    def report(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name / "report.json").read_text())
        return found


@pytest.fixture(params=METHODS)
def making(request: pytest.FixtureRequest, tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> Making:
    monkeypatch.setattr(progress, "PAUSE", 0)  # every stand is told
    return Making(tmp_path, network, request.param)


def after(calls: int, error: BaseException) -> Callable[[dict[str, Any]], None]:
    """A `tell` that raises at its so-many-th call."""
    left = [calls]

    def tell(_record: dict[str, Any]) -> None:
        left[0] -= 1
        if not left[0]:
            raise error

    return tell


def test_a_run_stopped_anywhere_ends_with_the_same_bytes(making: Making) -> None:
    whole = making.run("whole")
    stands, files = len(making.told), sorted(one.name for one in (making.folder / "whole").iterdir())
    for stopped in {1, stands // 2, max(1, stands - 9), stands}:  # among them, of each method: each of its stages
        name = f"stopped{stopped}"
        with pytest.raises(SystemExit):
            making.run(name, after(stopped, SystemExit(143)))
        assert (making.folder / name / "unfinished.png").is_file() and making.checkpoint(name).is_ours()
        assert not (making.folder / name / "report.json").exists()
        assert making.run(name) == whole, f"stopped after {stopped} of {stands}"
        assert sorted(one.name for one in (making.folder / name).iterdir()) == files
        spared = making.report(name)
        assert 0 < spared["resumed_at"] <= 1 and making.report("whole")["resumed_at"] is None
        for figure in ("loss", "losses", "evaluations"):
            assert spared.get(figure) == making.report("whole").get(figure)
        assert not making.checkpoint(name).is_ours()


def test_a_state_saved_on_the_way_serves_a_run_that_was_killed(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = making.run("whole")
    stands = len(making.told)
    with pytest.raises(RuntimeError):
        making.run("kept", after(2, RuntimeError("killed")))
    assert not making.checkpoint("kept").is_ours(), "half a minute has not passed, and no size is finished"
    monkeypatch.setattr(synthesis, "SAVE_SECONDS", 0)
    with pytest.raises(RuntimeError):
        making.run("kept", after(stands - 2, RuntimeError("killed")))
    assert making.checkpoint("kept").is_ours()
    making.told.clear()
    assert making.run("kept") == whole and len(making.told) <= 4


@pytest.mark.parametrize("making", [*METHODS, "patch"], indirect=True)
def test_a_run_stopped_while_its_files_are_written_can_be_ended(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = making.run("whole")
    monkeypatch.setattr(synthesis, "SAVE_SECONDS", 0)
    with monkeypatch.context() as broken:
        broken.setattr(Synthesis, "deliver", lambda *_: sys.exit(143))
        with pytest.raises(SystemExit):
            making.run("late")
    making.told.clear()
    assert making.run("late") == whole and len(making.told) == 1


@pytest.mark.parametrize(
    ("making", "owner", "work"),
    [
        ("snelgrove", LBFGS, "iterate"),
        ("swatch", LBFGS, "iterate"),
        ("swatch", sliced.Finish, "step"),
        ("patch", sliced.Finish, "step"),
    ],
    indirect=["making"],
)
def test_a_signal_between_a_step_and_its_stand_counts_the_step_not_twice(
    making: Making, owner: type, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = making.run("whole")
    step, left = getattr(owner, work), [3]

    def interrupted(self: Any, *given: Any) -> Any:
        done = step(self, *given)
        left[0] -= 1
        if not left[0]:
            raise SystemExit(143)
        return done

    with monkeypatch.context() as signalled:
        signalled.setattr(owner, work, interrupted)
        with pytest.raises(SystemExit):
            making.run("torn")
    assert making.run("torn") == whole


@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_an_early_end_is_kept(tmp_path: Path, network: Network, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descent that its tolerance ended does not go on when it is taken up again."""
    monkeypatch.setattr(progress, "PAUSE", 0)
    monkeypatch.setattr(synthesis, "SAVE_SECONDS", 0)
    making = Making(tmp_path, network, method)
    making.parameters = Parameters(48, 48, method=method, iterations=50, octaves=2, tolerance=0.5)
    whole = making.run("whole")
    descents = [number for number, one in enumerate(making.told, 1) if one["loss"] > 10]
    assert len(descents) < 50
    with monkeypatch.context() as broken:
        broken.setattr(Synthesis, "deliver", lambda *_: sys.exit(143))
        with pytest.raises(SystemExit):
            making.run("ended", after(descents[-1] + 1, SystemExit(143)))
    assert making.run("ended") == whole


def test_a_run_stopped_before_it_has_a_state_begins_again_in_its_folder(
    tmp_path: Path, vgg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = program.painted(tmp_path / "moss.png", 48, 48), tmp_path / "out"
    words = ("-s", source, "-d", vgg, "--method", "snelgrove", "-ow", 40, "-m", 1, "-o", 1, "--output-dir", out)
    with monkeypatch.context() as stopped:
        stopped.setattr(Synthesis, "run", lambda _: sys.exit(143))
        assert program.run(*words) == 143
    assert (program.only(out) / "Acommand.txt").is_file()
    assert program.run(*words) == 0
    assert (program.only(out) / "texture.png").is_file(), "the one folder there is"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "sign"), [("swatch", signal.SIGTERM), ("snelgrove", signal.SIGTERM), ("swatch", signal.SIGINT)]
)
def test_a_stopped_process_leaves_its_picture_and_goes_on(
    tmp_path: Path, vgg: Path, method: str, sign: signal.Signals
) -> None:
    source = program.painted(tmp_path / "moss.png", 64, 64)
    words = ["-s", source, "-d", vgg, "--method", method, "-ow", 64, "-m", 40, "-o", 2, "-n", 100, "--output-dir"]
    assert program.run(*words, tmp_path / "whole") == 0
    typed = [sys.executable, REPOSITORY / "job_image" / "synthesize.py", *words, tmp_path / "parts"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(list(map(str, typed)), stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        for line in running.stdout:
            # In the middle of the descent: the losses of patches and of the finish are small.
            if line.startswith('{"progress"') and json.loads(line)["loss"] > 10:
                os.kill(running.pid, sign)
                break
        running.stdout.read()
    assert running.returncode == 128 + sign
    folder = program.only(tmp_path / "parts")
    assert (folder / "unfinished.png").is_file() and not (folder / "texture.png").exists()
    assert [one.name for one in (tmp_path / "parts" / ".checkpoints").iterdir()] == [f"{folder.name}.npz"]
    assert program.run(*words, tmp_path / "parts") == 0
    assert (folder / "texture.png").read_bytes() == (program.only(tmp_path / "whole") / "texture.png").read_bytes()
    assert 0 < program.record(tmp_path / "parts")["resumed_at"] < 1
    assert not (folder / "unfinished.png").exists()
