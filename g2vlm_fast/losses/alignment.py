"""The contrastive loss that aligns texts with scenes and phrases with objects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.losses.matching import Matching
from g2vlm_fast.losses.terms import mean_or_zero
from g2vlm_fast.model.packing import lengths, segment_ids
from g2vlm_fast.records import Prediction, SceneBatch, Targets, Task

TEMPERATURE = 0.1


def alignment_loss(
    prediction: Prediction, batch: SceneBatch, targets: Targets, matching: Matching | None
) -> dict[str, Tensor]:
    r"""InfoNCE between statements and scenes (``scene``), and phrases and objects (``phrase``).

    .. math:: -\log \frac{\exp(t \cdot s_+ / \tau)}{\sum_k \exp(t \cdot s_k / \tau)}

    with :math:`\tau = 0.1`. Statements are the caption texts without an answer, which describe
    their scene; the loss is the mean of text to scene, over the scenes of the batch, and scene to
    text, where all statements of the scene are right. Phrases are the referring texts; the
    candidates are the predicted objects that stand for a true one, in the whole batch, but for
    those of other scenes with the class of the right one, which the phrase may describe as well.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding",
    2018; Radford et al., "CLIP", ICML 2021.
    """
    assert prediction.text_embedding is not None
    assert prediction.scene_embedding is not None
    assert batch.text_scene is not None
    assert targets.text_task is not None
    statement = targets.text_task == Task.CAPTION
    if targets.answer_offsets is not None:
        statement = statement & (lengths(targets.answer_offsets) == 0)
    terms = {}
    if bool(statement.any()):
        terms["scene"] = _scene_loss(
            prediction.text_embedding[statement],
            prediction.scene_embedding,
            batch.text_scene[statement],
        )
    if matching is not None and targets.referred_object is not None:
        terms["phrase"] = _phrase_loss(prediction, targets, matching)
    return terms


def _scene_loss(text: Tensor, scene: Tensor, text_scene: Tensor) -> Tensor:
    logits = text @ scene.mT / TEMPERATURE
    to_scene = F.cross_entropy(logits, text_scene)
    right = text_scene[:, None] == torch.arange(len(scene), device=text_scene.device)
    chosen = torch.logsumexp(logits.masked_fill(~right, -torch.inf), dim=0)
    to_text = (torch.logsumexp(logits, dim=0) - chosen)[right.any(0)]
    return (to_scene + to_text.mean()) / 2


def _phrase_loss(prediction: Prediction, targets: Targets, matching: Matching) -> Tensor:
    assert prediction.text_embedding is not None
    assert prediction.descriptor is not None
    assert targets.text_task is not None
    assert targets.referred_object is not None
    assert targets.object_class is not None
    assert targets.object_offsets is not None
    scene = segment_ids(targets.object_offsets)
    place = torch.full_like(scene, -1)
    place[matching.target] = torch.arange(len(matching.target), device=scene.device)
    referred = targets.referred_object
    asked = (targets.text_task == Task.REFERRING) & (referred >= 0)
    asked = asked & (place[referred.clamp_min(0)] >= 0) if len(place) else asked & False
    wanted = referred[asked]
    text = prediction.text_embedding[asked]
    logits = text @ prediction.descriptor[matching.predicted].mT / TEMPERATURE
    of_class, of_scene = targets.object_class[matching.target], scene[matching.target]
    elsewhere = of_scene != scene[wanted][:, None]
    doubtful = elsewhere & (of_class == targets.object_class[wanted][:, None])
    entropy = F.cross_entropy(
        logits.masked_fill(doubtful, -torch.inf), place[wanted], reduction="none"
    )
    return mean_or_zero(entropy)
