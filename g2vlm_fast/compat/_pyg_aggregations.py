"""Stand-ins for the layers of PyG that reduce the features of neighbours as they are."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.compat._edge_graphs import EdgeGraphs
from g2vlm_fast.compat._pyg_checks import (
    StandIn,
    check_matrix,
    check_plain,
    flows_back,
    graph_of,
    pair_of,
    reduction,
)
from g2vlm_fast.compat._pyg_networks import Unsupported
from g2vlm_fast.ops import edge_attention, gather_rows, graph_reduce
from g2vlm_fast.ops._graph_reduce_backends import REDUCTIONS
from g2vlm_fast.ops.edge_conv import MAX_GEOMETRY_TERMS


def _neighbours(
    module: Any,
    graphs: EdgeGraphs,
    x: Any,
    edge_index: Any,
    size: tuple[int | None, int | None] | None,
    edge_weight: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the reduced features of the neighbours, and those of the points themselves."""
    reduce = reduction(module, tuple(REDUCTIONS))
    both = x if isinstance(x, (tuple, list)) else (x, x)
    sources, itself = check_matrix("x", both[0]), both[1]
    if itself is not None:
        check_matrix("x", itself, sources.device)
    if flows_back(module) and itself is not sources:  # PyG has two readings of this
        raise Unsupported("x has two sets, and messages flow from target to source")
    rows = itself.shape[0] if itself is not None else (size or (None, None))[1]
    rows = sources.shape[0] if rows is None else rows
    counts = (sources.shape[0], rows)
    if size is not None and any(
        n is not None and n != m for n, m in zip(size, counts, strict=True)
    ):
        raise Unsupported(f"size is {size}, and x has {counts} rows")
    graph, order = graph_of(graphs, module, edge_index, counts, sources.device)
    weight = None
    if edge_weight is not None:
        if not isinstance(edge_weight, Tensor) or edge_weight.numel() != graph.num_edges:
            raise Unsupported("edge_weight has not one entry an edge")
        column = check_matrix("edge_weight", edge_weight.reshape(-1, 1), sources.device)
        if column.dtype != sources.dtype:
            raise Unsupported(f"edge_weight is {column.dtype}, and x {sources.dtype}")
        weight = gather_rows(column, order).squeeze(1)
    return graph_reduce(sources, graph, reduce, weight), itself


def _check_graph_conv(module: Any) -> None:
    from torch_geometric.nn import GraphConv

    check_plain(module, GraphConv)
    reduction(module, tuple(REDUCTIONS))


def _run_graph_conv(
    module: Any,
    graphs: EdgeGraphs,
    x: Any,
    edge_index: Any,
    edge_weight: Any = None,
    size: Any = None,
) -> Tensor:
    _check_graph_conv(module)
    reduced, itself = _neighbours(module, graphs, x, edge_index, size, edge_weight)
    out: Tensor = module.lin_rel(reduced)
    return out if itself is None else out + module.lin_root(itself)


def _check_sage_conv(module: Any) -> None:
    from torch_geometric.nn import SAGEConv

    check_plain(module, SAGEConv)
    reduction(module, tuple(REDUCTIONS))


def _run_sage_conv(
    module: Any, graphs: EdgeGraphs, x: Any, edge_index: Any, size: Any = None
) -> Tensor:
    _check_sage_conv(module)
    if module.project:
        both = x if isinstance(x, (tuple, list)) else (x, x)
        x = (module.lin(check_matrix("x", both[0])).relu(), both[1])
    reduced, itself = _neighbours(module, graphs, x, edge_index, size)
    out: Tensor = module.lin_l(reduced)
    if module.root_weight and itself is not None:
        out = out + module.lin_r(itself)
    return F.normalize(out, dim=-1) if module.normalize else out


def _check_gatv2_conv(module: Any) -> None:
    from torch_geometric.nn import GATv2Conv

    check_plain(module, GATv2Conv)
    if flows_back(module):  # the ends have maps of their own, and PyG has two readings of this
        raise Unsupported("messages flow from target to source")
    if reduction(module, ("sum",)) != "sum":
        raise Unsupported("it does not add what it attends to")
    if module.dropout and module.training:
        raise Unsupported("it drops out attention")
    if module.edge_dim is not None and not 1 <= module.edge_dim <= MAX_GEOMETRY_TERMS:
        raise Unsupported(f"edges have {module.edge_dim} features")


def _run_gatv2_conv(
    module: Any,
    graphs: EdgeGraphs,
    x: Any,
    edge_index: Any,
    edge_attr: Any = None,
    return_attention_weights: Any = None,
) -> Tensor:
    _check_gatv2_conv(module)
    if return_attention_weights is not None:
        raise Unsupported("its attention weights are asked for")
    sources, rows = pair_of(module, "x", x)
    heads = (-1, module.heads, module.out_channels)
    counts, loops = (sources.shape[0], rows.shape[0]), module.add_self_loops
    graph, order = graph_of(graphs, module, edge_index, counts, sources.device, loops)
    geometry = weight = None
    if edge_attr is not None:
        if loops or module.lin_edge is None:
            raise Unsupported("edges have features, and loops are added to them")
        edge_attr = edge_attr.view(-1, 1) if edge_attr.dim() == 1 else edge_attr
        edge_attr = check_matrix("edge_attr", edge_attr, sources.device)
        weight = module.lin_edge.weight
        if edge_attr.shape != (graph.num_edges, weight.shape[1]):
            raise Unsupported(f"edge_attr has shape {list(edge_attr.shape)}")
        geometry = gather_rows(edge_attr, order)
        weight = weight.T.reshape(heads)
    left = module.lin_l(sources).view(heads)
    shared = module.share_weights and sources is rows
    out = edge_attention(
        left,
        left if shared else module.lin_r(rows).view(heads),
        graph,
        module.att[0],
        geometry=geometry,
        geometry_weight=weight,
        negative_slope=module.negative_slope,
    )
    assert isinstance(out, Tensor)
    out = out.flatten(1) if module.concat else out.mean(1)
    if module.res is not None:
        out = out + module.res(rows)
    return out if module.bias is None else out + module.bias


GRAPH_CONV = StandIn("GraphConv", _check_graph_conv, _run_graph_conv)
SAGE_CONV = StandIn("SAGEConv", _check_sage_conv, _run_sage_conv)
GATV2_CONV = StandIn("GATv2Conv", _check_gatv2_conv, _run_gatv2_conv)
