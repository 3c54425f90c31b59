"""Points of three coordinates inside the Triton kernels of ``geometry_attention``."""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Point(NamedTuple):
    """The coordinates of some rows, each of them a block."""

    x: Any
    y: Any
    z: Any


class Frame(NamedTuple):
    """Where the coordinates of a segment count from, and in which unit."""

    center: Point  # metres
    units: Any  # a metre
    metres: Any  # a unit


@triton.jit
def load_where(pointers, inside, other):
    """Load; where ``inside`` is not None and does not hold, return ``other`` instead."""
    if inside is None:
        return tl.load(pointers)
    else:
        return tl.load(pointers, mask=inside, other=other)


@triton.jit
def load_points(base, rows, inside, stride):
    """Load the three coordinates of each row, 0 where it is not ``inside``."""
    pointers = base + rows.to(tl.int64) * stride
    x = load_where(pointers, inside, 0.0)
    y = load_where(pointers + 1, inside, 0.0)
    z = load_where(pointers + 2, inside, 0.0)
    return Point(x, y, z)


@triton.jit
def load_framed(base, rows, inside, stride, frame):
    """Load coordinates in a :class:`Frame`."""
    return times(minus(load_points(base, rows, inside, stride), frame.center), frame.units)


@triton.jit
def is_finite(value):
    return tl.abs(value) < float("inf")


@triton.jit
def finite_or_zero(point):
    x = tl.where(is_finite(point.x), point.x, 0.0)
    y = tl.where(is_finite(point.y), point.y, 0.0)
    z = tl.where(is_finite(point.z), point.z, 0.0)
    return Point(x, y, z)


@triton.jit
def store_points(base, rows, point, inside):
    pointers = base + rows * 3
    tl.store(pointers, point.x, mask=inside)
    tl.store(pointers + 1, point.y, mask=inside)
    tl.store(pointers + 2, point.z, mask=inside)


@triton.jit
def zero_points(BLOCK: tl.constexpr):
    x = tl.zeros([BLOCK], tl.float32)
    y = tl.zeros([BLOCK], tl.float32)
    z = tl.zeros([BLOCK], tl.float32)
    return Point(x, y, z)


@triton.jit
def spread(point, AXIS: tl.constexpr):
    """Insert a unit axis, ready to be broadcast over pairs."""
    x = tl.expand_dims(point.x, AXIS)
    y = tl.expand_dims(point.y, AXIS)
    z = tl.expand_dims(point.z, AXIS)
    return Point(x, y, z)


@triton.jit
def squeeze(point, AXIS: tl.constexpr):
    """Remove a unit axis."""
    x = tl.sum(point.x, AXIS)
    y = tl.sum(point.y, AXIS)
    z = tl.sum(point.z, AXIS)
    return Point(x, y, z)


@triton.jit
def plus(a, b):
    return Point(a.x + b.x, a.y + b.y, a.z + b.z)


@triton.jit
def minus(a, b):
    return Point(a.x - b.x, a.y - b.y, a.z - b.z)


@triton.jit
def times(point, factor):
    return Point(point.x * factor, point.y * factor, point.z * factor)


@triton.jit
def inner(a, b):
    return a.x * b.x + a.y * b.y + a.z * b.z


@triton.jit
def zero_where(condition, point):
    x = tl.where(condition, 0.0, point.x)
    y = tl.where(condition, 0.0, point.y)
    z = tl.where(condition, 0.0, point.z)
    return Point(x, y, z)


@triton.jit
def sum_pairs(weight, point, AXIS: tl.constexpr):
    """Sum ``weight * point`` over one axis of the pairs."""
    x = tl.sum(weight * point.x, AXIS)
    y = tl.sum(weight * point.y, AXIS)
    z = tl.sum(weight * point.z, AXIS)
    return Point(x, y, z)
