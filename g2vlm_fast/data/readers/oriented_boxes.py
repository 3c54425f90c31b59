"""Objects with oriented boxes, as ScanNet's successors annotate them.

``normalizedAxes`` holds the three axes one after the other: the rows of what it is reshaped to,
the columns of the rotation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.annotations.records import ScanObject
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.safe_files import Fields

_ORTHONORMAL = 1e-2


def object_with_box(entry: Fields, object_id: int, label: str, box: Fields) -> ScanObject:
    """An object from ``centroid``, ``axesLengths`` and ``normalizedAxes`` of its box.

    Raises:
        ScanError: numbers that are no box.
    """
    center, size = box.array("centroid", 3), box.array("axesLengths", 3)
    axes = box.array("normalizedAxes", 3, 3)
    check_box(entry, label, center, size, axes)
    return ScanObject(
        id=object_id,
        class_name=label,
        center=torch.from_numpy(center).float(),
        size=torch.from_numpy(size).float(),
        rotation=torch.from_numpy(_right_handed(axes.T)).float(),
    )


def check_box(
    entry: Fields,
    label: str,
    center: NDArray[np.float64],
    size: NDArray[np.float64],
    axes: NDArray[np.float64],
) -> None:
    """Refuse numbers that are no box; ``axes [3, 3]`` are its axes, as rows or as columns.

    Raises:
        ScanError: NaN, infinite or beyond 1e6 metres, negative sizes, or axes that are not
            orthonormal; names the object.
    """
    numbers = np.concatenate([center, size, axes.ravel()])
    if (
        not (abs(numbers) < 1e6).all()
        or (size < 0).any()
        or abs(axes @ axes.T - np.eye(3)).max() > _ORTHONORMAL
    ):
        raise ScanError(
            entry.path, f"the box of {entry.where} ({label}) is none", "Correct it, or remove it"
        )


def _right_handed(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """A box is the same with an axis turned round; only a rotation has determinant 1."""
    exact = rotation.copy()
    if np.linalg.det(exact) < 0:
        exact[:, 2] *= -1
    left, _, right = np.linalg.svd(exact)
    return left @ right


def segment_groups(path: Fields) -> Iterator[ScanObject]:
    """The objects of a ``semseg`` or ``segments_anno`` file; those without a box have no place."""
    for group in path.objects("segGroups"):
        object_id = group.integer("objectId" if "objectId" in group else "id")
        label = group.text("label")
        if "obb" not in group:
            yield ScanObject(id=object_id, class_name=label)
            continue
        box = Fields.of(group.path, group.values["obb"], f"obb of {group.where}")
        yield object_with_box(group, object_id, label, box)
