"""Clouds that fit a scene in another frame than its own: the commonest mistake of conventions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.eval.metrics.surface import surface_distances
from g2vlm_fast.eval.protocol.cases import SurfaceTruth
from g2vlm_fast.geometry.cameras import transform_points

_SAMPLES = 1000
_LEAST_POINTS = 100  # fewer could fit anywhere by chance
_NEAR = 0.10  # metres
_FITS, _FAILS = 0.8, 0.3  # shares of the points that lie near the true surface

_OPENGL_CAMERA = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
_Y_UP = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_Y_DOWN = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def another_frame(points: Tensor, truth: SurfaceTruth, given: Scene | None) -> str:
    """Say in which other frame a cloud fits a scene; empty where it fits as it is, or nowhere.

    A frame is told only where fewer than 30 % of a thousand points lie within 10 cm of the true
    surface as they are, and more than 80 % do in that frame: no poor prediction is blamed for what
    it did not do.

    Args:
        points: ``[n, 3]`` float32 metres.
        truth: with samples at most a few centimetres apart.
        given: the views of the scene, for the frames of cameras.
    """
    some = points[:: max(1, len(points) // _SAMPLES)]
    if len(some) < _LEAST_POINTS or _share_near(some, truth) >= _FAILS:
        return ""
    for name, to_world in _frames(given):
        if _share_near(transform_points(to_world, some), truth) > _FITS:
            return name
    return ""


def _share_near(points: Tensor, truth: SurfaceTruth) -> float:
    return surface_distances(points, truth.points).precision(_NEAR)


def _frames(given: Scene | None) -> Iterator[tuple[str, Tensor]]:
    """Frames by name, each with its motion ``[4, 4]`` to the world of the scene."""
    yield "a world with y up", _Y_UP
    yield "a world with y down", _Y_DOWN
    if given is not None:
        yield "the camera of view 0", given.poses[0]
        yield "the OpenGL camera of view 0", given.poses[0] @ _OPENGL_CAMERA
