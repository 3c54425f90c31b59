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
from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.pictures import object_color

_MAX_POINTS = 150_000


def viewer_data(
    points: NDArray[np.float32],
    colors: NDArray[np.float32],
    normals: NDArray[np.float32],
    predicted: int,
    objects: Sequence[SceneObject],
    camera: VirtualCamera,
) -> str:
    """Pack a cloud and boxes as the JSON that ``viewer.js`` reads.

    Positions are 16 bits an axis over the extent of the cloud, so about 0.1 mm in a room.

    Args:
        points: ``[N, 3]`` metres; thinned at random if there are many.
        colors: ``[N, 3]`` in [0, 1].
        normals: ``[N, 3]`` unit.
        predicted: how many points, the last ones, nobody measured; they are hidden at first.
        objects: whose boxes are drawn.
        camera: where the cloud is first looked at from.
    """
    measured = len(points) - predicted
    low, high = np.quantile(points[:measured], [0.003, 0.997], axis=0)
    inside = ((points >= low) & (points <= high)).all(axis=1)
    share = min(1.0, _MAX_POINTS / max(int(inside.sum()), 1))
    inside &= np.random.default_rng(0).random(len(points)) < share
    measured = int(inside[:measured].sum())
    points, colors, normals = points[inside], colors[inside], normals[inside]
    extent = np.maximum(high - low, 1e-6)
    packed = (
        ((points - low) / extent * 65535).round().astype("<u2").tobytes()
        + (colors * 255).round().clip(0, 255).astype(np.uint8).tobytes()
        + (normals * 127).round().clip(-127, 127).astype(np.int8).tobytes()
    )
    eye, forward = camera.pose[:3, 3].numpy(), camera.pose[:3, 2].numpy()
    distance = float((np.median(points[:measured], axis=0) - eye) @ forward)
    area = extent[0] * extent[1] + extent[0] * extent[2] + extent[1] * extent[2]
    return json.dumps(
        {
            "points": base64.b64encode(packed).decode(),
            "count": len(points),
            "measured": measured,
            "low": low.tolist(),
            "extent": extent.tolist(),
            "target": (eye + distance * forward).tolist(),
            "distance": 0.9 * distance,
            "azimuth": math.atan2(-float(forward[1]), -float(forward[0])),
            "elevation": math.asin(-float(forward[2])),
            "spacing": float(math.sqrt(area / max(len(points), 1))),
            "boxes": [_box(thing) for thing in objects],
        }
    )


def _box(thing: SceneObject) -> dict[str, object]:
    parts = (torch.from_numpy(value) for value in (thing.center, thing.size, thing.rotation))
    return {"corners": box_corners(*parts).tolist(), "color": object_color(thing.id)}
