"""Forward Triton kernel of ``geometry_attention``.

One program attends from one tile of queries of one head to all keys of its segment, with online
softmax (Milakov and Gimelshein, 2018; Dao, 2023).
"""

import triton
import triton.language as tl

from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    LN_2,
    LOG2_E,
    bias_of,
    load_centered,
    load_points,
    load_rows,
    load_slopes,
    locate_tile,
)


@triton.jit
def forward_kernel(
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
    POSITION_MEAN: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    tile = tl.program_id(0)
    head = tl.program_id(1)
    first, end, k_begin, k_end = locate_tile(
        tile, q_offsets, k_offsets, num_queries, num_keys, num_segments, BLOCK_Q
    )
    if first >= end:
        return
    rows = first + tl.arange(0, BLOCK_Q)
    inside = rows < end
    columns = tl.arange(0, D_PADDED)
    K_STRIDE: tl.constexpr = H // GROUP * D
    q_tile = load_rows(q + head * D, rows, columns, inside, H * D, D)
    k_base = k + head // GROUP * D
    v_base = v + head // GROUP * D
    if PARAMETERS > 0 or POSITION_MEAN:
        cx, cy, cz = load_points(k_position, k_begin, k_begin < k_end, 3)
    if PARAMETERS > 0:
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
    if POSITION_MEAN:
        mean_x = tl.zeros([BLOCK_Q], tl.float32)
        mean_y = tl.zeros([BLOCK_Q], tl.float32)
        mean_z = tl.zeros([BLOCK_Q], tl.float32)
        moment = tl.zeros([BLOCK_Q], tl.float32)
    highest = tl.full([BLOCK_Q], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    attended = tl.zeros([BLOCK_Q, D_PADDED], tl.float32)
    last_visible = k_end
    if CAUSAL:
        last_visible = k_end - end + tl.minimum(first + BLOCK_Q, end)
    for start in range(k_begin, last_visible, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        present = keys < k_end
        k_tile = load_rows(k_base, keys, columns, present, K_STRIDE, D)
        score = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION) * (scale * LOG2_E)
        if PARAMETERS > 0 or POSITION_MEAN:
            kx, ky, kz = load_centered(k_position, keys, present, 3, cx, cy, cz)
        if PARAMETERS > 0:
            dx = kx[None, :] - qx[:, None]
            dy = ky[None, :] - qy[:, None]
            dz = kz[None, :] - qz[:, None]
            square = dx * dx + dy * dy + dz * dz
            radius = square
            if DISTANCE >= 0:
                radius = tl.sqrt(square + eps * eps)
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
            tile_x = tl.sum(probability * kx[None, :], 1) * weight
            tile_y = tl.sum(probability * ky[None, :], 1) * weight
            tile_z = tl.sum(probability * kz[None, :], 1) * weight
            ex = kx[None, :] - tile_x[:, None]
            ey = ky[None, :] - tile_y[:, None]
            ez = kz[None, :] - tile_z[:, None]
            tile_moment = tl.sum(probability * (ex * ex + ey * ey + ez * ez), 1)
            whole = total + tile_total
            share = tile_total / tl.where(whole == 0.0, 1.0, whole)
            sx = tile_x - mean_x
            sy = tile_y - mean_y
            sz = tile_z - mean_z
            moment = moment * decay + tile_moment
            moment += (sx * sx + sy * sy + sz * sz) * total * share
            mean_x += sx * share
            mean_y += sy * share
            mean_z += sz * share
        total += tile_total
        v_tile = load_rows(v_base, keys, columns, present, K_STRIDE, D)
        attended *= decay[:, None]
        attended = tl.dot(probability.to(v_tile.dtype), v_tile, attended, input_precision=PRECISION)
    blind = total == 0.0
    inverse = 1.0 / tl.where(blind, 1.0, total)
    wide_rows = rows.to(tl.int64) * H + head
    pointers = out + wide_rows[:, None] * D + columns[None, :]
    tl.store(
        pointers,
        (attended * inverse[:, None]).to(out.dtype.element_ty),
        mask=inside[:, None] & (columns < D)[None, :],
    )
    log_total = (highest + tl.log2(tl.where(blind, 1.0, total))) * LN_2
    tl.store(lse + wide_rows, tl.where(blind, -float("inf"), log_total), mask=inside)
    if POSITION_MEAN:
        tl.store(mean + wide_rows * 3, tl.where(blind, 0.0, mean_x + cx), mask=inside)
        tl.store(mean + wide_rows * 3 + 1, tl.where(blind, 0.0, mean_y + cy), mask=inside)
        tl.store(mean + wide_rows * 3 + 2, tl.where(blind, 0.0, mean_z + cz), mask=inside)
        tl.store(variance + wide_rows, moment * inverse, mask=inside)
