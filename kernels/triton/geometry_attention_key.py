"""Backward Triton kernel of ``geometry_attention`` for tiles of keys.

It runs after the query kernel (:mod:`~g2vlm_fast.kernels.triton.geometry_attention_query`, which
says how), recomputes the probabilities and owns the gradients of its keys.
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LOG2_E,
    bias_of,
    load_centered,
    load_points,
    load_rows,
    load_slopes,
    locate_tile,
)


@triton.jit
def key_kernel(
    grad_out,
    grad_mean,
    grad_variance,
    q,
    k,
    v,
    parameters,
    q_position,
    k_position,
    q_gate,
    q_offsets,
    k_offsets,
    lse,
    mean,
    delta,
    grad_k,
    grad_v,
    grad_k_position,
    num_queries,
    num_keys,
    num_segments,
    scale,
    eps,
    q_position_stride,
    q_position_head_stride,
    H: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
    PARAMETERS: tl.constexpr,
    DISTANCE: tl.constexpr,
    SQUARED: tl.constexpr,
    DIRECTION: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write grad_k, grad_v and the share of one key head in grad_k_position."""
    tile = tl.program_id(0)
    kv_head = tl.program_id(1)
    first, end, q_begin, q_end = locate_tile(
        tile, k_offsets, q_offsets, num_keys, num_queries, num_segments, BLOCK_K
    )
    if first >= end:
        return
    KV_HEADS: tl.constexpr = H // GROUP
    MOMENTS: tl.constexpr = grad_mean is not None or grad_variance is not None
    keys = first + tl.arange(0, BLOCK_K)
    inside = keys < end
    columns = tl.arange(0, D_PADDED)
    k_tile = load_rows(k + kv_head * D, keys, columns, inside, KV_HEADS * D, D)
    v_tile = load_rows(v + kv_head * D, keys, columns, inside, KV_HEADS * D, D)
    if PARAMETERS > 0 or MOMENTS:
        cx, cy, cz = load_points(k_position, first, first < end, 3)
        kx, ky, kz = load_centered(k_position, keys, inside, 3, cx, cy, cz)
    grad_k_tile = tl.zeros([BLOCK_K, D_PADDED], tl.float32)
    grad_v_tile = tl.zeros([BLOCK_K, D_PADDED], tl.float32)
    # The gradient of key j is sum_i radial_ij * (k_j - q_i), plus what point_x, ... collect.
    radial_sum = tl.zeros([BLOCK_K], tl.float32)
    radial_x = tl.zeros([BLOCK_K], tl.float32)
    radial_y = tl.zeros([BLOCK_K], tl.float32)
    radial_z = tl.zeros([BLOCK_K], tl.float32)
    point_x = tl.zeros([BLOCK_K], tl.float32)
    point_y = tl.zeros([BLOCK_K], tl.float32)
    point_z = tl.zeros([BLOCK_K], tl.float32)
    q_first = q_begin
    if CAUSAL:
        q_first = tl.maximum(q_begin, first - end + q_end)
    for member in range(GROUP):
        head = kv_head * GROUP + member
        for start in range(q_first, q_end, BLOCK_Q):
            rows = start + tl.arange(0, BLOCK_Q)
            present = rows < q_end
            wide_rows = rows.to(tl.int64) * H + head
            q_tile = load_rows(q + head * D, rows, columns, present, H * D, D)
            grad_tile = load_rows(grad_out + head * D, rows, columns, present, H * D, D)
            row_lse = tl.load(lse + wide_rows, mask=present, other=-float("inf"))
            row_lse = tl.where(row_lse == -float("inf"), float("inf"), row_lse * LOG2_E)
            row_delta = tl.load(delta + wide_rows, mask=present, other=0.0)
            score = tl.dot(k_tile, tl.trans(q_tile), input_precision=PRECISION)
            score *= scale * LOG2_E
            if PARAMETERS > 0:
                point = q_position + head * q_position_head_stride
                qx, qy, qz = load_centered(point, rows, present, q_position_stride, cx, cy, cz)
                gate, distance, squared, wx, wy, wz = load_slopes(
                    parameters,
                    q_gate,
                    rows,
                    present,
                    head,
                    0,
                    H,
                    PARAMETERS,
                    DISTANCE,
                    SQUARED,
                    DIRECTION,
                )
                qx = qx[None, :]
                qy = qy[None, :]
                qz = qz[None, :]
                if q_gate is not None:
                    # A row with gate 0 may stand nowhere, and must not pull on any key.
                    qx = tl.where(gate == 0.0, 0.0, qx)
                    qy = tl.where(gate == 0.0, 0.0, qy)
                    qz = tl.where(gate == 0.0, 0.0, qz)
                dx = kx[:, None] - qx
                dy = ky[:, None] - qy
                dz = kz[:, None] - qz
                square = dx * dx + dy * dy + dz * dz
                inverse = square
                radius = square
                if DISTANCE >= 0:
                    inverse = tl.rsqrt(square + eps * eps)
                    radius = (square + eps * eps) * inverse
                score += bias_of(
                    dx,
                    dy,
                    dz,
                    square,
                    radius,
                    gate,
                    distance,
                    squared,
                    wx,
                    wy,
                    wz,
                    q_gate is not None,
                    DISTANCE,
                    SQUARED,
                    DIRECTION,
                )
            if CAUSAL:
                hidden = keys[:, None] - end > rows[None, :] - q_end
                score = tl.where(hidden, -float("inf"), score)
            probability = tl.exp2(score - row_lse[None, :])
            grad_v_tile = tl.dot(
                probability.to(grad_tile.dtype), grad_tile, grad_v_tile, input_precision=PRECISION
            )
            grad_score = tl.dot(v_tile, tl.trans(grad_tile), input_precision=PRECISION)
            if MOMENTS:
                mean_x, mean_y, mean_z = load_centered(mean, wide_rows, present, 3, cx, cy, cz)
                ex = kx[:, None] - mean_x[None, :]
                ey = ky[:, None] - mean_y[None, :]
                ez = kz[:, None] - mean_z[None, :]
                if grad_mean is not None:
                    pull_x, pull_y, pull_z = load_points(grad_mean, wide_rows, present, 3)
                    grad_score += ex * pull_x[None, :] + ey * pull_y[None, :] + ez * pull_z[None, :]
                    if grad_k_position is not None:
                        point_x += tl.sum(probability * pull_x[None, :], 1)
                        point_y += tl.sum(probability * pull_y[None, :], 1)
                        point_z += tl.sum(probability * pull_z[None, :], 1)
                if grad_variance is not None:
                    pull = tl.load(grad_variance + wide_rows, mask=present, other=0.0)[None, :]
                    grad_score += pull * (ex * ex + ey * ey + ez * ez)
                    if grad_k_position is not None:
                        radial = 2.0 * pull * probability
                        radial_sum += tl.sum(radial, 1)
                        radial_x += tl.sum(radial * mean_x[None, :], 1)
                        radial_y += tl.sum(radial * mean_y[None, :], 1)
                        radial_z += tl.sum(radial * mean_z[None, :], 1)
            grad_score = probability * (grad_score - row_delta[None, :])
            grad_k_tile = tl.dot(
                grad_score.to(q_tile.dtype), q_tile, grad_k_tile, input_precision=PRECISION
            )
            if PARAMETERS > 0 and grad_k_position is not None:
                if DISTANCE >= 0 or SQUARED >= 0:
                    # d bias / d difference = radial * difference + direction
                    radial = tl.zeros_like(square)
                    if DISTANCE >= 0:
                        radial -= distance * inverse
                    if SQUARED >= 0:
                        radial -= 2.0 * squared
                    radial *= grad_score
                    if PRECISION == "ieee":
                        point_x += tl.sum(radial * dx, 1)
                        point_y += tl.sum(radial * dy, 1)
                        point_z += tl.sum(radial * dz, 1)
                    else:
                        radial_sum += tl.sum(radial, 1)
                        radial_x += tl.sum(radial * qx, 1)
                        radial_y += tl.sum(radial * qy, 1)
                        radial_z += tl.sum(radial * qz, 1)
                if DIRECTION >= 0:
                    point_x += tl.sum(grad_score * wx, 1)
                    point_y += tl.sum(grad_score * wy, 1)
                    point_z += tl.sum(grad_score * wz, 1)
    wide_keys = keys.to(tl.int64) * KV_HEADS + kv_head
    stored = inside[:, None] & (columns < D)[None, :]
    shift = wide_keys[:, None] * D + columns[None, :]
    tl.store(grad_k + shift, (grad_k_tile * scale).to(grad_k.dtype.element_ty), mask=stored)
    tl.store(grad_v + shift, grad_v_tile.to(grad_v.dtype.element_ty), mask=stored)
    if grad_k_position is not None:
        own = grad_k_position + wide_keys * 3
        tl.store(own, point_x + kx * radial_sum - radial_x, mask=inside)
        tl.store(own + 1, point_y + ky * radial_sum - radial_y, mask=inside)
        tl.store(own + 2, point_z + kz * radial_sum - radial_z, mask=inside)
