"""Forward Triton kernels of ``edge_attention``.

A program attends from a few rows, in one head, to their sources, with an online softmax (Milakov
and Gimelshein, 2018) in every slot; the slots are merged at the end. Rows of many edges are left to
the second kernel, whose programs look for them and give each as many slots as a block has.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.edge_attention_rows import (
    LN_2,
    Given,
    compare,
    load_ends,
    load_value,
    locate,
    locate_short,
    look_ahead,
    look_at_first,
    per_head,
    store_heads,
)


class Attended(NamedTuple):
    """What each slot has attended to so far, under the scores relative to ``highest``."""

    highest: Any
    total: Any
    out: Any  # not divided by the total yet


@triton.jit
def forward_kernel(
    vertices,
    edges,
    out,
    lse,
    sizes,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Attend from rows that are not long."""
    head = tl.program_id(0) % PROBLEM.H
    first = (tl.program_id(0) // PROBLEM.H).to(tl.int64) * VERTICES
    span = locate_short(
        edges.row_offsets, first, sizes.num_rows, sizes.num_edges, VERTICES, PROBLEM
    )
    attend(Given(vertices, edges, sizes, head), span, out, lse, PROBLEM, VERTICES, SLOTS)


@triton.jit
def long_forward_kernel(
    vertices,
    edges,
    out,
    lse,
    sizes,
    PROBLEM: tl.constexpr,
    VERTICES: tl.constexpr,
    SLOTS: tl.constexpr,
):
    """Attend from the long rows among some, one after the other."""
    head = tl.program_id(0) % PROBLEM.H
    first = (tl.program_id(0) // PROBLEM.H).to(tl.int64) * VERTICES
    among = locate(edges.row_offsets, first, sizes.num_rows, sizes.num_edges, VERTICES)
    if tl.max(among.count) > PROBLEM.LONG:
        for place in range(VERTICES):
            span = locate(edges.row_offsets, first + place, sizes.num_rows, sizes.num_edges, 1)
            if tl.max(span.count) > PROBLEM.LONG:
                attend(Given(vertices, edges, sizes, head), span, out, lse, PROBLEM, 1, SLOTS)


@triton.jit
def attend(
    given, span, out, lse, PROBLEM: tl.constexpr, VERTICES: tl.constexpr, SLOTS: tl.constexpr
):
    """Attend from the rows of a span."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    vertices = given.vertices
    head = given.head
    rows = span.vertices[:, None]
    has_edges = (span.count > 0)[:, None]
    right = load_ends(vertices.right, rows, has_edges, head, PROBLEM)
    so_far = Attended(
        tl.full([VERTICES, SLOTS], -float("inf"), tl.float32),
        tl.zeros([VERTICES, SLOTS], tl.float32),
        tl.zeros([VERTICES, SLOTS, D_PADDED], tl.float32),
    )
    ahead = look_at_first(given, span, PROBLEM, SLOTS)
    for start in range(0, tl.max(span.count), SLOTS):
        slots = ahead.slots
        left = ahead.left.to(tl.float32)
        ahead = look_ahead(given, ahead.later, span, start + 2 * SLOTS, PROBLEM, SLOTS)
        compared = compare(given, left, right, slots, PROBLEM)
        score = tl.where(slots.present, compared.score, -float("inf"))
        value = load_value(given, left, slots.other, slots.present, PROBLEM)
        highest = tl.where(score > so_far.highest, score, so_far.highest)  # of numbers alone
        shift = tl.where(highest == -float("inf"), 0.0, highest)
        decay = tl.exp2(so_far.highest - shift)
        weight = tl.exp2(score - shift)
        so_far = Attended(
            highest,
            so_far.total * decay + weight,
            so_far.out * decay[:, :, None] + weight[:, :, None] * value,
        )
    highest = tl.max(so_far.highest, 1)
    shift = tl.where(highest == -float("inf"), 0.0, highest)
    share = tl.exp2(so_far.highest - shift[:, None])
    total = tl.sum(so_far.total * share, 1)
    attended = tl.sum(so_far.out * share[:, :, None], 1)
    attended = attended / tl.where(span.count > 0, total, 1.0)[:, None]
    store_heads(out, rows, span.inside[:, None], head, attended[:, None, :], PROBLEM)
    log = (shift + tl.log2(total)) * LN_2
    tl.store(per_head(lse, span.vertices, head, PROBLEM), log, mask=span.inside)
