"""What a scene holds for language: its tokens and its objects, in one packed sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.heads.objects import Objects
from g2vlm_fast.model.layers import MLP, Linear, PositionEmbedding
from g2vlm_fast.model.packing import interleave, offsets_of_ids, segment_ids
from g2vlm_fast.nn import GeometryCrossAttention
from g2vlm_fast.records import GeometryTokens, _Record, record


@record
class SceneMemory(_Record):
    """The first tokens, then the objects, of each of B scenes, in the frames of the scenes."""

    feature: Tensor  # [m, dim]
    position: Tensor  # [m, 3] float32 metres
    object: Tensor  # [m] int64, the row of the object, -1 for a token
    offsets: Tensor  # [B + 1] int32
    embedding: Tensor  # [B, E] float32, unit norm, of the scene


class MemoryBuilder(nn.Module):
    """Embeds tokens and objects with where they stand, and pools them into one embedding.

    The embedding of a scene is what one query finds among all, plus the sum over the objects,
    each counted by how likely it is one.

    What the heads found of an object (box, class, objectness) enters without its gradient:
    language does not move boxes.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.tokens = config.memory_tokens
        self.token = Linear(dim + 4, dim)
        self.object = Linear(dim, dim)
        self.found = Linear(len(config.classes or []) + 1 + 3 + 2, dim)
        self.place = PositionEmbedding(dim)
        self.pool = GeometryCrossAttention(dim, config.heads)
        self.query = nn.Parameter(torch.empty(1, dim))
        self.embed = Linear(dim, config.embedding_dim)
        self.embed_object = MLP(dim, dim, config.embedding_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.query, std=0.02)

    def forward(self, tokens: GeometryTokens, objects: Objects) -> SceneMemory:
        tokens = _first(tokens, self.tokens)
        surface = torch.cat([tokens.normal, tokens.scale[:, None]], dim=-1)
        token = self.token(torch.cat([tokens.feature, surface.to(tokens.feature.dtype)], dim=-1))
        found = [
            torch.softmax(objects.class_logits, dim=-1),
            torch.sigmoid(objects.objectness)[:, None],
            objects.size.log(),
            objects.rotation[:, :2, 0],
        ]
        thing = self.object(objects.feature) + self.found(torch.cat(found, dim=-1).detach())
        order, offsets = interleave(tokens.offsets, objects.offsets)
        position = torch.cat([tokens.position, objects.center.detach()])[order]
        index = torch.arange(len(objects.center), device=order.device)
        feature = torch.cat([token, thing])[order] + self.place(position)
        scenes = len(offsets) - 1
        each = torch.arange(scenes + 1, device=order.device, dtype=torch.int32)
        pooled = self.pool(
            self.query.expand(scenes, -1).to(feature.dtype),
            feature,
            offsets=each,
            context_offsets=offsets,
        )
        return SceneMemory(
            feature=feature,
            position=position,
            object=torch.cat([index.new_full((len(token),), -1), index])[order],
            offsets=offsets,
            embedding=F.normalize(self.embed(pooled).float() + self._sum(thing, objects), dim=-1),
        )

    def _sum(self, thing: Tensor, objects: Objects) -> Tensor:
        scene = segment_ids(objects.offsets)
        likely = torch.sigmoid(objects.objectness.detach())[:, None]
        each = likely * self.embed_object(thing).float()
        return each.new_zeros(len(objects.offsets) - 1, each.shape[1]).index_add(0, scene, each)


def _first(tokens: GeometryTokens, count: int) -> GeometryTokens:
    """Keep the first tokens of each scene."""
    scene = segment_ids(tokens.offsets)
    place = torch.arange(len(scene), device=scene.device) - tokens.offsets.long()[scene]
    keep = place < count
    return GeometryTokens(
        position=tokens.position[keep],
        normal=tokens.normal[keep],
        feature=tokens.feature[keep],
        scale=tokens.scale[keep],
        offsets=offsets_of_ids(scene[keep], len(tokens.offsets) - 1),
    )
