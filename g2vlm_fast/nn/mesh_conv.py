"""Convolutions over the edges of a triangle mesh."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.nn._loaded_names import linear_layers
from g2vlm_fast.ops import gather_rows
from g2vlm_fast.ops._checks import check_tensor, raise_out_of_range
from g2vlm_fast.ops._dispatch import FLOATS
from g2vlm_fast.ops._graph_build_backends import INDICES

_SIDES = 4
_TERMS = 5  # x, |a - c|, a + c, |b - d|, b + d
_TERMS_OF_MESHCNN = (0, 3, 1, 4, 2)  # where its x, a + c, b + d, |a - c|, |b - d| go


class MeshConv(nn.Module):
    """``x'_e = W [x_e, |x_a - x_c|, x_a + x_c, |x_b - x_d|, x_b + x_d] + bias``.

    The convolution of MeshCNN (Hanocka et al., MeshCNN: A Network with an Edge, 2019), which is
    where the name comes from: features live on the undirected edges of a triangle mesh, and a, b,
    c, d are the other edges of the two faces of e. Exchanging the two faces changes nothing.
    Convolutions of vertices are :class:`EdgeConv` and :class:`GraphConv`, on a graph from faces.

    ``load_state_dict`` takes its own names (``linear``), those of PyG's ``MeshCNNConv`` with
    linear ``kernels``, and those of MeshCNN's ``MeshConv`` (``conv``).

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        bias: whether there is a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(_TERMS * in_channels, out_channels, bias=bias)
        self.register_load_state_dict_pre_hook(_translate)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """Return ``[U, out_channels]``.

        Args:
            x: ``[U, in_channels]``, one row an edge of the mesh.
            neighbours: ``[U, 4]`` int32 or int64, the edges a, b, c, d of each edge, such as
                :meth:`MeshEdges.neighbours` finds; -1 stands for none, whose features are 0.

        Raises:
            TypeError, ValueError: an argument has the wrong dtype, shape, device or value. On a
                GPU an index out of range fails a device assertion.
        """
        check_tensor("MeshConv", "x", x, ("U", "C"), FLOATS, {})
        edges, channels = x.shape
        check_tensor("MeshConv", "neighbours", neighbours, (edges, _SIDES), INDICES, {}, x.device)
        padded = torch.cat([x, x.new_zeros(1, channels)])
        if neighbours.device.type == "cpu" and not torch.compiler.is_compiling():
            raise_out_of_range("MeshConv", "neighbours", neighbours, -1, edges)
        # Past the row of zeros, where an index of no edge is refused on a GPU as well.
        index = torch.where(neighbours < edges, neighbours, edges + 1)
        index = torch.where(neighbours == -1, edges, index).flatten()
        a, b, c, d = gather_rows(padded, index).view(edges, _SIDES, channels).unbind(1)
        out: Tensor = self.linear(torch.cat([x, (a - c).abs(), a + c, (b - d).abs(), b + d], 1))
        return out


def _translate(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    kernels = [linear_layers(state_dict, f"{prefix}kernels.{term}.") for term in range(_TERMS)]
    if all(len(each) == 1 for each in kernels):
        layers = [each[0] for each in kernels]
        state_dict[f"{prefix}linear.weight"] = torch.cat([each.weight for each in layers], 1)
        biases = [each.bias for each in layers if each.bias is not None]
        if biases:
            state_dict[f"{prefix}linear.bias"] = torch.stack(biases).sum(0)
        for term in range(_TERMS):
            for name in ("weight", "bias"):
                state_dict.pop(f"{prefix}kernels.{term}.{name}", None)
    weight = state_dict.get(f"{prefix}conv.weight")
    if weight is not None and weight.shape[2:] == (1, _TERMS):
        ordered = torch.stack([weight[:, :, 0, term] for term in _TERMS_OF_MESHCNN], 1)
        state_dict[f"{prefix}linear.weight"] = ordered.flatten(1)
        del state_dict[f"{prefix}conv.weight"]
        if f"{prefix}conv.bias" in state_dict:
            state_dict[f"{prefix}linear.bias"] = state_dict.pop(f"{prefix}conv.bias")
