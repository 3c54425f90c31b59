"""Graph convolution layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from g2vlm_fast.nn._loaded_names import rename
from g2vlm_fast.ops import Graph, graph_reduce
from g2vlm_fast.ops._checks import check_choice
from g2vlm_fast.ops._graph_reduce_backends import REDUCTIONS

_NAMES = {  # of PyG's GraphConv, PyG's SAGEConv and PyTorch3D's GraphConv
    "lin_root.weight": "center.weight",
    "lin_rel.weight": "neighbour.weight",
    "lin_rel.bias": "center.bias",
    "lin_r.weight": "center.weight",
    "lin_l.weight": "neighbour.weight",
    "lin_l.bias": "center.bias",
    "w0.weight": "center.weight",
    "w0.bias": "center.bias",
    "w1.weight": "neighbour.weight",
    "w1.bias": "neighbour.bias",
}


class GraphConv(nn.Module):
    """``x'_i = W0 x_i + bias + W1 reduce_j e_ij x_j`` over the neighbours j of i.

    The message passing of Scarselli et al., The Graph Neural Network Model (2009), in the linear
    form of Morris et al., Weisfeiler and Leman Go Neural (2019). With ``"sum"`` and ``"mean"``,
    W1 is applied on the side of the reduction that has fewer channels.

    ``load_state_dict`` takes its own names (``center``, ``neighbour``) and those of PyG's
    ``GraphConv`` (whose default is ``reduce="sum"``) and ``SAGEConv`` (``"mean"``) and of
    PyTorch3D's ``GraphConv`` (``"sum"`` with ``neighbour_bias``).

    Args:
        in_channels: channels of x; a pair where sources and rows have different ones.
        out_channels: channels of the result.
        reduce: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``.
        bias: whether there is a bias.
        neighbour_bias: whether every message has a bias too, as in PyTorch3D, so that the result
            depends on the degree; with ``"sum"`` only.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        reduce: str = "mean",
        bias: bool = True,
        neighbour_bias: bool = False,
    ) -> None:
        super().__init__()
        check_choice("GraphConv", "reduce", reduce, REDUCTIONS)
        if neighbour_bias and reduce != "sum":
            raise ValueError(
                f"GraphConv: neighbour_bias needs reduce='sum', got {reduce!r}; use bias instead"
            )
        source_channels, row_channels = (
            (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        )
        self.center = nn.Linear(row_channels, out_channels, bias=bias)
        self.neighbour = nn.Linear(source_channels, out_channels, bias=neighbour_bias)
        self.reduce = reduce
        self.register_load_state_dict_pre_hook(_translate)

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor], graph: Graph, weight: Tensor | None = None
    ) -> Tensor:
        """Return ``[V, out_channels]``.

        Args:
            x: ``[V, in_channels]``; where the graph joins two sets, features of its sources and of
                its rows.
            graph: the neighbours of each row.
            weight: ``[E]``, the e_ij; None for 1.
        """
        sources, rows = x if isinstance(x, tuple) else (x, x)
        out: Tensor = self.center(rows) + self._neighbours(sources, graph, weight)
        return out

    def _neighbours(self, x: Tensor, graph: Graph, weight: Tensor | None) -> Tensor:
        narrows = self.neighbour.out_features < self.neighbour.in_features
        is_linear = self.reduce in ("sum", "mean")
        if self.neighbour.bias is not None or (is_linear and narrows):
            return graph_reduce(self.neighbour(x), graph, self.reduce, weight)
        out: Tensor = self.neighbour(graph_reduce(x, graph, self.reduce, weight))
        return out

    def extra_repr(self) -> str:
        return f"reduce={self.reduce!r}"


def _translate(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    rename(state_dict, prefix, _NAMES)
