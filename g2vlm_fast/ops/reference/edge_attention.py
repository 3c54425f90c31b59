"""Plain-torch truth of :func:`g2vlm_fast.ops.edge_attention`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops._edge_attention_arguments import (
    Edges,
    Gradients,
    Transposed,
    Vertices,
    empty_gradients,
)
from g2vlm_fast.ops.reference.graph_build import edge_rows
from g2vlm_fast.ops.reference.graph_reduce import accumulation_dtype


class _Pairs(NamedTuple):
    """The ends of each edge, in the dtype of the sums."""

    rows: Tensor  # [E] int64
    sources: Tensor  # [E] int64
    query: Tensor  # [E, H, D]
    key: Tensor  # [E, H, D]
    value: Tensor  # [E, H, D]
    mixed: Tensor  # [E, H, D], what `attention` weighs; `query` where there is no attention
    score: Tensor  # [E, H]


def _pairs(vertices: Vertices, edges: Edges, negative_slope: float, scale: float) -> _Pairs:
    wide = accumulation_dtype(vertices.left.dtype)
    rows = edge_rows(edges.row_offsets, edges.columns.shape[0]).long()
    sources = edges.columns.long()
    left, right = vertices.ends()
    left, query = left.to(wide)[sources], right.to(wide)[rows]
    key = left
    if edges.geometry is not None and edges.geometry_weight is not None:
        key = left + torch.einsum("eg,ghd->ehd", edges.geometry, edges.geometry_weight)
    value = left if vertices.value is None else vertices.value.to(wide)[sources]
    if vertices.attention is None:
        return _Pairs(rows, sources, query, key, value, query, scale * (query * key).sum(-1))
    mixed = query + key
    mixed = torch.where(mixed > 0, mixed, negative_slope * mixed)
    score = scale * (vertices.attention * mixed).sum(-1)
    return _Pairs(rows, sources, query, key, value, mixed, score)


def _sum_by(index: Tensor, values: Tensor, count: int) -> Tensor:
    return values.new_zeros(count, *values.shape[1:]).index_add_(0, index, values)


def edge_attention(
    vertices: Vertices, edges: Edges, negative_slope: float, scale: float
) -> tuple[Tensor, Tensor]:
    """Return the attended rows ``[V, H, D]`` and the log of their normalisers ``[V, H]``."""
    count = vertices.ends()[1].shape[0]
    pairs = _pairs(vertices, edges, negative_slope, scale)
    index = pairs.rows.unsqueeze(1).expand_as(pairs.score)
    highest = pairs.score.new_full((count, pairs.score.shape[1]), -torch.inf)
    highest = highest.scatter_reduce_(0, index, pairs.score, "amax")
    shift = torch.where(highest == -torch.inf, 0, highest)
    weight = (pairs.score - shift[pairs.rows]).exp()
    total = _sum_by(pairs.rows, weight, count)
    out = _sum_by(pairs.rows, weight.unsqueeze(-1) * pairs.value, count)
    is_empty = edges.row_offsets.diff() == 0
    out = out / torch.where(is_empty.unsqueeze(1), 1, total).unsqueeze(-1)
    return out.to(vertices.left.dtype), shift + total.log()


def edge_attention_backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    vertices: Vertices,
    edges: Edges,
    transpose: Transposed,
    lse: Tensor,
    negative_slope: float,
    scale: float,
    wanted: list[bool],
) -> Gradients:
    """Return the gradients that are ``wanted``, without elements where one is not."""
    (left, right), attention, value = vertices.ends(), vertices.attention, vertices.value
    pairs = _pairs(vertices, edges, negative_slope, scale)
    rows = pairs.rows
    probability = (pairs.score - lse[rows]).exp()
    pulled = grad.to(pairs.score.dtype)[rows]
    pull = (pulled * pairs.value).sum(-1)
    delta = _sum_by(rows, probability * pull, right.shape[0])
    if grad_lse is not None:
        delta = delta - grad_lse
    grad_score = (scale * probability * (pull - delta[rows])).unsqueeze(-1)
    if attention is None:
        grad_key, grad_query = grad_score * pairs.query, grad_score * pairs.key
    else:
        rises = pairs.query + pairs.key > 0
        slope = torch.where(rises, torch.ones_like(pairs.key), negative_slope)
        grad_key = grad_query = grad_score * attention * slope
    grad_value = _sum_by(pairs.sources, probability.unsqueeze(-1) * pulled, left.shape[0])
    grad_left = _sum_by(pairs.sources, grad_key, left.shape[0])
    if value is None:
        grad_left = grad_left + grad_value
    found = [
        grad_left.to(left.dtype),
        _sum_by(rows, grad_query, right.shape[0]).to(left.dtype),
        (grad_score * pairs.mixed).sum(0),
        grad_value.to(left.dtype),
    ]
    if edges.geometry is not None and edges.geometry_weight is not None:
        found.append(torch.einsum("ehd,ghd->eg", grad_key, edges.geometry_weight))
        found.append(torch.einsum("eg,ehd->ghd", edges.geometry, grad_key))
    none = empty_gradients(vertices, edges, [False] * len(wanted))
    return Gradients(*(found[at] if want else none[at] for at, want in enumerate(wanted)))
