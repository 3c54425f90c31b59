"""Furnished rooms from a seed, with the complete truth about them.

The record of a room (walls, furniture, cameras; :func:`room_record`) is made of integer draws
and is the same on every machine; pixels agree within the tolerance of float32 arithmetic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.layout import Layout, draw_layout
from g2vlm_fast.data.placement import Placed
from g2vlm_fast.data.primitives import Primitives
from g2vlm_fast.data.relations import relation_labels
from g2vlm_fast.data.render import Rendering, render
from g2vlm_fast.data.room_config import RoomConfig
from g2vlm_fast.data.sampling import partial_mesh
from g2vlm_fast.data.scene import RoomObject, RoomTruth, Scene
from g2vlm_fast.data.sensor import sense_depth, sense_images, to_uint8
from g2vlm_fast.data.solids import build_primitives, yaw_rotation
from g2vlm_fast.data.turns import cosine_sine
from g2vlm_fast.data.viewpoints import Viewpoints, draw_viewpoints
from g2vlm_fast.geometry.cameras import pixel_rays
from g2vlm_fast.ontology import CONTAINERS

_LAYOUT_STREAM, _SENSOR_STREAM = 0, 1
_ATTEMPTS = 50


@dataclass(frozen=True)
class RoomRecord:
    """Everything that was drawn about a room, in whole numbers."""

    seed: int
    layout: Layout
    viewpoints: Viewpoints
    depth_given: bool
    meshed: tuple[bool, ...] | None  # floor, then every object; None = no mesh is given


def generate_room(seed: int, config: RoomConfig | None = None) -> Scene:
    """Make the room of a seed.

    Args:
        seed: 0 or larger.
        config: what rooms are drawn from; None for the defaults.

    Returns:
        The scene with its truth. At least one view sees each object of the truth; directions
        are meant from view 0.

    Raises:
        ValueError: a negative seed, or a configuration in which nothing fits.
    """
    config = config or RoomConfig()
    record = draw_room(seed, config)
    primitives = build_primitives(record.layout)
    height, width = config.image_size
    intrinsics = record.viewpoints.intrinsics(config.image_size).float()
    poses = record.viewpoints.poses().float()
    lamp = torch.tensor([0.0, 0.0, record.layout.size[2] / 1000 - 0.2])
    seen = render(primitives, intrinsics, poses, height, width, lamp=lamp)
    return Scene(
        name=f"room-{seed}",
        intrinsics=intrinsics,
        poses=poses,
        truth=_truth(record, primitives, seen, poses),
        **_sense(record, config, seen, intrinsics, poses),
        **_given_mesh(record, primitives),
    )


def room_record(seed: int, config: RoomConfig | None = None) -> dict[str, Any]:
    """Return everything that was drawn about a room as plain numbers and names.

    Equal on every machine: whoever finds a difference has found a defect.
    """
    return asdict(draw_room(seed, config or RoomConfig()))


def draw_room(seed: int, config: RoomConfig) -> RoomRecord:
    """Draw layout and cameras; furniture that no view sees is taken out of the room."""
    draws = Draws(seed, _LAYOUT_STREAM)
    for _ in range(_ATTEMPTS):
        layout = draw_layout(draws, config)
        if not layout.placed:
            continue
        primitives = build_primitives(layout, torch.float64)
        viewpoints, visible = draw_viewpoints(draws, config, layout, primitives)
        if viewpoints is None:
            continue
        layout = _keep(layout, visible)
        if len(layout.placed) >= min(2, config.objects[0]):
            given = draws.chance(config.depth_probability)
            meshed = None
            if draws.chance(config.mesh_probability):
                meshed = tuple(draws.chance(0.6) for _ in range(len(layout.placed) + 1))
            return RoomRecord(seed, layout, viewpoints, given, meshed)
    raise ValueError(f"generate_room: nothing fits into the rooms of this configuration, {config}")


def _keep(layout: Layout, visible: set[int]) -> Layout:
    """Take out what is not visible, and what stands on it."""
    kept = [
        index
        for index, piece in enumerate(layout.placed)
        if index in visible and (piece.support is None or piece.support in visible)
    ]
    moved = {old: new for new, old in enumerate(kept)}
    placed = []
    for index in kept:
        piece = layout.placed[index]
        support = None if piece.support is None else moved[piece.support]
        placed.append(Placed(**{**vars(piece), "support": support}))
    return Layout(**{**vars(layout), "placed": tuple(placed)})


def _sense(
    record: RoomRecord, config: RoomConfig, seen: Rendering, intrinsics: Tensor, poses: Tensor
) -> dict[str, Any]:
    if not config.sensor_noise:
        depth = seen.depth if record.depth_given else None
        return {"images": to_uint8(seen.images), "depth": depth, "depth_sigma": None}
    generator = np.random.Generator(np.random.PCG64((record.seed, _SENSOR_STREAM)))
    images = sense_images(seen.images, generator)
    if not record.depth_given:
        return {"images": images, "depth": None, "depth_sigma": None}
    rays = pixel_rays(intrinsics, *config.image_size)
    back = -torch.nn.functional.normalize(
        (rays[..., None, :] * poses[:, None, None, :3, :3]).sum(-1), dim=-1
    )
    cosine = (seen.normal.permute(0, 2, 3, 1) * back).sum(-1)
    depth, sigma = sense_depth(seen.depth, cosine, generator)
    return {"images": images, "depth": depth, "depth_sigma": sigma}


def _given_mesh(record: RoomRecord, primitives: Primitives) -> dict[str, Any]:
    if record.meshed is None or not any(record.meshed):
        return {}
    instances = primitives.instance.tolist()
    kept = [row for row, index in enumerate(instances) if row > 0 and record.meshed[index + 1]]
    vertices, faces, normals, colors = partial_mesh(primitives, kept)
    return {
        "vertices": vertices,
        "faces": faces,
        "vertex_normals": normals,
        "vertex_colors": colors,
    }


def _truth(record: RoomRecord, primitives: Primitives, seen: Rendering, poses: Tensor) -> RoomTruth:
    instances = primitives.instance.tolist()
    objects = []
    for index, piece in enumerate(record.layout.placed):
        size = torch.tensor(piece.furniture.size) / 1000
        base = torch.tensor([piece.x, piece.y, piece.z]) / 1000
        first = instances.index(index)
        objects.append(
            RoomObject(
                class_name=piece.furniture.class_name,
                color=piece.color,
                center=base + size * torch.tensor([0.0, 0.0, 0.5]),
                size=size,
                rotation=yaw_rotation([cosine_sine(piece.yaw)], torch.float32)[0],
                primitives=range(first, first + len(piece.furniture.parts)),
                support=piece.support,
                has_front=piece.furniture.has_front,
                variant=piece.furniture.variant,
            )
        )
    center, size, rotation = (
        torch.stack([getattr(thing, name) for thing in objects])
        for name in ("center", "size", "rotation")
    )
    gravity = torch.tensor([0.0, 0.0, -1.0])
    return RoomTruth(
        objects=tuple(objects),
        primitives=primitives,
        relations=relation_labels(
            center,
            size,
            rotation,
            poses[0],
            gravity,
            has_front=[thing.has_front for thing in objects],
            containers=[thing.class_name in CONTAINERS for thing in objects],
            supports=[thing.support for thing in objects],
        ),
        room_size=torch.tensor(record.layout.size) / 1000,
        program=record.layout.program,
        depth=seen.depth,
        normal=seen.normal,
        instance=seen.instance,
    )
