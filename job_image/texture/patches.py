"""Balanced patch matching: every patch of the picture is drawn towards a patch of the sources, and none too often.

One iteration (Kwatra et al., Texture Optimization, 2005, with other weights) finds for each patch of the picture its
nearest source patch and then lets the overlapping matches vote on every pixel. Plain nearest neighbours collapse onto
a few smooth patches. So distances are weighted as in GPNN (Granot et al., Drop the GAN, 2022): a source patch that is
close to some patch of the picture already costs more than one that is used by none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from .backend import Tensor, to_numpy
from .grain import regained
from .images import Pixels
from .levels import Level
from .matching import MATCH_CHUNK, elect, weigh
from .memory import halving
from .randomness import Stage, generator
from .rhythm import Rhythm

Array = npt.NDArray[np.float32]

BALANCE_QUERIES = 4096
STRIP_PATCHES = 16384
"""Picture patches held at once; with 147 numbers each this is about 10 MB."""
BASIS_PATCHES = 16384
PHASE_SHARE = 0.1
"""Squared distance between patches a sixth of a period apart, as a share of the patches' variance. Without it rows
of bricks undulate and planks break off; at 0.3 it overrules what patches show, and slivers of brick are squeezed in."""
SHARPNESS, SHARPEST = 0.6, 3.0
"""Evener votes find better agreement; at the finest level they would smooth away where grain is strong and where weak,
which is half of all that an even finish cannot give back."""
MIDDLE = 2 / 7
"""Of a patch's side: deviation of the Gaussian by which pixels near its middle have more of its vote, at the finest
level. What fewer matches have a say in is averaged less."""
REGAINED, ALL = 0.5, 1.0
"""How much of the grain that votes lost is given back, see `grain.regained`. Where nothing keeps edges in step, part of
what votes differ by is where an edge lies; all of it makes lichen rough."""
LEAST_CANDIDATES, USUAL_CANDIDATES, MOST_CANDIDATES = 8192, 16384, 49152
LEAST_FLOOR = 1e-8
"""Keeps the weights finite when a source is one flat colour."""


@dataclass(frozen=True)
class Matching:
    """How patches are compared.

    side: of a patch, in pixels. dimensions: principal components kept. balance: weight floor as a share of the patches'
    variance; larger is closer to plain nearest neighbours. candidates: source patches drawn for one iteration.
    sharpness: how much more a close match has to say, see `matching.votes`. middle: see `MIDDLE`; infinite where all
    pixels of a patch have the same share. regained: see `REGAINED`.
    """

    side: int
    dimensions: int
    balance: float
    candidates: int
    sharpness: float = SHARPNESS
    middle: float = math.inf
    regained: float = REGAINED

    @classmethod
    def for_level(cls, level: Level) -> "Matching":
        """Larger patches when the sources show more than the picture can hold: there is more to choose from.

        Otherwise as many patches are drawn as an eighth of the full-sized source holds, within limits: with more of a
        small source to choose from, whole pieces of it are lifted. At the finest level close matches outvote the
        others; elsewhere what votes even out is found again at the next level.
        """
        width, height = level.size
        if max(w * h for w, h in level.sources) > 1.2 * width * height:
            return cls(side=9, dimensions=36, balance=0.005, candidates=12288)
        most = MOST_CANDIDATES if level.finest else USUAL_CANDIDATES
        drawn = min(max(level.full_area // 8, LEAST_CANDIDATES), most)
        sharpness, middle = (SHARPEST, MIDDLE) if level.finest else (SHARPNESS, math.inf)
        return cls(side=7, dimensions=24, balance=0.01, candidates=drawn, sharpness=sharpness, middle=middle)

    def of_regular(self) -> "Matching":
        """The same for a regular source. It repeats itself, so that more to choose from lifts no pieces, and its grain
        needs the closer matches. Its edges are kept in step."""
        return replace(self, candidates=self.candidates * 7 // 4, regained=ALL)

    def shares(self) -> Array:
        """The part of its patch's vote that each pixel has, (side * side,); 1 in the middle."""
        away = np.arange(self.side) - (self.side - 1) / 2
        part = np.exp(-(away**2) / 2 / (self.middle * self.side) ** 2)
        shares: Array = np.outer(part, part).astype(np.float32).ravel()
        return shares


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


class Matcher:
    """The patch matching of one level. Sources and picture are in [-1, 1].

    rhythm: of a single regular source. A patch then also tells where in the period it lies, and one that lies elsewhere
    is farther away: that keeps rows straight over the whole picture, which no single patch can see.
    """

    def __init__(self, sources: Sequence[Pixels], level: Level, seed: int, rhythm: Rhythm) -> None:
        self.level, self.seed, self.rhythm = level, seed, rhythm
        self.how = Matching.for_level(level).of_regular() if rhythm else Matching.for_level(level)
        self.candidates = Candidates(sources, self.how.side)
        sample = self.candidates.draw(BASIS_PATCHES, generator(seed, Stage.BASIS, level.index)).patches
        self.basis = principal_components(sample, self.how.dimensions)
        self.axes = ops.convert_to_tensor(self.basis.mean), ops.convert_to_tensor(self.basis.axes)
        self.shares = self.how.shares()
        self.phase_weight = math.sqrt(PHASE_SHARE * self.basis.variance)
        self.chunk = MATCH_CHUNK

    def iterate(self, picture: Array, iteration: int, alive: Callable[[], None]) -> tuple[Array, float]:
        """One iteration: the new picture and the root-mean-square distance of its patches from their matches.

        The last one at the finest level gives back the grain that its votes averaged away.
        `alive` is called between strips, often enough to stop within a second by raising. When the device runs out of
        memory, less is compared at once from then on.
        """
        made, self.chunk = halving(lambda chunk: self._iterated(picture, iteration, alive, chunk), self.chunk)
        return made

    def _iterated(self, picture: Array, iteration: int, alive: Callable[[], None], chunk: int) -> tuple[Array, float]:
        """`iterate` with so many patches compared at once, and strips in proportion."""
        draws = generator(self.seed, Stage.MATCH, self.level.index, iteration)
        columns, rows = self.level.size
        step, side = stride(self.level), self.how.side
        left, top = int(draws.integers(step)), int(draws.integers(step))
        across, down = grid(columns, step), grid(rows, step)
        height = strip_height(down, max(1, STRIP_PATCHES * chunk // MATCH_CHUNK // across))
        continued = unwrap(picture, (top, left), step, side)
        # All strips get one height, because some backends compile anew for each; what lies beyond has no vote.
        continued = np.pad(continued, ((0, -down % height * step), (0, 0), (0, 0)))
        drawn = self.candidates.draw(self.how.candidates, draws)
        candidates = ops.convert_to_tensor(drawn.patches)
        weighted = self._weigh(picture, drawn, candidates, draws, chunk)
        total = np.zeros((*continued.shape[:2], 5), dtype=np.float32)
        error = 0.0
        for first in range(0, down, height):
            alive()
            strip = slice(first * step, (first + height - 1) * step + side)
            y, x = np.divmod(np.arange(height * across), across)
            phases = self.rhythm.torus_phases(left + x * step, top + (first + y) * step, self.level.size)
            counted = min(height, down - first) * across
            ballots, strip_error = elect(
                continued[strip],
                self._weighed(phases),
                counted,
                self.how.sharpness,
                self.shares,
                candidates,
                weighted,
                *self.axes,
                side=side,
                step=step,
                chunk=chunk,
            )
            total[strip] += to_numpy(ballots)
            error += float(strip_error)
        summed = wrap(total, (top, left), rows, columns)
        del total
        weights = summed[..., 4:]
        voted, distance = summed[..., :3] / weights, math.sqrt(error / (down * across))
        if self.level.finest and iteration + 1 == self.level.iterations:
            lost = np.maximum(summed[..., 3] / weights[..., 0] - (voted**2).sum(axis=2), 0)
            del summed, weights, continued
            voted = regained(voted, lost, self.how.regained)
        return voted, distance

    def _weigh(
        self, picture: Array, drawn: Drawn, candidates: Tensor, draws: np.random.Generator, chunk: int
    ) -> Tensor:
        """The candidates with their balance weights, as the right factor of the distance product."""
        beyond = self.how.side - 1
        around = np.pad(picture, ((0, beyond), (0, beyond), (0, 0)), mode="wrap")
        asked = Candidates([around], self.how.side).draw(BALANCE_QUERIES, draws)
        return weigh(
            asked.patches,
            self._weighed(self.rhythm.torus_phases(asked.x, asked.y, self.level.size)),
            candidates,
            self._weighed(self.rhythm.source_phases(drawn.x, drawn.y, self.level.sources[0])),
            max(self.how.balance * self.basis.variance, LEAST_FLOOR),
            *self.axes,
            chunk=chunk,
        )

    def _weighed(self, phases: npt.NDArray[np.float64]) -> Array:
        """Phases as `describe` takes them."""
        return (self.phase_weight * phases).astype(np.float32)


def strip_height(rows: int, most: int) -> int:
    """Rows of each strip when as few strips as can be cover `rows` rows, none with more than `most`."""
    return math.ceil(rows / math.ceil(rows / most))
