"""Errors of camera poses: angles and their AUC, and trajectories.

Poses are camera to world. A pose that was not estimated holds NaN: it is a failure of 180 degrees
in the AUC, and an error for trajectories, whose lengths would shrink without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from g2vlm_fast.eval.metrics._arguments import Array, float_array, thresholds_of

ALIGNMENTS = ("none", "rigid", "similarity")
AUC_THRESHOLDS = (3.0, 5.0, 15.0, 30.0)
"""Degrees."""


def relative_pose_errors(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Angles ``[V (V - 1) / 2, 2]`` in degrees of the relative poses of all pairs of views.

    Column 0 is the angle between rotations, column 1 that between directions of translation. The
    scale of translation does not count. Its sign is *folded*, as in published evaluations of
    relative pose: the angle is at most 90. Pairs whose true cameras stand at one place have no
    direction, and only their rotation counts.

    Args:
        predicted: ``[V, 4, 4]`` camera to world; NaN where a view failed, which gives its pairs
            180 degrees in both columns.
        truth: ``[V, 4, 4]``.

    Raises:
        ValueError: shapes differ, fewer than two views, or a true pose is not finite.

    Source: Sarlin et al., "SuperGlue", CVPR 2020; Wang et al., "PoseDiffusion", ICCV 2023.
    """
    function = "relative_pose_errors"
    known = _poses(function, "truth", truth)
    said = float_array(function, "predicted", predicted, (len(known), 4, 4), finite=False)
    failed: NDArray[np.bool_] = ~np.asarray(np.isfinite(said).all(axis=(1, 2)))
    said = np.where(failed[:, None, None], np.eye(4), said)
    first, second = np.triu_indices(len(known), 1)
    ours = np.linalg.inv(said[first]) @ said[second]
    theirs = np.linalg.inv(known[first]) @ known[second]
    rotation = _rotation_angle(ours[:, :3, :3], theirs[:, :3, :3])
    direction = _angle(ours[:, :3, 3], theirs[:, :3, 3])
    direction = np.minimum(direction, 180 - direction)
    direction[np.linalg.norm(theirs[:, :3, 3], axis=1) < 1e-9] = 0.0
    errors = np.stack([rotation, direction], axis=1)
    errors[failed[first] | failed[second]] = 180.0
    return errors


def auc_by_histogram(errors: ArrayLike, threshold: float) -> float:
    """AUC of the accuracy up to a threshold, from a cumulative histogram of one-degree bins.

    The mean over whole degrees d = 1 ... threshold of the share of pairs whose larger error is
    below d. In [0, 1]; a pair off by nothing counts in full. This is the convention of
    PoseDiffusion, VGGT, Depth Anything 3 and MapAnything; :func:`auc_by_trapezoid` differs.

    Args:
        errors: ``[n, 2]`` degrees, of :func:`relative_pose_errors`.
        threshold: whole degrees.
    """
    worst = _worst("auc_by_histogram", errors)
    if threshold != int(threshold) or threshold < 1:
        raise ValueError(f"auc_by_histogram: threshold must be whole degrees, got {threshold}")
    counts, _ = np.histogram(worst, bins=np.arange(int(threshold) + 1))
    counts[-1] -= (worst == threshold).sum()  # numpy closes its last bin
    return float(np.cumsum(counts).mean() / len(worst))


def auc_by_trapezoid(errors: ArrayLike, threshold: float) -> float:
    """AUC of the recall curve over sorted errors, by the trapezoid rule, over the threshold.

    The convention of SuperGlue and of image matching since.

    Args:
        errors: ``[n, 2]`` degrees, of :func:`relative_pose_errors`.
        threshold: degrees.
    """
    worst = np.sort(_worst("auc_by_trapezoid", errors))
    (threshold,) = thresholds_of("auc_by_trapezoid", [threshold])
    recall = np.arange(len(worst) + 1) / len(worst)
    places = np.concatenate([[0.0], worst])
    last = int(np.searchsorted(places, threshold))
    x = np.append(places[:last], threshold)
    y = np.append(recall[:last], recall[last - 1])
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / threshold)


@dataclass(frozen=True)
class TrajectoryErrors:
    """Root mean squares, in metres and degrees; ``alignment`` names what was undone first."""

    ate: float
    rpe_translation: float
    rpe_rotation: float
    alignment: str
    scale: float


def trajectory_errors(
    predicted: ArrayLike, truth: ArrayLike, *, alignment: str = "rigid", step: int = 1
) -> TrajectoryErrors:
    """Absolute trajectory error and relative pose error of a sequence.

    ATE is the root mean square distance of camera positions after one alignment of all of them;
    RPE compares the motion over ``step`` frames, ``(Q_i^-1 Q_j)^-1 (P_i^-1 P_j)``, by the length
    and angle of what is left. The scale of a similarity is applied to both.

    Args:
        predicted: ``[V, 4, 4]`` camera to world, finite.
        truth: ``[V, 4, 4]``.
        alignment: ``"none"``, ``"rigid"`` or ``"similarity"`` (also scale), fitted to positions.
        step: frames.

    Raises:
        ValueError: shapes differ, a pose is missing, too few views, or an unknown alignment.

    Source: Sturm et al., "A benchmark for the evaluation of RGB-D SLAM systems", IROS 2012;
    alignment by Umeyama, PAMI 1991.
    """
    function = "trajectory_errors"
    known = _poses(function, "truth", truth)
    said = float_array(function, "predicted", predicted, (len(known), 4, 4))
    if alignment not in ALIGNMENTS:
        raise ValueError(f"{function}: alignment must be one of {ALIGNMENTS}, got {alignment!r}")
    if not 1 <= step < len(known):
        raise ValueError(f"{function}: step must be 1 to {len(known) - 1}, got {step}")
    scale, rotation, shift = 1.0, np.eye(3), np.zeros(3)
    if alignment != "none":
        scale, rotation, shift = fit_similarity(
            said[:, :3, 3], known[:, :3, 3], with_scale=alignment == "similarity"
        )
    position = scale * said[:, :3, 3] @ rotation.T + shift
    ate = float(np.sqrt(((position - known[:, :3, 3]) ** 2).sum(1).mean()))
    scaled = said.copy()
    scaled[:, :3, 3] *= scale
    ours = np.linalg.inv(scaled[:-step]) @ scaled[step:]
    theirs = np.linalg.inv(known[:-step]) @ known[step:]
    left = np.linalg.inv(theirs) @ ours
    angle = _rotation_angle(ours[:, :3, :3], theirs[:, :3, :3])
    return TrajectoryErrors(
        ate,
        float(np.sqrt((left[:, :3, 3] ** 2).sum(1).mean())),
        float(np.sqrt((angle**2).mean())),
        alignment,
        scale,
    )


def fit_similarity(
    source: ArrayLike, target: ArrayLike, *, with_scale: bool = True
) -> tuple[float, Array, Array]:
    """Return scale, rotation and shift with the least sum of ``|s R x + t - y|^2``.

    Args:
        source: ``[n, 3]`` metres, x; target: ``[n, 3]``, y.
        with_scale: fit s; else it is 1.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", PAMI 1991.
    """
    x = float_array("fit_similarity", "source", source, ("n", 3))
    y = float_array("fit_similarity", "target", target, (len(x), 3))
    if not len(x):
        raise ValueError("fit_similarity: expected at least one point, got none")
    from_mean, to_mean = x - x.mean(0), y - y.mean(0)
    u, values, vt = np.linalg.svd(to_mean.T @ from_mean / len(x))
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u * mirror @ vt
    variance = float((from_mean**2).sum() / len(x))
    scale = float((values * mirror).sum() / variance) if with_scale and variance > 0 else 1.0
    return scale, rotation, y.mean(0) - scale * rotation @ x.mean(0)


def _poses(function: str, name: str, value: ArrayLike) -> Array:
    poses = float_array(function, name, value, ("V", 4, 4))
    if len(poses) < 2:
        raise ValueError(f"{function}: expected at least two views, got {len(poses)}")
    return poses


def _worst(function: str, errors: ArrayLike) -> Array:
    table = float_array(function, "errors", errors, ("n", 2))
    if not len(table):
        raise ValueError(f"{function}: expected at least one pair, got none")
    worst: Array = table.max(1)
    return worst


def _rotation_angle(first: Array, second: Array) -> Array:
    """Angle ``[n]`` in degrees; accurate near 0 and near 180."""
    chord = np.linalg.norm(first - second, axis=(1, 2)) / (2 * np.sqrt(2))
    return np.degrees(2 * np.arcsin(np.clip(chord, 0.0, 1.0)))


def _angle(first: Array, second: Array) -> Array:
    sine = np.linalg.norm(np.cross(first, second), axis=1)
    return np.degrees(np.arctan2(sine, (first * second).sum(1)))
