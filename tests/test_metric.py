"""The units in which Gram matrices are compared, and the rough arithmetic of the first steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.texture import backend, metric, network, statistics
from job_image.texture.backend import to_numpy
from job_image.texture.lbfgs import LBFGS
from job_image.texture.metric import Scaled, ScaledDistance
from job_image.texture.network import Network
from job_image.texture.objective import Objective
from job_image.texture.randomness import Stage, generator
from job_image.texture.statistics import GramDistance, Moments, Target
from tests.test_gram import NETWORK, picture, view
from tests.vgg import random_weights


def place(seed: int, channels: int = 6, places: int = 400) -> tuple[Any, Target, Any]:
    """Features (places, channels) of very unequal strengths, what they are as a target, and a response."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((channels, channels)) * np.geomspace(1, 0.01, channels)
    features = (random.standard_normal((places, channels)) + 0.5) @ mixing
    gram = features.T @ features / places / channels
    turned = random.standard_normal((channels, channels))
    response = turned @ turned.T
    return features, Target(gram.astype(np.float32), *np.zeros((2, channels), np.float32)), response


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_scaled_units_never_shrink_a_difference_and_leave_the_zero_where_it_is(seed: int) -> None:
    _, target, response = place(seed)
    aim = Scaled(target, *metric.units(target, response))
    assert aim.gain.min() == pytest.approx(1, rel=1e-5) and np.allclose(aim.gain, aim.gain.T)
    assert np.allclose(aim.basis @ aim.basis.T, np.eye(6), atol=1e-5)
    products = target.gram[None] * 6
    for moved in (0.0, 0.3):
        shift = np.random.default_rng(seed + 1).standard_normal((6, 6)) * moved
        found = Moments(products + (shift + shift.T).astype(np.float32)[None], np.zeros((1, 6), np.float32))
        plain = float(to_numpy(GramDistance((1.0,))([found], [target])))
        scaled = float(to_numpy(ScaledDistance(0.0)([found], [aim])))
        assert scaled >= plain * (1 - 1e-4) and (scaled > 1e-9) == (moved > 0)


def test_the_units_are_how_far_noise_moves_each_entry() -> None:
    """By trial: features moved by noise of the response's covariance, ten thousand times."""
    features, target, response = place(3)
    basis, gain = metric.units(target, response)
    strengths = features @ basis
    random = np.random.default_rng(0)
    noise = random.multivariate_normal(np.zeros(6), response, size=(10_000, 40)) @ basis
    chosen = random.integers(0, len(features), 40)
    moved = np.einsum("pi,npj->nij", strengths[chosen], noise)
    found = ((moved + moved.transpose(0, 2, 1)) ** 2).mean(0)
    # Of these forty places, so that chance is only in the noise.
    again = np.einsum("pi,pi->i", strengths[chosen], strengths[chosen])[:, None] * np.diag(basis.T @ response @ basis)
    across = np.einsum("pi,pj->ij", strengths[chosen], strengths[chosen]) * (basis.T @ response @ basis)
    assert found == pytest.approx(again + again.T + across + across.T, rel=0.1)
    # All places: what is across cancels, for the basis makes the features' directions independent.
    pace = np.outer((strengths**2).mean(0), np.diag(basis.T @ response @ basis))
    pace = (pace + pace.T) / (pace + pace.T).max()
    assert gain**2 == pytest.approx((1 + metric.DAMPING) / (pace + metric.DAMPING), rel=1e-3)


def test_responses_are_those_of_the_sources_pixels_and_repeat_themselves() -> None:
    seen = view(["conv1_1", "pool1"], octaves=2)
    source = picture(60, 72)[0]
    found = metric.responses(NETWORK, seen, [source], 5)
    assert [one.shape for one in found] == [(64, 64)] * 4
    for one in found:
        assert np.allclose(one, one.T) and np.linalg.eigvalsh(one).min() > -1e-3 * np.linalg.eigvalsh(one).max()
    shown = NETWORK.features(source[None], seen.layers(0))
    noise = generator(5, Stage.RESPONSE).standard_normal((1, 60, 72, 3)).astype(np.float32)
    moved = NETWORK.features(source[None] + noise, seen.layers(0))
    for one, before, after in zip(found, shown, moved, strict=False):
        apart = (to_numpy(after) - to_numpy(before)).reshape(-1, 64)
        assert one == pytest.approx(apart.T @ apart / len(apart), rel=1e-3, abs=1e-3 * one.max())
    assert not np.allclose(metric.responses(NETWORK, seen, [picture(60, 72, seed=9)[0]], 5)[0], found[0], rtol=1e-3)
    again = metric.responses(NETWORK, seen, [source], 5)
    assert all((one == other).all() for one, other in zip(found, again, strict=True))
    both = metric.responses(NETWORK, seen, [source, source[::-1]], 5)
    assert all(np.trace(one) == pytest.approx(np.trace(other), rel=0.3) for one, other in zip(found, both, strict=True))


@pytest.mark.slow
def test_the_plain_distance_falls_faster_in_scaled_units() -> None:
    seen, source, at = view(["pool1", "conv3_2"], 2), picture(96, 96)[0], picture(96, 96, seed=1)
    averages = Objective(NETWORK, seen, GramDistance(()), None).averages(source[None])
    targets = [statistics.target([one]) for one in averages]
    plain = Objective(NETWORK, seen, GramDistance((1.0,) * 4), targets)
    scaled = Objective(
        NETWORK, seen, ScaledDistance(0.0), metric.scaled(targets, metric.responses(NETWORK, seen, [source], 0))
    )
    slow, quick = LBFGS(plain, at, memory=40, first=100), LBFGS(scaled, at, memory=40, first=100)
    while slow.evaluations < 60:
        assert slow.iterate()
    while plain(quick.point)[0] > slow.loss:
        assert quick.iterate()
        assert quick.evaluations < 40, "two thirds of the evaluations at most"


def test_a_rough_network_shows_nearly_the_same_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "fast_type", lambda: "bfloat16")
    exact = Network(random_weights(deepest="conv2_1"), "random")
    rough, seen = exact.rough, picture(24, 24)
    assert rough.precision == "bfloat16" and exact.rough is rough and rough.digest == exact.digest
    layers = view(["pool1", "conv2_1"]).layers(0)
    for one, other in zip(exact.features(seen, layers), rough.features(seen, layers), strict=True):
        one, other = to_numpy(one), to_numpy(other)
        assert other.dtype == np.float32
        assert 0 < np.linalg.norm(one - other) < 0.02 * np.linalg.norm(one)
    monkeypatch.setattr(network, "fast_type", lambda: "float32")
    alone = Network(random_weights(deepest="conv1_1"), "random")
    assert alone.rough is alone


@pytest.mark.skipif(backend.NAME != "tensorflow", reason="only TensorFlow's oneDNN asks what the processor can do")
@pytest.mark.parametrize(
    ("told", "onednn", "fast"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16\n", "1", "bfloat16"),
        ("flags : fpu amx_bf16 amx_tile\n", "1", "bfloat16"),
        ("flags : fpu avx2 avx512f\n", "1", "float32"),
        ("Features : fp asimd bf16\n", "1", "float32"),
        ("flags : fpu avx512_bf16\n", "0", "float32"),
        (None, "1", "float32"),
    ],
)
def test_the_fast_type_is_bfloat16_only_where_it_is_fast(
    told: str | None, onednn: str, fast: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(backend, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    backend.fast_type.cache_clear()
    try:
        assert backend.fast_type() == fast
    finally:
        backend.fast_type.cache_clear()


def test_nowhere_is_there_a_gain_without_a_target() -> None:
    """A source that no feature sees has no units of its own: all gains alike, and nothing that is no number."""
    basis, gain = metric.units(Target(*np.zeros((3, 4, 4), np.float32)), np.zeros((4, 4)))
    assert np.isfinite(basis).all() and np.isfinite(gain).all()
    assert gain == pytest.approx(gain[0, 0])
