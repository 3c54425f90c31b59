"""The implementations of :func:`g2vlm_fast.ops.edge_attention`, one function per backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._edge_attention_arguments import (
    Edges,
    Gradients,
    Transposed,
    Vertices,
    empty_gradients,
    empty_results,
)
from g2vlm_fast.ops.reference import edge_attention as reference
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

_Run = Callable[..., Any]


def _takes_both_ends(run: _Run) -> _Run:
    """Let a forward pass that knows left and right as two tensors take both in one."""

    @wraps(run)
    def forward(vertices: Vertices, *rest: Any) -> Any:
        return run(_apart(vertices), *rest)

    return forward


def _takes_both_ends_backward(run: _Run) -> _Run:
    """Likewise for a backward pass, whose gradients are put together."""

    @wraps(run)
    def backward(
        grad: Tensor, grad_lse: Tensor | None, vertices: Vertices, *rest: Any
    ) -> Gradients:
        if vertices.right is not None:
            found: Gradients = run(grad, grad_lse, vertices, *rest)
            return found
        *options, wanted = rest
        wanted = [wanted[0], wanted[0], *wanted[2:]]
        found = run(grad, grad_lse, _apart(vertices), *options, wanted)
        both = torch.stack([found.left, found.right], 1) if wanted[0] else found.left
        return found._replace(left=both, right=found.right.new_empty(0))

    return backward


def _apart(vertices: Vertices) -> Vertices:
    """Return the vertices with a dense tensor for each end."""
    left, right = (each.contiguous() for each in vertices.ends())
    return vertices._replace(left=left, right=right)


def _widened(vertices: Vertices) -> Vertices:
    """Return the vertices in the dtype of the arithmetic."""
    wide = accumulation_dtype(vertices.left.dtype)
    return Vertices(*(None if each is None else each.to(wide) for each in vertices))  # type: ignore[arg-type]


def _or_none(gradients: Sequence[Tensor], wanted: list[bool]) -> list[Tensor | None]:
    return [each if want else None for each, want in zip(gradients, wanted, strict=True)]


def _forward_cpu(
    vertices: Vertices, edges: Edges, negative_slope: float, scale: float
) -> tuple[Tensor, Tensor]:
    """Run the CPU kernel; half precision is computed in float32 and rounded once."""
    widened = _widened(vertices)
    out, lse = empty_results(widened)
    ends = (*widened.ends(), widened.attention, widened.value)
    _C.edge_attention_cpu(*ends, *edges, negative_slope, scale, out, lse, torch.get_num_threads())
    return out.to(vertices.left.dtype), lse


def _backward_cpu(
    grad: Tensor,
    grad_lse: Tensor | None,
    vertices: Vertices,
    edges: Edges,
    transpose: Transposed,
    lse: Tensor,
    negative_slope: float,
    scale: float,
    wanted: list[bool],
) -> Gradients:
    """Run the CPU kernel; half precision is computed in float32 and rounded once."""
    widened = _widened(vertices)
    found = empty_gradients(widened, edges, wanted)
    rows, heads, head_dim = widened.ends()[1].shape
    parameters = 0 if edges.geometry is None else edges.geometry.shape[1]
    parameters += vertices.attention is not None
    partial = lse.new_empty(_C.edge_conv_blocks(rows), parameters, heads, head_dim)
    probability, score_gradient = (lse.new_empty(edges.columns.shape[0], heads) for _ in range(2))
    arguments: list[Any] = [grad.to(lse.dtype), grad_lse, *widened, *edges, *transpose, lse]
    arguments += [negative_slope, scale, probability, score_gradient, partial]
    arguments += _or_none(found, wanted)
    arguments.append(torch.get_num_threads())
    _C.edge_attention_backward_cpu(*arguments)
    dtype = vertices.left.dtype
    left, right, value = (each.to(dtype) for each in (found.left, found.right, found.value))
    return found._replace(left=left, right=right, value=value)


def _check_triton(vertices: Vertices) -> None:
    from g2vlm_fast.kernels.triton.edge_attention_launch import MAX_HEAD_DIM

    head_dim = vertices.left.shape[-1]
    if head_dim > MAX_HEAD_DIM:
        raise _dispatch.BackendError(
            f"edge_attention: the triton backend takes head dims up to {MAX_HEAD_DIM}, got "
            f"{head_dim} (left, right); use more heads or use_backend('reference', "
            "'edge_attention')"
        )


def _forward_triton(
    vertices: Vertices, edges: Edges, negative_slope: float, scale: float
) -> tuple[Tensor, Tensor]:
    _check_triton(vertices)
    from g2vlm_fast.kernels.triton import edge_attention_launch as launch

    out, lse = empty_results(vertices)
    launch.forward(vertices, edges, negative_slope, scale, out, lse)
    return out, lse


def _backward_triton(
    grad: Tensor,
    grad_lse: Tensor | None,
    vertices: Vertices,
    edges: Edges,
    transpose: Transposed,
    lse: Tensor,
    negative_slope: float,
    scale: float,
    wanted: list[bool],
) -> Gradients:
    from g2vlm_fast.kernels.triton import edge_attention_launch as launch

    found = empty_gradients(vertices, edges, wanted)
    launch.backward(
        *((grad, grad_lse), vertices, edges, transpose, lse),
        *(negative_slope, scale, _or_none(found, wanted)),
    )
    return found


_TRITON_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32})


def register(op: str) -> None:
    """Enter the implementations of ``op`` and its backward pass into the dispatch table."""
    backward = f"{op}_backward"
    table: tuple[tuple[str, _Run, _Run, _Run], ...] = (
        (op, _forward_cpu, _forward_triton, reference.edge_attention),
        (backward, _backward_cpu, _backward_triton, reference.edge_attention_backward),
    )
    adapters: tuple[Callable[[_Run], _Run], ...] = (_takes_both_ends, _takes_both_ends_backward)
    for (name, cpu, triton, plain), adapt in zip(table, adapters, strict=True):
        _dispatch.register_backend(
            name, "cpu", adapt(cpu), devices=("cpu",), dtypes=_dispatch.FLOATS
        )
        _dispatch.register_backend(
            name, "triton", triton, devices=("cuda", "cpu"), dtypes=_TRITON_DTYPES
        )
        _dispatch.register_backend(
            name, "reference", adapt(plain), devices=("cpu", "cuda"), dtypes=_dispatch.FLOATS
        )
