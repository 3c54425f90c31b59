"""Terms that describe an edge by the positions and normals of its ends."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import check_choice, check_tensor

TERMS = (
    "offset",
    "distance",
    "direction",
    "normal_dot",
    "normal_angle",
    "source_normal_angle",
)
_POSITIONS = frozenset({torch.float32, torch.float64})


def edge_geometry(
    rows: Tensor,
    columns: Tensor,
    counts: tuple[int, int],
    positions: tuple[Tensor, Tensor],
    normals: tuple[Tensor | None, Tensor | None],
    terms: tuple[str, ...],
) -> Tensor:
    """Compute ``terms`` of each edge; see :meth:`Graph.edge_geometry`.

    Args:
        rows: ``[E]`` int64, the row of each edge.
        columns: ``[E]`` int64, its source.
        counts: number of rows and of sources.
        positions: of the rows and of the sources.
        normals: of the rows and of the sources, or None.
        terms: what to compute.
    """
    op = "Graph.edge_geometry"
    for name, value, count in zip(("position", "source_position"), positions, counts, strict=True):
        check_tensor(op, name, value, (count, 3), _POSITIONS, {}, columns.device)
    for name, given, count in zip(("normal", "source_normal"), normals, counts, strict=True):
        if given is not None:
            check_tensor(op, name, given, (count, 3), _POSITIONS, {}, columns.device)
    if not isinstance(terms, (list, tuple)):
        raise TypeError(f"{op}: terms must be a tuple of names, got {terms!r}")
    if not terms:
        raise ValueError(f"{op}: terms must name at least one term")
    for term in terms:
        check_choice(op, "terms", term, TERMS)
    offset = positions[1][columns] - positions[0][rows]
    squared = offset.square().sum(1, keepdim=True)
    apart = squared != 0
    # At distance 0 the square root has no slope; its argument is replaced before it is taken.
    distance = torch.where(apart, squared, 1).sqrt()
    direction = torch.where(apart, offset / distance, 0)

    def normal(side: int) -> Tensor:
        values = normals[side]
        if values is None:
            name = ("normal", "source_normal")[side]
            raise ValueError(f"{op}: terms {list(terms)} need {name}, got None")
        return values[columns if side else rows].to(offset.dtype)

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(1, keepdim=True)

    compute = {
        "offset": lambda: offset,
        "distance": lambda: torch.where(apart, distance, 0),
        "direction": lambda: direction,
        "normal_dot": lambda: dot(normal(0), normal(1)),
        "normal_angle": lambda: dot(normal(0), direction),
        "source_normal_angle": lambda: dot(normal(1), direction),
    }
    return torch.cat([compute[term]() for term in terms], dim=1)
