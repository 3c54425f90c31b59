"""Launches the Triton kernels of ``geometry_attention``: grids, channels, fixed-order sums."""

import contextlib
import math

import torch
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention import forward_kernel
from g2vlm_fast.kernels.triton.geometry_attention_blocks import (
    block_sizes,
    padded_head_dim,
)
from g2vlm_fast.kernels.triton.geometry_attention_channels import (
    CHANNELS,
    FRAME_SIZE,
    Channels,
    channel_kernel,
    frame_kernel,
)
from g2vlm_fast.kernels.triton.geometry_attention_decode_launch import decode, has_few_queries
from g2vlm_fast.kernels.triton.geometry_attention_key import key_kernel
from g2vlm_fast.kernels.triton.geometry_attention_marks import mark_uncovered
from g2vlm_fast.kernels.triton.geometry_attention_query import query_kernel
from g2vlm_fast.kernels.triton.geometry_attention_skip_launch import (
    kept_keys,
    kept_queries,
    skipping_of,
)
from g2vlm_fast.kernels.triton.geometry_attention_table_gradient import Given, sum_tables
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem, Sizes
from g2vlm_fast.kernels.triton.interpreter import repair_interpreter
from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    TokenGradients,
    Tokens,
)
from g2vlm_fast.ops.bias import AxisTable, RadialTable

repair_interpreter()

MAX_HEAD_DIM = 128

# The names of the columns that a term has, by its code.
COLUMNS = ("DISTANCE", "SQUARED", "DIRECTION", "NORMAL", "POWERS", "BASIS")
# The same in the tables.
TABLES = {RadialTable.code: "RADIAL_TABLE", AxisTable.code: "AXIS_TABLE"}
NO_CHANNELS = Channels(None, None, None, None, None)


def problem_of(
    heads: int,
    group: int,
    head_dim: int,
    options: Options,
    *,
    dtype: torch.dtype = torch.bfloat16,
    position_heads: int = 1,
    gated: bool = False,
    own: bool = False,
) -> Problem:
    """Return what the kernels are compiled for."""
    columns: dict[str, int] = {}
    parameters = in_tables = 0
    for code, count in zip(options.terms, options.counts, strict=True):
        if code in TABLES:
            columns[TABLES[code]] = in_tables
            columns["KNOTS" if TABLES[code] == "RADIAL_TABLE" else "STEPS"] = count
            in_tables += count
            continue
        columns[COLUMNS[code]] = parameters
        if COLUMNS[code] == "POWERS":
            columns["POWER_COUNT"] = count - 1
        if COLUMNS[code] == "BASIS":
            columns["BASIS_COUNT"] = count // 3
        parameters += count
    if "STEPS" in columns:
        columns["STEPS"] //= 3
    return Problem(
        H=heads,
        GROUP=group,
        D=head_dim,
        D_PADDED=padded_head_dim(head_dim),
        DTYPE={torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype],
        CAUSAL=options.causal,
        POSITION_HEADS=position_heads,
        GATED=gated,
        OWN=own,
        DROPOUT=options.dropout > 0,
        PARAMETERS=parameters,
        **columns,
    )


def describe(tokens: Tokens, options: Options) -> tuple[Sizes, Problem]:
    """Return what the kernels take beside tensors, and what they are compiled for."""
    q, k, position, parameters = tokens.q, tokens.k, tokens.q_position, tokens.bias_parameters
    offsets = tokens.q_offsets if tokens.q_offsets is not None else tokens.k_offsets
    sizes = Sizes(
        num_queries=q.shape[0],
        num_keys=k.shape[0],
        num_segments=1 if offsets is None else offsets.shape[0] - 1,
        scale=options.scale,
        eps=options.eps,
        dropout=math.ceil(options.dropout * 2**24),
        kept=1 / (1 - options.dropout),
        **_places_per_metre(options),
    )
    heads, head_dim = q.shape[1:]
    problem = problem_of(
        heads,
        heads // k.shape[1],
        head_dim,
        options,
        dtype=q.dtype,
        position_heads=heads if position is not None and position.dim() == 3 else 1,
        gated=tokens.q_gate is not None,
        own=parameters is not None and parameters.dim() == 3,
    )
    return sizes, problem


def _places_per_metre(options: Options) -> dict[str, float]:
    """Return how far apart the entries of tables are."""
    counts = dict(zip(options.terms, options.counts, strict=True))
    knots = counts.get(RadialTable.code, 1) - 1
    return {
        "knots_per_metre": knots / options.maximum if options.maximum else 0.0,
        "cells_per_metre": 1 / options.cell if options.cell else 0.0,
    }


def channels_of(tokens: Tokens, sizes: Sizes, problem: Problem, moments: bool) -> Channels:
    """Return positions as operands of tensor cores, where the problem wants them."""
    if not problem.CHANNELS:
        return NO_CHANNELS
    q, k = tokens.q, tokens.k
    rows = q.shape[0] * problem.POSITION_HEADS

    def room(count: int, dtype: torch.dtype) -> Tensor:
        return q.new_empty((count, CHANNELS), dtype=dtype)

    channels = Channels(
        q=room(rows, torch.float16),
        k=room(k.shape[0], torch.float16),
        q_moment=room(rows, torch.bfloat16) if moments else None,
        k_moment=room(k.shape[0], torch.bfloat16) if moments else None,
        frames=q.new_empty((sizes.num_segments, FRAME_SIZE), dtype=torch.float32),
    )
    frame_kernel[(sizes.num_segments,)](
        tokens, channels.frames, sizes, problem, SAMPLE=32, BLOCK=2048, num_warps=8
    )
    tiles = max(q.shape[0], k.shape[0]) // 128 + sizes.num_segments
    channel_kernel[(tiles, problem.POSITION_HEADS + 1)](
        tokens, channels, sizes, problem, BLOCK=128, num_warps=4
    )
    return channels


def _on_device_of(tensor: Tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def forward(tokens: Tokens, options: Options, position_mean: bool, results: Results) -> None:
    """Write ``results``; every tensor is dense.

    Few queries over many keys have kernels of their own: :func:`has_few_queries` decides.
    """
    sizes, problem = describe(tokens, options)
    q = tokens.q
    if has_few_queries(sizes, problem):
        with _on_device_of(q):
            decode(tokens, position_mean, results, sizes, problem)
        return
    masked = tokens.k_mask is not None
    blocks = block_sizes("forward", problem, position_mean, masked)
    grid = (q.shape[0] // blocks["BLOCK_Q"] + sizes.num_segments, q.shape[1])
    with _on_device_of(q):
        mark_uncovered(tokens.q_offsets, q.shape[0], *results)
        channels = channels_of(tokens, sizes, problem, moments=False)
        skipping = skipping_of(tokens, channels, sizes, problem, options)
        kept = kept_keys(skipping, None, blocks)
        forward_kernel[grid](
            tokens, channels, results, kept, sizes, problem, position_mean, **blocks
        )


def backward(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    gradients: TokenGradients,
) -> None:
    """Write the ``gradients`` that are wanted; every tensor is dense, ``grads.out`` is there."""
    sizes, problem = describe(tokens, options)
    q, k, lse = tokens.q, tokens.k, results.lse
    rows, heads = q.shape[:2]
    records = lse.new_empty((rows, heads, 4))
    features = table = per_head = k_per_head = k_normal_per_head = parts = None
    if problem.PARAMETERS and not problem.SHARED:
        features = lse.new_empty((rows, heads, problem.PARAMETERS))
    if problem.TABLE_COLUMNS and problem.GATED:
        table = torch.empty_like(lse)
    if problem.BIASED and gradients.q_position is not None:
        per_head = lse.new_empty((rows, heads, 3))
    if gradients.k_position is not None:
        k_per_head = lse.new_empty((k.shape[0], k.shape[1], 3))
    if gradients.k_normal is not None:
        k_normal_per_head = lse.new_empty((k.shape[0], k.shape[1], 3))
    moments = grads.mean is not None or grads.variance is not None
    masked = tokens.k_mask is not None
    with _on_device_of(q):
        mark_uncovered(tokens.q_offsets, rows, records, gradients.q, features, table, per_head)
        mark_uncovered(
            tokens.k_offsets,
            k.shape[0],
            gradients.k,
            gradients.v,
            k_per_head,
            k_normal_per_head,
        )
        summed = problem.LONE or per_head is not None or k_per_head is not None
        channels = channels_of(tokens, sizes, problem, moments=summed)
        skipping = skipping_of(tokens, channels, sizes, problem, options)
        given = Given(grads, tokens, channels, results, records)
        blocks = block_sizes("query", problem, moments, masked)
        kept = kept_keys(skipping, lse, blocks)
        query_kernel[(rows // blocks["BLOCK_Q"] + sizes.num_segments, heads)](
            *given, gradients.q, features, table, per_head, kept, sizes, problem, **blocks
        )
        blocks = block_sizes("key", problem, moments, masked)
        kept = kept_queries(skipping, lse, blocks)
        tiles = k.shape[0] // blocks["BLOCK_K"] + sizes.num_segments
        if problem.SHARED:
            parts = lse.new_zeros((tiles, heads, problem.PARAMETERS))
        key_kernel[(tiles, k.shape[1])](
            *given,
            gradients.k,
            gradients.v,
            k_per_head,
            k_normal_per_head,
            parts,
            kept,
            sizes,
            problem,
            **blocks,
        )
        if gradients.bias_tables is not None:
            sum_tables(given, sizes, problem, gradients.bias_tables)
    if parts is not None:
        torch.sum(parts, 0, out=gradients.bias_parameters)
    if problem.GATED or problem.OWN:
        _sum_features(features, table, tokens, options, gradients)
    if gradients.q_position is not None:
        if per_head is None:
            gradients.q_position.zero_()
        else:
            shared = gradients.q_position.dim() == 2
            gradients.q_position.copy_(per_head.sum(1) if shared else per_head)
    if k_per_head is not None:
        torch.sum(k_per_head, 1, out=gradients.k_position)
    if k_normal_per_head is not None:
        torch.sum(k_normal_per_head, 1, out=gradients.k_normal)


def _sum_features(
    features: Tensor | None,
    table: Tensor | None,
    tokens: Tokens,
    options: Options,
    gradients: TokenGradients,
) -> None:
    """Turn ``sum_j dS_ij dbias_ij / dparameter`` into gradients of the parameters and the gate.

    ``table`` is what the sum of all tables adds to the gradient of the gate.
    """
    weighted = features
    if tokens.q_gate is not None:
        slope = torch.zeros_like(tokens.q_gate) if table is None else table
        if features is not None:
            gate = tokens.q_gate[..., None]
            weighted = torch.where(gate == 0, 0, gate * features)
            slope = slope + _along_gate(features, tokens, options)
        # A row whose gate is 0 and whose position is not finite stands nowhere.
        gradients.q_gate.copy_(torch.where((tokens.q_gate == 0) & ~slope.isfinite(), 0, slope))
    if weighted is None:
        return
    if tokens.bias_parameters.dim() == 3:
        gradients.bias_parameters.copy_(weighted)
    else:
        torch.sum(weighted, 0, out=gradients.bias_parameters)


def _along_gate(features: Tensor, tokens: Tokens, options: Options) -> Tensor:
    """Return ``sum_j dS_ij bias_ij`` of each row without tables.

    The bias is linear in some of its parameters: those times their features are the bias.
    """
    first, slope = 0, torch.zeros_like(tokens.q_gate)
    for code, count in zip(options.terms, options.counts, strict=True):
        if code in TABLES:
            continue
        begin, end = first, first + count
        if COLUMNS[code] == "POWERS":
            begin += 1
        if COLUMNS[code] == "BASIS":
            end -= 2 * count // 3
        linear = slice(begin, end)
        slope += (features[..., linear] * tokens.bias_parameters[..., linear]).sum(-1)
        first += count
    return slope
