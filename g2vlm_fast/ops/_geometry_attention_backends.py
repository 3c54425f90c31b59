"""What each backend of ``geometry_attention`` needs around its kernels: storage and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference import geometry_attention as reference

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def empty_outputs(q: Tensor, position_mean: bool) -> Outputs:
    """Return storage for out, lse, mean and variance; the last two have no rows unless asked."""
    rows, heads, _ = q.shape
    wide = reference.wide(q.dtype)
    statistics_rows = rows if position_mean else 0
    return (
        q.new_empty(q.shape),
        q.new_empty((rows, heads), dtype=wide),
        q.new_empty((statistics_rows, heads, 3), dtype=wide),
        q.new_empty((statistics_rows, heads), dtype=wide),
    )


def gradient_storage(
    inputs: tuple[Tensor | None, ...], position_gradients: bool
) -> list[Tensor | None]:
    """Return storage for the gradients of q, k, v, bias_parameters, both positions and q_gate.

    An input that is absent, and a position whose gradient is not wanted, gets None.
    """
    wanted = (True, True, True, True, position_gradients, position_gradients, True)
    return [
        each.new_empty(each.shape) if want and each is not None else None
        for each, want in zip(inputs, wanted, strict=True)
    ]


def without_gaps(gradients: list[Tensor | None], dtype: torch.dtype) -> Gradients:
    """Return gradients as the op does: a tensor without elements for each None."""
    q = gradients[0]
    assert q is not None
    return tuple(q.new_empty(0, dtype=dtype) if each is None else each for each in gradients)  # type: ignore[return-value]


def _dense(tensors: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _forward_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_parameters: Tensor | None,
    q_position: Tensor | None,
    k_position: Tensor | None,
    q_gate: Tensor | None,
    q_offsets: Tensor | None,
    k_offsets: Tensor | None,
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    position_mean: bool,
) -> Outputs:
    """Run the CPU kernel; half precision is computed in float32 and rounded once."""
    wide = reference.wide(q.dtype)
    wide_q, wide_k, wide_v = q.to(wide), k.to(wide), v.to(wide)
    out, lse, mean, variance = empty_outputs(wide_q, position_mean)
    geometry = (bias_parameters, q_position, k_position, q_gate)
    arguments: list[Any] = _dense((wide_q, wide_k, wide_v, *geometry, q_offsets, k_offsets))
    arguments += [terms, constants, causal, scale, out, lse]
    arguments += [mean, variance] if position_mean else [None, None]
    arguments.append(torch.get_num_threads())
    _C.geometry_attention_cpu(*arguments)
    return out.to(q.dtype), lse, mean, variance


def _backward_cpu(
    grad_out: Tensor | None,
    grad_lse: Tensor | None,
    grad_mean: Tensor | None,
    grad_variance: Tensor | None,
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
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    position_gradients: bool,
) -> Gradients:
    wide = reference.wide(q.dtype)
    wide_q, wide_k, wide_v, wide_out = q.to(wide), k.to(wide), v.to(wide), out.to(wide)
    grad_out = torch.zeros_like(wide_out) if grad_out is None else grad_out.to(wide)
    inputs = (wide_q, wide_k, wide_v, bias_parameters, q_position, k_position, q_gate)
    gradients = gradient_storage(inputs, position_gradients)
    arguments: list[Any] = _dense((grad_out, grad_lse, grad_mean, grad_variance))
    arguments += _dense((*inputs, q_offsets, k_offsets, wide_out, lse, mean, variance))
    arguments += [terms, constants, causal, scale, *gradients, torch.get_num_threads()]
    _C.geometry_attention_backward_cpu(*arguments)
    grad_q, grad_k, grad_v, *rest = without_gaps(gradients, wide)
    return (grad_q.to(q.dtype), grad_k.to(q.dtype), grad_v.to(q.dtype), *rest)  # type: ignore[return-value]


def _check_triton(q: Tensor) -> None:
    from g2vlm_fast.kernels.triton.geometry_attention_launch import MAX_HEAD_DIM

    if q.shape[2] > MAX_HEAD_DIM:
        raise _dispatch.BackendError(
            f"geometry_attention: the triton backend takes head dims up to {MAX_HEAD_DIM}, got "
            f"{q.shape[2]}; use more heads or use_backend('reference', 'geometry_attention', "
            "'geometry_attention_backward')"
        )


def _forward_triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias_parameters: Tensor | None,
    q_position: Tensor | None,
    k_position: Tensor | None,
    q_gate: Tensor | None,
    q_offsets: Tensor | None,
    k_offsets: Tensor | None,
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    position_mean: bool,
) -> Outputs:
    _check_triton(q)
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    outputs = empty_outputs(q, position_mean)
    geometry = (bias_parameters, q_position, k_position, q_gate)
    launch.forward(
        *_dense((q, k, v, *geometry, q_offsets, k_offsets)),
        terms,
        constants,
        causal,
        scale,
        position_mean,
        outputs,
    )
    return outputs


def _backward_triton(
    grad_out: Tensor | None,
    grad_lse: Tensor | None,
    grad_mean: Tensor | None,
    grad_variance: Tensor | None,
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
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    position_gradients: bool,
) -> Gradients:
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    grad_out = torch.zeros_like(out) if grad_out is None else grad_out
    inputs = (q, k, v, bias_parameters, q_position, k_position, q_gate)
    gradients = gradient_storage(inputs, position_gradients)
    launch.backward(
        _dense((grad_out, grad_lse, grad_mean, grad_variance)),
        *_dense((*inputs, q_offsets, k_offsets, out, lse, mean, variance)),
        terms,
        constants,
        causal,
        scale,
        gradients,
    )
    return without_gaps(gradients, lse.dtype)


_TRITON_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32})


def register(op: str) -> None:
    """Enter the implementations of ``op`` and its backward pass into the dispatch table."""
    for name, cpu, triton, plain in (
        (op, _forward_cpu, _forward_triton, reference.geometry_attention),
        (
            f"{op}_backward",
            _backward_cpu,
            _backward_triton,
            reference.geometry_attention_backward,
        ),
    ):
        _dispatch.register_backend(name, "cpu", cpu, devices=("cpu",), dtypes=_dispatch.FLOATS)
        _dispatch.register_backend(
            name, "triton", triton, devices=("cuda", "cpu"), dtypes=_TRITON_DTYPES
        )
        _dispatch.register_backend(
            name, "reference", plain, devices=("cpu", "cuda"), dtypes=_dispatch.FLOATS
        )
