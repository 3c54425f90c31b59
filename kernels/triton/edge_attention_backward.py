"""Backward Triton kernels of ``edge_attention`` by row and by source.

The pass over the rows leaves ``delta``, one number a row and head, to all other kernels. These work
out anew what else they need of an edge, its probability and how its value pulls: what they read for
its gradient suffices, and two numbers of each edge and head cost the rows more to store than they
cost the others to find.
Long rows and sources have kernels of their own, as in the forward pass. No kernel adds atomically:
sums over all rows are left to the launch, by program.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.edge_attention_rows import (
    Given,
    Slots,
    compare,
    key_gradient,
    load_ends,
    load_heads,
    load_parameter,
    load_per_head,
    load_value,
    locate,
    locate_short,
    look_ahead,
    look_at_first,
    next_slots,
    per_head,
    probability_and_pull,
    store_ends,
    store_heads,
)


class Attending(NamedTuple):
    """A row's end of its edges."""

    right: Any
    lse: Any
    grad_out: Any


class Direction(NamedTuple):
    """Sums over edges of a direction, by slot: what its gradient ``p (pull - delta)`` is made of.

    ``delta``, the mean pull of a row, is known when its last edge is; one pass then suffices. The
    sums of long rows would cancel in more digits than they have, so that their pulls are taken
    from ``centre``, the mean of a pass before.
    """

    pulled: Any  # weighed by p * pull
    mean: Any  # weighed by p


class Moments(NamedTuple):
    """What a pass over the edges of some rows sums up, by slot."""

    pull: Any
    right: Any  # Direction in which the score changes with the row's end
    attention: Any  # Direction in which it changes with ``attention``


@triton.jit
def row_kernel(
    results,
    vertices,
    edges,
    grad_right,
    partial,
    sizes,
    PROBLEM: tl.constexpr,
    TILES: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Differentiate rows that are not long; ``partial`` gets the program's part of attention."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    program = tl.program_id(0) // PROBLEM.H
    head = tl.program_id(0) % PROBLEM.H
    given = Given(vertices, edges, sizes, head)
    of_attention = tl.zeros([VERTICES, SLOTS, D_PADDED], tl.float32)
    begin = program.to(tl.int64) * (TILES * VERTICES)
    end = tl.minimum(begin + TILES * VERTICES, sizes.num_rows)
    for first in range(begin, end, VERTICES):
        span = locate_short(
            edges.row_offsets, first, sizes.num_rows, sizes.num_edges, VERTICES, PROBLEM
        )
        of_attention += differentiate_rows(
            given, span, results, grad_right, PROBLEM, VERTICES, SLOTS
        )
    store_partial(partial, program, head, of_attention, PROBLEM)


@triton.jit
def long_row_kernel(
    results,
    vertices,
    edges,
    grad_right,
    partial,
    sizes,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Differentiate the long rows among some, one after the other."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    program = tl.program_id(0) // PROBLEM.H
    head = tl.program_id(0) % PROBLEM.H
    given = Given(vertices, edges, sizes, head)
    first = program.to(tl.int64) * VERTICES
    among = locate(edges.row_offsets, first, sizes.num_rows, sizes.num_edges, VERTICES)
    of_attention = tl.zeros([1, SLOTS, D_PADDED], tl.float32)
    if tl.max(among.count) > PROBLEM.LONG:
        for place in range(VERTICES):
            span = locate(edges.row_offsets, first + place, sizes.num_rows, sizes.num_edges, 1)
            if tl.max(span.count) > PROBLEM.LONG:
                of_attention += differentiate_rows(
                    given, span, results, grad_right, PROBLEM, 1, SLOTS
                )
    store_partial(partial, program, head, of_attention, PROBLEM)


@triton.jit
def store_partial(partial, program, head, block, PROBLEM: tl.constexpr):
    if partial is not None:
        one = tl.zeros([1, 1], tl.int32) + program
        total = tl.sum(tl.sum(block, 0), 0)
        store_heads(partial, one, one >= 0, head, total[None, None, :], PROBLEM)


@triton.jit
def no_moments(VERTICES: tl.constexpr, SLOTS: tl.constexpr, D_PADDED: tl.constexpr):
    none = tl.zeros([VERTICES, SLOTS, D_PADDED], tl.float32)
    pull = tl.zeros([VERTICES, SLOTS], tl.float32)
    return Moments(pull, Direction(none, none), Direction(none, none))


@triton.jit
def along(direction, pulled, probability, step):
    """Add a step for each edge to a :class:`Direction`."""
    return Direction(
        direction.pulled + pulled[:, :, None] * step,
        direction.mean + probability[:, :, None] * step,
    )


@triton.jit
def weigh(given, attending, slots, stored_left, PROBLEM: tl.constexpr):
    """Return edges of rows, compared, with their probabilities and pulls."""
    left = stored_left.to(tl.float32)
    compared = compare(given, left, attending.right, slots, PROBLEM)
    value = load_value(given, left, slots.other, slots.present, PROBLEM)
    probability, pull = probability_and_pull(
        compared, slots, attending.lse, attending.grad_out, value
    )
    return compared, probability, pull


@triton.jit
def add_edges(given, moments, attending, compared, probability, pull):
    pulled = probability * pull
    right = moments.right
    attention = moments.attention
    if given.vertices.attention is None:
        right = along(right, pulled, probability, compared.mixed)
    else:
        rises = compared.key + attending.right > 0
        right = along(right, pulled, probability, tl.where(rises, 1.0, given.sizes.negative_slope))
        attention = along(attention, pulled, probability, compared.mixed)
    return Moments(moments.pull + pulled, right, attention)


@triton.jit
def differentiate_rows(
    given,
    span,
    results,
    grad_right,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Write the span's part of ``delta`` and of ``grad_right``; return that of attention."""
    head = given.head
    scale = given.sizes.scale
    rows = span.vertices[:, None]
    has_edges = (span.count > 0)[:, None]
    attending = Attending(
        load_ends(given.vertices.right, rows, has_edges, head, PROBLEM),
        load_per_head(results.lse, rows, has_edges, head, PROBLEM),
        load_heads(results.grad_out, rows, has_edges, head, PROBLEM),
    )
    moments = no_moments(VERTICES, SLOTS, PROBLEM.D_PADDED)
    centre = tl.zeros([VERTICES, 1], tl.float32)
    if SLOTS > 1:  # a long row: the launch gives each as many slots as a block has, two at least
        pulled = tl.zeros([VERTICES, SLOTS], tl.float32)
        ahead = look_at_first(given, span, PROBLEM, SLOTS)
        for start in range(0, tl.max(span.count), SLOTS):
            slots = ahead.slots
            left = ahead.left
            ahead = look_ahead(given, ahead.later, span, start + 2 * SLOTS, PROBLEM, SLOTS)
            _, probability, pull = weigh(given, attending, slots, left, PROBLEM)
            pulled += probability * pull
        centre = tl.sum(pulled, 1)[:, None]
    ahead = look_at_first(given, span, PROBLEM, SLOTS)
    for start in range(0, tl.max(span.count), SLOTS):
        slots = ahead.slots
        left = ahead.left
        ahead = look_ahead(given, ahead.later, span, start + 2 * SLOTS, PROBLEM, SLOTS)
        compared, probability, pull = weigh(given, attending, slots, left, PROBLEM)
        moments = add_edges(given, moments, attending, compared, probability, pull - centre)
    rest = tl.sum(moments.pull, 1)[:, None]
    if results.grad_lse is not None:
        rest -= load_per_head(results.grad_lse, rows, has_edges, head, PROBLEM)
    delta = centre + rest
    tl.store(per_head(results.delta, rows, head, PROBLEM), delta, mask=has_edges)
    nothing = (delta - delta)[:, :, None]  # NaN where the pull of an edge is no number
    if grad_right is not None:
        mean = tl.sum(moments.right.mean, 1)[:, None, :]
        total = tl.sum(moments.right.pulled, 1)[:, None, :] - rest[:, :, None] * mean
        if given.vertices.attention is not None:
            total *= load_parameter(given.vertices.attention, 0, head, PROBLEM)
        total = scale * total + nothing
        store_ends(grad_right, rows, span.inside[:, None], head, total, PROBLEM)
    mean = moments.attention.mean
    return scale * (moments.attention.pulled - rest[:, :, None] * mean) + nothing


@triton.jit
def source_kernel(
    results,
    vertices,
    edges,
    transpose,
    gradients,
    sizes,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Differentiate sources that are not long."""
    given = Given(vertices, edges, sizes, tl.program_id(0) % PROBLEM.H)
    first = (tl.program_id(0) // PROBLEM.H).to(tl.int64) * VERTICES
    span = locate_short(
        transpose.offsets, first, sizes.num_sources, sizes.num_edges, VERTICES, PROBLEM
    )
    differentiate_sources(given, span, results, transpose, gradients, PROBLEM, VERTICES, SLOTS)


@triton.jit
def long_source_kernel(
    results,
    vertices,
    edges,
    transpose,
    gradients,
    sizes,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Differentiate the long sources among some, one after the other."""
    given = Given(vertices, edges, sizes, tl.program_id(0) % PROBLEM.H)
    offsets = transpose.offsets
    first = (tl.program_id(0) // PROBLEM.H).to(tl.int64) * VERTICES
    among = locate(offsets, first, sizes.num_sources, sizes.num_edges, VERTICES)
    if tl.max(among.count) > PROBLEM.LONG:
        for place in range(VERTICES):
            span = locate(offsets, first + place, sizes.num_sources, sizes.num_edges, 1)
            if tl.max(span.count) > PROBLEM.LONG:
                differentiate_sources(given, span, results, transpose, gradients, PROBLEM, 1, SLOTS)


@triton.jit
def next_transposed(span, transpose, sizes, start, PROBLEM: tl.constexpr, SLOTS: tl.constexpr):
    """Return the edges from the ``start``-th of each source on, and their numbers for geometry."""
    slots = next_slots(span, transpose.rows, sizes.num_rows, start, SLOTS)
    if PROBLEM.TERMS > 0:
        edge = tl.load(transpose.edges + slots.edge, mask=slots.present, other=0)
        present = slots.present & (edge >= 0) & (edge < sizes.num_edges)
        slots = Slots(edge, slots.other, present)
    return slots


@triton.jit
def differentiate_sources(
    given,
    span,
    results,
    transpose,
    gradients,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Write the span's part of the gradients of left ends and values."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    vertices = given.vertices
    head = given.head
    sources = span.vertices[:, None]
    has_edges = (span.count > 0)[:, None]
    left = load_ends(vertices.left, sources, has_edges, head, PROBLEM)
    value = load_value(given, left, sources, has_edges, PROBLEM)
    of_left = tl.zeros([VERTICES, SLOTS, D_PADDED], tl.float32)
    of_value = tl.zeros([VERTICES, SLOTS, D_PADDED], tl.float32)
    ahead = next_transposed(span, transpose, given.sizes, 0, PROBLEM, SLOTS)
    for start in range(0, tl.max(span.count), SLOTS):
        slots = ahead
        ahead = next_transposed(span, transpose, given.sizes, start + SLOTS, PROBLEM, SLOTS)
        rows = slots.other
        present = slots.present
        right = load_ends(vertices.right, rows, present, head, PROBLEM)
        grad_out = load_heads(results.grad_out, rows, present, head, PROBLEM)
        lse = load_per_head(results.lse, rows, present, head, PROBLEM)
        compared = compare(given, left, right, slots, PROBLEM)
        probability, pull = probability_and_pull(compared, slots, lse, grad_out, value)
        of_value += probability[:, :, None] * grad_out
        if gradients.left is not None:
            delta = load_per_head(results.delta, rows, present, head, PROBLEM)
            score_gradient = given.sizes.scale * probability * (pull - delta)
            gradient = key_gradient(given, compared, right, score_gradient)
            of_left += tl.where(present[:, :, None], gradient, 0.0)
    inside = span.inside[:, None]
    value_total = tl.sum(of_value, 1)[:, None, :]
    if gradients.value is not None:
        store_heads(gradients.value, sources, inside, head, value_total, PROBLEM)
    if gradients.left is not None:
        left_total = tl.sum(of_left, 1)[:, None, :]
        if vertices.value is None:
            left_total += value_total
        store_ends(gradients.left, sources, inside, head, left_total, PROBLEM)
