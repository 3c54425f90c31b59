"""The terms of a geometric bias inside the Triton kernels: places, parameters and values.

With ``s`` the square of the difference and ``r`` its length softened by eps, a bias is the sum of
the terms that a :class:`~g2vlm_fast.kernels.triton.geometry_attention_tiles.Problem` has of

    - a r - b s + c . difference + d . normal
    + sum_m w_m exp(-p s)^m + sum_m v_m exp(-p_m (r - r_m)^2)
    + table(r) + table_x(x steps) + table_y(y steps) + table_z(z steps)

Lengths are in the unit of a :class:`Frame`: parameters are converted on loading, and their
derivatives back on storing.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    inner,
    load_framed,
    load_points,
    load_where,
    minus,
    spread,
)
from g2vlm_fast.kernels.triton.geometry_attention_tables import (
    find_knots,
    find_steps,
    tables_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import LOG2_E


class Parameters(NamedTuple):
    """The gates of rows and the bias parameters of each row, or of its head."""

    gate: Any
    columns: Any  # a tuple of PARAMETERS
    tables: Any  # where they begin


class Places(NamedTuple):
    """Where rows of one side stand and face; a kernel never loads what no term uses."""

    point: Point
    channels: Any
    normal: Point


class Pairs(NamedTuple):
    """What the biases of a tile of pairs depend on."""

    difference: Point  # from query to key
    square: Any
    radius: Any
    inverse_radius: Any
    gaussian: Any  # the first of the powers
    waves: Any  # a tuple: the Gaussians of the radial basis
    normal: Point  # of the key
    knots: Any
    steps: Any


@triton.jit
def unit_of(COLUMN: tl.constexpr, frame, PROBLEM: tl.constexpr):
    """Return what turns a parameter from metres to the unit of the frame."""
    DIRECTION: tl.constexpr = PROBLEM.DIRECTION
    BASIS: tl.constexpr = PROBLEM.BASIS
    COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
    unit = 1.0
    if COLUMN == PROBLEM.DISTANCE:
        unit = frame.metres
    elif COLUMN == PROBLEM.SQUARED or COLUMN == PROBLEM.POWERS:
        unit = frame.metres * frame.metres
    elif DIRECTION >= 0 and COLUMN >= DIRECTION and COLUMN < DIRECTION + 3:
        unit = frame.metres
    elif BASIS >= 0 and COLUMN >= BASIS + COUNT and COLUMN < BASIS + 3 * COUNT:
        unit = frame.units if COLUMN < BASIS + 2 * COUNT else frame.metres * frame.metres
    return unit


@triton.jit
def load_parameters(program, rows, inside, AXIS: tl.constexpr, PROBLEM: tl.constexpr):
    """Load :class:`Parameters`, with a unit axis ``AXIS`` where each row has its own.

    In a grouped problem, the program's head is a block of one for each row.
    """
    tokens = program.tokens
    head = program.head
    H: tl.constexpr = PROBLEM.H
    PARAMETERS: tl.constexpr = PROBLEM.PARAMETERS
    gate = 1.0
    wide_rows = rows.to(tl.int64) * H + head
    if tokens.q_gate is not None:
        gate = load_where(tokens.q_gate + wide_rows, inside, 0.0)
        gate = tl.expand_dims(gate, AXIS)
    columns = ()
    for column in tl.static_range(PARAMETERS):
        if PROBLEM.OWN:
            pointers = tokens.bias_parameters + wide_rows * PARAMETERS + column
            value = tl.expand_dims(load_where(pointers, inside, 0.0), AXIS)
        elif PROBLEM.GROUPED:
            pointers = tokens.bias_parameters + head * PARAMETERS + column
            value = tl.expand_dims(tl.load(pointers), AXIS)
        else:
            value = tl.load(tokens.bias_parameters + head * PARAMETERS + column)
        columns = columns + (value * unit_of(column, program.frame, PROBLEM),)
    tables = 0
    if PROBLEM.TABLE_COLUMNS > 0:
        tables = tables_of(program, AXIS, PROBLEM)
    return Parameters(gate, columns, tables)


@triton.jit
def load_channels(channels, start, inside, head, HEADS: tl.constexpr, BLOCK: tl.constexpr):
    """Load ``[BLOCK, 16]`` channels of points."""
    tile = channels + (tl.full([], start, tl.int64) * HEADS + head) * 16
    pointers = tile + tl.arange(0, BLOCK)[:, None] * (HEADS * 16) + tl.arange(0, 16)[None, :]
    if inside is not None:
        inside = inside[:, None]
    return load_where(pointers, inside, 0.0)


@triton.jit
def load_query_places(program, start, rows, inside, BLOCK: tl.constexpr, PROBLEM: tl.constexpr):
    """Load the :class:`Places` of queries, whose normals are in their parameters."""
    HEADS: tl.constexpr = PROBLEM.POSITION_HEADS
    member = program.head if HEADS > 1 else 0
    base = program.tokens.q_position + member * 3
    point = load_framed(base, rows, inside, HEADS * 3, program.frame)
    operand = 0.0
    if PROBLEM.CHANNELS:
        operand = load_channels(program.channels.q, start, inside, member, HEADS, BLOCK)
    return Places(point, operand, point)


@triton.jit
def load_key_places(program, start, keys, inside, BLOCK: tl.constexpr, PROBLEM: tl.constexpr):
    """Load the :class:`Places` of keys."""
    tokens = program.tokens
    point = load_framed(tokens.k_position, keys, inside, 3, program.frame)
    operand = 0.0
    if PROBLEM.CHANNELS:
        operand = load_channels(program.channels.k, start, inside, 0, 1, BLOCK)
    normal = point
    if PROBLEM.NORMAL >= 0:
        normal = load_points(tokens.k_normal, keys, inside, 3)
    return Places(point, operand, normal)


@triton.jit
def softness(program):
    """Return eps squared in the unit of the frame."""
    eps = program.sizes.eps * program.frame.units
    return eps * eps


@triton.jit
def compare(
    q_places,
    k_places,
    parameters,
    program,
    INVERSE: tl.constexpr,
    KEYS_FIRST: tl.constexpr,
    PROBLEM: tl.constexpr,
):
    """Return the :class:`Pairs` of two tiles, ``[queries, keys]`` or ``[keys, queries]``.

    ``INVERSE`` says that the inverse radius is needed too, and cheapest from one square root.
    """
    soft = softness(program)
    if KEYS_FIRST:
        difference = minus(spread(k_places.point, 1), spread(q_places.point, 0))
        normal = spread(k_places.normal, 1)
    else:
        difference = minus(spread(k_places.point, 0), spread(q_places.point, 1))
        normal = spread(k_places.normal, 0)
    if PROBLEM.CHANNELS:
        if KEYS_FIRST:
            square = tl.dot(k_places.channels, tl.trans(q_places.channels))
        else:
            square = tl.dot(q_places.channels, tl.trans(k_places.channels))
        # The channels of queries hold eps. Rounding must not take a length below it, nor turn what
        # is not a number into one.
        softened = square
        if PROBLEM.LENGTH:
            softened = tl.maximum(square, soft, propagate_nan=tl.PropagateNan.ALL)
            square = softened - soft
    else:
        square = inner(difference, difference)
        softened = square + soft
    inverse_radius = tl.rsqrt(softened)
    radius = softened * inverse_radius if INVERSE else tl.sqrt(softened)
    gaussian = square
    if PROBLEM.POWERS >= 0:
        POWERS: tl.constexpr = PROBLEM.POWERS
        gaussian = tl.exp2(square * (parameters.columns[POWERS] * -LOG2_E))
    waves = ()
    BASIS: tl.constexpr = PROBLEM.BASIS
    COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
    for m in tl.static_range(COUNT):
        center = parameters.columns[BASIS + COUNT + m]
        precision = parameters.columns[BASIS + 2 * COUNT + m] * -LOG2_E
        if PROBLEM.DTYPE == "fp32":
            offset = radius - center
            exponent = offset * offset * precision
        else:
            # The same, in two operations that cost its exponential 1e-5.
            slope = -2.0 * precision * center
            exponent = radius * (radius * precision + slope) + precision * center * center
        waves = waves + (tl.exp2(exponent),)
    knots = 0
    if PROBLEM.RADIAL_TABLE >= 0:
        knots = find_knots(radius, parameters.tables, program, PROBLEM)
    steps = 0
    if PROBLEM.AXIS_TABLE >= 0:
        steps = find_steps(difference, parameters.tables, program, PROBLEM)
    return Pairs(difference, square, radius, inverse_radius, gaussian, waves, normal, knots, steps)


@triton.jit
def bias_of(pairs, parameters, start, PROBLEM: tl.constexpr):
    """Return ``start`` and the bias of each pair in units of log 2, exactly 0 where a gate is 0."""
    columns = parameters.columns
    DIRECTION: tl.constexpr = PROBLEM.DIRECTION
    NORMAL: tl.constexpr = PROBLEM.NORMAL
    POWERS: tl.constexpr = PROBLEM.POWERS
    BASIS: tl.constexpr = PROBLEM.BASIS
    POWER_COUNT: tl.constexpr = PROBLEM.POWER_COUNT
    BASIS_COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
    if PROBLEM.GATED:
        bias = tl.zeros_like(pairs.square)
    else:
        bias, _ = tl.broadcast(start, pairs.square)
    if PROBLEM.DISTANCE >= 0:
        bias -= (columns[PROBLEM.DISTANCE] * LOG2_E) * pairs.radius
    if PROBLEM.SQUARED >= 0:
        bias -= (columns[PROBLEM.SQUARED] * LOG2_E) * pairs.square
    if DIRECTION >= 0:
        bias += (columns[DIRECTION] * LOG2_E) * pairs.difference.x
        bias += (columns[DIRECTION + 1] * LOG2_E) * pairs.difference.y
        bias += (columns[DIRECTION + 2] * LOG2_E) * pairs.difference.z
    if NORMAL >= 0:
        bias += (columns[NORMAL] * LOG2_E) * pairs.normal.x
        bias += (columns[NORMAL + 1] * LOG2_E) * pairs.normal.y
        bias += (columns[NORMAL + 2] * LOG2_E) * pairs.normal.z
    if POWERS >= 0:
        polynomial = tl.zeros_like(pairs.square)
        for m in tl.static_range(POWER_COUNT):
            weight = columns[POWERS + POWER_COUNT - m] * LOG2_E
            polynomial = (polynomial + weight) * pairs.gaussian
        bias += polynomial
    for m in tl.static_range(BASIS_COUNT):
        bias += (columns[BASIS + m] * LOG2_E) * pairs.waves[m]
    if PROBLEM.TABLE_COLUMNS > 0:
        bias += table_value(pairs, PROBLEM) * LOG2_E
    if PROBLEM.GATED:
        bias = tl.where(parameters.gate == 0.0, 0.0, parameters.gate * bias) + start
    return bias


@triton.jit
def table_value(pairs, PROBLEM: tl.constexpr):
    """Return what the tables add to the bias of each pair."""
    value = tl.zeros_like(pairs.square)
    if PROBLEM.RADIAL_TABLE >= 0:
        value += pairs.knots.value
    if PROBLEM.AXIS_TABLE >= 0:
        value += pairs.steps.value
    return value
