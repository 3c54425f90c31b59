"""What the points that vote for one place say of the object there, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.model.heads.objects import Seeds
from g2vlm_fast.model.room import quarter_turn_angle, quarter_turn_vectors
from g2vlm_fast.ops import nearest
from g2vlm_fast.records import _Record, record

_MEMBERS = 48  # votes that are asked about one place
_SMALLEST = 0.1  # metres


@record
class Evidence(_Record):
    """A box fitted to the voters of each of K places, in the frames of the scenes."""

    center: Tensor  # [K, 3] float32 metres
    size: Tensor  # [K, 3] float32 metres
    yaw: Tensor  # [K, 2] float32, sine and cosine
    certainty: Tensor  # [K, 3] float32: of the yaw, share of members found, mean objectness
    color: Tensor  # [K, 3] float32 in [0, 1], mean of the members'
    class_logits: Tensor  # [K, classes] float32, mean of the members'
    objectness: Tensor  # [K] float32 logit, mean of the members'

    def features(self) -> Tensor:
        """Return everything as columns ``[K, 13 + classes]``, sizes in logarithms."""
        columns = [
            self.center[:, 2:],
            self.size.log(),
            self.yaw,
            self.certainty,
            self.objectness[:, None],
            4 * self.color - 2,
            self.class_logits,
        ]
        return torch.cat(columns, dim=-1)


EVIDENCE_COLUMNS = 13  # besides the classes


def gather_evidence(seeds: Seeds, place: Tensor, offsets: Tensor, radius: float) -> Evidence:
    r"""Fit an upright box to the seeds whose votes fall near each place.

    The walls of furniture are orthogonal, so that the normals' horizontal angles agree modulo a
    quarter turn: the yaw is :math:`\tfrac14 \arg \sum_i w_i (n_x + i n_y)_i^4`, with the
    likelihood w of being on an object. The box spans the members along its axes.

    Args:
        seeds: of the scenes.
        place: ``[K, 3]`` float32 metres.
        offsets: ``[B + 1]`` int32, the scenes of the places.
        radius: metres between a place and the votes that count.
    """
    _, index = nearest(
        place,
        seeds.vote.detach(),
        k=_MEMBERS,
        query_offsets=offsets,
        target_offsets=seeds.offsets,
        max_distance=radius,
    )
    found = index >= 0
    slot = index.clamp_min(0).long()
    likely = torch.sigmoid(seeds.objectness.detach()[slot]) * found
    total = likely.sum(-1).clamp_min(1e-6)
    share = (likely / total[:, None])[..., None]
    agreed = (share * quarter_turn_vectors(seeds.normal[slot])).sum(1)
    angle = quarter_turn_angle(agreed)
    sine, cosine = angle.sin(), angle.cos()
    away = seeds.position[slot] - place[:, None]
    turned = torch.stack(
        [
            cosine[:, None] * away[..., 0] + sine[:, None] * away[..., 1],
            cosine[:, None] * away[..., 1] - sine[:, None] * away[..., 0],
            away[..., 2],
        ],
        dim=-1,
    )
    member = (found & (likely >= 0.5 * likely.amax(-1, keepdim=True)))[..., None]
    low = turned.masked_fill(~member, torch.inf).amin(1)
    high = turned.masked_fill(~member, -torch.inf).amax(1)
    middle = (low + high) / 2
    center = torch.stack(
        [
            cosine * middle[:, 0] - sine * middle[:, 1],
            sine * middle[:, 0] + cosine * middle[:, 1],
            middle[:, 2],
        ],
        dim=-1,
    )
    count = found.sum(-1)
    certainty = [agreed.norm(dim=-1), count / _MEMBERS, total / count.clamp_min(1)]
    return Evidence(
        center=place + center,
        size=(high - low).clamp_min(_SMALLEST),
        yaw=torch.stack([sine, cosine], dim=-1),
        certainty=torch.stack(certainty, dim=-1),
        color=(share * seeds.color[slot]).sum(1),
        class_logits=(share * seeds.class_logits[slot]).sum(1),
        objectness=(share[..., 0] * seeds.objectness.detach()[slot]).sum(1),
    )
