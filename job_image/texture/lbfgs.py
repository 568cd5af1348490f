"""Limited-memory BFGS on the device, one iteration at a time, with a state that can be saved and taken up again."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Table, Tensor, to_numpy

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
LEAST_MEMORY = 2
MEMORY_BYTES = 2e9
"""What the steps remembered may take, as long as there are two of them. No share of the free memory: the result must
not depend on what else runs."""


class LBFGS:
    """Nocedal's (1980) method: a descent whose steps know the curvature of the last few.

    evaluate: see `Evaluate`. point: where to begin, any shape. memory: steps remembered. first: length of the first
    step tried; the gradient's where none is given, but 1 at most, as L-BFGS-B has it. bounds: lowest and highest value
    of each variable (anything that broadcasts to the point); the descent is then projected onto them, and variables
    that rest against a bound stay out of the curvature (Bertsekas' (1982) two-metric projection).

    `point`, `loss` and `gradient` are those of the best point so far: the loss never rises.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        point: Tensor,
        memory: int = 10,
        first: float | None = None,
        bounds: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.evaluate, self.first, self.bounds = evaluate, first, bounds
        self.point = self._inside(ops.convert_to_tensor(point, "float32"))
        self.pairs = Pairs(memory, self.point.shape)
        self.loss, self.gradient = evaluate(self.point)
        self.evaluations = 1

    def iterate(self) -> bool:
        """Go one step down; False, with nothing changed but the evaluations, when no step leads further down."""
        if self._advance():
            return True
        if not self.pairs:
            return False
        # What was remembered may mislead, most of all after rounding: try once more straight downhill.
        remembered, self.pairs = self.pairs, self.pairs.forgotten()
        if self._advance():
            return True
        self.pairs = remembered
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
        return arrays | self.pairs.state() | {"evaluations": np.int64(self.evaluations)}

    @classmethod
    def restored(cls, arrays: Mapping[str, npt.NDArray[Any]], evaluate: Evaluate, **how: Any) -> "LBFGS":
        """The descent whose `state` this was; `how` as in the constructor. Evaluates nothing."""
        known = float(arrays["loss"]), ops.convert_to_tensor(arrays["gradient"])
        made = cls(lambda _: known, arrays["point"], **how)
        made.evaluate, made.evaluations = evaluate, int(arrays["evaluations"])
        made.pairs = made.pairs.restored(arrays)
        return made

    def _advance(self) -> bool:
        slope = self._free(self.gradient)
        direction = self._free(self.pairs.direction(slope))
        descent = dot(direction, self.gradient)
        if not descent < 0:  # at the lowest point, or where the loss is no number
            return False
        found = self._search(direction, descent, 1.0 if self.pairs else self._first_length(direction))
        if found is None:
            return False
        point, loss, gradient = found
        step, change = point - self.point, gradient - self.gradient
        # The condition of L-BFGS-B for a pair worth remembering: it must show upward curvature.
        product = dot(step, change)
        if product > np.finfo(np.float32).eps * -descent:
            self.pairs = self.pairs.with_another(step, change, product)
        self.point, self.loss, self.gradient = point, loss, gradient
        return True

    def _first_length(self, direction: Tensor) -> float:
        """In units of the direction."""
        whole = max(math.sqrt(dot(direction, direction)), 1e-30)
        return min(1.0, 1 / whole) if self.first is None else self.first / whole

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


class Pairs:
    """Steps and what the gradient changed by along each, the last `most` of them: what is known of the curvature.

    The vectors lie side by side on the device, and the two loops of Nocedal (1980) run over their inner products alone
    (Chen, Wang and Zhou, Large-scale L-BFGS using MapReduce, 2014): two matrix products for each table instead of four
    operations on the device for each pair.

    An object stays as it is when another pair joins it to make a new one; but both use the same tables, which have one
    row to spare, so it lasts only until a second one joins.
    """

    def __init__(self, most: int, shape: Sequence[int]) -> None:
        self.most, self.shape = most, tuple(shape)
        self.rows: tuple[int, ...] = ()  # of the tables, the oldest first
        self.next = 0
        self.tables: tuple[Table, Table] | None = None
        self.across = np.zeros((most + 1, most + 1))  # step of the row, change of the column
        self.changes = np.zeros((most + 1, most + 1))

    def __len__(self) -> int:
        return len(self.rows)

    def with_another(self, step: Tensor, change: Tensor, product: float) -> "Pairs":
        """These pairs and a new one, with the product of its two; the oldest is forgotten when there are too many."""
        made, row = copy(self), self.next
        steps, changes = made._put(row, step, change)
        made.across, made.changes = self.across.copy(), self.changes.copy()
        made.across[row] = changes.dots(step)
        made.across[:, row] = steps.dots(change)
        made.across[row, row] = product
        made.changes[row] = made.changes[:, row] = changes.dots(change)
        made.rows, made.next = (*self.rows, row)[-self.most :], (row + 1) % (self.most + 1)
        return made

    def forgotten(self) -> "Pairs":
        """None, in the same tables; these last as long as if one more had joined."""
        made = copy(self)
        made.rows = ()
        return made

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that `restored` needs. Where a pair lies is a part of it: sums are rounded in the order of the rows."""
        arrays = {"rows": np.array([*self.rows, self.next]), "across": self.across, "among": self.changes}
        for row in self.rows:
            assert self.tables is not None
            step, change = (to_numpy(table.row(row)).reshape(self.shape) for table in self.tables)
            arrays |= {f"step{row}": step, f"change{row}": change}
        return arrays

    def restored(self, arrays: Mapping[str, npt.NDArray[Any]]) -> "Pairs":
        """The pairs whose `state` this was, in place of none."""
        made = copy(self)
        *rows, made.next = map(int, arrays["rows"])
        for row in rows:
            made._put(row, arrays[f"step{row}"], arrays[f"change{row}"])
        made.rows, made.across, made.changes = tuple(rows), arrays["across"], arrays["among"]
        return made

    def _put(self, row: int, step: Tensor, change: Tensor) -> tuple[Table, Table]:
        if self.tables is None:
            length = math.prod(self.shape)
            self.tables = Table(self.most + 1, length), Table(self.most + 1, length)
        for table, vector in zip(self.tables, (step, change), strict=True):
            table.put(row, ops.reshape(vector, (-1,)))
        return self.tables

    def direction(self, slope: Tensor) -> Tensor:
        """The way down at a point with this slope."""
        if self.tables is None or not self.rows:
            return -slope
        steps, changes = self.tables
        down, bent = -steps.dots(slope), -changes.dots(slope)
        by_step, by_change = np.zeros(self.most + 1), np.zeros(self.most + 1)
        for row in reversed(self.rows):
            by_change[row] -= (down[row] + self.across[row] @ by_change) / self.across[row, row]
        newest = self.rows[-1]
        scale = float(self.across[newest, newest] / self.changes[newest, newest])
        for row in self.rows:
            along = scale * (bent[row] + self.changes[row] @ by_change) + self.across[:, row] @ by_step
            by_step[row] = -by_change[row] - along / self.across[row, row]
        return ops.reshape(
            steps.mixed(by_step) + changes.mixed(scale * by_change), self.shape
        ) - scale * ops.convert_to_tensor(slope)


def remembered(most: int, variables: int) -> int:
    """How many steps to remember of so many variables: each is a step and a change of slope, float32, and the tables
    have a row to spare."""
    return int(np.clip(MEMORY_BYTES / (variables * 2 * 4) - 1, min(LEAST_MEMORY, most), most))


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
