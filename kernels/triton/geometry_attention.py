"""Forward Triton kernel of ``geometry_attention``.

One program attends from one tile of queries of one head to all keys of its segment, with online
softmax (Milakov and Gimelshein, 2018; Dao, 2023). Tiles of keys that every query sees are not
masked.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_channels import load_frame
from g2vlm_fast.kernels.triton.geometry_attention_points import (
    Point,
    inner,
    load_framed,
    minus,
    plus,
    spread,
    store_points,
    sum_pairs,
    times,
    zero_points,
    zero_where,
)
from g2vlm_fast.kernels.triton.geometry_attention_terms import (
    bias_of,
    compare,
    load_key_places,
    load_parameters,
    load_query_places,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LN_2,
    Program,
    clear_and_visible_ends,
    dropout_factor,
    hide_keys,
    list_of,
    load_tile,
    locate_queries,
    score_products,
    store_tile,
    visible_keys,
)


class Attended(NamedTuple):
    """What each query has attended to so far, under the scores relative to ``highest``."""

    highest: Any
    total: Any
    out: Any  # not divided by the total yet
    mean: Point  # of the key positions, in the frame
    moment: Any  # sum of squared distances from the mean


class Queries(NamedTuple):
    """A tile of queries."""

    heads: Any  # one head, or a column of one for each row
    rows: Any
    q: Any
    places: Any
    parameters: Any


@triton.jit
def forward_kernel(
    tokens,
    channels,
    results,
    kept,
    sizes,
    PROBLEM: tl.constexpr,
    POSITION_MEAN: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the results; ``POSITION_MEAN`` asks for the mean and the variance of positions.

    ``kept`` lists tiles of keys: of ``TAIL`` keys where a mask leaves none clear.
    """
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    TAIL: tl.constexpr = max(BLOCK_K // 2, 16)  # masks take registers
    BIASED: tl.constexpr = PROBLEM.BIASED
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    q_tile = load_tile(tokens.q, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    frame = 0.0
    places = 0.0
    parameters = 0.0
    if BIASED or POSITION_MEAN:
        frame = load_frame(
            tokens, channels, tile.segment, tile.other_begin, tile.other_end, PROBLEM
        )
    program = Program(tokens, channels, sizes, tile, head, frame)
    if BIASED:
        places = load_query_places(program, tile.first, rows, inside, BLOCK_Q, PROBLEM)
        parameters = load_parameters(program, rows, inside, 1, PROBLEM)
    attended = nothing_attended(BLOCK_Q, PROBLEM)
    clear_end, last_end = clear_and_visible_ends(tokens, tile, BLOCK_Q, BLOCK_K, PROBLEM.CAUSAL)
    queries = Queries(head, rows, q_tile, places, parameters)
    if kept.lists is None:
        for start in range(tile.other_begin, clear_end, BLOCK_K):
            attended = attend(
                attended, program, queries, start, False, POSITION_MEAN, PROBLEM, BLOCK_K
            )
    else:
        MASKED: tl.constexpr = tokens.k_mask is not None
        UNIT: tl.constexpr = TAIL if MASKED else BLOCK_K
        listed, count = list_of(kept, head, PROBLEM.H)
        number = tl.load(listed).to(tl.int32)
        for turn in range(0, count):
            start = tile.other_begin + number * UNIT
            number = tl.load(listed + turn + 1).to(tl.int32)  # early: a load depends on it
            attended = attend(
                attended, program, queries, start, MASKED, POSITION_MEAN, PROBLEM, UNIT
            )
        if MASKED:
            clear_end = last_end
    for start in tl.range(clear_end, last_end, TAIL, num_stages=1):
        attended = attend(attended, program, queries, start, True, POSITION_MEAN, PROBLEM, TAIL)
    blind = attended.total == 0.0
    inverse = 1.0 / tl.where(blind, 1.0, attended.total)
    wide_rows = rows.to(tl.int64) * PROBLEM.H + head
    store_tile(results.out, wide_rows, attended.out * inverse[:, None], inside, PROBLEM)
    lse = (attended.highest + tl.log2(tl.where(blind, 1.0, attended.total))) * LN_2
    tl.store(results.lse + wide_rows, tl.where(blind, -float("inf"), lse), mask=inside)
    if POSITION_MEAN:
        mean = plus(times(attended.mean, frame.metres), frame.center)
        store_points(results.mean, wide_rows, zero_where(blind, mean), inside)
        variance = attended.moment * inverse * (frame.metres * frame.metres)
        tl.store(results.variance + wide_rows, variance, mask=inside)


@triton.jit
def score_tile(
    program,
    queries,
    start,
    visible,
    MASKED: tl.constexpr,
    PROBLEM: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the scores of one tile of keys in units of log 2."""
    tokens = program.tokens
    tile = program.tile
    parameters = queries.parameters
    kv_head = program.head // PROBLEM.GROUP
    keys = start + tl.arange(0, BLOCK_K)
    k_tile = load_tile(tokens.k, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
    score = score_products(queries.q, k_tile, program.sizes.scale, PROBLEM)
    if PROBLEM.BIASED:
        k_places = load_key_places(program, start, keys, visible, BLOCK_K, PROBLEM)
        pairs = compare(queries.places, k_places, parameters, program, False, False, PROBLEM)
        score += bias_of(pairs, parameters, tl.zeros([1, 1], tl.float32), PROBLEM)
    if MASKED:
        score = hide_keys(score, tile, queries.rows, keys, visible, PROBLEM.CAUSAL)
    return score


@triton.jit
def nothing_attended(BLOCK_Q: tl.constexpr, PROBLEM: tl.constexpr):
    """Return the :class:`Attended` of rows that have seen no key."""
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    return Attended(
        tl.full([BLOCK_Q], -float("inf"), tl.float32),
        tl.zeros([BLOCK_Q], tl.float32),
        tl.zeros([BLOCK_Q, D_PADDED], tl.float32),
        zero_points(BLOCK_Q),
        tl.zeros([BLOCK_Q], tl.float32),
    )


@triton.jit
def attend(
    attended,
    program,
    queries,
    start,
    MASKED: tl.constexpr,
    POSITION_MEAN: tl.constexpr,
    PROBLEM: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Attend to one tile of keys."""
    tokens = program.tokens
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    kv_head = program.head // PROBLEM.GROUP
    keys = start + tl.arange(0, BLOCK_K)
    visible = None
    if MASKED:
        visible = visible_keys(tokens, keys, program.tile.other_end)
    score = score_tile(program, queries, start, visible, MASKED, PROBLEM, BLOCK_K)
    highest = tl.maximum(attended.highest, tl.max(score, 1))
    shift = tl.where(highest == -float("inf"), 0.0, highest)
    decay = tl.exp2(attended.highest - shift)
    probability = tl.exp2(score - shift[:, None])
    tile_total = tl.sum(probability, 1)
    total = attended.total * decay
    mean = attended.mean
    moment = attended.moment
    if POSITION_MEAN:
        # Moments of a tile are merged into those before it (Chan, Golub and LeVeque, 1983).
        k_point = spread(load_framed(tokens.k_position, keys, visible, 3, program.frame), 0)
        weight = 1.0 / tl.where(tile_total < 1e-30, 1.0, tile_total)
        tile_mean = times(sum_pairs(probability, k_point, 1), weight)
        offset = minus(k_point, spread(tile_mean, 1))
        tile_moment = tl.sum(probability * inner(offset, offset), 1)
        whole = total + tile_total
        share = tile_total / tl.where(whole == 0.0, 1.0, whole)
        step = minus(tile_mean, mean)
        moment = moment * decay + tile_moment + inner(step, step) * total * share
        mean = plus(mean, times(step, share))
    total += tile_total
    if PROBLEM.DROPOUT:
        probability *= dropout_factor(program, queries.heads, queries.rows[:, None], keys[None, :])
    v_tile = load_tile(tokens.v, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
    out = attended.out * decay[:, None]
    out = tl.dot(probability.to(v_tile.dtype), v_tile, out, input_precision=PRECISION)
    return Attended(highest, total, out, mean, moment)
