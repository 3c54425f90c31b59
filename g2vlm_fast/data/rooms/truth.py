"""The truth about a room that was laid out and rendered."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from g2vlm_fast.data.language.relations import relation_labels
from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.data.rendering.render import Rendering
from g2vlm_fast.data.rooms.layout import Layout
from g2vlm_fast.data.rooms.solids import yaw_rotation
from g2vlm_fast.data.rooms.support import is_in
from g2vlm_fast.data.rooms.turns import cosine_sine
from g2vlm_fast.data.scene import RoomObject, RoomTruth
from g2vlm_fast.ontology import CONTAINERS


def room_truth(layout: Layout, primitives: Primitives, seen: Rendering, pose: Tensor) -> RoomTruth:
    """Gather the truth about a room.

    Args:
        layout: the room.
        primitives: its solids.
        seen: its views.
        pose: ``[4, 4]`` camera to world, the view that directions are meant from.
    """
    objects = objects_of(layout, primitives)
    return RoomTruth(
        objects=objects,
        primitives=primitives,
        relations=relations_of(objects, pose),
        room_size=torch.tensor(layout.size) / 1000,
        program=layout.program,
        depth=seen.depth,
        normal=seen.normal,
        instance=seen.instance,
    )


def objects_of(layout: Layout, primitives: Primitives) -> tuple[RoomObject, ...]:
    """Return the furniture of a room as objects."""
    instances = primitives.instance.tolist()
    objects = []
    for index, piece in enumerate(layout.placed):
        size = torch.tensor(piece.furniture.size) / 1000
        base = torch.tensor([piece.x, piece.y, piece.z]) / 1000
        first = instances.index(index)
        objects.append(
            RoomObject(
                class_name=piece.furniture.class_name,
                variant=piece.furniture.variant,
                color=piece.color,
                center=base + size * torch.tensor([0.0, 0.0, 0.5]),
                size=size,
                rotation=yaw_rotation([cosine_sine(piece.yaw)], torch.float32)[0],
                primitives=range(first, first + len(piece.furniture.parts)),
                support=piece.support,
                inside=piece.support is not None and is_in(piece, layout.placed[piece.support]),
                has_front=piece.furniture.has_front,
            )
        )
    return tuple(objects)


def relations_of(objects: Sequence[RoomObject], pose: Tensor) -> Tensor:
    """Label all ordered pairs of objects, ``[K, K, R]`` int8, with directions from a pose."""
    center, size, rotation = (
        torch.stack([getattr(thing, name) for thing in objects])
        for name in ("center", "size", "rotation")
    )
    return relation_labels(
        center,
        size,
        rotation,
        pose,
        torch.tensor([0.0, 0.0, -1.0]),
        has_front=[thing.has_front for thing in objects],
        containers=[thing.class_name in CONTAINERS for thing in objects],
        supports=[thing.support for thing in objects],
        inside=[thing.inside for thing in objects],
    )
