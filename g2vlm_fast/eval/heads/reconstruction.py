"""Completion points and signed distance, judged where no view has looked as well."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.surface import SurfaceDistances, surface_distances
from g2vlm_fast.eval.priors import Priors

THRESHOLD = 0.05  # metres, of the F-score: the usual one for rooms
_TOKENS = "as many points, at random within the extents of the geometry tokens"

_LIFTED = "lifted input depth"
_FUSED = "fused input depth (TSDF), nothing known elsewhere"
_MEASURES: dict[str, Callable[[SurfaceDistances], float]] = {
    "chamfer_l1": lambda distances: distances.chamfer_l1,
    "accuracy": lambda distances: distances.accuracy,
    "completeness": lambda distances: distances.completeness,
    "f_score_5cm": lambda distances: distances.f_score(THRESHOLD),
}

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
    points: Tensor,
    tokens: Tensor,
    extents: Tensor,
    surface: Tensor,
    hidden: Tensor,
    lifted: Tensor,
) -> dict[str, Sums]:
    """Judge the completion points of one scene against samples of its complete surface.

    Where the model decodes no point the scene fails: every distance is the diagonal of the
    surface, and so it is for chance, which draws as many points.

    Args:
        points: ``[n, 3]`` metres, decoded by the model.
        tokens: ``[m, 3]`` metres, the token positions that they were decoded from.
        extents: ``[m]`` metres, the side of the cube that a token stands for.
        surface: ``[s, 3]`` metres, samples of the true surface.
        hidden: ``[s]`` bool, samples that no view sees.
        lifted: ``[k, 3]`` metres, the given depth as points, which is reported beside.
    """
    guess = _random_in_extents(tokens, extents, points.shape[0])
    ours, chance = _or_failure(points, surface), _or_failure(guess, surface)
    given = surface_distances(lifted, surface) if lifted.shape[0] else None
    sums = {
        f"completion_{name}": Sums(
            (measure(ours), 1),
            (measure(chance), 1),
            {} if given is None else {_LIFTED: (measure(given), 1)},
        )
        for name, measure in _MEASURES.items()
    }
    if hidden.any():
        sums["completion_completeness_hidden"] = Sums(
            _sum(ours.to_prediction[hidden]),
            _sum(chance.to_prediction[hidden]),
            {} if given is None else {_LIFTED: _sum(given.to_prediction[hidden])},
        )
    return sums


def judge_signed_distance(
    distance: Tensor,
    true_distance: Tensor,
    observed: Tensor,
    truncation: float,
    priors: Priors,
    fused: Tensor,
) -> dict[str, Sums]:
    """Judge truncated signed distances ``[Q]`` in metres at the query points of one scene.

    ``observed`` is False where no view has looked; ``fused`` is the distance that TSDF fusion of
    the given depth finds without learning, NaN where it knows nothing and the chance level stands
    in; it is reported beside.
    """
    truth = true_distance.clamp(-truncation, truncation)
    guess = truth.new_tensor(priors.hidden_distance).expand_as(truth)
    errors = [
        (said.clamp(-truncation, truncation) - truth).abs()
        for said in (distance, guess, torch.where(fused.isnan(), guess, fused))
    ]
    sums = {}
    for name, region in (("hidden", ~observed), ("observed", observed)):
        ours, chance, without_learning = (_sum(error[region]) for error in errors)
        sums[f"signed_distance_error_{name}"] = Sums(ours, chance, {_FUSED: without_learning})
    return sums


def _or_failure(points: Tensor, surface: Tensor) -> SurfaceDistances:
    distances = surface_distances(points, surface)
    if points.shape[0]:
        return distances
    return distances.capped(float((surface.amax(0) - surface.amin(0)).norm()))


def _random_in_extents(tokens: Tensor, extents: Tensor, count: int) -> Tensor:
    if count == 0:
        return tokens.new_zeros(0, 3)
    generator = torch.Generator().manual_seed(0)
    token = torch.arange(count) % tokens.shape[0]
    offset = torch.rand(count, 3, generator=generator) - 0.5
    return tokens[token] + extents[token, None] * offset


def _sum(values: Tensor) -> tuple[float, float]:
    return float(values.double().sum()), float(values.numel())
