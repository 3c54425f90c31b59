"""Triton kernels of ``edge_attention`` for the gradients of the geometry and of its weight.

They take blocks of edges of any rows, so that long rows are like all others, and run behind the
pass over the rows.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.edge_attention_rows import (
    Given,
    Slots,
    compare,
    key_gradient,
    load_ends,
    load_heads,
    load_per_head,
    load_value,
    probability_and_pull,
    store_heads,
)


@triton.jit
def load_key_gradient(given, rows, results, start, PROBLEM: tl.constexpr, BLOCK: tl.constexpr):
    """Return a block of edges and the gradients of their keys, ``[1, BLOCK, D]``."""
    edge = start + tl.arange(0, BLOCK)[None, :]
    inside = edge < given.sizes.num_edges
    row = tl.load(rows + edge, mask=inside, other=0)
    source = tl.load(given.edges.columns + edge, mask=inside, other=0)
    present = inside & (source >= 0) & (source < given.sizes.num_sources)
    slots = Slots(edge, source, present)
    left = load_ends(given.vertices.left, source, present, given.head, PROBLEM)
    right = load_ends(given.vertices.right, row, present, given.head, PROBLEM)
    value = load_value(given, left, source, present, PROBLEM)
    grad_out = load_heads(results.grad_out, row, present, given.head, PROBLEM)
    lse = load_per_head(results.lse, row, present, given.head, PROBLEM)
    delta = load_per_head(results.delta, row, present, given.head, PROBLEM)
    compared = compare(given, left, right, slots, PROBLEM)
    probability, pull = probability_and_pull(compared, slots, lse, grad_out, value)
    score_gradient = given.sizes.scale * probability * (pull - delta)
    gradient = key_gradient(given, compared, right, score_gradient)
    return slots, tl.where(present[:, :, None], gradient, 0.0)


@triton.jit
def geometry_kernel(
    results,
    vertices,
    edges,
    rows,
    grad_geometry,
    sizes,
    PROBLEM: tl.constexpr,
    TERMS_PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the gradient of the geometry of a block of edges: of all heads."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    terms = tl.arange(0, TERMS_PADDED)[:, None]
    known = terms < PROBLEM.TERMS
    total = tl.zeros([TERMS_PADDED, BLOCK], tl.float32)
    for head in range(PROBLEM.H):
        given = Given(vertices, edges, sizes, head)
        _, gradient = load_key_gradient(given, rows, results, start, PROBLEM, BLOCK)
        weight = load_heads(edges.geometry_weight, terms, known, head, PROBLEM)
        total += tl.sum(gradient * weight, 2)
    edge = start + tl.arange(0, BLOCK)[None, :]
    pointers = grad_geometry + edge * PROBLEM.TERMS + terms
    tl.store(pointers, total, mask=known & (edge < sizes.num_edges))


@triton.jit
def geometry_weight_kernel(
    results,
    vertices,
    edges,
    rows,
    partial,
    sizes,
    PROBLEM: tl.constexpr,
    TERMS_PADDED: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the program's part of the gradient of one head of the geometry's weight."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    program = tl.program_id(0) // PROBLEM.H
    head = tl.program_id(0) % PROBLEM.H
    given = Given(vertices, edges, sizes, head)
    terms = tl.arange(0, TERMS_PADDED)[:, None]
    known = terms < PROBLEM.TERMS
    total = tl.zeros([TERMS_PADDED, BLOCK, D_PADDED], tl.float32)
    begin = program.to(tl.int64) * (TILES * BLOCK)
    end = tl.minimum(begin + TILES * BLOCK, sizes.num_edges)
    for start in range(begin, end, BLOCK):
        slots, gradient = load_key_gradient(given, rows, results, start, PROBLEM, BLOCK)
        pointers = edges.geometry + slots.edge * PROBLEM.TERMS + terms
        geometry = tl.load(pointers, mask=slots.present & known, other=0.0)
        total += geometry[:, :, None] * gradient
    place = program * PROBLEM.TERMS + terms
    store_heads(partial, place, known, head, tl.sum(total, 1)[:, None, :], PROBLEM)
