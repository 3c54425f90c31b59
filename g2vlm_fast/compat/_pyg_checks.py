"""What every stand-in for a layer of PyG looks at before it stands in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.compat._edge_graphs import EdgeGraph, EdgeGraphs, graph_of_edges
from g2vlm_fast.compat._pyg_networks import Unsupported, check_unhooked
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._graph_build_backends import INDICES

_METHODS = ("message", "aggregate", "update", "message_and_aggregate", "edge_update")
_HOOKS = re.compile(rf"_(propagate|{'|'.join(_METHODS)})_forward(_pre)?_hooks")


@dataclass(frozen=True)
class StandIn:
    """What runs for one class of PyG; ``check`` and ``run`` raise :class:`Unsupported`."""

    name: str
    check: Callable[[Any], Any]  # of a module
    run: Callable[..., Tensor]  # of a module, the graphs and the arguments of `forward`


def check_plain(module: Any, base: type) -> None:
    """Refuse a module whose messages go another way than those of its class."""
    kind = type(module)
    for method in _METHODS:
        if getattr(kind, method, None) is not getattr(base, method, None):
            raise Unsupported(f"{kind.__name__} has its own {method}")
    made_by_pyg = (f"{kind.__module__}_{kind.__name__}", "torch_geometric.nn.conv.message_passing")
    if not kind.propagate.__module__.startswith(made_by_pyg):
        raise Unsupported(f"{kind.__name__} has its own propagate")
    if any(hooks for name, hooks in vars(module).items() if _HOOKS.fullmatch(name)):
        raise Unsupported("it has hooks inside of propagate")
    if module.explain:
        raise Unsupported("it is being explained")
    if module.decomposed_layers != 1:
        raise Unsupported("it decomposes its features (decomposed_layers)")
    if module.node_dim not in (-2, 0):
        raise Unsupported(f"node_dim is {module.node_dim}")


def reduction(module: Any, supported: tuple[str, ...]) -> str:
    """Return how a module reduces messages."""
    from torch_geometric.nn import aggr

    names = {
        aggr.SumAggregation: "sum",
        aggr.MeanAggregation: "mean",
        aggr.MaxAggregation: "max",
        aggr.MinAggregation: "min",
    }
    found = names.get(type(module.aggr_module))
    if found not in supported:
        raise Unsupported(f"there is no kernel for the aggregation {module.aggr_module}")
    check_unhooked(module.aggr_module)
    return str(found)


def check_matrix(name: str, value: Any, device: torch.device | None = None) -> Tensor:
    """Return a plain matrix of floats."""
    if type(value) not in (Tensor, nn.Parameter):
        raise Unsupported(f"{name} is a {type(value).__name__}")
    if value.dim() != 2 or value.dtype not in FLOATS or value.layout is not torch.strided:
        raise Unsupported(f"{name} is no dense matrix of floats")
    if value.device.type not in ("cpu", "cuda") or (device is not None and value.device != device):
        raise Unsupported(f"{name} is on {value.device}")
    checked: Tensor = value
    return checked


def flows_back(module: Any) -> bool:
    """Return whether messages go from ``edge_index[1]`` to ``edge_index[0]``."""
    return bool(module.flow == "target_to_source")


def pair_of(module: Any, name: str, value: Any) -> tuple[Tensor, Tensor]:
    """Return features of the sources and of the rows, from one tensor or two."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise Unsupported(f"{name} has {len(both)} entries")
    if flows_back(module) and both[0] is not both[1]:  # PyG has two readings of this
        raise Unsupported(f"{name} has two sets, and messages flow from target to source")
    sources = check_matrix(name, both[0])
    return sources, check_matrix(name, both[1], sources.device)


def graph_of(
    graphs: EdgeGraphs,
    module: Any,
    edge_index: Any,
    counts: tuple[int, int],
    device: torch.device,
    with_loops: bool = False,
) -> EdgeGraph:
    """Return the graph of ``edge_index`` over ``counts`` of sources and rows, as PyG reads it."""
    if torch._C._are_functorch_transforms_active():
        raise Unsupported("a torch.func transform is active")
    if type(edge_index) is not Tensor:
        raise Unsupported(f"edge_index is a {type(edge_index).__name__}")
    if edge_index.layout is not torch.strided or edge_index.dtype not in INDICES:
        raise Unsupported(f"edge_index is {edge_index.layout} of {edge_index.dtype}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.device != device:
        raise Unsupported(f"edge_index has shape {list(edge_index.shape)} on {edge_index.device}")
    row = 0 if flows_back(module) else 1

    def build(edges: Tensor) -> EdgeGraph:
        try:
            found = graph_of_edges(edges[1 - row], edges[row], counts[1], counts[0])
        except ValueError as wrong:  # the original says so in its own words
            raise Unsupported(str(wrong)) from None
        return EdgeGraph(found.graph.with_loops(), found.order) if with_loops else found

    return graphs.get(edge_index, (row, counts, with_loops), build)
