"""Balanced patch matching: every patch of the picture is drawn towards a patch of the sources, and none too often.

One iteration (Kwatra et al., Texture Optimization, 2005, with other weights) finds for each patch of the picture its
nearest source patch and then lets the overlapping matches vote on every pixel. Plain nearest neighbours collapse onto
a few smooth patches. So distances are weighted as in GPNN (Granot et al., Drop the GAN, 2022): a source patch that is
close to some patch of the picture already costs more than one that is used by none.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .graphs import compiled
from .images import Pixels
from .levels import Level
from .randomness import Stage, generator
from .rhythm import Rhythm

Array = npt.NDArray[np.float32]

BALANCE_QUERIES = 4096
MATCH_CHUNK = 256
BALANCE_CHUNK = 1024
"""Queries compared with all candidates at once; these bound the distance matrix to some 16 MB."""
STRIP_PATCHES = 16384
"""Picture patches held at once; with 147 numbers each this is about 10 MB."""
BASIS_PATCHES = 16384
PHASE_SHARE = 0.1
"""Squared distance between patches a sixth of a period apart, as a share of the patches' variance. Without it rows
of bricks undulate and planks break off; at 0.3 it overrules what patches show, and slivers of brick are squeezed in."""
LEAST_FLOOR = 1e-8
"""Keeps the weights finite when a source is one flat colour."""
VOTE_FLOOR = 1e-3
VOTE_POWER = -0.6


@dataclass(frozen=True)
class Matching:
    """How patches are compared.

    side: of a patch, in pixels. dimensions: principal components kept. balance: weight floor as a share of the patches'
    variance; larger is closer to plain nearest neighbours. candidates: source patches drawn for one iteration.
    """

    side: int
    dimensions: int
    balance: float
    candidates: int

    @classmethod
    def for_level(cls, level: Level) -> "Matching":
        """Larger patches when the sources show more than the picture can hold: there is more to choose from."""
        width, height = level.size
        if max(w * h for w, h in level.sources) > 1.2 * width * height:
            return cls(side=9, dimensions=36, balance=0.005, candidates=12288)
        return cls(side=7, dimensions=24, balance=0.01, candidates=16384)


def stride(level: Level) -> int:
    """Distance between neighbouring picture patches, in pixels; each iteration moves the grid at random."""
    side = min(level.size)
    return 1 if side < 100 else 2 if side < 160 else 3


class Candidates:
    """All patches of the sources at one level, in an order that draws can refer to by number.

    Raises ValueError when a source is smaller than a patch.
    """

    def __init__(self, sources: Sequence[Pixels], side: int) -> None:
        self.side = side
        if min(min(source.shape[:2]) for source in sources) < side:
            raise ValueError(f"a source is smaller than a patch of {side} pixels")
        self._windows = [
            np.lib.stride_tricks.sliding_window_view(source, (side, side), axis=(0, 1)) for source in sources
        ]
        self._ends = np.cumsum([view.shape[0] * view.shape[1] for view in self._windows])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def draw(self, count: int, draws: np.random.Generator) -> "Drawn":
        """Up to `count` different patches."""
        if count >= len(self):
            numbers = np.arange(len(self))
        else:
            numbers = np.sort(draws.choice(len(self), count, replace=False, shuffle=False))
        patches, x, y = [], [], []
        for view, end in zip(self._windows, self._ends, strict=True):
            first = end - view.shape[0] * view.shape[1]
            here = numbers[(numbers >= first) & (numbers < end)] - first
            y.append(here // view.shape[1])
            x.append(here % view.shape[1])
            patches.append(view[y[-1], x[-1]].transpose(0, 2, 3, 1).reshape(len(here), -1))
        return Drawn(np.concatenate(patches), np.concatenate(x), np.concatenate(y))


class Drawn(NamedTuple):
    """Patches, flattened, (n, side * side * 3), and the columns and rows at which they begin, (n,)."""

    patches: Array
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Basis:
    """Principal components of patches. mean: (d,); axes: (d, kept); variance: sum of all variances, kept or not."""

    mean: Array
    axes: Array
    variance: float


def principal_components(patches: Array, kept: int) -> Basis:
    """The basis in which patches, (count, d), are compared."""
    mean = patches.mean(axis=0)
    covariance = np.cov(patches.T.astype(np.float64))
    variances, axes = np.linalg.eigh(covariance)
    return Basis(mean, np.ascontiguousarray(axes[:, ::-1][:, :kept], dtype=np.float32), float(variances.sum()))


def grid(side: int, step: int) -> int:
    """How many patches start every `step` pixels around a torus of `side` pixels; the last gap may be shorter."""
    return math.ceil(side / step)


def unwrap(pixels: Array, offset: tuple[int, int], step: int, patch: int) -> Array:
    """The torus rolled back by `offset` (down, right) and continued so that every patch of the grid lies inside."""
    rows, columns = pixels.shape[:2]
    rolled = np.roll(pixels, (-offset[0], -offset[1]), axis=(0, 1))
    below = (grid(rows, step) - 1) * step + patch - rows
    right = (grid(columns, step) - 1) * step + patch - columns
    return np.pad(rolled, ((0, below), (0, right), (0, 0)), mode="wrap")


def wrap(continued: Array, offset: tuple[int, int], rows: int, columns: int) -> Array:
    """The transpose of `unwrap`: what lies beyond the torus is added where it came from."""
    down = np.zeros((rows, *continued.shape[1:]), dtype=continued.dtype)
    for start in range(0, continued.shape[0], rows):
        part = continued[start : start + rows]
        down[: part.shape[0]] += part
    torus = np.zeros((rows, columns, continued.shape[2]), dtype=continued.dtype)
    for start in range(0, continued.shape[1], columns):
        part = down[:, start : start + columns]
        torus[:, : part.shape[1]] += part
    return np.roll(torus, offset, axis=(0, 1))


@compiled
def extract(strip: tf.Tensor, side: int, step: int) -> tf.Tensor:
    """Patches of a (rows, columns, 3) image every `step` pixels, flattened: (grid rows * grid columns, side*side*3)."""
    patches = tf.image.extract_patches(strip[None], [1, side, side, 1], [1, step, step, 1], [1, 1, 1, 1], "VALID")
    return tf.reshape(patches, [-1, side * side * 3])


@compiled
def fold(patches: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, side: int, step: int) -> tf.Tensor:
    """The transpose of `extract`, for four channels: overlapping patches added up.

    patches: (rows * columns, side * side * 4), on a grid of `rows` x `columns`.
    """
    depth = side * side * 4
    kernel = tf.reshape(tf.eye(depth), [side, side, 4, depth])
    shape = tf.stack([1, (rows - 1) * step + side, (columns - 1) * step + side, 4])
    return tf.nn.conv2d_transpose(tf.reshape(patches, [1, rows, columns, depth]), kernel, shape, step, "VALID")[0]


def with_norms(queries: tf.Tensor) -> tf.Tensor:
    """[q, |q|^2, 1], (n, d + 2): the left factor of the distance product."""
    return tf.concat([queries, tf.reduce_sum(queries**2, 1, keepdims=True), tf.ones_like(queries[:, :1])], 1)


def with_weights(candidates: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[-2 w z, w, w |z|^2], (m, d + 2): the right factor; its product with the left one is w |q - z|^2."""
    w = weights[:, None]
    return tf.concat([-2 * w * candidates, w, w * tf.reduce_sum(candidates**2, 1, keepdims=True)], 1)


@compiled
def balance_weights(queries: tf.Tensor, candidates: tf.Tensor, floor: tf.Tensor) -> tf.Tensor:
    """1 / (distance to the nearest query + floor) for each candidate: (m,). The more a patch is wanted, the dearer."""
    left = with_norms(queries)
    right = with_weights(candidates, tf.ones_like(candidates[:, 0]))
    nearest = tf.fill([tf.shape(candidates)[0]], np.float32(np.inf))
    for start in tf.range(0, tf.shape(left)[0], BALANCE_CHUNK):
        distances = tf.matmul(left[start : start + BALANCE_CHUNK], right, transpose_b=True)
        nearest = tf.minimum(nearest, tf.reduce_min(distances, 0))
    return 1 / (tf.maximum(nearest, 0) + floor)


@compiled
def match(queries: tf.Tensor, weighted: tf.Tensor) -> tf.Tensor:
    """The number of the best candidate for each query: (n,). `weighted` comes from `with_weights`."""
    left = with_norms(queries)
    count = tf.shape(left)[0]
    found = tf.TensorArray(tf.int32, size=0, dynamic_size=True, infer_shape=False)
    for start in tf.range(0, count, MATCH_CHUNK):
        distances = tf.matmul(left[start : start + MATCH_CHUNK], weighted, transpose_b=True)
        found = found.write(start // MATCH_CHUNK, tf.argmin(distances, 1, output_type=tf.int32))
    return found.concat()


@compiled
def votes(patches: tf.Tensor, matches: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The matches' votes: patches with a fourth channel, all four times the patch's weight; and the squared error.

    patches, matches: (n, side * side * 3). A close match has more to say: weight (error + 0.001) ** -0.6.
    """
    error = tf.reduce_mean((patches - matches) ** 2, 1)
    weight = (error + VOTE_FLOOR) ** VOTE_POWER
    pixels = tf.reshape(matches, [-1, side * side, 3])
    four = tf.concat([pixels, tf.ones_like(pixels[:, :, :1])], 2) * weight[:, None, None]
    return tf.reshape(four, [-1, side * side * 4]), tf.reduce_sum(error)


class Matcher:
    """The patch matching of one level. Sources and picture are in [-1, 1].

    rhythm: of a single regular source. A patch then also tells where in the period it lies, and one that lies elsewhere
    is farther away: that keeps rows straight over the whole picture, which no single patch can see.
    """

    def __init__(self, sources: Sequence[Pixels], level: Level, seed: int, rhythm: Rhythm) -> None:
        self.level, self.seed, self.rhythm = level, seed, rhythm
        self.how = Matching.for_level(level)
        self.candidates = Candidates(sources, self.how.side)
        sample = self.candidates.draw(BASIS_PATCHES, generator(seed, Stage.BASIS, level.index)).patches
        self.basis = principal_components(sample, self.how.dimensions)
        self.phase_weight = math.sqrt(PHASE_SHARE * self.basis.variance)

    def iterate(self, picture: Array, iteration: int, alive: Callable[[], None]) -> tuple[Array, float]:
        """One iteration: the new picture and the root-mean-square distance of its patches from their matches.

        `alive` is called between strips, often enough to stop within a second by raising.
        """
        draws = generator(self.seed, Stage.MATCH, self.level.index, iteration)
        columns, rows = self.level.size
        step, side = stride(self.level), self.how.side
        left, top = int(draws.integers(step)), int(draws.integers(step))
        continued = unwrap(picture, (top, left), step, side)
        drawn = self.candidates.draw(self.how.candidates, draws)
        weighted = self._weigh(picture, drawn, draws)
        total = np.zeros((*continued.shape[:2], 4), dtype=np.float32)
        error = 0.0
        across, down = grid(columns, step), grid(rows, step)
        for first, count in strips(down, max(1, STRIP_PATCHES // across)):
            alive()
            strip = slice(first * step, (first + count - 1) * step + side)
            patches = extract(tf.constant(continued[strip]), side, step)
            y, x = np.divmod(np.arange(count * across), across)
            phases = self.rhythm.torus_phases(left + x * step, top + (first + y) * step, self.level.size)
            matches = tf.gather(drawn.patches, match(self._describe(patches, phases), weighted))
            ballots, strip_error = votes(patches, matches, side)
            total[strip] += fold(ballots, tf.constant(count), tf.constant(across), side, step).numpy()
            error += float(strip_error)
        summed = wrap(total, (top, left), rows, columns)
        return summed[..., :3] / summed[..., 3:], math.sqrt(error / (down * across))

    def _weigh(self, picture: Array, drawn: Drawn, draws: np.random.Generator) -> tf.Tensor:
        """The candidates with their balance weights, as the right factor of the distance product."""
        beyond = self.how.side - 1
        around = np.pad(picture, ((0, beyond), (0, beyond), (0, 0)), mode="wrap")
        asked = Candidates([around], self.how.side).draw(BALANCE_QUERIES, draws)
        queries = self._describe(asked.patches, self.rhythm.torus_phases(asked.x, asked.y, self.level.size))
        described = self._describe(drawn.patches, self.rhythm.source_phases(drawn.x, drawn.y, self.level.sources[0]))
        floor = tf.constant(max(self.how.balance * self.basis.variance, LEAST_FLOOR), tf.float32)
        return with_weights(described, balance_weights(queries, described, floor))

    def _describe(self, patches: tf.Tensor, phases: npt.NDArray[np.float64]) -> tf.Tensor:
        """What patches are compared by, (n, kept + phases): principal components and the place in the period."""
        kept = tf.matmul(patches - self.basis.mean, self.basis.axes)
        return tf.concat([kept, tf.constant(self.phase_weight * phases, tf.float32)], 1)


def strips(rows: int, most: int) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive strips that cover `rows` rows, none with more than `most`."""
    for first in range(0, rows, most):
        yield first, min(most, rows - first)
