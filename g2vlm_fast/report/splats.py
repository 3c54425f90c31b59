"""Point clouds as pictures, from any camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.pictures import BACKGROUND, Picture

_LARGEST = 7  # pixels that a point is wide at most
_COVER = 1.8
"""How much wider than the mean distance to the next point, so that surfaces close up."""


def draw_points(
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    camera: VirtualCamera,
    *,
    spacing: float,
    normals: NDArray[np.float32] | None = None,
) -> Picture:
    """Draw points as squares, near ones over far ones.

    Args:
        points: ``[N, 3]`` metres, world.
        colors: ``[N, 3]``.
        camera: where they are looked at from.
        spacing: metres between neighbours, which says how large the squares are.
        normals: ``[N, 3]`` into free space; surface that is seen from behind is left out, so that
            one looks into a room through its walls.
    """
    pose = camera.pose.numpy().astype(np.float64)
    height, width = camera.size
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    kept = local[:, 2] > 1e-3
    if normals is not None:
        kept &= ((pose[:3, 3] - points) * normals).sum(axis=1) > 0
    local, colors = local[kept], colors[kept]
    order = np.argsort(-local[:, 2], kind="stable")
    local, colors = local[order], colors[order]
    focal = camera.intrinsics.numpy().astype(np.float64)
    column = local[:, 0] / local[:, 2] * focal[0, 0] + focal[0, 2]
    row = local[:, 1] / local[:, 2] * focal[1, 1] + focal[1, 2]
    side = np.ceil(_COVER * spacing * focal[0, 0] / local[:, 2]).clip(1, _LARGEST)
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = np.round(BACKGROUND * 255)
    nearest = np.full((height, width), np.inf)
    for down in range(_LARGEST):
        for right in range(_LARGEST):
            wide = (down < side) & (right < side)
            y = np.floor(row[wide] - (side[wide] - 1) / 2).astype(np.int64) + down
            x = np.floor(column[wide] - (side[wide] - 1) / 2).astype(np.int64) + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x, depth = y[inside], x[inside], local[wide, 2][inside]
            layer = np.full((height, width), np.inf)
            layer[y, x] = depth  # far ones come first, so the nearest stays
            painted = np.zeros((height, width, 3), dtype=np.uint8)
            painted[y, x] = colors[wide][inside]
            closer = layer < nearest
            picture[closer], nearest[closer] = painted[closer], layer[closer]
    return picture


def distance_in_colors(distance: NDArray[np.float64], worst: float) -> NDArray[np.uint8]:
    """Return a colour for each distance: yellow where there is none, dark from ``worst`` on.

    Args:
        distance: ``[N]`` metres; infinite ones count as the worst.
        worst: metres.
    """
    import matplotlib

    share = np.nan_to_num(distance / worst, nan=1.0, posinf=1.0).clip(0, 1)
    colors = matplotlib.colormaps[ERROR_COLORS](share)[:, :3]
    return np.asarray((colors * 255).round(), dtype=np.uint8)


ERROR_COLORS = "viridis_r"


def error_scale(steps: int = 8) -> str:
    """Return the colours of errors as a CSS gradient."""
    import matplotlib

    stops = matplotlib.colormaps[ERROR_COLORS](np.linspace(0, 1, steps))[:, :3]
    named = ("rgb({:.0f} {:.0f} {:.0f})".format(*(255 * stop)) for stop in stops)
    return f"linear-gradient(90deg, {', '.join(named)})"
