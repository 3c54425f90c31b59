"""What the Triton kernels of ``edge_mlp`` share: tiles of edges, and their hidden rows.

A tile holds ``ROWS`` vertices, each with ``SLOTS`` of its edges at a time; longer lists take more
turns, and the places behind the end of a list stay empty. So a vertex belongs to one program, which
goes through its edges in order: no atomics, whatever the degrees.

The kernels see the graph from the vertex that gathers (*owner*): from the rows through ``columns``,
or from the sources through the transpose.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

LEAKY_SLOPE = tl.constexpr(0.2)


class Lists(NamedTuple):
    """The edges by owner."""

    offsets: Any  # [num_owners + 1]
    others: Any  # [E], the vertex at the other end
    edges: Any  # [E], the edge's place in the rows of the graph; None where it is the place here


class Ends(NamedTuple):
    """What the hidden row of an edge is made of."""

    own: Any  # [num_owners, H]
    other: Any  # [num_others, H]
    geometry: Any  # [E, TERMS] or None
    geometry_weight: Any  # [TERMS, H] or None


class Upstream(NamedTuple):
    """Where the gradient of the messages comes from."""

    grad: Any  # [V, C]
    winner: Any  # [V, C]
    row_offsets: Any  # [V + 1]


class Sizes(NamedTuple):
    """What all kernels take at run time beside tensors."""

    num_owners: int
    num_others: int
    num_edges: int


class Problem(NamedTuple):
    """What all kernels are compiled for."""

    H: int
    C: int
    TERMS: int
    ACTIVATION: str
    PRECISION: str  # of products: "ieee" for float32, "tf32" for what is not float32 anyway
    BY_SOURCE: bool = False  # the owners are the sources, not the rows


class Owners(NamedTuple):
    """The vertices of a tile."""

    vertices: Any  # [ROWS]
    inside: Any  # [ROWS]
    begin: Any  # [ROWS]
    degree: Any  # [ROWS]


class Edges(NamedTuple):
    """One turn of a tile, flat: ``[ROWS * SLOTS]``, the slots of a vertex side by side."""

    own: Any
    other: Any
    edge: Any
    slot: Any  # in the list of the owner
    present: Any


@triton.jit
def load_owners(tile, lists, sizes, ROWS: tl.constexpr):
    """Return the :class:`Owners` of a tile; lists are clamped to the edges that there are."""
    vertices = tile * ROWS + tl.arange(0, ROWS)
    inside = vertices < sizes.num_owners
    begin = tl.load(lists.offsets + vertices, mask=inside, other=0)
    end = tl.load(lists.offsets + vertices + 1, mask=inside, other=0)
    begin = tl.minimum(tl.maximum(begin, 0), sizes.num_edges)
    end = tl.minimum(tl.maximum(end, begin), sizes.num_edges)
    return Owners(vertices, inside, begin, end - begin)


@triton.jit
def load_edges(owners, first, lists, sizes, ROWS: tl.constexpr, SLOTS: tl.constexpr):
    """Return the :class:`Edges` of the slots from ``first``; ends out of range are not present."""
    COUNT: tl.constexpr = ROWS * SLOTS
    slot = first + tl.arange(0, SLOTS)[None, :] + tl.zeros([ROWS, SLOTS], tl.int32)
    present = tl.reshape(slot < owners.degree[:, None], [COUNT])
    place = tl.reshape(owners.begin.to(tl.int64)[:, None] + slot, [COUNT])
    own = tl.reshape(owners.vertices[:, None] + tl.zeros([ROWS, SLOTS], tl.int32), [COUNT])
    other = tl.load(lists.others + place, mask=present, other=0)
    present = present & (other >= 0) & (other < sizes.num_others)
    edge = place
    if lists.edges is not None:
        edge = tl.load(lists.edges + place, mask=present, other=0).to(tl.int64)
    return Edges(own, other, edge, tl.reshape(slot, [COUNT]), present)


@triton.jit
def load_channels(base, rows, inside, first, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Load ``[rows, BLOCK]`` of the channels from ``first``; 0 outside."""
    channels = first + tl.arange(0, BLOCK)
    mask = inside[:, None] & (channels < CHANNELS)[None, :]
    pointers = base + rows.to(tl.int64)[:, None] * CHANNELS + channels[None, :]
    return tl.load(pointers, mask=mask, other=0)


@triton.jit
def load_map(
    weight,
    first_hidden,
    first_channel,
    PROBLEM: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Load ``[BLOCK_H, BLOCK_C]`` of the second map; 0 outside."""
    hidden = first_hidden + tl.arange(0, BLOCK_H)
    return load_channels(weight, hidden, hidden < PROBLEM.H, first_channel, PROBLEM.C, BLOCK_C)


@triton.jit
def load_term(ends, edges, term, PROBLEM: tl.constexpr):
    """Load one column of the geometry of some edges."""
    return tl.load(ends.geometry + edges.edge * PROBLEM.TERMS + term, mask=edges.present, other=0.0)


@triton.jit
def load_term_weight(ends, term, first, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Load what one column of the geometry is multiplied by, from channel ``first`` on."""
    channels = first + tl.arange(0, BLOCK)
    pointers = ends.geometry_weight + term * PROBLEM.H + channels
    return tl.load(pointers, mask=channels < PROBLEM.H, other=0.0)


@triton.jit
def preactivation(ends, edges, first, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Return what the activation is taken of, in float32; 0 where no edge is."""
    TERMS: tl.constexpr = PROBLEM.TERMS
    own = load_channels(ends.own, edges.own, edges.present, first, PROBLEM.H, BLOCK)
    other = load_channels(ends.other, edges.other, edges.present, first, PROBLEM.H, BLOCK)
    z = own.to(tl.float32) + other.to(tl.float32)
    for term in tl.static_range(TERMS):
        weight = load_term_weight(ends, term, first, PROBLEM, BLOCK)
        z += load_term(ends, edges, term, PROBLEM)[:, None] * weight[None, :]
    return z


@triton.jit
def activate(z, PROBLEM: tl.constexpr):
    """Return the activation; NaN stays NaN, and 0 stays 0."""
    if PROBLEM.ACTIVATION == "relu":
        z = tl.where(z < 0, 0.0, z)
    elif PROBLEM.ACTIVATION == "leaky_relu":
        z = tl.where(z > 0, z, z * LEAKY_SLOPE)
    elif PROBLEM.ACTIVATION == "silu":
        z = z / (1.0 + tl.exp(-z))
    return z


@triton.jit
def times_slope(gradient, z, PROBLEM: tl.constexpr):
    """Multiply by the derivative of the activation; that of the left side at a kink."""
    if PROBLEM.ACTIVATION == "relu":
        gradient = tl.where(z > 0, gradient, 0.0)
    elif PROBLEM.ACTIVATION == "leaky_relu":
        gradient = tl.where(z > 0, gradient, gradient * LEAKY_SLOPE)
    elif PROBLEM.ACTIVATION == "silu":
        sigmoid = 1.0 / (1.0 + tl.exp(-z))
        gradient *= sigmoid * (1.0 + z * (1.0 - sigmoid))
    return gradient


@triton.jit
def message_gradient(upstream, edges, first, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Return the gradient of the messages, ``[edges, BLOCK]``: 0 but where they won."""
    row = edges.own
    slot = edges.slot
    if PROBLEM.BY_SOURCE:
        row = edges.other
        start = tl.load(upstream.row_offsets + row, mask=edges.present, other=0)
        slot = (edges.edge - start).to(tl.int32)
    channels = first + tl.arange(0, BLOCK)
    mask = edges.present[:, None] & (channels < PROBLEM.C)[None, :]
    places = row.to(tl.int64)[:, None] * PROBLEM.C + channels[None, :]
    winner = tl.load(upstream.winner + places, mask=mask, other=0).to(tl.int32)
    return tl.load(upstream.grad + places, mask=mask & (winner == slot[:, None]), other=0.0)
