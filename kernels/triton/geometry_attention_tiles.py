"""Pieces that the forward and backward Triton kernels of ``geometry_attention`` share.

Scores are kept in units of log 2, so that ``exp2`` needs no factor. Positions count from a key of
the segment, subtracted in float32 before anything is multiplied: a scene far from the origin loses
no digits.

The kernels take the records of ``g2vlm_fast.ops._geometry_attention_arguments`` (tokens, results
and their gradients), and the two records below, which the launch makes of them.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    inner,
    load_centered,
    minus,
)

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


class Sizes(NamedTuple):
    """What all kernels take at run time beside tensors."""

    num_queries: int
    num_keys: int
    num_segments: int
    scale: float
    eps: float  # metres, of the distance term
    q_position_stride: int
    q_position_head_stride: int


class Problem(NamedTuple):
    """What all kernels are compiled for."""

    H: int
    GROUP: int  # heads of q that share a head of k
    D: int
    D_PADDED: int
    CAUSAL: bool
    PRECISION: str
    DISTANCE: int  # the term's first column of the bias parameters, -1 = absent
    SQUARED: int
    DIRECTION: int
    PARAMETERS: int

    @property
    def KV_HEADS(self) -> int:
        return self.H // self.GROUP


class Tile(NamedTuple):
    """Rows of one side from ``first`` to at most ``end``, and their segment on the other side."""

    first: Any
    end: Any
    other_begin: Any
    other_end: Any


class Slopes(NamedTuple):
    """The gate of each query, and its gate times each bias parameter of a head."""

    gate: Any
    distance: Any
    squared: Any
    direction: Point


class Pairs(NamedTuple):
    """What a bias depends on: the way from query to key, its square and its length in metres."""

    difference: Point
    square: Any
    radius: Any
    inverse_radius: Any


@triton.jit
def locate_tile(
    tile,
    offsets,
    other_offsets,
    length,
    other_length,
    num_segments,
    BLOCK: tl.constexpr,
):
    """Return the :class:`Tile` of that number; one without rows begins at or past its end.

    Tile ``offsets[b] // BLOCK + b`` is the first of segment b, so that ``length // BLOCK + B``
    tiles always suffice and no host needs to know the lengths. Spare tiles begin at or past the
    end of their segment. Offsets are clamped to the length.
    """
    low = tile * 0
    high = tile * 0 + num_segments - 1
    begin = tile * 0
    end = tile * 0 + length
    other_begin = tile * 0
    other_end = tile * 0 + other_length
    if offsets is not None:
        while low < high:
            middle = (low + high + 1) // 2
            fits = tl.load(offsets + middle) // BLOCK + middle <= tile
            low = tl.where(fits, middle, low)
            high = tl.where(fits, high, middle - 1)
        begin = tl.minimum(tl.maximum(tl.load(offsets + low), 0), length)
        end = tl.minimum(tl.maximum(tl.load(offsets + low + 1), begin), length)
    if other_offsets is not None:
        other_begin = tl.minimum(tl.maximum(tl.load(other_offsets + low), 0), other_length)
        other_end = tl.load(other_offsets + low + 1)
        other_end = tl.minimum(tl.maximum(other_end, other_begin), other_length)
    first = begin + (tile - begin // BLOCK - low) * BLOCK
    return Tile(first, end, other_begin, other_end)


@triton.jit
def locate_queries(tokens, sizes, BLOCK: tl.constexpr):
    """Return this program's tile of queries; the other side is the keys."""
    return locate_tile(
        tl.program_id(0),
        tokens.q_offsets,
        tokens.k_offsets,
        sizes.num_queries,
        sizes.num_keys,
        sizes.num_segments,
        BLOCK,
    )


@triton.jit
def locate_keys(tokens, sizes, BLOCK: tl.constexpr):
    """Return this program's tile of keys; the other side is the queries."""
    return locate_tile(
        tl.program_id(0),
        tokens.k_offsets,
        tokens.q_offsets,
        sizes.num_keys,
        sizes.num_queries,
        sizes.num_segments,
        BLOCK,
    )


@triton.jit
def load_rows(base, rows, inside, head, HEADS: tl.constexpr, PROBLEM: tl.constexpr):
    """Load ``[rows, D_PADDED]`` of one head; rows that are not ``inside`` and padding are 0."""
    D: tl.constexpr = PROBLEM.D
    columns = tl.arange(0, PROBLEM.D_PADDED)
    pointers = base + head * D + rows.to(tl.int64)[:, None] * (HEADS * D) + columns[None, :]
    return tl.load(pointers, mask=inside[:, None] & (columns < D)[None, :], other=0.0)


@triton.jit
def store_rows(base, wide_rows, values, inside, PROBLEM: tl.constexpr):
    """Store ``[rows, D_PADDED]`` without its padding; ``wide_rows`` count rows of one head."""
    D: tl.constexpr = PROBLEM.D
    columns = tl.arange(0, PROBLEM.D_PADDED)
    pointers = base + wide_rows[:, None] * D + columns[None, :]
    mask = inside[:, None] & (columns < D)[None, :]
    tl.store(pointers, values.to(base.dtype.element_ty), mask=mask)


@triton.jit
def load_queries(
    tokens, sizes, rows, inside, head, center, AXIS: tl.constexpr, PROBLEM: tl.constexpr
):
    """Return where queries stand relative to ``center``, and their :class:`Slopes`.

    Slopes come with a unit axis ``AXIS``, ready to be broadcast over keys; without a gate they are
    scalars. Those of absent terms are 0.
    """
    base = tokens.q_position + head * sizes.q_position_head_stride
    point = load_centered(base, rows, inside, sizes.q_position_stride, center)
    gate = 1.0
    if tokens.q_gate is not None:
        pointers = tokens.q_gate + rows.to(tl.int64) * PROBLEM.H + head
        gate = tl.expand_dims(tl.load(pointers, mask=inside, other=0.0), AXIS)
    distance = 0.0
    squared = 0.0
    x = 0.0
    y = 0.0
    z = 0.0
    own = tokens.bias_parameters + head * PROBLEM.PARAMETERS
    if PROBLEM.DISTANCE >= 0:
        distance = gate * tl.load(own + PROBLEM.DISTANCE)
    if PROBLEM.SQUARED >= 0:
        squared = gate * tl.load(own + PROBLEM.SQUARED)
    if PROBLEM.DIRECTION >= 0:
        x = gate * tl.load(own + PROBLEM.DIRECTION)
        y = gate * tl.load(own + PROBLEM.DIRECTION + 1)
        z = gate * tl.load(own + PROBLEM.DIRECTION + 2)
    return point, Slopes(gate, distance, squared, Point(x, y, z))


@triton.jit
def score_products(rows, columns, scale, PRECISION: tl.constexpr):
    """Return the scaled products of two tiles in units of log 2."""
    return tl.dot(rows, tl.trans(columns), input_precision=PRECISION) * (scale * LOG2_E)


@triton.jit
def compare(q_point, k_point, eps, INVERSE: tl.constexpr, PROBLEM: tl.constexpr):
    """Return the :class:`Pairs` of points that broadcast against each other.

    ``INVERSE`` asks for ``1 / radius`` also, which a gradient needs.
    """
    difference = minus(k_point, q_point)
    square = inner(difference, difference)
    radius = square
    inverse_radius = square
    if PROBLEM.DISTANCE >= 0:
        if INVERSE:
            inverse_radius = tl.rsqrt(square + eps * eps)
            radius = (square + eps * eps) * inverse_radius
        else:
            radius = tl.sqrt(square + eps * eps)
    return Pairs(difference, square, radius, inverse_radius)


@triton.jit
def bias_of(pairs, slopes, GATED: tl.constexpr, PROBLEM: tl.constexpr):
    """Return the bias of each pair in units of log 2, exactly 0 in rows whose gate is 0."""
    bias = tl.zeros_like(pairs.square)
    if PROBLEM.DISTANCE >= 0:
        bias -= (slopes.distance * LOG2_E) * pairs.radius
    if PROBLEM.SQUARED >= 0:
        bias -= (slopes.squared * LOG2_E) * pairs.square
    if PROBLEM.DIRECTION >= 0:
        way = pairs.difference
        x = (slopes.direction.x * LOG2_E) * way.x
        y = (slopes.direction.y * LOG2_E) * way.y
        z = (slopes.direction.z * LOG2_E) * way.z
        bias += x + y + z
    if GATED:
        bias = tl.where(slopes.gate == 0.0, 0.0, bias)
    return bias


@triton.jit
def radial_slope(pairs, slopes, PROBLEM: tl.constexpr):
    """Return ``radial`` of the bias's derivative, ``radial * difference + direction``."""
    radial = tl.zeros_like(pairs.square)
    if PROBLEM.DISTANCE >= 0:
        radial -= slopes.distance * pairs.inverse_radius
    if PROBLEM.SQUARED >= 0:
        radial -= 2.0 * slopes.squared
    return radial


@triton.jit
def end_of_visible_keys(tile, BLOCK: tl.constexpr, CAUSAL: tl.constexpr):
    """Return where the keys end that any query of a tile sees."""
    end = tile.other_end
    if CAUSAL:
        end = tile.other_end - tile.end + tl.minimum(tile.first + BLOCK, tile.end)
    return end


@triton.jit
def hide_keys(score, tile, rows, keys, present, CAUSAL: tl.constexpr):
    """Return scores ``[queries, keys]``, -inf where a query does not see a key."""
    visible = present[None, :]
    if CAUSAL:
        visible &= keys[None, :] - tile.other_end <= rows[:, None] - tile.end
    return tl.where(visible, score, -float("inf"))
