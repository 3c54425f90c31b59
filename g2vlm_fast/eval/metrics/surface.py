"""Distances between point sets that sample surfaces.

With P the prediction and Q the truth, ``d(p, Q)`` is the distance of p to its nearest point
of Q, in metres. Three definitions of the Chamfer distance are in use, which differ by a
factor of two and by a square; each has its own name here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.ops import nearest_pair


@dataclass(frozen=True)
class SurfaceDistances:
    """Nearest distances in both directions, in metres.

    Attributes:
        to_truth: ``[n]``, of every predicted point to the truth.
        to_prediction: ``[m]``, of every true point to the prediction; ``inf`` where nothing
            was predicted.
    """

    to_truth: Tensor
    to_prediction: Tensor

    @property
    def accuracy(self) -> float:
        """Mean of ``d(p, Q)``; NaN where nothing was predicted (Aanaes et al., IJCV 2016)."""
        return float(self.to_truth.mean())

    @property
    def completeness(self) -> float:
        """Mean of ``d(q, P)`` (Aanaes et al., IJCV 2016)."""
        return float(self.to_prediction.mean())

    @property
    def chamfer_l1(self) -> float:
        """``(accuracy + completeness) / 2`` (Mescheder et al., CVPR 2019)."""
        return self.chamfer_sum / 2

    @property
    def chamfer_sum(self) -> float:
        """``accuracy + completeness``, as Open3D computes it."""
        return _or_infinite(self.accuracy + self.completeness)

    @property
    def chamfer_squared(self) -> float:
        """``mean d(p, Q)^2 + mean d(q, P)^2`` in square metres (Fan et al., CVPR 2017)."""
        return _or_infinite(
            float(self.to_truth.square().mean() + self.to_prediction.square().mean())
        )

    def precision(self, threshold: float = 0.05) -> float:
        """Share of predicted points within ``threshold`` metres of the truth; 0 for none."""
        return _share_within(self.to_truth, threshold)

    def recall(self, threshold: float = 0.05) -> float:
        """Share of true points within ``threshold`` metres of the prediction."""
        return _share_within(self.to_prediction, threshold)

    def f_score(self, threshold: float = 0.05) -> float:
        """Harmonic mean of precision and recall (Knapitsch et al., TOG 2017)."""
        precision, recall = self.precision(threshold), self.recall(threshold)
        return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def surface_distances(predicted: Tensor, truth: Tensor) -> SurfaceDistances:
    """Measure two point sets ``[n, 3]`` and ``[m, 3]`` (floats, metres, one frame) both ways.

    Raises:
        ValueError: the truth is empty, or a coordinate of either is not finite.
    """
    if truth.shape[0] == 0:
        raise ValueError("surface_distances: truth is empty, so no distance to it is defined")
    for name, points in (("predicted", predicted), ("truth", truth)):
        if not torch.isfinite(points).all():
            raise ValueError(f"surface_distances: {name} has coordinates that are not finite")
    predicted = predicted.to(truth.dtype)
    to_truth, _, to_prediction, _ = nearest_pair(predicted, truth)
    return SurfaceDistances(to_truth.sqrt(), to_prediction.sqrt())


def normal_consistency(
    predicted: Tensor, predicted_normals: Tensor, truth: Tensor, truth_normals: Tensor
) -> float:
    """Mean of ``|n_p . n_q|`` at nearest neighbours, averaged over both directions.

    Orientation-free; points ``[n, 3]`` and unit normals ``[n, 3]``. Source: Mescheder et al.,
    "Occupancy Networks", CVPR 2019.
    """
    if predicted.shape[0] == 0 or truth.shape[0] == 0:
        return float("nan")
    _, forward, _, backward = nearest_pair(predicted, truth)
    there = (predicted_normals * truth_normals[forward.long()]).sum(-1).abs().mean()
    back = (truth_normals * predicted_normals[backward.long()]).sum(-1).abs().mean()
    return float((there + back) / 2)


def _share_within(distance: Tensor, threshold: float) -> float:
    return float((distance < threshold).double().mean()) if distance.numel() else 0.0


def _or_infinite(value: float) -> float:
    return float("inf") if value != value else value
