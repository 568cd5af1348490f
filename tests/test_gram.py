"""Gram matching: the loss and its gradient against an independent reference, and tile by tile against the whole."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from job_image.texture import pyramid, statistics, vgg
from job_image.texture.backend import to_numpy, value_and_gradient
from job_image.texture.network import Network, from_rgb, to_rgb
from job_image.texture.objective import Content, Objective
from job_image.texture.pyramid import Wraps
from job_image.texture.statistics import GramDistance, Moments, Place, Target, View
from job_image.texture.vgg import layer
from tests import reference
from tests.vgg import random_weights

Array = npt.NDArray[np.float32]

NOWHERE, ACROSS, BOTH = (False, False), (False, True), (True, True)
KERNELS = random_weights(deepest="conv4_1")
NETWORK = Network(KERNELS, "random")


def picture(rows: int, columns: int, seed: int = 0, batch: int = 1) -> Array:
    """Noise, coarse and fine, the left half dim: no part has the statistics of another."""
    random = np.random.default_rng(seed)
    coarse = random.random((batch, -(-rows // 8), -(-columns // 8), 3), np.float32).repeat(8, 1).repeat(8, 2)
    pixels = (coarse[:, :rows, :columns] + random.random((batch, rows, columns, 3), np.float32)) / 2
    pixels[:, :, : columns // 2] *= 0.4
    return from_rgb(pixels.astype(np.float32))


def view(layers: Sequence[str], octaves: int = 1, wraps: Wraps = NOWHERE, padding: str = "valid") -> View:
    return View(tuple(Place(octave, layer(name)) for octave in range(octaves) for name in layers), wraps, padding)


def only_grams(grams: Sequence[npt.NDArray[np.float64]]) -> list[Target]:
    zeros = [np.zeros(len(one), np.float32) for one in grams]
    return [Target(one.astype(np.float32), zero, zero) for one, zero in zip(grams, zeros, strict=True)]


def towards(seen: View, source: Array, moments: float = 0.0, **more: Any) -> Objective:
    """The distance from a source's statistics, itself looked at without wrapping."""
    averages = Objective(NETWORK, View(seen.places, NOWHERE, seen.padding), GramDistance(()), None).averages(source)
    wanted = [statistics.target([one]) for one in averages]
    return Objective(NETWORK, seen, GramDistance((1.0,) * len(wanted), moments), wanted, **more)


def apart(found: Any, wanted: Any) -> float:
    """The norm of the difference over the norm of what is wanted."""
    found, wanted = np.asarray(to_numpy(found), np.float64), np.asarray(to_numpy(wanted), np.float64)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_the_reference_descends_along_its_own_gradient() -> None:
    """By differences of its loss: what the engine is held against is not wrong itself."""
    layers = ["conv1_1", "pool1", "conv2_2"]
    wanted = reference.grams(picture(48, 53, 1)[0].astype(np.float64), KERNELS, layers, 2)
    at = picture(50, 45)[0].astype(np.float64)
    direction = np.random.default_rng(2).standard_normal(at.shape)
    _, gradient = reference.loss_and_gradient(at, KERNELS, layers, wanted)
    ahead, behind = (
        reference.loss_and_gradient(at + step * direction, KERNELS, layers, wanted)[0] for step in (1e-7, -1e-7)
    )
    assert (ahead - behind) / 2e-7 == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("seed", "rows", "columns", "octaves"),
    [(0, 96, 101, 2), (1, 97, 88, 2), pytest.param(2, 141, 138, 3, marks=pytest.mark.slow)],
)
def test_loss_and_gradient_are_those_of_the_reference(seed: int, rows: int, columns: int, octaves: int) -> None:
    """In float32 a unit whose input is all but zero may fall on the other side of the rectifier than in float64. Of
    millions of units a handful does; each alone puts up to some 1e-4 of relative error into the gradient, though the
    loss is none the worse. So the reference is told which units were active, and is shown that the others are few and
    next to zero. What is left is rounding, 2e-7.
    """
    layers = ["pool1", "conv3_2"]
    kernels = random_weights(seed)
    ours = Network(kernels, str(seed))
    source, at = picture(rows + 9, columns, seed + 10), picture(rows, columns, seed)
    wanted = reference.grams(source[0].astype(np.float64), kernels, layers, octaves)
    seen = view(layers, octaves)
    found = Objective(ours, seen, GramDistance((1.0,) * len(wanted)), only_grams(wanted))(at)

    convolutions = [one for one in vgg.LAYERS[:8] if one.name.startswith("conv")]
    masks, flipped, units = {}, 0, 0
    exact_levels = reference.pyramid(at[0].astype(np.float64), octaves)
    for octave, level in enumerate(pyramid.octaves(at, octaves, NOWHERE)):
        exact = reference.outputs(exact_levels[octave], kernels, "conv3_2", {})
        for one, features in zip(convolutions, ours.features(level, convolutions), strict=True):
            rounded = to_numpy(features)[0]
            masks[octave, one.name] = rounded > 0
            wrong = (rounded > 0) != (exact[one.name] > 0)
            flipped, units = flipped + int(wrong.sum()), units + wrong.size
            both = np.maximum(rounded, exact[one.name])[wrong]
            assert (both < 1e-5 * np.sqrt((exact[one.name] ** 2).mean())).all()
    assert flipped <= 1e-5 * units

    exactly = reference.loss_and_gradient(at[0].astype(np.float64), kernels, layers, wanted)
    assert found[0] == pytest.approx(exactly[0], rel=1e-4)
    told = reference.loss_and_gradient(at[0].astype(np.float64), kernels, layers, wanted, masks)
    assert apart(found[1][0], told[1]) < 1e-4
    assert apart(found[1][0], exactly[1]) < 1e-3


DEEP = ("pool1", "conv2_2", "conv3_2", "conv4_1")


@pytest.mark.parametrize(
    ("layers", "octaves", "wraps", "rows", "columns", "tile"),
    [
        (("pool1", "conv3_2"), 2, NOWHERE, 97, 139, 40),
        (("conv1_1",), 1, NOWHERE, 33, 47, 7),
        (("pool1", "conv3_2"), 2, BOTH, 96, 64, 36),
        (("pool1", "conv3_2"), 2, ACROSS, 103, 96, 37),
        (("conv3_2",), 1, (True, False), 64, 91, 48),
        (DEEP, 1, NOWHERE, 121, 99, 50),
        (DEEP, 1, BOTH, 64, 96, 56),
        (("pool1", "conv2_1"), 2, "same", 45, 61, 20),
        (DEEP, 1, "same", 71, 99, 50),
    ],
    ids=str,
)
def test_tiles_add_up_to_the_whole(
    layers: tuple[str, ...], octaves: int, wraps: Wraps | str, rows: int, columns: int, tile: int
) -> None:
    """Two pictures at once, with content to keep in the last octave's last layer, and with means and deviations."""
    seen = view(layers, octaves, padding="same") if isinstance(wraps, str) else view(layers, octaves, wraps)
    at = picture(rows, columns, 3, batch=2)
    other = picture(rows, columns, 4)
    kept = statistics.moments(NETWORK, seen, other, content=len(seen.places) - 1).content
    content = Content(len(seen.places) - 1, to_numpy(kept), 1e-3)
    whole = towards(seen, picture(110, 120, 5), 0.1, content=content)
    tiled = towards(seen, picture(110, 120, 5), 0.1, content=content, tile=tile)
    loss, gradient = whole(at)
    found, slope = tiled(at)
    assert tiled.tile == tile
    assert found == pytest.approx(loss, rel=1e-5)
    assert apart(slope, gradient) < 1e-5
    assert apart(tiled.features(other, content.place), kept) < 1e-5
    for part, one in zip(tiled.averages(at), whole.averages(at), strict=True):
        assert apart(part.products, one.products) < 1e-5
        assert apart(part.means, one.means) < 1e-5
    whole.content = content._replace(weight=0.0)
    assert loss > 1.001 * whole(at)[0], "the content counts"


def test_an_octave_nobody_looks_at_is_passed_through() -> None:
    seen = View((Place(0, layer("pool1")), Place(2, layer("pool1"))))
    at = picture(90, 70)
    loss, gradient = towards(seen, picture(80, 80, 1))(at)
    found, slope = towards(seen, picture(80, 80, 1), tile=32)(at)
    assert found == pytest.approx(loss, rel=1e-5) and apart(slope, gradient) < 1e-5


@pytest.mark.slow
def test_gram_matrices_compared_tile_by_tile_are_another_loss() -> None:
    """The shortcut: each tile against the target, averaged. The engine's gradient is the other one."""
    side, step, beyond = 124, 48, 28
    at, source = (picture(side, side, seed)[0].astype(np.float64) for seed in (6, 7))
    wanted = reference.grams(source, KERNELS, ["conv3_2"], 1)
    shortcut = np.zeros_like(at)
    for y in (0, step):
        for x in (0, step):
            where = np.s_[y : y + step + beyond, x : x + step + beyond]
            shortcut[where] += reference.loss_and_gradient(at[where], KERNELS, ["conv3_2"], wanted)[1] / 4
    ours = Objective(NETWORK, view(["conv3_2"]), GramDistance((1.0,)), only_grams(wanted), tile=step)
    _, found = ours(at.astype(np.float32)[None])
    _, exact = reference.loss_and_gradient(at, KERNELS, ["conv3_2"], wanted)
    assert apart(found[0], exact) < 1e-3
    assert apart(shortcut, exact) > 0.01


@pytest.mark.parametrize(("wraps", "way"), [(BOTH, (8, -16)), (ACROSS, (0, 24)), ((True, False), (40, 0))], ids=str)
@pytest.mark.parametrize("tile", [None, 40])
def test_rolling_a_seamless_picture_changes_nothing(wraps: Wraps, way: tuple[int, int], tile: int | None) -> None:
    seen = view(["pool1", "conv3_2"], 2, wraps)
    ours, at = towards(seen, picture(96, 96, 1), tile=tile), picture(80, 96)
    loss, gradient = ours(at)
    found, slope = ours(np.roll(at, way, (1, 2)))
    assert found == pytest.approx(loss, rel=1e-6)
    assert apart(slope, np.roll(to_numpy(gradient), way, (1, 2))) < 1e-5


def test_rolling_by_less_than_the_step_is_seen() -> None:
    """Poolings have a phase: the step is not larger than it need be."""
    ours, at = towards(view(["pool1", "conv3_2"], 2, BOTH), picture(96, 96, 1)), picture(80, 96)
    assert ours(np.roll(at, 4, 1))[0] != pytest.approx(ours(at)[0], rel=1e-4)


@pytest.mark.parametrize("layers", [("pool1",), ("pool1", "conv3_2"), ("conv1_2", "conv4_1")], ids=str)
def test_a_seamless_picture_is_seen_as_if_it_were_repeated_for_ever(layers: tuple[str, ...]) -> None:
    """The statistics of one period of the picture laid out 3 x 3, whose middle is far from any border."""
    rows, columns = 96, 64
    at = picture(rows, columns)
    seen = view(layers, wraps=BOTH)
    averages = Objective(NETWORK, seen, GramDistance(()), None).averages(at)
    first = statistics.margin(seen.layers(0))  # where the network begins decides the phase of its poolings
    laid = np.tile(at[0].astype(np.float64), (3, 3, 1))[rows - first :, columns - first :]
    outputs = reference.outputs(laid, KERNELS, seen.layers(0)[-1].name, {})
    for found, one in zip(averages, seen.layers(0), strict=True):
        period = outputs[one.name][: rows // one.stride, : columns // one.stride]
        assert apart(statistics.gram(found)[0], reference.gram(period)) < 1e-5


def test_an_octave_of_a_seamless_picture_is_one_of_the_picture_repeated() -> None:
    at = picture(40, 24)
    laid = reference.shrunk(np.tile(at[0].astype(np.float64), (3, 3, 1)))  # begins with pixel 2
    assert apart(pyramid.halved(at, BOTH)[0], laid[19:39, 11:23]) < 1e-6
    half = pyramid.halved(at, ACROSS)[0]
    assert apart(half, reference.shrunk(np.tile(at[0].astype(np.float64), (1, 3, 1)))[:, 11:23]) < 1e-6


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("wraps", [NOWHERE, ACROSS, BOTH], ids=str)
def test_sides_of_octaves_are_told_beforehand(wraps: Wraps, padding: str) -> None:
    rows, columns = (64, 96) if wraps == BOTH else (71, 96)
    for octave, level in enumerate(pyramid.octaves(picture(rows, columns), 4, wraps, padding)):
        sides = (pyramid.side(rows, octave, wraps[0], padding), pyramid.side(columns, octave, wraps[1], padding))
        assert tuple(level.shape[1:3]) == sides


def test_an_octave_too_small_for_a_layer_has_no_features() -> None:
    """Where the old program divided 0 by 0: with 4 octaves and conv3_2, below 277 pixels."""
    seen = view(["pool1", "conv3_2"], 4)
    for pixels, features in ((277, 1), (276, 0), (20, 0)):
        smallest = pyramid.side(pixels, 3, False)
        (down, across) = statistics.windows(seen, 3, smallest, 277)[1]
        assert len(down) == features and len(across) > 0
    assert [len(down) for down, _ in statistics.windows(seen, 3, 6, 6)] == [1, 0]


def test_a_view_must_be_in_order_and_make_sense() -> None:
    pool1 = layer("pool1")
    with pytest.raises(ValueError, match="octave 1 before octave 0"):
        View((Place(1, pool1), Place(0, pool1)))
    with pytest.raises(ValueError, match="no places"):
        View(())
    with pytest.raises(ValueError, match="has no border to pad"):
        View((Place(0, pool1),), ACROSS, "same")


def test_same_padding_keeps_the_size_of_maps() -> None:
    seen = view(["conv1_2", "pool2"], padding="same")
    at = picture(37, 50)
    for features, (down, across) in zip(
        NETWORK.features(at, seen.layers(0), "same"), statistics.windows(seen, 0, 37, 50), strict=True
    ):
        assert tuple(features.shape[1:3]) == (len(down), len(across))


# What the network is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        *((0, "conv1_1"), (2, "pool1"), (7, "conv3_2"), ("7", "conv3_2"), (20, "pool5")),
        *(("conv3_2", "conv3_2"), ("relu3_2", "conv3_2"), ("block3_conv2", "conv3_2"), ("block4_pool", "pool4")),
        *((" Pool1 ", "pool1"), ("CONV5_4", "conv5_4")),
    ],
)
def test_layers_have_numbers_and_names(asked: str | int, name: str) -> None:
    assert layer(asked).name == name


@pytest.mark.parametrize(
    "asked", [21, -1, "", "2.0", "conv1_3", "conv3", "pool1_2", "block1_conv", "pool6", "fc1", "9" * 5000, "²"]
)
def test_layers_that_are_none_are_refused(asked: str | int) -> None:
    with pytest.raises(ValueError, match=re.escape("; give a number from 0 to 20 or one of: conv1_1, ")) as told:
        layer(asked)
    assert len(str(told.value)) < 400


def test_a_feature_sees_as_far_as_the_table_says() -> None:
    """The support of one feature's gradient, through kernels of ones: every pixel it sees has a share."""
    ones = {
        one.name: (np.full((3, 3, 3 if one.name == "conv1_1" else 1, 1), 1 / 9, np.float32), np.zeros(1, np.float32))
        for one in vgg.LAYERS
        if one.name.startswith("conv")
    }
    narrow = Network(ones, "ones")
    for one in vgg.LAYERS:
        pixels = one.reach + 2 * one.stride
        sight = value_and_gradient(lambda at, one=one: narrow.features(at, [one])[0][0, 1, 2, 0])
        _, gradient = sight(np.ones((1, pixels, pixels, 3), np.float32))
        seen = to_numpy(gradient)[0, :, :, 0] > 0
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        assert (rows[0], rows[-1] + 1) == (one.stride, one.stride + one.reach), one.name
        assert (columns[0], columns[-1] + 1) == (2 * one.stride, 2 * one.stride + one.reach), one.name
    assert {one.name: one.reach for one in vgg.LAYERS}["conv5_1"] == 156


def test_pixels_come_back_from_the_network() -> None:
    pixels = np.random.default_rng(0).random((5, 7, 3), np.float32)
    np.testing.assert_allclose(to_rgb(from_rgb(pixels)), pixels, atol=1e-6)
    red = from_rgb(np.array([[[1.0, 0, 0]]], np.float32))[0, 0]
    np.testing.assert_allclose(red, [-103.939, -116.779, 255 - 123.68], rtol=1e-6)  # blue first, as Caffe has it


# What is wanted ------------------------------------------------------------------------------------------------------


def seen_in(seed: int) -> Moments:
    return Objective(NETWORK, view(["conv2_2"]), GramDistance(()), None).averages(picture(40, 40, seed))[0]


def test_targets_of_several_sources_are_joined() -> None:
    one, two = seen_in(0), seen_in(1)
    grams = [to_numpy(statistics.gram(each))[0] for each in (one, two)]
    both = statistics.target([one, two])
    np.testing.assert_allclose(both.gram, (grams[0] + grams[1]) / 2, rtol=1e-5)
    np.testing.assert_allclose(both.mean, (to_numpy(one.means)[0] + to_numpy(two.means)[0]) / 2, rtol=1e-5)
    assert (statistics.target([one, two], "max").gram == np.maximum(*grams)).all()
    assert (statistics.target([one], "riemann").gram == grams[0]).all(), "one source is its own mean"
    assert apart(statistics.target([one, two], "log_euclidean").gram, both.gram) > 1e-3
    with pytest.raises(ValueError, match="it must be one of: average, "):
        statistics.target([one], "median")


def test_multiplied_targets_are_those_of_features_so_much_stronger() -> None:
    """Four times the Gram matrix is that of features twice as strong."""
    one = seen_in(0)
    twice = Moments(4 * one.products, 2 * one.means)
    found, wanted = statistics.target([one], multiplied=4.0), statistics.target([twice])
    for part, other in zip(found, wanted, strict=True):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, other, rtol=1e-3, atol=1.1 * statistics.LEAST_VARIANCE**0.5)


def test_features_that_never_fire_have_a_slope() -> None:
    """Dead in the picture, in its source, or in both: no 0/0 in a deviation, nor in its gradient."""
    dead = {
        name: (kernel, bias if name != "conv1_2" else np.full_like(bias, -1e6))
        for name, (kernel, bias) in KERNELS.items()
    }
    silent, seen = Network(dead, "dead"), view(["conv1_2", "conv2_1"])
    flat = np.zeros((1, 24, 24, 3), np.float32)
    alive = towards(seen, picture(24, 24), 1.0)
    for target in (alive.wanted, towards(seen, flat, 1.0).wanted):
        for eyes in (NETWORK, silent):
            for at in (flat, picture(24, 24, 1)):
                loss, gradient = Objective(eyes, seen, GramDistance((1.0, 1.0), 1.0), target)(at)
                assert np.isfinite(loss) and np.isfinite(to_numpy(gradient)).all()
    assert alive(picture(24, 24))[0] < 1e-6 * alive(flat)[0], "at its source the distance is none"


def test_moments_tell_a_mean_from_a_spread() -> None:
    """Two statistics with one Gram matrix, of which only the moments see the difference."""
    products = np.eye(3, dtype=np.float32)[None] * 4
    spread, shifted = Moments(products, np.zeros((1, 3), np.float32)), Moments(products, np.ones((1, 3), np.float32))
    aim = [statistics.target([spread])]
    assert float(to_numpy(GramDistance((1.0,))([shifted], aim))) == 0
    # The mean square is 4, each mean is off by 1 and each deviation by 2 - sqrt(3).
    wanted = 0.5 * 4 * (1 + (2 - 3**0.5) ** 2)
    assert float(to_numpy(GramDistance((1.0,), 0.5)([shifted], aim))) == pytest.approx(wanted, rel=1e-3)
