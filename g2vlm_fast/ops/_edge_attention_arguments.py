"""What the op and the implementations of ``edge_attention`` hand to each other."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype


class Vertices(NamedTuple):
    """What belongs to sources and rows, and how they are compared."""

    left: Tensor  # [num_sources, H, D], or [V, 2, H, D]: left and right of every vertex
    right: Tensor | None  # [V, H, D]; None where `left` holds it
    attention: Tensor | None  # [H, D], in the dtype of sums
    value: Tensor | None  # [num_sources, H, D]; None for left

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return left and right: two views where one tensor holds both."""
        if self.right is not None:
            return self.left, self.right
        left, right = self.left.unbind(1)
        return left, right


class Edges(NamedTuple):
    """The edges by row, and what belongs to each; the last two are there together or not."""

    row_offsets: Tensor  # [V + 1] int32
    columns: Tensor  # [E] int32
    geometry: Tensor | None  # [E, G], in the dtype of sums
    geometry_weight: Tensor | None  # [G, H, D], in the dtype of sums


class Transposed(NamedTuple):
    """The edges by source; None where no gradient of a source is wanted."""

    offsets: Tensor | None  # [num_sources + 1] int32
    rows: Tensor | None  # [E] int32
    edges: Tensor | None  # [E] int32


class Gradients(NamedTuple):
    """Gradients of the inputs of these names; without elements where one is not wanted.

    That of ``left`` has those of both ends where ``left`` holds both.
    """

    left: Tensor
    right: Tensor
    attention: Tensor
    value: Tensor
    geometry: Tensor
    geometry_weight: Tensor


def empty_results(vertices: Vertices) -> tuple[Tensor, Tensor]:
    """Return room for the attended rows and the log of their normalisers."""
    right = vertices.ends()[1]
    lse = right.new_empty(*right.shape[:2], dtype=accumulation_dtype(right.dtype))
    return right.new_empty(*right.shape), lse


def empty_gradients(vertices: Vertices, edges: Edges, wanted: list[bool]) -> Gradients:
    """Return room for the gradients that are ``wanted``, in the order of :class:`Gradients`."""
    left, right, attention, value = vertices
    likes = (left, right, attention, value, edges.geometry, edges.geometry_weight)
    dtypes = (left.dtype, left.dtype, None, left.dtype, None, None)
    found = []
    for like, dtype, want in zip(likes, dtypes, wanted, strict=True):
        shape = like.shape if want and like is not None else (0,)
        found.append(left.new_empty(*shape, dtype=dtype or accumulation_dtype(left.dtype)))
    return Gradients(*found)
