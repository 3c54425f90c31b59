"""Launches what decides which tiles the kernels of ``geometry_attention`` visit: bounds, lists."""

import math
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention_channels import Channels
from g2vlm_fast.kernels.triton.geometry_attention_lists import (
    KEY_FIELDS,
    QUERY_FIELDS,
    Summaries,
    list_keys_kernel,
    list_queries_kernel,
    summarize_keys_kernel,
    summarize_queries_kernel,
)
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Kept, Problem, Sizes
from g2vlm_fast.ops._geometry_attention_arguments import Options, Tokens

ALL_TILES = Kept(None, None, None)


class Skipping(NamedTuple):
    """What decides which tiles are visited; made by :func:`skipping_of`."""

    tokens: Tokens
    channels: Channels
    sizes: Sizes
    problem: Problem
    skip_eps: float

    @property
    def log_eps(self) -> float:
        return math.log(self.skip_eps) if self.skip_eps > 0 else 0.0


def skipping_of(
    tokens: Tokens, channels: Channels, sizes: Sizes, problem: Problem, options: Options
) -> Skipping | None:
    """Return what decides, or None where every tile is to be visited.

    Without a bias no score is bounded by less than the lse, and no tile could be skipped.
    """
    if options.skip_eps is None or not problem.BIASED:
        return None
    return Skipping(tokens, channels, sizes, problem, options.skip_eps)


def kept_keys(skipping: Skipping | None, lse: Tensor | None, blocks: dict[str, int]) -> Kept:
    """Return the tiles of keys that each tile of queries visits.

    Args:
        skipping: None to visit all.
        lse: of the rows, or None before it is known.
        blocks: tile sizes and launch options of the kernel that visits.
    """
    if skipping is None:
        return ALL_TILES
    tokens, channels, sizes, problem, skip_eps = skipping
    unit = blocks["BLOCK_K"]
    if tokens.k_mask is not None:
        unit = max(unit // 2, 16)  # as the kernels take tiles that are masked
    summaries = _key_summaries(skipping, unit)
    tiles = tokens.q.shape[0] // blocks["BLOCK_Q"] + sizes.num_segments
    kept = _room(tokens.q, tiles, problem.H, triton.cdiv(sizes.num_keys, unit))
    list_keys_kernel[(tiles, problem.H)](
        tokens, channels, lse, summaries, kept, sizes, skipping.log_eps, problem,
        BLOCK_Q=blocks["BLOCK_Q"], UNIT=unit, PROBES=max(1, blocks["BLOCK_Q"] // unit),
        EXACT=skip_eps == 0, CHUNK=256, num_warps=blocks["num_warps"], num_stages=1,
    )  # fmt: skip
    return kept


def kept_queries(skipping: Skipping | None, lse: Tensor, blocks: dict[str, int]) -> Kept:
    """Return the tiles of queries of each head that each tile of keys visits."""
    if skipping is None:
        return ALL_TILES
    tokens, channels, sizes, problem, skip_eps = skipping
    block_q, block_k = blocks["BLOCK_Q"], blocks["BLOCK_K"]
    summaries = _key_summaries(skipping, block_k)
    tiles = tokens.q.shape[0] // block_q + sizes.num_segments
    summaries = summaries._replace(
        q=lse.new_empty((problem.H, QUERY_FIELDS, tiles), dtype=torch.float32), q_tiles=tiles
    )
    summarize_queries_kernel[(tiles, problem.H)](
        tokens, channels, lse, summaries, sizes, problem, BLOCK=block_q, num_warps=4
    )
    tiles = tokens.k.shape[0] // block_k + sizes.num_segments
    kept = _room(tokens.q, tiles, problem.H, triton.cdiv(sizes.num_queries, block_q))
    list_queries_kernel[(tiles, problem.H)](
        tokens, channels, summaries, kept, sizes, skipping.log_eps, problem,
        BLOCK_Q=block_q, BLOCK_K=block_k, EXACT=skip_eps == 0, CHUNK=256, num_warps=4,
    )  # fmt: skip
    return kept


def _key_summaries(skipping: Skipping, block: int) -> Summaries:
    tokens, _, sizes, problem, _ = skipping
    tiles = tokens.k.shape[0] // block + sizes.num_segments

    def room(rows: int) -> Tensor:
        return tokens.q.new_empty((rows, tiles), dtype=torch.float32)

    summaries = Summaries(room(KEY_FIELDS), room(problem.KV_HEADS), tiles, None, None)
    summarize_keys_kernel[(tiles, problem.KV_HEADS + 1)](
        tokens, summaries, sizes, problem, BLOCK=block, num_warps=4
    )
    return summaries


def _room(like: Tensor, tiles: int, heads: int, most: int) -> Kept:
    """Return storage for lists of at most so many tiles, and the number that is read past them.

    Capacities are multiples of 16, for which kernels are compiled once.
    """
    capacity = triton.cdiv(most + 1, 16) * 16
    dtype = torch.int16 if most < 2**15 else torch.int32
    return Kept(
        lists=like.new_empty((tiles, heads, capacity), dtype=dtype),
        counts=like.new_empty((tiles, heads), dtype=torch.int32),
        capacity=capacity,
    )
