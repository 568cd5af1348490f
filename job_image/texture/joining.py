"""How Gram matrices of several sources become one target.

A Gram matrix is symmetric and positive semi-definite, float64, (C, C). Such matrices form a cone, not a flat space;
the last three modes are means in its own geometry, where the distance of A and B is ||log(A^-1/2 B A^-1/2)||_F.

- average: the arithmetic mean.
- max: the larger of each pair of entries, as the old program had it; it need not be positive semi-definite.
- log_euclidean: exp of the mean of the logarithms (Arsigny et al. 2007).
- affine_invariant: the midpoint of the geodesic between two, A^1/2 (A^-1/2 B A^-1/2)^1/2 A^1/2. Of more than two the
  inductive mean (Sturm 2003): each next matrix draws the mean of the first k by 1/(k + 1) of the way to itself. It
  depends on the order of the sources, a little.
- riemann: the Karcher mean, the matrix with the least sum of squared distances (Moakher 2005). It depends on no order
  and equals affine_invariant for two.

Whatever the mode, one source alone is its own mean, to the bit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

FLOOR = 1e-6
"""Of the largest eigenvalue: smaller ones, negative ones too, are raised to it before a logarithm.

The Gram matrix of P pixels has rank P at most, and what float32 features leave in the other directions, some 1e-7 of
the largest, is rounding. A floor, unlike a ridge on all eigenvalues, leaves well-conditioned matrices as they are.
"""

TOLERANCE = 1e-8
"""The Karcher mean is reached when the root mean square of the mean logarithm's eigenvalues is below this: a step
would change the mean by that part of itself."""

MOST_STEPS = 500


def join(grams: Sequence[npt.NDArray[np.floating]], mode: str) -> Matrix:
    """One target from the Gram matrices of the sources, each (C, C), in one of `MODES`.

    Raises ValueError for an unknown mode, for no matrices, for matrices that are not square, of one shape, finite and
    symmetric, and when the Karcher mean of matrices too far apart is not reached.
    """
    if mode not in MODES:
        raise ValueError(f"join mode is {mode!r}; it must be one of: {', '.join(MODES)}")
    if not grams:
        raise ValueError("no sources to join; name at least one")
    matrices = [np.asarray(gram, dtype=np.float64) for gram in grams]
    shape = matrices[0].shape
    if len(shape) != 2 or shape[0] != shape[1] or any(matrix.shape != shape for matrix in matrices):
        shapes = ", ".join(str(matrix.shape) for matrix in matrices)
        raise ValueError(f"Gram matrices of shapes {shapes} cannot be joined; all must be (C, C) with the same C")
    for at, matrix in enumerate(matrices):
        if not np.isfinite(matrix).all() or np.abs(matrix - matrix.T).max() > 1e-5 * np.abs(matrix).max():
            raise ValueError(f"the Gram matrix of source {at + 1} is not symmetric and finite; leave that source out")
    if len(matrices) == 1:
        return matrices[0].copy()
    return symmetric(MODES[mode](matrices))


def average(matrices: list[Matrix]) -> Matrix:
    mean: Matrix = np.mean(matrices, axis=0)
    return mean


def maximum(matrices: list[Matrix]) -> Matrix:
    largest: Matrix = np.max(matrices, axis=0)
    return largest


def log_euclidean(matrices: list[Matrix]) -> Matrix:
    return applied(np.exp, average([applied(np.log, raised(matrix)) for matrix in matrices]))


def affine_invariant(matrices: list[Matrix]) -> Matrix:
    mean = raised(matrices[0])
    for k, matrix in enumerate(matrices[1:], start=1):
        mean = geodesic(mean, raised(matrix), 1 / (k + 1))
    return mean


def karcher(matrices: list[Matrix]) -> Matrix:
    """Fixed-point iteration X <- X^1/2 exp(t sum_i log(X^-1/2 A_i X^-1/2)) X^1/2 from the log-Euclidean mean.

    The step t is the one that Bini & Iannazzo 2013 show to be locally optimal, from the condition numbers c_i of
    X^-1/2 A_i X^-1/2: t = 2 / sum_i (c_i + 1) / (c_i - 1) log c_i; it is 1/k where the matrices are alike.
    """
    raised_ones = [raised(matrix) for matrix in matrices]
    mean = log_euclidean(raised_ones)
    for _ in range(MOST_STEPS):
        root, inverse = square_roots(mean)
        total = np.zeros_like(mean)
        stiffness = 0.0
        for matrix in raised_ones:
            values, vectors = np.linalg.eigh(symmetric(inverse @ matrix @ inverse))
            logarithms = np.log(np.maximum(values, np.finfo(np.float64).tiny))
            total += (vectors * logarithms) @ vectors.T
            spread = logarithms[-1] - logarithms[0]
            stiffness += spread / np.tanh(spread / 2) if spread > 1e-8 else 2.0  # (c + 1) / (c - 1) = coth(log c / 2)
        if np.linalg.norm(total) / len(matrices) < TOLERANCE * np.sqrt(len(mean)):
            return mean
        mean = symmetric(root @ applied(np.exp, 2 / stiffness * total) @ root)
    raise ValueError(f"the riemann mean is not reached in {MOST_STEPS} steps; join with log_euclidean instead")


MODES: dict[str, Callable[[list[Matrix]], Matrix]] = {
    "average": average,
    "max": maximum,
    "log_euclidean": log_euclidean,
    "affine_invariant": affine_invariant,
    "riemann": karcher,
}


def geodesic(start: Matrix, end: Matrix, t: float) -> Matrix:
    """The point a part t of the way from start to end: A^1/2 (A^-1/2 B A^-1/2)^t A^1/2."""
    root, inverse = square_roots(start)
    between = symmetric(inverse @ end @ inverse)
    return symmetric(root @ applied(lambda values: np.maximum(values, 0) ** t, between) @ root)


def square_roots(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """A^1/2 and A^-1/2."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def applied(function: Callable[[Matrix], Matrix], matrix: Matrix) -> Matrix:
    """A function of a symmetric matrix: the function of its eigenvalues, in its eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    result: Matrix = (vectors * function(values)) @ vectors.T
    return result


def raised(matrix: Matrix) -> Matrix:
    """The matrix with eigenvalues of at least `FLOOR` of its largest; itself when they are. Zeros become a tiny one."""
    values, vectors = np.linalg.eigh(symmetric(matrix))
    floor = max(FLOOR * values[-1], np.finfo(np.float64).tiny ** 0.5)
    if values[0] >= floor:
        return matrix
    return symmetric((vectors * np.maximum(values, floor)) @ vectors.T)


def symmetric(matrix: Matrix) -> Matrix:
    """The matrix without the asymmetry that rounding left."""
    return (matrix + matrix.T) / 2
