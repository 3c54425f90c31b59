"""One picture that shows what a scene holds: views, depth, boxes, graph and sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import Query, Scene
from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.pipeline.known import Known, known_of, seen_in, some_of
from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.from_above import points_from_above, solids_from_above
from g2vlm_fast.report.pictures import (
    GAP,
    Picture,
    depth_in_colors,
    draw_boxes,
    fit,
    sheet,
    text_panel,
    to_picture,
)
from g2vlm_fast.report.scene_graph import draw_top_view

_VIEWS = 4
_VIEW_WIDTH = 420
_PLAN_WIDTH = 2 * _VIEW_WIDTH + GAP
_LINE = 88  # characters
_SENTENCES = 24  # of what people wrote about a scan
_BELOW_CEILING = 0.15  # metres; what is higher hides the room from above


def contact_sheet(scene: Scene, texts: Sequence[Query] = ()) -> Picture:
    """Draw a scene on one sheet.

    Args:
        scene: any scene; boxes and relations are those of a room's truth or of a scan's
            annotations, and without both there are none to draw.
        texts: what is said and asked about it, printed with the answers.

    Returns:
        ``[H, W, 3]`` uint8: colour, depth and boxes of up to four views (of what each shows), the
        scene from above with its graph, and the texts.
    """
    views = np.unique(np.linspace(0, scene.num_views - 1, _VIEWS).round().astype(int)).tolist()
    known = known_of(scene)
    rows = [[fit(to_picture(scene.images[view]), _VIEW_WIDTH) for view in views]]
    if scene.depth is not None:
        rows.append(_depth_row(scene.depth[views]))
    if known.objects:
        rows.append(
            [
                draw_boxes(
                    picture,
                    _camera(scene, view, picture.shape[1]),
                    seen_in(view, scene, known.objects),
                )
                for view, picture in zip(views, rows[0], strict=True)
            ]
        )
    blocks = [sheet(rows)]
    panel = text_panel(_lines(scene, known, texts), _PLAN_WIDTH)
    plan = _plan(scene, known)
    if plan is None:
        blocks.append(panel)
    else:
        plan = fit(plan, _PLAN_WIDTH)
        height = max(len(plan), len(panel))
        blocks.append(sheet([[_padded(each, height, _PLAN_WIDTH) for each in (plan, panel)]]))
    width = max(block.shape[1] for block in blocks)
    return np.concatenate([_padded(block, len(block) + GAP, width) for block in blocks])


def _camera(scene: Scene, view: int, width: int) -> VirtualCamera:
    height_of_view, width_of_view = scene.image_size
    scale = width / width_of_view
    intrinsics = scene.intrinsics[view].clone()
    intrinsics[:2] *= scale
    intrinsics[:2, 2] += (scale - 1) / 2
    size = (round(height_of_view * scale), width)
    return VirtualCamera(intrinsics, scene.poses[view], size)


def _depth_row(depth: Tensor) -> list[Picture]:
    measured = depth[depth > 0]
    low, high = 0.0, 1.0
    if len(measured):
        some = measured[:: max(1, len(measured) // 100_000)]
        low, high = some.quantile(some.new_tensor([0.02, 0.98])).tolist()
    return [fit(depth_in_colors(each, low, high), _VIEW_WIDTH) for each in depth]


def _plan(scene: Scene, known: Known) -> Picture | None:
    """The scene from above with its graph; None where nothing says where its surfaces are."""
    if scene.truth is not None:
        room = scene.truth.room_size
        region = torch.stack([-room[:2], room[:2]]) / 2
        from_above = solids_from_above(scene.truth.primitives, float(room[2]) - _BELOW_CEILING)
    elif scene.depth is not None and bool((scene.depth > 0).any()):
        seen = (scene.depth > 0).flatten()
        points = unproject(scene.depth, scene.intrinsics, scene.poses).flatten(0, 2)[seen]
        colors = scene.images.permute(0, 2, 3, 1).flatten(0, 2)[seen]
        some = points[:: max(1, len(points) // 100_000)]
        region = some[:, :2].quantile(some.new_tensor([0.01, 0.99]), dim=0)
        ceiling = float(some[:, 2].quantile(0.9))
        from_above = points_from_above(points.numpy(), colors.numpy(), ceiling)
    else:
        return None
    return draw_top_view(
        from_above,
        known.objects,
        known.relations,
        scene.poses[0].numpy(),
        region=region.numpy(),
    )


def _lines(scene: Scene, known: Known, texts: Sequence[Query]) -> list[str]:
    height, width = scene.image_size
    lines = [f"{scene.name}: {scene.num_views} views of {width} x {height}"]
    if scene.truth is not None:
        size = " x ".join(f"{side:.1f}" for side in scene.truth.room_size.tolist())
        lines[0] += f", {size} m, {len(scene.truth.objects)} objects"
    elif known.objects:
        lines[0] += f", {len(known.objects)} annotated objects"
    lines += [f"assumed: {sentence}" for sentence in scene.assumptions]
    lines += some_of(known.sentences, _SENTENCES)
    for query in texts:
        said = query.text if query.spoken in ("", query.text) else f"{query.text}  {query.spoken}"
        lines.append(f"{query.kind}: {said}")
    return [part for line in lines for part in textwrap.wrap(line, _LINE, subsequent_indent="    ")]


def _padded(picture: Picture, height: int, width: int) -> Picture:
    missing = (height - picture.shape[0], width - picture.shape[1])
    return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)
