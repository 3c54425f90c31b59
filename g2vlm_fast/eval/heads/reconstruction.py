"""Completion points and signed distance, judged where no view has looked as well."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.surface import surface_distances
from g2vlm_fast.eval.priors import Priors

THRESHOLD = 0.05  # metres, of the F-score: the usual one for rooms
_TOKENS = "as many points, at random within the extents of the geometry tokens"

DEFINITIONS = (
    Definition(
        "completion_chamfer_l1",
        "completion",
        _TOKENS,
        unit="m",
        higher_is_better=False,
        headline=True,
    ),
    Definition("completion_accuracy", "completion", _TOKENS, unit="m", higher_is_better=False),
    Definition("completion_completeness", "completion", _TOKENS, unit="m", higher_is_better=False),
    Definition(
        "completion_completeness_hidden",
        "completion",
        _TOKENS,
        unit="m",
        higher_is_better=False,
    ),
    Definition("completion_f_score_5cm", "completion", _TOKENS),
    Definition(
        "signed_distance_error_hidden",
        "signed_distance",
        "the median distance at hidden points of the training rooms",
        unit="m",
        higher_is_better=False,
        headline=True,
    ),
    Definition(
        "signed_distance_error_observed",
        "signed_distance",
        "the median distance at hidden points of the training rooms",
        unit="m",
        higher_is_better=False,
    ),
)


def judge_completion(
    points: Tensor, tokens: Tensor, extents: Tensor, surface: Tensor, hidden: Tensor
) -> dict[str, Sums]:
    """Judge the completion points of one scene against samples of its complete surface.

    Args:
        points: ``[n, 3]`` metres, decoded by the model.
        tokens: ``[m, 3]`` metres, the token positions that they were decoded from.
        extents: ``[m]`` metres, the side of the cube that a token stands for.
        surface: ``[s, 3]`` metres, samples of the true surface.
        hidden: ``[s]`` bool, samples that no view sees.
    """
    if points.shape[0] == 0 or tokens.shape[0] == 0:
        return {}
    guess = _random_in_extents(tokens, extents, points.shape[0])
    ours, chance = surface_distances(points, surface), surface_distances(guess, surface)
    sums = {
        "completion_chamfer_l1": Sums((ours.chamfer_l1, 1), (chance.chamfer_l1, 1)),
        "completion_accuracy": Sums((ours.accuracy, 1), (chance.accuracy, 1)),
        "completion_completeness": Sums((ours.completeness, 1), (chance.completeness, 1)),
        "completion_f_score_5cm": Sums(
            (ours.f_score(THRESHOLD), 1), (chance.f_score(THRESHOLD), 1)
        ),
    }
    if hidden.any():
        sums["completion_completeness_hidden"] = Sums(
            _sum(ours.to_prediction[hidden]), _sum(chance.to_prediction[hidden])
        )
    return sums


def judge_signed_distance(
    distance: Tensor,
    true_distance: Tensor,
    observed: Tensor,
    truncation: float,
    priors: Priors,
    base: Tensor | None = None,
) -> dict[str, Sums]:
    """Judge truncated signed distances ``[Q]`` in metres at the query points of one scene.

    ``observed`` is False where no view has looked; ``base`` is the fused input that the model
    starts from (TSDF fusion without learning), if it is known, and is reported beside.
    """
    truth = true_distance.clamp(-truncation, truncation)
    ours = (distance.clamp(-truncation, truncation) - truth).abs()
    chance = (truth.new_tensor(priors.hidden_distance).expand_as(truth) - truth).abs()
    sums = {}
    for name, region in (("hidden", ~observed), ("observed", observed)):
        beside = {}
        if base is not None:
            fused = (base.clamp(-truncation, truncation) - truth).abs()
            beside["fused input"] = _sum(fused[region])
        sums[f"signed_distance_error_{name}"] = Sums(
            _sum(ours[region]), _sum(chance[region]), beside
        )
    return sums


def _random_in_extents(tokens: Tensor, extents: Tensor, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    token = torch.arange(count) % tokens.shape[0]
    offset = torch.rand(count, 3, generator=generator) - 0.5
    return tokens[token] + extents[token, None] * offset


def _sum(values: Tensor) -> tuple[float, float]:
    return float(values.double().sum()), float(values.numel())
