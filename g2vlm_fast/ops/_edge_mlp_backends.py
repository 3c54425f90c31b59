"""The implementations of :func:`g2vlm_fast.ops.edge_mlp`, one function per backend."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._edge_conv_backends import ACTIVATIONS
from g2vlm_fast.ops._edge_mlp_cpu import backward_cpu, forward_cpu
from g2vlm_fast.ops._graph_reduce_backends import empty_winner
from g2vlm_fast.ops.reference import edge_mlp as reference
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype

GRADIENTS = ("a", "b", "weight", "bias", "geometry", "geometry_weight")


def empty_gradients(
    a: Tensor,
    b: Tensor,
    weight: Tensor,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Outputs of the backward op, as :data:`GRADIENTS`; one that is not wanted has no elements."""
    wide = accumulation_dtype(a.dtype)
    shapes: list[tuple[int, ...]] = [a.shape, b.shape, weight.shape, weight.shape[1:]]
    shapes += [(0,) if each is None else each.shape for each in (geometry, geometry_weight)]
    dtypes = (*(a.dtype,) * 4, wide, wide)
    return tuple(
        a.new_empty(*shape if want else (0,), dtype=dtype)
        for shape, dtype, want in zip(shapes, dtypes, wanted, strict=True)
    )


def _lacks_cuda(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
    winner_dtype: torch.dtype | None,
) -> str | None:
    """Return what the CUDA kernel cannot do; the limits are those of edge_mlp.h."""
    hidden, channels = weight.shape
    if geometry is not None:
        return "geometry"
    if not 0 < hidden <= 128 or hidden % 8 or channels % 8:
        return (
            f"{hidden} hidden channels and {channels} channels (it takes multiples of 8, "
            "8 to 128 hidden)"
        )
    if a.data_ptr() % 16 or b.data_ptr() % 16:
        return "a or b that begins between multiples of 16 bytes"
    return None


def _aligned(parameter: Tensor) -> Tensor:
    """Return a small tensor that begins at a multiple of 16 bytes, as views of buffers may not."""
    return parameter.clone() if parameter.data_ptr() % 16 else parameter


def _forward_cuda(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
    winner_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    out = a.new_empty(a.shape[0], weight.shape[1])
    winner = empty_winner(a, a.shape[0], weight.shape[1], winner_dtype)
    _C.edge_mlp_cuda(
        *(a, b, row_offsets, columns, _aligned(weight), None if bias is None else _aligned(bias)),
        ACTIVATIONS[activation],
        out,
        None if winner_dtype is None else winner,
    )
    return out, winner


def _forward_triton(
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    activation: str,
    winner_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    from g2vlm_fast.kernels.triton import edge_mlp_launch as launch

    tensors = (a, b, row_offsets, columns, weight, geometry, geometry_weight)
    out = a.new_empty(a.shape[0], weight.shape[1])
    winner = empty_winner(a, a.shape[0], weight.shape[1], winner_dtype)
    messages = launch.Messages(*tensors, activation)
    launch.forward(messages, bias, out, None if winner_dtype is None else winner)
    return out, winner


def _backward_triton(
    grad: Tensor,
    a: Tensor,
    b: Tensor,
    row_offsets: Tensor,
    columns: Tensor,
    weight: Tensor,
    geometry: Tensor | None,
    geometry_weight: Tensor | None,
    transpose: tuple[Tensor, Tensor, Tensor],
    winner: Tensor,
    activation: str,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    from g2vlm_fast.kernels.triton import edge_mlp_launch as launch

    found = empty_gradients(a, b, weight, geometry, geometry_weight, wanted)
    of_a, of_b, of_weight, of_bias, of_geometry, of_geometry_weight = (
        each if want else None for each, want in zip(found, wanted, strict=True)
    )
    tensors = (a, b, row_offsets, columns, weight, geometry, geometry_weight)
    messages = launch.Messages(*tensors, activation)
    upstream = launch.Upstream(grad, winner, row_offsets)
    if of_a is not None or of_geometry is not None or of_geometry_weight is not None:
        launch.backward_to_owners(messages, upstream, None, of_a, of_geometry, of_geometry_weight)
    if of_b is not None:
        launch.backward_to_owners(messages, upstream, transpose, of_b)
    if of_weight is not None or of_bias is not None:
        launch.backward_to_map(messages, upstream, of_weight, of_bias)
    return found


_HALVES = frozenset({torch.float16, torch.bfloat16})
_dispatch.register_backend(
    "edge_mlp", "cuda", _forward_cuda, devices=("cuda",), dtypes=_HALVES, lacks=_lacks_cuda
)
_TRITON_DTYPES = _HALVES | {torch.float32}
for _name, _cpu, _triton, _plain in (
    ("edge_mlp", forward_cpu, _forward_triton, reference.edge_mlp),
    ("edge_mlp_backward", backward_cpu, _backward_triton, reference.edge_mlp_backward),
):
    _dispatch.register_backend(_name, "cpu", _cpu, devices=("cpu",), dtypes=_dispatch.FLOAT32_64)
    _dispatch.register_backend(
        _name, "triton", _triton, devices=("cuda", "cpu"), dtypes=_TRITON_DTYPES
    )
    _dispatch.register_backend(
        _name, "reference", _plain, devices=("cpu", "cuda"), dtypes=_dispatch.FLOATS
    )
# So that `use_backend("cuda", "edge_mlp")` can be differentiated.
_dispatch.register_backend(
    "edge_mlp_backward",
    "cuda",
    _backward_triton,
    devices=("cuda",),
    dtypes=_HALVES,
    kernels="triton",
)
