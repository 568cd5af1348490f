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
from .matching import MATCH_CHUNK, compare, elect, find, weigh
from .memory import within_memory
from .pieces import BESIDE, DEAR, beside, continued, distances, large
from .randomness import Stage, generator
from .rhythm import Rhythm
from .torus import Sheet

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

BALANCE_QUERIES = 4096
STRIP_PATCHES = 16384
"""Picture patches held at once; with 147 numbers each this is about 10 MB."""
LEAST_CHUNK = 16
"""Patches compared at once at least, however little memory there is, see `matching.MATCH_CHUNK`."""
BASIS_PATCHES = 16384
PHASE_SHARE = 0.1
"""Squared distance between patches a sixth of a period apart, as a share of the patches' variance. Without it rows
of bricks undulate and planks break off; at 0.3 it overrules what patches show, and slivers of brick are squeezed in."""
SHARPNESS, SHARPEST = 0.6, 3.0
"""Evener votes find better agreement; at the finest level they would smooth away where grain is strong and where weak,
which is half of all that an even finish cannot give back."""
MIDDLE = 2.0
"""Pixels: deviation of the Gaussian by which those near the middle of a patch have more of its vote, at the finest
level. What fewer matches have a say in is averaged less."""
REGAINED = 0.5
"""How much of the grain that votes lost is given back, see `grain.regained`. Part of what votes differ by is where an
edge lies; all of it makes lichen rough."""
JOINED = 3
"""How often, in each iteration at the finest level, matches are offered to their neighbours, see `pieces`. On
terrazzo at 512 pixels 18% of neighbours come from one place of the source after once, 37% after three times."""
LEAST_CANDIDATES, USUAL_CANDIDATES, MOST_CANDIDATES = 8192, 16384, 49152
LEAST_FLOOR = 1e-8
"""Keeps the weights finite when a source is one flat colour."""


@dataclass(frozen=True)
class Matching:
    """How patches are compared.

    side: of a patch, in pixels. dimensions: principal components kept. balance: weight floor as a share of the patches'
    variance; larger is closer to plain nearest neighbours. candidates: source patches drawn for one iteration.
    sharpness: how much more a close match has to say, see `matching.votes`. middle: see `MIDDLE`; infinite where all
    pixels of a patch have the same share. regained: see `REGAINED`. joined: how often matches are offered to their
    neighbours, see `pieces`.
    """

    side: int
    dimensions: int
    balance: float
    candidates: int
    sharpness: float = SHARPNESS
    middle: float = math.inf
    regained: float = REGAINED
    joined: int = 0

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
        return cls(
            side=7,
            dimensions=24,
            balance=0.01,
            candidates=drawn,
            sharpness=sharpness,
            middle=middle,
            joined=JOINED if level.finest else 0,
        )

    def of_regular(self) -> "Matching":
        """The same for a regular source. It repeats itself, so that more to choose from lifts no pieces, and its grain
        needs the closer matches; at the finest level those of a larger patch, which sees more of what repeats."""
        if self.joined:
            return replace(self, side=9, dimensions=36)
        return replace(self, candidates=self.candidates * 7 // 4)

    def shares(self) -> Array:
        """The part of its patch's vote that each pixel has, (side * side,); 1 in the middle."""
        away = np.arange(self.side) - (self.side - 1) / 2
        part = np.exp(-(away**2) / 2 / self.middle**2)
        shares: Array = np.outer(part, part).astype(np.float32).ravel()
        return shares


def stride(level: Level) -> int:
    """Distance between neighbouring picture patches, in pixels; each iteration moves the grid at random."""
    side = min(level.size)
    return 1 if side < 100 else 2 if side < 160 else 3


class Candidates:
    """All patches of the sources at one level, numbered source by source and row by row.

    Raises ValueError when a source is smaller than a patch.
    """

    def __init__(self, sources: Sequence[Pixels], side: int) -> None:
        self.side = side
        if min(min(source.shape[:2]) for source in sources) < side:
            raise ValueError(f"a source is smaller than a patch of {side} pixels")
        # Rows of a patch hold its colours as well, so that they are copied in one go.
        self._windows = [
            np.lib.stride_tricks.sliding_window_view(source.reshape(len(source), -1), (side, side * source.shape[2]))[
                :, :: source.shape[2]
            ]
            for source in sources
        ]
        shapes = np.array([view.shape[:2] for view in self._windows])
        self._down, self._across = shapes.T
        self._firsts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def draw(self, count: int, draws: np.random.Generator) -> "Drawn":
        """Up to `count` different patches."""
        if count >= len(self):
            return self.at(np.arange(len(self)))
        return self.at(np.sort(draws.choice(len(self), count, replace=False, shuffle=False)))

    def at(self, numbers: Numbers) -> "Drawn":
        """The patches of these numbers, (n,)."""
        source, y, x = self.places(numbers).T
        patches = np.empty((len(numbers), self._windows[0][0, 0].size), np.float32)
        for one, view in enumerate(self._windows):
            here = source == one
            patches[here] = view[y[here], x[here]].reshape(-1, patches.shape[1])
        return Drawn(patches, x, y, numbers)

    def places(self, numbers: Numbers) -> Numbers:
        """Where patches begin, (..., 3): the number of the source, the row and the column there."""
        source = np.searchsorted(self._firsts, numbers, side="right") - 1
        y, x = np.divmod(numbers - self._firsts[source], self._across[source])
        return np.stack([source, y, x], axis=-1)

    def numbers(self, places: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """The inverse of `places`, and whether there is such a patch; where there is none, the number is 0."""
        source, y, x = np.moveaxis(places, -1, 0)
        inside = (y >= 0) & (y < self._down[source]) & (x >= 0) & (x < self._across[source])
        return np.where(inside, self._firsts[source] + y * self._across[source] + x, 0), inside


class Drawn(NamedTuple):
    """Patches, flattened, (n, side * side * 3), the columns and rows at which they begin, and their numbers, (n,)."""

    patches: Array
    x: Numbers
    y: Numbers
    numbers: Numbers


class Matches(NamedTuple):
    """What each patch of a sheet matches, (down, across) each.

    numbers: of the source patches. weights: theirs, see `matching.balance_weights`. costs: the squared distances times
    the weights.
    """

    numbers: Numbers
    weights: Array
    costs: Array


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


class Matcher:
    """The patch matching of one level. Sources and picture are in [-1, 1].

    rhythm: of a single regular source. A patch then also tells where in the period it lies, and one that lies elsewhere
    is farther away: that keeps rows straight over the whole picture, which no single patch can see.

    chunk: patches compared at once. Sums round a little differently with another one, so it is a part of a state.
    """

    def __init__(
        self, sources: Sequence[Pixels], level: Level, seed: int, rhythm: Rhythm, chunk: int = MATCH_CHUNK
    ) -> None:
        self.level, self.seed, self.rhythm, self.chunk = level, seed, rhythm, chunk
        self.how = Matching.for_level(level).of_regular() if rhythm else Matching.for_level(level)
        self.candidates = Candidates(sources, self.how.side)
        sample = self.candidates.draw(BASIS_PATCHES, generator(seed, Stage.BASIS, level.index)).patches
        self.basis = principal_components(sample, self.how.dimensions)
        self.axes = ops.convert_to_tensor(self.basis.mean), ops.convert_to_tensor(self.basis.axes)
        self.shares = self.how.shares()
        self.phase_weight = math.sqrt(PHASE_SHARE * self.basis.variance)

    def iterate(self, picture: Array, iteration: int, alive: Callable[[], None]) -> tuple[Array, float]:
        """One iteration: the new picture and the root-mean-square distance of its patches from their matches.

        At the finest level neighbours' matches are joined to pieces, and the last one gives back the grain that its
        votes averaged away. `alive` is called between strips, often enough to stop within a second by raising. When the
        device runs out of memory, less is compared at once from then on.
        """
        (voted, lost, distance), self.chunk = within_memory(
            lambda chunk: self._iterated(picture, iteration, alive, chunk), self.chunk, LEAST_CHUNK
        )
        if self.level.finest and iteration + 1 == self.level.iterations:
            voted = regained(voted, lost, self.how.regained)
        return voted, distance

    def _iterated(
        self, picture: Array, iteration: int, alive: Callable[[], None], chunk: int
    ) -> tuple[Array, Array, float]:
        """See `_voted`. So many patches are compared at once, in strips in proportion."""
        draws = generator(self.seed, Stage.MATCH, self.level.index, iteration)
        step = stride(self.level)
        left, top = int(draws.integers(step)), int(draws.integers(step))
        sheet = Sheet(picture, self.how.side, step, (top, left), STRIP_PATCHES * chunk // MATCH_CHUNK)
        found = self._found(sheet, draws, picture, alive, chunk)
        for _ in range(self.how.joined):
            found = self._joined(sheet, found, alive)
        return self._voted(sheet, found, alive)

    def _found(
        self, sheet: Sheet, draws: np.random.Generator, picture: Array, alive: Callable[[], None], chunk: int
    ) -> Matches:
        """The nearest of the patches drawn, for each one of the sheet by itself."""
        drawn = self.candidates.draw(self.how.candidates, draws)
        weighted = self._weigh(picture, drawn, draws, chunk)
        shape = sheet.down, sheet.across
        found = Matches(np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.float32))
        for first in sheet.strips():
            alive()
            told = find(
                sheet.pixels(first), self._phases(sheet, first), weighted, *self.axes, **sheet.pace, chunk=chunk
            )
            numbers, weights, costs = (sheet.counted(to_numpy(one), first) for one in told)
            here = slice(first, first + sheet.height)
            found.numbers[here], found.weights[here], found.costs[here] = drawn.numbers[numbers], weights, costs
        return found

    def _joined(self, sheet: Sheet, found: Matches, alive: Callable[[], None]) -> Matches:
        """The matches, where it is better those that continue a neighbour's; see `pieces`."""
        step, reach = sheet.step, max(distances(sheet.step))
        here = np.zeros((sheet.down, sheet.across, 3), np.int64)
        here[..., 1], here[..., 2] = np.mgrid[: sheet.down, : sheet.across] * step
        shifts = (self.candidates.places(found.numbers) - here).astype(np.int32)
        around = continued(shifts, reach, sheet.rows, sheet.columns)
        weights = np.pad(found.weights, reach, mode="wrap")
        best = Matches(found.numbers.copy(), found.weights.copy(), found.costs.copy())
        prices = np.where(large(shifts, around, reach, step), DEAR, 1) * found.costs
        for away in BESIDE:
            shifts, offered = beside(around, reach, away), beside(weights, reach, away)
            numbers, inside = self.candidates.numbers(shifts + here)
            costs = offered * self._apart(sheet, numbers, alive)
            asked = np.where(inside, np.where(large(shifts, around, reach, step), DEAR, 1) * costs, np.inf)
            better = asked < prices
            prices[better] = asked[better]
            for kept, one in ((best.numbers, numbers), (best.weights, offered), (best.costs, costs)):
                kept[better] = one[better]
        return best

    def _apart(self, sheet: Sheet, numbers: Numbers, alive: Callable[[], None]) -> Array:
        """The squared distance of each patch of the sheet from the source patch of this number, (down, across)."""
        apart = np.empty(numbers.shape, np.float32)
        for first in sheet.strips():
            alive()
            others = self.candidates.at(sheet.part(numbers, first))
            strip = sheet.pixels(first), self._phases(sheet, first)
            squares = compare(*strip, others.patches, self._source_phases(others), *self.axes, **sheet.pace)
            apart[first : first + sheet.height] = sheet.counted(to_numpy(squares), first)
        return apart

    def _voted(self, sheet: Sheet, found: Matches, alive: Callable[[], None]) -> tuple[Array, Array, float]:
        """The picture that the matches vote for, the variance of its votes, (rows, columns), and the distance of its
        patches from their matches."""
        total = np.zeros((*sheet.extent, 5), dtype=np.float32)
        error = 0.0
        for first in sheet.strips():
            alive()
            matches = self.candidates.at(sheet.part(found.numbers, first)).patches
            how = sheet.count(first), self.how.sharpness, self.shares
            ballots, strip_error = elect(sheet.pixels(first), matches, *how, **sheet.pace)
            total[sheet.lines(first)] += to_numpy(ballots)
            error += float(strip_error)
        summed = sheet.folded(total)
        del total
        weights = summed[..., 4:]
        voted = summed[..., :3] / weights
        lost = np.maximum(summed[..., 3] / weights[..., 0] - (voted**2).sum(axis=2), 0)
        return voted, lost, math.sqrt(error / (sheet.down * sheet.across))

    def _weigh(self, picture: Array, drawn: Drawn, draws: np.random.Generator, chunk: int) -> Tensor:
        """The patches drawn with their balance weights, as the right factor of the distance product."""
        beyond = self.how.side - 1
        around = np.pad(picture, ((0, beyond), (0, beyond), (0, 0)), mode="wrap")
        asked = Candidates([around], self.how.side).draw(BALANCE_QUERIES, draws)
        return weigh(
            asked.patches,
            self._weighed(self.rhythm.torus_phases(asked.x, asked.y, self.level.size)),
            drawn.patches,
            self._source_phases(drawn),
            max(self.how.balance * self.basis.variance, LEAST_FLOOR),
            *self.axes,
            chunk=chunk,
        )

    def _phases(self, sheet: Sheet, first: int) -> Array:
        """Of a strip's patches, as `matching.describe` takes them."""
        return self._weighed(self.rhythm.torus_phases(*sheet.places(first), self.level.size))

    def _source_phases(self, drawn: Drawn) -> Array:
        """Of source patches, likewise."""
        return self._weighed(self.rhythm.source_phases(drawn.x, drawn.y, self.level.sources[0]))

    def _weighed(self, phases: npt.NDArray[np.float64]) -> Array:
        return (self.phase_weight * phases).astype(np.float32)
