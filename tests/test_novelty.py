"""Textures without a source: what counts as new, and that the slope leads there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from job_image.texture.backend import to_numpy
from job_image.texture.lbfgs import LBFGS
from job_image.texture.network import Network
from job_image.texture.novelty import NoveltyDistance
from job_image.texture.objective import Objective
from job_image.texture.statistics import Moments, Place, View, moments
from job_image.texture.vgg import layer
from tests.vgg import random_weights

Array = npt.NDArray[Any]
POOL1, CONV2_1 = layer("pool1"), layer("conv2_1")
OCTAVES = tuple(Place(octave, one) for octave in (0, 1, 2) for one in (POOL1, CONV2_1))


def averages(grams: Array) -> Moments:
    """Averages with these Gram matrices, (frames, channels, channels)."""
    channels = grams.shape[-1]
    return Moments(ops.convert_to_tensor(channels * grams, "float32"), ops.zeros((len(grams), channels), "float32"))


def orthogonal(count: int, energy: float = 1.0, channels: int = 4, seed: int = 0) -> Array:
    """Symmetric matrices of norm sqrt(energy), orthogonal to each other: along the axes, then turned together."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(channels, channels)))[0]
    made: Array = np.sqrt(energy) * np.stack([np.outer(turn[i], turn[i]) for i in range(count)])
    return made


def apart(rows: Sequence[Array], energy: float = 1.0) -> float:
    """The squared distance of V V^T from energy * identity, for the frames' Gram matrices, in float64."""
    flat = np.concatenate([one.reshape(len(one), -1) for one in rows]).astype(np.float64)
    return float(((flat @ flat.T - energy * np.eye(len(flat))) ** 2).sum())


def network() -> Network:
    return Network(random_weights(deepest="conv2_1"), "random")


def noise(count: int, side: int, seed: int = 0) -> Array:
    """Pictures whose Gram matrices are about as strong as they are asked to be."""
    return np.random.default_rng(seed).normal(0, 3, (count, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("energy", [1.0, 9.0])
def test_orthogonal_grams_of_the_asked_energy_have_no_loss(energy: float) -> None:
    place = (Place(0, POOL1),)
    found = [averages(orthogonal(3, energy))]
    assert float(NoveltyDistance(place, energy)(found, ())) == pytest.approx(0, abs=1e-9)
    assert float(NoveltyDistance(place, 2 * energy)(found, ())) == pytest.approx(3 * energy**2, rel=1e-5)


def test_equal_frames_are_not_new() -> None:
    twice = averages(np.repeat(orthogonal(1), 2, axis=0))
    assert float(NoveltyDistance((Place(0, POOL1),))([twice], ())) == pytest.approx(2)


def test_places_add_up() -> None:
    grams = [np.random.default_rng(i).normal(size=(3, 4, 4)) for i in range(2)]
    distance = NoveltyDistance((Place(0, POOL1), Place(1, POOL1)), 2.0)
    found = float(distance([averages(one) for one in grams], ()))
    assert found == pytest.approx(apart(grams[:1], 2) + apart(grams[1:], 2), rel=1e-5)


def test_only_internal_novelty_tells_octaves_apart() -> None:
    """One frame, whose octaves have the same statistics."""
    places = (Place(0, POOL1), Place(1, POOL1))
    same = [averages(orthogonal(1)), averages(orthogonal(1))]
    other = [averages(one[None]) for one in orthogonal(2)]
    assert float(NoveltyDistance(places)(same, ())) == pytest.approx(0, abs=1e-9)
    assert float(NoveltyDistance(places, internal=True)(same, ())) == pytest.approx(2)
    assert float(NoveltyDistance(places, internal=True)(other, ())) == pytest.approx(0, abs=1e-9)


def test_internal_novelty_keeps_layers_of_different_width_apart() -> None:
    wide, narrow = ([np.random.default_rng(i).normal(size=(2, n, n)) for i in range(3)] for n in (6, 4))
    found = [averages(one) for pair in zip(narrow, wide, strict=True) for one in pair]
    assert float(NoveltyDistance(OCTAVES, internal=True)(found, ())) == pytest.approx(
        apart(narrow) + apart(wide), rel=1e-5
    )


@pytest.mark.parametrize("internal", [False, True])
def test_a_step_leaves_out_octaves_and_not_layers(internal: bool) -> None:
    grams = [np.random.default_rng(i).normal(size=(2, 4, 4)) for i in range(len(OCTAVES))]
    found = [averages(one) for one in grams]
    kept = [i for i, place in enumerate(OCTAVES) if place.octave != 1]
    fewer = NoveltyDistance(tuple(OCTAVES[i] for i in kept), internal=internal)
    every_other = NoveltyDistance(OCTAVES, internal=internal, step=2)
    assert float(every_other(found, ())) == pytest.approx(float(fewer([found[i] for i in kept], ())))
    assert float(every_other(found, ())) != pytest.approx(float(NoveltyDistance(OCTAVES, internal=internal)(found, ())))


@pytest.mark.parametrize("step", [0, -1, 10, 1.5])
def test_a_step_that_is_none_is_refused(step: Any) -> None:
    with pytest.raises(ValueError, match=r"octave_step is .*; it must be a whole number from 1 to 9"):
        NoveltyDistance(OCTAVES, step=step)


@pytest.mark.parametrize("internal", [False, True])
def test_loss_of_pictures_is_that_of_their_grams(internal: bool) -> None:
    model, view, picture = network(), View(OCTAVES), noise(2, 64)
    grams = [
        to_numpy(one.products) / one.means.shape[-1]
        for one in moments(model, view, ops.convert_to_tensor(picture)).averages
    ]
    rows = [grams[::2], grams[1::2]] if internal else [[one] for one in grams]
    loss, _ = Objective(model, view, NoveltyDistance(OCTAVES, 3.0, internal), ())(picture)
    assert loss == pytest.approx(sum(apart(one, 3) for one in rows), rel=1e-4)


@pytest.mark.parametrize("internal", [False, True])
def test_gradient_is_the_slope_of_the_loss(internal: bool) -> None:
    view = View(OCTAVES, wraps=(True, True))
    objective = Objective(network(), view, NoveltyDistance(OCTAVES, 3.0, internal), ())
    picture = noise(2, 32)
    gradient = to_numpy(objective(picture)[1])
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()
    steepest = gradient / np.sqrt((gradient**2).sum())
    # Frame by frame, and turned by a random direction, so that the whole of the gradient counts.
    one, other = steepest * [[[[1]]], [[[0]]]], steepest * [[[[0]]], [[[1]]]]
    across = steepest + noise(2, 32, 1) / np.sqrt(picture.size) / 3
    for direction in (one, other, across):
        ahead, behind = (objective((picture + sign * direction).astype(np.float32))[0] for sign in (0.5, -0.5))
        assert ahead - behind == pytest.approx(float((gradient * direction).sum()), rel=1e-2)


def test_tiles_give_the_same_slope() -> None:
    model, view = network(), View(OCTAVES[:4], wraps=(True, True))
    distance = NoveltyDistance(view.places, 3.0, internal=True)
    picture = noise(2, 64)
    loss, gradient = Objective(model, view, distance, ())(picture)
    tiled, slope = Objective(model, view, distance, (), tile=32)(picture)
    assert tiled == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(to_numpy(slope), to_numpy(gradient), atol=1e-4 * np.abs(to_numpy(gradient)).max())


def test_descent_makes_frames_new() -> None:
    """From two frames that are nearly the same to two whose Gram matrices are less alike than those of noise."""
    model, view = network(), View((Place(0, POOL1),), wraps=(True, True))
    picture = np.repeat(noise(1, 32), 2, axis=0) + np.float32(0.1) * noise(2, 32, 1)

    def likeness(one: Any) -> float:
        rows = to_numpy(moments(model, view, ops.convert_to_tensor(one)).averages[0].products).reshape(2, -1)
        return float(rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1]))

    descent = LBFGS(Objective(model, view, NoveltyDistance(view.places), ()), picture)
    for _ in range(20):
        descent.iterate()
    assert likeness(descent.point) < 0.9 * likeness(noise(2, 32, 2))
