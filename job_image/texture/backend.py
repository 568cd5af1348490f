"""The few things that Keras' operations do not cover: compiling, differentiating, and bit-for-bit repetition.

All arithmetic of the engine on the device is written in `keras.ops`, so that KERAS_BACKEND decides whether TensorFlow,
JAX or PyTorch carries it out. Differentiation and compilation are the backend's own, and stand here alone.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import keras

P = ParamSpec("P")
R = TypeVar("R")
Tensor = Any
"""A tensor of the backend at hand; `keras.ops` takes NumPy arrays wherever it takes these."""

NAME: str = keras.backend.backend()


def configure() -> None:
    """Make the backend repeat itself bit for bit: a fixed order of additions, and full float32 products."""
    if NAME == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif NAME == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif NAME == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def compiled(*static: str, exact: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function as a graph, compiled once for every texture of a job.

    static: names of the arguments that are plain Python values and shape the graph; pass them by keyword. exact: a
    graph for each shape of tensors, which then is known while the function is traced; otherwise TensorFlow's graphs
    serve all shapes. JAX compiles one for each shape in any case, and PyTorch runs line by line.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if NAME == "tensorflow":
            import tensorflow as tf

            return cast(Callable[P, R], tf.function(function, reduce_retracing=not exact, autograph=False))
        if NAME == "jax":
            import jax

            return cast(Callable[P, R], jax.jit(function, static_argnames=static))
        return function

    return decorate


def value_and_gradient(function: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function that returns `function(x, *rest)`, a scalar, and its gradient with respect to `x`."""
    if NAME == "tensorflow":
        import tensorflow as tf

        @wraps(function)
        def taped(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(x, *rest)
            return value, tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return taped
    if NAME == "jax":
        import jax

        return cast(Callable[..., tuple[Tensor, Tensor]], jax.value_and_grad(function))

    @wraps(function)
    def leaf(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        import torch

        with torch.enable_grad():
            variable = x.detach().requires_grad_(True)
            value = function(variable, *rest)
            (gradient,) = torch.autograd.grad(value, variable)
        return value.detach(), gradient

    return leaf


def to_numpy(values: Tensor | Sequence[Tensor]) -> Any:
    """The tensor as a NumPy array on the host."""
    return keras.ops.convert_to_numpy(values)
