"""The loss of the spatial head: seeds, boxes, classes, relations, grounding and anchors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.losses.matching import Matching
from g2vlm_fast.losses.terms import masked_mean, mean_or_zero, segment_logsumexp
from g2vlm_fast.model.packing import gather_segments, lengths, segment_ids
from g2vlm_fast.records import Prediction, SceneBatch, Targets

_MARGIN = 0.05  # metres that a point may lie outside a box and still be on its object
_PRESENT_WEIGHT = 3.0
_SOFTNESS = 0.3  # metres, of the soft minimum over anchors


def spatial_loss(
    prediction: Prediction, batch: SceneBatch, targets: Targets, matching: Matching
) -> dict[str, Tensor]:
    """Everything about objects, by name.

    ``seed_objectness``, ``seed_vote``, ``seed_class``: of each point of the finest scale, whether
    it is on an object (binary cross entropy), where its centre is (L1, m), and its class
    (cross entropy). ``center``, ``size``, ``yaw``, ``class``: of predicted objects against the
    true ones that they stand for; ``objectness`` of all, where those that stand for something
    weigh threefold: a quarter of the queries does, and F1 asks for a low threshold.
    ``relation``: binary cross entropy of the decided labels between matched objects.
    ``grounding``: cross entropy of the referred object among those of the scene. ``anchor``: see
    :func:`anchor_loss`.

    Source: Qi et al., "VoteNet", ICCV 2019; Carion et al., "DETR", ECCV 2020; Wald et al.,
    "3DSSG", CVPR 2020; Chen et al., "ScanRefer", ECCV 2020.
    """
    terms = seed_loss(prediction, targets) | box_loss(prediction, targets, matching)
    if targets.relation_labels is not None and prediction.relation_logits is not None:
        terms["relation"] = relation_loss(prediction, targets, matching)
    if prediction.grounding_logits is not None and targets.referred_object is not None:
        terms["grounding"] = grounding_loss(prediction, batch, targets, matching)
        terms["anchor"] = anchor_loss(prediction, batch, targets)
    return terms


def seed_loss(prediction: Prediction, targets: Targets) -> dict[str, Tensor]:
    """Hold what each seed says against the smallest true box that it lies in."""
    assert prediction.seed_position is not None
    assert prediction.seed_offsets is not None
    assert prediction.seed_objectness is not None
    assert prediction.seed_vote is not None
    assert prediction.seed_class_logits is not None
    assert targets.box_center is not None
    assert targets.object_class is not None
    owner = _owner(prediction.seed_position, prediction.seed_offsets, targets)
    on = owner >= 0
    objectness = F.binary_cross_entropy_with_logits(prediction.seed_objectness, on.float())
    center = targets.box_center[owner[on]]
    vote = F.smooth_l1_loss(prediction.seed_vote[on], center, reduction="none", beta=0.1)
    named = F.cross_entropy(
        prediction.seed_class_logits[on], targets.object_class[owner[on]], reduction="none"
    )
    return {
        "seed_objectness": objectness,
        "seed_vote": mean_or_zero(vote.sum(-1)),
        "seed_class": mean_or_zero(named),
    }


def _owner(position: Tensor, offsets: Tensor, targets: Targets) -> Tensor:
    """Return the true object that each point ``[M]`` is on, -1 for none."""
    assert targets.box_center is not None
    assert targets.box_size is not None
    assert targets.box_rotation is not None
    assert targets.object_offsets is not None
    box, pair_offsets = gather_segments(targets.object_offsets, segment_ids(offsets))
    point = segment_ids(pair_offsets)
    away = position[point] - targets.box_center[box]
    along = (targets.box_rotation[box] * away[:, :, None]).sum(1).abs()
    inside = (along <= targets.box_size[box] / 2 + _MARGIN).all(-1)
    volume = torch.where(inside, targets.box_size[box].prod(-1), torch.inf)
    least = position.new_full((len(position),), torch.inf)
    least = least.scatter_reduce(0, point, volume, "amin")
    chosen = inside & (volume == least[point])
    owner = torch.full((len(position),), -1, dtype=torch.long, device=position.device)
    return owner.scatter_reduce(0, point[chosen], box[chosen], "amax")


def box_loss(prediction: Prediction, targets: Targets, matching: Matching) -> dict[str, Tensor]:
    """Compare matched boxes; of the four ways to name the axes of a box, the closest counts.

    ``center`` is the L1 distance (m, quadratic below 0.1), ``size`` that of the logarithms, ``yaw``
    ``1 - cos`` of the difference.
    """
    assert prediction.box_center is not None
    assert prediction.box_size is not None
    assert prediction.box_rotation is not None
    assert prediction.objectness is not None
    assert prediction.class_logits is not None
    assert targets.box_center is not None
    assert targets.box_size is not None
    assert targets.box_rotation is not None
    assert targets.object_class is not None
    found, true = matching
    center = F.smooth_l1_loss(
        prediction.box_center[found], targets.box_center[true], reduction="none", beta=0.1
    )
    size, turned = targets.box_size[true], targets.box_size[true][:, [1, 0, 2]]
    log_size = prediction.box_size[found].log()
    axes, right = prediction.box_rotation[found], targets.box_rotation[true]
    straight = (axes[:, :, 0] * right[:, :, 0]).sum(-1).abs()
    crossed = (axes[:, :, 0] * right[:, :, 1]).sum(-1).abs()
    errors = torch.stack([(log_size - s.log()).abs().sum(-1) for s in (size, turned)])
    turns = torch.stack([1 - straight, 1 - crossed])
    best = (errors + turns).detach().argmin(0, keepdim=True)
    present = torch.zeros_like(prediction.objectness)
    present[found] = 1
    named = F.cross_entropy(
        prediction.class_logits[found], targets.object_class[true], reduction="none"
    )
    return {
        "center": mean_or_zero(center.sum(-1)),
        "size": mean_or_zero(errors.gather(0, best)),
        "yaw": mean_or_zero(turns.gather(0, best)),
        "class": mean_or_zero(named),
        "objectness": mean_or_zero(
            F.binary_cross_entropy_with_logits(
                prediction.objectness,
                present,
                reduction="none",
                pos_weight=present.new_tensor(_PRESENT_WEIGHT),
            )
        ),
    }


def relation_loss(prediction: Prediction, targets: Targets, matching: Matching) -> Tensor:
    """Binary cross entropy of the labels that are decided, between matched objects."""
    assert prediction.relation_pairs is not None
    assert prediction.relation_logits is not None
    assert prediction.class_logits is not None
    assert targets.relation_pairs is not None
    assert targets.relation_labels is not None
    assert targets.object_class is not None
    count = len(targets.object_class)
    true = matching.target_of(len(prediction.class_logits))[prediction.relation_pairs]
    row = torch.full((count * count,), -1, dtype=torch.long, device=true.device)
    keys = targets.relation_pairs[:, 0] * count + targets.relation_pairs[:, 1]
    row[keys] = torch.arange(len(keys), device=true.device)
    matched = (true >= 0).all(-1)
    rows = row[true[matched, 0] * count + true[matched, 1]]
    labels = targets.relation_labels[rows.clamp_min(0)]
    decided = (labels >= 0) & (rows >= 0)[:, None]
    entropy = F.binary_cross_entropy_with_logits(
        prediction.relation_logits[matched], labels.float().clamp_min(0), reduction="none"
    )
    return masked_mean(entropy, decided)


def grounding_loss(
    prediction: Prediction, batch: SceneBatch, targets: Targets, matching: Matching
) -> Tensor:
    """Cross entropy of the predicted object that stands for the referred one."""
    assert prediction.grounding_logits is not None
    assert prediction.grounding_offsets is not None
    assert prediction.object_offsets is not None
    assert batch.text_scene is not None
    assert targets.referred_object is not None
    assert targets.object_class is not None
    referred = targets.referred_object
    found = matching.predicted_of(len(targets.object_class))
    row = torch.where(referred >= 0, torch.cat([found, found.new_full((1,), -1)])[referred], -1)
    asked = (row >= 0).nonzero()[:, 0]
    start = prediction.object_offsets.long()[batch.text_scene[asked]]
    place = prediction.grounding_offsets.long()[asked] + row[asked] - start
    text = segment_ids(prediction.grounding_offsets)
    total = segment_logsumexp(prediction.grounding_logits, text, len(referred))
    return mean_or_zero(total[asked] - prediction.grounding_logits[place])


def anchor_loss(prediction: Prediction, batch: SceneBatch, targets: Targets) -> Tensor:
    r"""Let a referring text look at the object that it refers to: some anchor, and the surest.

    .. math:: -\tfrac{\sigma}{2} \log \operatorname{mean}_{t, h}
              e^{-(|a_{th} - c| + [w_{th} - r]_+ / 2) / \sigma}
              + \tfrac12 \sum_{t, h} p_{th} |a_{th} - c|, \quad p_{th} \propto e^{-w_{th} / \sigma}

    with anchors a of spread w over the tokens t and heads h of the text, the centre c and half
    the diagonal r of the object, and :math:`\sigma = 0.3` m. The first term is a soft minimum,
    because the words for other objects look elsewhere.
    """
    assert prediction.anchor_position is not None
    assert prediction.anchor_spread is not None
    assert batch.text_offsets is not None
    assert targets.referred_object is not None
    assert targets.box_center is not None
    assert targets.box_size is not None
    referred = targets.referred_object
    text = segment_ids(batch.text_offsets)
    token = (referred[text] >= 0).nonzero()[:, 0]
    wanted = referred[text[token]]
    away = prediction.anchor_position[token] - targets.box_center[wanted][:, None]
    distance = away.square().sum(-1).add(1e-6).sqrt()
    radius = targets.box_size[wanted].norm(dim=-1)[:, None] / 2
    cost = distance + (prediction.anchor_spread[token] - radius).relu() / 2
    heads = cost.shape[1]
    each = text[token][:, None].expand_as(cost).flatten()
    total = segment_logsumexp(-cost.flatten() / _SOFTNESS, each, len(referred))
    asked = referred >= 0
    number = (lengths(batch.text_offsets)[asked] * heads).log()
    nearest = _SOFTNESS * (number - total[asked])
    sure = -prediction.anchor_spread[token].flatten() / _SOFTNESS
    share = (sure - segment_logsumexp(sure, each, len(referred))[each]).exp()
    surest = distance.new_zeros(len(referred)).index_add(0, each, share * distance.flatten())
    return mean_or_zero((nearest + surest[asked]) / 2)
