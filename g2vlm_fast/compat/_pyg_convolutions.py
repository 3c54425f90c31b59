"""Stand-ins for the layers of PyG whose messages go through a network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.compat._edge_graphs import EdgeGraphs
from g2vlm_fast.compat._pyg_checks import (
    StandIn,
    check_matrix,
    check_plain,
    graph_of,
    pair_of,
    reduction,
)
from g2vlm_fast.compat._pyg_networks import Message, Unsupported, read_message
from g2vlm_fast.ops import Graph, edge_conv, edge_mlp, gather_rows
from g2vlm_fast.ops.edge_conv import MAX_GEOMETRY_TERMS

_REDUCTIONS = ("sum", "mean", "max")


def _reduce(
    message: Message,
    reduce: str,
    a: Tensor,
    b: Tensor,
    graph: Graph,
    geometry: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    options = (geometry, weight, message.activation, reduce)
    if len(message.layers) == 1:
        return message.finish(edge_conv(a, b, graph, *options))
    second = message.layers[1]
    bias = None if second.bias is None else second.bias.to(a.dtype)  # of the dtype of autocast
    return message.finish(edge_mlp(a, b, graph, second.weight.T.to(a.dtype), bias, *options))


def _check_edge_conv(module: Any) -> tuple[Message, str]:
    from torch_geometric.nn import EdgeConv

    check_plain(module, EdgeConv)
    reduce = reduction(module, _REDUCTIONS)
    return read_message(module.nn, reduce), reduce


def _run_edge_conv(module: Any, graphs: EdgeGraphs, x: Any, edge_index: Any) -> Tensor:
    message, reduce = _check_edge_conv(module)
    first, (sources, rows) = message.layers[0], pair_of(module, "x", x)
    if {2 * sources.shape[1], 2 * rows.shape[1]} != {first.weight.shape[1]}:
        raise Unsupported("the channels of x are not those of nn")
    counts = (sources.shape[0], rows.shape[0])
    graph, _ = graph_of(graphs, module, edge_index, counts, sources.device)
    center, difference = first.weight.chunk(2, dim=1)
    a = F.linear(rows, center - difference, first.bias)
    return _reduce(message, reduce, a, F.linear(sources, difference), graph)


def _check_point_conv(module: Any) -> tuple[Message, str]:
    from torch_geometric.nn import PointNetConv

    check_plain(module, PointNetConv)
    reduce = reduction(module, _REDUCTIONS)
    if module.local_nn is None:
        raise Unsupported("it has no local_nn")
    return read_message(module.local_nn, reduce), reduce


def _run_point_conv(module: Any, graphs: EdgeGraphs, x: Any, pos: Any, edge_index: Any) -> Tensor:
    message, reduce = _check_point_conv(module)
    first, (sources, rows) = message.layers[0], pair_of(module, "pos", pos)
    features = x[0] if isinstance(x, tuple) else x
    channels = first.weight.shape[1] - sources.shape[1]
    _check_points(features, sources, rows, channels, first.weight.dtype)
    counts, loops = (sources.shape[0], rows.shape[0]), module.add_self_loops
    graph, _ = graph_of(graphs, module, edge_index, counts, sources.device, loops)
    offset = gather_rows(sources, graph.columns) - gather_rows(rows, graph.edge_rows())
    if features is None:
        b = sources.new_zeros(graph.num_sources, first.weight.shape[0])
        b = b if first.bias is None else b + first.bias
    else:
        b = F.linear(features, first.weight[:, :channels], first.bias)
    a = b.new_zeros(graph.num_rows, b.shape[1])
    out = _reduce(message, reduce, a, b, graph, offset, first.weight[:, channels:].T)
    return out if module.global_nn is None else module.global_nn(out)


def _check_points(
    features: Any, sources: Tensor, rows: Tensor, channels: int, dtype: torch.dtype
) -> None:
    axes = sources.shape[1]
    if rows.shape[1] != axes or not 1 <= axes <= MAX_GEOMETRY_TERMS:
        raise Unsupported(f"pos has {axes} coordinates")
    given = [sources, rows]
    if features is not None:
        given.append(check_matrix("x", features, sources.device))
        if features.shape[0] != sources.shape[0]:
            raise Unsupported("x and pos differ in length")
    if channels != (0 if features is None else features.shape[1]):
        raise Unsupported("the channels of x and pos are not those of local_nn")
    if any(each.dtype != dtype for each in given):
        raise Unsupported("x, pos and local_nn differ in dtype")


EDGE_CONV = StandIn("EdgeConv", _check_edge_conv, _run_edge_conv)
POINT_CONV = StandIn("PointNetConv", _check_point_conv, _run_point_conv)
