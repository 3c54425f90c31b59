"""Instances of ScanNet: segments of a mesh, grouped into objects, to boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.annotations.records import ScanAnnotations, ScanObject
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.mesh import read_mesh
from g2vlm_fast.data.readers.safe_files import Fields


def read_instances(folder: Path, mesh: Path | None, align: NDArray[np.float64]) -> ScanAnnotations:
    """The objects of a scan, each with the box around its vertices along the aligned axes.

    Args:
        folder: of the scan.
        mesh: the mesh that was segmented; None: there is none.
        align: ``[4, 4]``, world of the mesh to the world of the boxes.

    Raises:
        ScanError: broken JSON, or segments and vertices that do not belong together.
    """
    groups = next(iter(sorted(folder.glob("*.aggregation.json"))), None)
    segments = next(iter(sorted(folder.glob("*.segs.json"))), None)
    if groups is None or segments is None or mesh is None:
        return ScanAnnotations()
    vertices = read_mesh(mesh, drop_flat_faces=True).vertices.astype(np.float64)
    vertices = vertices @ align[:3, :3].T + align[:3, 3]
    of_vertex = _segment_of_vertex(segments, len(vertices))
    objects = []
    for group in Fields.read(groups).objects("segGroups"):
        wanted = group.list("segments")
        if not all(isinstance(segment, int) for segment in wanted):
            raise ScanError(groups, f"{group.where} names segments that are no integers", "Fix it")
        mine = np.flatnonzero(np.isin(of_vertex, _integers(groups, wanted)))
        if len(mine) == 0:
            raise ScanError(
                groups,
                f"{group.where} ({group.text('label')}) names segments without any vertex",
                f"Are {segments.name} and {mesh.name} of the same scan?",
            )
        objects.append(_object(group, vertices[mine], mine))
    return ScanAnnotations(objects=tuple(objects))


def _object(group: Fields, points: NDArray[np.float64], rows: NDArray[np.int64]) -> ScanObject:
    low, high = points.min(axis=0), points.max(axis=0)
    # "objectId" is what the language data sets on ScanNet call objects by
    name = "objectId" if "objectId" in group else "id"
    return ScanObject(
        id=group.integer(name),
        class_name=group.text("label"),
        center=torch.from_numpy((low + high) / 2).float(),
        size=torch.from_numpy(high - low).float(),
        rotation=torch.eye(3),
        vertices=torch.from_numpy(rows),
    )


def _segment_of_vertex(path: Path, count: int) -> NDArray[np.int64]:
    indices = _integers(path, Fields.read(path).list("segIndices"))
    if len(indices) != count:
        raise ScanError(
            path, f"has segments of {len(indices)} vertices, the mesh has {count}",
            "Take both files from the same scan",
        )  # fmt: skip
    return indices


def _integers(path: Path, values: list[Any]) -> NDArray[np.int64]:
    try:
        return np.array(values, dtype=np.int64).reshape(len(values))
    except (ValueError, TypeError, OverflowError) as error:
        raise ScanError(path, f"holds segments that are no integers ({error})", "Fix it") from error
