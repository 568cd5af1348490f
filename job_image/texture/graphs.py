"""TensorFlow functions compiled once for every texture of a job."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import tensorflow as tf

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as a graph that serves all shapes: levels and textures of many sizes share one or two traces."""
    return cast(Callable[P, R], tf.function(function, reduce_retracing=True))
