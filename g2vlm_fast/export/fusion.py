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

from g2vlm_fast.export.mesh import ColoredMesh, from_open3d
from g2vlm_fast.geometry.cameras import inverse_pose
from g2vlm_fast.geometry.frames import sample_surface

_BLOCK = 16
_VOXEL_SIZES_MM = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 80)
_VOXELS_A_DEPTH = 150
"""Voxels that the median depth is divided into: about what a 640 pixel wide sensor resolves."""

_VOXELS_A_SIGMA = 2.0
"""Voxels smaller than this many standard deviations of depth would draw its noise."""

_TRUNCATION_VOXELS = 3.0
_TOLERANCE = 1.001
_BYTES_A_VOXEL = 4 * (1 + 1 + 3)
_BLOCKS_A_SURFACE_BLOCK = 3.0
"""Blocks that truncation touches for each block that holds surface."""

MIN_WEIGHT = 3.0
"""Views that must have measured a voxel before a surface is drawn through it."""


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
            _BLOCK,
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
        voxel_size: metres, for example from :func:`choose_voxel_size`.
    """
    volume = FusedVolume(voxel_size)
    for view in zip(images, depth, intrinsics, poses, strict=True):
        volume.integrate(*view)
    return volume


def choose_voxel_size(
    depth: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    *,
    depth_sigma: Tensor | None = None,
    max_bytes: int = 2 << 30,
) -> float:
    """The finest voxel size, in metres, that the sensor resolves and memory holds.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        depth_sigma: ``[V, H, W]`` metres, the noise of depth, if it is known.
        max_bytes: memory that the volume may take.

    Raises:
        ValueError: no depth, or a scene too large for the largest voxel.
    """
    measured = depth[depth > 0]
    if measured.numel() == 0:
        raise ValueError("choose_voxel_size: no pixel has depth")
    finest = float(measured[:: max(1, measured.numel() // 100_000)].median()) / _VOXELS_A_DEPTH
    if depth_sigma is not None:
        noise = depth_sigma[depth > 0]
        finest = max(
            finest, _VOXELS_A_SIGMA * float(noise[:: max(1, len(noise) // 100_000)].median())
        )
    points = sample_surface(depth, intrinsics, poses)[0]
    sizes = [millimetres / 1000 for millimetres in _VOXEL_SIZES_MM]
    resolved = max([size for size in sizes if size <= finest * _TOLERANCE], default=sizes[0])
    for size in sizes[sizes.index(resolved) :]:
        place = (points / (size * _BLOCK)).floor().long()
        place -= place.amin(dim=0)
        extent = place.amax(dim=0) + 1
        key = (place[:, 0] * extent[1] + place[:, 1]) * extent[2] + place[:, 2]
        blocks = len(key.unique())
        if blocks * _BLOCKS_A_SURFACE_BLOCK * _BLOCK**3 * _BYTES_A_VOXEL <= max_bytes:
            return size
    raise ValueError(
        f"choose_voxel_size: the scene needs more than {max_bytes >> 20} MiB even with "
        f"{_VOXEL_SIZES_MM[-1]} mm voxels; crop it, or fuse it in parts"
    )
