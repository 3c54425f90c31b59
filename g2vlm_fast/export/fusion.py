"""Fusion of posed depth into a truncated signed distance field (TSDF).

Source: Curless and Levoy, *A Volumetric Method for Building Complex Models from Range Images*,
SIGGRAPH 1996; the sparse blocks are Open3D's tensor ``VoxelBlockGrid`` (Dong et al., *ASH: A
Modern Framework for Parallel Spatial Hashing in 3D Perception*, PAMI 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.export.mesh import ColoredMesh, from_open3d, in_order
from g2vlm_fast.geometry.cameras import inverse_pose

BLOCK = 16
"""Voxels along each side of a block, the unit that memory is taken in."""

BLOCK_BYTES = BLOCK**3 * 4 * (1 + 1 + 3)
"""Distance, weight and colour of each voxel."""

_TRUNCATION_VOXELS = 3.0

MIN_WEIGHT = 3.0
"""Views that must have measured a voxel before a surface is drawn through it."""

_ANY_WEIGHT = 0.5
"""Below the weight of a single measurement."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface."""

    position: NDArray[np.float32]  # [N, 3] metres, world
    normal: NDArray[np.float32]  # [N, 3] unit, out of the surface
    color: NDArray[np.float32]  # [N, 3] in [0, 1]

    def subset(self, keep: NDArray[np.bool_]) -> SurfacePoints:
        """The points where ``keep [N]`` is true."""
        return SurfacePoints(self.position[keep], self.normal[keep], self.color[keep])

    def in_order(self) -> SurfacePoints:
        """The same points in an order that does not depend on how they came."""
        rows = in_order(self.position, self.normal, self.color)
        return SurfacePoints(self.position[rows], self.normal[rows], self.color[rows])


@dataclass(frozen=True)
class Voxels:
    """The voxels of a fused volume, as points."""

    position: Tensor  # [N, 3] float32 metres, world
    distance: Tensor  # [N] float32 metres, positive in free space, clipped at the truncation
    weight: Tensor  # [N] float32, number of measurements


class FusedVolume:
    """A TSDF with colours, in the world of the poses that it was fused from."""

    def __init__(self, voxel_size: float) -> None:
        """Make an empty volume.

        Args:
            voxel_size: metres.
        """
        import open3d as o3d

        self.voxel_size = voxel_size
        self.truncation = _TRUNCATION_VOXELS * voxel_size
        core = o3d.core
        self._grid: Any = o3d.t.geometry.VoxelBlockGrid(
            ("tsdf", "weight", "color"),
            (core.float32,) * 3,
            [core.SizeVector([1]), core.SizeVector([1]), core.SizeVector([3])],
            voxel_size,
            BLOCK,
            1024,
        )

    def integrate(self, image: Tensor, depth: Tensor, intrinsics: Tensor, pose: Tensor) -> None:
        """Fuse one view.

        Args:
            image: ``[3, H, W]`` uint8.
            depth: ``[H, W]`` float32 metres, 0 = missing.
            intrinsics: ``[3, 3]`` pixels.
            pose: ``[4, 4]`` camera to world.
        """
        import open3d as o3d
        from open3d.core import Tensor as ArrayTensor

        if not bool((depth > 0).any()):
            return
        color = image.permute(1, 2, 0).float().div(255).contiguous().numpy()
        depth_image = o3d.t.geometry.Image(ArrayTensor(depth[..., None].contiguous().numpy()))
        color_image = o3d.t.geometry.Image(ArrayTensor(color))
        shifted = intrinsics.double().clone()
        shifted[:2, 2] += 0.5  # Open3D puts the centre of the first pixel at 0.5, we at 0
        matrix = ArrayTensor(shifted.numpy())
        extrinsic = ArrayTensor(inverse_pose(pose.double()).contiguous().numpy())
        reach = (1.0, float(depth.max()) + 1.0, _TRUNCATION_VOXELS)
        blocks = self._grid.compute_unique_block_coordinates(depth_image, matrix, extrinsic, *reach)
        self._grid.integrate(blocks, depth_image, color_image, matrix, matrix, extrinsic, *reach)

    def mesh(self, min_weight: float = MIN_WEIGHT) -> ColoredMesh:
        """The zero level as a mesh, where at least ``min_weight`` measurements were fused."""
        if self._grid.hashmap().size() == 0:
            raise ValueError("FusedVolume.mesh: nothing was fused; is any depth above 0?")
        return from_open3d(self._grid.extract_triangle_mesh(weight_threshold=min_weight))

    def surface_points(self) -> SurfacePoints:
        """Every place where the fused distance changes its sign, however few views measured it.

        At most one point on each edge between two voxels, the mean of all measurements near it.
        """
        if self._grid.hashmap().size() == 0:
            raise ValueError("FusedVolume.surface_points: nothing was fused; is any depth above 0?")
        cloud = self._grid.extract_point_cloud(weight_threshold=_ANY_WEIGHT)
        if "normals" not in cloud.point:
            nothing = np.zeros((0, 3), dtype=np.float32)
            return SurfacePoints(nothing, nothing, nothing)
        normal = cloud.point.normals.numpy()
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        known = length[:, 0] > 0  # a distance that is level has no normal
        return SurfacePoints(
            cloud.point.positions.numpy()[known],
            (normal[known] / length[known]).astype(np.float32),
            cloud.point.colors.numpy()[known].clip(0, 1),
        )

    def voxels(self) -> Voxels:
        """Every voxel of every block in use."""
        coordinates, flat = self._grid.voxel_coordinates_and_flattened_indices()
        index = flat.numpy()
        tsdf = self._attribute("tsdf")[index, 0]
        weight = self._attribute("weight")[index, 0]
        return Voxels(
            torch.from_numpy(coordinates.numpy().astype(np.float32)),
            torch.from_numpy(tsdf * np.float32(self.truncation)),
            torch.from_numpy(weight.copy()),
        )

    def set_voxels(self, index: Tensor, distance: Tensor, weight: float, colors: Tensor) -> None:
        """Overwrite voxels, for example with what a model predicts where little was measured.

        Args:
            index: ``[n]`` int64 rows of :meth:`voxels`.
            distance: ``[n]`` metres, positive in free space.
            weight: measurements that each shall count as.
            colors: ``[n, 3]`` in [0, 1].
        """
        _, flat = self._grid.voxel_coordinates_and_flattened_indices()
        rows = flat.numpy()[index.numpy()]
        self._attribute("tsdf")[rows, 0] = (distance / self.truncation).clamp(-1, 1).numpy()
        self._attribute("weight")[rows, 0] = weight
        self._attribute("color")[rows] = colors.numpy()

    def _attribute(self, name: str) -> NDArray[np.float32]:
        """A view of the memory of an attribute, one row a voxel."""
        values = self._grid.attribute(name)
        return values.numpy().reshape(-1, values.shape[-1])


def fuse(
    images: Tensor, depth: Tensor, intrinsics: Tensor, poses: Tensor, voxel_size: float
) -> FusedVolume:
    """Fuse all views of a scene.

    Args:
        images: ``[V, 3, H, W]`` uint8.
        depth: ``[V, H, W]`` float32 metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        voxel_size: metres, for example from ``export.voxel_size.choose_voxel_size``.
    """
    volume = FusedVolume(voxel_size)
    for view in zip(images, depth, intrinsics, poses, strict=True):
        volume.integrate(*view)
    return volume
