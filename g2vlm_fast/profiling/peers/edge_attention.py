"""Other ways to attend over the edges of a graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Function, Provider


def _composed(inputs: Inputs) -> Function:
    """Index, score, normalise and add in plain torch, as a user without a kernel writes it."""
    graph = inputs["graph"]
    rows, sources = graph.edge_rows().long(), graph.columns.long()

    def edge_attention_layer(
        x: Tensor,
        source_map: Tensor,
        row_map: Tensor,
        attention: Tensor,
        geometry: Tensor | None = None,
        geometry_weight: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        heads = source_map.shape[0]
        left, right = (
            torch.nn.functional.linear(x, each.flatten(0, 1)).unflatten(1, (heads, -1))
            for each in (source_map, row_map)
        )
        message = left[sources]
        mixed = message + right[rows]
        if geometry is not None and geometry_weight is not None:
            added = geometry.to(x.dtype) @ geometry_weight.to(x.dtype).flatten(1)
            mixed = mixed + added.unflatten(1, (heads, -1))
        score = torch.nn.functional.leaky_relu(mixed, 0.2) * attention.to(x.dtype)
        score = score.sum(-1).float()
        index = rows[:, None].expand_as(score)
        highest = score.new_full((x.shape[0], heads), -torch.inf)
        highest = highest.scatter_reduce(0, index, score.detach(), "amax")
        weight = (score - highest[rows]).exp()
        total = torch.zeros_like(highest).index_add(0, rows, weight)
        share = (weight / total[rows]).to(x.dtype)
        return torch.zeros_like(right).index_add(0, rows, share[..., None] * message)

    return edge_attention_layer


def _pyg_layer(inputs: Inputs) -> Function:
    from torch_geometric.nn import GATv2Conv

    graph, source_map, x = inputs["graph"], inputs["source_map"], inputs["x"]
    edge_index = torch.stack([graph.columns.long(), graph.edge_rows().long()])
    geometry = inputs.get("geometry")
    heads, head_dim, channels = source_map.shape
    layer = GATv2Conv(
        channels,
        head_dim,
        heads,
        add_self_loops=False,
        edge_dim=None if geometry is None else geometry.shape[1],
        bias=False,
    ).to(x.device, x.dtype)
    names = {"lin_l.weight": "source_map", "lin_r.weight": "row_map", "att": "attention"}
    if geometry is not None:
        names["lin_edge.weight"] = "geometry_weight"

    def weight_of(name: str, given: dict[str, Any]) -> Tensor:
        weight: Tensor = given[names[name]].to(x.dtype)
        if name == "att":
            return weight[None]
        return weight.flatten(1).t() if name == "lin_edge.weight" else weight.flatten(0, 1)

    def edge_attention_layer(x: Tensor, geometry: Tensor | None = None, **given: Any) -> Tensor:
        weights = {name: weight_of(name, given) for name in names}
        attributes = None if geometry is None else geometry.to(x.dtype)
        out: Tensor = torch.func.functional_call(layer, weights, (x, edge_index, attributes))
        return out.unflatten(1, (heads, head_dim))

    return edge_attention_layer


PEERS = (
    Provider("torch", {"edge_attention_layer": _composed}),
    Provider("PyG", {"edge_attention_layer": _pyg_layer}, ("torch_geometric",)),
)
