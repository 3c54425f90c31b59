"""The implementations of :func:`g2vlm_fast.ops.edge_mlp`, one function per backend."""

from __future__ import annotations

from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._edge_mlp_cpu import backward_cpu, forward_cpu
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
        a.new_empty(shape if want else (0,), dtype=dtype)
        for shape, dtype, want in zip(shapes, dtypes, wanted, strict=True)
    )


_NATIVE = _dispatch.FLOAT32_64
for _name, _cpu, _plain in (
    ("edge_mlp", forward_cpu, reference.edge_mlp),
    ("edge_mlp_backward", backward_cpu, reference.edge_mlp_backward),
):
    _dispatch.register_backend(_name, "cpu", _cpu, devices=("cpu",), dtypes=_NATIVE)
    _dispatch.register_backend(
        _name, "reference", _plain, devices=("cpu", "cuda"), dtypes=_dispatch.FLOATS
    )
