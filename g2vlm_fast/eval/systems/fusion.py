"""Fusion of given depth, with and without holes filled: where learned reconstruction starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import PredictionFailed, Task
from g2vlm_fast.eval.systems.inpainting import inpaint_depth
from g2vlm_fast.export.fusion import FusedVolume, fuse
from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.export.voxel_size import choose_voxel_size

ANY_MEASUREMENT = 0.5
"""Weight of voxels from which a surface is drawn: a single view suffices, as views are few."""


@dataclass(frozen=True)
class TsdfFusion:
    """The surface that given depth fuses to (TSDF), and its depth as the given views see it.

    Args:
        inpainted: whether the missing depth of every view is filled first.

    Source: Curless and Levoy, SIGGRAPH 1996, as :mod:`g2vlm_fast.export.fusion` has it.
    """

    inpainted: bool = False
    tasks: ClassVar[frozenset[Task]] = frozenset(("surface", "depth"))
    looks_at_truth: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "tsdf-inpainted" if self.inpainted else "tsdf"

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1"

    def predict(self, case: Case) -> ScenePrediction:
        """Fuse, and render depth of the fused surface.

        Raises:
            PredictionFailed: no depth is given, or it fuses to no surface.
        """
        scene, depth = given_depth(case)
        mesh = fused_mesh(fuse_given(scene, inpaint_depth(depth) if self.inpainted else depth))
        raycaster = MeshRaycaster(mesh)
        rendered = [
            raycaster.depth(matrix, pose, scene.image_size)
            for matrix, pose in zip(scene.intrinsics, scene.poses, strict=True)
        ]
        return mesh_prediction(
            self.name,
            case,
            mesh,
            depth=torch.stack(rendered).numpy(),
            intrinsics=scene.intrinsics.numpy(),
            poses=scene.poses.numpy(),
            views=tuple(range(scene.num_views)),
        )


def given_depth(case: Case) -> tuple[Scene, Tensor]:
    """Return what is given, and its depth ``[V, H, W]`` metres, 0 = missing.

    Raises:
        PredictionFailed: nothing is given, or no depth.
    """
    if case.given is None or case.given.depth is None:
        raise PredictionFailed("no depth is given, and there is nothing else to fuse")
    return case.given, case.given.depth


def fuse_given(scene: Scene, depth: Tensor) -> FusedVolume:
    """Fuse depth ``[V, H, W]`` of a scene with the smallest voxels that its sensor resolves.

    They are no smaller than what a pixel shows of a surface at the median depth.

    Raises:
        PredictionFailed: no pixel has depth.
    """
    if not bool((depth > 0).any()):
        raise PredictionFailed("no pixel of the given views has depth")
    assert scene.depth is not None
    resolved = choose_voxel_size(
        scene.depth, scene.intrinsics, scene.poses, depth_sigma=scene.depth_sigma
    )
    measured = scene.depth[scene.depth > 0]
    size = max(resolved, float(measured.median() / scene.intrinsics[:, 0, 0].mean()))
    return fuse(scene.images, depth, scene.intrinsics, scene.poses, size)


def fused_mesh(volume: FusedVolume) -> ColoredMesh:
    """Return the surface of a volume, the same bit by bit in every run.

    Raises:
        PredictionFailed: it has none.
    """
    mesh = volume.mesh(ANY_MEASUREMENT)
    if mesh.is_empty:
        raise PredictionFailed(
            f"the given depth fuses to no surface with voxels of {1000 * volume.voxel_size:g} mm"
        )
    return mesh.in_order()


def mesh_prediction(system: str, case: Case, mesh: ColoredMesh, **more: object) -> ScenePrediction:
    """Return a prediction of a mesh, whose samples by area are its cloud, and of more fields."""
    return ScenePrediction(
        scene=case.name,
        system=system,
        vertices=np.ascontiguousarray(mesh.vertices),
        faces=np.ascontiguousarray(mesh.faces),
        **more,  # type: ignore[arg-type]
    )
