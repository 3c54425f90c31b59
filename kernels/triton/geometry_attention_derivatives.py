"""Derivatives of the geometric bias inside the backward Triton kernels of ``geometry_attention``.

They are taken of the bias before its gate, in the unit of a
:class:`~g2vlm_fast.kernels.triton.geometry_attention_points.Frame`, and by the terms' parameters
as :mod:`~g2vlm_fast.kernels.triton.geometry_attention_terms` loads them.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    sum_pairs,
    times,
    zero_where,
)


@triton.jit
def powers_slope(pairs, parameters, PROBLEM: tl.constexpr):
    """Return ``sum_m m w_m exp(-p s)^m``, the negative derivative by ``p s``."""
    POWERS: tl.constexpr = PROBLEM.POWERS
    COUNT: tl.constexpr = PROBLEM.POWER_COUNT
    slope = tl.zeros_like(pairs.square)
    for m in tl.static_range(COUNT):
        weight = parameters.columns[POWERS + COUNT - m] * (COUNT - m)
        slope = (slope + weight) * pairs.gaussian
    return slope


@triton.jit
def radial_of(weight, pairs, parameters, PROBLEM: tl.constexpr):
    """Return weights times the bias's derivative along the difference, over ``radial_scale``.

    The derivative by the difference is ``radial * difference`` plus the direction.
    """
    columns = parameters.columns
    if PROBLEM.UNIFORM:
        if PROBLEM.DISTANCE >= 0:
            return weight * pairs.inverse_radius
        else:
            return weight
    else:
        radial = tl.zeros_like(pairs.square)
        if PROBLEM.DISTANCE >= 0:
            radial -= columns[PROBLEM.DISTANCE] * pairs.inverse_radius
        if PROBLEM.SQUARED >= 0:
            radial -= 2.0 * columns[PROBLEM.SQUARED]
        if PROBLEM.POWERS >= 0:
            slope = powers_slope(pairs, parameters, PROBLEM)
            radial -= (2.0 * columns[PROBLEM.POWERS]) * slope
        BASIS: tl.constexpr = PROBLEM.BASIS
        COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
        if BASIS >= 0:
            along = tl.zeros_like(pairs.square)
            for m in tl.static_range(COUNT):
                rate = columns[BASIS + m] * columns[BASIS + 2 * COUNT + m] * 2.0
                level = rate * columns[BASIS + COUNT + m]
                along += (level - rate * pairs.radius) * pairs.waves[m]
            radial += along * pairs.inverse_radius
        if PROBLEM.RADIAL_TABLE >= 0:
            radial += pairs.knots.slope * pairs.inverse_radius
        radial *= weight
        if PROBLEM.GATED:
            radial = tl.where(parameters.gate == 0.0, 0.0, parameters.gate * radial)
        return radial


@triton.jit
def radial_scale(program, PROBLEM: tl.constexpr):
    """Return the factor that ``radial_of`` leaves out because a whole head shares it."""
    scale = 1.0
    frame = program.frame
    if PROBLEM.UNIFORM:
        own = program.tokens.bias_parameters + program.head * PROBLEM.PARAMETERS
        if PROBLEM.DISTANCE >= 0:
            scale = -frame.metres * tl.load(own + PROBLEM.DISTANCE)
        else:
            scale = -2.0 * frame.metres * frame.metres * tl.load(own + PROBLEM.SQUARED)
    return scale


@triton.jit
def zero_sums(like, PROBLEM: tl.constexpr):
    """Return a tuple of zeros, one for each parameter."""
    PARAMETERS: tl.constexpr = PROBLEM.PARAMETERS
    sums = ()
    for _ in tl.static_range(PARAMETERS):
        sums = sums + (tl.zeros_like(like),)
    return sums


@triton.jit
def gather(pairs, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FOLD: tl.constexpr):
    """Sum pairs over their columns; with ``FOLD`` over what one thread holds, ``[ROWS // 16, 32]``.

    The latter needs no exchange between threads: a warp of tensor cores holds 16 rows, a thread in
    two of them two neighbouring columns of each eight.
    """
    if FOLD:
        own = tl.reshape(pairs, [ROWS // 16, 2, 8, COLUMNS // 8, 4, 2])
        own = tl.sum(tl.sum(tl.sum(own, 5), 3), 1)
        return tl.reshape(own, [ROWS // 16, 32])
    else:
        return tl.sum(pairs, 1)


@triton.jit
def add_derivatives(sums, weight, pairs, parameters, FOLD: tl.constexpr, PROBLEM: tl.constexpr):
    """Add gathered weights times the derivatives of the ungated bias by its parameters."""
    PARAMETERS: tl.constexpr = PROBLEM.PARAMETERS
    POWERS: tl.constexpr = PROBLEM.POWERS
    BASIS: tl.constexpr = PROBLEM.BASIS
    R: tl.constexpr = weight.shape[0]
    C: tl.constexpr = weight.shape[1]
    added = ()
    for column in tl.static_range(PARAMETERS):
        if column == PROBLEM.DISTANCE:
            added = added + (sums[column] - gather(weight * pairs.radius, R, C, FOLD),)
        elif column == PROBLEM.SQUARED:
            added = added + (sums[column] - gather(weight * pairs.square, R, C, FOLD),)
        elif column == PROBLEM.DIRECTION:
            added = added + add_point(sums, column, weight, pairs.difference, FOLD)
        elif column == PROBLEM.NORMAL:
            added = added + add_point(sums, column, weight, pairs.normal, FOLD)
        elif POWERS >= 0 and column == POWERS:
            added = added + add_powers(sums, weight, pairs, parameters, FOLD, PROBLEM)
        elif BASIS >= 0 and column == BASIS:
            added = added + add_basis(sums, weight, pairs, parameters, FOLD, PROBLEM)
    return added


@triton.jit
def add_point(sums, FIRST: tl.constexpr, weight, point, FOLD: tl.constexpr):
    R: tl.constexpr = weight.shape[0]
    C: tl.constexpr = weight.shape[1]
    x = sums[FIRST] + gather(weight * point.x, R, C, FOLD)
    y = sums[FIRST + 1] + gather(weight * point.y, R, C, FOLD)
    z = sums[FIRST + 2] + gather(weight * point.z, R, C, FOLD)
    return (x, y, z)


@triton.jit
def add_powers(sums, weight, pairs, parameters, FOLD: tl.constexpr, PROBLEM: tl.constexpr):
    FIRST: tl.constexpr = PROBLEM.POWERS
    COUNT: tl.constexpr = PROBLEM.POWER_COUNT
    R: tl.constexpr = weight.shape[0]
    C: tl.constexpr = weight.shape[1]
    by_precision = weight * pairs.square * powers_slope(pairs, parameters, PROBLEM)
    added = (sums[FIRST] - gather(by_precision, R, C, FOLD),)
    for m in tl.static_range(COUNT):
        weight = weight * pairs.gaussian
        added = added + (sums[FIRST + 1 + m] + gather(weight, R, C, FOLD),)
    return added


@triton.jit
def add_basis(sums, weight, pairs, parameters, FOLD: tl.constexpr, PROBLEM: tl.constexpr):
    FIRST: tl.constexpr = PROBLEM.BASIS
    COUNT: tl.constexpr = PROBLEM.BASIS_COUNT
    R: tl.constexpr = weight.shape[0]
    C: tl.constexpr = weight.shape[1]
    columns = parameters.columns
    strengths = ()
    centers = ()
    precisions = ()
    for m in tl.static_range(COUNT):
        strength = columns[FIRST + m]
        rate = strength * columns[FIRST + 2 * COUNT + m] * 2.0
        wave = weight * pairs.waves[m]
        offset = pairs.radius - columns[FIRST + COUNT + m]
        shifted = wave * offset
        if FOLD:
            by_center = rate * gather(shifted, R, C, FOLD)
            by_precision = strength * gather(shifted * offset, R, C, FOLD)
        else:
            by_center = gather(rate * shifted, R, C, FOLD)
            by_precision = gather(strength * (shifted * offset), R, C, FOLD)
        strengths = strengths + (sums[FIRST + m] + gather(wave, R, C, FOLD),)
        centers = centers + (sums[FIRST + COUNT + m] + by_center,)
        precisions = precisions + (sums[FIRST + 2 * COUNT + m] - by_precision,)
    return strengths + centers + precisions


@triton.jit
def vector_of(parameters, FIRST: tl.constexpr):
    """Return three columns of the parameters as a vector."""
    columns = parameters.columns
    return Point(columns[FIRST], columns[FIRST + 1], columns[FIRST + 2])


@triton.jit
def pull_of(weight, FIRST: tl.constexpr, parameters, PROBLEM: tl.constexpr):
    """Return the sum over queries (axis 1) of gated weights times a vector of the parameters."""
    vector = vector_of(parameters, FIRST)
    if PROBLEM.GATED or PROBLEM.OWN:
        if PROBLEM.GATED:
            shut = parameters.gate == 0.0
            weight = tl.where(shut, 0.0, parameters.gate * weight)
            vector = zero_where(shut, vector)
        return sum_pairs(weight, vector, 1)
    else:
        return times(vector, tl.sum(weight, 1))
