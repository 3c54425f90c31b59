"""Graph convolution layers."""

from __future__ import annotations

from torch import Tensor, nn

from g2vlm_fast.ops import Graph, graph_reduce


class GraphConv(nn.Module):
    """``x'_i = W0 x_i + bias + reduce_j W1 x_j`` over the neighbours j of i.

    The message passing of Scarselli et al., The Graph Neural Network Model (2009), in the linear
    form of Morris et al., Weisfeiler and Leman Go Neural (2019).

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        reduce: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``; of the W1 x_j.
    """

    def __init__(self, in_channels: int, out_channels: int, reduce: str = "mean") -> None:
        super().__init__()
        self.center = nn.Linear(in_channels, out_channels)
        self.neighbour = nn.Linear(in_channels, out_channels, bias=False)
        self.reduce = reduce

    def forward(self, x: Tensor, graph: Graph, weight: Tensor | None = None) -> Tensor:
        """Return ``[V, out_channels]`` of ``x [V, in_channels]`` and edge weights ``[E]``."""
        return self.center(x) + graph_reduce(self.neighbour(x), graph, self.reduce, weight)

    def extra_repr(self) -> str:
        return f"reduce={self.reduce!r}"
