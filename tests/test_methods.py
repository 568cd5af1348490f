"""The methods with weights, end to end: what each promises about its pictures, its files and its failures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from PIL import Image

from job_image.texture import images, memory
from job_image.texture.network import Network
from job_image.texture.spectrum import Spectrum
from tests import program
from tests.vgg import random_weights, write_npz

pytestmark = pytest.mark.usefixtures("bare")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return program.painted(tmp_path / "moss.png", 64, 72)


def seams(picture: program.Array) -> tuple[float, float]:
    """The step from the last column, and row, to the first, as a multiple of a usual one's: (across, down)."""
    ratios = []
    for axis in (1, 0):
        steps = np.abs(np.diff(picture, axis=axis, append=picture.take([0], axis))).mean((1 - axis, 2))
        ratios.append(float(steps[-1] / np.median(steps[:-1])))
    return ratios[0], ratios[1]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(("seamless", "wraps"), [("both", (1, 1)), ("x", (1, 0)), ("y", (0, 1)), ("none", (0, 0))])
def test_there_is_no_seam_where_the_picture_wraps_and_only_there(
    tmp_path: Path, vgg: Path, source: Path, seamless: str, wraps: tuple[int, int]
) -> None:
    words = ("-s", source, "-d", vgg, "-ow", 64, "-m", 12, "-o", 2, "--seamless", seamless)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    found = seams(images.read(program.only(tmp_path / "out") / "texture.png"))
    for ratio, wrapping in zip(found, wraps, strict=True):
        assert (ratio < 1.4) if wrapping else (ratio > 2), found


@pytest.mark.usefixtures("unmeasured")
def test_the_compatible_method_has_no_seam_when_asked(tmp_path: Path, vgg: Path, source: Path) -> None:
    words = ("-s", source, "-d", vgg, "--method", "snelgrove", "-ow", 64, "-m", 12, "-o", 2)
    found = {}
    for seamless in ("both", "none"):
        assert program.run(*words, "--seamless", seamless, "--output-dir", tmp_path / seamless) == 0
        found[seamless] = seams(images.read(program.only(tmp_path / seamless) / "texture.png"))
    assert max(found["both"]) < 1.2 < min(found["none"]), found


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("seamless", ["both", "x", "none"])
def test_sizes_need_be_no_multiple_of_anything(tmp_path: Path, vgg: Path, source: Path, seamless: str) -> None:
    words = ("-s", source, "-d", vgg, "-ow", 100, "-oh", 70, "-m", 1, "-o", 2, "--seamless", seamless, "-n", 100)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    folder = program.only(tmp_path / "out")
    sizes = {}
    for name in ("texture", "tiled", "Aseed_F0000"):
        with Image.open(folder / f"{name}.png") as picture:
            sizes[name] = picture.size
    assert sizes["texture"] == (100, 70) and sizes["tiled"] == (200, 140)
    if seamless == "both":
        assert max(seams(images.read(folder / "texture.png"))) < 1.6
    report = program.record(tmp_path / "out")
    assert report["method"].startswith("swatch/") and report["size"] == [100, 70]
    assert {one.stem for one in (folder / "previews").iterdir()} == set(report["levels"])


@pytest.mark.usefixtures("unmeasured")
def test_gatys_keeps_the_colours_of_its_source(tmp_path: Path, vgg: Path, source: Path) -> None:
    words = ("-s", source, "-d", vgg, "--method", "gatys", "-l", "conv1_1", "pool1", "-ow", 56, "-m", 3)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    assert program.only(tmp_path / "out").name == "out.Lconv1_1,pool1.o4.gatys.56x56"
    made, wanted = program.pixels(tmp_path / "out"), images.to_bytes(images.read(source))
    for channel in range(3):
        own, other = made[..., channel].ravel(), wanted[..., channel].ravel()
        assert own.min() >= other.min() and own.max() <= other.max()
        shares = np.linspace(0, 1, 21)
        np.testing.assert_allclose(np.quantile(own, shares), np.quantile(other, shares), atol=2)
    # While it is made, colours are bounded only.
    saved = images.to_bytes(images.read(program.only(tmp_path / "out") / "I0000_F0000.png"))
    assert (saved.min((0, 1)) >= wanted.min((0, 1))).all() and (saved.max((0, 1)) <= wanted.max((0, 1))).all()
    assert not np.array_equal(np.sort(saved[..., 0].ravel()), np.sort(made[..., 0].ravel()))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.slow
def test_style_keeps_the_content_as_much_as_asked(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_npz(tmp_path / "vgg.npz", random_weights(deepest="conv4_2"))
    halves = np.full((64, 64, 3), 0.1, np.float32)
    halves[:, 32:] = 0.9
    images.write_png(tmp_path / "halves.png", halves)
    words = ("-s", source, "-d", tmp_path / "vgg.npz", "--method", "style", "-l", "conv1_1", "-p", "same", "-ow", 40)

    def contrast(weight: float) -> float:
        """How much lighter the right half of the picture is, as the content's."""
        out = tmp_path / f"weight{weight}"
        more = ("--content", tmp_path / "halves.png", "--content-weight", weight, "-m", 60)
        assert program.run(*words, *more, "--output-dir", out) == 0
        picture = images.read(program.only(out) / "texture.png").mean((0, 2))
        assert program.record(out)["quality"]["verdict"] == "unmeasured"
        return float(picture[20:].mean() - picture[:20].mean())

    assert contrast(1e9) > contrast(0) + 0.2
    capsys.readouterr()
    assert program.run(*words, "--output-dir", tmp_path / "none") == 1
    assert (
        'the method "style" needs a picture to keep the content of: name it with --content' in capsys.readouterr().out
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.slow
def test_style_with_padding_is_made_in_tiles_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is looked at in tiles, too, and the picture is the same but for rounding."""
    write_npz(tmp_path / "vgg.npz", random_weights(deepest="conv4_2"))
    look, town = (
        program.painted(tmp_path / f"{name}.png", 160, 150, seed) for seed, name in enumerate(("look", "town"))
    )
    words = ("-s", look, "--content", town, "-d", tmp_path / "vgg.npz", "--method", "style", "-l", "2", "-p", "same")
    for name, free in (("whole", 1 << 40), ("tiled", 1 << 20)):
        monkeypatch.setattr(memory, "free", lambda free=free: free)
        more = ("-ow", 150, "-m", 3, "--content-weight", 1e5, "--output-dir", tmp_path / name)
        assert program.run(*words, *more) == 0
    whole, tiled = (program.record(tmp_path / name) for name in ("whole", "tiled"))
    assert (whole["tile"], tiled["tile"]) == (None, 128)
    assert tiled["loss"] == pytest.approx(whole["loss"], rel=1e-3)
    assert np.abs(program.pixels(tmp_path / "whole").astype(int) - program.pixels(tmp_path / "tiled")).max() <= 2


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.slow
def test_the_default_method_pulls_a_regular_source_towards_its_spectrum(
    tmp_path: Path, vgg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.broadcast_to(0.5 + 0.4 * np.sin(2 * np.pi * np.arange(80) / 8)[:, None, None], (80, 80, 3))
    images.write_png(tmp_path / "rows.png", np.ascontiguousarray(rows, np.float32))
    pulls: list[float] = []
    call = Spectrum.__call__

    def counted(self: Spectrum, picture: Any) -> Any:
        pulls.append(self.weight)
        return call(self, picture)

    monkeypatch.setattr(Spectrum, "__call__", counted)
    words = ("-s", tmp_path / "rows.png", "-d", vgg, "-ow", 64, "-m", 2, "-o", 2)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    assert program.record(tmp_path / "out")["periods"] == [0, 10]
    assert max(pulls) > 0
    pulls.clear()
    plain = program.painted(tmp_path / "moss.png", 64, 72)
    assert program.run("-s", plain, "-d", vgg, "-ow", 64, "-m", 2, "-o", 2, "--output-dir", tmp_path / "moss") == 0
    assert pulls == [], "nothing repeats there"


@pytest.mark.usefixtures("unmeasured")
def test_sixteen_bits_are_sixteen(tmp_path: Path, vgg: Path, source: Path) -> None:
    words = ("-s", source, "-d", vgg, "-ow", 40, "-m", 1, "--bits", 16, "--output-dir", tmp_path / "out")
    assert program.run(*words) == 0
    folder = program.only(tmp_path / "out")
    _, _, rows, described = png.Reader(bytes=(folder / "texture.png").read_bytes()).read()
    deep = np.vstack([np.asarray(row, np.uint16) for row in rows]).reshape(40, 40, 3)
    assert described["bitdepth"] == 16 and len(np.unique(deep % 256)) > 200
    with tifffile.TiffFile(folder / "texture.tiff") as file:
        np.testing.assert_array_equal(file.asarray(), deep)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_several_sources_all_have_a_say(tmp_path: Path, vgg: Path, method: str) -> None:
    shades = []
    for name, shade in (("dark", 0.0), ("light", 0.6)):
        picture = images.read(program.painted(tmp_path / f"{name}.png", 48, 64))
        images.write_png(tmp_path / f"{name}.png", 0.4 * picture + shade)
        shades.append(0.4 * picture.mean() + shade)
    words = ("-s", tmp_path / "dark.png", tmp_path / "light.png", "-d", vgg, "--method", method, "-ow", 48, "-m", 20)
    assert program.run(*words, "-o", 2, "--output-dir", tmp_path / "out") == 0
    mean = program.pixels(tmp_path / "out").mean() / 255
    assert shades[0] + 0.05 < mean < shades[1] - 0.05
    with Image.open(program.only(tmp_path / "out") / "source.png") as sheet:
        assert sheet.width / sheet.height == pytest.approx(2 * 64 / 48, rel=0.05)
    assert len(program.record(tmp_path / "out")["source_sizes"]) == 2


def tasks(folder: Path, *wanted: dict[str, Any]) -> Path:
    path = folder / "tasks.json"
    path.write_text(json.dumps({"schema": 1, "tasks": list(wanted)}))
    return path


@pytest.mark.usefixtures("unmeasured")
def test_a_texture_that_needs_a_deeper_layer_than_the_weights_have_fails_alone(
    tmp_path: Path, vgg: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights end with conv3_2; one that needs more, and nothing else, is refused before any compute."""
    how = {"width": 48, "height": 48, "method": "snelgrove", "iterations": 1, "octaves": 1}

    def one(name: str, layer: str) -> dict[str, Any]:
        return {"name": name, "sources": [str(source)], "parameters": {**how, "layers": [layer]}}

    many = tasks(tmp_path, one("deep", "conv4_1"), one("deeper", "conv5_1"), one("shallow", "conv1_1"))
    assert program.run("--tasks", many, "-d", vgg, "--output-dir", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "deep: failed: the weights have no conv4_1; name a whole file" in said
    assert program.record(tmp_path / "out")["layers"] == ["conv1_1"]
    assert program.run("--tasks", tasks(tmp_path, one("deep", "conv4_1")), "-d", vgg) == 2
    assert "lacks the kernel of conv3_3; name a whole file" in capsys.readouterr().err


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_a_list_compiles_once_for_each_shape_and_a_failing_texture_fails_alone(
    tmp_path: Path, vgg: Path, source: Path, method: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    traced: list[Any] = []
    features = Network.features

    def counted(self: Network, picture: Any, *others: Any) -> Any:
        traced.append(picture.shape)
        return features(self, picture, *others)

    monkeypatch.setattr(Network, "features", counted)
    how = {"width": 48, "height": 48, "method": method, "iterations": 2, "octaves": 2}

    def one(name: str, source: Path, **more: object) -> dict[str, Any]:
        return {"name": name, "sources": [str(source)], "parameters": {**how, **more}}

    single = tasks(tmp_path, one("single", source))
    assert program.run("--tasks", single, "-d", vgg, "--output-dir", tmp_path / "single") == 0
    once = len(traced)
    traced.clear()
    other = program.painted(tmp_path / "other.png", 64, 72, seed=3)
    many = tasks(
        tmp_path,
        one("single", source),
        one("seeded", source, seed=2),
        one("narrow", source, source_width=40, layers=["conv9_1"]),
        one("other", other, seed=4),
    )
    assert program.run("--tasks", many, "-d", vgg, "--output-dir", tmp_path / "many") == 1
    assert once > 0 and len(traced) == once
    ends = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"task"')]
    assert [(end["task"], end["state"]) for end in ends[1:]] == [
        ("single", "success"),
        ("seeded", "success"),
        ("narrow", "failed"),
        ("other", "success"),
    ]
    assert "VGG-19 has no layer 'conv9_1'" in ends[3]["error"]
    same, again = (tmp_path / folder / "single" / "texture.png" for folder in ("single", "many"))
    assert same.read_bytes() == again.read_bytes(), "what was made before changes nothing"


def test_named_weights_that_are_not_there_end_all_before_any_compute(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for given in (tmp_path / "empty", tmp_path / "nowhere"):
        assert program.run("-s", source, "-d", given, "--output-dir", tmp_path / "out") == 2
        err = capsys.readouterr().err
        assert f"--data-dir {given}: no VGG-19 weights there" in err and len(err.splitlines()) == 1
    (tmp_path / "empty" / "vgg19.npz").write_bytes(b"PK torn")
    assert program.run("-s", source, "-d", tmp_path / "empty", "--output-dir", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "empty" / "vgg19.npz") in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unmeasured")
def test_weights_are_found_where_people_have_them(
    tmp_path: Path, bare: Path, vgg: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = ("-s", source, "--method", "snelgrove", "-ow", 36, "-l", 0, "-o", 1, "-m", 1, "--output-dir")
    mounted = tmp_path / "mounts" / "weights"
    (tmp_path / "mounts" / "another").mkdir(parents=True)
    mounted.mkdir()
    (mounted / "vgg19.npz").symlink_to(vgg / "vgg19.npz")
    monkeypatch.setenv("SWATCH_DATA_DIR", str(tmp_path / "mounts"))
    assert program.run(*words, tmp_path / "linked") == 1, "a link that leads out of the folder is not followed"
    (mounted / "vgg19.npz").unlink()
    (mounted / "vgg19.npz").hardlink_to(vgg / "vgg19.npz")
    assert program.run(*words, tmp_path / "mounted") == 0
    assert f"Weights: {mounted / 'vgg19.npz'} (npz" in capsys.readouterr().out
    (bare / "model_data").mkdir()
    (bare / "model_data" / "vgg.npz").hardlink_to(vgg / "vgg19.npz")
    assert program.run(*words, tmp_path / "default") == 0
    assert f"Weights: {Path('model_data/vgg.npz')} (npz" in capsys.readouterr().out
    assert program.record(tmp_path / "default")["weights"] == program.record(tmp_path / "mounted")["weights"]


@pytest.mark.usefixtures("unmeasured")
def test_without_weights_the_weight_free_method_is_said_loudly(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run("-s", source, "-ow", 32, "--output-dir", tmp_path / "out") == 0
    assert "NO VGG-19 WEIGHTS" in capsys.readouterr().out
    report = program.record(tmp_path / "out")
    assert report["method"].startswith("patch/") and report["weights"] is None
    assert program.run("-s", source, "-ow", 32, "--method", "snelgrove", "--output-dir", tmp_path / "none") == 1
    assert "the method 'snelgrove' needs VGG-19 weights: name their folder with --data-dir" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_a_report_says_how_the_picture_came_to_be(tmp_path: Path, vgg: Path, source: Path, method: str) -> None:
    words = ("-s", source, "-d", vgg, "--method", method, "-ow", 48, "-m", 2, "--seed", 5)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    report = program.record(tmp_path / "out")
    assert report["method"].partition("/")[0] == method and report["seed"] == 5 and report["size"] == [48, 48]
    assert report["parameters"]["width"] == 48 and report["parameters"]["iterations"] == 2
    assert re.fullmatch("[0-9a-f]{64}", report["weights"]) and re.fullmatch("[0-9a-f]{64}", report["fingerprint"])
    assert report["layers"] == ["pool1", "conv3_2"]
    assert report["losses"][report["levels"][-1]] == report["loss"] > 0 and report["evaluations"] >= 3
    assert report["seconds"]["total"] >= report["seconds"]["making"] > 0
    assert report["peak_memory_bytes"] > 1 << 20
    assert {"python", "backend", "tensorflow", "keras", "numpy", "pillow"} == set(report["versions"])
    assert {"verdict", "reasons", "figures"} <= set(report["quality"])


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("method", ["swatch", "snelgrove", "patch"])
def test_the_default_method_and_the_others_begin_as_asked(tmp_path: Path, vgg: Path, source: Path, method: str) -> None:
    """Namely with a picture that is its own mirror image."""
    made: list[float] = []
    choices: list[tuple[str, ...]] = [(), ("--seed", "symmetric")]
    for more in choices:
        out = tmp_path / f"out{len(made)}"
        words = ("-s", source, "-d", vgg, "--method", method, "-ow", 48, "-m", 1, "-n", 100, *more)
        assert program.run(*words, "--output-dir", out) == 0
        start = images.read(program.only(out) / "Aseed_F0000.png")
        made.append(float(np.abs(start - start[:, ::-1]).mean() / start.std()))
    assert made[1] < 0.35 < made[0]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("method", ["swatch", "snelgrove"])
def test_octaves_that_do_not_exist_do_not_enlarge_the_picture(
    tmp_path: Path, vgg: Path, source: Path, method: str
) -> None:
    """A seamless picture halves evenly through all of its octaves, so it used to be made 512 pixels wide, and shrunk."""
    words = ("-s", source, "-d", vgg, "--method", method, "-ow", 64, "-m", 1, "-o", 9, "-l", "pool1")
    assert program.run(*words, "--seamless", "both", "--output-dir", tmp_path / "out") == 0
    report = program.record(tmp_path / "out")
    assert report["levels"][-1] == "64x64" and report["octaves"] == [0, 1, 2]


@pytest.mark.usefixtures("unmeasured")
def test_same_padding_alone_means_a_picture_that_ends(tmp_path: Path, vgg: Path, source: Path) -> None:
    """As in subjective-functions, whose pictures never wrap; only both asked for together make no sense."""
    words = ("-s", source, "-d", vgg, "-ow", 48, "-m", 2, "-o", 2, "--output-dir")
    assert program.run(*words, tmp_path / "alone", "-p", "same") == 0
    assert program.run(*words, tmp_path / "none", "-p", "same", "--seamless", "none") == 0
    assert program.run(*words, tmp_path / "valid", "--seamless", "none") == 0
    alone, none, valid = (program.pixels(tmp_path / name) for name in ("alone", "none", "valid"))
    np.testing.assert_array_equal(alone, none)
    assert not np.array_equal(none, valid), "padding reaches the default method at all"
    assert program.run(*words, tmp_path / "both", "-p", "same", "--seamless", "both") == 1
