"""Closed-form intersections of rays with solids, in the axes of the solid.

Boxes: the slab method of Kay and Kajiya (SIGGRAPH 1986); cylinders: the slab of their caps
together with the quadratic of the infinite cylinder; spheres: their quadratic. First axes are
x, y, z; the rest broadcast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from g2vlm_fast.data.primitives import Shape

_SMALLEST = 1e-9


def first_hit(shape: Shape, start: Tensor, along: Tensor, half_size: Tensor) -> Tensor:
    """Distance to a solid in its own axes (first axis: x, y, z), infinite for a miss."""
    near, far = _INTERVALS[shape](start, along, half_size)
    entry, blocked = (far, near > 0) if shape == Shape.ROOM else (near, near <= 0)
    return entry.masked_fill((near > far) | (far <= 0) | blocked, torch.inf)


def away_from_zero(direction: Tensor) -> Tensor:
    return torch.where(direction.abs() < _SMALLEST, _SMALLEST, direction)


def _slabs(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    inverse = along.reciprocal()
    middle = start * inverse
    reach = inverse.abs() * half_size
    return -middle - reach, reach - middle


def _box_interval(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    near, far = _slabs(start, along, half_size)
    return near.amax(0), far.amin(0)


def _cylinder_interval(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    near, far = _slabs(start[2], along[2], half_size[2])
    squared_length = along[0].square() + along[1].square()
    moment = start[0] * along[1] - start[1] * along[0]  # keeps thin cylinders exact in float32
    discriminant = squared_length * half_size[0].square() - moment.square()
    middle = -(start[0] * along[0] + start[1] * along[1]) / squared_length
    reach = discriminant.clamp_min(0).sqrt() / squared_length
    near = torch.maximum(near, middle - reach)
    far = torch.minimum(far, middle + reach)
    return near.masked_fill(discriminant <= 0, torch.inf), far


def _sphere_interval(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    squared_length = along.square().sum(0)
    moment = torch.linalg.cross(start.expand_as(along), along, dim=0)
    discriminant = squared_length * half_size[0].square() - moment.square().sum(0)
    middle = -(start * along).sum(0) / squared_length
    reach = discriminant.clamp_min(0).sqrt() / squared_length
    return (middle - reach).masked_fill(discriminant <= 0, torch.inf), middle + reach


_INTERVALS: dict[Shape, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    Shape.BOX: _box_interval,
    Shape.CYLINDER: _cylinder_interval,
    Shape.ROOM: _box_interval,
    Shape.SPHERE: _sphere_interval,
}
