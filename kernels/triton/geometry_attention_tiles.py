"""Pieces that the forward and backward Triton kernels of ``geometry_attention`` share.

Scores are kept in units of log 2, so that ``exp2`` needs no factor. Positions count from a key of
the segment, subtracted in float32 before anything is multiplied: a scene far from the origin loses
no digits.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


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
    """Return the first row, the segment's end, and the segment's bounds on the other side.

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
    return first, end, other_begin, other_end


@triton.jit
def load_rows(base, rows, columns, inside, STRIDE: tl.constexpr, D: tl.constexpr):
    """Load ``[rows, columns]`` of a matrix; rows that are not ``inside`` and padding are 0."""
    pointers = base + rows.to(tl.int64)[:, None] * STRIDE + columns[None, :]
    return tl.load(pointers, mask=inside[:, None] & (columns < D)[None, :], other=0.0)


@triton.jit
def load_points(base, rows, inside, stride):
    """Load the three coordinates of each row, 0 where it is not ``inside``."""
    pointers = base + rows.to(tl.int64) * stride
    x = tl.load(pointers, mask=inside, other=0.0)
    y = tl.load(pointers + 1, mask=inside, other=0.0)
    z = tl.load(pointers + 2, mask=inside, other=0.0)
    return x, y, z


@triton.jit
def load_centered(base, rows, inside, stride, center_x, center_y, center_z):
    """Load coordinates relative to a center of the segment."""
    x, y, z = load_points(base, rows, inside, stride)
    return x - center_x, y - center_y, z - center_z


@triton.jit
def load_slopes(
    parameters,
    gate_base,
    rows,
    inside,
    head,
    AXIS: tl.constexpr,
    H: tl.constexpr,
    PARAMETERS: tl.constexpr,
    DISTANCE: tl.constexpr,
    SQUARED: tl.constexpr,
    DIRECTION: tl.constexpr,
):
    """Return the gate of each query, and its gate times each bias parameter of the head.

    They come with a unit axis ``AXIS``, ready to be broadcast over keys; without a gate they are
    scalars. Parameters of absent terms are 0.
    """
    gate = 1.0
    if gate_base is not None:
        gate = tl.load(gate_base + rows.to(tl.int64) * H + head, mask=inside, other=0.0)
        gate = tl.expand_dims(gate, AXIS)
    distance = 0.0
    squared = 0.0
    x = 0.0
    y = 0.0
    z = 0.0
    own = parameters + head * PARAMETERS
    if DISTANCE >= 0:
        distance = gate * tl.load(own + DISTANCE)
    if SQUARED >= 0:
        squared = gate * tl.load(own + SQUARED)
    if DIRECTION >= 0:
        x = gate * tl.load(own + DIRECTION)
        y = gate * tl.load(own + DIRECTION + 1)
        z = gate * tl.load(own + DIRECTION + 2)
    return gate, distance, squared, x, y, z


@triton.jit
def bias_of(
    dx,
    dy,
    dz,
    square,
    radius,
    gate,
    distance,
    squared,
    x,
    y,
    z,
    GATED: tl.constexpr,
    DISTANCE: tl.constexpr,
    SQUARED: tl.constexpr,
    DIRECTION: tl.constexpr,
):
    """Return the bias of each pair in units of log 2, exactly 0 in rows whose gate is 0."""
    bias = tl.zeros_like(square)
    if DISTANCE >= 0:
        bias -= (distance * LOG2_E) * radius
    if SQUARED >= 0:
        bias -= (squared * LOG2_E) * square
    if DIRECTION >= 0:
        bias += (x * LOG2_E) * dx + (y * LOG2_E) * dy + (z * LOG2_E) * dz
    if GATED:
        bias = tl.where(gate == 0.0, 0.0, bias)
    return bias
