"""Launches the Triton kernels of ``geometry_attention`` for few queries over many keys."""

import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention_blocks import decode_block_sizes
from g2vlm_fast.kernels.triton.geometry_attention_decode import (
    Partials,
    combine_kernel,
    decode_kernel,
)
from g2vlm_fast.kernels.triton.geometry_attention_marks import mark_uncovered
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem, Sizes
from g2vlm_fast.ops._geometry_attention_arguments import Results, Tokens

MAX_QUERIES = 16  # a segment, on average
MIN_KEYS = 256  # a segment, on average
MIN_ROWS = 16  # of a tile: queries times heads that share one of k
MAX_ROWS = {"bf16": 64, "fp16": 64, "fp32": 16}
PROGRAMS = 1024  # about eight on each multiprocessor of an H100
MIN_SHARE = 128  # keys, on average
MAX_SHARES = 128
CHUNK = 32  # shares that are merged at once


def has_few_queries(sizes: Sizes, problem: Problem) -> bool:
    """Return whether these kernels take a problem: its shapes alone decide.

    They do where segments have at most 16 queries and at least 256 keys on average, and at most 64
    heads (16 in float32) share one of k. Whatever else a problem has, they have: terms, gates,
    parameters of each row, masks, dropout, positions under the attention.
    """
    return (
        0 < sizes.num_queries <= MAX_QUERIES * sizes.num_segments
        and sizes.num_keys >= MIN_KEYS * sizes.num_segments
        and MAX_ROWS[problem.DTYPE] >= problem.GROUP
    )


def rows_of(sizes: Sizes, problem: Problem) -> int:
    """Return the rows of a tile: what a segment of average length fills, rounded up."""
    rows = problem.GROUP * triton.cdiv(sizes.num_queries, sizes.num_segments)
    return min(max(triton.next_power_of_2(rows), MIN_ROWS), MAX_ROWS[problem.DTYPE])


def shares_of(sizes: Sizes, problem: Problem) -> int:
    """Return into how many shares the keys of each segment are divided."""
    wanted = triton.cdiv(PROGRAMS, sizes.num_segments * problem.KV_HEADS)
    return max(1, min(wanted, MAX_SHARES, sizes.num_keys // sizes.num_segments // MIN_SHARE))


def decode(
    tokens: Tokens, position_mean: bool, results: Results, sizes: Sizes, problem: Problem
) -> None:
    """Write ``results``, bitwise the same from call to call; every tensor is dense.

    Two launches, and one more where there are offsets. How keys are divided depends on shapes
    alone: nothing waits for the GPU, and graphs may be captured. The results differ from those of
    ``forward_kernel`` by rounding, because sums are taken in another order.
    """
    problem = problem._replace(GROUPED=True)
    rows, heads, head_dim = tokens.q.shape
    shares = shares_of(sizes, problem)

    def room(*shape: int) -> Tensor:
        return results.lse.new_empty((rows, heads, shares, *shape))

    partials = Partials(
        highest=room(),
        total=room(),
        out=room(head_dim),
        mean=room(3) if position_mean else None,
        moment=room() if position_mean else None,
    )
    # What is not a number in the total of one share is none in its results.
    mark_uncovered(tokens.q_offsets, rows, partials.total)
    tile_rows = rows_of(sizes, problem)
    tiles = rows // (tile_rows // problem.GROUP) + sizes.num_segments
    decode_kernel[(tiles * problem.KV_HEADS, shares)](
        tokens,
        partials,
        sizes,
        problem,
        position_mean,
        ROWS=tile_rows,
        **decode_block_sizes(problem, tile_rows),
    )
    combine_kernel[(rows * heads,)](
        partials, results, shares, problem, position_mean, CHUNK=CHUNK, num_warps=4
    )
