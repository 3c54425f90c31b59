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
