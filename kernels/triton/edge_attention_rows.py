"""What the Triton kernels of ``edge_attention`` share: blocks of edges, and their scores.

A block holds the channels of one head of ``SLOTS`` edges of each of some vertices, ``[vertices,
SLOTS, D_PADDED]``: several short rows, or one long one. What is summed over a vertex's edges is
summed by slot, without a word between the slots, and over the slots at the end.

The kernels take the records of ``g2vlm_fast.ops._edge_attention_arguments`` and the two below,
which the launch makes of them. Scores are kept in units of log 2, so that ``exp2`` needs no factor.
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


class Scratch(NamedTuple):
    """What the backward pass over the rows leaves to the other kernels."""

    probability: Any  # [E, H] float32
    pull: Any  # [E, H] float32, the gradient of the probability
    mean_pull: Any  # [V, H] float32, less the gradient of the row's lse


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
def head_pointers(base, of, head, PROBLEM: tl.constexpr):
    """Return pointers to the channels of one head of vertices ``[m, n]``, as ``[m, n, D]``."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    channels = tl.arange(0, D_PADDED)[None, None, :]
    first = (of.to(tl.int64) * PROBLEM.H + head) * PROBLEM.D
    return base + first[:, :, None] + channels


@triton.jit
def channel_mask(inside, PROBLEM: tl.constexpr):
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    mask = inside[:, :, None]
    if PROBLEM.D < D_PADDED:
        mask = mask & (tl.arange(0, D_PADDED)[None, None, :] < PROBLEM.D)
    return mask


@triton.jit
def load_heads(base, of, inside, head, PROBLEM: tl.constexpr):
    pointers = head_pointers(base, of, head, PROBLEM)
    mask = channel_mask(inside, PROBLEM)
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_heads(base, of, inside, head, values, PROBLEM: tl.constexpr):
    pointers = head_pointers(base, of, head, PROBLEM)
    mask = channel_mask(inside, PROBLEM)
    tl.store(pointers, values.to(base.dtype.element_ty), mask=mask)


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
            key += geometry[:, :, None] * weight
    mixed = key
    weight = right
    if vertices.attention is not None:
        mixed = key + right
        mixed = tl.where(mixed > 0, mixed, given.sizes.negative_slope * mixed)
        weight = load_parameter(vertices.attention, 0, given.head, PROBLEM)
    score = tl.sum(mixed * weight, 2) * (given.sizes.scale * LOG2_E)
    return Compared(key, mixed, weight, score)


@triton.jit
def load_score_gradient(scratch, edge, row, present, probability, given, PROBLEM: tl.constexpr):
    """Return the gradients of the scores of edges, before they are scaled to units of log 2."""
    pull = tl.load(per_head(scratch.pull, edge, given.head, PROBLEM), mask=present, other=0.0)
    at = per_head(scratch.mean_pull, row, given.head, PROBLEM)
    mean_pull = tl.load(at, mask=present, other=0.0)
    return given.sizes.scale * probability * (pull - mean_pull)


@triton.jit
def key_gradient(given, compared, right, score_gradient):
    """Return what the score gradients ``[m, n]`` give to the keys, ``[m, n, D]``."""
    gradient = score_gradient[:, :, None] * compared.weight
    if given.vertices.attention is not None:
        rises = compared.key + right > 0
        gradient = tl.where(rises, gradient, given.sizes.negative_slope * gradient)
    return gradient


@triton.jit
def load_value(given, left, slots, PROBLEM: tl.constexpr):
    value = left
    if given.vertices.value is not None:
        value = load_heads(given.vertices.value, slots.other, slots.present, given.head, PROBLEM)
    return value


@triton.jit
def per_head(base, of, head, PROBLEM: tl.constexpr):
    """Return pointers to one number a head."""
    return base + of.to(tl.int64) * PROBLEM.H + head
