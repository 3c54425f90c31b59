"""What each backend of ``geometry_attention`` needs around its kernels: storage and layout."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._geometry_attention_arguments import (
    Options,
    ResultGradients,
    Results,
    TokenGradients,
    Tokens,
    empty_gradients,
    empty_results,
    wide,
)
from g2vlm_fast.ops.reference import geometry_attention as reference

_Record = TypeVar("_Record", Tokens, Results, ResultGradients)


def _dense(record: _Record) -> _Record:
    """Return the record with contiguous tensors."""
    dense: list[Any] = [None if each is None else each.contiguous() for each in record]
    return type(record)(*dense)


def _widened(tokens: Tokens) -> Tokens:
    """Return the tokens in the dtype of the arithmetic."""
    dtype = wide(tokens.q.dtype)
    return tokens._replace(q=tokens.q.to(dtype), k=tokens.k.to(dtype), v=tokens.v.to(dtype))


def _forward_cpu(tokens: Tokens, options: Options, position_mean: bool) -> Results:
    """Run the CPU kernel; half precision is computed in float32 and rounded once."""
    dtype, tokens = tokens.q.dtype, _dense(_widened(tokens))
    results = empty_results(tokens.q, position_mean)
    arguments: list[Any] = [*tokens, *options, results.out, results.lse]
    arguments += [results.mean, results.variance] if position_mean else [None, None]
    arguments.append(torch.get_num_threads())
    _C.geometry_attention_cpu(*arguments)
    return results._replace(out=results.out.to(dtype))


def _backward_cpu(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    position_gradients: bool,
) -> TokenGradients:
    dtype, tokens = tokens.q.dtype, _dense(_widened(tokens))
    results = _dense(results._replace(out=results.out.to(tokens.q.dtype)))
    out = torch.zeros_like(results.out) if grads.out is None else grads.out.to(tokens.q.dtype)
    grads = _dense(grads._replace(out=out))
    gradients = empty_gradients(tokens, position_gradients)
    arguments: list[Any] = [*grads, *tokens, *results, *options, *gradients]
    arguments.append(torch.get_num_threads())
    _C.geometry_attention_backward_cpu(*arguments)
    return gradients._replace(
        q=gradients.q.to(dtype), k=gradients.k.to(dtype), v=gradients.v.to(dtype)
    )


def _check_triton(q: Tensor) -> None:
    from g2vlm_fast.kernels.triton.geometry_attention_launch import MAX_HEAD_DIM

    if q.shape[2] > MAX_HEAD_DIM:
        raise _dispatch.BackendError(
            f"geometry_attention: the triton backend takes head dims up to {MAX_HEAD_DIM}, got "
            f"{q.shape[2]}; use more heads or use_backend('reference', 'geometry_attention')"
        )


def _forward_triton(tokens: Tokens, options: Options, position_mean: bool) -> Results:
    _check_triton(tokens.q)
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    results = empty_results(tokens.q, position_mean)
    launch.forward(_dense(tokens), options, position_mean, results)
    return results


def _backward_triton(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    position_gradients: bool,
) -> TokenGradients:
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    if grads.out is None:
        grads = grads._replace(out=torch.zeros_like(results.out))
    gradients = empty_gradients(tokens, position_gradients)
    launch.backward(_dense(grads), _dense(tokens), _dense(results), options, gradients)
    return gradients


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
