"""What each backend of ``geometry_attention`` needs around its kernels: storage and layout."""

from __future__ import annotations

from typing import Any

import torch

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


class MissingTermError(_dispatch.BackendError, NotImplementedError):
    """The chosen backend has no kernel yet for a term of the bias in this form."""


def _dense(record: Tokens | Results | ResultGradients) -> list[Any]:
    """Return the fields of a record, contiguous."""
    return [None if each is None else each.contiguous() for each in record]


def _forward_cpu(tokens: Tokens, options: Options, position_mean: bool) -> Results:
    """Run the CPU kernel, which skips nothing.

    Half precision is computed in float32 and rounded once.
    """
    dtype = tokens.q.dtype
    if wide(dtype) != dtype:
        widened = _forward_cpu(_widened(tokens), options, position_mean)
        return widened._replace(out=widened.out.to(dtype))
    results = empty_results(tokens.q, position_mean)
    arguments = [*_dense(tokens), *options.of_dense, results.out, results.lse]
    arguments += [results.mean, results.variance] if position_mean else [None, None]
    arguments.append(torch.get_num_threads())
    _C.geometry_attention_cpu(*arguments)
    return results


def _backward_cpu(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    position_gradients: bool,
) -> TokenGradients:
    """Run the CPU kernel; half precision is computed in float32 and rounded once.

    The gradient of a score is what is left of ``dP - dout . out``, which an ``out`` rounded to half
    precision would spoil: it is computed again.
    """
    dtype, arithmetic = tokens.q.dtype, wide(tokens.q.dtype)
    if grads.out is None:
        grads = grads._replace(out=torch.zeros_like(results.out))
    if arithmetic != dtype:
        assert grads.out is not None
        tokens = _widened(tokens)
        widened = _backward_cpu(
            grads._replace(out=grads.out.to(arithmetic)),
            tokens,
            results._replace(out=_forward_cpu(tokens, options, position_mean=False).out),
            options,
            position_gradients,
        )
        q, k, v = widened.q.to(dtype), widened.k.to(dtype), widened.v.to(dtype)
        return widened._replace(q=q, k=k, v=v)
    gradients = empty_gradients(tokens, position_gradients)
    arguments = [*_dense(grads), *_dense(tokens), *_dense(results)]
    arguments += [*options.of_dense, *gradients]
    arguments.append(torch.get_num_threads())
    _C.geometry_attention_backward_cpu(*arguments)
    return gradients


def _widened(tokens: Tokens) -> Tokens:
    """Return the tokens in the dtype of the arithmetic."""
    dtype = wide(tokens.q.dtype)
    return tokens._replace(q=tokens.q.to(dtype), k=tokens.k.to(dtype), v=tokens.v.to(dtype))


def _check_triton(tokens: Tokens, options: Options) -> None:
    if tokens.bias_tables is not None and tokens.bias_tables.dim() == 3:
        raise MissingTermError(
            "geometry_attention: the triton backend has no kernel yet for tables of each query; "
            "give one table a head, or move the tensors to the CPU and use_backend('cpu', "
            "'geometry_attention'), or stay and use_backend('reference', 'geometry_attention')"
        )
    from g2vlm_fast.kernels.triton.geometry_attention_launch import MAX_HEAD_DIM

    head_dim = tokens.q.shape[2]
    if head_dim > MAX_HEAD_DIM:
        raise _dispatch.BackendError(
            f"geometry_attention: the triton backend takes head dims up to {MAX_HEAD_DIM}, got "
            f"{head_dim}; use more heads or use_backend('reference', 'geometry_attention')"
        )


def _forward_triton(tokens: Tokens, options: Options, position_mean: bool) -> Results:
    _check_triton(tokens, options)
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    results = empty_results(tokens.q, position_mean)
    launch.forward(Tokens(*_dense(tokens)), options, position_mean, results)
    return results


def _backward_triton(
    grads: ResultGradients,
    tokens: Tokens,
    results: Results,
    options: Options,
    position_gradients: bool,
) -> TokenGradients:
    _check_triton(tokens, options)
    from g2vlm_fast.kernels.triton import geometry_attention_launch as launch

    if grads.out is None:
        grads = grads._replace(out=torch.zeros_like(results.out))
    gradients = empty_gradients(tokens, position_gradients)
    launch.backward(
        ResultGradients(*_dense(grads)),
        Tokens(*_dense(tokens)),
        Results(*_dense(results)),
        options,
        gradients,
    )
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
