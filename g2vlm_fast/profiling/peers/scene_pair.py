"""All metrics of a pair of point clouds at once, as an evaluation asks for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast.eval.metrics.surface import THRESHOLDS, surface_scores
from g2vlm_fast.ops.specs import Cost, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import room

Scores = tuple[Tensor, ...]


def _pair(points: int) -> InputFactory:
    """A room's surface as truth, the same with 5 mm of noise as prediction, normals at random."""

    def make(generator: torch.Generator) -> Inputs:
        truth, predicted = room(generator, points)
        normals = torch.randn(2, points, 3, generator=generator, dtype=torch.float64)
        normals = torch.nn.functional.normalize(normals, dim=-1)
        return {
            "predicted": predicted,
            "truth": truth,
            "predicted_normals": normals[0],
            "truth_normals": normals[1],
        }

    return make


def _own(
    predicted: Tensor, truth: Tensor, predicted_normals: Tensor, truth_normals: Tensor
) -> Scores:
    scores = surface_scores(predicted, truth, predicted_normals, truth_normals)
    flat = [
        scores.accuracy,
        scores.accuracy_median,
        scores.completeness,
        scores.completeness_median,
        scores.chamfer_l1,
        scores.chamfer_sum,
        scores.chamfer_squared,
        *scores.precision.values(),
        *scores.recall.values(),
        *scores.f_score.values(),
        scores.normal_consistency,
    ]
    return tuple(torch.tensor(value, dtype=torch.float64) for value in flat)


def _cost(inputs: Inputs) -> Cost:
    return Cost(sum(each.nbytes for each in inputs.values()), 0)


def _by_tree(
    predicted: Tensor, truth: Tensor, predicted_normals: Tensor, truth_normals: Tensor
) -> Scores:
    """The same from two k-d trees of scipy and sums of NumPy, which share nothing with ours."""
    import numpy as np
    from scipy.spatial import cKDTree

    points, known = predicted.cpu().numpy(), truth.cpu().numpy()
    ours, theirs = predicted_normals.cpu().numpy(), truth_normals.cpu().numpy()
    threads = torch.get_num_threads()
    there, forward = cKDTree(known).query(points, workers=threads)
    back, backward = cKDTree(points).query(known, workers=threads)
    means = there.mean(), back.mean()
    precision = [(there < each).mean() for each in THRESHOLDS]
    recall = [(back < each).mean() for each in THRESHOLDS]
    f_score = [2 * p * r / max(p + r, 1e-300) for p, r in zip(precision, recall, strict=True)]
    dots = np.abs((ours * theirs[forward]).sum(1)).mean()
    dots_back = np.abs((theirs * ours[backward]).sum(1)).mean()
    flat = [
        means[0],
        np.median(there),
        means[1],
        np.median(back),
        sum(means) / 2,
        sum(means),
        (there**2).mean() + (back**2).mean(),
        *precision,
        *recall,
        *f_score,
        (dots + dots_back) / 2,
    ]
    return tuple(torch.tensor(float(value), dtype=torch.float64) for value in flat)


_million: Callable[[torch.Generator], Inputs] = _pair(1_000_000)

SCENE_PAIR = OpSpec(
    op="scene_pair",
    kernels=("nearest_pair",),
    function=_own,
    reference=_by_tree,
    small={"hundreds": _pair(400)},
    timed={"scene_pair_1M": _million, "cpu_scene_pair_1M": _million},
    grad_inputs=(),
    tolerance={torch.float32: Tolerance(1e-5, 1e-5)},
    cost=_cost,
    suite="metrics",
)
