"""The means of Gram matrices have the properties that make them means in the geometry of such matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.texture import joining
from job_image.texture.joining import MODES, join

GEOMETRIC = ("log_euclidean", "affine_invariant", "riemann")
SEEDS = st.integers(0, 2**32 - 1)


def matrix(rng: np.random.Generator, size: int = 6, spread: float = 3.0) -> Any:
    """Positive definite, with eigenvalues from 10^-spread/2 to 10^spread/2."""
    turn, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return (turn * 10 ** rng.uniform(-spread / 2, spread / 2, size)) @ turn.T


def gram(rng: np.random.Generator, channels: int, pixels: int) -> Any:
    """As the engine makes them: features, none negative, in float32."""
    features = np.maximum(rng.standard_normal((pixels, channels)) @ rng.standard_normal((channels, channels)), 0)
    features = features.astype(np.float32)
    return (features.T @ features / np.float32(pixels * channels)).astype(np.float64)


def distance(a: Any, b: Any) -> float:
    """||log(A^-1/2 B A^-1/2)||, by the eigenvalues of A^-1 B: another way than the module's."""
    return float(np.sqrt(np.sum(np.log(np.linalg.eigvals(np.linalg.solve(a, b)).real) ** 2)))


@given(seed=SEEDS, mode=st.sampled_from(sorted(MODES)))
def test_one_source_gives_itself_and_the_same_twice_too(seed: int, mode: str) -> None:
    a = matrix(np.random.default_rng(seed))
    np.testing.assert_array_equal(join([a], mode), a)
    np.testing.assert_allclose(join([a, a, a], mode), a, rtol=1e-6, atol=1e-9 * np.abs(a).max())


def test_a_source_of_few_pixels_alone_is_untouched() -> None:
    singular = gram(np.random.default_rng(3), 8, 2)
    for mode in MODES:
        np.testing.assert_array_equal(join([singular], mode), singular)


def test_average_and_max_go_by_entries() -> None:
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, -1.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(join([a, b], "average"), [[3, 0], [0, 2]])
    np.testing.assert_array_equal(join([a, b], "max"), [[4, 1], [1, 3]])


@given(seed=SEEDS, count=st.integers(2, 4), mode=st.sampled_from(GEOMETRIC))
def test_commuting_matrices_give_the_geometric_mean_of_eigenvalues(seed: int, count: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    values = 10 ** rng.uniform(-1.5, 1.5, (count, 5))
    mean = (turn * np.exp(np.log(values).mean(axis=0))) @ turn.T
    np.testing.assert_allclose(join([(turn * v) @ turn.T for v in values], mode), mean, rtol=1e-6, atol=1e-7)


@given(seed=SEEDS, count=st.integers(2, 4), mode=st.sampled_from(("affine_invariant", "riemann")))
def test_a_change_of_coordinates_goes_through_the_mean(seed: int, count: int, mode: str) -> None:
    """mean(G A G^T, ...) = G mean(A, ...) G^T"""
    rng = np.random.default_rng(seed)
    change = matrix(rng, spread=1) @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    grams = [matrix(rng) for _ in range(count)]
    changed = join([change @ a @ change.T for a in grams], mode)
    np.testing.assert_allclose(changed, change @ join(grams, mode) @ change.T, rtol=1e-5, atol=1e-6 * changed.max())


@given(seed=SEEDS, mode=st.sampled_from(sorted(MODES)))
def test_two_sources_may_change_places(seed: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = matrix(rng), matrix(rng)
    np.testing.assert_allclose(join([a, b], mode), join([b, a], mode), rtol=1e-5, atol=1e-7 * a.max())


@given(seed=SEEDS)
def test_the_riemann_mean_depends_on_no_order_and_is_affine_invariants_for_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (matrix(rng) for _ in range(3))
    mean = join([a, b, c], "riemann")
    np.testing.assert_allclose(join([c, a, b], "riemann"), mean, rtol=1e-5, atol=1e-6 * mean.max())
    np.testing.assert_allclose(
        join([a, b], "riemann"), join([a, b], "affine_invariant"), rtol=1e-5, atol=1e-6 * a.max()
    )


@given(seed=SEEDS)
def test_the_riemann_mean_is_nearest_to_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grams = [matrix(rng) for _ in range(3)]

    def far(mean: Any) -> float:
        return sum(distance(mean, a) ** 2 for a in grams)

    least = far(join(grams, "riemann"))
    assert least <= min(far(join(grams, mode)) for mode in ("average", "log_euclidean", "affine_invariant")) + 1e-9
    push = rng.standard_normal((6, 6)) * 1e-3
    mean = (np.eye(6) + push) @ join(grams, "riemann") @ (np.eye(6) + push).T
    assert far(mean) > least


@given(seed=SEEDS)
def test_the_midpoint_is_half_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = matrix(rng), matrix(rng)
    for mode in ("affine_invariant", "riemann"):
        middle = join([a, b], mode)
        assert distance(a, middle) == pytest.approx(distance(middle, b), rel=1e-5)
        assert distance(a, middle) == pytest.approx(distance(a, b) / 2, rel=1e-5)


@given(seed=SEEDS, count=st.integers(2, 4), mode=st.sampled_from(GEOMETRIC))
def test_determinants_have_the_geometric_mean(seed: int, count: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    grams = [matrix(rng) for _ in range(count)]
    expected = np.mean([np.linalg.slogdet(a)[1] for a in grams])
    assert np.linalg.slogdet(join(grams, mode))[1] == pytest.approx(expected, abs=1e-5)


def test_the_inductive_mean_of_three_is_sturms() -> None:
    rng = np.random.default_rng(7)
    a, b, c = (matrix(rng) for _ in range(3))
    mean, pair = join([a, b, c], "affine_invariant"), join([a, b], "affine_invariant")
    assert distance(pair, mean) == pytest.approx(distance(pair, c) / 3, rel=1e-6)
    assert distance(mean, c) == pytest.approx(distance(pair, c) * 2 / 3, rel=1e-6)


@settings(max_examples=20)
@given(seed=SEEDS, pixels=st.integers(1, 60), count=st.integers(2, 3), mode=st.sampled_from(GEOMETRIC))
def test_grams_of_few_pixels_have_a_mean(seed: int, pixels: int, count: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    joined = join([gram(rng, 24, pixels) for _ in range(count)], mode)
    assert joined.shape == (24, 24) and joined.dtype == np.float64
    np.testing.assert_array_equal(joined, joined.T)
    assert np.linalg.eigvalsh(joined)[0] > 0


def test_black_sources_have_a_mean() -> None:
    for mode in MODES:
        assert np.abs(join([np.zeros((4, 4)), np.zeros((4, 4))], mode)).max() < 1e-100


def test_what_cannot_be_joined_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    a = matrix(np.random.default_rng(0))
    for grams, mode, sentence in [
        ([a], "mean", "must be one of: average, max, log_euclidean, affine_invariant, riemann"),
        ([], "average", "no sources"),
        ([a, a[:3, :3]], "average", "the same C"),
        ([a[None]], "average", "the same C"),
        ([a, np.where(a == a[0, 0], np.nan, a)], "max", "source 2 is not symmetric and finite"),
        ([np.triu(a), a], "max", "source 1 is not symmetric and finite"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            join(grams, mode)
    monkeypatch.setattr(joining, "MOST_STEPS", 1)
    with pytest.raises(ValueError, match="join with log_euclidean instead"):
        join([a, matrix(np.random.default_rng(1)), matrix(np.random.default_rng(2))], "riemann")
