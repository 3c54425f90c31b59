"""Furnished rooms from a seed, with the complete truth about them.

The record of a room (walls, furniture, cameras; :func:`room_record`) is made of integer draws
and is the same on every machine; pixels agree within the tolerance of float32 arithmetic.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.data.rendering.render import Rendering, render
from g2vlm_fast.data.rendering.sensor import sense_depth, sense_images, to_uint8
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.partial_mesh import partial_mesh, scanned_mesh
from g2vlm_fast.data.rooms.records import RoomRecord, draw_room
from g2vlm_fast.data.rooms.solids import build_primitives
from g2vlm_fast.data.rooms.truth import room_truth
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.geometry.cameras import pixel_rays

_SENSOR_STREAM = 1


def generate_room(
    seed: int, config: RoomConfig | None = None, *, device: torch.device | str = "cpu"
) -> Scene:
    """Make the room of a seed.

    Args:
        seed: 0 or larger.
        config: what rooms are drawn from; None for the defaults.
        device: where its views are rendered. The scene comes back on the CPU; what is drawn about
            it is the same whatever the device, and pixels agree within float32.

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
    seen = render(
        primitives.to(device), intrinsics.to(device), poses.to(device), height, width,
        lamp=lamp.to(device),
    ).to_host()  # fmt: skip
    return Scene(
        name=f"room-{seed}",
        intrinsics=intrinsics,
        poses=poses,
        truth=room_truth(record.layout, primitives, seen, poses[0]),
        **_sense(record, config, seen, intrinsics, poses),
        **_given_mesh(record, primitives, seen.depth, intrinsics, poses),
    )


def room_record(seed: int, config: RoomConfig | None = None) -> dict[str, Any]:
    """Return everything that was drawn about a room as plain numbers and names.

    Equal on every machine: whoever finds a difference has found a defect.
    """
    return asdict(draw_room(seed, config or RoomConfig()))


def _sense(
    record: RoomRecord, config: RoomConfig, seen: Rendering, intrinsics: Tensor, poses: Tensor
) -> dict[str, Any]:
    if not config.sensor_noise:
        depth = seen.depth if record.depth_given else None
        return {"images": to_uint8(seen.images), "depth": depth, "depth_sigma": None}
    generator = np.random.Generator(np.random.PCG64((record.seed, _SENSOR_STREAM)))
    images = sense_images(seen.images, generator, scale=config.noise_scale)
    if not record.depth_given:
        return {"images": images, "depth": None, "depth_sigma": None}
    rays = pixel_rays(intrinsics, *config.image_size)
    back = -torch.nn.functional.normalize(
        (rays[..., None, :] * poses[:, None, None, :3, :3]).sum(-1), dim=-1
    )
    cosine = (seen.normal.permute(0, 2, 3, 1) * back).sum(-1)
    depth, sigma = sense_depth(seen.depth, cosine, generator, scale=config.noise_scale)
    return {"images": images, "depth": depth, "depth_sigma": sigma}


def _given_mesh(
    record: RoomRecord, primitives: Primitives, depth: Tensor, intrinsics: Tensor, poses: Tensor
) -> dict[str, Any]:
    if record.scan is not None:
        mesh = scanned_mesh(primitives, record.scan, intrinsics, poses, depth)
    elif record.meshed is not None and any(record.meshed):
        instances = primitives.instance.tolist()
        kept = [row for row, index in enumerate(instances) if row > 0 and record.meshed[index + 1]]
        mesh = partial_mesh(primitives, kept)
    else:
        return {}
    names = ("vertices", "faces", "vertex_normals", "vertex_colors")
    return dict(zip(names, mesh, strict=True)) if len(mesh[1]) else {}
