"""Boxes against Monte-Carlo volumes, densely sampled distances and cases with known answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from g2vlm_fast.geometry.boxes import (
    box_corners,
    footprint_overlap,
    points_in_boxes,
    upright_box_gap,
    upright_box_iou,
)

Boxes = tuple[Tensor, Tensor, Tensor]


def yaw_rotation(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).view(*angle.shape, 3, 3)


def random_boxes(count: int, generator: torch.Generator, spread: float = 1.0) -> Boxes:
    center = (torch.rand(count, 3, generator=generator) - 0.5) * spread
    size = 0.3 + 1.2 * torch.rand(count, 3, generator=generator)
    return center, size, yaw_rotation(2 * math.pi * torch.rand(count, generator=generator))


def one_box(
    x: float, size: tuple[float, float, float], degrees: float = 0.0, z: float = 0
) -> Boxes:
    angle = torch.tensor([math.radians(degrees)])
    return torch.tensor([[x, 0.0, z]]), torch.tensor([size]), yaw_rotation(angle)


def test_iou_agrees_with_monte_carlo_volumes(generator: torch.Generator) -> None:
    first, second = random_boxes(6, generator), random_boxes(7, generator)
    points = (torch.rand(200_000, 3, generator=generator) - 0.5) * 4
    in_first, in_second = points_in_boxes(points, *first), points_in_boxes(points, *second)
    both = (in_first[:, None] & in_second[None]).float().sum(-1)
    either = (in_first[:, None] | in_second[None]).float().sum(-1)
    iou = upright_box_iou(first, second)
    assert (iou > 0.05).sum() > 10
    torch.testing.assert_close(iou, both / either, atol=0.025, rtol=0)


def test_iou_of_a_box_with_itself_is_one(generator: torch.Generator) -> None:
    boxes = random_boxes(20, generator)
    torch.testing.assert_close(upright_box_iou(boxes, boxes).diagonal(), torch.ones(20))


def test_iou_does_not_depend_on_which_side_is_called_width() -> None:
    first = one_box(0, (1.0, 2.0, 1.0), 30)
    second = one_box(0, (2.0, 1.0, 1.0), 120)
    assert upright_box_iou(first, second).item() == pytest.approx(1.0, abs=1e-6)


def test_square_turned_by_an_eighth_overlaps_in_an_octagon() -> None:
    octagon = 2 * (math.sqrt(2) - 1)
    iou = upright_box_iou(one_box(0, (1, 1, 1)), one_box(0, (1, 1, 1), 45)).item()
    assert iou == pytest.approx(octagon / (2 - octagon), abs=1e-6)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (one_box(0.5, (1, 1, 1)), 1 / 3),  # shifted by half
        (one_box(1.0, (1, 1, 1)), 0.0),  # face to face
        (one_box(2.0, (1, 1, 1)), 0.0),  # apart
        (one_box(0.0, (0.5, 0.5, 0.5), 20), 0.125),  # inside
        (one_box(0.0, (1, 1, 1), z=0.5), 1 / 3),  # above by half
        (one_box(0.0, (1, 1, 1), z=1.5), 0.0),  # above
        (one_box(0.0, (0, 1, 1)), 0.0),  # flat
    ],
)
def test_iou_of_known_cases(second: Boxes, expected: float) -> None:
    assert upright_box_iou(one_box(0, (1, 1, 1)), second).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_two_boxes_without_volume_have_iou_zero() -> None:
    flat = one_box(0, (0, 1, 1))
    assert upright_box_iou(flat, flat).item() == 0.0


def test_no_boxes_give_an_empty_matrix(generator: torch.Generator) -> None:
    none = random_boxes(0, generator)
    assert upright_box_iou(none, random_boxes(3, generator)).shape == (0, 3)


def test_footprints_overlap_whatever_the_heights() -> None:
    overlap = footprint_overlap(one_box(0, (1, 1, 1)), one_box(0.25, (1, 1, 1), z=9.0))
    assert overlap.item() == pytest.approx(0.75, abs=1e-6)


def test_gap_agrees_with_the_distance_between_densely_sampled_boxes(
    generator: torch.Generator,
) -> None:
    first, second = random_boxes(6, generator, 6.0), random_boxes(5, generator, 6.0)
    step = torch.linspace(-0.5, 0.5, 13)
    grid = torch.cartesian_prod(step, step, step)

    def solid(boxes: Boxes) -> Tensor:
        center, size, rotation = boxes
        return center[:, None] + (grid * size[:, None]) @ rotation.mT

    a, b = solid(first), solid(second)
    sampled = torch.stack([torch.stack([torch.cdist(x, y).min() for y in b]) for x in a])
    gap = upright_box_gap(first, second)
    assert (gap <= sampled + 1e-4).all()
    torch.testing.assert_close(gap, sampled, atol=0.12, rtol=0)
    assert (gap > 0.5).any()


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (one_box(3.0, (1, 1, 1)), 2.0),
        (one_box(0.2, (1, 1, 1)), 0.0),
        (one_box(0.0, (0.2, 0.2, 0.2), 10), 0.0),  # inside
        (one_box(0.0, (1, 1, 1), z=1.5), 0.5),  # above
        (one_box(4.0, (1, 1, 1), z=5.0), 5.0),  # 3 to the side and 4 up
        (one_box(2.0, (1, 1, 1), 45), 1.5 - math.sqrt(0.5)),  # a corner towards a face
    ],
)
def test_gap_of_known_cases(second: Boxes, expected: float) -> None:
    assert upright_box_gap(one_box(0, (1, 1, 1)), second).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_crossing_boxes_without_corners_in_each_other_have_no_gap() -> None:
    assert upright_box_gap(one_box(0, (4, 0.2, 1)), one_box(0, (0.2, 4, 1))).item() == 0.0


def test_corners_span_the_box(generator: torch.Generator) -> None:
    center, size, rotation = random_boxes(4, generator)
    corners = box_corners(center, size, rotation)
    local = (corners - center[:, None]) @ rotation
    torch.testing.assert_close(local.amax(1), size / 2)
    torch.testing.assert_close(local.amin(1), -size / 2)
    torch.testing.assert_close(local[:, 1] * 2 / size, torch.tensor([[-1.0, -1.0, 1.0]] * 4))


def test_points_on_the_faces_are_inside() -> None:
    points = torch.tensor([[0.5, 0.0, 0.0], [0.5001, 0.0, 0.0], [0.0, 0.0, -0.5]])
    assert points_in_boxes(points, *one_box(0, (1, 1, 1))).tolist() == [[True, False, True]]


def test_tilted_boxes_are_refused() -> None:
    center, size, _ = one_box(0, (1, 1, 1))
    tilted = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]])
    with pytest.raises(ValueError, match="boxes must be upright"):
        upright_box_iou((center, size, tilted), one_box(0, (1, 1, 1)))


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes must not be negative"):
        upright_box_gap(one_box(0, (1, -1, 1)), one_box(0, (1, 1, 1)))
