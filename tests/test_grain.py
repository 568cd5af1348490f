"""Grain that votes average away comes back where it was lost, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from job_image.texture import grain

Image = NDArray[np.float32]


def noise(rows: int, columns: int, deviation: float, seed: int = 0) -> Image:
    made: Image = (deviation * np.random.default_rng(seed).standard_normal((rows, columns, 3))).astype(np.float32)
    return made


def averaged(count: int, rows: int = 96, columns: int = 80) -> tuple[Image, Image]:
    """Grain of deviation 0.1 averaged over so many votes, and the votes' variance, as `regained` takes them."""
    ballots = np.stack([noise(rows, columns, 0.1, seed) for seed in range(count)])
    return ballots.mean(0), ballots.var(0).sum(2)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_averaged_grain_gets_its_strength_back(count: int) -> None:
    picture, lost = averaged(count)
    assert picture.std() < 0.075
    assert grain.regained(picture, lost).std() == pytest.approx(0.1, rel=0.05)
    assert grain.regained(picture, lost, 0.5).std() == pytest.approx(np.sqrt(0.1 * picture.std()), rel=0.05)


def test_grain_comes_back_where_it_was_lost_only() -> None:
    """The left half's votes agreed, the right half's did not: both had the same grain to begin with."""
    kept, (weak, lost) = noise(96, 80, 0.1), averaged(6)
    picture, apart = kept.copy(), np.zeros((96, 80), np.float32)
    picture[:, 40:], apart[:, 40:] = weak[:, 40:], lost[:, 40:]
    made = grain.regained(picture, apart)
    left, right = made[:, 12:28], made[:, 52:68]
    np.testing.assert_allclose(left, picture[:, 12:28], atol=2e-3)
    assert right.std() == pytest.approx(0.1, rel=0.08)


def test_votes_that_agree_change_nothing() -> None:
    picture = noise(33, 50, 0.2)
    np.testing.assert_allclose(grain.regained(picture, np.zeros((33, 50), np.float32)), picture, atol=1e-6)


def test_only_detail_is_made_stronger_and_never_without_end() -> None:
    slow = np.repeat(np.cos(2 * np.pi * np.arange(120) / 60)[:, None, None], 90, 1) * np.ones(3)
    picture, lost = slow.astype(np.float32), np.full((120, 90), 0.03, np.float32)
    assert np.abs(grain.regained(picture, lost) - picture).max() < 0.08
    flat = np.full((40, 40, 3), 0.3, np.float32)
    np.testing.assert_allclose(grain.regained(flat, np.ones((40, 40), np.float32)), flat, atol=1e-4)
    picture = noise(64, 64, 0.01)
    assert grain.regained(picture, np.ones((64, 64), np.float32)).std() < 1.001 * grain.MOST * picture.std()


def test_where_the_torus_begins_makes_no_difference() -> None:
    picture, lost = averaged(4)
    made = np.roll(grain.regained(picture, lost), (13, 40), (0, 1))
    rolled = grain.regained(np.roll(picture, (13, 40), (0, 1)), np.roll(lost, (13, 40), (0, 1)))
    np.testing.assert_allclose(rolled, made, atol=1e-5)
