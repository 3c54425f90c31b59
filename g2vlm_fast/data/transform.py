"""Scenes made of other scenes: in another world frame, or of some of their views."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from g2vlm_fast.data.scene import Scene
from g2vlm_fast.geometry.cameras import transform_points
from g2vlm_fast.geometry.frames import move_poses


def move_scene(scene: Scene, transform: Tensor) -> Scene:
    """Express a scene without truth in another world.

    Args:
        scene: any scene that was read from files.
        transform: ``[4, 4]`` float32 rigid motion, old world to new world.

    Raises:
        ValueError: the scene has truth, which would stay behind.
    """
    if scene.truth is not None:
        raise ValueError(f"move_scene: scene {scene.name!r} has truth, which cannot be moved")
    rotation = transform.clone()
    rotation[:3, 3] = 0

    def moved(points: Tensor | None, motion: Tensor) -> Tensor | None:
        return None if points is None else transform_points(motion, points)

    return dataclasses.replace(
        scene,
        poses=move_poses(transform, scene.poses),
        gravity=transform_points(rotation, scene.gravity[None])[0],
        vertices=moved(scene.vertices, transform),
        vertex_normals=moved(scene.vertex_normals, rotation),
        annotations=None if scene.annotations is None else scene.annotations.moved(transform),
    )


def scene_of_views(scene: Scene, views: Sequence[int]) -> Scene:
    """Return the same scene with some of its views, in the order given, without truth."""
    picked: dict[str, Any] = {}
    for name in ("images", "intrinsics", "poses", "depth", "depth_sigma"):
        value = getattr(scene, name)
        picked[name] = None if value is None else value[list(views)].contiguous()
    return dataclasses.replace(scene, **picked, truth=None)
