"""Pictures and depth maps of a mesh, by casting rays on the CPU (no window, no GPU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.geometry.cameras import inverse_pose

_BACKGROUND = np.float32(1.0)
_INVALID = 0xFFFFFFFF
_MAX_BACKS = 8
_STEP_BEHIND = np.float32(1e-4)
"""Metres past a surface from which a ray goes on."""


@dataclass(frozen=True)
class Hits:
    """What the rays of one picture met."""

    depth: Tensor  # [H, W] float32 metres along z, 0 = nothing
    color: NDArray[np.float32]  # [H, W, 3] in [0, 1], unlit
    normal: NDArray[np.float32]  # [H, W, 3] unit, world, faces the camera


class MeshRaycaster:
    """A mesh, ready to be looked at."""

    def __init__(self, mesh: ColoredMesh) -> None:
        if mesh.is_empty:
            raise ValueError("MeshRaycaster: the mesh has no faces")
        import open3d as o3d

        self._mesh = mesh
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(mesh.to_open3d())

    def depth(self, intrinsics: Tensor, pose: Tensor, size: tuple[int, int]) -> Tensor:
        """Depth along z, ``[H, W]`` float32 metres, 0 where no surface is hit.

        Args:
            intrinsics: ``[3, 3]`` pixels.
            pose: ``[4, 4]`` camera to world.
            size: (height, width).
        """
        answer = self._scene.cast_rays(self._rays(intrinsics, pose, size))
        distance = torch.from_numpy(answer["t_hit"].numpy())
        return torch.where(distance.isfinite(), distance, 0)

    def look(
        self,
        intrinsics: Tensor,
        pose: Tensor,
        size: tuple[int, int],
        *,
        through_backs: bool = False,
    ) -> Hits:
        """Depth, colour and normal of the surface behind each pixel.

        Args:
            intrinsics: ``[3, 3]`` pixels.
            pose: ``[4, 4]`` camera to world.
            size: (height, width).
            through_backs: look through surface that is met from behind, as into a doll's house.
        """
        rays = self._rays(intrinsics, pose, size).numpy().reshape(-1, 6).copy()
        distance = np.zeros(len(rays), dtype=np.float32)
        face = np.full(len(rays), _INVALID, dtype=np.uint32)
        uv = np.zeros((len(rays), 2), dtype=np.float32)
        alive = np.arange(len(rays))
        for _ in range(_MAX_BACKS if through_backs else 1):
            answer = self._cast(rays[alive])
            hit = answer["primitive_ids"].numpy() != _INVALID
            alive, answer = alive[hit], {key: value.numpy()[hit] for key, value in answer.items()}
            distance[alive] += answer["t_hit"]
            rays[alive, :3] += rays[alive, 3:] * answer["t_hit"][:, None]
            behind = (answer["primitive_normals"] * rays[alive, 3:]).sum(-1) > 0
            if not through_backs:
                behind[:] = False
            front = alive[~behind]
            face[front] = answer["primitive_ids"][~behind]
            uv[front] = answer["primitive_uvs"][~behind]
            alive = alive[behind]
            rays[alive, :3] += rays[alive, 3:] * _STEP_BEHIND
            distance[alive] += _STEP_BEHIND
        return self._shade(face, uv, distance, pose, size)

    def _shade(
        self,
        face: NDArray[np.uint32],
        uv: NDArray[np.float32],
        distance: NDArray[np.float32],
        pose: Tensor,
        size: tuple[int, int],
    ) -> Hits:
        hit = face != _INVALID
        weights = np.stack([1 - uv[hit].sum(-1), uv[hit, 0], uv[hit, 1]], axis=-1)[..., None]
        corners = self._mesh.faces[face[hit]]
        color = np.full((len(face), 3), _BACKGROUND)
        color[hit] = (self._mesh.colors[corners] * weights).sum(1)
        normal = np.zeros((len(face), 3), dtype=np.float32)
        smooth = (self._mesh.normals[corners] * weights).sum(1)
        away = smooth @ pose[:3, 2].numpy() > 0
        smooth = np.where(away[:, None], -smooth, smooth)
        normal[hit] = smooth / np.linalg.norm(smooth, axis=-1, keepdims=True).clip(1e-9)
        depth = torch.from_numpy(np.where(hit, distance, np.float32(0)).reshape(size))
        return Hits(depth, color.reshape(*size, 3), normal.reshape(*size, 3))

    def _rays(self, intrinsics: Tensor, pose: Tensor, size: tuple[int, int]) -> Any:
        from open3d.core import Tensor as ArrayTensor

        height, width = size
        matrix = intrinsics.double().clone()
        matrix[:2, 2] += 0.5  # Open3D puts the centre of the first pixel at 0.5, we at 0
        return self._scene.create_rays_pinhole(
            ArrayTensor(matrix.numpy()),
            ArrayTensor(inverse_pose(pose.double()).contiguous().numpy()),
            width,
            height,
        )

    def _cast(self, rays: NDArray[np.float32]) -> dict[str, Any]:
        from open3d.core import Tensor as ArrayTensor

        answer: dict[str, Any] = self._scene.cast_rays(ArrayTensor(np.ascontiguousarray(rays)))
        return answer


@dataclass(frozen=True)
class DepthAgreement:
    """How well a mesh explains measured depth, over pixels that were measured and are covered.

    Attributes:
        absolute_relative: mean of ``|rendered - measured| / measured``.
        median_relative: median of the same.
        coverage: share of the measured pixels behind which the mesh has a surface.
        pixels: measured pixels that were looked at.
    """

    absolute_relative: float
    median_relative: float
    coverage: float
    pixels: int


def depth_agreement(
    mesh: ColoredMesh, depth: Tensor, intrinsics: Tensor, poses: Tensor, *, max_views: int = 24
) -> DepthAgreement:
    """Render depth from a mesh and hold it against the depth that was measured.

    Args:
        mesh: the reconstruction, in the world of the poses.
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        max_views: at most this many views, evenly spread.
    """
    raycaster = MeshRaycaster(mesh)
    height, width = depth.shape[1:]
    views = torch.linspace(0, len(depth) - 1, min(max_views, len(depth))).round().long().tolist()
    errors, measured_pixels = [], 0
    for view in views:
        rendered = raycaster.depth(intrinsics[view], poses[view], (height, width))
        measured = depth[view]
        seen = (measured > 0) & (rendered > 0)
        errors.append(((rendered - measured).abs() / measured)[seen])
        measured_pixels += int((measured > 0).sum())
    relative = torch.cat(errors)
    if len(relative) == 0:
        raise ValueError("depth_agreement: the mesh covers no measured pixel")
    return DepthAgreement(
        float(relative.double().mean()),
        float(relative.median()),
        len(relative) / measured_pixels,
        measured_pixels,
    )
