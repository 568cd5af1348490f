"""Regularity tells a straight grating from one whose rows stray, end, or have another period."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from job_image.texture.regularity import dislocations, kept, regularity
from job_image.texture.rhythm import Rhythm

Image = NDArray[np.float32]
SIDE, ROWS = 160, 10
RHYTHM = Rhythm((0, ROWS), (0.0, float(ROWS)))
Point = tuple[float, float, int]


def grating(points: tuple[Point, ...] = (), stray: float = 0.0, rows: int = ROWS, grain: float = 0.3) -> Image:
    """Rows on grain. Each point (y, x, sign) is where one ends; stray: in periods, how far a slow wave displaces them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = 2 * np.pi * (rows * y / SIDE + stray * np.sqrt(2) * np.sin(2 * np.pi * x / SIDE))
    for down, right, sign in points:
        phase = phase + sign * np.arctan2(y - down, x - right)
    levels = 0.5 + 0.25 * (np.cos(phase) + grain * np.random.default_rng(0).standard_normal(phase.shape))
    return np.repeat(levels[..., None], 3, axis=2).astype(np.float32)


def test_a_straight_grating_has_no_fault() -> None:
    figures = regularity(grating(), grating(grain=0.6), RHYTHM)
    assert figures["period_error"] < 0.002
    assert figures["straightness"] < 0.02
    assert figures["dislocations"] == figures["dislocations_source"] == 0


@pytest.mark.parametrize("pairs", [1, 2])
def test_each_row_that_ends_is_counted(pairs: int) -> None:
    ends = ((40.5, 40.5, 1), (40.5, 120.5, -1), (120.5, 40.5, -1), (120.5, 120.5, 1))[: 2 * pairs]
    figures = regularity(grating(), grating(ends), RHYTHM)
    assert figures["dislocations"] == 2 * pairs
    assert figures["straightness"] > 0.1


def test_straightness_is_the_displacement_in_periods() -> None:
    for stray in (0.05, 0.1):
        figures = regularity(grating(), grating(stray=stray), RHYTHM)
        assert 0.75 * stray < figures["straightness"] < stray  # smoothing over a period levels the wave a little
        assert figures["dislocations"] == 0


def test_another_period_is_an_error() -> None:
    assert regularity(grating(), grating(rows=ROWS + 2), RHYTHM)["period_error"] > 0.05


def test_a_brickwork_is_followed_along_its_rows_and_across() -> None:
    """Every second row shifted by half a brick: the wave across cancels, others do not."""
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y * 8 // SIDE
    upright = (x + (row % 2) * SIDE // 10) % (SIDE // 5) > 3
    bricks = np.repeat((upright & (y % (SIDE // 8) > 3))[..., None], 3, axis=2).astype(np.float32)
    rhythm = Rhythm((5, 8), (5.0, 8.0))
    assert regularity(bricks, bricks, rhythm)["dislocations"] == 0
    assert regularity(bricks, bricks, rhythm)["straightness"] < 0.02
    moved = bricks.copy()
    moved[40:120, 40:120] = np.roll(bricks, SIDE // 20, axis=1)[40:120, 40:120]
    assert regularity(bricks, moved, rhythm)["straightness"] > 0.05


def test_a_field_without_zeros_has_none() -> None:
    assert dislocations(np.full((8, 8), 1 + 1j), tiles=True) == 0


@pytest.mark.parametrize("shape", [(32, 40), (150, 33)])
def test_noise_gives_finite_figures(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random((*shape, 3), np.float32)
    figures = regularity(image, image, Rhythm((2, 3), (2.2, 3.1)))
    assert np.isfinite(list(figures.values())).all()


@pytest.mark.parametrize(("side", "period"), [(SIDE // 2, 8), (SIDE * 3 // 4, 16)])
def test_a_large_result_is_looked_at_small_or_in_part(monkeypatch: pytest.MonkeyPatch, side: int, period: int) -> None:
    """Half as large, or three quarters of it when the rows would be lost otherwise: the figures stay."""
    monkeypatch.setattr("job_image.texture.regularity.MOST_PIXELS", side * side)
    monkeypatch.setattr("job_image.texture.regularity.LEAST_PERIOD", period)
    figures = regularity(grating(), grating(grain=0.6), RHYTHM)
    assert figures["period_error"] < 0.005
    assert figures["straightness"] < 0.03
    assert figures["dislocations"] == 0
    assert regularity(grating(), grating(rows=ROWS + 2), RHYTHM)["period_error"] > 0.05
    ends = ((40.5, 40.5, 1), (40.5, 120.5, -1), (120.5, 40.5, -1), (120.5, 120.5, 1))
    found = regularity(grating(), grating(ends), RHYTHM)["dislocations"]
    assert found == 4 if period == 8 else found > 0, "of a part, as many as there would be in one as large inside"


@given(st.integers(0, 400), st.floats(0.01, 0.99))
def test_of_a_large_result_whole_periods_are_kept_and_even_numbers_stay_even(count: int, share: float) -> None:
    """Running bond has a wave of half as many periods as courses: cut to an odd number, it would be none."""
    left = kept(count, share)
    assert left % 2 == count % 2 and 0 <= left <= count
    assert left <= max(2, count * share)
    assert left > count * share - 2
