"""The points and boxes that the page's viewer draws, packed small."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.export.scene_graph import SceneObject
from g2vlm_fast.geometry.boxes import box_corners
from g2vlm_fast.report.pictures import object_color

_MAX_POINTS = 150_000


def viewer_data(
    points: NDArray[np.float32],
    colors: NDArray[np.float32],
    objects: Sequence[SceneObject],
    eye: NDArray[np.float32],
) -> str:
    """Pack a cloud and boxes as the JSON that ``viewer.js`` reads.

    Positions are 16 bits an axis over the extent of the cloud, so about 0.1 mm in a room.

    Args:
        points: ``[N, 3]`` metres; thinned evenly if there are many.
        colors: ``[N, 3]`` in [0, 1].
        objects: whose boxes are drawn.
        eye: ``[3]`` metres; the side that the cloud is first looked at from.
    """
    low, high = np.quantile(points, [0.003, 0.997], axis=0)
    inside = ((points >= low) & (points <= high)).all(axis=1)
    points, colors = points[inside], colors[inside]
    order = np.random.default_rng(0).permutation(len(points))[:_MAX_POINTS]
    points, colors = points[order], colors[order]
    extent = np.maximum(high - low, 1e-6)
    quantised = ((points - low) / extent * 65535).round().astype("<u2")
    shades = (colors * 255).round().clip(0, 255).astype(np.uint8)
    target = (low + high) / 2
    area = extent[0] * extent[1] + extent[0] * extent[2] + extent[1] * extent[2]
    side = eye - target
    return json.dumps(
        {
            "points": base64.b64encode(quantised.tobytes() + shades.tobytes()).decode(),
            "count": len(points),
            "low": low.tolist(),
            "extent": extent.tolist(),
            "target": target.tolist(),
            "distance": float(1.35 * np.linalg.norm(extent)),
            "azimuth": math.atan2(float(side[1]), float(side[0])) + 0.35,
            "spacing": float(math.sqrt(area / max(len(points), 1))),
            "boxes": [_box(thing) for thing in objects],
        }
    )


def _box(thing: SceneObject) -> dict[str, object]:
    parts = (torch.from_numpy(value) for value in (thing.center, thing.size, thing.rotation))
    return {"corners": box_corners(*parts).tolist(), "color": object_color(thing.id)}
