"""What the scene looks like in 3D: fused from what was measured, completed by the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.eval.facts import hidden_surface
from g2vlm_fast.eval.metrics.surface import surface_distances
from g2vlm_fast.export.cloud import dense_cloud
from g2vlm_fast.export.completion import complete_hidden, join
from g2vlm_fast.export.fusion import MIN_WEIGHT, SurfacePoints, fuse
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import DepthAgreement, depth_agreement
from g2vlm_fast.export.voxel_size import choose_voxel_size, voxel_size_range
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.model import G2VLM
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.understanding import Understanding

THRESHOLD = 0.05  # metres, of precision, recall and F-score
_SAMPLES = 20_000
_CHUNK = 16_384
_LEAST_CONFIDENCE = 0.7
_VIEWS_A_WEIGHT = 12.0
"""With few views, surface is kept that fewer than the usual number of them measured."""


@dataclass(frozen=True)
class SurfaceScore:
    """A mesh against the true surface of a generated room, at 5 cm."""

    f_score: float
    precision: float
    recall: float
    recall_hidden: float  # of the surface that no view sees


@dataclass(frozen=True)
class Judged:
    """A mesh and what can be measured of it."""

    mesh: ColoredMesh
    agreement: DepthAgreement
    score: SurfaceScore | None  # None: the truth is not known


@dataclass(frozen=True)
class Fused:
    """What the views measured, as one."""

    voxel_size: float
    mesh: ColoredMesh
    points: SurfacePoints  # the vertices of the mesh, and what too few views saw for it


@dataclass(frozen=True)
class Cloud:
    """A coloured point cloud of everything that was measured, and of what the model adds."""

    points: NDArray[np.float32]
    colors: NDArray[np.float32]
    normals: NDArray[np.float32]
    predicted: int  # how many points, the last ones, the model put where nothing was measured


@dataclass(frozen=True)
class Reconstruction:
    """Fusion alone, and with what the model adds."""

    voxel_size: float
    fused: Judged
    completed: Judged
    added_faces: int  # the last ones of the completed mesh
    refused_faces: int  # what the model offered, refused because it contradicts measured depth
    cloud: Cloud


def check_voxel_size(voxel_size: float | None, scene: Scene) -> None:
    """Refuse a voxel size that no scan of this depth can be fused with.

    Raises:
        ConfigError: names the option and the range.
    """
    if voxel_size is None or scene.depth is None:
        return
    smallest, largest = voxel_size_range(scene.depth, scene.intrinsics, scene.poses)
    if smallest <= voxel_size <= largest:
        return
    reason = (
        "finer ones do not fit into memory"
        if voxel_size < smallest
        else "coarser ones leave no surface of what was seen"
    )
    raise ConfigError(
        f"--voxel-size must be between {smallest:.2g} and {largest:.2g} metres for this scene "
        f"({reason}), got {voxel_size:g}; leave it out to have one chosen"
    )


def fuse_scene(scene: Scene, voxel_size: float | None) -> Fused:
    """Fuse the depth of a scene.

    Args:
        scene: with depth.
        voxel_size: metres; None for what the sensor resolves and memory holds.

    Raises:
        ValueError: the scene has no depth, or too little of it for a surface.
    """
    if scene.depth is None:
        raise ValueError(f"scene {scene.name!r} has no depth; there is nothing to fuse")
    geometry = (scene.depth, scene.intrinsics, scene.poses)
    size = voxel_size or choose_voxel_size(*geometry, depth_sigma=scene.depth_sigma)
    volume = fuse(scene.images, *geometry, size)
    least = min(MIN_WEIGHT, max(0.5, scene.num_views / _VIEWS_A_WEIGHT - 0.5))
    mesh = volume.mesh(least).in_order()
    if mesh.is_empty:
        raise ValueError(
            f"scene {scene.name!r}: fusion left no surface at {1000 * size:g} mm; the views may "
            "not overlap: try a larger --voxel-size or a smaller --stride"
        )
    return Fused(size, mesh, dense_cloud(volume, mesh, *geometry))


@torch.no_grad()
def reconstruct(model: G2VLM, scene: Scene, fused: Fused, seen: Understanding) -> Reconstruction:
    """Complete a fused mesh where no view has looked, and judge both."""
    assert scene.depth is not None
    encoded = seen.encoded

    def field(points: Tensor) -> Tensor:
        parts = []
        for chunk in points.split(_CHUNK):
            offsets = torch.tensor([0, len(chunk)], dtype=torch.int32, device=model.device)
            parts.append(model.signed_distance(encoded, chunk.to(model.device), offsets).cpu())
        return torch.cat(parts)

    mesh = fused.mesh
    vertices = torch.from_numpy(mesh.vertices)
    some = vertices[:: max(1, len(vertices) // 50_000)]
    low, high = some.quantile(some.new_tensor([0.005, 0.995]), dim=0)
    added = complete_hidden(
        field,
        scene.depth,
        scene.intrinsics,
        scene.poses,
        (low, high),
        truncation=float(model.config.truncation),
        reference=(mesh.vertices, mesh.colors),
    )
    alone, completed = _judge(scene, mesh), _judge(scene, join(mesh, added))
    cloud = _cloud(fused.points, seen)
    if _contradicts(completed.agreement, alone.agreement):
        return Reconstruction(fused.voxel_size, alone, alone, 0, len(added.faces), cloud)
    return Reconstruction(fused.voxel_size, alone, completed, len(added.faces), 0, cloud)


def _contradicts(completed: DepthAgreement, alone: DepthAgreement) -> bool:
    """Whether a completion moves the surface away from measured depth by more than 1 % of its
    error: inputs are honoured, so such a completion is refused whole."""
    return completed.absolute_relative > 1.01 * alone.absolute_relative + 1e-4


def _judge(scene: Scene, mesh: ColoredMesh) -> Judged:
    assert scene.depth is not None
    agreement = depth_agreement(mesh, scene.depth, scene.intrinsics, scene.poses)
    return Judged(mesh, agreement, _score(scene, mesh))


def _score(scene: Scene, mesh: ColoredMesh) -> SurfaceScore | None:
    if scene.truth is None:
        return None
    generator = torch.Generator().manual_seed(0)
    true_points = sample_surface(scene.truth.primitives, _SAMPLES, generator)[0]
    hidden = hidden_surface(scene, true_points)
    distances = surface_distances(_area_samples(mesh, generator), true_points)
    hits = distances.to_prediction <= THRESHOLD
    return SurfaceScore(
        distances.f_score(THRESHOLD),
        distances.precision(THRESHOLD),
        distances.recall(THRESHOLD),
        float(hits[hidden].float().mean()) if bool(hidden.any()) else float("nan"),
    )


def _area_samples(mesh: ColoredMesh, generator: torch.Generator) -> Tensor:
    """Points on a mesh, uniformly by area."""
    corners = torch.from_numpy(mesh.vertices[mesh.faces])
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = torch.linalg.cross(first, second).norm(dim=-1).double()
    place = torch.rand(_SAMPLES, generator=generator, dtype=torch.float64) * area.sum()
    face = torch.searchsorted(area.cumsum(0), place).clamp_max(len(area) - 1)
    u, v = torch.rand(2, _SAMPLES, 1, generator=generator)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    return corners[face, 0] + u * first[face] + v * second[face]


def _cloud(measured: SurfacePoints, seen: Understanding) -> Cloud:
    """What was measured; then the model's depth at pixels where nothing was measured."""
    prediction, batch = seen.prediction, seen.batch
    if prediction.depth is None or prediction.normal is None or prediction.confidence is None:
        raise RuntimeError("the model returned no depth, normal or confidence")
    missing = torch.ones_like(prediction.depth) if batch.depth is None else batch.depth
    new = (missing <= 0) if batch.depth is not None else missing > 0
    new &= prediction.confidence >= _LEAST_CONFIDENCE
    points = unproject(prediction.depth.float(), batch.intrinsics, batch.poses)[new]
    colors = batch.images.movedim(1, -1)[new]
    normals = prediction.normal.movedim(1, -1)[new].float()
    return Cloud(
        np.concatenate([measured.position, points.numpy()]),
        np.concatenate([measured.color, colors.numpy()]),
        np.concatenate([measured.normal, normals.numpy()]),
        len(points),
    )
