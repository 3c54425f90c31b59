"""Drop-ins for ``kaolin.metrics.pointcloud``, and for ``point_to_mesh_distance`` of
``kaolin.metrics.trianglemesh``: on CPU and CUDA, deterministic, NaN-safe.
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.compat._kaolin_mesh import point_to_mesh_distance
from g2vlm_fast.compat._padded import check_points, nearest_padded, nearest_pair_padded
from g2vlm_fast.ops._checks import check_number

__all__ = ["chamfer_distance", "f_score", "point_to_mesh_distance", "sided_distance"]


def sided_distance(p1: Tensor, p2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distance to, and the index of, the nearest p2 of every p1.

    Args:
        p1: ``[B, N, 3]`` float16, float32 or float64 (bfloat16 too).
        p2: ``[B, M, 3]``, same dtype and device.

    Returns:
        ``distance [B, N]`` in the dtype of the points, and ``index [B, N]`` int64; equal
        distances go to the lower index. Without any p2 both are 0. A NaN coordinate in p1 gives
        distance NaN and index 0; p2 with NaN coordinates are never found.

    Half precision is computed in float32 and rounded once. Differentiable, twice too; gradients
    are deterministic.

    Raises:
        RuntimeError: a wrong number of dimensions or a wrong size, as Kaolin raises it.
        TypeError: no tensor, or a wrong dtype.
    """
    _check("sided_distance_forward_cuda", p1, p2)
    distance, index = nearest_padded(p1, p2, None, None)
    return distance[..., 0].to(p1.dtype), index[..., 0].clamp_min(0)


def chamfer_distance(
    p1: Tensor,
    p2: Tensor,
    w1: float | Tensor = 1.0,
    w2: float | Tensor = 1.0,
    squared: bool = True,
) -> Tensor:
    """Return ``w1 mean(d(p1, p2)) + w2 mean(d(p2, p1))`` of every pair of clouds, ``[B]``.

    Args:
        p1: ``[B, N, 3]`` float16, float32 or float64 (bfloat16 too).
        p2: ``[B, M, 3]``, same dtype and device.
        w1: weight of the mean over p1.
        w2: weight of the mean over p2.
        squared: whether ``d`` is the squared distance. Otherwise its root, whose gradient is 0
            between coincident points, where Kaolin's is NaN.

    Returns:
        ``[B]`` in the dtype of the points; NaN where one cloud has no points.

    Raises:
        RuntimeError: a wrong number of dimensions or a wrong size.
        TypeError: no tensor, a wrong dtype, or no number.
    """
    _check("chamfer_distance", p1, p2)
    w1, w2 = _number("chamfer_distance", "w1", w1), _number("chamfer_distance", "w2", w2)
    means = []
    for distance, _ in nearest_pair_padded(p1, p2, None, None):
        distance = distance[..., 0]
        means.append((distance if squared else _root(distance)).mean(-1))
    return (w1 * means[0] + w2 * means[1]).to(p1.dtype)


def f_score(
    gt_points: Tensor,
    pred_points: Tensor,
    radius: float | Tensor = 0.01,
    eps: float | Tensor = 1e-8,
) -> Tensor:
    """Return the F-score ``2 P R / (P + R + eps)`` of every pair of clouds, ``[B]``.

    P is the fraction of predicted points no farther than ``radius`` from the truth. R is, as Kaolin
    has it, the number of these over itself plus the true points that are farther than that from the
    prediction: a recall (Knapitsch et al., "Tanks and Temples", 2017) only where as many true
    points are hit; ``chamfer_distance(..., fscore_at=...)`` of :mod:`g2vlm_fast.ops` has that.
    Kaolin takes points with NaN coordinates for hits, which here are misses.

    Args:
        gt_points: ``[B, N, 3]`` float16, float32 or float64 (bfloat16 too).
        pred_points: ``[B, M, 3]``, same dtype and device.
        radius: in the unit of the points.
        eps: keeps 0 / 0 at 0.

    Returns:
        ``[B]`` in the dtype of ``gt_points``, without gradient; NaN where a cloud has no points.

    Raises:
        RuntimeError: a wrong number of dimensions or a wrong size.
        TypeError: no tensor, a wrong dtype, or no number.
    """
    _check("f_score", gt_points, pred_points, names=("gt_points", "pred_points"))
    radius, eps = _number("f_score", "radius", radius), _number("f_score", "eps", eps)
    with torch.no_grad():
        found = nearest_pair_padded(gt_points, pred_points, None, None)
        if not gt_points.shape[1] or not pred_points.shape[1]:
            return gt_points.new_full(gt_points.shape[:1], torch.nan)
        near = [(distance[..., 0].sqrt() <= radius).to(distance.dtype) for distance, _ in found]
        missed, hits = (1 - near[0]).sum(-1), near[1].sum(-1)
        precision = hits / pred_points.shape[1]
        recall = hits / (hits + missed).clamp_min(1)
        return (2 * precision * recall / (precision + recall + eps)).to(gt_points.dtype)


def _root(square: Tensor) -> Tensor:
    zero = square == 0
    return torch.where(zero, 0, square.masked_fill(zero, 1).sqrt())


def _check(function: str, p1: Tensor, p2: Tensor, names: tuple[str, str] = ("p1", "p2")) -> None:
    for place, (name, points) in enumerate(zip(names, (p1, p2), strict=True), start=1):
        if not isinstance(points, Tensor):
            raise TypeError(
                f"{function}: {name} must be a torch.Tensor, got {type(points).__name__}"
            )
        suffix = f"for argument #{place} '{name}' (while checking arguments for {function})"
        if points.ndim != 3:
            raise RuntimeError(
                f"Expected 3-dimensional tensor, but got {points.ndim}-dimensional tensor {suffix}"
            )
        wanted = [p1.shape[0], points.shape[1], 3]
        if list(points.shape) != wanted:
            raise RuntimeError(
                f"Expected tensor of size {wanted}, but got tensor of size {list(points.shape)} "
                f"{suffix}"
            )
    check_points(function, names[0], p1)
    check_points(function, names[1], p2, like=p1)


def _number(function: str, argument: str, value: float | Tensor) -> float | Tensor:
    """Return a number as it is, a tensor without axes included."""
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_complex():
        return value
    return check_number(function, argument, value)
