"""Graphs in compressed rows, and how they are built from meshes, edges and neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops._checks import (
    INT32_MAX,
    MAX_EDGES,
    check_flag,
    check_integer,
    check_readable,
    check_tensor,
    raise_out_of_range,
)
from g2vlm_fast.ops._edge_geometry import edge_geometry
from g2vlm_fast.ops._graph_build_backends import (
    INDICES,
    Built,
    compact,
    require,
    transpose_rows,
    waits,
)
from g2vlm_fast.ops._graph_order import reverse_edges
from g2vlm_fast.ops.reference import graph_build as reference
from g2vlm_fast.records import _Record, record

MAX_ROWS = INT32_MAX - 1
SHORT_ROW = 255  # slots 0 to 254 fit a byte, and 255 stands for none


class Transpose(NamedTuple):
    """The edges of a graph by source, those of one source by rising edge."""

    offsets: Tensor  # [num_sources + 1] int32
    rows: Tensor  # [E] int32, the row that the edge belongs to
    edges: Tensor  # [E] int32, its position in `columns`


@record
class Graph(_Record):
    """Directed edges by destination: row i lists the sources j whose messages i receives.

    ``row_offsets`` is ``[V + 1]`` int32, ``columns`` ``[E]`` int32; edge e of row i lies at
    ``row_offsets[i] <= e < row_offsets[i + 1]``. Rows and sources may be different sets
    (``num_sources`` of them), such as clusters and their points. A batch of graphs is one graph
    over packed vertices. Make graphs with the constructors below, which check every index; the
    kernels rely on it. A graph is a pytree, and cannot be changed.

    Constructors read one small tensor back to the host, to know how many edges there are. Those
    that take ``num_edges`` need not wait for a GPU where the exact number is given; there, another
    number or an index out of range then fails an assertion on the device.
    """

    row_offsets: Tensor
    columns: Tensor
    num_sources: int
    short_rows: bool = False
    """Known that no row has more than 255 edges; then a winner takes a byte."""
    symmetric: bool | None = None
    """Whether every edge has its reverse; None where that is not known yet."""
    cached_transpose: Transpose | None = None
    cached_reverse: Tensor | None = None

    @property
    def num_rows(self) -> int:
        return self.row_offsets.shape[0] - 1

    @property
    def num_edges(self) -> int:
        return self.columns.shape[0]

    @property
    def device(self) -> torch.device:
        return self.columns.device

    @classmethod
    def from_faces(cls, faces: Tensor, num_vertices: int, num_edges: int | None = None) -> Graph:
        """Build the vertex adjacency of a triangle mesh.

        Args:
            faces: ``[F, 3]`` int32 or int64 vertex indices.
            num_vertices: V; vertices without a face get an empty row.
            num_edges: E where it is known: 3 F for a closed mesh. None to find it.

        Returns:
            A symmetric graph with sorted rows, every neighbour once, no loops. A face that
            repeats a vertex contributes the edges between its different vertices.

        Raises:
            ValueError: a vertex index is negative or not below ``num_vertices``, or the number of
                edges is not ``num_edges``.
        """
        op = "Graph.from_faces"
        check_tensor(op, "faces", faces, ("F", 3), INDICES, {})
        check_readable(op, "faces", faces)
        check_integer(op, "num_vertices", num_vertices, 0, MAX_ROWS)
        if 6 * faces.shape[0] > MAX_EDGES:
            raise ValueError(f"{op}: faces must be at most {MAX_EDGES // 6}, got {faces.shape[0]}")
        _check_num_edges(op, num_edges)
        built = _dispatch.implementation("faces_to_csr", faces)(faces, num_vertices, num_edges)
        checked = {"faces": (faces, num_vertices)}
        return cls._built(op, built, num_vertices, checked, num_edges, symmetric=True)

    @classmethod
    def from_edges(
        cls,
        source: Tensor,
        destination: Tensor,
        num_vertices: int,
        num_sources: int | None = None,
        coalesce: bool = True,
        num_edges: int | None = None,
    ) -> Graph:
        """Build a graph from a list of directed edges.

        Args:
            source: ``[E]`` int32 or int64, where each message comes from.
            destination: ``[E]``, same dtype, where it goes.
            num_vertices: number of rows, V.
            num_sources: number of sources; V when left out.
            coalesce: sort each row and keep one of equal edges; otherwise the edges of a row keep
                their order and their duplicates.
            num_edges: how many edges the graph has, where that is known: as many as the list
                without ``coalesce``. None to find it.

        Raises:
            ValueError: an index is negative or too large, or the number of edges is not
                ``num_edges``.
        """
        op, sizes = "Graph.from_edges", {}  # type: ignore[var-annotated]
        check_tensor(op, "source", source, ("E",), INDICES, sizes)
        check_tensor(op, "destination", destination, ("E",), {source.dtype}, sizes, source.device)
        check_readable(op, "source", source)
        check_readable(op, "destination", destination)
        sources = num_vertices if num_sources is None else num_sources
        check_integer(op, "num_vertices", num_vertices, 0, MAX_ROWS)
        check_integer(op, "num_sources", sources, 0, MAX_ROWS)
        check_flag(op, "coalesce", coalesce)
        if source.shape[0] > MAX_EDGES:
            raise ValueError(f"{op}: at most {MAX_EDGES} edges are supported")
        _check_num_edges(op, num_edges)
        build = _dispatch.implementation("edges_to_csr", source)
        built = build(destination, source, num_vertices, sources, coalesce, num_edges)
        checked = {"source": (source, sources), "destination": (destination, num_vertices)}
        return cls._built(op, built, sources, checked, num_edges)

    @classmethod
    def from_knn(
        cls, index: Tensor, num_sources: int | None = None, num_edges: int | None = None
    ) -> Graph:
        """Build a graph from the neighbours of each row.

        Args:
            index: ``[V, k]`` int32 or int64, as :func:`nearest` returns; -1 = no neighbour.
            num_sources: number of sources; V when left out.
            num_edges: how many neighbours there are, where that is known: V k if none is missing.
                None to find it.

        Raises:
            ValueError: an index is below -1 or too large, or the number of neighbours is not
                ``num_edges``.
        """
        op = "Graph.from_knn"
        check_tensor(op, "index", index, ("V", "k"), INDICES, {})
        check_readable(op, "index", index)
        sources = index.shape[0] if num_sources is None else num_sources
        check_integer(op, "num_sources", sources, 0, MAX_ROWS)
        if index.numel() > MAX_EDGES:
            raise ValueError(f"{op}: at most {MAX_EDGES} edges are supported")
        present = index >= 0
        row_offsets = index.new_zeros(index.shape[0] + 1, dtype=torch.int32)
        torch.cumsum(present.sum(1), 0, dtype=torch.int32, out=row_offsets[1:])
        _check_num_edges(op, num_edges)
        wrong = ((index < -1) | (index >= sources)).any()
        if num_edges is None or waits(index, num_edges):
            found, is_wrong = torch.stack([row_offsets[-1], wrong.int()]).tolist()
            if is_wrong:
                raise_out_of_range(op, "index", index, -1, sources)
            _check_found(op, num_edges, found)
        else:
            found = num_edges
            right = (row_offsets[-1] == found) & ~wrong
            require(right, f"{op}: index must have num_edges = {found} neighbours, none too large")
        columns = index.reshape(-1).int()
        if found < columns.shape[0]:
            columns = compact(columns, present.reshape(-1), found)
        return cls(
            row_offsets=row_offsets,
            columns=columns.contiguous(),
            num_sources=sources,
            short_rows=index.shape[1] <= SHORT_ROW,
        )

    @classmethod
    def from_csr(cls, row_offsets: Tensor, columns: Tensor, num_sources: int) -> Graph:
        """Take over compressed rows ``row_offsets [V + 1]``, ``columns [E]`` (int32), checked.

        Reads one small tensor back to the host.

        Raises:
            ValueError: the offsets do not run from 0 to E, or a column is out of range.
        """
        op = "Graph.from_csr"
        check_tensor(op, "row_offsets", row_offsets, ("V + 1",), {torch.int32}, {})
        check_tensor(op, "columns", columns, ("E",), {torch.int32}, {}, row_offsets.device)
        check_readable(op, "row_offsets", row_offsets)
        check_readable(op, "columns", columns)
        check_integer(op, "num_sources", num_sources, 0, MAX_ROWS)
        if not 1 <= row_offsets.shape[0] <= INT32_MAX:
            raise ValueError(
                f"{op}: row_offsets must have from 1 to {INT32_MAX} entries, got "
                f"{row_offsets.shape[0]}"
            )
        if columns.shape[0] > MAX_EDGES:
            raise ValueError(
                f"{op}: columns must have at most {MAX_EDGES} entries, got {columns.shape[0]}"
            )
        degree = torch.cat([row_offsets.diff(), row_offsets.new_zeros(1)])
        falls = (row_offsets[1:] < row_offsets[:-1]).any()  # a difference may wrap around
        facts = [row_offsets[0], row_offsets[-1], falls, degree.max()]
        facts += [((columns < 0) | (columns >= num_sources)).any()]
        first, last, fell, most, wrong = torch.stack([each.int() for each in facts]).tolist()
        if first != 0 or last != columns.shape[0] or fell:
            raise ValueError(
                f"{op}: row_offsets must start at 0, never decrease and end at "
                f"{columns.shape[0]}, the number of columns"
            )
        if wrong:
            raise_out_of_range(op, "columns", columns, 0, num_sources)
        return cls(
            row_offsets=row_offsets.contiguous(),
            columns=columns.contiguous(),
            num_sources=num_sources,
            short_rows=most <= SHORT_ROW,
        )

    @classmethod
    def _built(
        cls,
        op: str,
        built: Built,
        num_sources: int,
        checked: dict[str, tuple[Tensor, int]],
        num_edges: int | None,
        symmetric: bool | None = None,
    ) -> Graph:
        if built.invalid:
            for argument, (indices, bound) in checked.items():
                raise_out_of_range(op, argument, indices, 0, bound)
        _check_found(op, num_edges, built.columns.shape[0])
        return cls(
            row_offsets=built.row_offsets,
            columns=built.columns,
            num_sources=num_sources,
            short_rows=built.max_degree is not None and built.max_degree <= SHORT_ROW,
            symmetric=symmetric,
        )

    def transpose(self) -> Transpose:
        """Return the edges by source; computed at the first call and kept."""
        if self.cached_transpose is not None:
            return self.cached_transpose
        transpose = Transpose(*transpose_rows(self.row_offsets, self.columns, self.num_sources))
        if not torch.compiler.is_compiling():
            object.__setattr__(self, "cached_transpose", transpose)
        return transpose

    def is_symmetric(self) -> bool:
        """Say whether edge (i, j) is there as often as edge (j, i), for all i and j.

        Known of graphs from faces; of others it is found at the first call, which reads one small
        tensor back to the host, and kept.
        """
        if self.symmetric is None:
            self._keep_reverse()
        return bool(self.symmetric)

    def reverse_edges(self) -> Tensor:
        """Return the position of the reverse of each edge, ``[E]`` int32; made once and kept.

        Of equal edges (i, j) the n-th is the reverse of the n-th of (j, i); a loop is its own.

        Raises:
            ValueError: the graph is not symmetric.
        """
        if self.cached_reverse is None and self.symmetric is not False:
            self._keep_reverse()
        if self.cached_reverse is None:
            raise ValueError(
                "Graph.reverse_edges: every edge must have its reverse, got a graph that is not "
                "symmetric; add the missing edges, or use transpose()"
            )
        return self.cached_reverse

    def _keep_reverse(self) -> None:
        symmetric, reverse = False, None
        if self.num_rows == self.num_sources:
            reverse, paired = reverse_edges(self.edge_rows(), self.columns, self.num_rows)
            symmetric = self.symmetric or bool(paired)
        object.__setattr__(self, "symmetric", symmetric)
        object.__setattr__(self, "cached_reverse", reverse if symmetric else None)

    def degree(self) -> Tensor:
        """Return the number of edges of each row, ``[V]`` int32."""
        return self.row_offsets.diff()

    def with_loops(self) -> Graph:
        """Return the graph in which every row has its own source once, as its last edge.

        Loops that were there are dropped. With fewer sources than rows, as many rows have a loop as
        there are sources, as in PyG. Reads two small tensors back to the host.
        """
        rows = self.edge_rows()
        proper = rows != self.columns
        loops = torch.arange(min(self.num_rows, self.num_sources), device=self.device).int()
        return Graph.from_edges(
            torch.cat([self.columns[proper], loops]),
            torch.cat([rows[proper], loops]),
            self.num_rows,
            self.num_sources,
            coalesce=False,
        )

    def edge_rows(self) -> Tensor:
        """Return the row of each edge, ``[E]`` int32."""
        return reference.edge_rows(self.row_offsets, self.num_edges)

    def edge_geometry(
        self,
        position: Tensor,
        normal: Tensor | None = None,
        *,
        source_position: Tensor | None = None,
        source_normal: Tensor | None = None,
        terms: tuple[str, ...] = ("offset", "distance"),
    ) -> Tensor:
        """Describe each edge by where its source lies as seen from its row.

        Args:
            position: ``[V, 3]`` float32 or float64, metres.
            normal: ``[V, 3]`` unit normals, for the terms that need them.
            source_position: ``[num_sources, 3]``; ``position`` when left out.
            source_normal: ``[num_sources, 3]``; ``normal`` when left out.
            terms: what to compute, in this order, with d = p_j - p_i:
                ``"offset"`` d, metres (3 columns); ``"distance"`` |d|, metres;
                ``"direction"`` d / |d|, 0 where |d| is 0 (3); ``"normal_dot"`` n_i . n_j;
                ``"normal_angle"`` n_i . d / |d|; ``"source_normal_angle"`` n_j . d / |d|.

        Returns:
            ``[E, G]`` in the dtype of ``position``, differentiable in every tensor. The gradient
            of distance and direction is 0 where |d| is 0.
        """
        return edge_geometry(
            self.edge_rows().long(),
            self.columns.long(),
            (self.num_rows, self.num_sources),
            (position, position if source_position is None else source_position),
            (normal, normal if source_normal is None else source_normal),
            terms,
        )


def _check_num_edges(op: str, num_edges: int | None) -> None:
    if num_edges is not None:
        check_integer(op, "num_edges", num_edges, 0, MAX_EDGES)


def _check_found(op: str, num_edges: int | None, found: int) -> None:
    if num_edges not in (None, found):
        raise ValueError(f"{op}: num_edges must be {found}, as many as found, got {num_edges}")
