"""What every method of synthesis is to those who drive it: a course of stands, from any of which it can be resumed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .images import Pixels
from .rhythm import Rhythm

State = Mapping[str, npt.NDArray[Any]]
"""All that is needed to go on from a stand, as named arrays."""


class Stand(NamedTuple):
    """Where a course stands after a piece of work.

    size: of the picture at hand, as people write it (256x128). iteration: at that size, from 1 on and rising through
    all stages; 0 is what everything begins with, before there is a loss or a state. done: work behind
    us, in multiply-adds. loss: of what is being lowered. pictures: makes the frames as they are, sRGB in [0, 1].
    state: makes the state. level_done: whether this size is finished. hasty: makes the frames without what takes long
    and shows little, for a run that is being stopped.
    """

    size: str
    iteration: int
    done: float
    loss: float
    pictures: Callable[[], list[Pixels]]
    state: Callable[[], State]
    level_done: bool = False
    hasty: Callable[[], list[Pixels]] | None = None


class Course(Protocol):
    """A method at work on one texture. The same parameters and sources always take the same course.

    name: of the method, with its edition. total: its whole work in multiply-adds, at most. sources: the sources as they
    are shown to it, in [0, 1]. levels: the sizes it goes through. rhythm: of a regular source, and of the result.
    covered: the share of the sources' pixels that it painted over first, see `retouch`.
    """

    name: str
    total: float
    sources: list[Pixels]
    levels: list[str]
    rhythm: Rhythm
    covered: float

    def stands(self, saved: State | None) -> Iterator[Stand]:
        """All stands from the beginning, or from a saved state on; the last one's pictures are the result."""

    def report(self) -> dict[str, Any]:
        """What the report should say of it beside, once it is done."""


def number(saved: State | None, name: str) -> int:
    """A whole number of a state; 0 where there is none."""
    return int(saved[name]) if saved is not None and name in saved else 0


def named(size: tuple[int, int]) -> str:
    """A size (width, height) as people write it: 256x128."""
    return f"{size[0]}x{size[1]}"


def whole(value: int) -> npt.NDArray[np.int64]:
    """A whole number as part of a state."""
    return np.asarray(value, np.int64)
