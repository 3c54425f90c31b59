"""Backward Triton kernel of ``geometry_attention`` for tiles of queries.

It recomputes the probabilities from the saved lse, owns the gradients of its queries, and leaves
``delta`` for the key kernel: no atomics. With ``e = k_position - mean``, the mean and the variance
of a row add ``e . (grad_mean + grad_variance e)`` to the gradient of its probabilities.

The gradient of a position is ``sum radial * difference``. In half precision it is taken apart into
``sum radial * k_position - q_position * sum radial``, which keeps fewer numbers of each pair in
registers; next to a coincident pair that costs a relative 1e-4, which float32 does not pay.

``delta_i = sum_j P_ij dP_ij`` is taken from the saved output, which half precision has rounded. As
``sum_j dS_ij = grad_lse_i``, what that sum misses is the error of delta: the bias parameters and
the key kernel get it corrected.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_points import (
    load_centered,
    load_points,
    minus,
    plus,
    spread,
    squeeze,
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
    end_of_visible_keys,
    hide_keys,
    load_queries,
    load_rows,
    locate_queries,
    radial_slope,
    score_products,
    store_rows,
)


@triton.jit
def query_kernel(
    grads,
    tokens,
    results,
    delta,
    grad_q,
    grad_features,
    grad_q_position,
    sizes,
    PROBLEM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write delta, grad_q, ``sum_j dS_ij phi_p(ij)`` of each parameter, and grad_q_position."""
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    D_PADDED: tl.constexpr = PROBLEM.D_PADDED
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    BIASED: tl.constexpr = PROBLEM.PARAMETERS > 0
    MOMENTS: tl.constexpr = grads.mean is not None or grads.variance is not None
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    wide_rows = rows.to(tl.int64) * PROBLEM.H + head
    q_tile = load_rows(tokens.q, rows, inside, head, PROBLEM.H, PROBLEM)
    grad_tile = load_rows(grads.out, rows, inside, head, PROBLEM.H, PROBLEM)
    out_tile = load_rows(results.out, rows, inside, head, PROBLEM.H, PROBLEM)
    kv_head = head // PROBLEM.GROUP
    row_lse = tl.load(results.lse + wide_rows, mask=inside, other=-float("inf"))
    blind = row_lse == -float("inf")
    row_lse = tl.where(blind, float("inf"), row_lse * LOG2_E)
    row_delta = tl.sum(grad_tile.to(tl.float32) * out_tile.to(tl.float32), 1)
    row_grad_lse = tl.zeros([BLOCK_Q], tl.float32)
    if grads.lse is not None:
        row_grad_lse = tl.load(grads.lse + wide_rows, mask=inside, other=0.0)
        row_grad_lse = tl.where(blind, 0.0, row_grad_lse)
    row_delta -= row_grad_lse
    if MOMENTS:
        mean = load_points(results.mean, wide_rows, inside, 3)
        pull = zero_points(BLOCK_Q)
        stretch = tl.zeros([BLOCK_Q], tl.float32)
        if grads.mean is not None:
            pull = load_points(grads.mean, wide_rows, inside, 3)
        if grads.variance is not None:
            stretch = tl.load(grads.variance + wide_rows, mask=inside, other=0.0)
            row_delta += stretch * tl.load(results.variance + wide_rows, mask=inside, other=0.0)
    row_delta = tl.where(blind, 0.0, row_delta)
    if BIASED:
        k_begin = tile.other_begin
        center = load_points(tokens.k_position, k_begin, k_begin < tile.other_end, 3)
        q_point, slopes = load_queries(tokens, sizes, rows, inside, head, center, 1, PROBLEM)
        # Sums over keys of grad_score times a function of the pair, and means under P of the same.
        radius_sum = tl.zeros([BLOCK_Q], tl.float32)
        square_sum = tl.zeros([BLOCK_Q], tl.float32)
        mean_radius = tl.zeros([BLOCK_Q], tl.float32)
        mean_square = tl.zeros([BLOCK_Q], tl.float32)
        mean_k = zero_points(BLOCK_Q)
        score_k = zero_points(BLOCK_Q)
        radial_sum = tl.zeros([BLOCK_Q], tl.float32)
        radial_k = zero_points(BLOCK_Q)
    score_sum = tl.zeros([BLOCK_Q], tl.float32)
    grad_q_tile = tl.zeros([BLOCK_Q, D_PADDED], tl.float32)
    last_visible = end_of_visible_keys(tile, BLOCK_Q, PROBLEM.CAUSAL)
    for start in range(tile.other_begin, last_visible, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        present = keys < tile.other_end
        k_tile = load_rows(tokens.k, keys, present, kv_head, PROBLEM.KV_HEADS, PROBLEM)
        v_tile = load_rows(tokens.v, keys, present, kv_head, PROBLEM.KV_HEADS, PROBLEM)
        score = score_products(q_tile, k_tile, sizes.scale, PRECISION)
        if BIASED:
            k_point = spread(load_centered(tokens.k_position, keys, present, 3, center), 0)
            pairs = compare(spread(q_point, 1), k_point, sizes.eps, True, PROBLEM)
            score += bias_of(pairs, slopes, tokens.q_gate is not None, PROBLEM)
        score = hide_keys(score, tile, rows, keys, present, PROBLEM.CAUSAL)
        probability = tl.exp2(score - row_lse[:, None])
        grad_score = tl.dot(grad_tile, tl.trans(v_tile), input_precision=PRECISION)
        if MOMENTS:
            place = spread(load_points(tokens.k_position, keys, present, 3), 0)
            offset = minus(place, spread(mean, 1))
            grad_score += offset.x * (pull.x[:, None] + stretch[:, None] * offset.x)
            grad_score += offset.y * (pull.y[:, None] + stretch[:, None] * offset.y)
            grad_score += offset.z * (pull.z[:, None] + stretch[:, None] * offset.z)
        grad_score = probability * (grad_score - row_delta[:, None])
        score_sum += tl.sum(grad_score, 1)
        grad_q_tile = tl.dot(
            grad_score.to(k_tile.dtype), k_tile, grad_q_tile, input_precision=PRECISION
        )
        if BIASED:
            if PROBLEM.DISTANCE >= 0:
                radius_sum += tl.sum(grad_score * pairs.radius, 1)
                mean_radius += tl.sum(probability * pairs.radius, 1)
            if PROBLEM.SQUARED >= 0:
                square_sum += tl.sum(grad_score * pairs.square, 1)
                mean_square += tl.sum(probability * pairs.square, 1)
            if PROBLEM.DIRECTION >= 0:
                score_k = plus(score_k, sum_pairs(grad_score, k_point, 1))
                mean_k = plus(mean_k, sum_pairs(probability, k_point, 1))
            if grad_q_position is not None and (PROBLEM.DISTANCE >= 0 or PROBLEM.SQUARED >= 0):
                radial = radial_slope(pairs, slopes, PROBLEM) * grad_score
                if PRECISION == "ieee":
                    radial_k = plus(radial_k, sum_pairs(radial, pairs.difference, 1))
                else:
                    radial_sum += tl.sum(radial, 1)
                    radial_k = plus(radial_k, sum_pairs(radial, k_point, 1))
    store_rows(grad_q, wide_rows, grad_q_tile * sizes.scale, inside, PROBLEM)
    missed = tl.where(blind, 0.0, score_sum - row_grad_lse)
    tl.store(delta + wide_rows, row_delta + missed, mask=inside)
    if BIASED:
        feature = grad_features + wide_rows * PROBLEM.PARAMETERS
        if PROBLEM.DISTANCE >= 0:
            column = feature + PROBLEM.DISTANCE
            tl.store(column, missed * mean_radius - radius_sum, mask=inside)
        if PROBLEM.SQUARED >= 0:
            column = feature + PROBLEM.SQUARED
            tl.store(column, missed * mean_square - square_sum, mask=inside)
        if PROBLEM.DIRECTION >= 0:
            expected = plus(times(mean_k, missed), times(q_point, row_grad_lse))
            score_k = minus(score_k, expected)
            column = feature + PROBLEM.DIRECTION
            tl.store(column, score_k.x, mask=inside)
            tl.store(column + 1, score_k.y, mask=inside)
            tl.store(column + 2, score_k.z, mask=inside)
        if grad_q_position is not None:
            own = minus(times(q_point, radial_sum), radial_k)
            if PROBLEM.DIRECTION >= 0:
                direction = slopes.direction
                if tokens.q_gate is not None:
                    direction = squeeze(direction, 1)
                own = minus(own, times(direction, row_grad_lse))
            if tokens.q_gate is not None:
                # The bias of a row with gate 0 does not depend on its position, finite or not.
                own = zero_where(tl.sum(slopes.gate, 1) == 0.0, own)
            store_points(grad_q_position, wide_rows, own, inside)
