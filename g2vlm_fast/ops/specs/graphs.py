"""Graphs that the specifications of the graph ops draw."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.graph_build import Graph


def torus_faces(rows: int, columns: int, *, dtype: torch.dtype = torch.int32) -> Tensor:
    """Return the triangles of a closed grid, ``[2 rows columns, 3]``: every vertex has degree 6."""
    i = torch.arange(rows, dtype=dtype)[:, None]
    j = torch.arange(columns, dtype=dtype)[None, :]
    below, right = (i + 1) % rows, (j + 1) % columns
    corners = [i * columns + j, below * columns + j, i * columns + right, below * columns + right]
    lower = torch.stack([corners[0], corners[1], corners[2]], dim=-1)
    upper = torch.stack([corners[2], corners[1], corners[3]], dim=-1)
    return torch.stack([lower, upper], dim=2).reshape(-1, 3)


def window_graph(rows: int, columns: int, degree: int) -> Graph:
    """Return a closed grid whose vertices listen to ``degree`` of the 24 around them.

    With degree 6 these are the neighbours in :func:`torus_faces`.
    """
    triangle = [(-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0)]
    window = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0)]
    others = sorted(
        set(window) - set(triangle), key=lambda step: (step[0] ** 2 + step[1] ** 2, step)
    )
    steps = torch.tensor(sorted((triangle + others)[:degree]), dtype=torch.int32)
    i = torch.arange(rows, dtype=torch.int32)[:, None, None] + steps[:, 0]
    j = torch.arange(columns, dtype=torch.int32)[None, :, None] + steps[:, 1]
    return Graph.from_knn(((i % rows) * columns + j % columns).reshape(-1, degree))


def random_graph(
    generator: torch.Generator, rows: int, sources: int, edges: int, *, coalesce: bool = False
) -> Graph:
    """Return a graph with duplicate edges, and loops where both sides are one set."""
    source = torch.randint(0, max(sources, 1), (edges,), generator=generator)
    destination = torch.randint(0, max(rows, 1), (edges,), generator=generator)
    return Graph.from_edges(source, destination, rows, sources, coalesce)


def hub_graph(generator: torch.Generator, rows: int, hub_edges: int) -> Graph:
    """Return a graph with one long row, some short ones and many that are empty."""
    hub = torch.full((hub_edges,), rows // 2)
    few = torch.randint(0, max(rows // 4, 1), (rows // 2,), generator=generator)
    source = torch.randint(0, rows, (hub_edges + rows // 2,), generator=generator)
    return Graph.from_edges(source, torch.cat([hub, few]), rows, coalesce=False)


def values(generator: torch.Generator, *shape: int) -> Tensor:
    """Return standard normal numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def tied_values(generator: torch.Generator, *shape: int) -> Tensor:
    """Return numbers of which many are equal."""
    return torch.randint(-2, 3, shape, generator=generator).double() / 2
