"""Backward Triton kernel of ``geometry_attention`` for the tables of the bias.

It runs after the query kernel and recomputes the gradients of the scores once more: histograms of
them, by the entry that a pair falls to, would take the registers of the kernels that have other
sums to keep.

**Histograms on tensor cores.** Write an entry as ``16 h + l``. With the matrices
``left[h, pair] = weight [h of the pair is h]`` and ``right[pair, l] = [l of the pair is l]`` the
product ``left right`` has at ``[h, l]`` the sum of the weights of that entry: 32 comparisons a pair
for 128 entries, in an order that never changes. In half precision a weight is a bfloat16 and what
that leaves, another, in rows ``h`` and ``8 + h``.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention_channels import Channels, load_frame
from g2vlm_fast.kernels.triton.geometry_attention_points import (
    load_points,
    minus,
    spread,
    zero_points,
)
from g2vlm_fast.kernels.triton.geometry_attention_terms import (
    bias_of,
    compare,
    load_key_places,
    load_parameters,
    load_query_places,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import (
    Problem,
    Program,
    Sizes,
    dropout_factor,
    end_of_visible_keys,
    hide_keys,
    load_records,
    load_tile,
    locate_queries,
    score_products,
    visible_keys,
)
from g2vlm_fast.ops._geometry_attention_arguments import ResultGradients, Results, Tokens

# BLOCK_Q, BLOCK_K by dtype; each of WARPS warps multiplies its own share of the pairs.
BLOCKS = {"bf16": (16, 32), "fp16": (16, 32), "fp32": (16, 16)}
WARPS = 8


class Given(NamedTuple):
    """What a backward pass has before its kernels."""

    grads: ResultGradients
    tokens: Tokens
    channels: Channels
    results: Results
    records: Tensor  # of rows: shift and delta


def sum_tables(given: Given, sizes: Sizes, problem: Problem, gradient: Tensor) -> None:
    """Write the gradient ``[H, C]`` of the tables."""
    block_q, block_k = BLOCKS[problem.DTYPE]
    tiles = sizes.num_queries // block_q + sizes.num_segments

    def tallies(axes: bool) -> tuple[Tensor, ...]:
        shape = (tiles, problem.H, 3 if axes else 2, 16, 16)
        parts = gradient.new_zeros(shape, dtype=torch.float32)
        table_kernel[(tiles, problem.H)](
            *given, parts, sizes, problem, axes,
            BLOCK_Q=block_q, BLOCK_K=block_k, WARPS=WARPS, num_warps=WARPS, num_stages=1,
        )  # fmt: skip
        total = parts.sum(0)
        if problem.DTYPE != "fp32":
            total = total.unflatten(2, (2, 8)).sum(2)
        return total.flatten(2).unbind(1)

    first, count = problem.RADIAL_TABLE, problem.KNOTS
    if count:
        before, after = tallies(axes=False)
        gradient[:, first : first + count] = before[:, :count]
        gradient[:, first + 1 : first + count] += after[:, : count - 1]
    first, count = problem.AXIS_TABLE, problem.STEPS
    if count:
        for axis, tallied in enumerate(tallies(axes=True)):
            begin = first + axis * count
            gradient[:, begin : begin + count] = tallied[:, :count]


@triton.jit
def table_kernel(
    grads,
    tokens,
    channels,
    results,
    records,
    parts,
    sizes,
    PROBLEM: tl.constexpr,
    AXES: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WARPS: tl.constexpr,
):
    """Write the tallies of one tile of queries of one head, ``[tiles, H, tallies, 16, 16]``.

    With ``AXES`` those of the entries along x, y and z; without, those of the knots before pairs
    and of the knots after them. All five together would not fit the registers.
    """
    head = tl.program_id(1)
    tile = locate_queries(tokens, sizes, BLOCK_Q)
    if tile.first >= tile.end:
        return
    PRECISION: tl.constexpr = PROBLEM.PRECISION
    rows = tile.first + tl.arange(0, BLOCK_Q)
    inside = rows < tile.end
    wide_rows = rows.to(tl.int64) * PROBLEM.H + head
    q_tile = load_tile(tokens.q, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    grad_tile = load_tile(grads.out, tile.first, inside, head, PROBLEM.H, BLOCK_Q, PROBLEM)
    shift, row_delta = load_records(records, tile.first, inside, head, PROBLEM.H, BLOCK_Q)
    mean = zero_points(BLOCK_Q)
    pull = zero_points(BLOCK_Q)
    stretch = tl.zeros([BLOCK_Q], tl.float32)
    if grads.mean is not None or grads.variance is not None:
        mean = load_points(results.mean, wide_rows, inside, 3)
        if grads.mean is not None:
            pull = load_points(grads.mean, wide_rows, inside, 3)
        if grads.variance is not None:
            stretch = tl.load(grads.variance + wide_rows, mask=inside, other=0.0)
    frame = load_frame(tokens, channels, tile.segment, tile.other_begin, tile.other_end, PROBLEM)
    program = Program(tokens, channels, sizes, tile, head, frame)
    places = load_query_places(program, tile.first, rows, inside, BLOCK_Q, PROBLEM)
    parameters = load_parameters(program, rows, inside, 1, PROBLEM)
    kv_head = head // PROBLEM.GROUP
    last_row = tl.minimum(tile.first + BLOCK_Q, tile.end) - 1
    before = tl.zeros([WARPS, 16, 16], tl.float32)
    after = tl.zeros([WARPS, 16, 16], tl.float32)
    along_x = tl.zeros([WARPS, 16, 16], tl.float32)
    along_y = tl.zeros([WARPS, 16, 16], tl.float32)
    along_z = tl.zeros([WARPS, 16, 16], tl.float32)
    end = end_of_visible_keys(tile, last_row, PROBLEM.CAUSAL)
    for start in range(tile.other_begin, end, BLOCK_K):
        keys = start + tl.arange(0, BLOCK_K)
        visible = visible_keys(tokens, keys, tile.other_end)
        k_tile = load_tile(tokens.k, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
        v_tile = load_tile(tokens.v, start, visible, kv_head, PROBLEM.KV_HEADS, BLOCK_K, PROBLEM)
        k_places = load_key_places(program, start, keys, visible, BLOCK_K, PROBLEM)
        pairs = compare(places, k_places, parameters, program, False, False, PROBLEM)
        score = score_products(q_tile, k_tile, sizes.scale, PROBLEM)
        score += bias_of(pairs, parameters, shift[:, None], PROBLEM)
        score = hide_keys(score, tile, rows, keys, visible, PROBLEM.CAUSAL)
        weight = tl.dot(grad_tile, tl.trans(v_tile), input_precision=PRECISION)
        if PROBLEM.DROPOUT:
            weight *= dropout_factor(program, head, rows[:, None], keys[None, :])
        if grads.mean is not None or grads.variance is not None:
            place = spread(load_points(tokens.k_position, keys, visible, 3), 0)
            offset = minus(place, spread(mean, 1))
            weight += offset.x * (pull.x[:, None] + stretch[:, None] * offset.x)
            weight += offset.y * (pull.y[:, None] + stretch[:, None] * offset.y)
            weight += offset.z * (pull.z[:, None] + stretch[:, None] * offset.z)
        weight = tl.exp2(score) * (weight - row_delta[:, None])
        if PROBLEM.GATED:
            weight = tl.where(parameters.gate == 0.0, 0.0, parameters.gate * weight)
        if AXES:
            along_x = tally(along_x, weight, pairs.steps.x, PROBLEM)
            along_y = tally(along_y, weight, pairs.steps.y, PROBLEM)
            along_z = tally(along_z, weight, pairs.steps.z, PROBLEM)
        else:
            # A row whose gate is 0 may stand nowhere.
            far = tl.where(weight == 0.0, 0.0, weight * pairs.knots.fraction)
            before = tally(before, weight - far, pairs.knots.near, PROBLEM)
            after = tally(after, far, pairs.knots.near, PROBLEM)
    TALLIES: tl.constexpr = 3 if AXES else 2
    part = parts + (tl.program_id(0).to(tl.int64) * PROBLEM.H + head) * (TALLIES * 256)
    cells = part + tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    if AXES:
        tl.store(cells, tl.sum(along_x, 0))
        tl.store(cells + 256, tl.sum(along_y, 0))
        tl.store(cells + 2 * 256, tl.sum(along_z, 0))
    else:
        tl.store(cells, tl.sum(before, 0))
        tl.store(cells + 256, tl.sum(after, 0))


@triton.jit
def tally(sums, weight, entry, PROBLEM: tl.constexpr):
    """Add weights of pairs to the sums ``[warps, 16, 16]`` of their entries."""
    WARPS: tl.constexpr = sums.shape[0]
    SHARE: tl.constexpr = weight.shape[0] * weight.shape[1] // WARPS
    weight = tl.reshape(weight, [WARPS, 1, SHARE])
    high = tl.reshape(entry // 16, [WARPS, 1, SHARE])
    low = tl.reshape(entry % 16, [WARPS, SHARE, 1])
    rows = tl.arange(0, 16)[None, :, None]
    right = tl.where(low == tl.arange(0, 16)[None, None, :], 1.0, 0.0)
    if PROBLEM.DTYPE == "fp32":
        left = tl.where(rows == high, weight, 0.0)
        return tl.dot(left, right, sums, input_precision="tf32x3")
    else:
        coarse = weight.to(tl.bfloat16).to(tl.float32)
        part = tl.where(rows < 8, coarse, weight - coarse)
        left = tl.where(rows % 8 == high, part, 0.0)
        return tl.dot(left.to(tl.bfloat16), right.to(tl.bfloat16), sums)
