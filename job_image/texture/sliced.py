"""The finish: a short sliced-Wasserstein descent at full size. It gives back the grain that the votes averaged away."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .graphs import compiled
from .images import Pixels
from .patches import Candidates
from .randomness import Stage, generator

Array = npt.NDArray[np.float32]

STEPS = 25
RATE = (0.03, 0.003)
"""Adam's step in standard deviations of the colour components: at the start, at the end."""
DECAY = (0.9, 0.99)
FILTERS = 20
SIDE = 5
"""Few filters with a response at every pixel. The same work spent on more filters at every second or third pixel lowers
the loss a little faster but leaves a grid of dots, or a weave, on smooth stones."""
SAMPLES = 4096
KNOTS = 1024
MOST_RESPONSES = FILTERS * 512 * 512
"""Filter responses held at once (21 MB, and some ten times that on the way to the gradient): larger pictures take their
filters in groups."""


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


def transport(values: tf.Tensor, have: tf.Tensor, want: tf.Tensor) -> tf.Tensor:
    """Where one-dimensional optimal transport moves values whose distribution is `have` so that it becomes `want`.

    values: (n, count); have, want: (n, knots), rising. Each value moves with the knot interval it lies in; in one
    dimension the optimal map is the rising one, from quantile to the same quantile.
    """
    last = tf.shape(have)[1] - 1
    upper = tf.clip_by_value(tf.searchsorted(have, values, side="right"), 1, last)
    lower = upper - 1
    left, right = tf.gather(have, lower, batch_dims=1), tf.gather(have, upper, batch_dims=1)
    low, high = tf.gather(want, lower, batch_dims=1), tf.gather(want, upper, batch_dims=1)
    share = tf.clip_by_value((values - left) / tf.maximum(right - left, 1e-6), 0.0, 1.0)
    return low + share * (high - low)


@compiled
def descent(components: tf.Tensor, kernels: tf.Tensor, have: tf.Tensor, want: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss and gradient for one group of filters.

    components: (rows, columns, 3) on a torus; kernels: (5, 5, 3, n); have, want: (n, 1024).
    The loss is the mean distance between the filters' responses and where transport wants them.
    """
    with tf.GradientTape() as tape:
        tape.watch(components)
        tall = tf.concat([components, components[: SIDE - 1]], 0)
        around = tf.concat([tall, tall[:, : SIDE - 1]], 1)
        responses = tf.nn.conv2d(around[None], kernels, 1, "VALID")
        rows = tf.transpose(tf.reshape(responses, [-1, tf.shape(kernels)[3]]))
        target = tf.stop_gradient(transport(rows, have, want))
        loss = tf.reduce_mean(tf.abs(rows - target))
    return loss, tape.gradient(loss, components)


@compiled
def adam(
    state: tuple[tf.Tensor, tf.Tensor, tf.Tensor], gradient: tf.Tensor, step: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One step of Adam (Kingma and Ba, 2015). state: values, first and second moments; step counts from 0.

    It is written out, with its state in plain tensors, so that one compiled graph serves every texture of a job.
    """
    values, first, second = state
    share = step / (STEPS - 1)
    rate = RATE[0] + (RATE[1] - RATE[0]) * share
    first = DECAY[0] * first + (1 - DECAY[0]) * gradient
    second = DECAY[1] * second + (1 - DECAY[1]) * gradient**2
    corrected = first / (1 - DECAY[0] ** (step + 1))
    scale = tf.sqrt(second / (1 - DECAY[1] ** (step + 1))) + 1e-8
    return values - rate * corrected / scale, first, second


class Finish:
    """The finish of one picture. Sources and picture are in [-1, 1]."""

    def __init__(self, sources: Sequence[Pixels], picture: Array, seed: int) -> None:
        self.seed = seed
        self.colours = Colours(sources)
        self.source_patches = Candidates([self.colours.whiten(source) for source in sources], SIDE)
        values = tf.constant(self.colours.whiten(picture))
        self.state = (values, tf.zeros_like(values), tf.zeros_like(values))
        self.group = int(np.clip(MOST_RESPONSES // (picture.size // 3), 1, FILTERS))

    def step(self, number: int, alive: Callable[[], None]) -> float:
        """One step of the descent; returns its loss. `alive` is called between groups of filters."""
        draws = generator(self.seed, Stage.FINISH, iteration=number)
        kernels = filters(draws, self.colours.deviations)
        flat = kernels.reshape(-1, FILTERS)
        want = quantiles(self.source_patches.draw(SAMPLES, draws).patches @ flat)
        have = quantiles(self._own_patches(draws) @ flat)
        gradient, loss = tf.zeros_like(self.state[0]), 0.0
        for first in range(0, FILTERS, self.group):
            alive()
            some = slice(first, first + self.group)
            share = len(range(FILTERS)[some]) / FILTERS
            part, slope = descent(self.state[0], kernels[..., some], have[some], want[some])
            gradient, loss = gradient + share * slope, loss + share * float(part)
        self.state = adam(self.state, gradient, tf.constant(number, tf.float32))
        return loss

    def _own_patches(self, draws: np.random.Generator) -> Array:
        values = np.pad(self.state[0].numpy(), ((0, SIDE - 1), (0, SIDE - 1), (0, 0)), mode="wrap")
        return Candidates([values], SIDE).draw(SAMPLES, draws).patches

    def picture(self) -> Array:
        """The picture as it stands, in [-1, 1] but for a little overshoot."""
        return self.colours.colour(self.state[0].numpy())
