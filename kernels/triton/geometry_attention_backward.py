"""Backward Triton kernels of ``geometry_attention``.

Two kernels without atomics: the query kernel owns the gradients of tiles of queries and leaves
``delta`` for the key kernel, which owns those of tiles of keys. Both recompute the probabilities
from the saved lse. With ``e = k_position - mean``, the mean and the variance of a row add
``e . (grad_mean + grad_variance e)`` to the gradient of its probabilities.

The gradient of a position is ``sum radial * difference``. In half precision it is taken apart into
``sum radial * k_position - q_position * sum radial``, which keeps fewer numbers of each pair in
registers; next to a coincident pair that costs a relative 1e-4, which float32 does not pay.

``delta_i = sum_j P_ij dP_ij`` is taken from the saved output, which half precision has rounded. As
``sum_j dS_ij = grad_lse_i``, what that sum misses is the error of delta: the bias parameters and
the key kernel get it corrected.
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
def query_kernel(
    grad_out,
    grad_lse,
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
    out,
    lse,
    mean,
    variance,
    delta,
    grad_q,
    grad_features,
    grad_q_position,
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
    """Write delta, grad_q, ``sum_j dS_ij phi_p(ij)`` of each parameter, and grad_q_position."""
    tile = tl.program_id(0)
    head = tl.program_id(1)
    first, end, k_begin, k_end = locate_tile(
        tile, q_offsets, k_offsets, num_queries, num_keys, num_segments, BLOCK_Q
    )
    if first >= end:
        return
    rows = first + tl.arange(0, BLOCK_Q)
    inside = rows < end
    wide_rows = rows.to(tl.int64) * H + head
    columns = tl.arange(0, D_PADDED)
    K_STRIDE: tl.constexpr = H // GROUP * D
    q_tile = load_rows(q + head * D, rows, columns, inside, H * D, D)
    grad_tile = load_rows(grad_out + head * D, rows, columns, inside, H * D, D)
    out_tile = load_rows(out + head * D, rows, columns, inside, H * D, D)
    row_lse = tl.load(lse + wide_rows, mask=inside, other=-float("inf"))
    blind = row_lse == -float("inf")
    row_lse = tl.where(blind, float("inf"), row_lse * LOG2_E)
    row_delta = tl.sum(grad_tile.to(tl.float32) * out_tile.to(tl.float32), 1)
    row_grad_lse = tl.zeros([BLOCK_Q], tl.float32)
    if grad_lse is not None:
        row_grad_lse = tl.load(grad_lse + wide_rows, mask=inside, other=0.0)
        row_grad_lse = tl.where(blind, 0.0, row_grad_lse)
    row_delta -= row_grad_lse
    MOMENTS: tl.constexpr = grad_mean is not None or grad_variance is not None
    if MOMENTS:
        mean_x, mean_y, mean_z = load_points(mean, wide_rows, inside, 3)
        pull_x = tl.zeros([BLOCK_Q], tl.float32)
        pull_y = tl.zeros([BLOCK_Q], tl.float32)
        pull_z = tl.zeros([BLOCK_Q], tl.float32)
        pull = tl.zeros([BLOCK_Q], tl.float32)
        if grad_mean is not None:
            pull_x, pull_y, pull_z = load_points(grad_mean, wide_rows, inside, 3)
        if grad_variance is not None:
            pull = tl.load(grad_variance + wide_rows, mask=inside, other=0.0)
            row_delta += pull * tl.load(variance + wide_rows, mask=inside, other=0.0)
    row_delta = tl.where(blind, 0.0, row_delta)
    if PARAMETERS > 0:
        cx, cy, cz = load_points(k_position, k_begin, k_begin < k_end, 3)
        point = q_position + head * q_position_head_stride
        qx, qy, qz = load_centered(point, rows, inside, q_position_stride, cx, cy, cz)
        gate, distance, squared, wx, wy, wz = load_slopes(
            parameters,
            q_gate,
            rows,
            inside,
            head,
            1,
            H,
            PARAMETERS,
            DISTANCE,
            SQUARED,
            DIRECTION,
        )
        # Sums over keys of grad_score times a function of the pair, and means under P of the same.
        radius_sum = tl.zeros([BLOCK_Q], tl.float32)
        square_sum = tl.zeros([BLOCK_Q], tl.float32)
        mean_radius = tl.zeros([BLOCK_Q], tl.float32)
        mean_square = tl.zeros([BLOCK_Q], tl.float32)
        mean_kx = tl.zeros([BLOCK_Q], tl.float32)
        mean_ky = tl.zeros([BLOCK_Q], tl.float32)
        mean_kz = tl.zeros([BLOCK_Q], tl.float32)
        score_x = tl.zeros([BLOCK_Q], tl.float32)
        score_y = tl.zeros([BLOCK_Q], tl.float32)
        score_z = tl.zeros([BLOCK_Q], tl.float32)
        radial_sum = tl.zeros([BLOCK_Q], tl.float32)
        radial_x = tl.zeros([BLOCK_Q], tl.float32)
        radial_y = tl.zeros([BLOCK_Q], tl.float32)
        radial_z = tl.zeros([BLOCK_Q], tl.float32)
    score_sum = tl.zeros([BLOCK_Q], tl.float32)
    grad_q_tile = tl.zeros([BLOCK_Q, D_PADDED], tl.float32)
    last_visible = k_end
    if CAUSAL:
        last_visible = k_end - end + tl.minimum(first + BLOCK_Q, end)
    for start in range(k_begin, last_visible, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        present = keys < k_end
        k_tile = load_rows(k + head // GROUP * D, keys, columns, present, K_STRIDE, D)
        v_tile = load_rows(v + head // GROUP * D, keys, columns, present, K_STRIDE, D)
        score = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION) * (scale * LOG2_E)
        if PARAMETERS > 0:
            kx, ky, kz = load_centered(k_position, keys, present, 3, cx, cy, cz)
            dx = kx[None, :] - qx[:, None]
            dy = ky[None, :] - qy[:, None]
            dz = kz[None, :] - qz[:, None]
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
        visible = present[None, :]
        if CAUSAL:
            visible &= keys[None, :] - k_end <= rows[:, None] - end
        score = tl.where(visible, score, -float("inf"))
        probability = tl.exp2(score - row_lse[:, None])
        grad_score = tl.dot(grad_tile, tl.trans(v_tile), input_precision=PRECISION)
        if MOMENTS:
            px, py, pz = load_points(k_position, keys, present, 3)
            ex = px[None, :] - mean_x[:, None]
            ey = py[None, :] - mean_y[:, None]
            ez = pz[None, :] - mean_z[:, None]
            grad_score += ex * (pull_x[:, None] + pull[:, None] * ex)
            grad_score += ey * (pull_y[:, None] + pull[:, None] * ey)
            grad_score += ez * (pull_z[:, None] + pull[:, None] * ez)
        grad_score = probability * (grad_score - row_delta[:, None])
        score_sum += tl.sum(grad_score, 1)
        grad_q_tile = tl.dot(
            grad_score.to(k_tile.dtype), k_tile, grad_q_tile, input_precision=PRECISION
        )
        if PARAMETERS > 0:
            if DISTANCE >= 0:
                radius_sum += tl.sum(grad_score * radius, 1)
                mean_radius += tl.sum(probability * radius, 1)
            if SQUARED >= 0:
                square_sum += tl.sum(grad_score * square, 1)
                mean_square += tl.sum(probability * square, 1)
            if DIRECTION >= 0:
                score_x += tl.sum(grad_score * kx[None, :], 1)
                score_y += tl.sum(grad_score * ky[None, :], 1)
                score_z += tl.sum(grad_score * kz[None, :], 1)
                mean_kx += tl.sum(probability * kx[None, :], 1)
                mean_ky += tl.sum(probability * ky[None, :], 1)
                mean_kz += tl.sum(probability * kz[None, :], 1)
            if grad_q_position is not None and (DISTANCE >= 0 or SQUARED >= 0):
                # d bias / d difference = radial * difference + direction
                radial = tl.zeros_like(square)
                if DISTANCE >= 0:
                    radial -= distance * inverse
                if SQUARED >= 0:
                    radial -= 2.0 * squared
                radial *= grad_score
                if PRECISION == "ieee":
                    radial_x += tl.sum(radial * dx, 1)
                    radial_y += tl.sum(radial * dy, 1)
                    radial_z += tl.sum(radial * dz, 1)
                else:
                    radial_sum += tl.sum(radial, 1)
                    radial_x += tl.sum(radial * kx[None, :], 1)
                    radial_y += tl.sum(radial * ky[None, :], 1)
                    radial_z += tl.sum(radial * kz[None, :], 1)
    pointers = grad_q + wide_rows[:, None] * D + columns[None, :]
    tl.store(
        pointers,
        (grad_q_tile * scale).to(grad_q.dtype.element_ty),
        mask=inside[:, None] & (columns < D)[None, :],
    )
    missed = tl.where(blind, 0.0, score_sum - row_grad_lse)
    tl.store(delta + wide_rows, row_delta + missed, mask=inside)
    if PARAMETERS > 0:
        feature = grad_features + wide_rows * PARAMETERS
        if DISTANCE >= 0:
            tl.store(feature + DISTANCE, missed * mean_radius - radius_sum, mask=inside)
        if SQUARED >= 0:
            tl.store(feature + SQUARED, missed * mean_square - square_sum, mask=inside)
        if DIRECTION >= 0:
            score_x -= missed * mean_kx + qx * row_grad_lse
            score_y -= missed * mean_ky + qy * row_grad_lse
            score_z -= missed * mean_kz + qz * row_grad_lse
            tl.store(feature + DIRECTION, score_x, mask=inside)
            tl.store(feature + DIRECTION + 1, score_y, mask=inside)
            tl.store(feature + DIRECTION + 2, score_z, mask=inside)
        if grad_q_position is not None:
            point_x = qx * radial_sum - radial_x
            point_y = qy * radial_sum - radial_y
            point_z = qz * radial_sum - radial_z
            if DIRECTION >= 0:
                if q_gate is not None:
                    point_x -= tl.sum(wx, 1) * row_grad_lse
                    point_y -= tl.sum(wy, 1) * row_grad_lse
                    point_z -= tl.sum(wz, 1) * row_grad_lse
                else:
                    point_x -= wx * row_grad_lse
                    point_y -= wy * row_grad_lse
                    point_z -= wz * row_grad_lse
            if q_gate is not None:
                # The bias of a row with gate 0 does not depend on its position, finite or not.
                closed = tl.sum(gate, 1) == 0.0
                point_x = tl.where(closed, 0.0, point_x)
                point_y = tl.where(closed, 0.0, point_y)
                point_z = tl.where(closed, 0.0, point_z)
            own = grad_q_position + wide_rows * 3
            tl.store(own, point_x, mask=inside)
            tl.store(own + 1, point_y, mask=inside)
            tl.store(own + 2, point_z, mask=inside)


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
