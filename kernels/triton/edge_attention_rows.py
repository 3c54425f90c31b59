"""What the Triton kernels of ``edge_attention`` share: blocks of edges, and their scores.

A block holds the channels of one head of ``SLOTS`` edges of each of some vertices, ``[vertices,
SLOTS, D_PADDED]``: several short rows, or one long one. What is summed over a vertex's edges is
summed by slot, without a word between the slots, and over the slots at the end.

The kernels take the records of ``g2vlm_fast.ops._edge_attention_arguments`` and three that the
launch makes of them: :class:`Sizes`, :class:`Problem` and :class:`Results`. Scores are kept in
units of log 2, so that ``exp2`` needs no factor.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


class Sizes(NamedTuple):
    """What all kernels take at run time beside tensors."""

    num_rows: int
    num_sources: int
    num_edges: int
    negative_slope: float
    scale: float


class Problem(NamedTuple):
    """What all kernels are compiled for."""

    H: int
    END_HEADS: int  # from one row of left and right ends to the next: 2 H where they alternate
    D: int
    D_PADDED: int
    TERMS: int  # columns of the geometry
    LONG: int  # rows of more edges are long: they have kernels of their own


class Given(NamedTuple):
    """What the kernels pass on."""

    vertices: Any
    edges: Any
    sizes: Any
    head: Any


class Span(NamedTuple):
    """Some vertices, and where their edges lie."""

    vertices: Any  # int64
    inside: Any  # whether there is such a vertex
    begin: Any
    count: Any


class Slots(NamedTuple):
    """The next edges of each vertex of a span, one a slot."""

    edge: Any
    other: Any  # the vertex at the other end
    present: Any


class Ahead(NamedTuple):
    """What is on its way from memory while the edges before are worked on."""

    slots: Any  # the next edges of rows
    left: Any  # and their left ends, in the dtype that they are stored in
    later: Any  # the edges behind them


class Results(NamedTuple):
    """What rows attended to, as far as gradients need it, and the gradients to start from."""

    lse: Any  # [V, H]
    delta: Any  # [V, H] float32, the mean pull of a row's edges less the gradient of its lse
    grad_out: Any  # [V, H, D]
    grad_lse: Any  # [V, H] or None


class Compared(NamedTuple):
    """A block of edges' keys, and what their scores are made of."""

    key: Any
    mixed: Any  # what `attention` weighs; the key where there is no attention
    weight: Any  # what weighs it: `attention`, or `right`
    score: Any  # in units of log 2


@triton.jit
def locate(offsets, first, num_vertices, num_edges, VERTICES: tl.constexpr):
    """Return the :class:`Span` of vertices from ``first`` on."""
    vertices = first + tl.arange(0, VERTICES)
    inside = vertices < num_vertices
    begin = tl.load(offsets + vertices, mask=inside, other=0)
    end = tl.load(offsets + vertices + 1, mask=inside, other=0)
    begin = tl.minimum(tl.maximum(begin, 0), num_edges)
    count = tl.minimum(tl.maximum(end, begin), num_edges) - begin
    return Span(vertices, inside, begin, count)


@triton.jit
def locate_short(
    offsets, first, num_vertices, num_edges, VERTICES: tl.constexpr, PROBLEM: tl.constexpr
):
    """Return a :class:`Span` of which the long vertices are no part."""
    span = locate(offsets, first, num_vertices, num_edges, VERTICES)
    inside = span.inside & (span.count <= PROBLEM.LONG)
    return Span(span.vertices, inside, span.begin, tl.where(inside, span.count, 0))


@triton.jit
def next_slots(span, others, num_others, start, SLOTS: tl.constexpr):
    """Return the edges from the ``start``-th on; ``others`` has the vertex at their other end."""
    slot = start + tl.arange(0, SLOTS)[None, :]
    present = slot < span.count[:, None]
    edge = span.begin[:, None] + slot
    other = tl.load(others + edge, mask=present, other=0)
    return Slots(edge, other, present & (other >= 0) & (other < num_others))


@triton.jit
def channel_pointers(base, first_head, PROBLEM: tl.constexpr):
    """Return pointers to the channels of heads ``[m, n]``, as ``[m, n, D]``."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    channels = tl.arange(0, D_PADDED)[None, None, :]
    return base + (first_head * PROBLEM.D)[:, :, None] + channels


@triton.jit
def channel_mask(inside, PROBLEM: tl.constexpr):
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    mask = inside[:, :, None]
    if PROBLEM.D < D_PADDED:
        mask = mask & (tl.arange(0, D_PADDED)[None, None, :] < PROBLEM.D)
    return mask


@triton.jit
def load_heads(base, of, inside, head, PROBLEM: tl.constexpr):
    """Load the channels of one head of vertices ``[m, n]``, as ``[m, n, D]``."""
    pointers = channel_pointers(base, of.to(tl.int64) * PROBLEM.H + head, PROBLEM)
    return tl.load(pointers, mask=channel_mask(inside, PROBLEM), other=0.0).to(tl.float32)


@triton.jit
def store_heads(base, of, inside, head, values, PROBLEM: tl.constexpr):
    pointers = channel_pointers(base, of.to(tl.int64) * PROBLEM.H + head, PROBLEM)
    tl.store(pointers, values.to(base.dtype.element_ty), mask=channel_mask(inside, PROBLEM))


@triton.jit
def load_ends(base, of, inside, head, PROBLEM: tl.constexpr):
    """Load like :func:`load_heads` from left or right ends."""
    return load_stored_ends(base, of, inside, head, PROBLEM).to(tl.float32)


@triton.jit
def load_stored_ends(base, of, inside, head, PROBLEM: tl.constexpr):
    """Load left or right ends in the dtype that they are stored in."""
    pointers = channel_pointers(base, of.to(tl.int64) * PROBLEM.END_HEADS + head, PROBLEM)
    return tl.load(pointers, mask=channel_mask(inside, PROBLEM), other=0.0)


@triton.jit
def store_ends(base, of, inside, head, values, PROBLEM: tl.constexpr):
    pointers = channel_pointers(base, of.to(tl.int64) * PROBLEM.END_HEADS + head, PROBLEM)
    tl.store(pointers, values.to(base.dtype.element_ty), mask=channel_mask(inside, PROBLEM))


@triton.jit
def look_ahead(given, slots, span, start, PROBLEM: tl.constexpr, SLOTS: tl.constexpr):
    """Return what is :class:`Ahead` with the edges ``slots`` and, behind them, those at ``start``.

    Left to itself the compiler loads an edge's number, and what lies there, when it needs them.
    """
    left = load_stored_ends(given.vertices.left, slots.other, slots.present, given.head, PROBLEM)
    later = next_slots(span, given.edges.columns, given.sizes.num_sources, start, SLOTS)
    return Ahead(slots, left, later)


@triton.jit
def look_at_first(given, span, PROBLEM: tl.constexpr, SLOTS: tl.constexpr):
    slots = next_slots(span, given.edges.columns, given.sizes.num_sources, 0, SLOTS)
    return look_ahead(given, slots, span, SLOTS, PROBLEM, SLOTS)


@triton.jit
def load_parameter(base, of, head, PROBLEM: tl.constexpr):
    """Load the channels of one head of a parameter, as ``[1, 1, D]``."""
    one = tl.full([1, 1], of, tl.int32)
    return load_heads(base, one, one >= 0, head, PROBLEM)


@triton.jit
def load_geometry(edges, edge, present, term, PROBLEM: tl.constexpr):
    pointers = edges.geometry + edge.to(tl.int64) * PROBLEM.TERMS + term
    return tl.load(pointers, mask=present, other=0.0)


@triton.jit
def compare(given, left, right, slots, PROBLEM: tl.constexpr):
    """Return the :class:`Compared` of blocks of left and right ends."""
    vertices = given.vertices
    edges = given.edges
    key = left
    TERMS: tl.constexpr = PROBLEM.TERMS
    if TERMS > 0:
        for term in tl.static_range(TERMS):
            geometry = load_geometry(edges, slots.edge, slots.present, term, PROBLEM)
            weight = load_parameter(edges.geometry_weight, term, given.head, PROBLEM)
            part = geometry[:, :, None] * weight
            if PROBLEM.D < PROBLEM.D_PADDED:  # infinite geometry has no part in channels of none
                part = tl.where(channel_mask(slots.present, PROBLEM), part, 0.0)
            key += part
    mixed = key
    weight = right
    if vertices.attention is not None:
        mixed = key + right
        mixed = tl.where(mixed > 0, mixed, given.sizes.negative_slope * mixed)
        weight = load_parameter(vertices.attention, 0, given.head, PROBLEM)
    score = tl.sum(mixed * weight, 2) * (given.sizes.scale * LOG2_E)
    return Compared(key, mixed, weight, score)


@triton.jit
def probability_and_pull(compared, slots, lse, grad_out, value):
    """Return the probabilities of edges ``[m, n]``, and their gradients: how values pull."""
    probability = tl.where(slots.present, tl.exp2(compared.score - lse * LOG2_E), 0.0)
    pull = tl.where(slots.present, tl.sum(grad_out * value, 2), 0.0)
    return probability, pull


@triton.jit
def key_gradient(given, compared, right, score_gradient):
    """Return what the score gradients ``[m, n]`` give to the keys, ``[m, n, D]``."""
    gradient = score_gradient[:, :, None] * compared.weight
    if given.vertices.attention is not None:
        rises = compared.key + right > 0
        gradient = tl.where(rises, gradient, given.sizes.negative_slope * gradient)
    return gradient


@triton.jit
def load_value(given, left, sources, present, PROBLEM: tl.constexpr):
    value = left
    if given.vertices.value is not None:
        value = load_heads(given.vertices.value, sources, present, given.head, PROBLEM)
    return value


@triton.jit
def load_per_head(base, of, inside, head, PROBLEM: tl.constexpr):
    return tl.load(per_head(base, of, head, PROBLEM), mask=inside, other=0.0)


@triton.jit
def per_head(base, of, head, PROBLEM: tl.constexpr):
    """Return pointers to one number a head."""
    return base + of.to(tl.int64) * PROBLEM.H + head
