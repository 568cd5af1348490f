"""Figures that a job prints (M13): JSON lines, Keras' bars, and whatever only looks like them."""

from __future__ import annotations

import json
import math
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.epochs import PAUSE, Epochs
from job_image.lines import MAX_LINE, Splitter
from orchestrator import journal
from tests.conftest import Box
from tests.test_jobs import Stream, agent_of, write

NEW = "\x1b[1m12/100\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m━━━━━━\x1b[0m \x1b[1m1s\x1b[0m 5ms/step - accuracy: 0.9100 - loss: 2.4e-05"


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        (NEW, {"accuracy": 0.91, "loss": 2.4e-05}),
        (
            "12/100 ━━━━━━━━ 1s 5ms/step - accuracy: 0.91 - loss: 0.24 - val_loss: 0.3",
            {"accuracy": 0.91, "loss": 0.24, "val_loss": 0.3},
        ),
        ("  128/60000 [..............................] - ETA: 1:23 - loss: 2.3 - acc: 0.1", {"loss": 2.3, "acc": 0.1}),
        ("60000/60000 [==============================] - 3s 45us/sample - loss: 0.3", {"loss": 0.3}),
        ("10/10 [==============================] - 1s - loss: 0.3", {"loss": 0.3}),
        ("100/100 - 3s - 30ms/step - loss: 0.2 - val_loss: 0.25", {"loss": 0.2, "val_loss": 0.25}),
        ("100/100 - 3s - loss: 0.2", {"loss": 0.2}),
        ("     12/Unknown \x1b[1m1s\x1b[0m 5ms/step - loss: 0.5", {"loss": 0.5}),
        ("5/5 ━━━━━━━━ 0s 5ms/step - loss: nan - mae: 1.0", {"mae": 1.0}),
        ("5/5 ━━━━━━━━ 1:02:03 5s/step - my loss/a: -1", {"my loss/a": -1.0}),
    ],
)
def test_m13_keras_lines_are_metrics(line: str, figures: dict[str, float]) -> None:
    epochs = Epochs()
    assert epochs.read("Epoch 3/10", 1.0) == []
    found = epochs.read(line, 2.0)
    assert {one.metric: one.value for one in found} == figures
    assert {one.step for one in found} == {3.0}


@pytest.mark.parametrize(
    "line",
    [
        "Epoch 3/10 - done",
        "3/4 - done: 5",
        "saved /output/3/4 - loss: 5",
        "12/100 ━━━━ 1s 5ms/step - loss: 0.2 - see you",
        "12/100 ━━━━ 1s 5ms/step",
        "12/100 ━━━━ 1s 5ms/step - ",
        "2026/11/22 - loss: 5",
        "1/2 - 3s - 4s - 5s - 6s - loss: 1",
        "9" * 400 + "/9 ━ 1s 5ms/step - loss: 1",
    ],
)
def test_m13_what_only_looks_like_a_bar_is_log(line: str) -> None:
    assert Epochs().read(line, 1.0) == []


@given(st.text(alphabet="0123456789/ ━[]=>.-:ETAsmlo\x1b\x08\u0662", max_size=200))
def test_m13_no_line_breaks_the_log(line: str) -> None:
    epochs = Epochs()
    for figure in [*epochs.read(line, 1.0), *epochs.glance(line, 100.0)]:
        assert math.isfinite(figure.value)


def test_m13_a_redraw_is_no_flood_and_the_last_drawing_counts() -> None:
    epochs = Epochs()
    epochs.read("Epoch 1/2", 0.0)
    drawings = [f"{n}/1000 ━━━━ 1s 5ms/step - loss: {1 / n}" for n in range(1, 1001)]
    found = [one for at, line in enumerate(drawings) for one in epochs.glance(line, at / 20)]
    assert len(found) == 1000 / 20 / PAUSE + 1
    assert found[-1].value == 0.001, "the epoch's own figure"


def test_s2_a_bar_redrawn_for_hours_is_held_once_and_its_last_drawing_is_the_line() -> None:
    splitter = Splitter()
    for percent in range(100):
        assert splitter.feed(f"\r{percent}% {'#' * 5000}".encode()) == []
    assert splitter.drawing.startswith("99% ")
    assert len(splitter.drawing) < MAX_LINE
    assert splitter.feed(b"\r100%\r") == []
    assert splitter.feed(b"\r\r\nnext\n") == ["100%", "next"]


def test_m13_keras_itself(tmp_path: object, capfd: pytest.CaptureFixture[str]) -> None:
    """The bar of the Keras that is installed, as it draws it into a pipe."""
    from keras.utils import Progbar

    for epoch in (1, 2):
        print(f"Epoch {epoch}/2", flush=True)
        bar = Progbar(40, interval=0, unit_name="step")
        for step in range(1, 41):
            bar.update(step, [("loss", epoch / step)], finalize=False)
        bar.update(40, [("loss", 0.25 / epoch), ("val_loss", 0.5)], finalize=True)
    splitter, epochs = Splitter(), Epochs()
    lines = splitter.feed(capfd.readouterr().out.encode())
    found = [one for line in lines for one in epochs.read(line, 1.0)]
    assert [(one.step, one.metric, one.value) for one in found] == [
        (1, "loss", 0.25),
        (1, "val_loss", 0.5),
        (2, "loss", 0.125),
        (2, "val_loss", 0.5),
    ]


def test_m13_last_values_stand_in_the_final_record_and_nothing_breaks_the_log(box: Box) -> None:
    bar = "Epoch 2/2\\n3/5 ━━━━ 1s 5ms/step - loss: 0.9\\r5/5 ━━━━ 1s 5ms/step - loss: 0.24 - val_loss: 0.3\\n"
    command = f"""
echo '{{"metric": "f1", "value": 0.5, "step": 1}}'
echo '{{"metric": "f1", "value": 0.75, "step": 2}}'
echo '{{"metric": "f1", "value": '
echo '{{"metric": "f1", "value": 1e999}}'
printf '{bar}'
printf '5/5 - not a bar: x\\n\\377\\376\\n'
"""
    lines = "\n".join(f"  {line}" for line in command.splitlines())
    box.swatch("submit", box.manifest(f"name: try\ncommand: |\n{lines}\n"), "--watch")
    final = json.loads(box.store.read("projects/try/jobs/1/final.json"))
    assert final["metrics"] == {"f1": 0.75, "loss": 0.24, "val_loss": 0.3}
    events = [event for chunk in journal.read(box.store, "try", 1) for event in chunk.events]
    steps = [(one.metric, one.step) for one in events if isinstance(one, journal.Metric)]
    assert steps == [("f1", 1), ("f1", 2), ("loss", 2.0), ("val_loss", 2.0)]
    said = box.swatch("logs", "try/1")
    assert '{"metric": "f1", "value": 1e999}' in said and "5/5 - not a bar: x" in said


def test_m13_figures_of_earlier_attempts_stand_in_the_final_record(box: Box) -> None:
    command = f"""
if test -e "$SWATCH_CHECKPOINT_DIR/half"; then
  echo '{{"metric": "loss", "value": 1}}'; exit 0
fi
touch "$SWATCH_CHECKPOINT_DIR/half"
echo ready $$; echo '{{"metric": "loss", "value": 2}}'; echo '{{"metric": "first", "value": 3}}'; cat {box.pipe("gate")}
"""
    manifest = write(box, command)
    box.swatch("submit", manifest)
    stream = Stream(box, "try/1")
    pid = int(stream.text("ready"))
    stream.until(kind="metric", metric="first")
    os.kill(agent_of(pid), signal.SIGKILL)
    stream.end()
    box.swatch("submit", manifest, "--watch")
    assert box.json("info", "try/1")["final"]["metrics"] == {"loss": 1, "first": 3}
