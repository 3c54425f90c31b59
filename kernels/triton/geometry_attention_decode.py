"""Forward Triton kernels of ``geometry_attention`` for few queries over many keys.

One program streams one share of the keys of a segment past all queries of the heads that share
one head of k, which are the rows of one tile: keys and values are read once, not once a head, and
there are as many programs as the device needs to keep its memory busy (flash decoding: Dao et al.,
2023). A second kernel merges the shares in their order.

Squares of differences are those of float32 differences, not products of channels: a tile of 16
rows has so few pairs that the eight operations each hide behind the loads of keys, and channels
would read all positions twice more beforehand and 32 bytes a key, not 12, afterwards.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention import Queries, attend, nothing_attended
from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Frame,
    Point,
    inner,
    load_points,
    minus,
    plus,
    store_points,
    sum_pairs,
    zero_where,
)
from g2vlm_fast.kernels.triton.geometry_attention_terms import load_parameters, load_query_places
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LN_2,
    Program,
    end_of_visible_keys,
    locate_tile,
    store_tile,
)


class Partials(NamedTuple):
    """What each row, a query of one head, has attended to in each share of its keys, in float32.

    As :class:`~g2vlm_fast.kernels.triton.geometry_attention.Attended`, but positions in metres.
    """

    highest: Any  # [Lq, H, shares]
    total: Any  # [Lq, H, shares]
    out: Any  # [Lq, H, shares, D]
    mean: Any  # [Lq, H, shares, 3], or None where positions are not asked for
    moment: Any  # [Lq, H, shares], or None


@triton.jit
def decode_kernel(
    tokens,
    partials,
    sizes,
    PROBLEM: tl.constexpr,
    POSITION_MEAN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the partials of one share of the keys, for one tile of queries of one head of k.

    Row n of the tile is head ``n % GROUP`` of the group at query ``n // GROUP`` of the tile.
    """
    GROUP: tl.constexpr = PROBLEM.GROUP
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    QUERIES: tl.constexpr = ROWS // GROUP
    kv_head = tl.program_id(0) % PROBLEM.KV_HEADS
    tile = locate_tile(
        tl.program_id(0) // PROBLEM.KV_HEADS,
        tokens.q_offsets,
        tokens.k_offsets,
        sizes.num_queries,
        sizes.num_keys,
        sizes.num_segments,
        QUERIES,
    )
    if tile.first >= tile.end:
        return
    numbers = tl.arange(0, ROWS)
    rows = tile.first + numbers // GROUP
    heads = kv_head * GROUP + numbers % GROUP
    inside = (numbers < QUERIES * GROUP) & (rows < tile.end)
    wide_rows = rows.to(tl.int64) * PROBLEM.H + heads
    columns = tl.arange(0, D_PADDED)[None, :]
    held = inside[:, None] & (columns < PROBLEM.D)
    q_tile = tl.load(tokens.q + wide_rows[:, None] * PROBLEM.D + columns, mask=held, other=0.0)
    # Differences of coordinates as they came are rounded once.
    frame = Frame(Point(0.0, 0.0, 0.0), 1.0, 1.0)
    places = 0.0
    parameters = 0.0
    if PROBLEM.BIASED:
        of_rows = Program(tokens, None, sizes, tile, heads, frame)
        places = load_query_places(of_rows, tile.first, rows, inside, ROWS, PROBLEM)
        parameters = load_parameters(of_rows, rows, inside, 1, PROBLEM)
    queries = Queries(heads[:, None], rows, q_tile, places, parameters)
    program = Program(tokens, None, sizes, tile, kv_head * GROUP, frame)
    shares = tl.num_programs(1)
    share = tl.cdiv(tl.cdiv(tile.other_end - tile.other_begin, shares), BLOCK_K) * BLOCK_K
    begin = tile.other_begin + tl.program_id(1) * share
    last_row = tl.minimum(tile.first + QUERIES, tile.end) - 1
    end = tl.minimum(begin + share, end_of_visible_keys(tile, last_row, PROBLEM.CAUSAL))
    attended = nothing_attended(ROWS, PROBLEM)
    for start in range(begin, end, BLOCK_K):
        attended = attend(attended, program, queries, start, True, POSITION_MEAN, PROBLEM, BLOCK_K)
    places_of_share = wide_rows * shares + tl.program_id(1)
    tl.store(partials.highest + places_of_share, attended.highest, mask=inside)
    tl.store(partials.total + places_of_share, attended.total, mask=inside)
    store_tile(partials.out, places_of_share, attended.out, inside, PROBLEM)
    if POSITION_MEAN:
        store_points(partials.mean, places_of_share, attended.mean, inside)
        tl.store(partials.moment + places_of_share, attended.moment, mask=inside)


@triton.jit(do_not_specialize=["shares"])
def combine_kernel(
    partials,
    results,
    shares,
    PROBLEM: tl.constexpr,
    POSITION_MEAN: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write the results of one row from its partials, in an order that never changes."""
    row = tl.program_id(0).to(tl.int64)
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    base = row * shares
    numbers = tl.arange(0, CHUNK)
    columns = tl.arange(0, D_PADDED)[None, :]
    held = columns < PROBLEM.D
    highest = tl.full([CHUNK], -float("inf"), tl.float32)
    for start in range(0, shares, CHUNK):
        inside = start + numbers < shares
        each = tl.load(partials.highest + base + start + numbers, mask=inside, other=-float("inf"))
        highest = tl.maximum(highest, each)
    best = tl.max(highest, 0)
    shift = tl.where(best == -float("inf"), 0.0, best)
    totals = tl.zeros([CHUNK], tl.float32)
    out = tl.zeros([CHUNK, D_PADDED], tl.float32)
    for start in range(0, shares, CHUNK):
        places = base + start + numbers
        inside = start + numbers < shares
        weight = weight_of(partials, places, inside, shift)
        totals += weight * tl.load(partials.total + places, mask=inside, other=0.0)
        pointers = partials.out + places[:, None] * PROBLEM.D + columns
        values = tl.load(pointers, mask=inside[:, None] & held, other=0.0)
        out += weight[:, None] * values
    total = tl.sum(totals, 0)
    blind = total == 0.0
    inverse = 1.0 / tl.where(blind, 1.0, total)
    values = tl.sum(out, 0)[None, :] * inverse
    pointers = results.out + row * PROBLEM.D + columns
    tl.store(pointers, values.to(results.out.dtype.element_ty), mask=held)
    lse = (best + tl.log2(tl.where(blind, 1.0, total))) * LN_2
    tl.store(results.lse + row, tl.where(blind, -float("inf"), lse))
    if POSITION_MEAN:
        mean = Point(0.0, 0.0, 0.0)
        for start in range(0, shares, CHUNK):
            places = base + start + numbers
            inside = start + numbers < shares
            probability = weight_of(partials, places, inside, shift) * inverse
            probability *= tl.load(partials.total + places, mask=inside, other=0.0)
            point = load_points(partials.mean, places, inside, 3)
            mean = plus(mean, sum_pairs(probability, point, 0))
        variance = 0.0
        for start in range(0, shares, CHUNK):
            places = base + start + numbers
            inside = start + numbers < shares
            weight = weight_of(partials, places, inside, shift) * inverse
            probability = weight * tl.load(partials.total + places, mask=inside, other=0.0)
            offset = minus(load_points(partials.mean, places, inside, 3), mean)
            moment = tl.load(partials.moment + places, mask=inside, other=0.0)
            variance += tl.sum(weight * moment + probability * inner(offset, offset), 0)
        store_points(results.mean, row, zero_where(blind, mean), None)
        tl.store(results.variance + row, variance)


@triton.jit
def weight_of(partials, places, inside, shift):
    """Return what the sums of shares are multiplied by to count from one maximum."""
    highest = tl.load(partials.highest + places, mask=inside, other=-float("inf"))
    return tl.exp2(highest - shift)
