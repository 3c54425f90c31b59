"""Rooms of which only boxes are known, in the form that texts and programs read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.data import RoomObject, RoomTruth, Scene
from g2vlm_fast.data.language.facts import UNKNOWN_COLOR
from g2vlm_fast.data.language.relations import relation_labels
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.render import instances
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.ontology import CONTAINERS, DIRECTIONAL_RELATIONS, RELATIONS

_MARGIN = 1.0  # metres between the outermost camera or box and the walls of the shell
_UNCOLORED = 0.5


@dataclass(frozen=True, eq=False)
class Cameras:
    """Views of a room: ``intrinsics [V, 3, 3]`` pixels, ``poses [V, 4, 4]`` camera to world."""

    intrinsics: Tensor
    poses: Tensor
    image_size: tuple[int, int]  # height, width
    gravity: Tensor  # [3] unit, points down

    @classmethod
    def of(cls, scene: Scene) -> Cameras:
        return cls(scene.intrinsics, scene.poses, scene.image_size, scene.gravity)


def room_of_boxes(
    boxes: Boxes,
    class_names: Sequence[str],
    *,
    cameras: Cameras | None = None,
    floor_size: tuple[float, float] | None = None,
) -> RoomTruth:
    """Make what boxes and names tell of a room: nothing has a colour, a front or a support.

    Args:
        boxes: K upright boxes, metres.
        class_names: K names of ``ontology.CLASSES``.
        cameras: from whose first view directions are meant; views show the boxes as solids.
            None: directions between objects are undecided, and one view shows nothing.
        floor_size: sides of the floor in metres; None for those of the rectangle around all boxes.

    Raises:
        ValueError: no box, or another number of names than of boxes.
    """
    if not len(boxes) or len(boxes) != len(class_names):
        raise ValueError(
            "room_of_boxes: expected at least one box and a name for each, got "
            f"{len(boxes)} boxes and {len(class_names)} names"
        )
    center, size, rotation = (part.float() for part in boxes.tensors())
    solids = _solids(center, size, rotation, cameras)
    return RoomTruth(
        objects=tuple(
            RoomObject(
                class_name=name, color=UNKNOWN_COLOR, center=center[i], size=size[i],
                rotation=rotation[i], primitives=range(i + 1, i + 2),
            )
            for i, name in enumerate(class_names)
        ),
        primitives=solids,
        relations=_relations(center, size, rotation, class_names, cameras),
        room_size=_room_size(boxes, floor_size),
        program="layout",
        **_views(solids, cameras),
    )  # fmt: skip


def _relations(
    center: Tensor, size: Tensor, rotation: Tensor, names: Sequence[str], cameras: Cameras | None
) -> Tensor:
    pose = torch.eye(4) if cameras is None else cameras.poses[0]
    down = torch.tensor([0.0, 0.0, -1.0]) if cameras is None else cameras.gravity
    if cameras is None:  # any level pose will do, as its directions are struck out
        pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    labels = relation_labels(
        center, size, rotation, pose, down, containers=[name in CONTAINERS for name in names]
    )
    if cameras is None:
        labels[..., [RELATIONS.index(name) for name in DIRECTIONAL_RELATIONS]] = -1
    return labels


def _solids(center: Tensor, size: Tensor, rotation: Tensor, cameras: Cameras | None) -> Primitives:
    """The boxes within a shell that stands for the room."""
    reach = size.norm(dim=-1, keepdim=True) / 2
    inside = [center - reach, center + reach]
    if cameras is not None:
        inside.append(cameras.poses[:, :3, 3])
    points = torch.cat(inside)
    low, high = points.amin(0) - _MARGIN, points.amax(0) + _MARGIN
    count = len(center) + 1
    return Primitives(
        shape=torch.tensor([int(Shape.ROOM)] + [int(Shape.BOX)] * (count - 1)),
        center=torch.cat([(low + high)[None] / 2, center]),
        rotation=torch.cat([torch.eye(3)[None], rotation]),
        half_size=torch.cat([(high - low)[None] / 2, size / 2]),
        color=torch.full((count, 3), _UNCOLORED),
        material=torch.zeros(count, dtype=torch.int64),
        instance=torch.arange(count) - 1,
    )


def _room_size(boxes: Boxes, floor_size: tuple[float, float] | None) -> Tensor:
    reach = (abs(boxes.rotation) * boxes.size[:, None, :] / 2).sum(-1)
    low, high = (boxes.center - reach).min(0), (boxes.center + reach).max(0)
    sides = high - low if floor_size is None else [*floor_size, high[2] - low[2]]
    return torch.tensor(sides, dtype=torch.float32)


def _views(solids: Primitives, cameras: Cameras | None) -> dict[str, Tensor]:
    if cameras is None:
        nothing = torch.zeros(1, 1, 1)
        instance = torch.full((1, 1, 1), -1)
    else:
        instance = instances(solids, cameras.intrinsics, cameras.poses, *cameras.image_size)
        nothing = torch.zeros(instance.shape)
    normal = nothing[:, None].expand(-1, 3, -1, -1)
    return {"depth": nothing, "normal": normal, "instance": instance}
