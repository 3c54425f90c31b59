"""The undirected edges of triangle meshes: their faces, their kind, their weights."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._checks import (
    MAX_EDGES,
    check_integer,
    check_readable,
    check_tensor,
    raise_out_of_range,
)
from g2vlm_fast.ops._graph_build_backends import INDICES, compact
from g2vlm_fast.ops.gather_rows import gather_rows
from g2vlm_fast.ops.graph_build import MAX_ROWS, SHORT_ROW, Graph
from g2vlm_fast.ops.graph_reduce import graph_reduce
from g2vlm_fast.ops.reference.graph_build import offsets_of
from g2vlm_fast.records import _Record, record

_POSITIONS = frozenset({torch.float32, torch.float64})
_NO_EDGE = torch.iinfo(torch.int64).max


@record
class MeshEdges(_Record):
    """The U undirected edges of a mesh of V vertices and F faces, sorted by their vertices.

    A side is one of the three of a face: side ``3 f + k`` runs from corner k of face f to the
    next. An edge has one side in each of its faces.
    """

    faces: Tensor  # [F, 3] int32
    vertices: Tensor  # [U, 2] int32, the smaller first
    sides: Graph  # U rows over 3 F sources: the sides of each edge, by rising face
    side_edges: Tensor  # [F, 3] int32, the edge of each side; -1 where both ends are one vertex
    graph: Graph  # V rows over V sources, as Graph.from_faces builds it
    graph_edges: Tensor  # [E] int32, the undirected edge of each edge of `graph`

    @property
    def num_edges(self) -> int:
        return self.vertices.shape[0]

    @classmethod
    def from_faces(cls, faces: Tensor, num_vertices: int) -> MeshEdges:
        """Find the edges of the faces ``[F, 3]`` (int32 or int64) of ``num_vertices`` vertices.

        A face that repeats a vertex has the edges between its different vertices, once. Reads one
        small tensor back to the host.

        Raises:
            TypeError, ValueError: an argument has the wrong dtype or shape; a vertex index is
                negative or not below ``num_vertices``.
        """
        op = "MeshEdges.from_faces"
        check_tensor(op, "faces", faces, ("F", 3), INDICES, {})
        check_readable(op, "faces", faces)
        check_integer(op, "num_vertices", num_vertices, 0, MAX_ROWS)
        if 6 * faces.shape[0] > MAX_EDGES:
            raise ValueError(f"{op}: faces must be at most {MAX_EDGES // 6}, got {faces.shape[0]}")
        count = max(num_vertices, 1)
        corners = faces.long()
        wrong = ((corners < 0) | (corners >= num_vertices)).any()
        ends = torch.stack([corners, corners.roll(-1, 1)], -1).sort(-1).values.clamp(0, count - 1)
        key = ends[..., 0] * count + ends[..., 1]
        key = torch.where(ends[..., 0] == ends[..., 1], _NO_EDGE, key).flatten()
        key, side = key.sort(stable=True)
        is_edge = key != _NO_EDGE
        starts = is_edge & _changes(key)
        kept = starts | (is_edge & _changes(side // 3))
        degree = corners.new_zeros(count)
        for end in (key // count, key % count):
            degree.index_add_(0, torch.where(starts, end, 0), starts.long())
        facts = [starts.sum(), kept.sum(), degree.amax(), wrong]
        edges, uses, most, is_wrong = torch.stack([each.long() for each in facts]).tolist()
        if is_wrong:
            raise_out_of_range(op, "faces", faces, 0, num_vertices)
        edge = starts.cumsum(0) - 1
        side_edges = torch.empty_like(side, dtype=torch.int32)
        side_edges[side] = torch.where(is_edge, edge, -1).int()
        unique = compact(key, starts, edges)
        vertices = torch.stack([unique // count, unique % count], 1)
        graph, graph_edges = _both_ways(vertices, num_vertices, most <= SHORT_ROW)
        return cls(
            faces=faces.int(),
            vertices=vertices.int(),
            sides=Graph(
                row_offsets=offsets_of(compact(edge, kept, uses), edges),
                columns=compact(side, kept, uses).int(),
                num_sources=3 * faces.shape[0],
            ),
            side_edges=side_edges.view(-1, 3),
            graph=graph,
            graph_edges=graph_edges,
        )

    def num_faces(self) -> Tensor:
        """Return the number of faces of each edge, ``[U]`` int32, at least 1."""
        return self.sides.degree()

    def boundary(self) -> Tensor:
        """Return which edges have one face alone, ``[U]`` bool."""
        return self.num_faces() == 1

    def nonmanifold(self) -> Tensor:
        """Return which edges have more than two faces, ``[U]`` bool."""
        return self.num_faces() > 2

    def neighbours(self) -> Tensor:
        """Return the other edges of the faces of each edge, ``[U, 4]`` int32, -1 for none.

        In the order of MeshCNN (Hanocka et al., 2019): the two that follow in the first face, in
        the direction in which it lists its corners, then those in the second. A boundary edge has
        no second face, and a face that repeats a corner has one side fewer; of an edge with more
        than two faces the first two count, so look at :meth:`nonmanifold` before.
        """
        first = self.sides.row_offsets[:-1].long()
        last = max(self.sides.num_edges - 1, 0)
        own = torch.arange(len(self.vertices), device=first.device)
        found = []
        for face in (0, 1):
            side = self.sides.columns[(first + face).clamp_max(last)].long()
            for step in (1, 2):
                other = self.side_edges.flatten()[side - side % 3 + (side + step) % 3]
                there = (self.num_faces() > face) & (other != own)
                found.append(torch.where(there, other, -1))
        return torch.stack(found, 1)

    def cotangent_weights(self, position: Tensor) -> Tensor:
        """Return ``w_ij = (cot alpha + cot beta) / 2`` of each edge of ``graph``, ``[E]``.

        Alpha and beta are the angles opposite the edge in its two faces (Pinkall and Polthier,
        Computing Discrete Minimal Surfaces, 1993); a boundary edge has one such angle, an edge of
        more faces has more. With these, ``sum_j w_ij (x_j - x_i)`` is the Laplacian of x at i,
        integrated over the area of the vertex. Obtuse angles make weights negative.

        Args:
            position: ``[V, 3]`` float32 or float64, metres.

        Differentiable in ``position``. A face without area contributes nothing, and no gradient.
        """
        op = "MeshEdges.cotangent_weights"
        vertices = (self.graph.num_rows, 3)
        check_tensor(op, "position", position, vertices, _POSITIONS, {}, self.faces.device)
        corners = gather_rows(position, self.faces.flatten()).view(-1, 3, 3)
        opposite = corners.roll(-2, 1)  # side k runs from corner k to k + 1, past corner k + 2
        to_start, to_end = corners - opposite, corners.roll(-1, 1) - opposite
        cross = torch.linalg.cross(to_start, to_end).square().sum(-1)
        flat = cross == 0  # the square root has no slope there
        cotangent = (to_start * to_end).sum(-1) / torch.where(flat, 1, cross).sqrt()
        cotangent = torch.where(flat, 0, cotangent).view(-1, 1)
        weight = graph_reduce(cotangent, self.sides, "sum") / 2
        return gather_rows(weight, self.graph_edges).squeeze(1)


def _changes(values: Tensor) -> Tensor:
    """Return where a value differs from the one before; the first does."""
    changes = torch.ones_like(values, dtype=torch.bool)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _both_ways(vertices: Tensor, num_vertices: int, short_rows: bool) -> tuple[Graph, Tensor]:
    """Return the symmetric graph of undirected edges, and the undirected edge of each of its."""
    count = max(num_vertices, 1)
    lower, upper = vertices.unbind(1)
    key, order = torch.cat([lower * count + upper, upper * count + lower]).sort()
    graph = Graph(
        row_offsets=offsets_of(key // count, num_vertices),
        columns=(key % count).int(),
        num_sources=num_vertices,
        short_rows=short_rows,
        symmetric=True,
    )
    return graph, (order % max(vertices.shape[0], 1)).int()
