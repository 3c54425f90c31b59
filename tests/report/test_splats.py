"""Points as pictures: near ones cover far ones, and backs are not seen."""

from __future__ import annotations

import numpy as np
import torch

from g2vlm_fast.report.cameras import VirtualCamera
from g2vlm_fast.report.pictures import BACKGROUND
from g2vlm_fast.report.splats import distance_in_colors, draw_points

_CAMERA = VirtualCamera(
    torch.tensor([[20.0, 0, 10], [0, 20, 10], [0, 0, 1]]), torch.eye(4), (20, 20)
)
_POINTS = np.array([[0, 0, 2], [0, 0, 1]], dtype=np.float32)
_COLORS = np.array([[255, 0, 0], [0, 255, 0]], dtype=np.uint8)


def test_near_points_cover_far_ones_in_whatever_order() -> None:
    pictures = [
        draw_points(_POINTS[order], _COLORS[order], _CAMERA, spacing=0.01)
        for order in ([0, 1], [1, 0])
    ]
    assert np.array_equal(*pictures)
    assert pictures[0][10, 10].tolist() == [0, 255, 0]
    assert pictures[0][0, 0].tolist() == np.round(BACKGROUND * 255).astype(int).tolist()


def test_surface_seen_from_behind_is_left_out() -> None:
    normals = np.array([[0, 0, -1], [0, 0, 1]], dtype=np.float32)
    picture = draw_points(_POINTS, _COLORS, _CAMERA, spacing=0.01, normals=normals)
    assert picture[10, 10].tolist() == [255, 0, 0]


def test_an_infinite_distance_has_the_colour_of_the_worst() -> None:
    colors = distance_in_colors(np.array([np.inf, 0.1, 0.0]), 0.1)
    assert (colors[0] == colors[1]).all()
    assert (colors[1] != colors[2]).any()
