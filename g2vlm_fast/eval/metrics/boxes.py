"""Intersection over union of oriented boxes that stand upright, and matching by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    def __getitem__(self, index: NDArray[np.int64] | list[int] | slice) -> Boxes:
        return Boxes(self.center[index], self.size[index], self.rotation[index])

    @property
    def volume(self) -> Array:
        return self.size.prod(-1)

    @property
    def footprint(self) -> Array:
        """Return the corners ``[K, 4, 2]`` seen from above, counter-clockwise."""
        signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
        local = signs * self.size[:, None, :2]
        return self.center[:, None, :2] + np.einsum("kij,knj->kni", self.rotation[:, :2, :2], local)


def box_iou(first: Boxes, second: Boxes) -> Array:
    """Return the exact volumetric intersection over union ``[K, J]`` of upright boxes.

    The overlap of two footprints is the convex polygon spanned by the corners of each that lie
    inside the other and by the crossings of their edges. Boxes without volume have IoU 0.
    """
    rows, columns = len(first), len(second)
    if rows == 0 or columns == 0:
        return np.zeros((rows, columns))
    left = np.repeat(first.footprint, columns, axis=0)
    right = np.tile(second.footprint, (rows, 1, 1))
    area = _convex_overlap(left, right).reshape(rows, columns)
    top = np.minimum(*(_z(boxes, +1) for boxes in _grid(first, second)))
    bottom = np.maximum(*(_z(boxes, -1) for boxes in _grid(first, second)))
    overlap = area * np.clip(top - bottom, 0.0, None)
    union = first.volume[:, None] + second.volume[None, :] - overlap
    return np.where(union > 0, np.clip(overlap / np.where(union > 0, union, 1), 0, 1), 0.0)


def match_boxes(iou: Array, *, threshold: float = 0.25) -> list[tuple[int, int]]:
    """Pair rows with columns one to one, most pairs' IoU first in sum, each at least ``threshold``.

    Source: the assignment of Kuhn, "The Hungarian method", 1955.
    """
    from scipy.optimize import linear_sum_assignment

    gain = np.where(iou >= threshold, iou, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gain[i, j] > 0]


def _grid(first: Boxes, second: Boxes) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return (
        (first.center[:, None, 2], first.size[:, None, 2]),
        (second.center[None, :, 2], second.size[None, :, 2]),
    )


def _z(boxes: tuple[Array, Array], side: int) -> Array:
    center, height = boxes
    return center + side * height / 2


def _convex_overlap(left: Array, right: Array) -> Array:
    """Return the overlap ``[P]`` of counter-clockwise convex quadrilaterals ``[P, 4, 2]``."""
    origin = (left.mean(1, keepdims=True) + right.mean(1, keepdims=True)) / 2
    left, right = left - origin, right - origin  # areas of small far boxes keep their digits
    crossings, crosses = _edge_crossings(left, right)
    points = np.concatenate([left, right, crossings], axis=1)
    valid = np.concatenate([_inside(left, right), _inside(right, left), crosses], axis=1)
    count = valid.sum(1)
    middle = np.where(valid[..., None], points, 0).sum(1) / np.maximum(count, 1)[:, None]
    offset = points - middle[:, None]
    angle = np.where(valid, np.arctan2(offset[..., 1], offset[..., 0]), np.inf)
    order = np.argsort(angle, axis=1)
    ring = np.take_along_axis(offset, order[..., None], axis=1)
    inside = np.arange(points.shape[1]) < count[:, None]
    ring = np.where(inside[..., None], ring, ring[:, :1])  # repeats close the ring, area 0
    following = np.roll(ring, -1, axis=1)
    doubled = (ring[..., 0] * following[..., 1] - ring[..., 1] * following[..., 0]).sum(1)
    return np.where(count >= 3, np.clip(doubled / 2, 0, None), 0.0)


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    edge = np.roll(polygon, -1, axis=1) - polygon
    offset = points[:, :, None] - polygon[:, None]
    scale = np.abs(edge).max(axis=(1, 2), initial=1e-12)[:, None, None]
    return (_cross(edge[:, None], offset) >= -1e-12 * scale**2).all(-1)


def _edge_crossings(left: Array, right: Array) -> tuple[Array, NDArray[np.bool_]]:
    pairs = len(left)
    start, edge = left[:, :, None], (np.roll(left, -1, axis=1) - left)[:, :, None]
    other_start, other = right[:, None], (np.roll(right, -1, axis=1) - right)[:, None]
    between = other_start - start
    determinant = _cross(edge, other)
    parallel = np.abs(determinant) < 1e-14
    safe = np.where(parallel, 1.0, determinant)
    along, along_other = _cross(between, other) / safe, _cross(between, edge) / safe
    crosses = ~parallel & (along >= 0) & (along <= 1) & (along_other >= 0) & (along_other <= 1)
    points = start + along[..., None] * edge
    return points.reshape(pairs, 16, 2), crosses.reshape(pairs, 16)
