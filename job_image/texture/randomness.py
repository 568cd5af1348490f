"""Every random draw of the engine, as a pure function of where it is drawn.

No generator is carried from one step to the next. A run that resumes at level 4 therefore draws exactly what an
uninterrupted run would have drawn there, and ends with the same bytes.
"""

from enum import IntEnum

import numpy as np


class Stage(IntEnum):
    """What a draw is for; keeps the streams of one texture apart. The numbers shape the results: never reuse one."""

    START = 0
    BASIS = 1
    MATCH = 2
    FINISH = 3
    RESPONSE = 4


def generator(seed: int, stage: Stage, level: int = 0, iteration: int = 0) -> np.random.Generator:
    """The random generator of one iteration of one stage at one level."""
    return np.random.default_rng((seed, int(stage), level, iteration))
