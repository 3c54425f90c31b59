"""The pictures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.geometry.frames import sample_surface
from g2vlm_fast.report.cameras import VirtualCamera, overview_cameras
from g2vlm_fast.report.from_above import mesh_from_above
from g2vlm_fast.report.pictures import (
    Picture,
    depth_in_colors,
    draw_boxes,
    draw_rectangle,
    error_in_colors,
    fit,
    object_color,
    render,
    sheet,
    to_picture,
)
from g2vlm_fast.report.scene_graph import draw_top_view

if TYPE_CHECKING:
    from g2vlm_fast.pipeline.job import RunResult
    from g2vlm_fast.pipeline.understanding import Answer

_RENDERING = (600, 840)
_TURNS = (-28.0, 32.0)
_THUMBNAIL = 420
_WORST_ERROR = 0.1
_FAR = 2.0
"""What is farther away than this many times the median is background."""


@dataclass(frozen=True)
class Pictures:
    """Everything that is drawn of a run."""

    views: Picture  # rows: colour, depth
    fused: list[Picture]  # fusion alone, from two sides
    completed: list[Picture]  # with what the model adds, from the same sides
    objects: Picture  # the first of these with the boxes
    scene_graph: Picture  # from above
    agreement: Picture  # input depth, rendered depth, error of one view
    answers: list[Picture | None]  # a view with the object that is meant
    camera: VirtualCamera  # that the first rendering is taken with

    def files(self) -> dict[str, Picture]:
        """The previews, by the names of their files."""
        return {
            "views": self.views,
            "reconstruction_1": self.completed[0],
            "reconstruction_2": self.completed[1],
            "fusion_alone_1": self.fused[0],
            "fusion_alone_2": self.fused[1],
            "objects": self.objects,
            "scene_graph": self.scene_graph,
            "depth_agreement": self.agreement,
        }


def draw_pictures(result: RunResult) -> Pictures:
    """Draw a run."""
    scene, seen = result.scene, result.understanding
    assert scene.depth is not None
    points = _subject(scene)
    cameras = overview_cameras(points, scene.poses, _RENDERING, _TURNS)
    fused = MeshRaycaster(result.reconstruction.fused.mesh)
    completed = MeshRaycaster(result.reconstruction.completed.mesh)
    of_fused = [render(fused, camera, through_backs=True) for camera in cameras]
    of_completed = of_fused
    if result.reconstruction.added_faces:
        of_completed = [render(completed, camera, through_backs=True) for camera in cameras]
    return Pictures(
        views=_views(seen.scene),
        fused=of_fused,
        completed=of_completed,
        objects=draw_boxes(of_completed[0], cameras[0], seen.objects),
        scene_graph=draw_top_view(
            mesh_from_above(result.reconstruction.fused.mesh, _ceiling(scene)),
            seen.objects,
            seen.relations,
            seen.scene.poses[0].numpy(),
            region=points.quantile(points.new_tensor([0.01, 0.99]), dim=0)[:, :2].numpy(),
        ),
        agreement=_agreement(completed, scene),
        answers=[_answer(answer, result) for answer in seen.answers],
        camera=cameras[0],
    )


def _subject(scene: Scene) -> Tensor:
    """Points of what the scan is about: no distant wall behind a shelf."""
    assert scene.depth is not None
    points = sample_surface(scene.depth, scene.intrinsics, scene.poses)[0]
    distance = (points - scene.poses[:, :3, 3].mean(dim=0)).norm(dim=-1)
    return points[distance <= _FAR * distance.median()]


def _ceiling(scene: Scene) -> float:
    """Just above the highest camera: what is higher hides the room from above."""
    return float(scene.poses[:, 2, 3].max()) + 0.1


def _views(shown: Scene) -> Picture:
    assert shown.depth is not None
    measured = shown.depth[shown.depth > 0]
    low, high = (
        measured[:: max(1, len(measured) // 100_000)].quantile(torch.tensor([0.02, 0.98])).tolist()
    )
    colors = [fit(to_picture(image), _THUMBNAIL) for image in shown.images]
    depths = [fit(depth_in_colors(depth, low, high), _THUMBNAIL) for depth in shown.depth]
    return sheet([colors, depths])


def _agreement(raycaster: MeshRaycaster, scene: Scene) -> Picture:
    assert scene.depth is not None
    view = scene.num_views // 2
    measured = scene.depth[view]
    rendered = raycaster.depth(scene.intrinsics[view], scene.poses[view], scene.image_size)
    seen = measured[measured > 0]
    if len(seen) == 0:
        seen = rendered[rendered > 0]
    low, high = seen.quantile(seen.new_tensor([0.02, 0.98])).tolist() if len(seen) else (0.0, 1.0)
    pictures = [
        depth_in_colors(measured, low, high),
        depth_in_colors(rendered, low, high),
        error_in_colors(rendered, measured, _WORST_ERROR),
    ]
    return sheet([[fit(picture, _THUMBNAIL) for picture in pictures]])


def _answer(answer: Answer, result: RunResult) -> Picture | None:
    """The view in which the object that is meant is largest, with its box."""
    if answer.grounding is None or not answer.views:
        return None

    def area(place: dict) -> float:
        left, top, right, bottom = place["box"]
        return float((right - left) * (bottom - top))

    place = max(answer.views, key=area)
    thing = result.understanding.objects[answer.grounding.object_id]
    return fit(
        draw_rectangle(
            to_picture(result.scene.images[place["view"]]),
            place["box"],
            f"{thing.class_name} {thing.id}",
            object_color(thing.id),
        ),
        _THUMBNAIL,
    )
