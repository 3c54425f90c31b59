"""Closed-form solids: what rooms are built of, and exact questions about them.

A :class:`Primitives` set holds oriented boxes, cylinders, spheres and at most one room (a box
seen from inside), never none at all. Distances follow the closed forms of Quilez, "Distance
functions" (iquilezles.org/articles/distfunctions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property

import torch
from torch import Tensor


class Shape(IntEnum):
    """The kind of a primitive."""

    BOX = 0
    CYLINDER = 1  # axis along its local z; half_size = (radius, radius, half height)
    ROOM = 2  # solid everywhere outside its box
    SPHERE = 3  # half_size = (radius, radius, radius)


@dataclass(frozen=True, kw_only=True, eq=False)
class Primitives:
    """P solids in the world; tensors share one device."""

    shape: Tensor  # [P] int64, a Shape
    center: Tensor  # [P, 3] float32 metres
    rotation: Tensor  # [P, 3, 3] float32, local axes to world
    half_size: Tensor  # [P, 3] float32 metres
    color: Tensor  # [P, 3] float32 in [0, 1]
    material: Tensor  # [P] int64, a Material of the renderer
    instance: Tensor  # [P] int64, the object that it belongs to, -1 = the room

    def __post_init__(self) -> None:
        if len(self.shape) == 0:
            raise ValueError("Primitives: a set must hold at least one solid")

    def __len__(self) -> int:
        return self.shape.shape[0]

    @classmethod
    def joined(cls, sets: Sequence[Primitives]) -> Primitives:
        """Return the solids of all ``sets``, one after the other."""
        return cls(
            **{item.name: torch.cat([getattr(s, item.name) for s in sets]) for item in fields(cls)}
        )

    def to(self, device: torch.device | str) -> Primitives:
        """Return the set with every tensor on ``device``."""
        return self._map(lambda tensor: tensor.to(device))

    def double(self) -> Primitives:
        """Return the set with geometry and colour in float64."""
        return self._map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def rows(self, index: Tensor) -> Primitives:
        """Return the solids of ``index`` (int64 or bool)."""
        return self._map(lambda tensor: tensor[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Primitives:
        return Primitives(**{item.name: change(getattr(self, item.name)) for item in fields(self)})

    @cached_property
    def shapes(self) -> list[int]:
        """The shapes as numbers on the host."""
        return self.shape.tolist()

    @cached_property
    def materials(self) -> list[int]:
        """The materials that occur, on the host."""
        return sorted(set(self.material.tolist()))

    def local(self, points: Tensor) -> Tensor:
        """Return world ``points [N, 3]`` in the axes of every primitive, ``[3, P, N]``."""
        return to_local(self.rotation, points.mT[:, None] - self.center.mT[..., None])

    def signed_distances(self, points: Tensor) -> Tensor:
        """Return the distance ``[P, N]`` of world points to every solid, negative inside."""
        distance = points.new_empty(len(self), len(points), dtype=self.center.dtype)
        for shape in sorted(set(self.shapes)):
            row = torch.tensor([i for i, kind in enumerate(self.shapes) if kind == shape])
            row = row.to(points.device)
            some = self.rows(row)
            distance[row] = _DISTANCES[Shape(shape)](
                some.local(points), some.half_size.mT[..., None]
            )
        return distance

    def signed_distance(self, points: Tensor) -> Tensor:
        """Return the distance ``[N]`` in metres to the union of all solids.

        Positive in free space, where it is exact; negative inside a solid, where its magnitude
        is exact too unless solids touch or overlap there (then it is a lower bound).
        """
        return self.signed_distances(points).amin(0)


def to_local(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Rotate ``vectors [3, 1 or P, 1 or N]`` into the axes of ``rotation [P, 3, 3]``."""
    by_row = rotation.permute(1, 2, 0)[..., None]  # [world axis, local axis, P, 1]
    return by_row[0] * vectors[0] + by_row[1] * vectors[1] + by_row[2] * vectors[2]


def _distance_to_box(local: Tensor, half_size: Tensor) -> Tensor:
    return _distance_past_walls(local.abs() - half_size)


def _distance_to_cylinder(local: Tensor, half_size: Tensor) -> Tensor:
    radial = (local[0].square() + local[1].square()).sqrt() - half_size[0]
    return _distance_past_walls(torch.stack([radial, local[2].abs() - half_size[2]]))


def _distance_to_sphere(local: Tensor, half_size: Tensor) -> Tensor:
    return local.square().sum(0).sqrt() - half_size[0]


def _distance_to_room(local: Tensor, half_size: Tensor) -> Tensor:
    return -_distance_to_box(local, half_size)


def _distance_past_walls(beyond: Tensor) -> Tensor:
    """Distance from the excesses ``[k, P, N]`` over pairs of parallel walls."""
    return beyond.clamp_min(0).square().sum(0).sqrt() + beyond.amax(0).clamp_max(0)


_DISTANCES: dict[Shape, Callable[[Tensor, Tensor], Tensor]] = {
    Shape.BOX: _distance_to_box,
    Shape.CYLINDER: _distance_to_cylinder,
    Shape.ROOM: _distance_to_room,
    Shape.SPHERE: _distance_to_sphere,
}
