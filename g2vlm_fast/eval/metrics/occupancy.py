"""Occupancy of voxels, of which some are unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FREE, OCCUPIED, UNKNOWN = 0, 1, -1


@dataclass(frozen=True)
class OccupancyCounts:
    """True positives, false positives and false negatives by class, which add over scenes.

    Attributes:
        true_positive, false_positive, false_negative: ``[C]`` voxels.
    """

    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]
    false_negative: NDArray[np.int64]

    def __add__(self, other: OccupancyCounts) -> OccupancyCounts:
        return OccupancyCounts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )

    @property
    def iou(self) -> NDArray[np.float64]:
        """``TP / (TP + FP + FN)`` of each class; NaN where a class is neither true nor said."""
        union = self.true_positive + self.false_positive + self.false_negative
        return np.where(union > 0, self.true_positive / np.maximum(union, 1), np.nan)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that are true or said anywhere; NaN for none."""
        iou = self.iou
        return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")


def occupancy_counts(predicted: ArrayLike, truth: ArrayLike) -> OccupancyCounts:
    """Count the occupied voxels of one scene; ``.iou[0]`` is the geometric completion score.

    The unknown rule: voxels whose truth is unknown (neither observed nor known to be occluded)
    are never scored, whatever is said of them. The size of the voxels and the mask belong beside
    the number.

    Args:
        predicted: bool, any shape.
        truth: the same shape: 1 occupied, 0 free, -1 unknown.

    Raises:
        ValueError: shapes or values differ from these.

    Source: Song et al., "Semantic scene completion from a single depth image", CVPR 2017.
    """
    said = np.asarray(predicted)
    if said.dtype != np.bool_:
        raise ValueError(
            f"occupancy_counts: predicted must be bool, got {said.dtype}; apply a threshold first"
        )
    known = _labels("occupancy_counts", "truth", truth, OCCUPIED)
    return _counts("occupancy_counts", said.astype(np.int64), known, 2)


def semantic_occupancy_counts(
    predicted: ArrayLike, truth: ArrayLike, num_classes: int
) -> OccupancyCounts:
    """Count the voxels of each class but the empty one, for the mean IoU of completion.

    Args:
        predicted: class of each voxel, 0 for empty, 1 to ``num_classes``.
        truth: the same, and -1 for unknown, which is never scored.
        num_classes: C, without the empty class.

    Returns:
        Counts ``[C]``; row c is class c + 1.
    """
    function = "semantic_occupancy_counts"
    said = _labels(function, "predicted", predicted, num_classes)
    if (said < 0).any():
        raise ValueError(f"{function}: predicted must name a class of every voxel, got -1")
    known = _labels(function, "truth", truth, num_classes)
    return _counts(function, said, known, num_classes + 1)


def _labels(function: str, name: str, value: ArrayLike, highest: int) -> NDArray[np.int64]:
    labels = np.asarray(value)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"{function}: {name} must be integers, got {labels.dtype}")
    if labels.size and not -1 <= labels.min() <= labels.max() <= highest:
        raise ValueError(
            f"{function}: {name} must lie in -1 to {highest}, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _counts(
    function: str, said: NDArray[np.int64], known: NDArray[np.int64], kinds: int
) -> OccupancyCounts:
    if said.shape != known.shape:
        raise ValueError(
            f"{function}: predicted and truth must have one shape, got {list(said.shape)} and "
            f"{list(known.shape)}"
        )
    scored = known >= 0
    table = np.bincount(kinds * known[scored] + said[scored], minlength=kinds * kinds)
    table = table.reshape(kinds, kinds)
    hits = np.diag(table)
    return OccupancyCounts(hits[1:], (table.sum(0) - hits)[1:], (table.sum(1) - hits)[1:])
