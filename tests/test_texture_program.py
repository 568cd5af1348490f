"""The program from outside: its exit codes, its lines, its files, and SIGTERM."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from job_image import flags, synthesize
from job_image.texture import report, tasks
from tests.program import painted
from tests.vgg import random_weights, write_keras_2

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _process_as_it_was(bare: Path) -> Iterator[None]:
    """`main` takes over signals, as a program may."""
    before = [(sign, signal.getsignal(sign)) for sign in (signal.SIGTERM, signal.SIGINT)]
    yield
    for sign, handler in before:
        signal.signal(sign, handler)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "moss.png"
    noise = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return path


def task(name: str, source: Path | str, **parameters: object) -> dict[str, object]:
    return {"name": name, "sources": [str(source)], "parameters": {"width": 40, "height": 40, **parameters}}


def write_tasks(folder: Path, *tasks: object) -> str:
    path = folder / "tasks.json"
    path.write_text(json.dumps({"schema": 1, "tasks": list(tasks)}))
    return str(path)


def records(output: str, key: str) -> list[dict[str, Any]]:
    """The JSON lines that have this key."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [record for record in found if key in record]


def test_a_failing_texture_fails_alone(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_text("not an image")
    listed = write_tasks(
        tmp_path,
        task("broken", "broken.png"),
        task("missing", "nowhere.png"),
        task("tiny", "moss.png", width=3),
        task("unknown", "moss.png", sed=1),
        task("good", "moss.png"),
    )
    assert synthesize.main(["--tasks", listed, "--output-dir", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    ends = records(captured.out, "task")
    assert [(end["task"], end["state"]) for end in ends] == [
        ("broken", "failed"),
        ("missing", "failed"),
        ("tiny", "failed"),
        ("unknown", "failed"),
        ("good", "success"),
    ]
    assert "not an image in a known format" in ends[0]["error"] and "broken.png" in ends[0]["error"]
    assert "nowhere.png" in ends[1]["error"]
    assert ends[2]["error"] == "width is 3; it must be a whole number from 32 to 8192"
    assert "unknown parameter 'sed'" in ends[3]["error"]
    assert "Traceback" not in captured.out + captured.err
    steps = records(captured.out, "progress")
    assert {step["progress"] for step in steps} == {"good"}
    assert steps[-1]["step"] == steps[-1]["steps"]
    plain = [line for line in captured.out.splitlines() if not line.startswith("{")]
    assert plain[:3] == [
        "5 textures to make",
        "NO VGG-19 WEIGHTS: none in --data-dir, model_data or mounted data.",
        "Textures are made by the weight-free method, from patches of their sources.",
    ]
    assert [line.split(":")[:2] for line in plain[3:7]] == [
        ["broken", " 40x40, seed 0"],
        ["broken", " failed"],
        ["missing", " failed"],
        ["tiny", " failed"],
    ]
    assert plain[5] == f"missing: failed: {ends[1]['error']}"
    assert plain[-2] == "good: 40x40, seed 0"
    assert re.fullmatch(
        rf"good: made in {ends[4]['seconds']} s, quality (good|fair|poor|unmeasured)( \(.+\))?", plain[-1]
    )
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        "good/source.png",
        "good/previews/32x32.png",
        "good/previews/40x40.png",
        "good/texture.png",
        "good/tiled.png",
        "good/report.json",
    }


def test_a_finished_texture_is_not_made_again(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "-s",
        str(source),
        "--output-width",
        "32",
        "--output-height",
        "32",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert synthesize.main(command) == 0
    folder = tmp_path / "out" / "out.L2,7.o4.32x32"
    report = folder / "report.json"
    first = report.stat().st_mtime_ns
    assert "resumed" not in records(capsys.readouterr().out, "task")[0]
    assert synthesize.main(command) == 0
    out = capsys.readouterr().out
    end = records(out, "task")[0]
    assert end["resumed"] is True and end["state"] == "success"
    assert f"{folder.name}: there already" in out.splitlines() and "seed" not in out
    assert report.stat().st_mtime_ns == first
    assert synthesize.main([*command, "--seed", "5"]) == 0
    assert "resumed" not in records(capsys.readouterr().out, "task")[0]
    assert report.stat().st_mtime_ns == first, "what another run made stays"
    other = folder.with_name(f"{folder.name}.0") / "report.json"
    assert json.loads(other.read_text())["parameters"]["seed"] == 5


def test_directories_come_from_the_environment(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWATCH_OUTPUT_DIR", str(tmp_path / "given"))
    assert synthesize.main(["-s", str(source), "--output-width", "32", "--output-height", "32"]) == 0
    assert (tmp_path / "given" / "out.L2,7.o4.32x32" / "texture.png").is_file()
    assert records(capsys.readouterr().out, "task")[0]["state"] == "success"


def test_without_a_folder_named_outputs_go_to_outputs(bare: Path, source: Path) -> None:
    """With a picture as large as subjective-functions makes it."""
    assert synthesize.main(["-s", str(bare / "missing.png")]) == 1
    assert synthesize.main(["-s", str(source), "-ow", "32"]) == 0
    assert (bare / "outputs" / "out.L2,7.o4.32x32" / "texture.png").is_file()
    assert flags.single_task(flags.parser().parse_args(["-s", str(source)])).name == "out.L2,7.o4.512x512"


@pytest.mark.parametrize(("side", "given"), [(2048, None), (2049, "1")])
def test_memory_goes_back_to_the_system_where_a_texture_is_large(
    monkeypatch: pytest.MonkeyPatch, side: int, given: str | None
) -> None:
    monkeypatch.delenv(name := "TF_ONEDNN_USE_SYSTEM_ALLOCATOR", raising=False)
    sizes = ({"width": 64, "height": 64}, {"width": side, "height": 2048}, {"width": "wrong"})
    synthesize.give_memory_back([tasks.Task("it", (), size) for size in sizes])
    assert os.environ.pop(name, None) == given


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell the most that a process ever held")
def test_a_textures_memory_is_its_own() -> None:
    """In a list, a small texture after a large one."""
    large = np.ones(300 << 20, np.uint8)
    most = report.peak_memory()
    assert most > large.nbytes
    del large
    assert report.peak_memory() > most - (8 << 20), "the system counts in pages, and now and then"
    report.forget_peak()
    assert report.peak_memory() < most - (200 << 20)


def test_a_verdict_is_said_with_its_first_reason() -> None:
    fair = {"verdict": "fair", "reasons": ["copied: 45% lifted", "seam: wide"]}
    assert synthesize.quality_clause(fair) == "quality fair (copied: 45% lifted)"
    assert synthesize.quality_clause({"verdict": "good", "reasons": []}) == "quality good"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", '"schema": 1'),
        ('{"schema": 2, "tasks": []}', '"schema": 1'),
        ('{"schema": 1, "tasks": []}', "at least one task"),
        ('{"schema": 1, "tasks": [{"name": "a/b", "sources": ["x"]}]}', "tasks[0]"),
        ('{"schema": 1, "tasks": [{"name": "..", "sources": ["x"]}]}', "tasks[0]"),
        ('{"schema": 1, "tasks": [{"name": "a", "sources": []}]}', '"sources"'),
        ('{"schema": 1, "tasks": [{"name": "a", "sources": ["x"], "params": {}}]}', "unknown key 'params'"),
        ('{"schema": 1, "tasks": [{"name": "a", "sources": ["x"], "parameters": 3}]}', '"parameters"'),
        ('{"schema": 1, "tasks": [{"name": "a", "sources": ["x"]}, {"name": "a", "sources": ["y"]}]}', "two tasks"),
    ],
)
def test_a_bad_task_list_is_told_in_one_line(
    tmp_path: Path, content: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(content)
    assert synthesize.main(["--tasks", str(path), "--output-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert str(path) in captured.err and sentence in captured.err


def test_wrong_usage_is_told_at_once(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert synthesize.main(["--tasks", str(tmp_path / "none.json"), "--output-dir", str(tmp_path)]) == 2
    assert "none.json: No such file" in capsys.readouterr().err
    for words, sentence in (
        ([], "give one of -s/--source, --tasks and --novelty"),
        (["-s", str(source), "--novelty"], "not --source and --novelty together"),
        (["-s", str(source), "--save-every", "0"], "--save-every is 0"),
        (["-s", str(source), "--content", str(source)], "--content goes with -s and --method style"),
        (["-s", str(source), "--output-prefix", "../up"], "--output-prefix '../up' cannot begin a folder's name"),
        (["-s", str(source), "--layers", "a/b"], "look at --layers"),
        (["-s", str(tmp_path / "here")], "no images in this folder"),
    ):
        assert synthesize.main(words) == 2
        err = capsys.readouterr().err
        assert sentence in err and len(err.splitlines()) == 1
    with pytest.raises(SystemExit) as ended:
        synthesize.main(["-s", str(source), "--seed", "sometimes"])
    assert ended.value.code == 2 and "neither a number nor random" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, source: Path) -> None:
    listed = write_tasks(tmp_path, task("moss", "moss.png", width=64, height=64))
    as_module = [sys.executable, "-m", "job_image.synthesize", "--tasks", listed]
    whole = subprocess.run(
        [*as_module, "--output-dir", str(tmp_path / "whole")], cwd=ROOT, capture_output=True, text=True
    )
    assert (whole.returncode, whole.stderr) == (0, "")

    as_script = [sys.executable, str(ROOT / "job_image" / "synthesize.py"), "--tasks", listed]
    places = ["--output-dir", str(tmp_path / "parts")]
    with subprocess.Popen([*as_script, *places], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if '"size": "64x64"' in line:
                os.kill(running.pid, signal.SIGTERM)
                break
        running.stdout.read()
    assert running.returncode == 143
    assert sorted(path.name for path in (tmp_path / "parts/moss").rglob("*.png")) == [
        "32x32.png",
        "46x46.png",
        "source.png",
        "unfinished.png",
    ]
    assert [path.name for path in (tmp_path / "parts" / ".checkpoints").iterdir()] == ["moss.npz"]

    again = subprocess.run([*as_script, *places], cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert 0 < json.loads((tmp_path / "parts/moss/report.json").read_text())["resumed_at"] < 1
    assert (tmp_path / "parts/moss/texture.png").read_bytes() == (tmp_path / "whole/moss/texture.png").read_bytes()
    assert list((tmp_path / "parts" / ".checkpoints").iterdir()) == []
    assert not (tmp_path / "parts" / "moss" / "unfinished.png").exists()


@pytest.mark.slow
def test_the_program_runs_from_its_own_folder_alone(tmp_path: Path, bare: Path) -> None:
    """As the container has it, and as the old program's tutorial types it: job_image, weights in model_data."""
    shutil.copytree(ROOT / "job_image", bare / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (bare / "app" / "model_data").mkdir()
    write_keras_2(bare / "app" / "model_data" / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", random_weights())
    painted(tmp_path / "bark.png", 64, 80)
    Image.open(tmp_path / "bark.png").save(bare / "app" / "bark.jpg", quality=95)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    done = subprocess.run(
        [sys.executable, "synthesize.py", "-s", "bark.jpg", "-ow", "64", "--max-iter", "3"],
        cwd=bare / "app",
        env={**environment, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    folder = bare / "app" / "outputs" / "out.L2,7.o4.64x64"
    with Image.open(folder / "texture.png") as texture:
        assert texture.size == (64, 64)
    report = json.loads((folder / "report.json").read_text())
    assert report["method"].startswith("swatch/") and report["weights"] and report["quality"]["verdict"]
    assert (folder / "Acommand.txt").read_text() == "synthesize.py -s bark.jpg -ow 64 --max-iter 3\n"


def test_a_number_beyond_all_floats_fails_its_texture_alone(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = task("good", source, method="patch"), task("bad", source, multiply=10**400)
    out = tmp_path / "out"
    assert synthesize.main(["--tasks", write_tasks(tmp_path, *wanted), "--output-dir", str(out)]) == 1
    ends = records(capsys.readouterr().out, "state")
    assert [end["state"] for end in ends] == ["success", "failed"]
    assert ends[1]["error"].startswith("multiply is 1000") and ends[1]["error"].endswith("from 1e-06 to 1e+06")


def test_what_the_system_refuses_is_told_in_one_line(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a" * 300
    for words in (["-s", long], ["-s", str(source), "--data-dir", long]):
        assert synthesize.main(words) == 2
        assert capsys.readouterr().err == f"synthesize.py: {long}: File name too long\n"
    (tmp_path / "file").touch()
    words = ["-s", str(source), "--method", "patch", "--output-dir", str(tmp_path / "file" / "out")]
    assert synthesize.main(words) == 1
    (end,) = records(capsys.readouterr().out, "state")
    assert end["error"].endswith(": Not a directory") and end["error"].startswith(str(tmp_path / "file" / "out"))


def test_a_name_that_is_no_text_is_taken_as_it_is(tmp_path: Path, source: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/moss\xe9.png")
    try:
        shutil.copy(source, odd)
    except OSError:
        pytest.skip("this file system has no such names")
    words = ["-s", odd, "--method", "patch", "-ow", "32", "--output-dir", str(tmp_path / "out")]
    assert synthesize.main(words) == 0
    (folder,) = (one for one in (tmp_path / "out").iterdir() if not one.name.startswith("."))
    assert b"moss\xe9.png" in (folder / synthesize.COMMAND).read_bytes()


def test_a_second_sigterm_leaves_the_saving_alone() -> None:
    stop = synthesize.Stop()
    with pytest.raises(SystemExit):
        stop(signal.SIGTERM, None)
    stop(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as ended:
        stop.check()
    assert ended.value.code == 143
    with pytest.raises(SystemExit):
        stop(signal.SIGINT, None)
