"""Launches the Triton kernels of ``geometry_attention``: tile sizes, grids, fixed-order sums."""

import contextlib
from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention import forward_kernel
from g2vlm_fast.kernels.triton.geometry_attention_key import key_kernel
from g2vlm_fast.kernels.triton.geometry_attention_query import query_kernel
from g2vlm_fast.kernels.triton.geometry_attention_tiles import Problem, Sizes
from g2vlm_fast.kernels.triton.interpreter import repair_interpreter
from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    TokenGradients,
    Tokens,
)

repair_interpreter()

MAX_HEAD_DIM = 128

# BLOCK_Q, BLOCK_K, num_warps, num_stages by kernel, kind of problem, padded head dim: the largest
# tiles that sm_90 runs without spilling registers (tests/triton holds them to it). A "rich" problem
# (several terms, a gate, causal, or position mean) keeps more of each pair in registers.
BLOCKS = {
    ("forward", "half"): {
        16: (128, 64, 4, 3),
        32: (128, 64, 4, 3),
        64: (128, 64, 4, 3),
        128: (128, 64, 8, 3),
    },
    ("forward", "half, rich"): {
        16: (128, 32, 4, 3),
        32: (128, 32, 4, 3),
        64: (128, 32, 4, 3),
        128: (128, 32, 8, 3),
    },
    ("forward", "single"): {
        16: (32, 64, 4, 1),
        32: (32, 64, 4, 1),
        64: (32, 16, 4, 1),
        128: (16, 16, 4, 1),
    },
    ("query", "half"): {
        16: (64, 32, 4, 3),
        32: (64, 32, 4, 3),
        64: (64, 32, 4, 3),
        128: (128, 32, 8, 3),
    },
    ("query", "half, rich"): {
        16: (64, 16, 4, 3),
        32: (64, 16, 4, 3),
        64: (64, 16, 4, 3),
        128: (64, 16, 8, 3),
    },
    ("query", "single"): {
        16: (16, 16, 4, 1),
        32: (16, 16, 4, 1),
        64: (16, 16, 4, 1),
        128: (16, 16, 8, 1),
    },
    ("key", "half"): {
        16: (32, 64, 4, 3),
        32: (32, 64, 4, 3),
        64: (32, 64, 4, 3),
        128: (16, 128, 8, 3),
    },
    ("key", "half, rich"): {
        16: (16, 64, 4, 3),
        32: (16, 64, 4, 3),
        64: (16, 64, 4, 3),
        128: (16, 64, 8, 2),
    },
    ("key", "single"): {
        16: (16, 32, 4, 1),
        32: (32, 32, 4, 1),
        64: (16, 32, 4, 1),
        128: (16, 16, 4, 1),
    },
}


def block_sizes(kernel: str, head_dim: int, element_size: int, rich: bool) -> dict[str, int]:
    """Return the tile sizes and launch options of a kernel."""
    kind = "single" if element_size == 4 else "half, rich" if rich else "half"
    sizes = BLOCKS[kernel, kind][padded_head_dim(head_dim)]
    return dict(zip(("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages"), sizes, strict=True))


def padded_head_dim(head_dim: int) -> int:
    return max(16, triton.next_power_of_2(head_dim))


def problem_of(
    heads: int, group: int, head_dim: int, single: bool, causal: bool, codes: Sequence[int]
) -> Problem:
    """Return what the kernels are compiled for."""
    columns = {"DISTANCE": -1, "SQUARED": -1, "DIRECTION": -1, "PARAMETERS": 0}
    for code in codes:
        columns[("DISTANCE", "SQUARED", "DIRECTION")[code]] = columns["PARAMETERS"]
        columns["PARAMETERS"] += 3 if code == 2 else 1
    return Problem(
        H=heads,
        GROUP=group,
        D=head_dim,
        D_PADDED=padded_head_dim(head_dim),
        CAUSAL=causal,
        PRECISION="ieee" if single else "tf32",
        **columns,
    )


def _describe(tokens: Tokens, options: Options) -> tuple[Sizes, Problem]:
    q, k = tokens.q, tokens.k
    offsets = tokens.q_offsets if tokens.q_offsets is not None else tokens.k_offsets
    stride = head_stride = 0
    if tokens.q_position is not None:
        stride = tokens.q_position.stride(0)
        head_stride = tokens.q_position.stride(1) if tokens.q_position.dim() == 3 else 0
    sizes = Sizes(
        num_queries=q.shape[0],
        num_keys=k.shape[0],
        num_segments=1 if offsets is None else offsets.shape[0] - 1,
        scale=options.scale,
        eps=options.eps,
        q_position_stride=stride,
        q_position_head_stride=head_stride,
    )
    heads, head_dim = q.shape[1:]
    group, single = heads // k.shape[1], q.dtype == torch.float32
    return sizes, problem_of(heads, group, head_dim, single, options.causal, options.terms)


def _is_rich(tokens: Tokens, options: Options, moments: bool) -> bool:
    return len(options.terms) > 1 or tokens.q_gate is not None or options.causal or moments


def _on_device_of(tensor: Tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _mark_uncovered(offsets: Tensor | None, *tensors: Tensor | None) -> None:
    """Fill with NaN, which stays in rows that broken offsets leave to no segment."""
    if offsets is None:
        return
    for tensor in tensors:
        if tensor is not None:
            tensor.fill_(float("nan"))


def forward(tokens: Tokens, options: Options, position_mean: bool, results: Results) -> None:
    """Write ``results``; every tensor is dense."""
    sizes, problem = _describe(tokens, options)
    q = tokens.q
    rich = _is_rich(tokens, options, position_mean)
    blocks = block_sizes("forward", q.shape[2], q.element_size(), rich)
    grid = (q.shape[0] // blocks["BLOCK_Q"] + sizes.num_segments, q.shape[1])
    _mark_uncovered(tokens.q_offsets, *results)
    with _on_device_of(q):
        forward_kernel[grid](tokens, results, sizes, problem, position_mean, **blocks)


def backward(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    gradients: TokenGradients,
) -> None:
    """Write the ``gradients`` that are wanted; every tensor is dense, ``grads.out`` is there."""
    sizes, problem = _describe(tokens, options)
    q, k, lse = tokens.q, tokens.k, results.lse
    rows, heads, head_dim = q.shape
    delta = torch.empty_like(lse)
    features = per_head = per_key_head = None
    if problem.PARAMETERS:
        features = lse.new_empty((rows, heads, problem.PARAMETERS))
        if gradients.q_position is not None:
            per_head = lse.new_empty((rows, heads, 3))
    if gradients.k_position is not None:
        per_key_head = lse.new_empty((k.shape[0], k.shape[1], 3))
    _mark_uncovered(tokens.q_offsets, delta, gradients.q, features, per_head)
    _mark_uncovered(tokens.k_offsets, gradients.k, gradients.v, per_key_head)
    moments = grads.mean is not None or grads.variance is not None
    rich = _is_rich(tokens, options, moments)
    given = (grads, tokens, results, delta)
    with _on_device_of(q):
        blocks = block_sizes("query", head_dim, q.element_size(), rich)
        query_kernel[(rows // blocks["BLOCK_Q"] + sizes.num_segments, heads)](
            *given, gradients.q, features, per_head, sizes, problem, **blocks
        )
        blocks = block_sizes("key", head_dim, q.element_size(), rich)
        key_kernel[(k.shape[0] // blocks["BLOCK_K"] + sizes.num_segments, k.shape[1])](
            *given, gradients.k, gradients.v, per_key_head, sizes, problem, **blocks
        )
    if features is not None:
        _sum_features(features, tokens, gradients)
    if gradients.q_position is not None:
        if per_head is None:
            gradients.q_position.zero_()
        else:
            shared = gradients.q_position.dim() == 2
            gradients.q_position.copy_(per_head.sum(1) if shared else per_head)
    if per_key_head is not None:
        torch.sum(per_key_head, 1, out=gradients.k_position)


def _sum_features(features: Tensor, tokens: Tokens, gradients: TokenGradients) -> None:
    """Turn ``sum_j dS_ij phi_p`` into the gradients of the parameters and of the gate."""
    if tokens.q_gate is None:
        torch.sum(features, 0, out=gradients.bias_parameters)
        return
    gate = tokens.q_gate[..., None]
    torch.sum(torch.where(gate == 0, 0, gate * features), 0, out=gradients.bias_parameters)
    slope = (features * tokens.bias_parameters).sum(-1)
    # A row whose gate is 0 and whose position is not finite stands nowhere.
    gradients.q_gate.copy_(torch.where((tokens.q_gate == 0) & ~slope.isfinite(), 0, slope))
