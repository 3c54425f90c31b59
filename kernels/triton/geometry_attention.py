"""Forward Triton kernel of ``geometry_attention``.

One program attends from one tile of queries of one head to all keys of its segment, with online
softmax (Milakov and Gimelshein, 2018; Dao, 2023).
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    inner,
    load_centered,
    load_points,
    minus,
    plus,
    spread,
    store_points,
    sum_pairs,
    times,
    zero_points,
    zero_where,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LN_2,
    bias_of,
    compare,
    end_of_visible_keys,
    hide_keys,
    load_queries,
    load_rows,
    locate_queries,
    score_products,
    store_rows,
)


@triton.jit
def forward_kernel(
    tokens,
    results,
    sizes,
    PROBLEM: tl.constexpr,
    POSITION_MEAN: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the results; ``POSITION_MEAN`` asks for the mean and the variance of positions."""
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    BIASED: tl.constexpr = PROBLEM.PARAMETERS > 0
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    q_tile = load_rows(tokens.q, rows, inside, head, PROBLEM.H, PROBLEM)
    kv_head = head // PROBLEM.GROUP
    if BIASED or POSITION_MEAN:
        k_begin = tile.other_begin
        center = load_points(tokens.k_position, k_begin, k_begin < tile.other_end, 3)
    if BIASED:
        q_point, slopes = load_queries(tokens, sizes, rows, inside, head, center, 1, PROBLEM)
    if POSITION_MEAN:
        mean = zero_points(BLOCK_Q)
        moment = tl.zeros([BLOCK_Q], tl.float32)
    highest = tl.full([BLOCK_Q], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    attended = tl.zeros([BLOCK_Q, D_PADDED], tl.float32)
    last_visible = end_of_visible_keys(tile, BLOCK_Q, PROBLEM.CAUSAL)
    for start in range(tile.other_begin, last_visible, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        present = keys < tile.other_end
        k_tile = load_rows(tokens.k, keys, present, kv_head, PROBLEM.KV_HEADS, PROBLEM)
        score = score_products(q_tile, k_tile, sizes.scale, PRECISION)
        if BIASED or POSITION_MEAN:
            k_point = spread(load_centered(tokens.k_position, keys, present, 3, center), 0)
        if BIASED:
            pairs = compare(spread(q_point, 1), k_point, sizes.eps, False, PROBLEM)
            score += bias_of(pairs, slopes, tokens.q_gate is not None, PROBLEM)
        score = hide_keys(score, tile, rows, keys, present, PROBLEM.CAUSAL)
        raised = tl.maximum(highest, tl.max(score, 1))
        shift = tl.where(raised == -float("inf"), 0.0, raised)
        decay = tl.exp2(highest - shift)
        probability = tl.exp2(score - shift[:, None])
        tile_total = tl.sum(probability, 1)
        highest = raised
        total *= decay
        if POSITION_MEAN:
            # Moments of a tile are merged into those before it (Chan, Golub and LeVeque, 1983).
            weight = 1.0 / tl.where(tile_total == 0.0, 1.0, tile_total)
            tile_mean = times(sum_pairs(probability, k_point, 1), weight)
            offset = minus(k_point, spread(tile_mean, 1))
            tile_moment = tl.sum(probability * inner(offset, offset), 1)
            whole = total + tile_total
            share = tile_total / tl.where(whole == 0.0, 1.0, whole)
            step = minus(tile_mean, mean)
            moment = moment * decay + tile_moment
            moment += inner(step, step) * total * share
            mean = plus(mean, times(step, share))
        total += tile_total
        v_tile = load_rows(tokens.v, keys, present, kv_head, PROBLEM.KV_HEADS, PROBLEM)
        attended *= decay[:, None]
        attended = tl.dot(probability.to(v_tile.dtype), v_tile, attended, input_precision=PRECISION)
    blind = total == 0.0
    inverse = 1.0 / tl.where(blind, 1.0, total)
    wide_rows = rows.to(tl.int64) * PROBLEM.H + head
    store_rows(results.out, wide_rows, attended * inverse[:, None], inside, PROBLEM)
    log_total = (highest + tl.log2(tl.where(blind, 1.0, total))) * LN_2
    tl.store(results.lse + wide_rows, tl.where(blind, -float("inf"), log_total), mask=inside)
    if POSITION_MEAN:
        store_points(results.mean, wide_rows, zero_where(blind, plus(mean, center)), inside)
        tl.store(results.variance + wide_rows, moment * inverse, mask=inside)
