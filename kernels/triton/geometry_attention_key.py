"""Backward Triton kernel of ``geometry_attention`` for tiles of keys.

It runs after the query kernel (:mod:`~g2vlm_fast.kernels.triton.geometry_attention_query`, which
says how), recomputes the probabilities and owns the gradients of its keys.
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
    LOG2_E,
    bias_of,
    compare,
    load_queries,
    load_rows,
    locate_keys,
    radial_slope,
    score_products,
    store_rows,
)


@triton.jit
def key_kernel(
    grads,
    tokens,
    results,
    delta,
    grad_k,
    grad_v,
    grad_k_position,
    sizes,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write grad_k, grad_v and the share of one key head in grad_k_position."""
    kv_head = tl.program_id(1)
    tile = locate_keys(tokens, sizes, BLOCK_K)
    if tile.first >= tile.end:
        return
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    GROUP: tl.constexpr = PROBLEM.GROUP
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    BIASED: tl.constexpr = PROBLEM.PARAMETERS > 0
    MOMENTS: tl.constexpr = grads.mean is not None or grads.variance is not None
    keys = tile.first + tl.arange(0, BLOCK_K)
    inside = keys < tile.end
    k_tile = load_rows(tokens.k, keys, inside, kv_head, PROBLEM.KV_HEADS, PROBLEM)
    v_tile = load_rows(tokens.v, keys, inside, kv_head, PROBLEM.KV_HEADS, PROBLEM)
    if BIASED or MOMENTS:
        center = load_points(tokens.k_position, tile.first, tile.first < tile.end, 3)
        k_point = load_centered(tokens.k_position, keys, inside, 3, center)
    grad_k_tile = tl.zeros([BLOCK_K, D_PADDED], tl.float32)
    grad_v_tile = tl.zeros([BLOCK_K, D_PADDED], tl.float32)
    # The gradient of key j is sum_i radial_ij * (k_j - q_i), plus what `own` collects.
    radial_sum = tl.zeros([BLOCK_K], tl.float32)
    radial_q = zero_points(BLOCK_K)
    own = zero_points(BLOCK_K)
    q_first = tile.other_begin
    if PROBLEM.CAUSAL:
        q_first = tl.maximum(q_first, tile.first - tile.end + tile.other_end)
    for member in range(GROUP):
        head = kv_head * GROUP + member
        for start in range(q_first, tile.other_end, BLOCK_Q):
            rows = start + tl.arange(0, BLOCK_Q)
            present = rows < tile.other_end
            wide_rows = rows.to(tl.int64) * PROBLEM.H + head
            q_tile = load_rows(tokens.q, rows, present, head, PROBLEM.H, PROBLEM)
            grad_tile = load_rows(grads.out, rows, present, head, PROBLEM.H, PROBLEM)
            row_lse = tl.load(results.lse + wide_rows, mask=present, other=-float("inf"))
            row_lse = tl.where(row_lse == -float("inf"), float("inf"), row_lse * LOG2_E)
            row_delta = tl.load(delta + wide_rows, mask=present, other=0.0)
            score = score_products(k_tile, q_tile, sizes.scale, PRECISION)
            if BIASED:
                q_point, slopes = load_queries(
                    tokens, sizes, rows, present, head, center, 0, PROBLEM
                )
                q_point = spread(q_point, 0)
                if tokens.q_gate is not None:
                    # A row with gate 0 may stand nowhere, and must not pull on any key.
                    q_point = zero_where(slopes.gate == 0.0, q_point)
                pairs = compare(q_point, spread(k_point, 1), sizes.eps, True, PROBLEM)
                score += bias_of(pairs, slopes, tokens.q_gate is not None, PROBLEM)
            if PROBLEM.CAUSAL:
                hidden = keys[:, None] - tile.end > rows[None, :] - tile.other_end
                score = tl.where(hidden, -float("inf"), score)
            probability = tl.exp2(score - row_lse[None, :])
            grad_v_tile = tl.dot(
                probability.to(grad_tile.dtype), grad_tile, grad_v_tile, input_precision=PRECISION
            )
            grad_score = tl.dot(v_tile, tl.trans(grad_tile), input_precision=PRECISION)
            if MOMENTS:
                mean = spread(load_centered(results.mean, wide_rows, present, 3, center), 0)
                offset = minus(spread(k_point, 1), mean)
                if grads.mean is not None:
                    pull = spread(load_points(grads.mean, wide_rows, present, 3), 0)
                    grad_score += inner(offset, pull)
                    if grad_k_position is not None:
                        own = plus(own, sum_pairs(probability, pull, 1))
                if grads.variance is not None:
                    pointers = grads.variance + wide_rows
                    stretch = tl.load(pointers, mask=present, other=0.0)[None, :]
                    grad_score += stretch * inner(offset, offset)
                    if grad_k_position is not None:
                        radial = 2.0 * stretch * probability
                        radial_sum += tl.sum(radial, 1)
                        radial_q = plus(radial_q, sum_pairs(radial, mean, 1))
            grad_score = probability * (grad_score - row_delta[None, :])
            grad_k_tile = tl.dot(
                grad_score.to(q_tile.dtype), q_tile, grad_k_tile, input_precision=PRECISION
            )
            if BIASED and grad_k_position is not None:
                if PROBLEM.DISTANCE >= 0 or PROBLEM.SQUARED >= 0:
                    radial = radial_slope(pairs, slopes, PROBLEM) * grad_score
                    if PRECISION == "ieee":
                        own = plus(own, sum_pairs(radial, pairs.difference, 1))
                    else:
                        radial_sum += tl.sum(radial, 1)
                        radial_q = plus(radial_q, sum_pairs(radial, q_point, 1))
                if PROBLEM.DIRECTION >= 0:
                    own = plus(own, sum_pairs(grad_score, slopes.direction, 1))
    wide_keys = keys.to(tl.int64) * PROBLEM.KV_HEADS + kv_head
    store_rows(grad_k, wide_keys, grad_k_tile * sizes.scale, inside, PROBLEM)
    store_rows(grad_v, wide_keys, grad_v_tile, inside, PROBLEM)
    if grad_k_position is not None:
        own = minus(plus(own, times(k_point, radial_sum)), radial_q)
        store_points(grad_k_position, wide_keys, own, inside)
