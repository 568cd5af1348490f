"""The tie between frames of a looping video: against an independent reference, and against the old program's bugs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from job_image.texture import frames, pyramid
from job_image.texture.backend import to_numpy
from job_image.texture.frames import Tie
from job_image.texture.lbfgs import LBFGS
from job_image.texture.network import Network, layer
from job_image.texture.objective import Objective
from job_image.texture.parameters import DISTANCES, Parameters
from job_image.texture.pyramid import Wraps
from job_image.texture.statistics import GramDistance, Place, View, moments, target
from tests.vgg import random_weights

Array = npt.NDArray[Any]
FLAT: Wraps = (False, False)


def pictures(count: int, rows: int, columns: int, seed: int = 0) -> Array:
    """Noise in the network's units."""
    return np.random.default_rng(seed).normal(0, 50, (count, rows, columns, 3)).astype(np.float32)


def halving(pixels: int, wrapping: bool) -> Array:
    """The matrix that filters and halves an axis: row i sees the pixels around 2i."""
    matrix = np.zeros((pixels // 2 if wrapping else (pixels + 1) // 2, pixels))
    for i in range(len(matrix)):
        for tap, share in enumerate([0.05, 0.25, 0.4, 0.25, 0.05], 2 * i - 2):
            if wrapping or 0 <= tap < pixels:
                matrix[i, tap % pixels] += share
    return matrix


def reference(picture: Array, tie: Tie, count: int) -> float:
    """The tie in float64, with matrices in place of convolutions."""
    found = [picture.astype(np.float64)]
    bands = []
    for _ in range(count - 1):
        down, across = (halving(found[-1].shape[axis], tie.wraps[axis - 1]) for axis in (1, 2))
        found.append(np.einsum("iy,jx,nyxc->nijc", down, across, found[-1]))
        # Expanding is the transpose of halving, made to keep what is constant.
        bands.append(found[-2] - 4 * np.einsum("iy,jx,nijc->nyxc", down, across, found[-1]))
    compared = found if tie.kind == "l2" else [*bands, found[-1]]
    flat = np.concatenate([2.0 ** (1 - k) * one.reshape(len(one), -1) for k, one in enumerate(compared)], axis=1)
    loss = 0.0
    for step in range(1, tie.order + 1):
        apart = np.roll(flat, -step, axis=0) - flat
        distance = np.abs(apart).mean(1) if tie.kind == "lap1" else np.sqrt((apart**2).mean(1))
        loss += tie.weight * np.mean((distance - step * tie.target) ** 2)
    return loss


@pytest.mark.parametrize("wraps", [FLAT, (True, False), (True, True)])
@pytest.mark.parametrize("octaves", [1, 2, 3])
@pytest.mark.parametrize("kind", DISTANCES)
def test_loss_is_the_reference(kind: str, octaves: int, wraps: Wraps) -> None:
    picture = pictures(5, 32, 40)
    tie = Tie(30.0, 0.5, 2, kind, octaves, wraps)
    assert tie(picture)[0] == pytest.approx(reference(picture, tie, octaves), rel=1e-5)


def test_a_picture_of_odd_sides_is_halved_and_expanded_too() -> None:
    picture = pictures(4, 33, 29)
    tie = Tie(30.0, octaves=2)
    assert tie(picture)[0] == pytest.approx(reference(picture, tie, 2), rel=1e-5)


@pytest.mark.parametrize("wraps", [FLAT, (True, True)])
@pytest.mark.parametrize("kind", DISTANCES)
def test_gradient_is_that_of_the_reference(kind: str, wraps: Wraps) -> None:
    picture = pictures(4, 16, 16)
    tie = Tie(30.0, 0.5, 2, kind, 2, wraps)
    _, gradient = tie(picture)
    slope = to_numpy(gradient)
    draws = np.random.default_rng(1)
    places = [tuple(draws.integers(picture.shape)) for _ in range(20)]
    expected = []
    for place in places:
        ahead, behind = picture.astype(np.float64), picture.astype(np.float64)
        ahead[place] += 1e-5
        behind[place] -= 1e-5
        expected.append((reference(ahead, tie, 2) - reference(behind, tie, 2)) / 2e-5)
    np.testing.assert_allclose([slope[place] for place in places], expected, atol=1e-3 * np.abs(slope).max())


@pytest.mark.parametrize(("rows", "columns"), [(32, 40), (33, 41), (32, 41)])
def test_expanding_puts_a_slope_back_where_it_was(rows: int, columns: int) -> None:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    slope = np.repeat((3 * y - 2 * x)[None, ..., None], 3, axis=-1)
    back = to_numpy(frames.expanded(pyramid.halved(slope, FLAT, "same"), rows, columns))
    np.testing.assert_allclose(back[:, 6:-6, 6:-6], slope[:, 6:-6, 6:-6], atol=1e-3)


def test_expanding_a_torus_knows_no_border() -> None:
    picture = pictures(1, 16, 24)

    def there_and_back(one: Array) -> Array:
        found: Array = to_numpy(frames.expanded(pyramid.halved(one, (True, True)), 16, 24, (True, True)))
        return found

    rolled = there_and_back(np.roll(picture, (6, 10), axis=(1, 2)))
    np.testing.assert_allclose(np.roll(there_and_back(picture), (6, 10), axis=(1, 2)), rolled, atol=1e-3)
    odd = frames.expanded(np.ones((1, 8, 8, 3), np.float32), 17, 17, (True, True))
    np.testing.assert_allclose(to_numpy(odd), 1, atol=1e-6)


def test_octaves_are_honoured_down_to_eight_pixels() -> None:
    picture = pictures(3, 32, 64)
    losses = [Tie(10.0, octaves=octaves)(picture)[0] for octaves in (1, 2, 3)]
    assert len(set(losses)) == 3
    assert Tie(10.0)(picture)[0] == Tie(10.0, octaves=9)(picture)[0] == losses[-1]


def test_order_is_honoured() -> None:
    picture = pictures(6, 16, 16)
    first, second, third = (Tie(10.0, order=order)(picture)[0] for order in (1, 2, 3))
    assert first < second < third


def test_frames_beyond_half_the_loop_are_not_asked_for_two_distances_at_once() -> None:
    triangle = pictures(3, 16, 16)
    assert Tie(10.0, order=2)(triangle)[0] == Tie(10.0, order=1)(triangle)[0]


def test_an_even_loop_has_no_loss() -> None:
    """Points of a circle: each is as far from the next as the last from the first."""
    wave = np.random.default_rng(0).normal(0, 50, (2, 16, 16, 3))
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    wave[1] -= wave[0] * (wave[0] * wave[1]).sum() / (wave[0] ** 2).sum()
    wave[1] *= np.sqrt((wave[0] ** 2).sum() / (wave[1] ** 2).sum())
    circle = np.stack([np.cos(a) * wave[0] + np.sin(a) * wave[1] for a in angles]).astype(np.float32)
    apart = float(2 * np.sqrt(((circle[1] - circle[0]) ** 2).mean()))
    loss, _ = Tie(apart, order=1, kind="l2", octaves=1)(circle)
    assert loss == pytest.approx(0, abs=1e-6 * apart**2)


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_frame_is_pulled(count: int, kind: str) -> None:
    _, gradient = Tie(10.0, kind=kind)(pictures(count, 16, 16))
    assert (np.abs(to_numpy(gradient)).max(axis=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("kind", DISTANCES)
def test_two_frames_with_the_default_choices(kind: str) -> None:
    default = Parameters(count=2, method="snelgrove", frame_distance=kind)
    picture = pictures(2, 32, 32)
    aim = frames.target([pictures(1, 40, 40, 1)], default.frame_shift, kind, default.frame_octaves)
    tie = Tie(aim, default.frame_weight, default.frame_order, kind, default.frame_octaves)
    loss, gradient = tie(picture)
    assert np.isfinite(loss) and np.isfinite(to_numpy(gradient)).all()
    assert loss == pytest.approx(reference(picture, Tie(aim, order=1, kind=kind), 3), rel=1e-4)


@pytest.mark.parametrize("kind", DISTANCES)
def test_equal_frames_have_a_finite_slope(kind: str) -> None:
    loss, gradient = Tie(10.0, kind=kind)(np.repeat(pictures(1, 16, 16), 4, axis=0))
    assert loss == pytest.approx(10**2 + 20**2, rel=1e-5)
    assert np.isfinite(to_numpy(gradient)).all()


def test_a_single_frame_is_free() -> None:
    loss, gradient = Tie(10.0)(pictures(1, 16, 16))
    assert loss == 0 and not to_numpy(gradient).any()


def test_a_seamless_loop_may_be_rolled() -> None:
    picture = pictures(3, 32, 32)
    tie = Tie(10.0, octaves=3, wraps=(True, True))
    rolled = np.roll(picture, (4, 8), axis=(1, 2))
    assert tie(rolled)[0] == pytest.approx(tie(picture)[0], rel=1e-5)


@pytest.mark.parametrize("kind", DISTANCES)
def test_descent_leads_to_frames_an_even_step_apart(kind: str) -> None:
    descent = LBFGS(Tie(30.0, order=1, kind=kind), pictures(4, 16, 16))
    for _ in range(20):
        descent.iterate()
    apart = frames.distances(frames.levels(descent.point, kind), kind, 1)
    np.testing.assert_allclose(to_numpy(apart), 30, rtol=0.01)


def test_target_of_a_slope_is_what_the_shift_climbs() -> None:
    slope: Array = np.ones((1, 40, 40, 3), np.float32) * np.arange(40, dtype=np.float32)[None, :, None, None]
    # Down it climbs 5, across nothing; the finest octave counts twice.
    assert frames.target([slope], 5, "lap1", 1) == pytest.approx((2 * 5 + 0) / 2)
    assert frames.target([slope], 5, "l2", 1) == pytest.approx((2 * 5 + 0) / 2, rel=1e-5)
    assert frames.target([slope.swapaxes(1, 2)], 5, "lap1", 1) == pytest.approx(5)


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("octaves", [1, 2, None])
def test_a_fractional_shift_lies_between_its_whole_neighbours(octaves: int | None, kind: str) -> None:
    y, x = np.mgrid[:40, :40]
    waves = np.repeat(40 * np.sin(y / 5 + x / 7)[None, ..., None], 3, axis=-1).astype(np.float32)
    three, four, between = (frames.target([waves], shift, kind, octaves) for shift in (3, 4, 3.25))
    assert 0 < three < four
    assert between == pytest.approx(0.75 * three + 0.25 * four, rel=1e-6)


def test_target_is_the_mean_over_the_sources() -> None:
    calm, rough = 0.1 * pictures(1, 32, 32), pictures(1, 40, 24, 1)
    both = frames.target([calm, rough], 2.5, "lap1")
    assert both == pytest.approx((frames.target([calm], 2.5, "lap1") + frames.target([rough], 2.5, "lap1")) / 2)


def test_standing_still_is_no_distance() -> None:
    assert frames.target([pictures(1, 16, 16)], 0, "lap1") == 0


def test_a_shift_as_long_as_the_source_is_refused() -> None:
    source = pictures(1, 40, 24)
    assert frames.target([source], 16, "lap1") > 0
    with pytest.raises(
        ValueError, match=r"frame_shift is 16\.5, too far for a source of 24x40 pixels; give at most 16"
    ):
        frames.target([source], 16.5, "lap1")


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_distance is 'l1'; it must be one of: l2, lap1"):
        Tie(10.0, kind="l1")(pictures(2, 16, 16))


def test_the_tie_joins_the_loss_of_a_texture() -> None:
    network, view = Network(random_weights(deepest="conv1_2"), "random"), View((Place(0, layer("pool1")),))
    wanted = [target([one]) for one in moments(network, view, ops.convert_to_tensor(pictures(1, 16, 16, 9))).averages]
    picture = pictures(3, 16, 16)
    tie = Tie(10.0, 1e3)
    alone, slope = Objective(network, view, GramDistance((1.0,)), wanted)(picture)
    tied, whole = Objective(network, view, GramDistance((1.0,)), wanted, extras=(tie,))(picture)
    more, further = tie(picture)
    assert tied == pytest.approx(alone + more)
    np.testing.assert_allclose(to_numpy(whole), to_numpy(slope) + to_numpy(further), rtol=1e-4, atol=1e-4)
