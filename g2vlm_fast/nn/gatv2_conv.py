"""Graph attention layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.nn._layer_options import check_sizes, check_terms
from g2vlm_fast.nn._plain_maps import are_plain_alike
from g2vlm_fast.ops import Graph, edge_attention
from g2vlm_fast.ops._checks import check_flag, check_number


class GATv2Conv(nn.Module):
    """``x'_i = sum_e p_e (W_l x_j)`` in each head, over the edges e = (j, i) of row i.

    The ``p_e`` are the softmax over the row's edges of ``att . leaky_relu(W_l x_j + W_r x_i +
    W_e g_e)``: the dynamic attention of Brody, Alon and Yahav, How Attentive are Graph Attention
    Networks? (2022). See :func:`g2vlm_fast.ops.edge_attention`.

    The graph is taken as it is. A row attends to itself where the graph has that edge, and rows
    without edges get what ``bias`` and ``residual`` give them. Parameters have the names and shapes
    of ``torch_geometric.nn.GATv2Conv``, whose state dict loads as it is; that layer adds loops
    unless it is made with ``add_self_loops=False``, and one that was trained so wants a graph with
    them.

    Args:
        in_channels: channels of x, or a pair of those of the sources and of the rows.
        out_channels: channels of a head.
        heads: number of heads.
        concat: put the heads side by side; otherwise they are averaged.
        negative_slope: of the leaky rectifier.
        edge_dim: columns of the edge geometry, 1 to 8; None for none.
        bias: add biases, in the maps of x and at the end.
        share_weights: use one map for sources and rows, which then have the same channels.
        residual: add a linear map of the row's x.

    Raises:
        TypeError, ValueError: an option has the wrong type or value.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        edge_dim: int | None = None,
        bias: bool = True,
        share_weights: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(in_channels, tuple):
            in_channels = (in_channels, in_channels)
        of_sources, of_rows = in_channels
        for size in in_channels:
            check_sizes("GATv2Conv", in_channels=size)
        check_sizes("GATv2Conv", out_channels=out_channels, heads=heads)
        if edge_dim is not None:
            check_terms("GATv2Conv", "edge_dim", edge_dim, least=1)
        for name, flag in (
            ("concat", concat),
            ("bias", bias),
            ("share_weights", share_weights),
            ("residual", residual),
        ):
            check_flag("GATv2Conv", name, flag)
        negative_slope = check_number("GATv2Conv", "negative_slope", negative_slope)
        if share_weights and of_sources != of_rows:
            raise ValueError(
                f"GATv2Conv: share_weights needs one number of in_channels, got {in_channels}"
            )
        inner = heads * out_channels
        outer = inner if concat else out_channels
        self.heads, self.concat, self.negative_slope = heads, concat, negative_slope
        self.lin_l = nn.Linear(of_sources, inner, bias=bias)
        self.lin_r = self.lin_l if share_weights else nn.Linear(of_rows, inner, bias=bias)
        self.att = nn.Parameter(torch.empty(1, heads, out_channels))
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, inner, bias=False)
        self.res = nn.Linear(of_rows, outer, bias=False) if residual else None
        self.register_parameter("bias", nn.Parameter(torch.empty(outer)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew (Glorot and Bengio, 2010), and set the biases to 0."""
        for each in (self.lin_l, self.lin_r, self.lin_edge, self.res):
            if each is None:
                continue
            nn.init.xavier_uniform_(each.weight)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
        nn.init.xavier_uniform_(self.att)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor], graph: Graph, geometry: Tensor | None = None
    ) -> Tensor:
        """Attend along the edges of ``graph``.

        Args:
            x: ``[V, in_channels]``, or the features of the sources and those of the rows.
            graph: rows attend to their sources.
            geometry: ``[E, edge_dim]``, given where the layer has ``edge_dim``.

        Returns:
            ``[V, heads * out_channels]``, or ``[V, out_channels]`` where the heads are averaged.

        Raises:
            ValueError: ``geometry`` is missing, or given to a layer without ``edge_dim``.
        """
        if (geometry is None) != (self.lin_edge is None):
            made = "without edge_dim" if self.lin_edge is None else "with edge_dim"
            came = "none" if geometry is None else f"one of shape {list(geometry.shape)}"
            raise ValueError(f"GATv2Conv: a layer made {made}, and geometry is {came}")
        x_sources, x_rows = x if isinstance(x, tuple) else (x, x)
        left, right = self._ends(x_sources, x_rows, graph)
        weight = None
        if self.lin_edge is not None:
            weight = self.lin_edge.weight.t().unflatten(-1, (self.heads, -1))
        out = edge_attention(
            left,
            right,
            graph,
            self.att[0],
            geometry=geometry,
            geometry_weight=weight,
            negative_slope=self.negative_slope,
        )
        assert isinstance(out, Tensor)
        out = out.flatten(1) if self.concat else out.mean(1)
        if self.res is not None:
            out = out + self.res(x_rows)
        return out if self.bias is None else out + self.bias

    def _ends(
        self, x_sources: Tensor, x_rows: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        """Return left and right, in one tensor where one map can make both."""
        if x_rows is x_sources and self.lin_r is self.lin_l:
            left = self.lin_l(x_sources).unflatten(-1, (self.heads, -1))
            return left, left
        joins_one_set = x_rows is x_sources and graph.num_rows == graph.num_sources
        if not (joins_one_set and are_plain_alike(self.lin_l, self.lin_r)):
            left, right = self.lin_l(x_sources), self.lin_r(x_rows)
            return left.unflatten(-1, (self.heads, -1)), right.unflatten(-1, (self.heads, -1))
        weight = torch.cat([self.lin_l.weight, self.lin_r.weight])
        bias = None if self.lin_l.bias is None else torch.cat([self.lin_l.bias, self.lin_r.bias])
        both = nn.functional.linear(x_sources, weight, bias)
        return both.unflatten(-1, (2, self.heads, -1)), None

    def extra_repr(self) -> str:
        return f"heads={self.heads}, concat={self.concat}, negative_slope={self.negative_slope}"
