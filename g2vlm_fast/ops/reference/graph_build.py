"""Plain-torch truth of the builders of :class:`g2vlm_fast.ops.Graph`."""

from __future__ import annotations

import torch
from torch import Tensor


def offsets_of(rows: Tensor, num_rows: int) -> Tensor:
    """Return the int32 offsets ``[num_rows + 1]`` of the runs of sorted ``rows``."""
    bounds = torch.arange(num_rows + 1, device=rows.device, dtype=rows.dtype)
    return torch.searchsorted(rows, bounds, out_int32=True)


def faces_to_csr(faces: Tensor, num_vertices: int) -> tuple[Tensor, Tensor]:
    """Return the CSR of the undirected edges of triangles: sorted, unique, without loops."""
    corners = faces.long()
    first = corners.flatten()
    second = corners.roll(-1, dims=1).flatten()
    proper = first != second
    first, second = first[proper], second[proper]
    return edges_to_csr(torch.cat([first, second]), torch.cat([second, first]), num_vertices, True)


def edges_to_csr(
    destination: Tensor, source: Tensor, num_rows: int, coalesce: bool
) -> tuple[Tensor, Tensor]:
    """Return the CSR of directed edges; ``coalesce`` sorts each row and drops duplicates."""
    if coalesce:
        pairs = torch.stack([destination.long(), source.long()], dim=1).unique(dim=0)
        destination, source = pairs.unbind(1)
    else:
        destination, order = destination.long().sort(stable=True)
        source = source[order]
    return offsets_of(destination.contiguous(), num_rows), source.int()


def graph_transpose(
    row_offsets: Tensor, columns: Tensor, num_sources: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges by source: offsets, destination and edge, by rising edge."""
    sources, edges = columns.sort(stable=True)
    rows = edge_rows(row_offsets, columns.shape[0])
    return offsets_of(sources, num_sources), rows[edges], edges.int()


def edge_rows(row_offsets: Tensor, num_edges: int) -> Tensor:
    """Return the row of each edge, ``[E]`` int32."""
    rows = torch.arange(row_offsets.shape[0] - 1, dtype=torch.int32, device=row_offsets.device)
    return rows.repeat_interleave(row_offsets.diff(), output_size=num_edges)
