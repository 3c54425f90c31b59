"""Distances between point sets that sample surfaces.

With P the prediction and Q the truth, ``d(p, Q)`` is the distance of p to its nearest point
of Q, in metres. Three definitions of the Chamfer distance are in use, which differ by a
factor of two and by a square; each has its own name here. Nothing is aligned: both clouds are
taken in the frame that they come in, so whoever aligns them first says how beside the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from g2vlm_fast.eval.metrics._arguments import thresholds_of
from g2vlm_fast.ops import nearest_pair

THRESHOLDS = (0.02, 0.05, 0.10)
"""Metres, of F-scores of rooms; 0.05 is the usual one."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Nearest distances in both directions, in metres and float64.

    Attributes:
        to_truth: ``[n]``, of every predicted point to the truth.
        to_prediction: ``[m]``, of every true point to the prediction; ``inf`` where nothing
            was predicted.
        nearest_truth: ``[n]`` int32, the true point that is meant; -1 for none.
        nearest_prediction: ``[m]`` int32, the predicted point that is meant; -1 for none.
    """

    to_truth: Tensor
    to_prediction: Tensor
    nearest_truth: Tensor
    nearest_prediction: Tensor

    @property
    def accuracy(self) -> float:
        """Mean of ``d(p, Q)``; NaN where nothing was predicted (Aanaes et al., IJCV 2016)."""
        return _mean(self.to_truth)

    @property
    def completeness(self) -> float:
        """Mean of ``d(q, P)`` (Aanaes et al., IJCV 2016)."""
        return _mean(self.to_prediction)

    @property
    def accuracy_median(self) -> float:
        """Median of ``d(p, Q)``, NaN where nothing was predicted."""
        return _median(self.to_truth)

    @property
    def completeness_median(self) -> float:
        """Median of ``d(q, P)``; of an even number, the mean of the two middle ones."""
        return _median(self.to_prediction)

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
        return _or_infinite(_mean(self.to_truth.square()) + _mean(self.to_prediction.square()))

    def precision(self, threshold: float = 0.05) -> float:
        """Share of predicted points closer than ``threshold`` metres to the truth; 0 for none."""
        return _share_within(self.to_truth, threshold)

    def recall(self, threshold: float = 0.05) -> float:
        """Share of true points closer than ``threshold`` metres to the prediction."""
        return _share_within(self.to_prediction, threshold)

    def f_score(self, threshold: float = 0.05) -> float:
        """Harmonic mean of precision and recall (Knapitsch et al., TOG 2017).

        Distances equal to the threshold do not count. Open3D reports the same in percent.
        """
        precision, recall = self.precision(threshold), self.recall(threshold)
        return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0

    def capped(self, limit: float) -> SurfaceDistances:
        """Cut distances off at ``limit`` metres; a prediction of nothing is ``limit`` away.

        The known variant of robust scores (DTU cuts at 20 mm): it makes means over scenes
        finite, so that a scene without a prediction counts as a failure instead of being left
        out. The limit belongs beside the number. Indices stay.
        """
        (limit,) = thresholds_of("SurfaceDistances.capped", [limit])
        nothing = self.to_truth.new_full((1,), limit)
        return SurfaceDistances(
            self.to_truth.clamp_max(limit) if self.to_truth.numel() else nothing,
            self.to_prediction.clamp_max(limit),
            self.nearest_truth if self.to_truth.numel() else self.nearest_truth.new_full((1,), -1),
            self.nearest_prediction,
        )


@dataclass(frozen=True)
class SurfaceScores:
    """All metrics of a pair of point sets; lengths in metres, F-scores by threshold."""

    accuracy: float
    accuracy_median: float
    completeness: float
    completeness_median: float
    chamfer_l1: float
    chamfer_sum: float
    chamfer_squared: float  # square metres
    precision: dict[float, float]
    recall: dict[float, float]
    f_score: dict[float, float]
    normal_consistency: float | None  # None without normals

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def surface_distances(predicted: Tensor, truth: Tensor) -> SurfaceDistances:
    """Measure two point sets ``[n, 3]`` and ``[m, 3]`` (floats, metres, one frame) both ways.

    Raises:
        ValueError: the truth is empty, or a coordinate of either is not finite.
    """
    if truth.shape[0] == 0:
        raise ValueError("surface_distances: truth is empty, so no distance to it is defined")
    for name, points in (("predicted", predicted), ("truth", truth)):
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(
                f"surface_distances: {name} must have shape [points, 3], got {list(points.shape)}"
            )
        if not torch.isfinite(points).all():
            raise ValueError(f"surface_distances: {name} has coordinates that are not finite")
    predicted = predicted.to(truth.dtype)
    to_truth, nearest_truth, to_prediction, nearest_prediction = nearest_pair(predicted, truth)
    squares = to_truth.double(), to_prediction.double()
    return SurfaceDistances(
        squares[0].sqrt_(), squares[1].sqrt_(), nearest_truth, nearest_prediction
    )


def surface_scores(
    predicted: Tensor,
    truth: Tensor,
    predicted_normals: Tensor | None = None,
    truth_normals: Tensor | None = None,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> SurfaceScores:
    """Score two point sets by every metric of this module, from one search for neighbours.

    Args:
        predicted: ``[n, 3]`` metres.
        truth: ``[m, 3]`` metres, same frame and device.
        predicted_normals: ``[n, 3]`` unit; both normals or neither.
        truth_normals: ``[m, 3]`` unit.
        thresholds: metres, of the F-scores.

    Raises:
        ValueError: as of :func:`surface_distances` and :func:`normal_consistency`.
    """
    if (predicted_normals is None) != (truth_normals is None):
        raise ValueError("surface_scores: give the normals of both point sets, or of neither")
    distances = surface_distances(predicted, truth)
    consistency = None
    if predicted_normals is not None and truth_normals is not None:
        consistency = _consistency(distances, predicted_normals, truth_normals)
    thresholds = thresholds_of("surface_scores", thresholds)
    return SurfaceScores(
        accuracy=distances.accuracy,
        accuracy_median=distances.accuracy_median,
        completeness=distances.completeness,
        completeness_median=distances.completeness_median,
        chamfer_l1=distances.chamfer_l1,
        chamfer_sum=distances.chamfer_sum,
        chamfer_squared=distances.chamfer_squared,
        precision={each: distances.precision(each) for each in thresholds},
        recall={each: distances.recall(each) for each in thresholds},
        f_score={each: distances.f_score(each) for each in thresholds},
        normal_consistency=consistency,
    )


def normal_consistency(
    predicted: Tensor, predicted_normals: Tensor, truth: Tensor, truth_normals: Tensor
) -> float:
    """Mean of ``|n_p . n_q|`` at nearest neighbours, averaged over both directions.

    Orientation-free, in [0, 1]; random directions give 1/2. Points ``[n, 3]`` and unit normals
    ``[n, 3]``; 0 where nothing was predicted. Known variants report the two directions apart
    (NC1, NC2 of multi-view benchmarks). Source: Mescheder et al., "Occupancy Networks", CVPR
    2019.

    Raises:
        ValueError: as of :func:`surface_distances`, or normals that do not fit the points or are
            not of unit length.
    """
    distances = surface_distances(predicted, truth)
    return _consistency(distances, predicted_normals, truth_normals)


def _consistency(
    distances: SurfaceDistances, predicted_normals: Tensor, truth_normals: Tensor
) -> float:
    for name, normals, points in (
        ("predicted_normals", predicted_normals, distances.to_truth),
        ("truth_normals", truth_normals, distances.to_prediction),
    ):
        if normals.shape != (points.shape[0], 3):
            raise ValueError(
                f"normal_consistency: {name} must have shape [{points.shape[0]}, 3], "
                f"got {list(normals.shape)}"
            )
        length = torch.linalg.vector_norm(normals, dim=-1)
        if not bool(((length - 1).abs() < 5e-3).all()):  # NaN is caught as well
            raise ValueError(f"normal_consistency: {name} must have unit length; normalise them")
    if predicted_normals.shape[0] == 0:
        return 0.0
    predicted_normals = predicted_normals.to(truth_normals.dtype)
    there = predicted_normals * truth_normals[distances.nearest_truth.long()]
    back = truth_normals * predicted_normals[distances.nearest_prediction.long()]
    return sum(_mean(way.sum(-1).abs().double()) for way in (there, back)) / 2


def _mean(values: Tensor) -> float:
    """The mean, NaN of nothing; on the CPU, the same to the last bit for any number of threads."""
    if not values.numel():
        return float("nan")
    on_cpu = values.device.type == "cpu"
    return float(values.detach().numpy().mean() if on_cpu else values.mean())


def _median(values: Tensor) -> float:
    count = values.numel()
    if count == 0:
        return float("nan")
    low = values.kthvalue((count + 1) // 2).values
    if count % 2:
        return float(low)
    return float((low + values.kthvalue(count // 2 + 1).values) / 2)


def _share_within(distance: Tensor, threshold: float) -> float:
    return int((distance < threshold).sum()) / distance.numel() if distance.numel() else 0.0


def _or_infinite(value: float) -> float:
    return float("inf") if value != value else value
