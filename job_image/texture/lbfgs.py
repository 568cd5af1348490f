"""Limited-memory BFGS on the device, one iteration at a time, with a state that can be saved and taken up again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Tensor, to_numpy

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
"""The loss at a point, and its gradient."""

Trial = tuple[float, float, float]
"""A point on the line: how far out, the loss there, and its slope along the line."""

SUFFICIENT, CURVATURE = 1e-3, 0.9
"""Of the strong Wolfe conditions; those of L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995)."""
MOST_TRIALS = 20
"""Evaluations a line search may take, as in L-BFGS-B."""
GROWTH = 4.0
"""How many times further the line search looks while the loss still falls steeply (More and Thuente, 1994)."""
LEAST_MEMORY = 3
MEMORY_BYTES = 2e9
"""What the steps remembered may take, as long as there are three of them. No share of the free memory: the result must
not depend on what else runs."""


class LBFGS:
    """Nocedal's (1980) method: a descent whose steps know the curvature of the last few.

    evaluate: see `Evaluate`. point: where to begin, any shape. memory: steps remembered. first: length of the first
    step tried. bounds: lowest and highest value of each variable (anything that broadcasts to the point); the descent
    is then projected onto them, and variables that rest against a bound stay out of the curvature (Bertsekas' (1982)
    two-metric projection).

    `point`, `loss` and `gradient` are those of the best point so far: the loss never rises.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        point: Tensor,
        memory: int = 10,
        first: float = 1.0,
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.evaluate, self.memory, self.first, self.bounds = evaluate, memory, first, bounds
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.products: list[float] = []
        self.point = self._inside(ops.convert_to_tensor(point, "float32"))
        self.loss, self.gradient = evaluate(self.point)
        self.evaluations = 1

    def iterate(self) -> bool:
        """Go one step down; False, with nothing changed but the evaluations, when no step leads further down."""
        if self._advance():
            return True
        if not self.steps:
            return False
        # What was remembered may mislead, most of all after rounding: try once more straight downhill.
        remembered = self.steps, self.changes, self.products
        self.steps, self.changes, self.products = [], [], []
        if self._advance():
            return True
        self.steps, self.changes, self.products = remembered
        return False

    def turn(self, evaluate: Evaluate) -> None:
        """Go on with another loss that is nearly the same: what was learnt of the curvature holds."""
        self.evaluate = evaluate
        self.loss, self.gradient = evaluate(self.point)
        self.evaluations += 1

    def slope(self) -> float:
        """The largest component of the gradient, those that press against a bound left out."""
        return float(ops.max(ops.abs(self._free(self.gradient))))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that a later `restored` needs to go on exactly where this is."""
        arrays = {"point": to_numpy(self.point), "gradient": to_numpy(self.gradient), "loss": np.float64(self.loss)}
        for name, kept in (("step", self.steps), ("change", self.changes)):
            arrays |= {f"{name}{number}": to_numpy(one) for number, one in enumerate(kept)}
        return arrays | {"evaluations": np.int64(self.evaluations)}

    @classmethod
    def restored(cls, arrays: Mapping[str, npt.NDArray[Any]], evaluate: Evaluate, **how: Any) -> "LBFGS":
        """The descent whose `state` this was; `how` as in the constructor. Evaluates nothing."""
        known = float(arrays["loss"]), ops.convert_to_tensor(arrays["gradient"])
        made = cls(lambda _: known, arrays["point"], **how)
        made.evaluate, made.evaluations = evaluate, int(arrays["evaluations"])
        while f"step{len(made.steps)}" in arrays:
            number = len(made.steps)
            made.steps.append(ops.convert_to_tensor(arrays[f"step{number}"]))
            made.changes.append(ops.convert_to_tensor(arrays[f"change{number}"]))
            made.products.append(dot(made.steps[-1], made.changes[-1]))
        return made

    def _advance(self) -> bool:
        slope = self._free(self.gradient)
        direction = self._free(self._direction(slope))
        descent = dot(direction, self.gradient)
        if not descent < 0:  # at the lowest point, or where the loss is no number
            return False
        length = 1.0 if self.steps else min(1.0, self.first / max(np.sqrt(dot(direction, direction)), 1e-30))
        found = self._search(direction, descent, length)
        if found is None:
            return False
        point, loss, gradient = found
        step, change = point - self.point, gradient - self.gradient
        # The condition of L-BFGS-B for a pair worth remembering: it must show upward curvature.
        product = dot(step, change)
        if product > np.finfo(np.float32).eps * -descent:
            self.steps = [*self.steps, step][-self.memory :]
            self.changes = [*self.changes, change][-self.memory :]
            self.products = [*self.products, product][-self.memory :]
        self.point, self.loss, self.gradient = point, loss, gradient
        return True

    def _direction(self, slope: Tensor) -> Tensor:
        """The two loops of Nocedal (1980)."""
        direction, shares = -slope, []
        pairs = list(zip(self.steps, self.changes, self.products, strict=True))
        for step, change, product in reversed(pairs):
            shares.append(dot(step, direction) / product)
            direction = direction - shares[-1] * change
        if pairs:
            _, change, product = pairs[-1]
            direction = direction * (product / dot(change, change))
        for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + (share - dot(change, direction) / product) * step
        return direction

    def _search(self, direction: Tensor, descent: float, length: float) -> tuple[Tensor, float, Tensor] | None:
        """A point along the direction that satisfies the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms
        3.5 and 3.6), or the best one found if it is at least lower; None where nothing is lower."""
        low: Trial = (0.0, self.loss, descent)
        high: Trial | None = None
        best: tuple[Tensor, float, Tensor] | None = None
        for _ in range(MOST_TRIALS):
            point = self._inside(self.point + length * direction)
            loss, gradient = self.evaluate(point)
            self.evaluations += 1
            # What a bound holds back does not move, and its slope leads nowhere.
            slope = dot(gradient, direction if self.bounds is None else (point - self.point) / length)
            finite = np.isfinite(loss) and np.isfinite(slope)
            if finite and loss < self.loss and (best is None or loss < best[1]):
                best = point, loss, gradient
            if not finite or loss > self.loss + SUFFICIENT * length * descent or loss >= low[1]:
                high = length, loss, slope
            elif abs(slope) <= CURVATURE * -descent or (self.bounds is not None and slope > 0):  # the way may bend
                return point, loss, gradient
            else:
                if slope >= 0 if high is None else slope * (high[0] - low[0]) >= 0:
                    high = low
                low = length, loss, slope
            length = GROWTH * length if high is None else between(low, high)
        return best

    def _free(self, gradient: Tensor) -> Tensor:
        """The gradient, or a direction, without what would only press against a bound."""
        if self.bounds is None:
            return gradient
        low, high = self.bounds
        pressed = ops.logical_or(
            ops.logical_and(self.point <= low, self.gradient > 0),
            ops.logical_and(self.point >= high, self.gradient < 0),
        )
        return ops.where(pressed, 0.0, gradient)

    def _inside(self, point: Tensor) -> Tensor:
        return point if self.bounds is None else ops.clip(point, *self.bounds)


def remembered(most: int, variables: int) -> int:
    """How many steps to remember of so many variables: each is a step and a change of slope, float32."""
    return int(np.clip(MEMORY_BYTES / (variables * 2 * 4), min(LEAST_MEMORY, most), most))


def dot(a: Tensor, b: Tensor) -> float:
    """The inner product of two tensors of one shape."""
    return float(ops.sum(a * b))


def between(low: Trial, high: Trial) -> float:
    """Where the cubic through two points' losses and slopes is lowest, kept off the ends (Nocedal and Wright, 3.59).

    Halves the way where the cubic says nothing.
    """
    (a, fa, da), (b, fb, db) = low, high
    middle, width = (a + b) / 2, abs(b - a)
    if not np.isfinite(fb) or not np.isfinite(db) or width == 0:
        return middle
    first = da + db - 3 * (fa - fb) / (a - b)
    inside = first**2 - da * db
    if inside < 0:
        return middle
    second = np.copysign(np.sqrt(inside), b - a)
    bottom = db - da + 2 * second
    if bottom == 0:
        return middle
    place = b - (b - a) * (db + second - first) / bottom
    return float(np.clip(place, min(a, b) + 0.1 * width, max(a, b) - 0.1 * width))
