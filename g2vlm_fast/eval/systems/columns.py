"""What was seen of a place, as columns over its floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data import Scene
from g2vlm_fast.eval.protocol.systems import PredictionFailed
from g2vlm_fast.export.fusion import SurfacePoints
from g2vlm_fast.export.mesh import ColoredMesh

Floats = NDArray[np.float64]

_FACES_DOWN = -0.3  # of the vertical part of a normal: ceilings and undersides are no tops
_TRIMMED = 0.002  # share of points at either end of an axis that count as stray
_LEVEL = -0.999  # of gravity along z
_GREY = 0.5


@dataclass(frozen=True, eq=False)
class Columns:
    """A map of square columns.

    Attributes:
        corner: (x, y) metres of the corner of column (0, 0) of least x and y.
        cell: metres, side of a column.
        floor: metres, height of the lowest surface.
        ceiling: metres, height of the highest surface.
        top: ``[X, Y]`` metres above the floor of the highest surface that does not face down;
            NaN where none was seen.
    """

    corner: tuple[float, float]
    cell: float
    floor: float
    ceiling: float
    top: Floats

    @classmethod
    def of(cls, points: SurfacePoints, cell: float) -> Columns:
        """Sort points of a surface into columns; their world has z up.

        Raises:
            PredictionFailed: no points.
        """
        position = points.position.astype(np.float64)
        if not len(position):
            raise PredictionFailed("no surface was seen that could be completed")
        low, high = np.quantile(position, [_TRIMMED, 1 - _TRIMMED], axis=0)
        kept = ((position >= low) & (position <= high)).all(1) & (points.normal[:, 2] > _FACES_DOWN)
        shape = np.floor((high[:2] - low[:2]) / cell).astype(int) + 1
        column = np.floor((position[kept, :2] - low[:2]) / cell).astype(int)
        top = np.full(shape, -np.inf)
        np.maximum.at(top, (column[:, 0], column[:, 1]), position[kept, 2] - low[2])
        top[np.isinf(top)] = np.nan
        return cls((float(low[0]), float(low[1])), cell, float(low[2]), float(high[2]), top)

    def centers(self) -> tuple[Floats, Floats]:
        """Metres ``[X]`` and ``[Y]`` of the middles of columns."""
        x, y = (
            start + self.cell * (np.arange(count) + 0.5)
            for start, count in zip(self.corner, self.top.shape, strict=True)
        )
        return x, y


def check_upright(scene: Scene) -> None:
    """Refuse a world whose z axis is not the vertical.

    Raises:
        PredictionFailed: gravity does not point along negative z.
    """
    if float(scene.gravity[2]) > _LEVEL:
        raise PredictionFailed(
            "columns need a world whose z axis points up; g2vlm-fast preprocess turns scans upright"
        )


def squares(center: Floats, along: Floats, across: Floats) -> ColoredMesh:
    """Return rectangles as a mesh.

    Args:
        center: ``[n, 3]`` metres.
        along: ``[n, 3]`` metres, from the middle to the middle of a side.
        across: ``[n, 3]`` metres, to the middle of the next side; counter-clockwise seen from
            where ``along x across`` points.
    """
    corners = np.stack(
        [center - along - across, center + along - across, center + along + across,
         center - along + across], axis=1,
    )  # fmt: skip
    first = 4 * np.arange(len(center))[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    normal = np.cross(along, across)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    vertices = corners.reshape(-1, 3).astype(np.float32)
    return ColoredMesh(
        vertices,
        faces.astype(np.int32),
        np.repeat(normal, 4, axis=0).astype(np.float32),
        np.full_like(vertices, _GREY),
    )
