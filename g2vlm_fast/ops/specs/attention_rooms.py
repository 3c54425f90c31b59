"""Tokens on the surfaces of rooms, for the cases of ``geometry_attention`` that skip tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from g2vlm_fast.ops.anchor_context import AnchorContext
from g2vlm_fast.ops.bias import BiasSpec, SquaredDistance
from g2vlm_fast.ops.specs.base import InputFactory, Inputs
from g2vlm_fast.ops.specs.points import offsets

_ROOM = (8.0, 6.0, 3.0)
_FURNITURE = 25


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def room_surfaces(generator: torch.Generator, count: int) -> Tensor:
    """Return ``[count, 3]`` points, evenly over the faces of an 8 x 6 x 3 m room and 25 boxes.

    The room shows its walls and its floor, each box its top and its sides.
    """
    room = torch.tensor(_ROOM, dtype=torch.float64)
    size = 0.3 + 1.3 * _uniform(generator, _FURNITURE, 3)
    size[:, 2] *= 1.1
    corner = _uniform(generator, _FURNITURE, 3) * (room - size)
    corner[:, 2] = 0
    corner = torch.cat([torch.zeros(1, 3, dtype=torch.float64), corner])
    size = torch.cat([room[None], size])
    # Faces by box, by the axis across them, and by side; the room has no ceiling, boxes no bottom.
    across = torch.arange(3)
    area = size.prod(1, keepdim=True) / size
    area = area[..., None].repeat(1, 1, 2)
    area[0, 2, 1] = area[1:, 2, 0] = 0
    face = torch.multinomial(area.flatten(), count, replacement=True, generator=generator)
    box, axis, side = face // 6, face // 2 % 3, face % 2
    point = _uniform(generator, count, 3)
    point = torch.where(axis[:, None] == across, side[:, None].double(), point)
    return corner[box] + point * size[box]


def room_attention(
    count: int, *, heads: int = 16, dim: int = 64, slope: float = 20.0, skip_eps: float = 1e-4
) -> InputFactory:
    """Return a factory of self-attention between the surfaces of a room, in the order of leaves.

    Scores without the bias are at most 8, by the norms of q and k.
    """

    def make(generator: torch.Generator) -> Inputs:
        position = room_surfaces(generator, count)
        position = AnchorContext.from_positions(position).permute(position)
        drawn = torch.randn(3, count, heads, dim, generator=generator, dtype=torch.float64)
        length = 0.995 * (8 * dim**0.5) ** 0.5  # bfloat16 may round up
        return {
            "q": length * normalize(drawn[0], dim=-1),
            "k": length * normalize(drawn[1], dim=-1),
            "v": drawn[2],
            "bias": BiasSpec(SquaredDistance()),
            "bias_parameters": torch.full((heads, 1), slope, dtype=torch.float64),
            "q_position": position,
            "k_position": position.clone(),
            "skip_eps": skip_eps,
        }

    return make


def skipping(generator: torch.Generator) -> Inputs:
    """Packed tokens in the order of one axis, of which heads that decay skip tiles of float32."""
    inputs = room_attention(76, heads=4, slope=30.0, skip_eps=1e-7)(generator)
    inputs["k"], inputs["v"] = inputs["k"][:, :1].clone(), inputs["v"][:, :1].clone()
    inputs["bias_parameters"] *= torch.tensor([[1.0], [-0.01], [0.5], [1.0]])
    for name in ("q_position", "k_position"):
        inputs[name] = inputs[name][inputs[name][:, 0].argsort()]
    inputs["q_offsets"] = offsets(44, 0, 32)
    inputs["k_offsets"] = offsets(48, 6, 22)
    return {**inputs, "return_lse": True, "return_position_mean": True}
