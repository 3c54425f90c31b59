"""Sets of upright oriented boxes, their overlap, and one-to-one matching by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.geometry.boxes import upright_box_iou

Array = NDArray[np.float64]
UPRIGHT_TOLERANCE = 1e-3  # of the tilt of a box's third axis against the world's z


@dataclass(frozen=True)
class Boxes:
    """K oriented boxes.

    Attributes:
        center: ``[K, 3]`` metres, world.
        size: ``[K, 3]`` metres, full extents along the box's own axes, not negative.
        rotation: ``[K, 3, 3]``, box axes to world, a rotation about the vertical (z) axis.

    Raises:
        ValueError: a shape or a value is wrong, or a box is tilted.
    """

    center: Array
    size: Array
    rotation: Array

    def __post_init__(self) -> None:
        count = len(self.center)
        for name, shape in (("center", (3,)), ("size", (3,)), ("rotation", (3, 3))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, value)
            if value.shape != (count, *shape):
                raise ValueError(
                    f"Boxes: {name} must have shape {[count, *shape]}, got {list(value.shape)}"
                )
            if not np.isfinite(value).all():
                raise ValueError(f"Boxes: {name} must be finite")
        if (self.size < 0).any():
            raise ValueError(f"Boxes: size must not be negative, got {self.size.min()}")
        tilt = np.abs(self.rotation[:, :2, 2]).max(initial=0.0)
        if tilt > UPRIGHT_TOLERANCE:
            raise ValueError(
                f"Boxes: rotation must keep the third axis vertical, but it tilts by {tilt:.3g}; "
                "fit upright boxes first"
            )

    def __len__(self) -> int:
        return len(self.center)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return center, size and rotation as float64 tensors."""
        center, size, rotation = map(torch.tensor, (self.center, self.size, self.rotation))
        return center, size, rotation

    def __getitem__(self, index: NDArray[np.int64] | list[int] | slice) -> Boxes:
        return Boxes(self.center[index], self.size[index], self.rotation[index])


def box_iou(first: Boxes, second: Boxes) -> Array:
    """Return the exact volumetric intersection over union ``[K, J]`` of upright boxes."""
    iou: Array = upright_box_iou(first.tensors(), second.tensors()).numpy()
    return iou


def match_boxes(iou: Array, *, threshold: float = 0.25) -> list[tuple[int, int]]:
    """Pair rows with columns one to one so that the sum of IoU over pairs is greatest.

    Pairs below ``threshold`` do not count and are not returned.

    Source: the assignment of Kuhn, "The Hungarian method", 1955.
    """
    from scipy.optimize import linear_sum_assignment

    gain = np.where(iou >= threshold, iou, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gain[i, j] > 0]
