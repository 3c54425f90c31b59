"""Fusion of a room whose surface is known, and pictures of what was fused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from g2vlm_fast.data import Scene
from g2vlm_fast.export.fusion import FusedVolume, fuse
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import MeshRaycaster, depth_agreement
from g2vlm_fast.export.voxel_size import choose_voxel_size, voxel_size_range


@pytest.fixture(scope="module")
def volume(clean_room: Scene) -> FusedVolume:
    assert clean_room.depth is not None
    return fuse(clean_room.images, clean_room.depth, clean_room.intrinsics, clean_room.poses, 0.04)


def _box(low: float, high: float, flip: bool = False) -> ColoredMesh:
    """A cube, its faces outwards (or inwards)."""
    ends = (low, high)
    corners = np.array([[x, y, z] for x in ends for y in ends for z in ends], dtype=np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], dtype=np.int32)
    faces = faces[:, ::-1] if flip else faces
    center = (low + high) / 2
    normals = (corners - center) / np.linalg.norm(corners - center, axis=1, keepdims=True)
    return ColoredMesh(corners, faces.copy(), normals, np.full_like(corners, 0.5))


def test_fused_mesh_explains_the_depth_it_was_fused_from(
    volume: FusedVolume, clean_room: Scene
) -> None:
    assert clean_room.depth is not None
    agreement = depth_agreement(
        volume.mesh(1.0), clean_room.depth, clean_room.intrinsics, clean_room.poses
    )
    assert agreement.median_relative < 0.002  # half a pixel of shift would triple it
    assert agreement.absolute_relative < 0.02
    assert agreement.coverage > 0.95
    assert agreement.pixels == int((clean_room.depth > 0).sum())


def test_normals_point_into_free_space(volume: FusedVolume, clean_room: Scene) -> None:
    mesh = volume.mesh(1.0)
    assert clean_room.truth is not None
    middle = np.array([0, 0, 1.2], dtype=np.float32)
    size = clean_room.truth.room_size.numpy()
    walls = (abs(mesh.vertices[:, 0]) > size[0] / 2 - 0.05) & (mesh.vertices[:, 2] > 1.8)
    assert walls.sum() > 50
    towards = ((middle - mesh.vertices[walls]) * mesh.normals[walls]).sum(axis=1)
    assert (towards > 0).mean() > 0.98


def test_voxels_hold_truncated_distances_and_can_be_overwritten(clean_room: Scene) -> None:
    assert clean_room.depth is not None
    volume = fuse(
        clean_room.images, clean_room.depth, clean_room.intrinsics, clean_room.poses, 0.08
    )
    voxels = volume.voxels()
    assert float(voxels.distance.abs().max()) <= volume.truncation + 1e-6
    assert float(voxels.weight.max()) >= 3
    assert clean_room.truth is not None
    measured = voxels.weight >= 3
    below = measured & (voxels.position[:, 2] < -0.05)
    above = measured & ((voxels.position[:, 2] - 0.1).abs() < 0.03)
    assert float(voxels.distance[below].median()) < 0 < float(voxels.distance[above].median())
    everything = torch.arange(len(voxels.weight))
    volume.set_voxels(
        everything, torch.full((len(everything),), 0.1), 5.0, torch.zeros(len(everything), 3)
    )
    assert volume.mesh().is_empty


def test_empty_depth_leaves_nothing_to_mesh() -> None:
    volume = FusedVolume(0.05)
    volume.integrate(
        torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8), torch.eye(3), torch.eye(4)
    )
    with pytest.raises(ValueError, match="nothing was fused"):
        volume.mesh()
    with pytest.raises(ValueError, match="nothing was fused"):
        volume.surface_points()


def test_volume_without_a_surface_has_no_points(clean_room: Scene) -> None:
    assert clean_room.depth is not None
    geometry = (clean_room.depth, clean_room.intrinsics, clean_room.poses)
    assert len(fuse(clean_room.images, *geometry, 50.0).surface_points().position) == 0


def test_voxel_size_follows_depth_noise_and_memory(clean_room: Scene) -> None:
    assert clean_room.depth is not None
    geometry = (clean_room.depth, clean_room.intrinsics, clean_room.poses)
    size = choose_voxel_size(*geometry)
    assert 0.01 <= size <= 0.03
    tenth = choose_voxel_size(geometry[0] / 10, *geometry[1:])
    assert tenth <= size / 5
    noisy = choose_voxel_size(*geometry, depth_sigma=torch.full_like(clean_room.depth, 0.02))
    assert noisy == pytest.approx(0.04)
    assert choose_voxel_size(*geometry, max_bytes=20 << 20) > size
    with pytest.raises(ValueError, match="MiB"):
        choose_voxel_size(*geometry, max_bytes=1 << 10)


def test_range_of_voxel_sizes_holds_the_chosen_one_and_follows_scale_and_memory(
    clean_room: Scene,
) -> None:
    assert clean_room.depth is not None
    depth, intrinsics, poses = clean_room.depth, clean_room.intrinsics, clean_room.poses
    smallest, largest = voxel_size_range(depth, intrinsics, poses)
    assert 3 * smallest < choose_voxel_size(depth, intrinsics, poses) < largest / 10
    quarter = voxel_size_range(depth, intrinsics, poses, max_bytes=2 << 30)
    assert quarter == pytest.approx((2 * smallest, largest))
    moved = poses.clone()
    moved[:, :3, 3] *= 2
    doubled = voxel_size_range(2 * depth, intrinsics, moved)
    assert doubled == pytest.approx((2 * smallest, 2 * largest), rel=0.1)
    with pytest.raises(ValueError, match="no pixel has depth"):
        voxel_size_range(torch.zeros_like(depth), intrinsics, poses)


def test_range_of_voxel_sizes_is_about_the_memory_that_fusion_takes(clean_room: Scene) -> None:
    assert clean_room.depth is not None
    geometry = (clean_room.depth, clean_room.intrinsics, clean_room.poses)
    volume = fuse(clean_room.images, *geometry, 0.02)
    taken = volume.voxels().weight.numel() * 20
    smallest = voxel_size_range(*geometry, max_bytes=taken).smallest
    assert 0.02 <= smallest <= 0.045


def test_rendered_depth_is_exact() -> None:
    raycaster = MeshRaycaster(_box(-1, 1))
    pose = torch.eye(4)
    pose[2, 3] = -4
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    depth = raycaster.depth(intrinsics, pose, (48, 64))
    assert float(depth[24, 32]) == pytest.approx(3.0, abs=1e-5)
    column = torch.arange(64) - 31.5
    hit = depth[24] > 0
    assert torch.equal(hit, column.abs() / 40 * 3 <= 1)
    assert torch.allclose(depth[24][hit], torch.tensor(3.0), atol=1e-5)


def test_doll_house_is_looked_into_through_its_walls() -> None:
    room = MeshRaycaster(_box(-1, 1, flip=True))
    pose = torch.eye(4)
    pose[2, 3] = -4
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    near = room.look(intrinsics, pose, (48, 64))
    far = room.look(intrinsics, pose, (48, 64), through_backs=True)
    assert float(near.depth[24, 32]) == pytest.approx(3.0, abs=1e-3)
    assert float(far.depth[24, 32]) == pytest.approx(5.0, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shelf_bin", "icl_livingroom"])
def test_real_scan_is_reconstructed_within_two_percent(name: str, shared_data: Path) -> None:
    from g2vlm_fast.data.readers import read_scan

    scene = read_scan(shared_data / "real_scans" / name)
    assert scene.depth is not None
    geometry = (scene.depth, scene.intrinsics, scene.poses)
    mesh = fuse(scene.images, *geometry, choose_voxel_size(*geometry)).mesh()
    agreement = depth_agreement(mesh, *geometry)
    assert agreement.absolute_relative <= 0.02
    assert agreement.coverage > 0.8


def test_mesh_in_order_does_not_depend_on_how_its_triangles_came(volume: FusedVolume) -> None:
    mesh = volume.mesh(1.0)
    vertices, faces = mesh.vertices, mesh.faces
    again = np.concatenate([vertices, vertices[:500]])  # places that come twice, in other colours
    colors = np.concatenate([mesh.colors, 1 - mesh.colors[:500]])
    normals = np.concatenate([mesh.normals, -mesh.normals[:500]])
    draws = np.random.default_rng(0)
    told = []
    for _ in range(3):
        order = draws.permutation(len(again))
        place = np.argsort(order).astype(np.int32)
        shuffled = np.roll(place[faces[draws.permutation(len(faces))]], draws.integers(3), axis=1)
        told.append(ColoredMesh(again[order], shuffled, normals[order], colors[order]).in_order())
    for each in told:
        for name in ("vertices", "faces", "normals", "colors"):
            assert np.array_equal(getattr(each, name), getattr(told[0], name)), name
    corners = [np.sort(m.vertices[m.faces].reshape(-1, 9), axis=0) for m in (told[0], mesh)]
    assert np.allclose(corners[0].mean(), corners[1].mean())
    assert len(told[0].faces) == len(faces)


def test_points_in_order_do_not_depend_on_how_they_came(volume: FusedVolume) -> None:
    points = volume.surface_points()
    order = np.random.default_rng(0).permutation(len(points.position))
    first, second = points.in_order(), points.subset(order).in_order()
    for name in ("position", "normal", "color"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
