"""Surfaces where no view looked, by rules: smoothness, and furniture that stands on the floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import PredictionFailed, Task
from g2vlm_fast.eval.systems.columns import Columns, Floats, check_upright, squares
from g2vlm_fast.eval.systems.fusion import fuse_given, fused_mesh, given_depth, mesh_prediction
from g2vlm_fast.export.completion import join
from g2vlm_fast.export.fusion import SurfacePoints
from g2vlm_fast.export.mesh import ColoredMesh, from_open3d

CELL = 0.05
"""Metres, side of the columns that furniture is extruded in."""

_LEAST_STEP = 0.05  # metres between the tops of neighbours from which a side is drawn


@dataclass(frozen=True)
class PoissonReconstruction:
    """The smooth closed surface that fits fused points best, cut off at the box around them.

    Source: Kazhdan and Hoppe, "Screened Poisson surface reconstruction", TOG 32(3), 2013
    (Open3D's).
    """

    octree_depth: int = 7
    name: ClassVar[str] = "poisson"
    tasks: ClassVar[frozenset[Task]] = frozenset(("surface",))
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1 {self.octree_depth}"

    def predict(self, case: Case) -> ScenePrediction:
        """Fuse, and fit the surface.

        Raises:
            PredictionFailed: no depth is given, or it fuses to no surface.
        """
        points = fuse_given(*given_depth(case)).surface_points()
        if not len(points.position):
            raise PredictionFailed("the given depth fuses to no surface")
        return mesh_prediction(self.name, case, poisson_surface(points, self.octree_depth))


def poisson_surface(points: SurfacePoints, octree_depth: int) -> ColoredMesh:
    """Fit a surface to points with normals; it ends at the box around them.

    The order of the points, in which fusion gives them anew in every run, changes nothing.
    """
    import open3d as o3d

    order = np.lexsort(points.position.T)
    cloud = o3d.geometry.PointCloud()
    for name, values in (
        ("points", points.position), ("normals", points.normal), ("colors", points.color),
    ):  # fmt: skip
        setattr(cloud, name, o3d.utility.Vector3dVector(values[order].astype(np.float64)))
    fitted: Any = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
        cloud, depth=octree_depth, n_threads=1
    )[0]
    mesh = from_open3d(o3d.t.geometry.TriangleMesh.from_legacy(fitted))
    low, high = points.position.min(0), points.position.max(0)
    inside = ((mesh.vertices >= low) & (mesh.vertices <= high)).all(1)
    return mesh.subset(inside[mesh.faces].all(1))


@dataclass(frozen=True)
class ExtrudeToFloor:
    """Whatever was seen from above goes straight down to the floor.

    The fused surface, and beside it the sides of the columns under its tops, and the floor in
    columns that nobody has looked into.
    """

    name: ClassVar[str] = "extrude-to-floor"
    tasks: ClassVar[frozenset[Task]] = frozenset(("surface",))
    looks_at_truth: ClassVar[bool] = False

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1"

    def predict(self, case: Case) -> ScenePrediction:
        """Fuse, and extrude.

        Raises:
            PredictionFailed: no depth is given, it fuses to no surface, or z does not point up.
        """
        scene, depth = given_depth(case)
        check_upright(scene)
        volume = fuse_given(scene, depth)
        columns = Columns.of(volume.surface_points(), CELL)
        return mesh_prediction(self.name, case, join(fused_mesh(volume), extruded(columns)))


def extruded(columns: Columns) -> ColoredMesh:
    """The sides of all columns down to those beside them, and the floor where nothing was seen."""
    x, y = columns.centers()
    unseen = np.argwhere(np.isnan(columns.top))
    half = columns.cell / 2
    floor = squares(
        np.column_stack([x[unseen[:, 0]], y[unseen[:, 1]], np.full(len(unseen), columns.floor)]),
        np.broadcast_to([half, 0.0, 0.0], (len(unseen), 3)),
        np.broadcast_to([0.0, half, 0.0], (len(unseen), 3)),
    )
    height = np.nan_to_num(columns.top, nan=0.0)
    mesh = floor
    for axis in (0, 1):
        mesh = join(mesh, _sides(columns, height, axis))
    return mesh


def _sides(columns: Columns, height: Floats, axis: int) -> ColoredMesh:
    """The upright rectangles between columns that are neighbours along an axis."""
    count = height.shape[axis]
    before, after = (np.take(height, range(start, start + count - 1), axis) for start in (0, 1))
    place = np.argwhere(abs(before - after) >= _LEAST_STEP)
    low = np.minimum(before, after)[tuple(place.T)]
    high = np.maximum(before, after)[tuple(place.T)]
    center = np.column_stack([*(np.array(columns.corner) + columns.cell * (place + 0.5)).T,
                              columns.floor + (low + high) / 2])  # fmt: skip
    center[:, axis] += columns.cell / 2
    along, across = np.zeros_like(center), np.zeros_like(center)
    across[:, 2] = (high - low) / 2
    turn = np.where((before > after)[tuple(place.T)], 1.0, -1.0) * (1 if axis == 0 else -1)
    along[:, 1 - axis] = turn * columns.cell / 2
    return squares(center, along, across)
