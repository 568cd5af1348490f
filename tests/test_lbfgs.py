"""L-BFGS on the device against SciPy's L-BFGS-B: the same problems in float64, the same memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops
from scipy.optimize import minimize, rosen, rosen_der

from job_image.texture.backend import LEAST_BLOCK, Table, Tensor, to_numpy
from job_image.texture.lbfgs import LBFGS, Evaluate, remembered

Array = npt.NDArray[np.float64]
Problem = Callable[[Array], tuple[float, Array]]

MEMORY = 10


def valley(x: Array) -> tuple[float, Array]:
    """Rosenbrock's, in as many dimensions as the point has."""
    return float(rosen(x)), np.asarray(rosen_der(x))


def bowl(dimensions: int, condition: float, centre: float = 0.0) -> Problem:
    """A quadratic whose axes are turned any way and differ in curvature up to `condition`."""
    random = np.random.default_rng(0)
    turned, _ = np.linalg.qr(random.standard_normal((dimensions, dimensions)))
    matrix = (turned * np.logspace(0, np.log10(condition), dimensions)) @ turned.T
    lowest = centre * random.standard_normal(dimensions)
    return lambda x: (0.5 * float((x - lowest) @ matrix @ (x - lowest)), matrix @ (x - lowest))


def on_device(problem: Problem) -> Evaluate:
    def evaluate(point: Tensor) -> tuple[float, Tensor]:
        loss, gradient = problem(np.asarray(to_numpy(point), np.float64))
        return loss, gradient.astype(np.float32)

    return evaluate


def start(dimensions: int) -> Array:
    return np.tile([-1.2, 1.0], dimensions // 2)


def ours(problem: Problem, at: Array, goal: float, most: int = 3000, **how: Any) -> LBFGS:
    """Go down to a loss of `goal`, no evaluation after that."""
    descent = LBFGS(on_device(problem), at.astype(np.float32), memory=MEMORY, **how)
    while descent.loss > goal and descent.evaluations < most and descent.iterate():
        pass
    return descent


def theirs(problem: Problem, at: Array, goal: float, bounds: Any = None) -> tuple[int, Any]:
    """The evaluations until a loss of `goal`, and SciPy's result."""
    losses = []

    def evaluate(x: Array) -> tuple[float, Array]:
        loss, gradient = problem(x)
        losses.append(loss)
        return loss, gradient

    how = {"maxcor": MEMORY, "ftol": 0, "gtol": 1e-8, "maxfun": 10**5, "maxiter": 10**5}
    found = minimize(evaluate, at, jac=True, method="L-BFGS-B", bounds=bounds, options=how)
    return next((number for number, loss in enumerate(losses, 1) if loss <= goal), len(losses)), found


@pytest.mark.parametrize(
    ("problem", "at", "goal"),
    [
        (valley, start(10), 1e-6),
        (valley, start(60), 1e-6),
        (bowl(100, 1e2), np.ones(100), 1e-4),
        (bowl(200, 1e4), np.ones(200), 1e-1),
        pytest.param(bowl(200, 1e6), np.ones(200), 1e4, marks=pytest.mark.slow),
    ],
    ids=["valley 10", "valley 60", "bowl 1e2", "bowl 1e4", "bowl 1e6"],
)
def test_it_descends_as_fast_as_scipy(problem: Problem, at: Array, goal: float) -> None:
    evaluations, _ = theirs(problem, at, goal)
    found = ours(problem, at, goal)
    assert found.loss <= goal
    assert found.evaluations <= 1.3 * evaluations


def test_the_loss_never_rises_and_is_that_of_the_point() -> None:
    descent = LBFGS(on_device(valley), start(20).astype(np.float32))
    losses = [descent.loss]
    while descent.iterate() and len(losses) < 150:
        assert descent.loss < losses[-1]
        losses.append(descent.loss)
        loss, gradient = valley(np.asarray(to_numpy(descent.point), np.float64))
        assert descent.loss == loss
        np.testing.assert_array_equal(descent.gradient, gradient.astype(np.float32))
    assert losses[-1] < 1e-6


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("gradient_too", [True, False])
def test_where_the_loss_is_no_number_it_does_not_go(outside: float, gradient_too: bool) -> None:
    """Or where only the gradient is none. The lowest point, 0, lies next to the bad half, past -0.05 in any variable."""

    def cliff(x: Array) -> tuple[float, Array]:
        if x.min() < -0.05:
            return (outside, np.full_like(x, np.nan)) if gradient_too else (-1e9, np.full_like(x, outside))
        return float(x @ x), 2 * x

    found = ours(cliff, np.array([3.0, 1.0, 0.2, 5.0]), 1e-9, first=100.0)
    assert 0 <= found.loss <= 1e-9


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_start_that_is_no_number_is_left_alone(loss: float) -> None:
    descent = LBFGS(lambda x: (loss, np.full(3, np.nan, np.float32)), np.ones(3, np.float32))
    assert not descent.iterate()
    np.testing.assert_array_equal(to_numpy(descent.point), np.ones(3))
    assert descent.evaluations == 1


@pytest.mark.parametrize("done", [0, 1, 4, 13, 30])
@pytest.mark.parametrize("bounded", [False, True])
def test_it_goes_on_from_its_state_to_the_bit(done: int, bounded: bool) -> None:
    """After any number of iterations: before the first, while the memory fills, and when it is full."""
    bounds = (np.float32(-1.5), np.float32(0.9)) if bounded else None
    how: dict[str, Any] = {"memory": 5, "bounds": bounds, "first": 0.5}
    whole = LBFGS(on_device(valley), start(40).astype(np.float32), **how)
    for _ in range(done):
        assert whole.iterate()
    calls = []

    def counted(point: Tensor) -> tuple[float, Tensor]:
        calls.append(1)
        return on_device(valley)(point)

    resumed = LBFGS.restored(whole.state(), counted, **how)
    assert not calls
    for _ in range(12):
        assert whole.iterate() and resumed.iterate()
        for name, kept in whole.state().items():
            np.testing.assert_array_equal(resumed.state()[name], kept, strict=True)
    assert resumed.state().keys() == whole.state().keys()


def random_box(seed: int) -> tuple[Problem, Array, Array, Array]:
    random = np.random.default_rng(seed)
    low = random.uniform(-2, 0.5, 40)
    high = low + random.uniform(0.05, 2.5, 40)
    return valley, np.clip(random.uniform(-2, 2, 40), low, high), low, high


@pytest.mark.parametrize(
    ("problem", "at", "low", "high"),
    [
        *(random_box(seed) for seed in range(4)),
        (valley, np.full(60, 0.5), np.full(60, -1.5), np.full(60, 0.8)),
        (bowl(200, 1e2, 2), np.zeros(200), np.full(200, -1.0), np.full(200, 1.0)),
    ],
    ids=["box 0", "box 1", "box 2", "box 3", "valley", "bowl"],
)
def test_bounds_hold_and_the_lowest_point_within_is_found(problem: Problem, at: Array, low: Array, high: Array) -> None:
    low, high = low.astype(np.float32).astype(np.float64), high.astype(np.float32).astype(np.float64)
    _, wanted = theirs(problem, at, -np.inf, list(zip(low, high, strict=True)))
    goal = wanted.fun + 1e-4 * abs(wanted.fun)
    evaluations, _ = theirs(problem, at, goal, list(zip(low, high, strict=True)))

    def watched(x: Array) -> tuple[float, Array]:
        assert (x >= low).all() and (x <= high).all()
        return problem(x)

    limits = low.astype(np.float32), high.astype(np.float32)
    found = ours(watched, at, goal, bounds=limits)
    assert found.loss <= goal
    assert found.evaluations <= 2 * evaluations  # SciPy's generalized Cauchy point settles all bounds at once
    at_bounds = np.isclose(wanted.x, low) | np.isclose(wanted.x, high)
    assert at_bounds.any() and not at_bounds.all()
    for _ in range(60):
        found.iterate()
    np.testing.assert_allclose(to_numpy(found.point), wanted.x, atol=0.01)


def test_a_start_outside_is_brought_within() -> None:
    descent = LBFGS(on_device(bowl(2, 2)), np.array([5, -7], np.float32), bounds=(np.float32(-1), np.float32(2)))
    np.testing.assert_array_equal(to_numpy(descent.point), [2, -1])


def test_what_presses_against_a_bound_is_no_slope() -> None:
    tilted: Problem = lambda x: (float(x @ np.array([3.0, -2.0, 0.5])), np.array([3.0, -2.0, 0.5]))  # noqa: E731
    descent = LBFGS(on_device(tilted), np.array([0, 0, 0], np.float32), bounds=(np.float32(0), np.float32(1)))
    assert descent.slope() == 2.0
    while descent.iterate():
        pass
    np.testing.assert_array_equal(to_numpy(descent.point), [0, 1, 0])
    assert descent.slope() == 0.0


def test_where_nothing_is_lower_nothing_changes() -> None:
    """What was remembered stays too; only the evaluations are counted."""
    walls: list[float] = []

    def walled(x: Array) -> tuple[float, Array]:
        loss, gradient = bowl(30, 1e3, 1)(x)
        return (loss, gradient) if not walls else (walls[0], gradient)

    descent = LBFGS(on_device(walled), np.zeros(30, np.float32))
    assert all(descent.iterate() for _ in range(7))
    before = descent.state()
    walls.append(descent.loss)
    assert not descent.iterate()
    after = descent.state()
    assert after.keys() == before.keys() and "step6" in after
    for name in before.keys() - {"evaluations"}:
        np.testing.assert_array_equal(after[name], before[name])
    assert after["evaluations"] > before["evaluations"]


def test_at_the_lowest_point_nothing_is_tried() -> None:
    flat = LBFGS(on_device(bowl(30, 1e3)), np.zeros(30, np.float32))
    assert not flat.iterate() and flat.evaluations == 1


def test_the_first_step_is_as_long_as_asked() -> None:
    points = []

    def noted(x: Array) -> tuple[float, Array]:
        points.append(x)
        return 1e4 * float(x @ x), 2e4 * x

    LBFGS(on_device(noted), np.array([30, 40], np.float32), first=2.0).iterate()
    np.testing.assert_allclose(points[1], [28.8, 38.4], rtol=1e-6)


def test_the_first_step_may_be_longer_than_the_gradient() -> None:
    points = []

    def noted(x: Array) -> tuple[float, Array]:
        points.append(x)
        return 1e-4 * float(x @ x), 2e-4 * x

    LBFGS(on_device(noted), np.array([30, 40], np.float32), first=2.0).iterate()
    LBFGS(on_device(noted), np.array([30, 40], np.float32)).iterate()
    without = next(at for at, point in enumerate(points) if at and np.array_equal(point, points[0]))
    np.testing.assert_allclose(points[1], [28.8, 38.4], rtol=1e-6)
    np.testing.assert_allclose(points[without + 1], [29.994, 39.992], rtol=1e-6)


def test_a_new_beginning_later_on_is_no_longer_than_the_gradient() -> None:
    """Near the end a step as long as the first one would only be tried in vain."""
    points = []

    def noted(x: Array) -> tuple[float, Array]:
        points.append(x)
        return 1e-4 * float(x @ x), 2e-4 * x

    descent = LBFGS(on_device(noted), np.array([30, 40], np.float32), first=2.0)
    descent.iterate()
    descent.pairs = descent.pairs.forgotten()
    before, slope = to_numpy(descent.point), to_numpy(descent.gradient)
    points.clear()
    descent.iterate()
    np.testing.assert_allclose(points[0], before - slope, rtol=1e-6)


@pytest.mark.parametrize("length", [5, 300_000])  # in one block, and in blocks of the least size
def test_a_table_is_a_matrix_of_the_rows_that_were_put(length: int) -> None:
    rows = 2 * LEAST_BLOCK + 3
    draws = np.random.default_rng(0)
    table, matrix = Table(rows, length), np.zeros((rows, length), np.float32)
    vector = draws.standard_normal(length).astype(np.float32)
    for row in (rows - 1, 0, 1, 0):  # blocks come in any order, and a row may be put again
        matrix[row] = draws.standard_normal(length)
        table.put(row, ops.convert_to_tensor(matrix[row]))
    np.testing.assert_array_equal(to_numpy(table.row(rows - 1)), matrix[-1])
    np.testing.assert_allclose(table.dots(vector), matrix @ vector, rtol=1e-4, atol=0.02)
    shares = draws.standard_normal(rows)
    np.testing.assert_allclose(to_numpy(table.mixed(shares)), shares @ matrix, atol=1e-5)
    assert len(table.blocks) == (1 if length == 5 else 2)


def test_points_have_any_shape() -> None:
    random = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    square: Evaluate = lambda x: (float((to_numpy(x) ** 2).sum()), 2 * to_numpy(x))  # noqa: E731
    descent = LBFGS(square, random)
    assert descent.iterate() and tuple(descent.point.shape) == random.shape


def test_bounds_do_not_make_a_descent_crawl_where_the_loss_curves_down() -> None:
    """Along x^4 - 100 x^2 from near 0 the slope grows: steps must, too, and no pair is worth remembering at first."""

    def evaluate(x: Any) -> tuple[float, Any]:
        value = to_numpy(x).astype(np.float64)
        return float((value**4 - 100 * value**2).sum()), ops.convert_to_tensor((4 * value**3 - 200 * value), "float32")

    descent = LBFGS(evaluate, np.full(50, 0.01, np.float32), first=0.001, bounds=(np.float32(-9), np.float32(9)))
    for _ in range(12):
        descent.iterate()
    np.testing.assert_allclose(to_numpy(descent.point), np.sqrt(50), rtol=1e-3)


def test_large_pictures_leave_room_for_fewer_steps_to_remember() -> None:
    assert remembered(10, 3 * 512**2) == 10
    assert remembered(20, 3 * 4096**2) == 3
    assert remembered(40, 3 * 8192**2) == 2 and remembered(2, 3 * 8192**2) == 2
