"""A picture on a torus, cut into overlapping patches: a grid of them, in strips that are looked at one by one."""

import math
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Values = TypeVar("Values", bound=np.generic)
Places = npt.NDArray[np.int64]


class Sheet:
    """The patches of one iteration: every `step` pixels, from `offset` (down, right) on, round the torus.

    down, across: how many of them. top, left: pixels of the torus at which the first one begins. Strips are `height`
    patches high, all of them, because some backends compile anew for each height; what lies beyond the last patch is
    filled up with zeros, and has no vote.

    picture: (rows, columns, channels). most: patches that a strip may hold, but for a single row that holds more.
    """

    def __init__(self, picture: Array, side: int, step: int, offset: tuple[int, int], most: int) -> None:
        self.rows, self.columns = picture.shape[:2]
        self.side, self.step = side, step
        self.top, self.left = offset
        self.down, self.across = grid(self.rows, step), grid(self.columns, step)
        self.height = strip_height(self.down, max(1, most // self.across))
        continued = unwrap(picture, offset, step, side)
        self._pixels = np.pad(continued, ((0, -self.down % self.height * step), (0, 0), (0, 0)))

    @property
    def pace(self) -> dict[str, int]:
        """The side of a patch and the step between patches, as `matching` takes them by name."""
        return {"side": self.side, "step": self.step}

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of all strips together, one over the other."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def strips(self) -> Iterator[int]:
        """The row of the grid with which each strip begins."""
        return iter(range(0, self.down, self.height))

    def lines(self, first: int) -> slice:
        """The rows of pixels that a strip's patches cover, among those of `extent`."""
        return slice(first * self.step, (first + self.height - 1) * self.step + self.side)

    def pixels(self, first: int) -> Array:
        """The pixels of a strip, (rows, columns, channels)."""
        return self._pixels[self.lines(first)]

    def count(self, first: int) -> int:
        """How many of a strip's patches are in the grid; the others are filled up."""
        return min(self.height, self.down - first) * self.across

    def counted(self, values: npt.NDArray[Values], first: int) -> npt.NDArray[Values]:
        """What was found for a strip's patches, (n,), of those in the grid: (rows of the grid, across)."""
        return values[: self.count(first)].reshape(-1, self.across)

    def places(self, first: int) -> tuple[Places, Places]:
        """The columns and rows of the torus at which a strip's patches begin, (n,); they may run over its end."""
        y, x = np.divmod(np.arange(self.height * self.across), self.across)
        return self.left + x * self.step, self.top + (first + y) * self.step

    def part(self, values: Places, first: int) -> Places:
        """What an array (down, across) holds for a strip's patches, (n,), filled up with zeros."""
        held = values[first : first + self.height].ravel()
        return np.pad(held, (0, self.height * self.across - len(held)))

    def folded(self, total: Array) -> Array:
        """Votes of `extent` on the torus, (rows, columns, channels), in the place of the picture."""
        return wrap(total, (self.top, self.left), self.rows, self.columns)


def grid(side: int, step: int) -> int:
    """How many patches start every `step` pixels around a torus of `side` pixels; the last gap may be shorter."""
    return math.ceil(side / step)


def strip_height(rows: int, most: int) -> int:
    """Rows of each strip when as few strips as can be cover `rows` rows, none with more than `most`."""
    return math.ceil(rows / math.ceil(rows / most))


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
