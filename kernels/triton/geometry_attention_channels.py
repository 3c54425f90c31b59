"""Triton kernels that turn positions into operands of tensor cores, for ``geometry_attention``.

``|k - q|^2 = |q|^2 + |k|^2 - 2 q . k`` is one product with 16 channels a point. A coordinate is a
float16 and what that leaves, another float16, so that a product of two keeps 22 bits. Coordinates
count from the median key of their segment, because those bits are relative to the distance from
there: an outlier costs no other point any. Their unit is a power of two of a metre in which none
reaches 2^13, and their squares are scaled down to fit float16 too.

The gradient of a position is ``sum w (k - q) = sum w k - q sum w`` over a tile of pairs, which is a
product as well: with coordinates in three bfloat16 each, and a column of ones, so that both sums
round the weights alike. Squares of the points in three more make it give ``sum w |k - q|^2`` too.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Frame,
    Point,
    finite_or_zero,
    inner,
    is_finite,
    load_framed,
    load_points,
    minus,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    locate_keys,
    locate_queries,
    segment_bounds,
    visible_keys,
)

CHANNELS = 16
FRAME_SIZE = 5
EXPONENT = tl.constexpr(13)


class Channels(NamedTuple):
    """Positions as operands; the moments are for gradients, and None without."""

    q: Any  # [Lq * position heads, 16] float16
    k: Any  # [Lk, 16] float16
    q_moment: Any  # as q, in bfloat16
    k_moment: Any  # as k, in bfloat16
    frames: Any  # [segments, 5] float32: center in metres, units a metre, metres a unit


@triton.jit
def load_frame(tokens, channels, segment, k_begin, k_end, PROBLEM: tl.constexpr):
    """Return the :class:`Frame` of a segment: metres from some key where no channels are."""
    if PROBLEM.CHANNELS:
        base = channels.frames + segment.to(tl.int64) * 5
        x = tl.load(base)
        y = tl.load(base + 1)
        z = tl.load(base + 2)
        return Frame(Point(x, y, z), tl.load(base + 3), tl.load(base + 4))
    else:
        seen = visible_keys(tokens, k_begin, k_end)
        center = load_points(tokens.k_position, k_begin, seen, 3)
        return Frame(finite_or_zero(center), 1.0, 1.0)


@triton.jit
def median(tokens, axis, begin, end, SAMPLE: tl.constexpr):
    """Return the median coordinate of keys that are seen, of ``SAMPLE`` evenly spaced; or 0."""
    numbers = tl.arange(0, SAMPLE)
    rows = begin + numbers.to(tl.int64) * (end - begin) // SAMPLE
    seen = visible_keys(tokens, rows, end)
    values = tl.load(tokens.k_position + rows * 3 + axis, mask=seen, other=float("inf"))
    values = tl.where(is_finite(values), values, float("inf"))
    middle = tl.sum(is_finite(values).to(tl.int32), 0) // 2
    values = tl.where(numbers == middle, tl.sort(values), 0.0)
    return tl.sum(tl.where(is_finite(values), values, 0.0), 0)


@triton.jit
def farther(largest, base, rows, inside, center):
    """Return the larger of what was found and the largest finite coordinate from a center."""
    point = finite_or_zero(minus(load_points(base, rows, inside, 3), center))
    reach = tl.maximum(tl.maximum(tl.abs(point.x), tl.abs(point.y)), tl.abs(point.z))
    return tl.maximum(largest, tl.where(inside, reach, 0.0))


@triton.jit
def frame_kernel(
    tokens, frames, sizes, PROBLEM: tl.constexpr, SAMPLE: tl.constexpr, BLOCK: tl.constexpr
):
    """Write the :class:`Frame` of one segment."""
    HEADS: tl.constexpr = PROBLEM.POSITION_HEADS
    segment = tl.program_id(0)
    begin, end = segment_bounds(tokens.k_offsets, segment, sizes.num_keys)
    q_begin, q_end = segment_bounds(tokens.q_offsets, segment, sizes.num_queries)
    x = median(tokens, 0, begin, end, SAMPLE)
    y = median(tokens, 1, begin, end, SAMPLE)
    z = median(tokens, 2, begin, end, SAMPLE)
    center = Point(x, y, z)
    largest = tl.zeros([BLOCK], tl.float32)
    for start in range(begin, end, BLOCK):
        keys = start + tl.arange(0, BLOCK)
        seen = visible_keys(tokens, keys, end)
        largest = farther(largest, tokens.k_position, keys, seen, center)
    for start in range(q_begin * HEADS, q_end * HEADS, BLOCK):
        rows = start + tl.arange(0, BLOCK)
        largest = farther(largest, tokens.q_position, rows, rows < q_end * HEADS, center)
    reach = tl.maximum(tl.max(largest, 0), sizes.eps)
    reach = tl.minimum(tl.maximum(reach, 1e-30), 1e30)
    # From the bits of the exponent: the next power of two and its inverse are exact.
    exponent = (reach.to(tl.int32, bitcast=True) >> 23) + 1 - EXPONENT
    base = frames + segment.to(tl.int64) * 5
    tl.store(base, x)
    tl.store(base + 1, y)
    tl.store(base + 2, z)
    tl.store(base + 3, ((254 - exponent) << 23).to(tl.float32, bitcast=True))
    tl.store(base + 4, (exponent << 23).to(tl.float32, bitcast=True))


@triton.jit
def channel_kernel(tokens, channels, sizes, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Write the channels of a tile of keys, or of the queries of one position head."""
    HEADS: tl.constexpr = PROBLEM.POSITION_HEADS
    member = tl.program_id(1)
    if member == HEADS:
        tile = locate_keys(tokens, sizes, BLOCK)
        keys = tile.first + tl.arange(0, BLOCK)
        inside = keys < tile.end
        frame = load_frame(tokens, channels, tile.segment, 0, 0, PROBLEM)
        visible = visible_keys(tokens, keys, tile.end)
        point = load_framed(tokens.k_position, keys, visible, 3, frame)
        wide = keys.to(tl.int64) * 16
        high, low = split(point)
        norm = square_of(high, low)
        pointers = channels.k + wide
        store_point(pointers, 0, high, 1.0, inside)
        store_point(pointers, 3, high, 1.0, inside)
        store_point(pointers, 6, low, 1.0, inside)
        store_point(pointers, 9, low, 1.0, inside)
        store_square(pointers, 14, 12, norm, inside)
        if channels.k_moment is not None:
            store_moments(channels.k_moment + wide, point, inside)
    else:
        tile = locate_queries(tokens, sizes, BLOCK)
        rows = tile.first + tl.arange(0, BLOCK)
        inside = rows < tile.end
        frame = load_frame(tokens, channels, tile.segment, 0, 0, PROBLEM)
        point = load_framed(tokens.q_position + member * 3, rows, inside, HEADS * 3, frame)
        wide = (rows.to(tl.int64) * HEADS + member) * 16
        eps = sizes.eps * frame.units
        high, low = split(point)
        norm = square_of(high, low) + eps * eps
        pointers = channels.q + wide
        store_point(pointers, 0, high, -2.0, inside)
        store_point(pointers, 3, low, -2.0, inside)
        store_point(pointers, 6, high, -2.0, inside)
        store_point(pointers, 9, low, -2.0, inside)
        store_square(pointers, 12, 14, norm, inside)
        if channels.q_moment is not None:
            store_moments(channels.q_moment + wide, point, inside)


@triton.jit
def split(point):
    """Return coordinates as float16, and what that leaves of them."""
    x = point.x.to(tl.float16).to(tl.float32)
    y = point.y.to(tl.float16).to(tl.float32)
    z = point.z.to(tl.float16).to(tl.float32)
    high = Point(x, y, z)
    return high, minus(point, high)


@triton.jit
def square_of(high, low):
    """Return the square of a point as its channels hold it."""
    x = high.x + low.x.to(tl.float16).to(tl.float32)
    y = high.y + low.y.to(tl.float16).to(tl.float32)
    z = high.z + low.z.to(tl.float16).to(tl.float32)
    point = Point(x, y, z)
    return inner(point, point)


@triton.jit
def store_point(pointers, COLUMN: tl.constexpr, point, factor, inside):
    tl.store(pointers + COLUMN, (point.x * factor).to(tl.float16), mask=inside)
    tl.store(pointers + COLUMN + 1, (point.y * factor).to(tl.float16), mask=inside)
    tl.store(pointers + COLUMN + 2, (point.z * factor).to(tl.float16), mask=inside)


@triton.jit
def store_square(pointers, COLUMN: tl.constexpr, UNIT_COLUMN: tl.constexpr, square, inside):
    """Store a square in two columns, and in two others what the other side's count for.

    The second part has a finer unit, so that points much nearer than the farthest keep theirs.
    """
    coarse: tl.constexpr = 2.0**13
    fine: tl.constexpr = 2.0**2
    high = (square * (1.0 / coarse)).to(tl.float16)
    low = ((square - high.to(tl.float32) * coarse) * (1.0 / fine)).to(tl.float16)
    tl.store(pointers + COLUMN, high, mask=inside)
    tl.store(pointers + COLUMN + 1, low, mask=inside)
    tl.store(pointers + UNIT_COLUMN, tl.full(square.shape, coarse, tl.float16), mask=inside)
    tl.store(pointers + UNIT_COLUMN + 1, tl.full(square.shape, fine, tl.float16), mask=inside)


@triton.jit
def store_moments(pointers, point, inside):
    """Store what sums over points are made of; a point that stands nowhere adds nothing."""
    point = finite_or_zero(point)
    rest = point
    square = inner(point, point)
    for part in tl.static_range(3):
        x = rest.x.to(tl.bfloat16)
        y = rest.y.to(tl.bfloat16)
        z = rest.z.to(tl.bfloat16)
        high = square.to(tl.bfloat16)
        tl.store(pointers + 3 * part, x, mask=inside)
        tl.store(pointers + 3 * part + 1, y, mask=inside)
        tl.store(pointers + 3 * part + 2, z, mask=inside)
        tl.store(pointers + 9 + part, high, mask=inside)
        rest = minus(rest, Point(x.to(tl.float32), y.to(tl.float32), z.to(tl.float32)))
        square -= high.to(tl.float32)
    zero = tl.zeros_like(square)
    tl.store(pointers + 12, (zero + 1.0).to(tl.bfloat16), mask=inside)
    for column in tl.static_range(13, 16):
        tl.store(pointers + column, zero.to(tl.bfloat16), mask=inside)


@triton.jit
def add_moments(moments, weight, channels, PROBLEM: tl.constexpr):
    """Add weights times channels of moments, in bfloat16; in float16 also the weights' rest.

    Bfloat16 rounds a weight to 8 bits, which is all the error that float16 allows a gradient.
    """
    coarse = weight.to(tl.bfloat16)
    moments = tl.dot(coarse, channels, moments)
    if PROBLEM.DTYPE == "fp16":
        moments = tl.dot((weight - coarse.to(tl.float32)).to(tl.bfloat16), channels, moments)
    return moments


@triton.jit
def sums_of(moments):
    """Return ``sum w point``, ``sum w`` and ``sum w |point|^2``, the product with moments."""
    columns = tl.arange(0, 16)[None, :]
    x = tl.sum(tl.where((columns < 9) & (columns % 3 == 0), moments, 0.0), 1)
    y = tl.sum(tl.where((columns < 9) & (columns % 3 == 1), moments, 0.0), 1)
    z = tl.sum(tl.where((columns < 9) & (columns % 3 == 2), moments, 0.0), 1)
    square = tl.sum(tl.where((columns >= 9) & (columns < 12), moments, 0.0), 1)
    return Point(x, y, z), tl.sum(tl.where(columns == 12, moments, 0.0), 1), square
