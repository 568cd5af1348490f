"""The finish: a short sliced-Wasserstein descent at full size. It gives back the grain that the votes averaged away."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Tensor, compiled, to_numpy, value_and_gradient
from .images import Pixels
from .memory import within_memory
from .patches import Candidates
from .randomness import Stage, generator
from .torus import strip_height

Array = npt.NDArray[np.float32]

STEPS = 5
"""More steps even out where grain is strong and where it is weak; `grain` and `equaliser` give back what fewer leave
missing."""
RATE = (0.03, 0.003)
"""Adam's step in standard deviations of the colour components: at the start, at the end."""
DECAY = (0.9, 0.99)
FILTERS = 20
SIDE = 5
"""Few filters with a response at every pixel. The same work spent on more filters at every second or third pixel lowers
the loss a little faster but leaves a grid of dots, or a weave, on smooth stones."""
SAMPLES = 4096
KNOTS = 1024
MOVING = ("components", "first_moment", "second_moment")
"""What a descent carries from step to step: the picture's colour components, and Adam's two averages."""
MOST_RESPONSES = FILTERS * 512 * 512
"""Filter responses held at once (21 MB, and some ten times that on the way to the gradient): larger pictures are taken
in strips. One filter at a time for the whole picture takes no less memory and, at 2048 pixels, 2.5 times as long."""

LEAST_HEIGHT = 8
"""Rows of a strip at least, however little memory there is."""


class Colours:
    """The principal colour components of the sources, and the way there and back.

    mean: (3,); axes: (3, 3), columns by falling variance; deviations: (3,). Pixels are (..., 3) in [-1, 1].
    """

    def __init__(self, sources: Sequence[Pixels]) -> None:
        pixels = np.concatenate([source.reshape(-1, 3) for source in sources]).astype(np.float64)
        variances, axes = np.linalg.eigh(np.cov(pixels.T))
        self.mean = pixels.mean(axis=0)
        self.axes = axes[:, ::-1]
        # A grey source has no variance in two components; the floor keeps them still instead of dividing by zero.
        self.deviations = np.sqrt(np.maximum(variances[::-1], 1e-6))

    def whiten(self, pixels: Array) -> Array:
        """Pixels as components of unit variance."""
        components: Array = ((pixels - self.mean) @ self.axes / self.deviations).astype(np.float32)
        return components

    def colour(self, components: Array) -> Array:
        """The inverse of `whiten`."""
        pixels: Array = ((components * self.deviations) @ self.axes.T + self.mean).astype(np.float32)
        return pixels


def filters(draws: np.random.Generator, deviations: npt.NDArray[np.float64]) -> Array:
    """Random Gaussian filters of unit norm, (5, 5, 3, 20), that listen to a colour as much as the sources use it."""
    kernels = draws.standard_normal((SIDE, SIDE, 3, FILTERS)) * (deviations / deviations[0])[:, None]
    unit: Array = (kernels / np.sqrt((kernels**2).sum(axis=(0, 1, 2)))).astype(np.float32)
    return unit


def quantiles(samples: Array) -> Array:
    """Knots of the samples' distributions: (count, n) to (n, 1024), each row rising."""
    ranked = np.sort(samples, axis=0)
    at = np.linspace(0, 1, KNOTS) * (len(ranked) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(ranked) - 1)
    part = (at - low).astype(np.float32)[:, None]
    return np.ascontiguousarray((ranked[low] * (1 - part) + ranked[high] * part).T)


def transport(values: Tensor, have: Tensor, want: Tensor) -> Tensor:
    """Where one-dimensional optimal transport moves values whose distribution is `have` so that it becomes `want`.

    values: (n, count); have, want: (n, knots), rising. Each value moves with the knot interval it lies in; in one
    dimension the optimal map is the rising one, from quantile to the same quantile.
    """
    above = ops.map(lambda row: ops.searchsorted(row[0], row[1], side="right"), (have, values))
    interval = ops.clip(above, 1, ops.shape(have)[1] - 1) - 1
    widths, rises = have[:, 1:] - have[:, :-1], want[:, 1:] - want[:, :-1]
    left, width, low, rise = (
        ops.take_along_axis(knots, interval, axis=1) for knots in (have, ops.maximum(widths, 1e-6), want, rises)
    )
    return low + ops.clip((values - left) / width, 0.0, 1.0) * rise


def misfit(strip: Tensor, kernels: Tensor, have: Tensor, want: Tensor) -> Tensor:
    """The mean distance between the filters' responses and where transport wants them; shapes as in `descent`."""
    responses = ops.conv(strip[None], kernels, data_format="channels_last")
    count = ops.shape(kernels)[3]
    # Flat in between: PyTorch's transposition is a view, and slow to search.
    rows = ops.reshape(ops.reshape(ops.transpose(ops.reshape(responses, (-1, count))), (-1,)), (count, -1))
    return ops.mean(ops.abs(rows - transport(ops.stop_gradient(rows), have, want)))


@compiled()
def descent(strip: Tensor, kernels: Tensor, have: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
    """The misfit in a strip of the picture, and its gradient.

    strip: colour components, (rows, columns, 3); kernels: (5, 5, 3, n); have, want: (n, 1024).
    """
    return value_and_gradient(misfit)(strip, kernels, have, want)


@compiled()
def adam(
    state: tuple[Tensor, Tensor, Tensor], gradient: Tensor, step: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Adam (Kingma and Ba, 2015). state: values, first and second moments; step counts from 0.

    It is written out, with its state in plain tensors, so that one compiled graph serves every texture of a job.
    """
    values, first, second = state
    first = DECAY[0] * first + (1 - DECAY[0]) * gradient
    second = DECAY[1] * second + (1 - DECAY[1]) * gradient**2
    corrected = first / (1 - DECAY[0] ** (step + 1))
    scale = ops.sqrt(second / (1 - DECAY[1] ** (step + 1))) + 1e-8
    return values - rate * corrected / scale, first, second


class Finish:
    """The finish of one picture, in so many steps. Sources and picture are in [-1, 1]; rate: see `RATE`."""

    def __init__(
        self,
        sources: Sequence[Pixels],
        picture: Array,
        seed: int,
        steps: int = STEPS,
        rate: tuple[float, float] = RATE,
    ) -> None:
        self.seed, self.steps, self.rate = seed, steps, rate
        self.colours = Colours(sources)
        self.source_patches = Candidates([self.colours.whiten(source) for source in sources], SIDE)
        values = ops.convert_to_tensor(self.colours.whiten(picture))
        self.moving = (values, ops.zeros_like(values), ops.zeros_like(values))
        rows, columns = picture.shape[:2]
        self.height = strip_height(rows, max(1, MOST_RESPONSES // (FILTERS * columns)))

    def state(self) -> dict[str, Array]:
        """All that `restored` needs to go on exactly where this is."""
        return {**dict(zip(MOVING, map(to_numpy, self.moving), strict=True)), "height": np.asarray(self.height)}

    @classmethod
    def restored(cls, sources: Sequence[Pixels], state: Mapping[str, Array], seed: int, **how: Any) -> "Finish":
        """The finish whose `state` this was; `how` as in the constructor."""
        made = cls(sources, state["components"], seed, **how)
        values, first, second = (ops.convert_to_tensor(state[name]) for name in MOVING)
        made.moving, made.height = (values, first, second), int(state["height"])
        return made

    def step(self, number: int, alive: Callable[[], None]) -> float:
        """One step of the descent; returns its loss. `alive` is called between strips of the picture, which are less
        high from then on when the device runs out of memory."""
        draws = generator(self.seed, Stage.FINISH, iteration=number)
        kernels = filters(draws, self.colours.deviations)
        flat = kernels.reshape(-1, FILTERS)
        want = quantiles(self.source_patches.draw(SAMPLES, draws).patches @ flat)
        have = quantiles(self._own_patches(draws) @ flat)
        (loss, gradient), self.height = within_memory(
            lambda height: self._slope(kernels, have, want, height, alive), self.height, LEAST_HEIGHT
        )
        share = number / max(1, self.steps - 1)
        rate = self.rate[0] + (self.rate[1] - self.rate[0]) * share
        self.moving = adam(self.moving, gradient, float(number), rate)
        return loss

    def _own_patches(self, draws: np.random.Generator) -> Array:
        values = np.pad(to_numpy(self.moving[0]), ((0, SIDE - 1), (0, SIDE - 1), (0, 0)), mode="wrap")
        return Candidates([values], SIDE).draw(SAMPLES, draws).patches

    def _slope(
        self, kernels: Array, have: Array, want: Array, height: int, alive: Callable[[], None]
    ) -> tuple[float, Tensor]:
        """The misfit of the whole picture and its gradient, in strips of so many rows."""
        values = to_numpy(self.moving[0])
        (rows, columns), beyond = values.shape[:2], SIDE - 1
        loss, gradient = 0.0, np.zeros_like(values)
        for first in range(0, rows, height):
            alive()
            seen = np.arange(first, min(first + height, rows) + beyond) % rows
            strip = np.pad(values[seen], ((0, 0), (0, beyond), (0, 0)), mode="wrap")
            part, slope = descent(strip, kernels, have, want)
            share = np.float32((len(seen) - beyond) / rows)
            pulls = share * to_numpy(slope)
            pulls[:, :beyond] += pulls[:, columns:]
            for some in (slice(-beyond), slice(-beyond, None)):  # apart, because a picture's last rows see its first
                gradient[seen[some]] += pulls[some, :columns]
            loss += float(share * to_numpy(part))
        return loss, ops.convert_to_tensor(gradient)

    def picture(self) -> Array:
        """The picture as it stands, in [-1, 1] but for a little overshoot."""
        return self.colours.colour(to_numpy(self.moving[0]))
