"""The spatial head: objects with boxes, classes and descriptors, found by voting."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.heads.evidence import EVIDENCE_COLUMNS, gather_evidence
from g2vlm_fast.model.heads.objects import Objects, Seeds
from g2vlm_fast.model.layers import MLP, LayerNorm, Linear, PositionEmbedding, ZeroLinear
from g2vlm_fast.model.packing import lengths, offsets_of_ids, segment_ids
from g2vlm_fast.model.room import ROOM_COLUMNS, room_coordinates
from g2vlm_fast.nn import GeometryCrossAttention, GeometrySelfAttention
from g2vlm_fast.ops import BiasSpec, Distance, SquaredDistance
from g2vlm_fast.records import GeometryTokens

_USUAL_SIZE = 0.6  # metres, of what nobody has voted for


class SeedHead(nn.Module):
    """Lets each point vote for the centre of the object that it is on.

    What is plain to see (height, normal, colour, place in the room) goes in beside the features.

    Source: Qi et al., "Deep Hough voting for 3D object detection in point clouds", ICCV 2019.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.reach = config.maximum_vote
        self.classes = len(config.classes or [])
        dim, surface = config.dim, 1 + 3 + 3 + ROOM_COLUMNS  # height, normal, colour, room
        self.surface = MLP(surface, dim, dim)
        self.feature = Linear(dim, dim)
        self.predict = nn.Sequential(
            nn.GELU(), Linear(dim, dim), nn.GELU(), ZeroLinear(dim, 4 + self.classes)
        )

    def forward(self, points: GeometryTokens, color: Tensor) -> Seeds:
        """Return the seeds at points with features ``[M, dim]`` and colours ``[M, 3]``."""
        room = room_coordinates(points.position, points.normal, points.offsets)
        seen = torch.cat([points.position[:, 2:], points.normal, 2 * color - 1, room], dim=-1)
        output = self.predict(self.surface(seen) + self.feature(points.feature)).float()
        return Seeds(
            position=points.position,
            objectness=output[:, 0],
            vote=points.position + self.reach * torch.tanh(output[:, 1:4]),
            class_logits=output[:, 4:],
            normal=points.normal,
            color=color,
            offsets=points.offsets,
        )


@torch.no_grad()
def pick_queries(seeds: Seeds, count: int, spacing: float) -> tuple[Tensor, Tensor]:
    """Pick the seeds whose votes become object queries: likeliest first, never two too close.

    Args:
        seeds: M seeds of B scenes.
        count: queries a scene, at most.
        spacing: metres; after a seed is picked, votes closer than this to its vote are out.

    Returns:
        Rows of the seeds ``[K]`` int64, sorted by scene, and their offsets ``[B + 1]`` int32.
    """
    scene = segment_ids(seeds.offsets)
    size = lengths(seeds.offsets)
    place = torch.arange(len(scene), device=scene.device) - seeds.offsets.long()[scene]
    shape = (len(size), max(int(size.max()), 1))
    score = seeds.objectness.new_full(shape, -torch.inf)
    score[scene, place] = seeds.objectness
    vote = seeds.vote.new_full((*shape, 3), torch.inf)
    vote[scene, place] = seeds.vote
    picked, exists = [], []
    rows = torch.arange(len(size), device=scene.device)
    for _ in range(count):
        best, column = score.max(dim=1)
        picked.append(column + seeds.offsets[:-1].long())
        exists.append(best > -torch.inf)
        apart = vote - vote[rows, column][:, None]
        close = ~(apart.square().sum(-1) >= spacing**2)
        score = score.masked_fill(close, -torch.inf)
    kept = torch.stack(exists, dim=1).flatten()
    chosen = torch.stack(picked, dim=1).flatten()[kept]
    return chosen, offsets_of_ids(rows.repeat_interleave(count)[kept], len(size))


class ObjectLayer(nn.Module):
    """Queries look at each other and at the tokens, near ones more once training says so."""

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        self.self_norm = LayerNorm(dim)
        self.self_attention = GeometrySelfAttention(dim, heads, bias=BiasSpec(Distance()))
        self.cross_norm = LayerNorm(dim)
        self.cross_attention = GeometryCrossAttention(dim, heads, bias=BiasSpec(SquaredDistance()))
        self.mlp_norm = LayerNorm(dim)
        self.mlp = MLP(dim, int(config.mlp_ratio * dim), dim)

    def forward(
        self, x: Tensor, position: Tensor, offsets: Tensor, tokens: GeometryTokens
    ) -> Tensor:
        x = x + self.self_attention(self.self_norm(x), position=position, offsets=offsets)
        x = x + self.cross_attention(
            self.cross_norm(x),
            tokens.feature,
            position=position,
            context_position=tokens.position,
            offsets=offsets,
            context_offsets=tokens.offsets,
        )
        return x + self.mlp(self.mlp_norm(x))


class SpatialHead(nn.Module):
    """Turns seeds into objects: group what votes for one place, refine, read off the box.

    What the voters say in closed form (:func:`gather_evidence`) is where box and class start; the
    layers say how far to trust it, and correct it.
    """

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.config = config
        classes = len(config.classes or [])
        self.place = PositionEmbedding(dim)
        self.said = Linear(1 + classes, dim)
        self.fitted = Linear(EVIDENCE_COLUMNS + classes, dim)
        self.group_norm = LayerNorm(dim)
        self.group = GroupingAttention(dim, config.heads, config.query_spacing)
        self.layers = nn.ModuleList(ObjectLayer(config) for _ in range(config.object_layers))
        self.norm = LayerNorm(dim)
        self.box = MLP(dim, dim, 10, last=ZeroLinear)
        self.objectness = ZeroLinear(dim, 1)
        self.classify = MLP(dim, dim, classes, last=ZeroLinear)
        self.describe = MLP(dim, dim, config.embedding_dim)

    def forward(self, seeds: Seeds, points: GeometryTokens, tokens: GeometryTokens) -> Objects:
        """Find the objects of each scene.

        Args:
            seeds: what the points of one scale say.
            points: those points.
            tokens: the tokens of the scene, for context.
        """
        chosen, offsets = pick_queries(seeds, self.config.num_queries, self.config.query_spacing)
        said = torch.cat([seeds.objectness[:, None], seeds.class_logits], dim=-1)
        heard = self.group_norm(points.feature + self.said(said.detach()))
        # votes are moved by their own loss; here they are only where things are
        votes, start = seeds.vote.detach(), seeds.vote.detach()[chosen]
        grouped = self.group(
            heard[chosen],
            heard,
            position=start,
            context_position=votes,
            offsets=offsets,
            context_offsets=seeds.offsets,
            return_position_mean=True,
        )
        middle = grouped.position_mean.mean(1)
        radius = 1.5 * self.config.query_spacing
        fitted = gather_evidence(seeds, start, offsets, radius)
        x = heard[chosen] + grouped.out + self.place(middle.detach())
        x = x + self.fitted(fitted.features().detach())
        for layer in self.layers:
            x = layer(x, middle.detach(), offsets, tokens)
        x = self.norm(x)
        box = self.box(x).float()
        turn = F.normalize(box[:, 6:8] + box.new_tensor([0.0, 1.0]), dim=-1)
        trust = torch.sigmoid(box[:, 8:])
        usual = torch.full_like(fitted.size, math.log(_USUAL_SIZE))
        size = torch.lerp(usual, fitted.size.log(), trust[:, 1:]) + 2 * torch.tanh(box[:, 3:6] / 2)
        return Objects(
            center=torch.lerp(middle, fitted.center, trust[:, :1]) + box[:, :3],
            size=size.exp(),
            rotation=_rotation(_add_angles(fitted.yaw, turn)),
            objectness=self.objectness(x)[:, 0].float(),
            class_logits=fitted.class_logits + self.classify(x).float(),
            descriptor=F.normalize(self.describe(x).float(), dim=-1),
            feature=x,
            offsets=offsets,
        )


class GroupingAttention(GeometryCrossAttention):
    """Attention that starts as a Gaussian window over where votes fall (metres)."""

    def __init__(self, dim: int, heads: int, width: float) -> None:
        super().__init__(dim, heads, bias=BiasSpec(SquaredDistance()))
        self.width = width
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the window to ``exp(-|difference|^2 / width^2)``."""
        assert self.geometry_bias is not None
        nn.init.constant_(self.geometry_bias.parameters_per_head, self.width**-2)


def _add_angles(first: Tensor, second: Tensor) -> Tensor:
    """Return sine and cosine ``[K, 2]`` of the sum of two angles given so."""
    (s1, c1), (s2, c2) = first.unbind(-1), second.unbind(-1)
    return torch.stack([s1 * c2 + c1 * s2, c1 * c2 - s1 * s2], dim=-1)


def _rotation(turn: Tensor) -> Tensor:
    """Return rotations about the vertical ``[K, 3, 3]`` from the sine and cosine of yaw."""
    sine, cosine = turn.unbind(-1)
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    entries = [cosine, -sine, zero, sine, cosine, zero, zero, zero, one]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
