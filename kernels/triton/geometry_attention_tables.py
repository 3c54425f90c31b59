"""The tables of a geometric bias inside the Triton kernels of ``geometry_attention``: look-ups.

A table of a head is a few hundred bytes, which stay in the first-level cache: each pair loads what
it needs from there. Places in tables are found from lengths in the unit of a
:class:`~g2vlm_fast.kernels.triton.geometry_attention_points.Frame`.
"""

import os
from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import times

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


class Knots(NamedTuple):
    """Where pairs fall between the knots of a table over distance."""

    near: Any  # the number of the knot before, int32
    fraction: Any  # of the way to the next knot; 1 from the last knot on
    value: Any
    slope: Any  # of the value, by the radius in the unit of the frame; 0 from the last knot on


class Steps(NamedTuple):
    """Where pairs fall in the tables over the axes, int32."""

    x: Any
    y: Any
    z: Any
    value: Any


@triton.jit
def tables_of(program, AXIS: tl.constexpr, PROBLEM: tl.constexpr):
    """Return where the tables of the program's head begin; those of each row if grouped."""
    COLUMNS: tl.constexpr = PROBLEM.TABLE_COLUMNS
    begin = program.tokens.bias_tables + program.head * COLUMNS
    if PROBLEM.GROUPED:
        begin = tl.expand_dims(begin, AXIS)
    return begin


@triton.jit
def find_knots(radius, tables, program, PROBLEM: tl.constexpr):
    """Return the :class:`Knots` of distances; what is not a number has a value that is none."""
    LAST: tl.constexpr = PROBLEM.KNOTS - 1
    per_unit = program.sizes.knots_per_metre * program.frame.metres
    place = radius * per_unit
    near = tl.where(place < LAST, place, LAST - 1.0).to(tl.int32)
    beyond = place >= LAST
    fraction = tl.where(beyond, 1.0, place - near)
    low = look_up(tables, near + PROBLEM.RADIAL_TABLE)
    rise = look_up(tables, near + (PROBLEM.RADIAL_TABLE + 1)) - low
    slope = tl.where(beyond, 0.0, rise * per_unit)
    return Knots(near, fraction, low + fraction * rise, slope)


@triton.jit
def find_steps(difference, tables, program, PROBLEM: tl.constexpr):
    """Return the :class:`Steps` of differences; what is not a number has a value that is none."""
    SIZE: tl.constexpr = PROBLEM.STEPS
    FIRST: tl.constexpr = PROBLEM.AXIS_TABLE
    cells = times(difference, program.sizes.cells_per_metre * program.frame.metres)
    x = entry_of(cells.x, SIZE)
    y = entry_of(cells.y, SIZE)
    z = entry_of(cells.z, SIZE)
    value = look_up(tables, x + FIRST)
    value += look_up(tables, y + (FIRST + SIZE))
    value += look_up(tables, z + (FIRST + 2 * SIZE))
    lost = (cells.x != cells.x) | (cells.y != cells.y) | (cells.z != cells.z)
    return Steps(x, y, z, tl.where(lost, float("nan"), value))


@triton.jit
def look_up(tables, entries):
    """Load numbers of tables.

    In assembly, because the compiler lets no load wait for a product that it pipelines a loop for.
    """
    if INTERPRETED:
        return tl.load(tables + entries)
    else:
        return tl.inline_asm_elementwise(
            "ld.global.nc.f32 $0, [$1];",
            "=f,l",
            [(tables + entries).to(tl.int64)],
            dtype=tl.float32,
            is_pure=True,
            pack=1,
        )


@triton.jit
def entry_of(cells, SIZE: tl.constexpr):
    """Return the entry of a number of cells in a table of that size; the middle of what is none."""
    REACH: tl.constexpr = SIZE // 2
    steps = tl.floor(cells + 0.5)
    steps = tl.where(steps > -REACH, steps, -1.0 * REACH)
    steps = tl.where(steps < REACH, steps, 1.0 * REACH)
    steps = tl.where(cells == cells, steps, 0.0)
    return steps.to(tl.int32) + REACH


@triton.jit
def extremes_of(tables, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Return the least and the greatest number of a table, -inf and inf where one is not finite."""
    inf = float("inf")
    entries = tl.arange(0, 128)
    held = entries < COUNT
    values = tl.load(tables + FIRST + entries, mask=held, other=0.0)
    known = tl.abs(values) < inf
    low = tl.min(tl.where(held, tl.where(known, values, -inf), inf), 0)
    high = tl.max(tl.where(held, tl.where(known, values, inf), -inf), 0)
    return low, high
