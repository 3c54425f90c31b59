"""Fusion of geometry tokens with the tokens of texts, and the moving anchors of the latter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.layers import MLP, LayerNorm
from g2vlm_fast.model.packing import gather_segments, segment_ids
from g2vlm_fast.nn import GeometryCrossAttention, GeometrySelfAttention
from g2vlm_fast.ops import BiasSpec, Direction, Distance
from g2vlm_fast.records import _Record, record

_FARTHEST = 1e3  # metres, spread of a token that looks at nothing


@record
class Anchors(_Record):
    """Where text tokens look."""

    position: Tensor  # [L, heads, 3] float32 metres
    spread: Tensor  # [L, heads] float32 metres


@record
class Fused(_Record):
    """U texts after fusion, each with its own copy of what its scene holds."""

    text: Tensor  # [L, dim]
    text_offsets: Tensor  # [U + 1] int32
    geometry: Tensor  # [n, dim]
    geometry_offsets: Tensor  # [U + 1] int32
    index: Tensor  # [n] int64, the row of the scenes' memory that each was copied from
    anchors: Anchors


class FusionBlock(nn.Module):
    """Self-attention of both sides, cross-attention both ways, feed-forward.

    Every attention that has a geometry side is biased by it; the biases start at zero. A text
    token stands at its anchors: for each head, the attention-weighted mean position that it
    looked at in the block before; none in the first block, which has no such bias. The bias is
    gated by ``1 / (1 + (spread / s)^2)``, with a learned length s for each head, because a mean
    between two chairs is no place.
    """

    def __init__(self, config: G2VLMConfig, first: bool) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        look_bias = None if first else BiasSpec(Distance(), Direction())
        listen_bias = None if first else BiasSpec(Distance())
        self.geometry_norm = LayerNorm(dim)
        self.geometry_attention = GeometrySelfAttention(dim, heads, bias=BiasSpec(Distance()))
        self.text_norm = LayerNorm(dim)
        self.text_attention = GeometrySelfAttention(dim, heads)
        self.look_norm = LayerNorm(dim)
        self.look_context_norm = LayerNorm(dim)
        self.look = GeometryCrossAttention(dim, heads, bias=look_bias)
        self.listen_norm = LayerNorm(dim)
        self.listen_context_norm = LayerNorm(dim)
        self.listen = GeometryCrossAttention(dim, heads, bias=listen_bias)
        self.geometry_mlp_norm = LayerNorm(dim)
        self.geometry_mlp = MLP(dim, int(config.mlp_ratio * dim), dim)
        self.text_mlp_norm = LayerNorm(dim)
        self.text_mlp = MLP(dim, int(config.mlp_ratio * dim), dim)
        self.log_scale = None if first else nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the length at which a spread halves the bias to one metre."""
        if self.log_scale is not None:
            nn.init.zeros_(self.log_scale)

    def gate(self, anchors: Anchors | None) -> Tensor | None:
        """Return how much of a place each anchor is ``[L, heads]``, from 0 to 1."""
        if anchors is None or self.log_scale is None:
            return None
        return 1 / (1 + (anchors.spread / self.log_scale.float().exp()).square())

    def attend_geometry(self, geometry: Tensor, position: Tensor, offsets: Tensor) -> Tensor:
        """Let the tokens of a scene look at each other."""
        return geometry + self.geometry_attention(
            self.geometry_norm(geometry), position=position, offsets=offsets
        )

    def forward(
        self,
        text: Tensor,
        text_offsets: Tensor,
        geometry: Tensor,
        position: Tensor,
        geometry_offsets: Tensor,
        anchors: Anchors | None,
    ) -> tuple[Tensor, Tensor, Anchors]:
        """Fuse; the geometry has attended to itself already.

        Args:
            text: ``[L, dim]``.
            text_offsets: ``[U + 1]`` int32.
            geometry: ``[n, dim]``, of each text its own.
            position: ``[n, 3]`` float32 metres, in the frames of the scenes.
            geometry_offsets: ``[U + 1]`` int32.
            anchors: of the block before; None in the first.
        """
        gate = self.gate(anchors)
        text = text + self.text_attention(self.text_norm(text), offsets=text_offsets)
        looked = self.look(
            self.look_norm(text),
            self.look_context_norm(geometry),
            position=None if anchors is None else anchors.position,
            context_position=position,
            gate=gate,
            offsets=text_offsets,
            context_offsets=geometry_offsets,
            return_position_mean=True,
        )
        text = text + looked.out
        place = sure = None
        if anchors is not None and gate is not None:
            place, each = _places(anchors, gate, text_offsets)
            sure = each[segment_ids(geometry_offsets)]
        geometry = geometry + self.listen(
            self.listen_norm(geometry),
            self.listen_context_norm(text),
            position=position,
            context_position=place,
            gate=sure,
            offsets=geometry_offsets,
            context_offsets=text_offsets,
        )
        text = text + self.text_mlp(self.text_mlp_norm(text))
        geometry = geometry + self.geometry_mlp(self.geometry_mlp_norm(geometry))
        spread = looked.position_spread.clamp_max(_FARTHEST)
        return text, geometry, Anchors(position=looked.position_mean, spread=spread)


def _places(anchors: Anchors, gate: Tensor, text_offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return one place a text token ``[L, 3]``, and how sure each text is of any ``[U, heads]``.

    Keys stand at one place for all heads: the mean of the anchors, weighted by their gates.
    """
    weight = gate[..., None] + 1e-6
    place = (weight * anchors.position).sum(1) / weight.sum(1)
    text = segment_ids(text_offsets)[:, None].expand_as(gate)
    sure = gate.new_zeros(len(text_offsets) - 1, gate.shape[1])
    return place, sure.scatter_reduce(0, text, gate, "amax")


class Fusion(nn.Module):
    """A stack of :class:`FusionBlock`; each text is fused with what its scene holds.

    Source: Lu et al., "ViLBERT", NeurIPS 2019, for co-attention; Press et al., "Train short, test
    long" (ALiBi), ICLR 2022, for biases linear in distance.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            FusionBlock(config, first=not number) for number in range(config.fusion_layers)
        )
        self.text_norm = LayerNorm(config.dim)
        self.geometry_norm = LayerNorm(config.dim)

    def forward(
        self,
        text: Tensor,
        text_offsets: Tensor,
        text_scene: Tensor,
        memory: Tensor,
        position: Tensor,
        memory_offsets: Tensor,
    ) -> Fused:
        """Fuse U texts with their scenes.

        Args:
            text: ``[L, dim]``.
            text_offsets: ``[U + 1]`` int32.
            text_scene: ``[U]`` int64.
            memory: ``[m, dim]`` tokens and objects of the scenes.
            position: ``[m, 3]`` float32 metres, in the frames of the scenes.
            memory_offsets: ``[B + 1]`` int32.
        """
        index, offsets = gather_segments(memory_offsets, text_scene)
        anchors: Anchors | None = None
        blocks: list[Any] = list(self.blocks)
        # before the first text is heard, all copies of a scene are equal: attend once a scene
        geometry = blocks[0].attend_geometry(memory, position, memory_offsets)[index]
        places = position[index]
        for number, block in enumerate(blocks):
            if number:
                geometry = block.attend_geometry(geometry, places, offsets)
            text, geometry, anchors = block(text, text_offsets, geometry, places, offsets, anchors)
        assert anchors is not None
        return Fused(
            text=self.text_norm(text),
            text_offsets=text_offsets,
            geometry=self.geometry_norm(geometry),
            geometry_offsets=offsets,
            index=index,
            anchors=anchors,
        )
