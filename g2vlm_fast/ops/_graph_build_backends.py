"""How graphs are built: the steps of ``csrc/include/g2vlm/graph_build.h``, strung together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from g2vlm_fast import _C
from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference import graph_build as reference

INDICES = frozenset({torch.int32, torch.int64})


class Built(NamedTuple):
    """What a builder found."""

    row_offsets: Tensor
    columns: Tensor
    max_degree: int | None  # None where it was not read back
    invalid: bool  # an index was out of range; the rest means nothing


def waits(like: Tensor, num_edges: int | None) -> bool:
    """Return whether sizes are read: always where it costs nothing, else where none is given."""
    return num_edges is None or like.is_cpu


def require(satisfied: Tensor, message: str) -> None:
    """Fail an assertion on the device, without waiting for it."""
    torch._assert_async(satisfied, message)


def compact(values: Tensor, keep: Tensor, count: int) -> Tensor:
    """Return the ``count`` values that are kept, without asking the device how many they are."""
    out = values.new_empty(count + 1)  # the others are written behind the end
    out[torch.where(keep, keep.cumsum(0) - 1, count).clamp_max(count)] = values
    return out[:count]


def _out_of_range(indices: Tensor, bound: int) -> bool:
    return bool(((indices < 0) | (indices >= bound)).any())


def _max_degree(row_offsets: Tensor) -> int:
    return int(row_offsets.diff().max()) if row_offsets.shape[0] > 1 else 0


def _reference_faces(faces: Tensor, num_vertices: int, num_edges: int | None = None) -> Built:
    if _out_of_range(faces, num_vertices):
        return Built(faces, faces, 0, True)
    row_offsets, columns = reference.faces_to_csr(faces, num_vertices)
    return Built(row_offsets, columns, _max_degree(row_offsets), False)


def _reference_edges(
    destination: Tensor,
    source: Tensor,
    num_rows: int,
    num_sources: int,
    coalesce: bool,
    num_edges: int | None = None,
) -> Built:
    if _out_of_range(destination, num_rows) or _out_of_range(source, num_sources):
        return Built(source, source, 0, True)
    row_offsets, columns = reference.edges_to_csr(destination, source, num_rows, coalesce)
    return Built(row_offsets, columns, _max_degree(row_offsets), False)


def _native_faces(faces: Tensor, num_vertices: int, num_edges: int | None = None) -> Built:
    edges = (faces.contiguous(), num_vertices)
    return _native_rows(
        edges, num_vertices, _C.count_faces, _C.fill_faces, coalesce=True, num_edges=num_edges
    )


def _native_edges(
    destination: Tensor,
    source: Tensor,
    num_rows: int,
    num_sources: int,
    coalesce: bool,
    num_edges: int | None = None,
) -> Built:
    destination, source = destination.contiguous(), source.contiguous()
    count, fill = _C.count_edges, _C.fill_edges
    if coalesce:
        edges = (destination, source, num_rows, num_sources)
        return _native_rows(edges, num_rows, count, fill, coalesce=True, num_edges=num_edges)
    if waits(source, num_edges):
        if _out_of_range(source, num_sources):
            return Built(source, source, 0, True)
    else:
        in_range = ((source >= 0) & (source < num_sources)).all()
        require(in_range, f"source must be from 0 to {num_sources - 1}")
    places = (destination, None, num_rows, 0)
    built = _native_rows(places, num_rows, count, fill, coalesce=False, num_edges=num_edges)
    if built.invalid:
        return built
    return built._replace(columns=source[built.columns].int())


def _native_rows(
    edges: tuple[Any, ...],
    num_rows: int,
    count: Callable[..., None],
    fill: Callable[..., None],
    *,
    coalesce: bool,
    num_edges: int | None = None,
) -> Built:
    """Run the steps of ``graph_build.h``; reads three numbers back without ``num_edges``."""
    device, threads = edges[0].device, torch.get_num_threads()
    counts = torch.zeros(num_rows, dtype=torch.int32, device=device)
    invalid = torch.zeros(1, dtype=torch.int32, device=device)
    count(*edges, counts, invalid)
    offsets = _running_sum(counts)
    entries = torch.empty(_most_entries(edges), dtype=torch.int32, device=device)
    fill(*edges, offsets[:-1].clone(), entries)
    kept = counts if coalesce else None
    _C.sort_rows(offsets, entries, kept, threads)
    row_offsets = _running_sum(counts) if coalesce else offsets
    max_degree, is_invalid = None, False
    if waits(counts, num_edges):
        most = counts.max() if num_rows else invalid[0]
        facts = torch.stack([row_offsets[-1], most, invalid[0]])
        num_edges, max_degree, is_invalid = facts.tolist()
    else:
        right = (row_offsets[-1] == num_edges) & (invalid[0] == 0)
        require(right, f"the graph must have num_edges = {num_edges} edges, and no index too large")
    columns = entries[:num_edges]
    if coalesce and not is_invalid:
        columns = torch.empty(num_edges or 0, dtype=torch.int32, device=device)
        _C.compact_rows(offsets, entries, row_offsets, columns, threads)
    return Built(row_offsets, columns, max_degree, bool(is_invalid))


def _most_entries(edges: tuple[Any, ...]) -> int:
    """Return how many directed edges triangles ``[F, 3]`` or edges ``[E]`` make at most."""
    return edges[0].shape[0] * (6 if edges[0].dim() == 2 else 1)


def _running_sum(counts: Tensor) -> Tensor:
    offsets = counts.new_zeros(counts.shape[0] + 1)
    torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
    return offsets


def _native_transpose(
    row_offsets: Tensor, columns: Tensor, num_sources: int
) -> tuple[Tensor, Tensor, Tensor]:
    edges = (columns.contiguous(), None, num_sources, 0)
    counts = columns.new_zeros(num_sources)
    invalid = columns.new_zeros(1)
    _C.count_edges(*edges, counts, invalid)
    if columns.is_cpu and invalid.item():
        raise ValueError(
            f"graph_transpose: columns of the graph must be from 0 to {num_sources - 1}"
        )
    offsets = _running_sum(counts)
    order = torch.zeros_like(columns)
    _C.fill_edges(*edges, offsets[:-1].clone(), order)
    _C.sort_rows(offsets, order, None, torch.get_num_threads())
    return offsets, reference.edge_rows(row_offsets, columns.shape[0])[order], order


def _transpose_implementation(
    row_offsets: Tensor, columns: Tensor, num_sources: int
) -> tuple[Tensor, Tensor, Tensor]:
    transpose = _dispatch.implementation("graph_transpose", columns)
    found: tuple[Tensor, Tensor, Tensor] = transpose(row_offsets, columns, num_sources)
    return found


def _transpose_fake(
    row_offsets: Tensor, columns: Tensor, num_sources: int
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        columns.new_empty(num_sources + 1),
        torch.empty_like(columns),
        torch.empty_like(columns),
    )


for _op, _run, _truth in (
    ("faces_to_csr", _native_faces, _reference_faces),
    ("edges_to_csr", _native_edges, _reference_edges),
    ("graph_transpose", _native_transpose, reference.graph_transpose),
):
    for _device in ("cpu", "cuda"):
        _dispatch.register_backend(_op, _device, _run, devices=(_device,), dtypes=INDICES)
    _dispatch.register_backend(_op, "reference", _truth, devices=("cpu", "cuda"), dtypes=INDICES)

transpose_rows = define_op(
    "graph_transpose(Tensor row_offsets, Tensor columns, SymInt num_sources)"
    " -> (Tensor, Tensor, Tensor)",
    implementation=_transpose_implementation,
    fake=_transpose_fake,
)
