"""What the device does for an iteration of patch matching: nearest patches, balanced, and the votes on every pixel.

Plain functions of tensors; `weigh`, `find`, `compare` and `elect` are compiled, and consist of the others. A patch is a
row of side * side * 3 numbers, a grid of patches is read row by row.
"""

import math

from keras import ops

from .backend import Tensor, compiled

MATCH_CHUNK = 256
BALANCE_CHUNKS = 4
"""Queries compared with all candidates at once, and how many times as many where they are for balance; these bound the
distance matrix to some 16 MB, or 64 MB."""
VOTE_FLOOR = 1e-3


def extract(strip: Tensor, side: int, step: int) -> Tensor:
    """Patches of a (rows, columns, 3) image every `step` pixels, flattened: (grid rows * grid columns, side*side*3)."""
    patches = ops.image.extract_patches(strip[None], side, strides=step, padding="valid", data_format="channels_last")
    return ops.reshape(patches, (-1, side * side * 3))


def overlap_add(pieces: Tensor, step: int) -> Tensor:
    """Pieces, (count, side, ...), that begin every `step` places, added up: ((count - 1) * step + side, ...).

    Each piece is cut into blocks of `step` places. Blocks of one number, one from each piece, lie side by side, so they
    are added all at once: in a fixed order, and several times faster than a transposed convolution.
    """
    side, rest = pieces.shape[1], [(0, 0)] * (len(pieces.shape) - 2)
    blocks = math.ceil(side / step)
    beyond = blocks * step - side
    padded = ops.pad(pieces, [(0, 0), (0, beyond), *rest])
    total = ops.pad(padded[:, :step], [(0, blocks - 1), (0, 0), *rest])
    for block in range(1, blocks):
        part = padded[:, block * step : (block + 1) * step]
        total = total + ops.pad(part, [(block, blocks - 1 - block), (0, 0), *rest])
    count, _, *others = ops.shape(total)
    return ops.reshape(total, (count * step, *others))[: count * step - beyond]


def fold(patches: Tensor, rows: Tensor, columns: Tensor, side: int, step: int) -> Tensor:
    """The transpose of `extract`, for any number of channels: overlapping patches added up.

    patches: (rows * columns, side * side * channels), on a grid of `rows` x `columns`.
    """
    pixels = ops.reshape(patches, (rows, columns, side, side, patches.shape[1] // side**2))
    down = overlap_add(ops.transpose(pixels, (0, 2, 1, 3, 4)), step)
    across = overlap_add(ops.transpose(down, (1, 2, 0, 3)), step)
    return ops.transpose(across, (1, 0, 2))


def describe(patches: Tensor, phases: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """What patches are compared by, (n, kept + phases): principal components and the place in the period."""
    return ops.concatenate([ops.matmul(patches - mean, axes), phases], 1)


def with_norms(queries: Tensor) -> Tensor:
    """[q, |q|^2, 1], (n, d + 2): the left factor of the distance product."""
    return ops.concatenate([queries, ops.sum(queries**2, 1, keepdims=True), ops.ones_like(queries[:, :1])], 1)


def with_weights(candidates: Tensor, weights: Tensor) -> Tensor:
    """[2 w z, -w, -w |z|^2], (m, d + 2): the right factor; times the left one it is the nearness -w |q - z|^2."""
    w = weights[:, None]
    return ops.concatenate([2 * w * candidates, -w, -w * ops.sum(candidates**2, 1, keepdims=True)], 1)


def chunks(rows: Tensor, size: int) -> Tensor:
    """(n, d) as (chunks, size, d); copies of the last row fill the last chunk up."""
    count, depth = ops.shape(rows)
    whole = (count + size - 1) // size
    return ops.reshape(ops.take(rows, ops.minimum(ops.arange(whole * size), count - 1), axis=0), (-1, size, depth))


def balance_weights(queries: Tensor, candidates: Tensor, floor: Tensor, chunk: int) -> Tensor:
    """1 / (distance to the nearest query + floor) for each candidate: (m,). The more a patch is wanted, the dearer."""
    right = ops.transpose(with_weights(candidates, ops.ones_like(candidates[:, 0])))
    nearness = ops.map(lambda left: ops.max(ops.matmul(left, right), 0), chunks(with_norms(queries), chunk))
    return 1 / (ops.maximum(-ops.max(nearness, 0), 0) + floor)


def match(queries: Tensor, weighted: Tensor, chunk: int) -> Tensor:
    """The number of the best candidate for each query: (n,). `weighted` comes from `with_weights`."""
    right = ops.transpose(weighted)
    # Keras' argmax reads its argument several times over; the largest alone is quick on every backend.
    found = ops.map(lambda left: ops.top_k(ops.matmul(left, right), 1)[1], chunks(with_norms(queries), chunk))
    return ops.reshape(found, (-1,))[: ops.shape(queries)[0]]


def votes(
    patches: Tensor, matches: Tensor, counted: Tensor, sharpness: Tensor, shares: Tensor
) -> tuple[Tensor, Tensor]:
    """The matches' votes, patches with five channels: three colours, their summed squares and 1, all times the vote's
    weight; and the squared error.

    patches, matches: (n, side * side * 3). A close match has more to say: weight (error + 0.001) ** -sharpness. shares:
    (side * side,), what part of it each of its pixels has. Only the first `counted` patches have a vote.
    """
    error = ops.mean((patches - matches) ** 2, 1)
    voting = ops.cast(ops.arange(ops.shape(error)[0]) < counted, "float32")
    weight = (voting * (error + VOTE_FLOOR) ** -sharpness)[:, None, None] * shares[:, None]
    pixels = ops.reshape(matches, (-1, shares.shape[0], 3))
    squares = ops.sum(pixels**2, 2, keepdims=True)
    five = ops.concatenate([pixels, squares, ops.ones_like(squares)], 2) * weight
    return ops.reshape(five, (-1, shares.shape[0] * 5)), ops.sum(voting * error)


@compiled("chunk")
def weigh(
    asked: Tensor,
    asked_phases: Tensor,
    drawn: Tensor,
    drawn_phases: Tensor,
    floor: Tensor,
    mean: Tensor,
    axes: Tensor,
    *,
    chunk: int,
) -> Tensor:
    """The drawn patches, (m, d), balanced by patches asked for in the picture, (n, d), as `match` takes them.

    floor: see `balance_weights`. mean, axes: see `patches.Basis`. The phases are weighted already. chunk: see
    `MATCH_CHUNK`.
    """
    candidates = describe(drawn, drawn_phases, mean, axes)
    queries = describe(asked, asked_phases, mean, axes)
    return with_weights(candidates, balance_weights(queries, candidates, floor, chunk * BALANCE_CHUNKS))


@compiled("side", "step", "chunk")
def find(
    strip: Tensor, phases: Tensor, weighted: Tensor, mean: Tensor, axes: Tensor, *, side: int, step: int, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """For each patch of a strip the number of its match among the drawn ones, that one's weight, and their weighted
    squared distance: (n,) each.

    strip: (rows, columns, 3), a whole number of grid steps and a patch. phases: of its patches, (n, k). weighted: from
    `weigh`. mean, axes: see `patches.Basis`. side, step: of a patch, between patches. chunk: see `MATCH_CHUNK`.
    """
    queries = describe(extract(strip, side, step), phases, mean, axes)
    found = match(queries, weighted, chunk)
    right = ops.take(weighted, found, axis=0)
    return found, -right[:, -2], -ops.sum(with_norms(queries) * right, 1)


@compiled("side", "step")
def compare(
    strip: Tensor,
    phases: Tensor,
    others: Tensor,
    other_phases: Tensor,
    mean: Tensor,
    axes: Tensor,
    *,
    side: int,
    step: int,
) -> Tensor:
    """The squared distance of each patch of a strip from one source patch each, (n,).

    others: the source patches, (n, side * side * 3); other_phases: theirs. The rest: see `find`.
    """
    ours = describe(extract(strip, side, step), phases, mean, axes)
    return ops.sum((ours - describe(others, other_phases, mean, axes)) ** 2, 1)


@compiled("side", "step")
def elect(
    strip: Tensor, matches: Tensor, counted: Tensor, sharpness: Tensor, shares: Tensor, *, side: int, step: int
) -> tuple[Tensor, Tensor]:
    """The votes on each pixel of a strip, (rows, columns, 5), see `votes`, and the squared error.

    matches: of the strip's patches, (n, side * side * 3). counted: how many of them vote. sharpness, shares: see
    `votes`. The rest: see `find`.
    """
    ballots, error = votes(extract(strip, side, step), matches, counted, sharpness, shares)
    rows, columns = ((extent - side) // step + 1 for extent in ops.shape(strip)[:2])
    return fold(ballots, rows, columns, side, step), error
