"""Whole textures by the weight-free method: the asked size, no seam, the sources' colours, the same bytes again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from job_image.texture import images, patchwork, synthesis
from job_image.texture.checkpoint import Checkpoint
from job_image.texture.parameters import Parameters

Array = npt.NDArray[np.float32]


def blobs(rows: int, columns: int, seed: int = 0) -> Array:
    """Soft blobs of two colours with some grain: a texture without a period."""
    random = np.random.default_rng(seed)
    coarse = images.resize(random.random((rows // 6 + 1, columns // 6 + 1, 1), dtype=np.float32), columns, rows)
    share = np.clip(4 * coarse - 1.5, 0, 1)
    colours = share * np.array([0.8, 0.5, 0.3]) + (1 - share) * np.array([0.2, 0.3, 0.4])
    made: Array = np.clip(colours + random.normal(0, 0.02, (rows, columns, 1)), 0, 1).astype(np.float32)
    return made


@pytest.fixture(autouse=True)
def _without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measures have tests of their own, and would take longer than these small textures."""
    monkeypatch.setattr(synthesis, "measure", lambda *_, **__: {"figures": {}, "reasons": []})


def nothing(_record: dict[str, Any] | None = None) -> None:
    """Neither tells nor stops."""


def make(
    folder: Path,
    sources: Sequence[Array],
    parameters: Parameters,
    checkpoint: Checkpoint | None = None,
    alive: Callable[[], None] = nothing,
) -> Array:
    """The texture as written, in [0, 1]."""
    kept = checkpoint or Checkpoint(None, "anything")
    synthesis.Synthesis(folder, synthesis.Subject(sources), parameters, kept, nothing, alive).run()
    return images.read(folder / "texture.png")


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in {"one": 1, "same": 1, "other": 2}.items():
        make(tmp_path / name, [blobs(48, 48)], Parameters(40, 48, seed))
    one, same, other = ((tmp_path / name / "texture.png").read_bytes() for name in ("one", "same", "other"))
    assert one == same
    assert one != other


def test_the_texture_wraps_without_a_seam(tmp_path: Path) -> None:
    texture = make(tmp_path, [blobs(64, 64)], Parameters(48, 56))
    for axis in (0, 1):
        steps = np.abs(np.diff(texture, axis=axis, append=texture.take([0], axis))).mean((1 - axis, 2))
        assert 0.5 < steps[-1] / np.median(steps) < 2
        assert steps[-1] <= 1.2 * steps[:-1].max()


def test_colours_stay_the_sources_colours(tmp_path: Path) -> None:
    source = blobs(64, 64)
    texture = make(tmp_path, [source], Parameters(64, 64))
    np.testing.assert_allclose(texture.mean((0, 1)), source.mean((0, 1)), atol=0.06)
    np.testing.assert_allclose(texture.std((0, 1)), source.std((0, 1)), rtol=0.25)


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ((64, 64), Parameters(32, 32)),
        ((60, 70), Parameters(48, 150)),
        ((32, 32), Parameters(97, 45)),
        ((32, 150), Parameters(33, 64)),
        ((60, 40), Parameters(40, 40, source_width=64)),
        ((64, 64), Parameters(48, 40, seamless="none")),
    ],
)
def test_every_size_and_shape(tmp_path: Path, source: tuple[int, int], parameters: Parameters) -> None:
    make(tmp_path, [blobs(*source)], parameters)
    width, height = parameters.width, parameters.height
    with Image.open(tmp_path / "texture.png") as texture, Image.open(tmp_path / "tiled.png") as tiled:
        assert texture.size == (width, height) and tiled.size == (2 * width, 2 * height)
    report = json.loads((tmp_path / "report.json").read_text())
    previews = list((tmp_path / "previews").iterdir())
    assert {path.stem for path in previews} == set(report["levels"])
    for path in previews:
        with Image.open(path) as preview:
            assert path.stem == f"{preview.width}x{preview.height}"
    assert report["levels"][-1] == f"{width}x{height}"
    assert report["seconds"]["total"] > 0 and report["peak_memory_bytes"] > 0
    assert set(report["versions"]) == {"python", "backend", "tensorflow", "keras", "numpy", "pillow"}
    assert report["versions"]["backend"] == "tensorflow"


def test_sources_are_pooled(tmp_path: Path) -> None:
    dark, light = np.zeros((64, 64, 3), np.float32), np.ones((64, 96, 3), np.float32)
    texture = make(tmp_path, [blobs(64, 64) * 0.3 + dark, 0.7 * light + blobs(64, 96) * 0.3], Parameters(64, 64))
    assert 0.1 < (texture.mean(2) < 0.4).mean() < 0.9
    with Image.open(tmp_path / "source.png") as sheet:
        assert sheet.width > 100


def test_a_regular_source_keeps_its_rows(tmp_path: Path) -> None:
    wave = np.sin(2 * np.pi * np.arange(128) / 13)[:, None, None]
    source = np.clip(0.5 + 0.3 * wave + 0.3 * (blobs(128, 128) - 0.4), 0, 1).astype(np.float32)
    texture = make(tmp_path, [source], Parameters(128, 128))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["periods"] == [0, 10]
    regular = report["quality"]["regularity"]
    assert regular["dislocations"] == 0 and regular["straightness"] < 0.1 and regular["period_error"] < 0.02
    rows = texture.mean((1, 2))
    assert np.abs(np.fft.rfft(rows - rows.mean())).argmax() == 10


@pytest.mark.parametrize("colour", [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (1.0, 0.2, 0.6)])
def test_one_flat_colour_stays_what_it_is(tmp_path: Path, colour: tuple[float, float, float]) -> None:
    source = np.broadcast_to(np.array(colour, np.float32), (40, 40, 3)).copy()
    np.testing.assert_allclose(make(tmp_path, [source], Parameters(32, 32)), source[:32, :32], atol=0.02)


def test_a_grey_source_gives_a_grey_texture(tmp_path: Path) -> None:
    grey = np.repeat(blobs(64, 64).mean(axis=2, keepdims=True), 3, axis=2)
    assert np.ptp(make(tmp_path, [grey], Parameters(48, 48)), axis=2).max() < 0.03


def interrupt_after(calls: int) -> Callable[[], None]:
    left = [calls]

    def alive() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit

    return alive


@pytest.mark.parametrize("calls", [3, 40, 64])  # in the first level, in a later one, in the finish
def test_an_interrupted_texture_ends_with_the_same_bytes(tmp_path: Path, calls: int) -> None:
    sources, parameters = [blobs(48, 48)], Parameters(48, 48)
    make(tmp_path / "whole", sources, parameters)
    checkpoint = Checkpoint(tmp_path / "state" / "it.npz", "this task")
    with pytest.raises(SystemExit):
        make(tmp_path / "parts", sources, parameters, checkpoint, interrupt_after(calls))
    assert (tmp_path / "parts" / "unfinished.png").is_file()
    assert not (tmp_path / "parts" / "report.json").exists()
    make(tmp_path / "parts", sources, parameters, checkpoint)
    assert (tmp_path / "parts/texture.png").read_bytes() == (tmp_path / "whole/texture.png").read_bytes()
    whole, parts = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "parts"))
    assert whole["resumed_at"] is None and 0 < parts["resumed_at"] < 1
    assert parts["loss"] == whole["loss"]
    assert list((tmp_path / "state").iterdir()) == []
    assert not (tmp_path / "parts" / "unfinished.png").exists()


def test_a_large_texture_is_shown_small_and_stopped_in_haste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last touch takes of a large picture could outlast the grace of a stopped run; the result has it."""
    sources, parameters = [blobs(48, 48)], Parameters(48, 40)
    make(tmp_path / "whole", sources, parameters)
    monkeypatch.setattr(synthesis, "PREVIEW_SIDE", 44)
    monkeypatch.setattr(synthesis, "TILED_SIDE", 64)
    monkeypatch.setattr(patchwork, "LARGE", 47 * 40)
    checkpoint = Checkpoint(tmp_path / "it.npz", "this task")
    with monkeypatch.context() as hurried:
        hurried.setattr(patchwork, "equalised", lambda *_: pytest.fail("there is no time for this"))
        with pytest.raises(SystemExit):
            make(tmp_path / "parts", sources, parameters, checkpoint, interrupt_after(66))
    assert images.read(tmp_path / "parts" / "unfinished.png").shape == (40, 48, 3)
    made = make(tmp_path / "parts", sources, parameters, checkpoint)
    assert (tmp_path / "parts/texture.png").read_bytes() == (tmp_path / "whole/texture.png").read_bytes()
    sizes = {one.stem: images.read(one).shape for one in (tmp_path / "parts" / "previews").glob("4*.png")}
    assert sizes["48x40"] == (37, 44, 3) and all(max(size) <= 44 for size in sizes.values())
    tiled = images.read(tmp_path / "parts" / "tiled.png")
    assert tiled.shape == (54, 64, 3), "two by two of 32x27"
    np.testing.assert_array_equal(tiled[:27, :32], tiled[27:, 32:])
    assert np.abs(tiled[:27, :32].mean((0, 1)) - made.mean((0, 1))).max() < 0.01


def test_foreign_and_damaged_checkpoints_are_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    kept = Checkpoint(path, "mine")
    assert kept.load() is None
    kept.save({"level": np.asarray(2), "picture": blobs(32, 32)})
    found = kept.load()
    assert found is not None and set(found) == {"level", "picture"} and int(found["level"]) == 2
    np.testing.assert_array_equal(found["picture"], blobs(32, 32))
    assert kept.is_ours() and not Checkpoint(path, "another's").is_ours()
    whole = path.read_bytes()
    directory = whole.rindex(b"PK\1\2")
    foreign = [
        whole[: directory + at] + bytes([value]) + whole[directory + at + 1 :]
        for at, value in ((6, 255), (8, 1), (8, 64), (10, 8), (10, 99))  # version, flags, compression
    ]
    middle = len(whole) // 2
    for damaged in (whole[:-100], b"", b"nonsense", whole[:middle] + bytes(50) + whole[middle + 50 :], *foreign):
        path.write_bytes(damaged)
        assert kept.load() is None


def test_a_state_with_a_pickle_in_it_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    kept = Checkpoint(path, "mine")
    kept.save({"level": np.asarray(2)})
    with np.load(path) as saved:
        arrays = dict(saved)
    np.savez(path, **arrays, picture=np.array([{"an": "object"}], object))
    assert kept.load() is None


def test_a_texture_in_the_making_has_no_report_of_an_earlier_one(tmp_path: Path) -> None:
    make(tmp_path, [blobs(32, 32)], Parameters(32, 32))
    with pytest.raises(SystemExit):
        make(tmp_path, [blobs(32, 32)], Parameters(32, 32, seed=1), alive=interrupt_after(1))
    assert not (tmp_path / "report.json").exists()


def test_the_tiling_is_the_texture_two_by_two(tmp_path: Path) -> None:
    texture = images.to_bytes(make(tmp_path, [blobs(32, 32)], Parameters(40, 32)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "tiled.png")), np.tile(texture, (2, 2, 1)))
