"""The quality figures put damage of known kinds in the right order, on painted cloth and on plain arrays."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from job_image.texture.appearance import Palette, periodic
from job_image.texture.copying import coherence
from job_image.texture.quality import COPIED, LIMITS, LINES, judged, measure
from job_image.texture.seams import lines, seam
from manifests import make_textures
from tests.damage import DAMAGE

Image = NDArray[np.float32]
SIZE = 160


def painted(name: str, seed: int) -> Image:
    return (np.asarray(make_textures.paint(name, SIZE, seed)) / 255).astype(np.float32)


def cloth(seed: int) -> Image:
    return painted("cloth", seed)


@pytest.fixture(scope="module")
def source() -> Image:
    return cloth(0)


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, Any]:
    """A second piece of the same cloth against the first: what a faultless synthesis would get."""
    return measure(cloth(0), cloth(3), tileable=False)


def blurred(image: Image) -> Image:
    for axis in (0, 1):
        image = (0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)).astype(np.float32)
    return image


def shuffled(image: Image, side: int = 32) -> Image:
    count = len(image) // side
    blocks = image.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    blocks = blocks[np.random.default_rng(1).permutation(len(blocks))]
    return blocks.reshape(count, count, side, side, 3).swapaxes(1, 2).reshape(image.shape)


def test_more_of_the_same_material_is_near_zero_and_good(elsewhere: dict[str, Any]) -> None:
    for name in LIMITS:
        assert abs(elsewhere["figures"][name]) < 0.12, name
        assert elsewhere["share"][name] > 0.02, name
    assert elsewhere["figures"]["copied"] < elsewhere["figures"]["copied_floor"] + 0.08
    assert (elsewhere["verdict"], elsewhere["reasons"]) == ("good", [])


def faults(report: dict[str, Any]) -> float:
    """How far the worst figure is beyond its limit of good: 1 is the limit."""
    figures = report["figures"]
    copied = (figures["copied"] - figures["copied_floor"]) / COPIED[0]
    return float(max(copied, figures["lines"] / LINES[0], *(figures[name] / LIMITS[name][0] for name in LIMITS)))


@cache
def faults_elsewhere(name: str, tileable: bool) -> float:
    """Those of a second piece of a material."""
    return faults(measure(painted(name, 0), painted(name, 3), tileable=tileable))


@pytest.mark.parametrize("name", ["bricks", pytest.param("cloth", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", DAMAGE)
def test_every_damage_is_worse_than_another_crop(name: str, kind: str) -> None:
    source, tileable = painted(name, 0), kind == "mirror tile"
    spoiled = measure(source, DAMAGE[kind](source), tileable=tileable)
    assert faults(spoiled) > max(1.0, faults_elsewhere(name, tileable)), spoiled["reasons"]
    if kind in ("copy, rolled", "mirror tile"):
        assert any(reason.startswith("copied") for reason in spoiled["reasons"])
    if kind == "mirror tile":
        assert "seam: the edges mirror each other" in spoiled["reasons"]
    if kind.startswith("blocks"):
        assert any(reason.startswith("lines") for reason in spoiled["reasons"])


@pytest.mark.slow
def test_worse_damage_has_the_worse_figure(source: Image) -> None:
    """In the order in which a person would rank them."""
    for figure, kinds in {
        "structure": ("another crop", "blocks of 32 px", "blocks of 16 px", "white noise"),
        "spectrum": ("another crop", "blocks of 32 px", "blocks of 16 px", "blur, sigma 1"),
        "colour": ("another crop", "levels x 1.05", "levels x 1.2"),
    }.items():
        found = [
            measure(source, cloth(3) if kind == "another crop" else DAMAGE[kind](source))["figures"][figure]
            for kind in kinds
        ]
        assert found == sorted(found), (figure, found)


def test_white_noise_is_one_in_structure_and_spectrum(source: Image) -> None:
    noise = Palette.of(source).noise(np.random.default_rng(9), SIZE)
    report = measure(source, noise)
    for name in ("structure", "spectrum"):
        assert report["figures"][name] == pytest.approx(1, abs=0.1)
        assert report["baselines"]["white_noise"][name] == pytest.approx(1, abs=0.1)
        assert report["share"][name] == 0
    assert report["verdict"] == "poor"


def test_a_copy_is_caught_by_what_it_copied(source: Image) -> None:
    report = measure(source, np.roll(source, (40, 70), (0, 1)), tileable=False)
    assert report["figures"]["copied"] > 0.8 > 0.1 > report["figures"]["copied_floor"]
    assert report["verdict"] == "poor"
    assert any(reason.startswith("copied: ") for reason in report["reasons"])


def test_shuffled_blocks_raise_structure(source: Image, elsewhere: dict[str, Any]) -> None:
    report = measure(source, shuffled(source), tileable=False)
    assert report["figures"]["structure"] > elsewhere["figures"]["structure"] + 0.07
    assert report["share"]["structure"] == 0


def test_scrambled_phases_raise_structure_and_leave_the_spectrum(source: Image) -> None:
    turn = np.exp(1j * np.angle(np.fft.fft2(np.random.default_rng(2).standard_normal((SIZE, SIZE)))))
    mean = source.mean((0, 1))
    scrambled = np.fft.ifft2(np.fft.fft2(source - mean, axes=(0, 1)) * turn[..., None], axes=(0, 1)).real + mean
    figures = measure(source, scrambled.astype(np.float32))["figures"]
    assert figures["structure"] > 0.4
    assert figures["spectrum"] < 0.1


def test_blur_raises_the_spectrum_the_more_the_stronger(source: Image, elsewhere: dict[str, Any]) -> None:
    once, twice = (
        measure(source, image)["figures"]["spectrum"] for image in (blurred(source), blurred(blurred(source)))
    )
    assert elsewhere["figures"]["spectrum"] + 0.1 < once < twice


def test_brighter_levels_raise_colour_and_nothing_else(source: Image) -> None:
    slightly, much = (measure(source, source * gain) for gain in (1.05, 1.2))
    assert slightly["figures"]["colour"] + 0.2 < much["figures"]["colour"]
    assert much["share"]["colour"] < 0.05
    assert much["figures"]["structure"] < 0.1


def test_a_mirror_tile_is_caught_by_its_edges_and_its_quarter_copy(source: Image) -> None:
    quarter = source[: SIZE // 2, : SIZE // 2]
    half = np.concatenate([quarter, quarter[::-1]], 0)
    report = measure(source, np.concatenate([half, half[:, ::-1]], 1))
    assert report["figures"]["seam"] < 0.1
    assert report["figures"]["copied"] > report["figures"]["copied_floor"] + 0.1
    assert report["baselines"]["mirror_tile"]["seam"] < 0.1
    assert report["verdict"] == "poor"
    assert "seam: the edges mirror each other" in report["reasons"]


def test_reasons_are_sentences_with_their_figures() -> None:
    report = {
        "figures": {
            "structure": 0.17,
            "spectrum": 0.1,
            "colour": 0.9,
            "copied": 0.3,
            "copied_floor": 0,
            "seam": 1.4,
            "lines": 1.5,
        },
        "share": {"structure": 0.5, "spectrum": 0.5, "colour": 0.05},
        "stationary": {"structure": True, "spectrum": True, "colour": False},
        "range": dict.fromkeys(LIMITS, (-0.1, 0.1)),
    }
    assert judged(report, mirrored=False, tileable=True) == (
        "fair",
        [
            "structure: edges and rhythms differ from the source's by 0.170, where another crop differs by 0 and white "
            "noise by 1; good is up to 0.1",
            "colour: colours differ from the source's as only 5% of pairs of its own crops do; good is 10% or more",
            "copied: 30% lifted from the source, where 0% is natural",
            "lines: a straight line inside stands out 1.50 times as much as any of the source's; good is up to 1.3",
            "seam: where the edges meet, the step is 1.40 times the largest usual step inside; good is up to 1.25",
        ],
    )


def test_an_open_seam_counts_only_where_the_result_should_tile(source: Image) -> None:
    rolled = np.roll(source, SIZE // 2, 0)
    assert seam(rolled[: SIZE - 20])[0] > 1.6
    assert any(reason.startswith("seam") for reason in measure(source, rolled[: SIZE - 20])["reasons"])
    assert not any(reason.startswith("seam") for reason in measure(source, source, tileable=False)["reasons"])


def test_seam_of_an_image_that_tiles_is_within_its_usual_steps() -> None:
    waves = np.sin(2 * np.pi * np.arange(64) / 16)
    image = (np.repeat((waves[:, None] * waves[None])[..., None], 3, 2) / 2 + 0.5).astype(np.float32)
    ratio, mirrored = seam(image)
    assert 0.3 <= ratio <= 1.25
    assert not mirrored


def test_the_edges_of_blocks_are_lines_and_mortar_is_not() -> None:
    bricks = painted("bricks", 0)
    assert lines(bricks, painted("bricks", 3)) < 1.3
    assert lines(bricks, DAMAGE["blocks of 32 px"](bricks)) > 1.3
    assert lines(bricks, bricks) == 1


def test_the_same_arguments_give_the_same_report(source: Image) -> None:
    result = blurred(source)
    first, again, other = (measure(source, result, seed=seed) for seed in (4, 4, 5))
    assert first == again != other


@pytest.mark.parametrize(
    ("source_shape", "result_shape"), [((32, 32), (32, 32)), ((33, 71), (50, 32)), ((100, 45), (64, 200))]
)
def test_any_sizes_give_finite_figures(source_shape: tuple[int, int], result_shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    assert_finite(measure(rng.random((*source_shape, 3), np.float32), rng.random((*result_shape, 3), np.float32)))


def test_images_of_one_colour_give_finite_figures() -> None:
    flat = np.full((48, 48, 3), 0.4, np.float32)
    noisy = np.random.default_rng(7).random((48, 48, 3), np.float32)
    assert_finite(measure(flat, flat))
    assert_finite(measure(flat, noisy))
    assert_finite(measure(noisy, flat))
    assert measure(flat, noisy)["verdict"] != "good"
    assert measure(noisy, flat)["verdict"] == "poor"
    assert measure(flat, flat + np.float32(1e-6))["verdict"] == "good"  # rounding errors are no structure


def assert_finite(report: dict[str, Any]) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [number for part in value.values() for number in numbers(part)]
        if isinstance(value, list):
            return [number for part in value for number in numbers(part)]
        return [] if isinstance(value, str) else [float(value)]

    assert np.isfinite(numbers(report)).all()
    assert json.loads(json.dumps(report)) == report
    assert report["verdict"] in ("good", "fair", "poor", "unmeasured")


def test_a_source_in_two_halves_is_not_judged_by_colour() -> None:
    rng = np.random.default_rng(8)
    halves = rng.random((128, 128, 3), np.float32) * 0.3
    halves[:, 64:] += 0.6
    report = measure(halves, np.roll(halves, 64, 1), tileable=False)
    assert not report["stationary"]["colour"]
    assert report["share"]["colour"] > 0.1
    assert "colour: the source is too uneven, or too plain, to tell" in report["reasons"]


@pytest.mark.parametrize("shape", [(31, 64, 3), (64, 64), (64, 64, 4)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    good = np.zeros((64, 64, 3), np.float32)
    with pytest.raises(ValueError, match="the result has shape"):
        measure(good, np.zeros(shape, np.float32))


def test_numbers_that_are_not_finite_are_refused() -> None:
    good = np.zeros((64, 64, 3), np.float32)
    with pytest.raises(ValueError, match="the source holds values that are not finite"):
        measure(good * np.nan, good)


def test_coherence_tells_one_piece_from_many() -> None:
    rng = np.random.default_rng(10)
    source = rng.random((80, 80, 3), np.float32)
    _, piece, pixels = coherence(source, [source[20:60, 10:50], rng.random((40, 40, 3), np.float32)], 20, rng)
    assert piece > 0.95
    assert pixels < 0.05


def test_the_periodic_part_of_a_ramp_is_nothing_and_of_a_wave_itself() -> None:
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    wave = np.sin(2 * np.pi * (3 * x + 5 * y) / 64).astype(np.float32)
    assert (periodic(wave) - wave).std() < 0.1 * wave.std()
    assert periodic(x / 64).std() < 0.1 * (x / 64).std()
