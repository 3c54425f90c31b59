"""Bounds of scores over tiles of queries and keys, for skipping in ``geometry_attention``.

**What may be skipped.** Let row i attend to n keys with scores ``s_ij`` and ``lse_i``. For a tile I
of queries and a tile J of keys let ``upper >= s_ij`` for all of their pairs, and ``floor <= lse_i``
for all rows of I. Where ``upper < floor + ln(eps / n)``, every pair of the two tiles has the
probability ``exp(s_ij - lse_i) < eps / n``. A row has n keys, so all that it skips sums to less
than eps, however many tiles that is, and in any order. What is kept is divided by its own sum, at
least ``1 - eps``: the output moves by at most ``2 eps`` of the largest value. (The same union bound
prunes the one-dimensional decays of Lin et al., Adaptive Computation Pruning, 2025.)

**Upper.** ``|scale| max|q_i| max|k_j|`` bounds the products by Cauchy and Schwarz. With the boxes
of both tiles the length of a difference lies between that of their gap and that of their span, and
a direction is linear, so that it is largest at a corner. With a gate g in front, the bias is linear
in g times its slopes, directions and weights, of which a tile keeps the least and the greatest:
rows with gate 0 count as zeros, wherever they stand. A slope below 0 takes the span for the gap.
Powers of a Gaussian and radial Gaussians are between 0 and 1 while their precision is at least 0:
their positive weights bound them. Tables are bounded by their largest entries, and
``normal . k_normal`` by both lengths.

**Floor.** Forward: the lse over the keys of one or two tiles near the queries, whose scores are
computed as the attention computes them; fewer keys give less. Backward: the lse that the forward
pass saved. So lse and probabilities are those of the scores as rounded by the kernels.

**Rounding** goes outwards. Boxes hold the coordinates themselves. Squares that tensor cores make of
channels err by less than ``2^-17 (|q|^2 + |k|^2)``, counted from the center of the frame: 16 terms
of at most 22 bits. Those of float32 err by less than ``2^-20 (|q| + |k|) |k - q|``. Products, whose
sums are float32, err by less than 2^-10 of the product of norms; all that adds up afterwards by
less than 1e-5 of itself. What is not finite makes a bound infinite or not a number, and the
comparison false: the tile is kept.

**eps = 0** skips only what changes no bit (but the sign of a zero), where values and gradients are
finite. Forward: tiles after the near ones, with scores 152 powers of two below what is then the
highest of every row. Such a tile leaves the highest as it is, so that sums are multiplied by
``exp2(0) = 1``; its probabilities underflow to 0, and 0 is added. Tiles before the near ones are
kept: what they add is wiped out later, but by way of roundings that it may have touched. Backward:
scores 152 powers of two below the lse, whose probabilities are 0 likewise, and with them all that
they are multiplied with.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Frame,
    Point,
    inner,
    is_finite,
    load_points,
    zero_points,
)
from g2vlm_fast.kernels.triton.geometry_attention_tables import extremes_of
from g2vlm_fast.kernels.triton.geometry_attention_terms import load_parameters
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Program

LARGEST = tl.constexpr(3.0e38)


class KeyBounds(NamedTuple):
    """What tiles of keys of one head are bounded by."""

    low: Point  # metres
    high: Point
    excess: Any  # 0, inf where something is not finite, -inf where nobody sees a key
    normal: Any  # largest length
    norm: Any  # of k, largest


class QueryBounds(NamedTuple):
    """What tiles of queries of one head are bounded by; gates are multiplied in."""

    low: Point  # metres
    high: Point
    excess: Any  # 0, or inf where something is not finite
    norm: Any  # of q, largest
    floor: Any  # of the lse, least
    slope: Any  # of the distance, least
    square_slope: Any
    rest: Any  # greatest sum of positive weights
    normal: Any  # largest length
    direction_low: Point
    direction_high: Point


@triton.jit
def box_of(point, counted):
    """Return the least and greatest coordinates of the points that count, inf and -inf of none."""
    inf = float("inf")
    low = Point(
        tl.min(tl.where(counted, point.x, inf), 0),
        tl.min(tl.where(counted, point.y, inf), 0),
        tl.min(tl.where(counted, point.z, inf), 0),
    )
    high = Point(
        tl.max(tl.where(counted, point.x, -inf), 0),
        tl.max(tl.where(counted, point.y, -inf), 0),
        tl.max(tl.where(counted, point.z, -inf), 0),
    )
    return low, high


@triton.jit
def all_finite(point):
    return is_finite(point.x) & is_finite(point.y) & is_finite(point.z)


@triton.jit
def any_of(condition):
    return tl.max(condition.to(tl.int32), 0) != 0


@triton.jit
def largest_norm(rows):
    """Return the largest length of ``[rows, D_PADDED]``, inf where a number is not finite."""
    wide = rows.to(tl.float32)
    square = tl.sum(wide * wide, 1)
    return tl.sqrt(tl.max(tl.where(is_finite(square), square, float("inf")), 0))


@triton.jit
def gated(parameters, COLUMN: tl.constexpr, BLOCK: tl.constexpr, PROBLEM: tl.constexpr):
    """Return the gate times a parameter of each row, exactly 0 where the gate is."""
    gate = parameters.gate
    value = parameters.columns[COLUMN]
    if PROBLEM.OWN:
        value = tl.sum(value, 1)
    if PROBLEM.GATED:
        gate = tl.sum(gate, 1)
        value = tl.where(gate == 0.0, 0.0, gate * value)
    return tl.zeros([BLOCK], tl.float32) + value


@triton.jit
def positive_weights(
    parameters,
    FIRST: tl.constexpr,
    COUNT: tl.constexpr,
    PRECISION: tl.constexpr,
    PRECISIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    PROBLEM: tl.constexpr,
):
    """Return the sum of positive weights of Gaussians, inf where one has a negative precision."""
    inf = float("inf")
    total = tl.zeros([BLOCK], tl.float32)
    for m in tl.static_range(COUNT):
        weight = gated(parameters, FIRST + m, BLOCK, PROBLEM)
        # NaN fails the comparison and is added.
        total += tl.where(weight <= 0.0, 0.0, weight)
        weight = tl.where(is_finite(weight), 0.0, inf)
        total += weight
    for m in tl.static_range(PRECISIONS):
        precision = parameters.columns[PRECISION + m]
        if PROBLEM.OWN:
            precision = tl.sum(precision, 1)
        wrong = tl.where(is_finite(precision) & (precision >= 0.0), 0.0, inf)
        if PROBLEM.GATED:
            wrong = tl.where(tl.sum(parameters.gate, 1) == 0.0, 0.0, wrong)
        total += wrong
    return tl.where(total >= 0.0, total, inf)


@triton.jit
def largest_of_table(
    parameters, FIRST: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr, PROBLEM: tl.constexpr
):
    """Return the most that a table adds to each row, gate included, and at least 0."""
    low, high = extremes_of(parameters.tables, FIRST, COUNT)
    most = tl.zeros([BLOCK], tl.float32) + high
    if PROBLEM.GATED:
        gate = tl.sum(parameters.gate, 1)
        most = tl.where(gate == 0.0, 0.0, tl.maximum(gate * low, gate * high))
    return tl.where(most <= 0.0, 0.0, most)


@triton.jit
def bounds_of_queries(
    program, rows, inside, q_tile, floor, BLOCK: tl.constexpr, PROBLEM: tl.constexpr
):
    """Return the :class:`QueryBounds` of the tile of a program, with parameters in metres."""
    tokens = program.tokens
    HEADS: tl.constexpr = PROBLEM.POSITION_HEADS
    inf = float("inf")
    metres = Frame(zero_points(BLOCK), 1.0, 1.0)
    at = Program(tokens, program.channels, program.sizes, program.tile, program.head, metres)
    parameters = load_parameters(at, rows, inside, 1, PROBLEM)
    member = program.head if HEADS > 1 else 0
    point = load_points(tokens.q_position + member * 3, rows, inside, HEADS * 3)
    placed = inside
    wrong = tl.zeros([BLOCK], tl.int1)
    if PROBLEM.GATED:
        gate = tl.sum(parameters.gate, 1)
        placed = inside & (gate != 0.0)
        wrong = ~is_finite(gate)
    wrong = wrong | (placed & ~all_finite(point))
    low, high = box_of(point, placed)
    slope = tl.zeros([BLOCK], tl.float32)
    square_slope = slope
    rest = slope
    normal = slope
    direction = zero_points(BLOCK)
    if PROBLEM.DISTANCE >= 0:
        slope = gated(parameters, PROBLEM.DISTANCE, BLOCK, PROBLEM)
        wrong = wrong | ~is_finite(slope)
    if PROBLEM.SQUARED >= 0:
        square_slope = gated(parameters, PROBLEM.SQUARED, BLOCK, PROBLEM)
        wrong = wrong | ~is_finite(square_slope)
    if PROBLEM.DIRECTION >= 0:
        direction = gated_vector(parameters, PROBLEM.DIRECTION, BLOCK, PROBLEM)
        wrong = wrong | ~all_finite(direction)
    if PROBLEM.NORMAL >= 0:
        vector = gated_vector(parameters, PROBLEM.NORMAL, BLOCK, PROBLEM)
        normal = tl.sqrt(inner(vector, vector))
        wrong = wrong | ~is_finite(normal)
    if PROBLEM.POWERS >= 0:
        POWERS: tl.constexpr = PROBLEM.POWERS
        rest += positive_weights(
            parameters, POWERS + 1, PROBLEM.POWER_COUNT, POWERS, 1, BLOCK, PROBLEM
        )
    if PROBLEM.BASIS >= 0:
        BASIS: tl.constexpr = PROBLEM.BASIS
        COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
        rest += positive_weights(parameters, BASIS, COUNT, BASIS + 2 * COUNT, COUNT, BLOCK, PROBLEM)
    if PROBLEM.RADIAL_TABLE >= 0:
        rest += largest_of_table(parameters, PROBLEM.RADIAL_TABLE, PROBLEM.KNOTS, BLOCK, PROBLEM)
    if PROBLEM.AXIS_TABLE >= 0:
        SIZE: tl.constexpr = PROBLEM.STEPS
        for axis in tl.static_range(3):
            first = PROBLEM.AXIS_TABLE + axis * SIZE
            rest += largest_of_table(parameters, first, SIZE, BLOCK, PROBLEM)
    direction_low, direction_high = box_of(direction, inside)
    return QueryBounds(
        low,
        high,
        tl.where(any_of(inside & wrong), inf, 0.0),
        largest_norm(q_tile),
        floor,
        tl.min(tl.where(inside, slope, inf), 0),
        tl.min(tl.where(inside, square_slope, inf), 0),
        tl.max(tl.where(inside, rest, 0.0), 0),
        tl.max(tl.where(inside, normal, 0.0), 0),
        direction_low,
        direction_high,
    )


@triton.jit
def gated_vector(parameters, FIRST: tl.constexpr, BLOCK: tl.constexpr, PROBLEM: tl.constexpr):
    x = gated(parameters, FIRST, BLOCK, PROBLEM)
    y = gated(parameters, FIRST + 1, BLOCK, PROBLEM)
    z = gated(parameters, FIRST + 2, BLOCK, PROBLEM)
    return Point(x, y, z)


@triton.jit
def reach_of(low, high, center):
    """Return the square of the largest distance of a box from a center."""
    x = tl.maximum(tl.abs(low.x - center.x), tl.abs(high.x - center.x))
    y = tl.maximum(tl.abs(low.y - center.y), tl.abs(high.y - center.y))
    z = tl.maximum(tl.abs(low.z - center.z), tl.abs(high.z - center.z))
    return x * x + y * y + z * z


@triton.jit
def gap_of(low, high, other_low, other_high):
    return tl.maximum(tl.maximum(other_low - high, low - other_high), 0.0)


@triton.jit
def span_of(low, high, other_low, other_high):
    return tl.maximum(other_high - low, high - other_low)


@triton.jit
def largest_product(low, high, q_low, q_high, k_low, k_high, error):
    """Return the largest product of a weight and of a difference between two intervals."""
    least = k_low - q_high - error
    most = k_high - q_low + error
    return tl.maximum(
        tl.maximum(low * least, low * most, propagate_nan=tl.PropagateNan.ALL),
        tl.maximum(high * least, high * most, propagate_nan=tl.PropagateNan.ALL),
        propagate_nan=tl.PropagateNan.ALL,
    )


@triton.jit
def upper_bound(q, k, program, PROBLEM: tl.constexpr):
    """Return the most that a score of the tiles can be, ``q`` and ``k`` broadcast; or NaN."""
    gap_x = gap_of(q.low.x, q.high.x, k.low.x, k.high.x)
    gap_y = gap_of(q.low.y, q.high.y, k.low.y, k.high.y)
    gap_z = gap_of(q.low.z, q.high.z, k.low.z, k.high.z)
    span_x = span_of(q.low.x, q.high.x, k.low.x, k.high.x)
    span_y = span_of(q.low.y, q.high.y, k.low.y, k.high.y)
    span_z = span_of(q.low.z, q.high.z, k.low.z, k.high.z)
    nearest = gap_x * gap_x + gap_y * gap_y + gap_z * gap_z
    farthest = span_x * span_x + span_y * span_y + span_z * span_z
    q_reach = reach_of(q.low, q.high, program.frame.center)
    k_reach = reach_of(k.low, k.high, program.frame.center)
    reach = tl.sqrt(q_reach) + tl.sqrt(k_reach)
    if PROBLEM.CHANNELS:
        error = (q_reach + k_reach) * (2.0**-17)
        far_error = error
    else:
        part = reach * (2.0**-20)
        error = part * (tl.sqrt(nearest) + part)
        far_error = part * (tl.sqrt(farthest) + part)
    # An overflow of the gap must not lower the bound: what is left is finite.
    nearest = tl.maximum(tl.minimum(nearest, LARGEST) * (1.0 - 2.0**-16) - error, 0.0)
    farthest = farthest * (1.0 + 2.0**-16) + far_error
    products = tl.abs(program.sizes.scale) * q.norm * k.norm * (1.0 + 2.0**-10)
    upper = products + q.excess + k.excess + q.rest * (1.0 + 2.0**-10)
    if PROBLEM.DISTANCE >= 0:
        soft = program.sizes.eps * program.sizes.eps
        near = tl.sqrt(nearest + soft) * (1.0 - 2.0**-16)
        far = tl.sqrt(farthest + soft) * (1.0 + 2.0**-16)
        upper -= q.slope * tl.where(q.slope >= 0.0, near, far)
    if PROBLEM.SQUARED >= 0:
        upper -= q.square_slope * tl.where(q.square_slope >= 0.0, nearest, farthest)
    if PROBLEM.NORMAL >= 0:
        upper += q.normal * k.normal * (1.0 + 2.0**-10)
    if PROBLEM.DIRECTION >= 0:
        low = q.direction_low
        high = q.direction_high
        error = reach * (2.0**-20)
        along = largest_product(low.x, high.x, q.low.x, q.high.x, k.low.x, k.high.x, error)
        along += largest_product(low.y, high.y, q.low.y, q.high.y, k.low.y, k.high.y, error)
        along += largest_product(low.z, high.z, q.low.z, q.high.z, k.low.z, k.high.z, error)
        upper += along + tl.abs(along) * (2.0**-10)
    return upper


@triton.jit
def are_kept(q, k, share, program, PROBLEM: tl.constexpr):
    """Return whether a row may give a key of the tiles more than a share, in natural logarithms."""
    upper = upper_bound(q, k, program, PROBLEM)
    doubt = (tl.abs(upper) + tl.abs(q.floor)) * 1e-5 + 1e-3
    skipped = upper + doubt < q.floor + share
    return ~skipped & (k.excess > -float("inf"))
