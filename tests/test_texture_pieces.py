"""The engine's pure pieces, each against its definition."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from job_image.texture import images, levels, matching, patches, pieces, progress, rhythm, sliced, start, torus
from job_image.texture.backend import to_numpy
from job_image.texture.levels import schedule, source_sizes
from job_image.texture.parameters import Parameters
from job_image.texture.patchwork import Patchwork, finish_work, iteration_work
from job_image.texture.progress import Progress
from job_image.texture.randomness import Stage, generator

Array = npt.NDArray[np.float32]


def random_image(rows: int, columns: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((rows, columns, 3), dtype=np.float32)


def sizes_of(width: int, height: int, source: levels.Size) -> list[levels.Size]:
    return [level.size for level in schedule(width, height, [source])]


def test_levels_grow_geometrically_to_the_full_size() -> None:
    found = schedule(256, 256, [(256, 256)])
    assert [level.size[0] for level in found] == [32, 46, 64, 90, 128, 182, 256]
    assert [level.iterations for level in found] == [10, 9, 8, 6, 5, 4, 3]
    assert [level.sources[0] for level in found] == [level.size for level in found]
    assert found[0].name == "32x32"


def test_levels_follow_the_shorter_side_and_keep_the_aspect_ratio() -> None:
    assert sizes_of(64, 200, (113, 113)) == [(32, 100), (46, 144), (64, 200)]
    assert sizes_of(512, 256, (362, 362))[0] == (64, 32)


def test_the_smallest_picture_has_one_level() -> None:
    assert sizes_of(32, 32, (32, 32)) == [(32, 32)]
    assert sizes_of(32, 300, (60, 160)) == [(32, 300)]


def test_levels_whose_sources_would_be_too_small_are_left_out() -> None:
    for level in schedule(512, 512, [(32, 40)]):
        assert min(level.sources[0]) >= levels.SMALLEST_SOURCE_SIDE


@pytest.mark.parametrize(
    ("original", "parameters", "expected"),
    [
        ((512, 512), Parameters(256, 256), (256, 256)),
        ((100, 80), Parameters(256, 256), (100, 80)),  # never blown up
        ((1000, 250), Parameters(100, 100), (200, 50)),
        ((512, 256), Parameters(64, 64, source_width=300), (300, 150)),
        ((9000, 64), Parameters(256, 256), (4500, 32)),  # the shorter side stops at 32
    ],
)
def test_source_size(original: levels.Size, parameters: Parameters, expected: levels.Size) -> None:
    assert source_sizes([original], parameters) == (expected,)


def test_further_sources_get_the_first_ones_area() -> None:
    assert source_sizes([(200, 200), (800, 200)], Parameters(64, 64, source_width=100)) == ((100, 100), (200, 50))


def test_a_source_width_that_leaves_no_height_is_refused() -> None:
    with pytest.raises(ValueError, match="source_width 64 makes the 1000x100 source 6 pixels high"):
        source_sizes([(1000, 100)], Parameters(source_width=64))


def test_a_source_width_that_fills_the_memory_is_refused() -> None:
    assert source_sizes([(100, 100)], Parameters(source_width=8192)) == ((8192, 8192),)
    with pytest.raises(ValueError, match="source_width 8192 makes the 32x2000 source 512000 pixels high; at most 8192"):
        source_sizes([(32, 2000)], Parameters(source_width=8192))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "unknown parameter 'widht'; known parameters: width, height"),
        ({"width": 31}, "width is 31; it must be a whole number from 32 to 8192"),
        ({"height": "256"}, "height is '256'"),
        ({"seed": True}, "seed is True"),
        ({"seed": 2**31}, "seed is 2147483648"),
        ({"source_width": 10.5}, "source_width is 10.5"),
        ({"method": "magic"}, "method is 'magic'; it must be one of: auto, patch"),
        ({"tolerance": float("nan")}, "tolerance is nan; it must be a number"),
        ({"source_width": 64, "source_scale": 0.5}, "source_width and source_scale are both given"),
        ({"layers": []}, "layers is []; it must be a list of 1 to 21"),
        ({"layers": [True]}, "layers holds True"),
        ({"bits": 12}, "bits is 12; it must be 8 or 16"),
    ],
)
def test_bad_parameters_say_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Parameters.from_mapping(values)


EVEN = np.ones(49, np.float32)


@pytest.mark.parametrize(("rows", "columns", "step"), [(32, 40, 1), (33, 35, 2), (34, 32, 3)])
def test_every_patch_of_the_grid_folds_back_to_the_picture(rows: int, columns: int, step: int) -> None:
    picture, offset = random_image(rows, columns), (step - 1, 0)
    continued = torus.unwrap(picture, offset, step, 7)
    across, down = torus.grid(columns, step), torus.grid(rows, step)
    taken = matching.extract(continued, 7, step)
    assert taken.shape == (across * down, 147)
    weighted = np.concatenate([to_numpy(taken).reshape(-1, 49, 3), np.ones((across * down, 49, 1), np.float32)], 2)
    folded = matching.fold(weighted.reshape(-1, 196), down, across, 7, step)
    summed = torus.wrap(to_numpy(folded), offset, rows, columns)
    assert summed[..., 3].min() >= 1
    np.testing.assert_allclose(summed[..., :3] / summed[..., 3:], picture, atol=1e-5)


def test_extracted_patches_have_the_order_of_drawn_ones() -> None:
    picture = random_image(12, 10)
    drawn = patches.Candidates([picture], 7).draw(10**6, np.random.default_rng(0))
    np.testing.assert_array_equal(to_numpy(matching.extract(picture, 7, 1)), drawn.patches)
    assert (drawn.x[5], drawn.y[5]) == (1, 1)
    np.testing.assert_array_equal(drawn.patches[5].reshape(7, 7, 3), picture[1:8, 1:8])


def test_draws_reach_every_source_without_repeats() -> None:
    sources = [random_image(20, 30), random_image(25, 24, seed=1)]
    candidates = patches.Candidates(sources, 7)
    assert len(candidates) == 14 * 24 + 19 * 18
    drawn = candidates.draw(400, np.random.default_rng(0))
    assert len(np.unique(drawn.patches, axis=0)) == 400
    assert len(candidates.draw(10**6, np.random.default_rng(0)).patches) == len(candidates)


def test_patches_are_found_again_by_their_places() -> None:
    candidates = patches.Candidates([random_image(20, 30), random_image(25, 24, seed=1)], 7)
    numbers = np.array([0, 14 * 24 - 1, 14 * 24, len(candidates) - 1])
    places = candidates.places(numbers)
    np.testing.assert_array_equal(places, [[0, 0, 0], [0, 13, 23], [1, 0, 0], [1, 18, 17]])
    again, inside = candidates.numbers(places)
    np.testing.assert_array_equal(again, numbers)
    assert inside.all()
    assert not candidates.numbers(places + np.array([0, 14, 0]))[1][:2].any()
    assert not candidates.numbers(places - np.array([0, 0, 24]))[1].any()


@pytest.mark.parametrize(("rows", "columns", "step"), [(48, 48, 1), (50, 46, 2), (64, 65, 3)])
def test_a_piece_goes_on_over_the_edges_of_the_torus(rows: int, columns: int, step: int) -> None:
    """A picture that is one piece of its source, which lies 5 pixels further down and 9 to the right there."""
    down, across = torus.grid(rows, step), torus.grid(columns, step)
    reach = max(pieces.distances(step))
    assert reach * step >= pieces.LARGE > (reach - 1) * step
    shifts = np.tile(np.array([0, 5, 9], np.int32), (down, across, 1))
    around = pieces.continued(shifts, reach, rows, columns)
    inner = np.s_[reach:-reach, reach:-reach]
    np.testing.assert_array_equal(around[inner], shifts)
    for away in pieces.BESIDE:
        offered = pieces.beside(around, reach, away)
        assert offered.shape == shifts.shape
        # What a neighbour over the edge offers lies a whole turn away: in a source as large as the torus, outside.
        assert (np.abs(offered - shifts) % [1, rows, columns] == 0).all()
        assert (offered == shifts).all(axis=2).mean() == pytest.approx(1 - 1 / (across if away[0] == 0 else down))
    assert pieces.large(shifts, around, reach, step).all()


def test_only_what_lies_together_over_a_distance_is_a_large_piece() -> None:
    apart = np.random.default_rng(0).integers(-500, 500, (24, 24, 3)).astype(np.int32)
    apart[8:13, 2:22] = 7  # twenty patches wide, five high: three pixels apart each, the first goes with the sixth
    found = pieces.large(apart, pieces.continued(apart, 6, 1000, 1000), 6, 3)
    assert found[8:13, 2:22].all() and found.sum() == 100
    apart[8:13, 5:22] += np.arange(17)[:, None] * np.int32(2)  # sheared, as no copy is
    found = pieces.large(apart, pieces.continued(apart, 6, 1000, 1000), 6, 3)
    assert not found.any()


def test_joined_matches_are_closer_than_those_drawn() -> None:
    """With few patches drawn, neighbours' pieces go on where none was drawn."""
    source = np.asarray(images.resize(random_image(24, 24), 48, 48) * 2 - 1)
    picture = np.roll(source, (13, 20), axis=(0, 1))
    matcher = patches.Matcher([source], levels.schedule(48, 48, [(48, 48)])[-1], 0, rhythm.Rhythm())
    distances = []
    for joined in (0, 1, 3):
        matcher.how = replace(matcher.how, candidates=100, joined=joined)
        distances.append(matcher.iterate(picture, 0, lambda: None)[1])
    assert distances[0] > 1.05 * distances[1]
    assert distances[1] > 1.2 * distances[2]


def test_balanced_matches_equal_the_definition() -> None:
    random = np.random.default_rng(3)
    queries, candidates = (random.standard_normal((n, 24)).astype(np.float32) for n in (700, 900))
    distances = ((queries[:, None] - candidates[None]) ** 2).sum(2)
    weights = 1 / (distances.min(0) + 0.5)
    found = matching.balance_weights(queries, candidates, 0.5, 200)
    np.testing.assert_allclose(to_numpy(found), weights, rtol=1e-4)
    matches = to_numpy(matching.match(queries, matching.with_weights(candidates, found), 256))
    assert matches.shape == (700,)
    best = (distances * weights).min(1)
    np.testing.assert_allclose((distances * weights)[np.arange(700), matches], best, rtol=1e-4)


def test_sharper_votes_are_for_close_matches() -> None:
    taken, matched = (np.zeros((2, 147), np.float32) for _ in range(2))
    matched[0] += 0.1
    matched[1] += 0.5
    even, sharp = (
        to_numpy(matching.votes(taken, matched, 2, sharpness, EVEN)[0]).reshape(2, -1, 5)[:, 0, 4]
        for sharpness in (patches.SHARPNESS, patches.SHARPEST)
    )
    assert 1 < even[0] / even[1] < 10 < sharp[0] / sharp[1]


def test_only_the_finest_level_votes_sharply_and_draws_grow_with_the_source() -> None:
    plan = levels.schedule(1024, 1024, [(1024, 1024)])
    how = [patches.Matching.for_level(level) for level in plan]
    assert [level.finest for level in plan] == [False] * (len(plan) - 1) + [True]
    assert {one.sharpness for one in how[:-1]} == {patches.SHARPNESS} and how[-1].sharpness == patches.SHARPEST
    assert all((one.shares() == 1).all() for one in how[:-1]) and how[-1].shares().min() < 0.5
    assert {one.candidates for one in how[:-1]} == {patches.USUAL_CANDIDATES}
    assert how[-1].candidates == patches.MOST_CANDIDATES
    small = levels.schedule(200, 200, [(200, 200)])
    assert {patches.Matching.for_level(level).candidates for level in small} == {patches.LEAST_CANDIDATES}
    assert how[0].of_regular().candidates > how[0].candidates


def test_close_matches_have_more_votes() -> None:
    taken, matched = np.zeros((2, 147), np.float32), np.zeros((2, 147), np.float32)
    matched[1] = 0.5
    ballots, error = matching.votes(taken, matched, 2, 0.6, EVEN)
    weights = to_numpy(ballots).reshape(2, 49, 5)[:, :, 4]
    np.testing.assert_allclose(weights[:, 0], [0.001**-0.6, 0.251**-0.6], rtol=1e-5)
    assert float(error) == pytest.approx(0.25)
    ballots, error = matching.votes(taken, matched, 1, 0.6, EVEN)
    assert float(error) == 0 and not to_numpy(ballots)[1].any()


def test_votes_carry_their_squares_and_count_most_in_the_middle() -> None:
    matched = np.random.default_rng(0).random((1, 147), np.float32)
    shares = patches.Matching(7, 24, 0.01, 100, middle=patches.MIDDLE).shares()
    ballot = to_numpy(matching.votes(matched, matched, 1, 0.0, shares)[0]).reshape(49, 5)
    np.testing.assert_allclose(ballot[:, 4], shares, rtol=1e-6)
    np.testing.assert_allclose(ballot[:, :3], matched.reshape(49, 3) * shares[:, None], rtol=1e-5)
    np.testing.assert_allclose(ballot[:, 3], (matched.reshape(49, 3) ** 2).sum(1) * shares, rtol=1e-5)
    assert shares.argmax() == 24 and shares[24] == 1
    np.testing.assert_allclose(shares[3], np.exp(-0.5 * (3 / 2) ** 2), rtol=1e-5)


def test_principal_components_keep_the_variance() -> None:
    random = np.random.default_rng(0)
    spread = (random.standard_normal((4000, 3)) * [3, 2, 1]).astype(np.float32)
    basis = patches.principal_components(spread, 2)
    assert basis.variance == pytest.approx(14, rel=0.1)
    np.testing.assert_allclose(np.abs(basis.axes), [[1, 0], [0, 1], [0, 0]], atol=0.1)


def test_transport_is_the_rising_map_between_distributions() -> None:
    random = np.random.default_rng(0)
    samples = random.standard_normal((4096, 2)).astype(np.float32)
    have, want = sliced.quantiles(samples), sliced.quantiles(3 * samples + 1)
    moved = sliced.transport(ops.convert_to_tensor(samples.T), have, want)
    np.testing.assert_allclose(to_numpy(moved), (3 * samples + 1).T, atol=1e-3)


def test_quantiles_run_from_the_smallest_to_the_largest() -> None:
    knots = sliced.quantiles(np.array([[3.0], [1.0], [2.0]], np.float32))
    assert knots.shape == (1, sliced.KNOTS)
    assert (knots[0, 0], knots[0, -1]) == (1, 3)
    assert np.all(np.diff(knots[0]) >= 0)


def exhausted_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on a device whose memory does not suffice the first time."""
    calls = []

    def call(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return function(*given, **named)

    return call


@pytest.mark.parametrize("exhausted", [False, True], ids=["bounded", "out of memory"])
def test_strips_of_a_picture_take_the_same_step(monkeypatch: pytest.MonkeyPatch, exhausted: bool) -> None:
    source, picture = random_image(40, 40), random_image(36, 44, seed=1)
    whole, parts = (sliced.Finish([source], picture, seed=3) for _ in range(2))
    loss = whole.step(0, lambda: None)
    if exhausted:
        monkeypatch.setattr(sliced, "descent", exhausted_once(sliced.descent))
    else:
        monkeypatch.setattr(sliced, "MOST_RESPONSES", 8 * 44 * sliced.FILTERS)
        parts = sliced.Finish([source], picture, seed=3)
    assert parts.step(0, lambda: None) == pytest.approx(loss, rel=1e-5)
    assert (whole.height, parts.height) == (36, 18 if exhausted else 8)
    np.testing.assert_allclose(parts.picture(), whole.picture(), atol=1e-4)
    again = sliced.Finish.restored([source], parts.state(), seed=3)
    assert again.step(1, lambda: None) == parts.step(1, lambda: None)
    np.testing.assert_array_equal(again.picture(), parts.picture(), "strips are a part of the state")


def test_the_finish_lowers_its_loss() -> None:
    """Each step has filters of its own, whose losses differ by some percent: it takes a few more than usual to tell."""
    finish = sliced.Finish([random_image(40, 40)], 0.5 + 0.2 * random_image(36, 44, seed=1), seed=3, steps=8)
    losses = [finish.step(number, lambda: None) for number in range(8)]
    assert losses[-1] < 0.93 * losses[0]


def test_strips_of_a_picture_give_the_same_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    source, picture = random_image(48, 48), random_image(48, 48, seed=1)
    level = schedule(48, 48, [(48, 48)])[-1]
    matcher = patches.Matcher([source], level, 0, rhythm.Rhythm())
    whole, error = matcher.iterate(picture, 0, lambda: None)
    monkeypatch.setattr(patches, "STRIP_PATCHES", 48 * 10)
    parts, same_error = matcher.iterate(picture, 0, lambda: None)
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    assert same_error == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("where", ["weigh", "find", "compare", "elect"])
def test_matching_out_of_memory_compares_less_at_once(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A chunk is a part of the work and not of the result: where all is one strip either way, so are the bytes."""
    source, picture = random_image(48, 48), random_image(48, 48, seed=1)
    level = schedule(48, 48, [(48, 48)])[-1]
    whole, parts = (patches.Matcher([source], level, 0, rhythm.Rhythm()) for _ in range(2))
    wanted, error = whole.iterate(picture, 0, lambda: None)
    monkeypatch.setattr(patches, where, exhausted_once(getattr(patches, where)))
    found, same_error = parts.iterate(picture, 0, lambda: None)
    assert (whole.chunk, parts.chunk) == (matching.MATCH_CHUNK, matching.MATCH_CHUNK // 2)
    np.testing.assert_array_equal(found, wanted)
    assert same_error == error


def test_how_much_is_compared_at_once_goes_on_from_level_to_level_and_with_a_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def course() -> Patchwork:
        return Patchwork([source], Parameters(width=64, height=64), lambda: None)

    source, less = random_image(64, 64), matching.MATCH_CHUNK // 2
    monkeypatch.setattr(patches, "elect", exhausted_once(matching.elect))
    matched = course().matched(None)
    states = [next(matched).state() for _ in range(13)]
    assert [int(one["chunk"]) for one in states[1:]] == [less] * 12 and states[-1]["level"] > states[1]["level"]
    assert int(next(course().matched(states[-1])).state()["chunk"]) == less


def test_matching_ends_with_the_grain_of_its_source() -> None:
    """White grain has no two patches alike, so that votes average it; the last iteration at the finest level mends
    half of that, in decibels, and no other does."""
    source, picture = random_image(48, 48), random_image(48, 48, seed=1)
    level = schedule(48, 48, [(48, 48)])[-1]
    matcher = patches.Matcher([source], level, 0, rhythm.Rhythm())
    before, after = (matcher.iterate(picture, number, lambda: None)[0] for number in (0, level.iterations - 1))
    assert before.std() < 0.85 * source.std()
    assert after.std() == pytest.approx(np.sqrt(before.std() * source.std()), rel=0.1)


def test_whitening_has_unit_variance_and_an_inverse() -> None:
    picture = random_image(30, 40) * np.array([1, 0.5, 0.1], np.float32)
    colours = sliced.Colours([picture])
    white = colours.whiten(picture)
    np.testing.assert_allclose(np.cov(white.reshape(-1, 3).T), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(colours.colour(white), picture, atol=1e-5)


def test_the_start_has_the_sources_mean_and_covariance() -> None:
    source = random_image(64, 64) * np.array([1, 0.6, 0.2], np.float32)
    made = [start.noise([source], (64, 64), seed) for seed in range(20)]
    np.testing.assert_allclose(np.mean(made, (0, 1, 2)), source.mean((0, 1)), atol=0.01)
    found = np.mean([np.cov(one.reshape(-1, 3).T) for one in made], 0)
    np.testing.assert_allclose(found, np.cov(source.reshape(-1, 3).T), atol=0.01)


def test_resizing_a_torus_moves_with_it() -> None:
    picture = random_image(32, 40)
    rolled = np.roll(picture, (5, 9), (0, 1))
    large = images.resize_torus(picture, 80, 64)
    np.testing.assert_allclose(images.resize_torus(rolled, 80, 64), np.roll(large, (10, 18), (0, 1)), atol=1e-5)


def stripes(rows: int, columns: int, period: float) -> Array:
    """Noisy horizontal stripes."""
    wave = np.sin(2 * np.pi * np.arange(rows) / period)[:, None, None]
    made: Array = (0.5 + 0.3 * wave + 0.1 * (random_image(rows, columns) - 0.5)).astype(np.float32)
    return made


def test_the_period_of_stripes_is_found_and_fitted() -> None:
    source = stripes(200, 200, 19.3)
    across, down = rhythm.find(source)
    assert across is None and down == pytest.approx(19.3, rel=0.01)
    found, size = rhythm.fit(source, (200, 200))
    assert found.torus == (0, 10)
    assert size[0] == 200 and size[1] == pytest.approx(200 * 20 / 19.3, abs=2)
    assert found.source[1] == pytest.approx(size[1] / 20)


def test_no_period_is_fitted_that_leaves_the_source_too_small() -> None:
    source = stripes(32, 32, 12)
    assert rhythm.fit(source, (32, 32)) == (rhythm.Rhythm(), (32, 32))  # three periods of 12 would leave 28 pixels
    assert rhythm.fit(source, (32, 37))[0].torus == (0, 3)


def test_noise_has_no_period() -> None:
    assert rhythm.find(random_image(200, 150)) == (None, None)
    assert not rhythm.fit(random_image(64, 64), (64, 64))[0]


def test_what_repeats_is_laid_down_in_phase() -> None:
    source = stripes(180, 100, 20)
    on_torus, on_source = rhythm.repeating(source, (60, 60), rhythm.Rhythm((0, 3), (0.0, 9.0)))
    np.testing.assert_allclose(on_torus[:, 0, 0], 0.3 * np.sin(2 * np.pi * np.arange(60) / 20), atol=0.02)
    np.testing.assert_allclose(on_source + 0.5, source, atol=0.07)


def test_phases_agree_between_source_and_torus() -> None:
    found = rhythm.Rhythm((4, 0), (6.0, 0.0))
    x = np.arange(64)
    here, there = found.torus_phases(x, x, (64, 64)), found.source_phases(x, x, (96, 96))
    assert here.shape == (64, 2)
    np.testing.assert_allclose(here, there, atol=1e-9)
    assert rhythm.Rhythm().torus_phases(x, x, (64, 64)).shape == (64, 0)


def test_draws_depend_on_their_place_alone() -> None:
    one, same = (generator(7, Stage.MATCH, 2, 3).random(4) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    others = [generator(8, Stage.MATCH, 2, 3), generator(7, Stage.BASIS, 2, 3), generator(7, Stage.MATCH, 3, 2)]
    assert all(not np.array_equal(one, other.random(4)) for other in others)


def work_at_256() -> list[tuple[float, str]]:
    """Each iteration of the weight-free method at 256 pixels: its work, and the size it works at."""
    plan = schedule(256, 256, [(256, 256)])
    works = [(iteration_work(level), level.name) for level in plan for _ in range(level.iterations)]
    return works + [(finish_work(plan[-1]), plan[-1].name)] * sliced.STEPS


def test_progress_tells_the_first_and_the_last_step() -> None:
    told: list[dict[str, Any]] = []
    works = work_at_256()
    counter = Progress("bark", sum(work for work, _ in works), 0, told.append)
    done = 0.0
    for work, size in works:
        done += work
        counter.at(done, size, 0.5)
    assert told[0]["size"] == "32x32" and told[0]["loss"] == 0.5
    assert told[-1]["step"] == told[-1]["steps"] and told[-1]["seconds_left"] == 0
    assert set(told[0]) == {"progress", "step", "steps", "size", "loss", "seconds_left"}
    assert {one["size"] for one in told} == {size for _, size in works}, "a new size is always told"


def test_time_left_is_told_once_enough_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(progress, "PAUSE", 0)
    told: list[dict[str, Any]] = []
    works = work_at_256()
    counter = Progress("bark", sum(work for work, _ in works), 0, told.append)
    ends, done = [], 0.0
    for number, (work, size) in enumerate(works):
        clock[0] += 60 if number == 0 else 0.05 + work / 10e9  # the first one compiles
        done += work
        counter.at(done, size, 0.5)
        ends.append(clock[0])
    assert len(told) == len(works)
    left = [one["seconds_left"] for one in told]
    first = next(number for number, value in enumerate(left) if value is not None)
    assert first >= progress.TIMED_COUNTS and ends[first] - ends[0] >= progress.TIMED_SECONDS
    assert None not in left[first:] and left[-1] == 0
    for value, end in zip(left[first:], ends[first:], strict=True):
        assert 0 <= value < 2 * (ends[-1] - end) + 0.1
