"""The dense cloud: everything that was measured, nothing that most views look through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from g2vlm_fast.data import Scene
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.export.cloud import dense_cloud, looked_through
from g2vlm_fast.export.fusion import FusedVolume, SurfacePoints, fuse
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.geometry.cameras import unproject

pytest.importorskip("scipy", reason="clouds are compared by a tree of scipy's")

_VOXEL = 0.04


def _cloud_of(scene: Scene, depth: torch.Tensor) -> tuple[FusedVolume, ColoredMesh, SurfacePoints]:
    geometry = (depth, scene.intrinsics, scene.poses)
    volume = fuse(scene.images, *geometry, _VOXEL)
    mesh = volume.mesh()
    return volume, mesh, dense_cloud(volume, mesh, *geometry)


def _distance(points: NDArray[np.float32], cloud: NDArray[np.float32]) -> NDArray[np.float64]:
    from scipy.spatial import KDTree

    found: NDArray[np.float64] = KDTree(cloud).query(points)[0]
    return found


def test_measured_pixels_have_points_where_the_mesh_has_none(clean_room: Scene) -> None:
    assert clean_room.depth is not None
    volume, mesh, cloud = _cloud_of(clean_room, clean_room.depth)
    pixels = unproject(clean_room.depth, clean_room.intrinsics, clean_room.poses)
    measured = pixels[clean_room.depth > 0][::7].numpy()
    assert (_distance(measured, mesh.vertices) < 2 * _VOXEL).mean() < 0.97
    assert (_distance(measured, cloud.position) < 2 * _VOXEL).mean() > 0.99
    assert len(cloud.position) < 2 * len(volume.surface_points().position)
    assert np.array_equal(cloud.position[: len(mesh.vertices)], mesh.vertices)


def test_points_lie_on_the_true_surface_and_face_out_of_it(clean_room: Scene) -> None:
    from scipy.spatial import KDTree

    assert clean_room.depth is not None
    assert clean_room.truth is not None
    _, mesh, cloud = _cloud_of(clean_room, clean_room.depth)
    surface, normals = sample_surface(
        clean_room.truth.primitives, 200_000, torch.Generator().manual_seed(0)
    )[:2]
    added = slice(len(mesh.vertices), None)
    distance, nearest = KDTree(surface.numpy()).query(cloud.position[added])
    assert np.quantile(distance, 0.95) < _VOXEL
    turned = (normals.numpy()[nearest] * cloud.normal[added]).sum(axis=1)
    assert np.median(turned) > 0.97
    assert (turned < 0).mean() < 0.02
    assert np.allclose(np.linalg.norm(cloud.normal, axis=1), 1, atol=1e-3)
    assert cloud.color.min() >= 0
    assert cloud.color.max() <= 1


def test_what_most_views_look_through_is_left_out(clean_room: Scene) -> None:
    """One view claims a wall nearer than it is; the others see what is behind it."""
    assert clean_room.depth is not None
    false = clean_room.depth.clone()
    false[0] *= 0.6
    volume, _, cloud = _cloud_of(clean_room, false)
    pixels = unproject(false[:1], clean_room.intrinsics[:1], clean_room.poses[:1])
    claimed = pixels[false[:1] > 0].numpy()
    before = (_distance(claimed, volume.surface_points().position) < 2 * _VOXEL).mean()
    assert before > 0.35
    assert (_distance(claimed, cloud.position) < 2 * _VOXEL).mean() < before / 2


def test_views_vote_on_a_point() -> None:
    depth = torch.full((3, 5, 5), 2.0)
    depth[2] = 1.0
    intrinsics = torch.tensor([[4.0, 0, 2], [0, 4, 2], [0, 0, 1]]).repeat(3, 1, 1)
    poses = torch.eye(4).repeat(3, 1, 1)
    points = torch.tensor([[0.0, 0, 1], [0, 0, 2], [0, 0, 3], [9, 0, 1], [0, 0, -1], [0, 0, 1.98]])

    def votes(count: int) -> list[bool]:
        through = looked_through(
            points, depth[:count], intrinsics[:count], poses[:count], tolerance=0.01
        )
        return [bool(answer) for answer in through]

    assert votes(3) == [True, False, False, False, False, False]
    depth[1] = 1.0
    assert votes(3) == [False] * 6
    depth[:] = 0
    assert votes(3) == [False] * 6
