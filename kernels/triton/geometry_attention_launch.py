"""Launches the Triton kernels of ``geometry_attention``: tile sizes, grids, fixed-order sums."""

import contextlib

import torch
import triton
from torch import Tensor

from g2vlm_fast.kernels.triton.geometry_attention import forward_kernel
from g2vlm_fast.kernels.triton.geometry_attention_key import key_kernel
from g2vlm_fast.kernels.triton.geometry_attention_query import query_kernel
from g2vlm_fast.kernels.triton.interpreter import repair_interpreter

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


def term_columns(codes: list[int]) -> dict[str, int]:
    """Return the constexpr arguments that name the columns of a bias spec's terms, -1 = absent."""
    columns = {"DISTANCE": -1, "SQUARED": -1, "DIRECTION": -1, "PARAMETERS": 0}
    for code in codes:
        columns[("DISTANCE", "SQUARED", "DIRECTION")[code]] = columns["PARAMETERS"]
        columns["PARAMETERS"] += 3 if code == 2 else 1
    return columns


def _shared_arguments(q, k, q_position, q_offsets, k_offsets, codes, constants, causal, scale):
    """Return the run-time scalars and the compile-time arguments that all kernels take."""
    offsets = q_offsets if q_offsets is not None else k_offsets
    stride = head_stride = 0
    if q_position is not None:
        stride = q_position.stride(0)
        head_stride = q_position.stride(1) if q_position.dim() == 3 else 0
    eps = next((value for code, value in zip(codes, constants, strict=True) if code == 0), 0.0)
    segments = 1 if offsets is None else offsets.shape[0] - 1
    scalars = (q.shape[0], k.shape[0], segments, scale, eps, stride, head_stride)
    static = {
        "H": q.shape[1],
        "GROUP": q.shape[1] // k.shape[1],
        "D": q.shape[2],
        "D_PADDED": padded_head_dim(q.shape[2]),
        "CAUSAL": causal,
        "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
        **term_columns(codes),
    }
    return scalars, static


def _on_device_of(tensor: Tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _uncovered(tensor: Tensor, offsets: Tensor | None) -> Tensor:
    """Mark rows that broken offsets leave to no segment: they stay NaN."""
    return tensor if offsets is None else tensor.fill_(float("nan"))


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_parameters: Tensor | None,
    q_position: Tensor | None,
    k_position: Tensor | None,
    q_gate: Tensor | None,
    q_offsets: Tensor | None,
    k_offsets: Tensor | None,
    codes: list[int],
    constants: list[float],
    causal: bool,
    scale: float,
    position_mean: bool,
    outputs: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    """Write out, lse, mean and variance into ``outputs``; every tensor is dense."""
    scalars, static = _shared_arguments(
        q, k, q_position, q_offsets, k_offsets, codes, constants, causal, scale
    )
    rich = len(codes) > 1 or q_gate is not None or causal or position_mean
    blocks = block_sizes("forward", q.shape[2], q.element_size(), rich)
    grid = (q.shape[0] // blocks["BLOCK_Q"] + scalars[2], q.shape[1])
    inputs = (q, k, v, bias_parameters, q_position, k_position, q_gate, q_offsets, k_offsets)
    outputs = tuple(_uncovered(each, q_offsets) for each in outputs)
    with _on_device_of(q):
        forward_kernel[grid](
            *inputs, *outputs, *scalars, **static, **blocks, POSITION_MEAN=position_mean
        )


def backward(
    grads: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_parameters: Tensor | None,
    q_position: Tensor | None,
    k_position: Tensor | None,
    q_gate: Tensor | None,
    q_offsets: Tensor | None,
    k_offsets: Tensor | None,
    out: Tensor,
    lse: Tensor,
    mean: Tensor,
    variance: Tensor,
    codes: list[int],
    constants: list[float],
    causal: bool,
    scale: float,
    gradients: list[Tensor | None],
) -> None:
    """Write the gradients of q, k, v, bias_parameters, both positions and q_gate that are wanted.

    ``gradients`` holds storage in that order, None for what is absent or not wanted.
    """
    grad_q, grad_k, grad_v, grad_parameters, grad_q_position, grad_k_position, grad_gate = gradients
    scalars, static = _shared_arguments(
        q, k, q_position, q_offsets, k_offsets, codes, constants, causal, scale
    )
    rows, heads, _ = q.shape
    delta = torch.empty_like(lse)
    parameters = static["PARAMETERS"]
    features = lse.new_empty((rows, heads, parameters)) if parameters else None
    per_head = None
    if parameters and grad_q_position is not None:
        per_head = lse.new_empty((rows, heads, 3))
    per_key_head = None
    if grad_k_position is not None:
        per_key_head = lse.new_empty((k.shape[0], k.shape[1], 3))
    for each in (delta, grad_q, features, per_head):
        if each is not None:
            _uncovered(each, q_offsets)
    for each in (grad_k, grad_v, per_key_head):
        if each is not None:
            _uncovered(each, k_offsets)
    geometry = (bias_parameters, q_position, k_position, q_gate, q_offsets, k_offsets)
    grad_out, grad_lse, grad_mean, grad_variance = grads
    moments = grad_mean is not None or grad_variance is not None
    rich = len(codes) > 1 or q_gate is not None or causal or moments
    with _on_device_of(q):
        blocks = block_sizes("query", q.shape[2], q.element_size(), rich)
        query_kernel[(rows // blocks["BLOCK_Q"] + scalars[2], heads)](
            grad_out,
            grad_lse,
            grad_mean,
            grad_variance,
            *(q, k, v, *geometry),
            *(out, lse, mean, variance),
            *(delta, grad_q, features, per_head),
            *scalars,
            **static,
            **blocks,
        )
        blocks = block_sizes("key", q.shape[2], q.element_size(), rich)
        key_kernel[(k.shape[0] // blocks["BLOCK_K"] + scalars[2], k.shape[1])](
            grad_out,
            grad_mean,
            grad_variance,
            *(q, k, v, *geometry),
            *(lse, mean, delta),
            *(grad_k, grad_v, per_key_head),
            *scalars,
            **static,
            **blocks,
        )
    if features is not None:
        _sum_features(features, bias_parameters, q_gate, grad_parameters, grad_gate)
    if grad_q_position is not None:
        if per_head is None:
            grad_q_position.zero_()
        else:
            shared = grad_q_position.dim() == 2
            grad_q_position.copy_(per_head.sum(1) if shared else per_head)
    if grad_k_position is not None:
        torch.sum(per_key_head, 1, out=grad_k_position)


def _sum_features(features, bias_parameters, q_gate, grad_parameters, grad_gate) -> None:
    """Turn ``sum_j dS_ij phi_p`` into the gradients of the parameters and of the gate."""
    if q_gate is None:
        torch.sum(features, 0, out=grad_parameters)
        return
    gate = q_gate[..., None]
    torch.sum(torch.where(gate == 0, 0, gate * features), 0, out=grad_parameters)
    slope = (features * bias_parameters).sum(-1)
    # A row whose gate is 0 and whose position is not finite stands nowhere.
    grad_gate.copy_(torch.where((q_gate == 0) & ~slope.isfinite(), 0, slope))
