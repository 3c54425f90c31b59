"""Closed-form intersections of rays with solids, in the axes of the solid.

Boxes: the slab method of Kay and Kajiya (SIGGRAPH 1986); cylinders: the slab of their caps
together with the quadratic of the infinite cylinder; spheres: their quadratic. First axes are
x, y, z; the rest broadcast. Cases are told apart by arithmetic rather than by masks, for which
PyTorch has no vectorised code on the CPU: what contradicts a hit is multiplied by a huge number
and raises the distance beyond ``NO_HIT``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.primitives import Shape

ByAxis = Tensor | Sequence[Tensor]

NO_HIT = 1e9
"""Distances from here on mean that a ray meets nothing."""

_PENALTY = 1e30
_NEAREST = 1e-6  # a ray starts in free space, so a nearer hit lies behind its start
_SMALLEST = 1e-9


def first_hit(shape: Shape, start: ByAxis, along: ByAxis, half_size: ByAxis) -> Tensor:
    """Distance to a solid in its own axes (first axis: x, y, z), from ``NO_HIT`` on for a miss."""
    near, far = _INTERVALS[shape](start, along, half_size)
    against = near - far
    if shape == Shape.ROOM:
        against = torch.maximum(against, near)
        entry = far
    else:
        entry = near
    against = torch.maximum(against, _NEAREST - entry)
    distance = torch.maximum(entry, against * _PENALTY)
    return distance.nan_to_num_(nan=torch.inf, posinf=torch.inf)


def _slab(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    """Interval between two parallel walls; infinite for a ray along them."""
    inverse = along.reciprocal()
    one, other = (-half_size - start) * inverse, (half_size - start) * inverse
    return torch.minimum(one, other), torch.maximum(one, other)


def _box_interval(start: ByAxis, along: ByAxis, half_size: ByAxis) -> tuple[Tensor, Tensor]:
    near, far = _slab(start[0], along[0], half_size[0])
    for axis in (1, 2):
        enter, leave = _slab(start[axis], along[axis], half_size[axis])
        near, far = torch.maximum(near, enter), torch.minimum(far, leave)
    return near, far


def _cylinder_interval(start: ByAxis, along: ByAxis, half_size: ByAxis) -> tuple[Tensor, Tensor]:
    near, far = _slab(start[2], along[2], half_size[2])
    x, y = _away_from_zero(along[0]), along[1]
    inverse = (x.square() + y.square()).reciprocal()
    moment = start[0] * y - start[1] * x  # keeps thin cylinders exact in float32
    discriminant = half_size[0].square() - moment.square() * inverse
    middle = -(start[0] * x + start[1] * y) * inverse
    reach = (discriminant.clamp_min(0) * inverse).sqrt()
    near = torch.maximum(near, torch.maximum(middle - reach, -discriminant * _PENALTY))
    return near, torch.minimum(far, middle + reach)


def _sphere_interval(start: ByAxis, along: ByAxis, half_size: ByAxis) -> tuple[Tensor, Tensor]:
    x, y, z = along
    inverse = (x.square() + y.square() + z.square()).reciprocal()
    moment = (
        (start[1] * z - start[2] * y).square()
        + (start[2] * x - start[0] * z).square()
        + (start[0] * y - start[1] * x).square()
    )
    discriminant = half_size[0].square() - moment * inverse
    middle = -(start[0] * x + start[1] * y + start[2] * z) * inverse
    reach = (discriminant.clamp_min(0) * inverse).sqrt()
    return torch.maximum(middle - reach, -discriminant * _PENALTY), middle + reach


def _away_from_zero(direction: Tensor) -> Tensor:
    return torch.copysign(direction.abs().clamp_min(_SMALLEST), direction)


_INTERVALS: dict[Shape, Callable[[ByAxis, ByAxis, ByAxis], tuple[Tensor, Tensor]]] = {
    Shape.BOX: _box_interval,
    Shape.CYLINDER: _cylinder_interval,
    Shape.ROOM: _box_interval,
    Shape.SPHERE: _sphere_interval,
}
