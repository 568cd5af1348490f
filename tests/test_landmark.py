"""What catches the eye in a tiling is measured as a person sees it, and lone places of a source can be covered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from job_image.texture.landmark import landmark
from job_image.texture.parameters import Parameters
from job_image.texture.patchwork import Patchwork
from job_image.texture.retouch import retouched

Image = NDArray[np.float32]
Field = NDArray[np.floating[Any]]
SIDE = 128


def ground(seed: int = 0, side: int = SIDE, contrast: float = 0.12) -> Image:
    """Even grain on a torus, each colour its own."""
    noise = np.random.default_rng(seed).standard_normal((side, side, 3))
    soft = np.mean([np.roll(noise, (y, x), (0, 1)) for y in (0, 1) for x in (0, 1)], axis=0)
    return shown(0.5 + 2 * contrast * soft * [1.0, 0.95, 0.9])


def shown(values: Field) -> Image:
    picture: Image = np.clip(values, 0, 1).astype(np.float32)
    return picture


def disc(radius: float, row: int = 50, column: int = 70, side: int = SIDE) -> Field:
    y, x = np.mgrid[:side, :side]
    cover: Field = np.clip(radius + 0.5 - np.hypot(y - row, x - column), 0, 1)[..., None]
    return cover


def stones(count: int, seed: int = 3) -> Image:
    """Ground with stones of a tenth of its side, anywhere, dark or light."""
    picture, draws = ground(seed), np.random.default_rng(seed)
    for _ in range(count):
        cover, shade = disc(6, 64, 64), draws.choice((0.15, 0.85))
        cover = np.roll(cover, tuple(draws.integers(0, SIDE, 2)), (0, 1))
        picture = shown(picture * (1 - cover) + shade * cover)
    return picture


def stripes(down: bool) -> Image:
    """Lines down the picture or across it, otherwise alike: their colours, strengths and widths are the same."""
    wave = 0.15 * np.sin(2 * np.pi * np.arange(SIDE) / 8)
    lines = np.broadcast_to(wave[None] if down else wave[:, None], (SIDE, SIDE))
    return shown(ground(contrast=0.05) + lines[..., None])


def test_even_ground_has_no_landmark() -> None:
    assert all(landmark(ground(seed)) < 1.4 for seed in range(5))


@pytest.mark.parametrize("shade", [0.1, 0.9])
def test_the_larger_a_lone_stone_the_sooner_it_is_found(shade: float) -> None:
    found = [landmark(shown(ground() * (1 - disc(r)) + shade * disc(r))) for r in (4, 6.5, 13)]
    assert 1.6 < found[0] < found[1] < found[2]


def test_a_bare_patch_is_found_though_it_is_a_tenth_of_the_picture() -> None:
    lawn = shown(ground() * [0.6, 1.0, 0.5])
    bare = shown(ground(1) * [0.75, 0.75, 0.6])
    cover = disc(0.18 * SIDE)
    assert landmark(lawn) < 1.4 and landmark(shown(lawn * (1 - cover) + bare * cover)) > 2


def test_a_knot_of_its_boards_own_colours_is_found() -> None:
    cover = disc(12)
    knot = shown(stripes(down=True) * (1 - cover) + stripes(down=False) * cover)
    assert landmark(stripes(down=True)) < 1.3 and landmark(knot) > 2


def test_a_stone_among_many_is_not_found() -> None:
    assert landmark(stones(40)) < 1.6 and landmark(stones(1)) > 3


def test_where_a_landmark_lies_on_a_tile_makes_no_difference() -> None:
    picture = stones(2)
    assert landmark(np.roll(picture, (31, 57), (0, 1))) == pytest.approx(landmark(picture), rel=0.02)


def test_a_picture_of_one_colour_has_none() -> None:
    assert landmark(np.full((40, 60, 3), 0.3, np.float32)) < 0.1


@pytest.mark.parametrize("place", [(50, 70), (8, 60), (118, 120)])
def test_a_lone_place_is_covered_and_the_rest_is_left(place: tuple[int, int]) -> None:
    stone = disc(6, *place)
    source = shown(ground() * (1 - stone) + 0.1 * stone)
    found = retouched(source, SIDE)
    inside, far = disc(4, *place)[..., 0] == 1, disc(24, *place)[..., 0] == 0
    assert source[inside].mean() < 0.15 and abs(found[inside].mean() - 0.475) < 0.06
    assert (found[far] != source[far]).any(-1).mean() < 0.02  # where another place stood out a little
    assert landmark(found) < 1.4 < 3 < landmark(source)


def test_an_even_material_is_left() -> None:
    for source in (ground(), stripes(down=True)):
        np.testing.assert_array_equal(retouched(source, SIDE), source)


def test_a_material_made_of_stones_keeps_them() -> None:
    source = stones(60)
    before, after = ((found < 0.2).all(-1).mean() for found in (source, retouched(source, SIDE)))
    assert before > 0.1 and after > 0.85 * before


def test_what_covers_a_place_of_a_regular_source_lies_whole_periods_away() -> None:
    stone = disc(9, 64, 61)
    lines = stripes(down=True)
    found = retouched(shown(lines * (1 - stone) + 0.95 * stone), SIDE, (SIDE / 8, 0.0))
    inside = stone[..., 0] == 1
    assert np.abs(found[inside] - lines[inside]).mean() < 0.08


def test_a_large_source_is_retouched_as_a_small_one() -> None:
    side = 640
    stone = disc(40, 200, 300, side)
    found = retouched(shown(ground(0, side) * (1 - stone) + 0.1 * stone), side)
    assert abs(found[disc(30, 200, 300, side)[..., 0] == 1].mean() - 0.475) < 0.06
    assert found.shape == (side, side, 3) and found.dtype == np.float32


@pytest.mark.parametrize(
    ("asked", "covered"),
    [({"seamless": "x"}, True), ({"seamless": "none"}, False), ({"landmarks": "keep"}, False)],
)
def test_landmarks_are_softened_where_the_picture_wraps_unless_they_are_wanted(
    asked: dict[str, str], covered: bool
) -> None:
    source = stones(1)
    course = Patchwork([source], Parameters(SIDE, SIDE, **asked), lambda: None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(course.sources[0], source)  # what the result is compared with
    assert (course.material[0] != source).any() == covered


@pytest.mark.parametrize(("side", "count"), [(700, 39), (1024, 17.5)])
def test_what_covers_a_place_is_in_step_at_the_sources_own_size(side: int, count: float) -> None:
    """It is looked for in a small copy, whose pixels are no measure for periods of the large one."""
    wave = 0.2 * np.sin(2 * np.pi * count * np.arange(side) / side)
    lines = shown(ground(0, side, contrast=0.03) + wave[None, :, None])
    stone = disc(side / 14, side // 2, side // 2, side)
    found = retouched(shown(lines * (1 - stone) + 0.97 * stone), side, (count, 0.0))
    inside = disc(side / 20, side // 2, side // 2, side)[..., 0] == 1
    apart = found[inside].mean(axis=-1) - (0.5 + np.broadcast_to(wave, (side, side))[inside])
    assert np.abs(apart).mean() < 0.05


def test_a_source_of_many_tiles_keeps_its_landmarks() -> None:
    """No tile shows them all, and looking for them in so large a source would take as long as it is large."""
    source = shown(ground() * (1 - disc(9)) + 0.1 * disc(9))
    assert (retouched(source, SIDE) != source).any()
    np.testing.assert_array_equal(retouched(source, SIDE / 3), source)
