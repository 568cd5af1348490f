"""The twelve bugs and limits of subjective-functions, each by what must hold now."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import keras
import numpy as np
import png
import pytest
from keras import ops
from PIL import ExifTags, Image

from job_image.texture import images, joining, memory, objective, weights
from job_image.texture.backend import to_numpy
from job_image.texture.lbfgs import LBFGS
from job_image.texture.network import Network
from job_image.texture.objective import Objective
from job_image.texture.statistics import GramDistance, Place, View, moments, target
from job_image.texture.vgg import LAYERS, layer
from tests import program
from tests import vgg as layouts

pytestmark = pytest.mark.usefixtures("bare", "unmeasured")

SMALL = ("--method", "snelgrove", "-ow", 36, "-o", 1, "-l", "2", "-m", 2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return program.painted(tmp_path / "moss.png", 48, 52)


def noise(count: int, side: int, seed: int = 0) -> program.Array:
    return np.random.default_rng(seed).normal(0, 40, (count, side, side, 3)).astype(np.float32)


def matching(view: View, wanted: program.Array) -> Objective:
    """The distance of Gram matrices from those of a picture."""
    network = Network(layouts.random_weights(deepest="conv2_1"), "random")
    aims = [target([one]) for one in moments(network, view, ops.convert_to_tensor(wanted)).averages]
    return Objective(network, view, GramDistance((1.0,) * len(view.places)), aims)


def test_1_the_padding_mode_reaches_the_network(tmp_path: Path, vgg: Path, source: Path) -> None:
    made = []
    for padding in ("valid", "same"):
        out = tmp_path / padding
        assert program.run("-s", source, "-d", vgg, *SMALL, "-p", padding, "--output-dir", out) == 0
        made.append(program.record(out)["loss"])
    assert made[0] != made[1]
    network = Network(layouts.random_weights(deepest="conv1_2"), "random")
    picture = ops.convert_to_tensor(noise(1, 12))
    shapes = [network.features(picture, LAYERS[1:2], padding)[0].shape[1:3] for padding in ("valid", "same")]
    assert shapes == [(8, 8), (12, 12)]


def test_2_the_border_is_pulled_as_much_as_the_middle_of_a_seamless_picture() -> None:
    strengths = {}
    for wraps in ((True, True), (False, False)):
        loss = matching(View((Place(0, layer("pool1")), Place(1, layer("pool1"))), wraps), 2 * noise(1, 48, 1))
        pull = np.abs(to_numpy(loss(noise(1, 48))[1]))[0].mean(2)
        strengths[wraps] = pull[0].mean() / pull[16:32, 16:32].mean()
    assert strengths[True, True] > 0.8 and strengths[False, False] < 0.5


def test_3_frames_are_compared_in_bands_and_moved_by_fractions(tmp_path: Path, vgg: Path, source: Path) -> None:
    words = ("-c", 2, "--if-distance-type", "lap1", "--if-shift", 2.5, "--output-dir", tmp_path / "out")
    assert program.run("-s", source, "-d", vgg, *SMALL, *words) == 0
    assert program.record(tmp_path / "out")["parameters"]["frame_shift"] == 2.5


def test_4_every_frame_has_a_loss_of_its_own() -> None:
    loss = matching(View((Place(0, layer("pool1")),)), 2 * noise(1, 32, 9))
    frames = noise(3, 32)
    together, slope = loss(frames)
    apart = [loss(frame[None]) for frame in frames]
    assert together == pytest.approx(sum(one for one, _ in apart), rel=1e-4)
    for number, (_, alone) in enumerate(apart):
        found, wanted = to_numpy(slope)[number], to_numpy(alone)[0]
        np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


def test_4_two_frames_are_made_with_the_defaults(tmp_path: Path, vgg: Path, source: Path) -> None:
    words = ("-s", source, "-d", vgg, "--method", "snelgrove", "-c", 2, "-ow", 40, "-m", 1)
    assert program.run(*words, "--output-dir", tmp_path / "out") == 0
    assert len(list((program.only(tmp_path / "out") / "frames").iterdir())) == 2


def test_5_the_means_of_gram_matrices_are_means() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    one, other = np.array([1.0, 2, 3, 4, 5]), np.array([9.0, 2, 12, 1, 5])
    grams = [(turn * values) @ turn.T for values in (one, other)]
    # Matrices with the same eigenvectors: whatever the geometry, the mean has the geometric mean of eigenvalues.
    wanted = (turn * np.sqrt(one * other)) @ turn.T
    for mode in ("log_euclidean", "affine_invariant", "riemann"):
        found = joining.join(grams, mode)
        assert found.shape == (5, 5)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(joining.join(grams[:1], mode), grams[0])


def test_6_weights_need_no_program_to_prepare_them(tmp_path: Path) -> None:
    own = layouts.random_weights(deepest="conv2_1")
    layouts.write_whole_model(tmp_path / "gatys_valid.h5", own)
    layouts.write_keras_2(tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", own)
    for path in tmp_path.glob("*.h5"):
        found = weights.load(path, "conv2_1")
        for name, both in own.items():
            for mine, read in zip(both, found.kernels[name], strict=True):
                np.testing.assert_array_equal(mine, read)


def test_7_a_seed_is_a_number_and_decides_every_byte(tmp_path: Path, vgg: Path, source: Path) -> None:
    made = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / f"run{number}"
        assert program.run("-s", source, "-d", vgg, *SMALL, "--seed", seed, "--output-dir", out) == 0
        made.append((program.only(out) / "texture.png").read_bytes())
    assert made[0] == made[1] != made[2]


def test_7_no_octaves_are_refused(tmp_path: Path, vgg: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run("-s", source, "-d", vgg, *SMALL, "-o", 0, "--output-dir", tmp_path / "out") == 1
    assert "octaves is 0; it must be a whole number from 1 to 9" in capsys.readouterr().out


def test_8_it_runs_on_keras_3_and_says_nothing_on_standard_error(
    tmp_path: Path, vgg: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keras.version().startswith("3.")
    assert program.run("-s", source, "-d", vgg, *SMALL, "--output-dir", tmp_path / "out") == 0
    assert capsys.readouterr().err == ""


def test_9_the_descent_remembers_little_and_in_single_precision() -> None:
    def bowl(point: Any) -> tuple[float, Any]:
        scales = np.linspace(1, 9, 300, dtype=np.float32)
        return float(ops.sum(scales * point**2)), 2 * scales * point

    descent = LBFGS(bowl, np.linspace(-1, 1, 300), memory=10)
    for _ in range(15):
        descent.iterate()
    arrays = [one for one in descent.state().values() if one.size == 300]
    assert len(arrays) <= 2 + 2 * 10 and {one.dtype for one in arrays} == {np.dtype(np.float32)}
    assert memory.free() is not None


def test_10_a_picture_that_does_not_fit_is_made_in_tiles(
    tmp_path: Path, vgg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = program.painted(tmp_path / "large.png", 160, 160)
    words = ("-s", source, "-d", vgg, "--method", "snelgrove", "-ow", 160, "-o", 2, "-l", "2", "-m", 2)
    made = {}
    for name, free in (("whole", 1 << 40), ("tiled", 1 << 20)):
        monkeypatch.setattr(memory, "free", lambda free=free: free)
        assert program.run(*words, "--output-dir", tmp_path / name) == 0
        made[name] = program.record(tmp_path / name)
    assert made["whole"]["tile"] is None and made["tiled"]["tile"] == objective.LEAST_TILE
    assert made["tiled"]["loss"] == pytest.approx(made["whole"]["loss"], rel=1e-3)


def test_11_pictures_of_every_kind_come_in_and_sixteen_bits_go_out(tmp_path: Path, vgg: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    upright = images.to_bytes(images.read(program.painted(tmp_path / "moss.png", 40, 60)))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # to be turned by 90 degrees to the right
    Image.fromarray(upright).save(folder / "a.jpeg", exif=turned, quality=95)
    Image.fromarray(upright).save(folder / "b.tif")
    clear = np.dstack([upright, np.full(upright.shape[:2], 255, np.uint8)])
    clear[:, :30, 3] = 0
    Image.fromarray(clear).save(folder / "c.PNG")
    words = ("-s", folder, "-d", vgg, *SMALL, "--bits", 16, "--output-dir", tmp_path / "out")
    assert program.run(*words) == 0
    assert program.record(tmp_path / "out")["source_sizes"] == [[40, 60], [60, 40], [60, 40]]
    assert images.read(folder / "c.PNG")[:, :30].min() == 1, "what is transparent is paper"
    made = program.only(tmp_path / "out")
    assert struct.unpack(">B", (made / "texture.png").read_bytes()[24:25]) == (16,)
    _, _, rows, _ = png.Reader(bytes=(made / "texture.png").read_bytes()).read()
    assert len({value % 256 for row in rows for value in row}) > 200


@pytest.mark.parametrize("iterations", [1, 7])
def test_12_the_last_picture_is_the_one_that_is_kept(tmp_path: Path, vgg: Path, source: Path, iterations: int) -> None:
    words = ("-s", source, "-d", vgg, *SMALL, "-m", iterations, "--output-dir", tmp_path / "out")
    assert program.run(*words) == 0
    folder = program.only(tmp_path / "out")
    saved = sorted(folder.glob("I*_F0000.png"))
    assert saved[-1].name == f"I{iterations - 1:04d}_F0000.png"
    assert saved[-1].read_bytes() == (folder / "texture.png").read_bytes()


def test_a_picture_below_277_pixels_has_a_loss(tmp_path: Path, vgg: Path, source: Path) -> None:
    """With the old program's defaults the coarsest map was empty, and the loss "not a number"."""
    words = ("-s", source, "-d", vgg, "--method", "snelgrove", "-ow", 64, "-m", 2, "--output-dir", tmp_path / "out")
    assert program.run(*words) == 0
    report = program.record(tmp_path / "out")
    assert np.isfinite(report["loss"]) and report["loss"] > 0
    assert report["octaves"] == [0] and json.dumps(report)
