"""The few things that Keras' operations do not cover: compiling, differentiating, bit-for-bit repetition, free memory.

All arithmetic of the engine on the device is written in `keras.ops`, so that KERAS_BACKEND decides whether TensorFlow,
JAX or PyTorch carries it out. Differentiation and compilation are the backend's own, and stand here alone.
"""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import keras
import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
R = TypeVar("R")
Tensor = Any
"""A tensor of the backend at hand; `keras.ops` takes NumPy arrays wherever it takes these."""

NAME: str = keras.backend.backend()


def configure() -> None:
    """Make the backend repeat itself bit for bit: a fixed order of additions, and full float32 products.

    To be called before the first operation. The one place that sets precision; `fast_type` says where less will do.
    """
    if NAME == "tensorflow":
        import tensorflow as tf

        # That a graph is compiled for each shape is meant, and no news to a person.
        tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif NAME == "jax":
        import jax

        # Read once, when the first array is made.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        jax.config.update("jax_default_matmul_precision", "highest")
    elif NAME == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
        torch.use_deterministic_algorithms(True)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


@cache
def fast_type() -> str:
    """The type in which this device multiplies fastest: "bfloat16" where it has units for it that the backend uses,
    else "float32", which processors without them are several times as fast with.

    GPUs have them since compute capability 8 (NVIDIA's Ampere, 2020). Of processors, TensorFlow's oneDNN uses those of
    x86 with AVX512_BF16 or AMX.
    """
    capability: tuple[int, ...] = (0,)
    if NAME == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            on = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
            return "bfloat16" if on and BFLOAT16 & processor_flags() else "float32"
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", capability)
    elif NAME == "jax":
        import jax

        said = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(jax.devices()[0], "compute_capability", "")))  # AMD: gfx90a
        capability = tuple(map(int, said.groups())) if said else capability
    elif NAME == "torch":
        import torch

        capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else capability
    return "bfloat16" if capability >= (8,) else "float32"


BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Of these flags Linux shows at least one where the processor multiplies bfloat16."""
CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """What Linux says that an x86 processor can do; nothing elsewhere."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def free_memory() -> int | None:
    """Bytes free on the accelerator that computes; None where there is none, or nobody says."""
    if NAME == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            return None
        # TensorFlow tells what it uses, not what there is; it takes nearly all of the GPU when it first computes.
        asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
            total = int(told.split()[0]) << 20
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return None
        return total - int(tf.config.experimental.get_memory_info("GPU:0")["current"])
    if NAME == "jax":
        import jax

        stats = jax.devices()[0].memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else None
    if NAME == "torch":
        import torch

        return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return None


def compiled(*static: str, exact: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function as a graph, compiled once for every texture of a job.

    static: names of the arguments that are plain Python values and shape the graph; pass them by keyword, and all
    others by position: tensors, NumPy arrays, numbers, or nests of these. exact: TensorFlow compiles a graph for each
    shape of tensors, all of which are then known while the function is traced; otherwise one for all tensors that
    differ only in axes before the last, whose extents `keras.ops.shape` gives. JAX compiles one for each shape in any
    case, and PyTorch runs line by line.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if NAME == "tensorflow":
            import tensorflow as tf

            graphs = tf.function(function, autograph=False) if exact else _of_any_extent(function)
            return cast(Callable[P, R], graphs)
        if NAME == "jax":
            import jax

            return cast(Callable[P, R], jax.jit(function, static_argnames=static))

        @wraps(function)
        def line_by_line(*arguments: P.args, **named: P.kwargs) -> R:
            return function(*_to_device(arguments), **named)

        return line_by_line

    return decorate


def _of_any_extent(function: Callable[..., Any]) -> Callable[..., Any]:
    """A TensorFlow graph for each set of static values, ranks, types and last extents.

    TensorFlow would by itself compile for the first shape, and for any shape only when a second one comes. The two
    graphs round differently, so a picture would depend on what was made before it, and on where a run was interrupted.
    """
    import tensorflow as tf

    graphs = tf.function(function, autograph=False)

    def free(tensor: Tensor) -> Any:
        return tf.TensorSpec([*[None] * (len(tensor.shape) - 1), *tensor.shape[-1:]], tensor.dtype)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        tensors = _to_device(arguments)
        return graphs.get_concrete_function(*keras.tree.map_structure(free, tensors), **named)(*tensors)

    return call


def _to_device(values: Any) -> Any:
    """Arrays and numbers, in any nest, as tensors."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, values)


def value_and_gradient(function: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function that returns `function(x, *rest)`, a scalar, and its gradient with respect to `x`, a tensor or a nest
    of tensors."""
    if NAME == "tensorflow":
        import tensorflow as tf

        @wraps(function)
        def taped(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
            with tf.GradientTape() as tape:
                x = _to_device(x)
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
            variables = keras.tree.map_structure(lambda one: one.detach().requires_grad_(True), _to_device(x))
            value = function(variables, *rest)
            leaves = keras.tree.flatten(variables)
            slopes = torch.autograd.grad(value, leaves, allow_unused=True)
            slopes = [
                torch.zeros_like(one) if slope is None else slope for one, slope in zip(leaves, slopes, strict=True)
            ]
        return value.detach(), keras.tree.pack_sequence_as(variables, slopes)

    return leaf


class Table:
    """Vectors of one length on the device, float32, side by side; each can be replaced in its place.

    They lie in blocks of a few rows, which come when one of their rows is first put: a descent that has just begun goes
    through what it remembers, and not through all that it may. Short vectors lie in one block, as calls would cost more
    than their arithmetic.
    """

    def __init__(self, rows: int, length: int) -> None:
        self.rows, self.length = rows, length
        self.block = max(LEAST_BLOCK, BLOCK_BYTES // (4 * length))  # rows
        self.blocks: dict[int, Any] = {}

    def put(self, row: int, vector: Tensor) -> None:
        """Replace a row; tensors that other methods gave before stay as they are."""
        number, at = divmod(row, self.block)
        if number not in self.blocks:
            self.blocks[number] = self._block(number)
        if NAME == "tensorflow":
            self.blocks[number][at].assign(vector)
        elif NAME == "jax":
            # The old block is not given up for it: a signal may end the run before the new one has its name.
            self.blocks[number] = self.blocks[number].at[at].set(vector)
        else:
            self.blocks[number][at] = vector

    def row(self, row: int) -> Tensor:
        """A copy of a row that was put."""
        number, at = divmod(row, self.block)
        return keras.ops.copy(self.blocks[number][at])

    def dots(self, vector: Tensor) -> npt.NDArray[np.float64]:
        """The inner product of each row with a tensor of as many numbers; 0 for rows that were never put."""
        flat, found = keras.ops.reshape(vector, (-1,)), np.zeros(self.rows)
        for number, block in self.blocks.items():
            products = keras.ops.einsum("rn,n->r", block, flat)  # half of what matmul's call takes
            found[number * self.block : (number + 1) * self.block] = to_numpy(products)
        return found

    def mixed(self, shares: npt.NDArray[np.float64]) -> Tensor:
        """The sum of the rows, each times its share. There must be one."""
        shares = shares.astype(np.float32)
        parts = [
            keras.ops.einsum("r,rn->n", shares[number * self.block : (number + 1) * self.block], block)
            for number, block in sorted(self.blocks.items())
        ]
        return sum(parts[1:], parts[0])

    def _block(self, number: int) -> Any:
        block = keras.ops.zeros((min(self.block, self.rows - number * self.block), self.length), "float32")
        if NAME == "tensorflow":
            import tensorflow as tf

            return tf.Variable(block)
        return block


LEAST_BLOCK, BLOCK_BYTES = 8, 1 << 23
"""Of a block of a table: rows at least, and bytes where there are more."""


def to_numpy(values: Tensor | Sequence[Tensor]) -> Any:
    """The tensor as a NumPy array on the host."""
    return keras.ops.convert_to_numpy(values)
