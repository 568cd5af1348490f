"""The pull towards a source's spectrum: nothing where it is met, and along its slope to where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from job_image.texture.backend import to_numpy
from job_image.texture.spectrum import Spectrum
from job_image.texture.start import texton

SIZE = (24, 20)


def noise(seed: int, columns: int = SIZE[0], rows: int = SIZE[1]) -> Any:
    return np.random.default_rng(seed).normal(0, 40, (rows, columns, 3)).astype(np.float32)


def test_a_full_step_against_the_slope_ends_where_nothing_pulls() -> None:
    """The slope is the way to the nearest picture with the source's spectrum."""
    source, at = noise(0, 30, 26), noise(1)[None]
    pull = Spectrum(source, SIZE, 1.0)
    loss, slope = pull(at)
    nearest = at - to_numpy(slope) * SIZE[0] * SIZE[1]
    assert loss > 1 and pull(nearest)[0] < 1e-6 * loss
    wanted = np.abs(np.fft.fft2(texton(source, *SIZE), axes=(0, 1))) * np.sqrt(SIZE[0] * SIZE[1])
    found = np.abs(np.fft.fft2(nearest[0] - nearest[0].mean((0, 1)), axes=(0, 1)))
    np.testing.assert_allclose(found, wanted, atol=1e-3 * wanted.max())


def test_the_slope_is_that_of_the_loss() -> None:
    pull = Spectrum(noise(0, 30, 26), SIZE, 3.0)
    at, way = noise(1)[None], noise(2)[None] / 40
    ahead, behind = (pull(at + step * way)[0] for step in (0.5, -0.5))
    assert ahead - behind == pytest.approx(float((to_numpy(pull(at)[1]) * way).sum()), rel=2e-3)


def test_a_picture_moved_round_the_torus_is_pulled_as_much() -> None:
    pull = Spectrum(noise(0, 30, 26), SIZE, 1.0)
    at = noise(1)[None]
    assert pull(np.roll(at, (7, 5), (1, 2)))[0] == pytest.approx(pull(at)[0], rel=1e-4)
