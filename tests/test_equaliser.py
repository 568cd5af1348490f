"""The last touch gives back detail and colours that were lost, and neither layout nor seam."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from job_image.texture.equaliser import equalised
from job_image.texture.seams import seam
from tests.damage import blurred, brighter

Image = NDArray[np.float32]


def grain(seed: int, rows: int = 96, columns: int = 96) -> Image:
    """Coloured noise on a torus, with less of each finer detail."""
    rng = np.random.default_rng(seed)
    fine, coarse = (rng.standard_normal((rows, columns, 3)) for _ in range(2))
    blue = np.fft.fftfreq(rows)[:, None, None] ** 2 + np.fft.fftfreq(columns)[None, :, None] ** 2
    coarse = np.fft.ifft2(np.fft.fft2(coarse, axes=(0, 1)) * np.exp(-blue * 400), axes=(0, 1)).real
    mixed = (0.04 * fine + 0.1 * coarse / coarse.std()) @ np.array([[1, 0.8, 0.6], [0, 0.2, 0.1], [0, 0, 0.2]])
    made: Image = np.clip(0.5 + mixed, 0, 1).astype(np.float32)
    return made


def power(image: Image, low: float, high: float) -> float:
    """Mean power of the luminance in a ring of frequencies, in cycles a pixel."""
    grey = image.mean(2)
    radius = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1])[None])
    ring = (radius >= low) & (radius < high)
    return float((np.abs(np.fft.fft2(grey - grey.mean()))[ring] ** 2).mean())


@pytest.mark.parametrize("ring", [(0.1, 0.2), (0.2, 0.4), (0.4, 0.7)])
def test_a_soft_picture_gets_its_detail_back(ring: tuple[float, float]) -> None:
    source, soft = grain(0, 192, 192), blurred(grain(1, 192, 192), 0.5)
    wanted, before, after = (power(image, *ring) for image in (source, soft, equalised(soft, [source])))
    assert abs(np.log(after / wanted)) < max(0.12, 0.5 * abs(np.log(before / wanted)))


def test_colours_become_the_sources_colours() -> None:
    source, other = grain(0), brighter(grain(1), 1.3)
    made = equalised(other, [source])
    for channel in range(3):
        have, want, before = (np.quantile(i[..., channel], (0.1, 0.5, 0.9)) for i in (made, source, other))
        assert np.abs(have - want).max() < 0.015 < np.abs(before - want).max()


def test_nothing_moves_and_no_seam_opens() -> None:
    source, soft = grain(0), blurred(np.tile(grain(1), (3, 3, 1)), 0.7)[96:192, 96:192]
    made = equalised(soft, [source])
    assert np.corrcoef(made.ravel(), soft.ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(made.ravel(), source.ravel())[0, 1]) < 0.2
    assert seam(made)[0] < 1.25


def test_where_the_torus_begins_makes_no_difference() -> None:
    source, soft = grain(0), blurred(grain(1), 0.5)
    rolled = np.roll(equalised(soft, [source]), (13, 40), (0, 1))
    np.testing.assert_allclose(equalised(np.roll(soft, (13, 40), (0, 1)), [source]), rolled, atol=1e-3)


def test_several_sources_of_any_size_are_pooled() -> None:
    dark, light = brighter(grain(0, 60, 81), 0.6), brighter(grain(2, 33, 120), 1.4)
    made = equalised(grain(1, 47, 75), [dark, light])
    weight = dark.size / (dark.size + light.size)
    assert made.mean() == pytest.approx(weight * dark.mean() + (1 - weight) * light.mean(), abs=0.01)


def test_one_flat_colour_stays_what_it_is() -> None:
    flat = np.full((40, 33, 3), (0.2, 0.5, 0.9), np.float32)
    np.testing.assert_allclose(equalised(flat + np.float32(0.001), [flat]), flat, atol=1e-3)
