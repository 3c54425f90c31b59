"""The total loss: seven weighted terms, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.losses.alignment import alignment_loss
from g2vlm_fast.losses.geometry import depth_loss, normal_loss, surface_smoothness_loss
from g2vlm_fast.losses.matching import Matching, match_objects
from g2vlm_fast.losses.reconstruction import reconstruction_loss
from g2vlm_fast.losses.spatial import spatial_loss
from g2vlm_fast.losses.text import text_loss
from g2vlm_fast.records import Prediction, SceneBatch, Targets

DEFAULT_WEIGHTS: dict[str, float] = {
    "depth": 1.0,
    "depth.coarse_depth": 0.5,
    "depth.confidence": 0.1,
    "normal": 0.5,
    "smoothness": 0.05,
    "reconstruction": 1.0,
    "reconstruction.color": 0.5,
    "align": 0.5,
    "spatial": 1.0,
    "spatial.anchor": 0.3,
    "spatial.seed_vote": 2.0,
    "text": 1.0,
}
"""The weight of each term, and of each part (``term.part``) within its term; others are 1."""

TERMS = ("depth", "normal", "smoothness", "reconstruction", "align", "spatial", "text")


@dataclass(frozen=True)
class LossReport:
    """What a batch costs: ``total`` is the sum of the terms times their weights."""

    total: Tensor  # scalar
    terms: dict[str, Tensor]  # scalars, of those of the seven terms that could be computed
    parts: dict[str, Tensor]  # scalars, ``term.part``, before their weights


def total_loss(
    prediction: Prediction,
    batch: SceneBatch,
    targets: Targets,
    weights: Mapping[str, float] | None = None,
) -> LossReport:
    """Sum the losses that prediction and targets allow.

    A term enters if the model predicted and the targets know what it compares. Runs in float32
    under autocast.

    Args:
        prediction: of ``model(batch, targets)``.
        batch: the scenes.
        targets: what is true of them.
        weights: overrides of :data:`DEFAULT_WEIGHTS`, of a term (``"depth"``) or of a part within
            its term (``"spatial.anchor"``); 0 leaves it out.

    Raises:
        ValueError: a weight names no term or part; or there is nothing to compare.
    """
    chosen = DEFAULT_WEIGHTS | dict(weights or {})
    unknown = [name for name in chosen if name.split(".")[0] not in TERMS]
    if unknown:
        raise ValueError(f"total_loss: weights must name {TERMS} or their parts, got {unknown}")
    with torch.autocast(batch.images.device.type, enabled=False):
        found = _terms(prediction, batch, targets, chosen)
    if not found:
        raise ValueError(
            "total_loss: the targets know nothing that the model predicted; collate scenes with "
            "truth, and pass the targets to the model too"
        )
    parts = {
        f"{term}.{part}": value for term, values in found.items() for part, value in values.items()
    }
    misnamed = [n for n in dict(weights or {}) if n.split(".")[0] in found and n not in parts]
    misnamed = [name for name in misnamed if "." in name]
    if misnamed:
        raise ValueError(f"total_loss: weights name no part, {misnamed}; the parts are {[*parts]}")
    terms = {
        term: torch.stack(
            [chosen.get(f"{term}.{part}", 1.0) * value for part, value in values.items()]
        ).sum()
        for term, values in found.items()
    }
    total = torch.stack([chosen.get(term, 1.0) * value for term, value in terms.items()]).sum()
    return LossReport(total=total, terms=terms, parts=parts)


def _terms(
    prediction: Prediction, batch: SceneBatch, targets: Targets, weights: Mapping[str, float]
) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    matching: Matching | None = None
    if targets.box_center is not None and prediction.box_center is not None:
        matching = match_objects(prediction, targets)
    dense = prediction.depth is not None and prediction.normal is not None
    if targets.depth is not None and dense and weights["depth"]:
        found["depth"] = depth_loss(prediction, targets)
    if targets.normal is not None and dense and weights["normal"]:
        found["normal"] = {"normal": normal_loss(prediction, targets)}
    if dense and weights["smoothness"]:
        found["smoothness"] = {"smoothness": surface_smoothness_loss(prediction, batch)}
    if weights["reconstruction"]:
        found["reconstruction"] = reconstruction_loss(prediction, batch, targets)
    if targets.text_task is not None and prediction.text_embedding is not None and weights["align"]:
        found["align"] = alignment_loss(prediction, batch, targets, matching)
    if matching is not None and weights["spatial"]:
        found["spatial"] = spatial_loss(prediction, batch, targets, matching)
    if prediction.answer_logits is not None and weights["text"]:
        found["text"] = text_loss(prediction, targets)
    return {term: parts for term, parts in found.items() if parts}
