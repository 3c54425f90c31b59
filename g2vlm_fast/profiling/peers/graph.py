"""Other ways to reduce and convolve over the edges of a graph."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Function, NotOffered, Provider

if TYPE_CHECKING:
    from g2vlm_fast.ops import Graph


def _sparse_mm(inputs: Inputs) -> Function:
    """A sparse matrix times a dense one; the matrix, with its 1 / degree, is made before."""
    graph, x, reduce = inputs["graph"], inputs["x"], inputs.get("reduce", "sum")
    if reduce not in ("sum", "mean"):
        raise NotOffered("it has sum and mean only")
    if inputs.get("weight") is not None:
        raise NotOffered("it is set up here without edge weights")
    degree = graph.row_offsets.diff()
    value = torch.ones(graph.num_edges, device=x.device)
    if reduce == "mean":
        value = (1 / degree.clamp_min(1).float()).repeat_interleave(degree)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR|invariant)")
        matrix = torch.sparse_csr_tensor(
            graph.row_offsets,
            graph.columns,
            value.to(x.dtype),
            size=(graph.num_rows, graph.num_sources),
        )

    def graph_reduce(x: Tensor, **_: Any) -> Tensor:
        return torch.sparse.mm(matrix, x)

    return graph_reduce


def _segment_csr(inputs: Inputs) -> Function:
    from torch_scatter import segment_csr

    graph = inputs["graph"]
    row_offsets, columns = graph.row_offsets.long(), graph.columns.long()

    def graph_reduce(
        x: Tensor, reduce: str = "sum", weight: Tensor | None = None, **_: Any
    ) -> Tensor:
        message = x[columns] if weight is None else x[columns] * weight[:, None].to(x.dtype)
        out: Tensor = segment_csr(message, row_offsets, reduce=reduce)
        return out

    return graph_reduce


def _edge_index(graph: Graph) -> Tensor:
    return torch.stack([graph.columns.long(), graph.edge_rows().long()])


def _pyg_reduce(inputs: Inputs) -> Function:
    from torch_geometric.nn import SimpleConv

    graph = inputs["graph"]
    edge_index, size = _edge_index(graph), (graph.num_sources, graph.num_rows)
    layer = SimpleConv(aggr=inputs.get("reduce", "sum"))

    def graph_reduce(x: Tensor, weight: Tensor | None = None, **_: Any) -> Tensor:
        factor = None if weight is None else weight.to(x.dtype)
        out: Tensor = layer((x, None), edge_index, factor, size=size)
        return out

    return graph_reduce


def _pyg_layer(inputs: Inputs) -> Function:
    from torch_geometric.nn import EdgeConv

    if inputs.get("geometry") is not None:
        raise NotOffered("its messages know no geometry of the edge")
    if inputs.get("activation", "relu") != "relu":
        raise NotOffered("it is set up here with relu")
    edge_index = _edge_index(inputs["graph"])
    message = _Message()
    layer = EdgeConv(message, aggr=inputs.get("reduce", "max"))

    def edge_conv_layer(x: Tensor, center: Tensor, difference: Tensor, **_: Any) -> Tensor:
        message.weight = torch.cat([center, difference], 1)
        out: Tensor = layer(x, edge_index)
        return out

    return edge_conv_layer


def _torch_messages(inputs: Inputs) -> Function:
    """Every message in memory, as plain torch has it."""
    if inputs.get("geometry") is not None:
        raise NotOffered("it is set up here without geometry of the edge")
    if inputs.get("activation", "relu") != "relu":
        raise NotOffered("it is set up here with relu")
    graph = inputs["graph"]
    rows, columns = graph.edge_rows().long(), graph.columns.long()
    kinds = {"max": "amax", "mean": "mean", "sum": "sum"}
    kind, empty = kinds[inputs.get("reduce", "max")], graph.row_offsets.diff()[:, None] == 0

    def edge_mlp(
        a: Tensor, b: Tensor, weight: Tensor, bias: Tensor | None = None, **_: Any
    ) -> Tensor:
        message = (a[rows] + b[columns]).relu() @ weight
        out = message.new_zeros(a.shape[0], message.shape[1])
        index = rows[:, None].expand_as(message)
        out = out.scatter_reduce(0, index, message, kind, include_self=False)
        if bias is None:
            return out
        if kind == "sum":
            return out + graph.row_offsets.diff()[:, None] * bias
        return (out + bias).masked_fill(empty, 0)

    return edge_mlp


def _pyg_mlp_layer(inputs: Inputs) -> Function:
    from torch_geometric.nn import EdgeConv

    if inputs.get("activation", "relu") != "relu":
        raise NotOffered("it is set up here with relu")
    edge_index = _edge_index(inputs["graph"])
    message = _Message()
    layer = EdgeConv(message, aggr=inputs.get("reduce", "max"))

    def edge_mlp_layer(
        x: Tensor,
        center: Tensor,
        difference: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        message.weight = torch.cat([center, difference], 1)
        message.second, message.bias = weight.T, bias
        out: Tensor = layer(x, edge_index)
        return out

    return edge_mlp_layer


def _pyg_faces(inputs: Inputs) -> Function:
    from torch_geometric.utils import to_undirected
    from torch_geometric.utils.sparse import index2ptr

    def from_faces(faces: Tensor, num_vertices: int, **_: Any) -> tuple[Tensor, Tensor]:
        corners = faces.T.long()
        sides = torch.cat([corners[:2], corners[1:], corners[::2]], 1)
        edge_index = to_undirected(sides, num_nodes=num_vertices)
        return index2ptr(edge_index[0], num_vertices).int(), edge_index[1].int()

    return from_faces


class _Message(torch.nn.Module):
    """One linear map of (x_i, x_j - x_i), or two, as a user of EdgeConv writes them."""

    weight: Tensor
    second: Tensor | None = None
    bias: Tensor | None = None

    def forward(self, pair: Tensor) -> Tensor:
        hidden = torch.nn.functional.linear(pair, self.weight).relu()
        if self.second is None:
            return hidden
        return torch.nn.functional.linear(hidden, self.second, self.bias)


PEERS = (
    Provider("torch", {"edge_mlp": _torch_messages, "edge_mlp_reduced": _torch_messages}),
    Provider("torch.sparse.mm", {"graph_reduce": _sparse_mm}),
    Provider("torch_scatter", {"graph_reduce": _segment_csr}, ("torch_scatter",)),
    Provider(
        "PyG",
        {
            "graph_build": _pyg_faces,
            "graph_reduce": _pyg_reduce,
            "edge_conv_layer": _pyg_layer,
            "edge_mlp_layer": _pyg_mlp_layer,
        },
        ("torch_geometric",),
    ),
)
