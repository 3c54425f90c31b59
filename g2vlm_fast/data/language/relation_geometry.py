"""What the relations of upright boxes are measured by, all pairs at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from g2vlm_fast.geometry.boxes import Boxes, footprint_overlap


@dataclass(frozen=True, eq=False)
class Pairs:
    """All ordered pairs of K upright boxes, in float64: (subject, object) along two axes."""

    center: Tensor  # [K, 3] metres
    size: Tensor  # [K, 3] metres, full extents
    rotation: Tensor  # [K, 3, 3] box axes to world

    @property
    def count(self) -> int:
        return len(self.center)

    @property
    def boxes(self) -> Boxes:
        return self.center, self.size, self.rotation

    @cached_property
    def bottom(self) -> Tensor:
        """Lowest height ``[K]`` in metres."""
        return self.center[:, 2] - self.size[:, 2] / 2

    @cached_property
    def top(self) -> Tensor:
        """Greatest height ``[K]`` in metres."""
        return self.center[:, 2] + self.size[:, 2] / 2

    @cached_property
    def displacement(self) -> Tensor:
        """From the centre of the object to that of the subject, ``[K, K, 3]`` metres."""
        return self.center[:, None] - self.center[None]

    @cached_property
    def footprint_share(self) -> Tensor:
        """Area of the ground rectangles in common over that of the subject's, ``[K, K]``."""
        area = self.size[:, :2].prod(-1).clamp_min(1e-9)
        return footprint_overlap(self.boxes, self.boxes) / area[:, None]

    @cached_property
    def corners_from_subject(self) -> Tensor:
        """Ground corners of the object, ``[K, K, 4, 2]`` metres to the (right, front) of the
        subject, as somebody who stands in its centre and looks along its negative y axis."""
        signs = self.size.new_tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        local = signs * self.size[:, None, :2]
        axes = self.rotation[:, :2, :2]
        world = self.center[:, None, :2] + (axes[:, None] * local[:, :, None, :]).sum(-1)
        return self._seen_from_subject(world[None] - self.center[:, None, None, :2])

    @cached_property
    def center_from_subject(self) -> Tensor:
        """The centre of the object in the same frame, ``[K, K, 1, 2]`` metres."""
        return self._seen_from_subject(-self.displacement[:, :, None, :2])

    def _seen_from_subject(self, offset: Tensor) -> Tensor:
        axes = self.rotation[:, None, None, :2, :2]
        return -(axes * offset[..., None]).sum(-2)


def decided(holds: Tensor, fails: Tensor) -> Tensor:
    """Labels int8: 1 where something holds, else 0 where it fails, else -1: undecided."""
    return torch.where(holds, 1, torch.where(fails, 0, -1)).to(torch.int8)


def share_of_box_inside(pairs: Pairs) -> Tensor:
    """Volume of the boxes in common over that of the subject's, ``[K, K]``."""
    low = torch.maximum(pairs.bottom[:, None], pairs.bottom[None])
    high = torch.minimum(pairs.top[:, None], pairs.top[None])
    height = pairs.size[:, 2].clamp_min(1e-9)[:, None]
    return pairs.footprint_share * (high - low).clamp_min(0) / height


def share_of_grown_footprints(pairs: Pairs, growth: float) -> Tensor:
    """Area that ground rectangles share once grown, over that of the smaller one, ``[K, K]``.

    Every rectangle is grown by ``growth`` metres on all four sides.
    """
    size = pairs.size + 2 * growth * pairs.size.new_tensor([1.0, 1.0, 0.0])
    boxes = (pairs.center, size, pairs.rotation)
    area = size[:, :2].prod(-1).clamp_min(1e-9)
    return footprint_overlap(boxes, boxes) / torch.minimum(area[:, None], area[None])


def meets_ray(pairs: Pairs, angle: float) -> Tensor:
    """Whether the ray from the subject's centre meets the object's footprint, ``[K, K]`` bool.

    The ray points ``angle`` radians to the right of the subject's front.
    """
    corners = pairs.corners_from_subject
    sine, cosine = math.sin(angle), math.cos(angle)
    aside = cosine * corners[..., 0] - sine * corners[..., 1]
    ahead = sine * corners[..., 0] + cosine * corners[..., 1]
    next_aside, next_ahead = aside.roll(-1, -1), ahead.roll(-1, -1)
    crosses = (aside > 0) != (next_aside > 0)
    step = torch.where(crosses, aside - next_aside, torch.ones_like(aside))
    crossing = ahead + aside / step * (next_ahead - ahead)
    return (crosses & (crossing > 0)).any(-1)


def angle_off_ahead(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Angles between the subject's front and the object's centre, and its nearest corner.

    Returns:
        Two tensors ``[K, K]`` of radians from 0 to pi.
    """

    def off(points: Tensor) -> Tensor:
        return torch.atan2(points[..., 0], points[..., 1]).abs()

    central = off(pairs.center_from_subject)[..., 0]
    return central, torch.minimum(central, off(pairs.corners_from_subject).amin(-1))


def yaw_difference(pairs: Pairs) -> Tensor:
    """Least angle between ground axes of subject and object, ``[K, K]`` radians up to pi / 4."""
    yaw = torch.atan2(pairs.rotation[:, 1, 0], pairs.rotation[:, 0, 0])
    quarter = math.pi / 2
    turn = (yaw[:, None] - yaw[None]).remainder(quarter)
    return torch.minimum(turn, quarter - turn)
