"""The package's own layout, by the package's own writer."""

from __future__ import annotations

from pathlib import Path

import torch
from scan_layouts.files import box_mesh
from scan_layouts.room import BOXES, Room

from g2vlm_fast.data.annotations import ScanAnnotations, ScanObject
from g2vlm_fast.data.scans.writer import write_scene
from g2vlm_fast.data.scene import Scene


def write(folder: Path, room: Room) -> Path:
    """Write the room with a mesh and an object."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = BOXES["table"]
    vertices, faces = box_mesh(low, high)
    table = ScanObject(
        id=4,
        class_name="table",
        center=torch.from_numpy((low + high) / 2).float(),
        size=torch.from_numpy(high - low).float(),
        rotation=torch.eye(3),
        attributes=("wooden",),
    )
    matrix = torch.from_numpy(room.matrix).float()
    scene = Scene(
        name="room",
        images=torch.from_numpy(room.images).permute(0, 3, 1, 2).contiguous(),
        intrinsics=matrix.repeat(len(room), 1, 1),
        poses=torch.from_numpy(room.poses).float(),
        depth=torch.from_numpy(room.depth).float(),
        vertices=torch.from_numpy(vertices).float(),
        faces=torch.from_numpy(faces).int(),
        annotations=ScanAnnotations(objects=(table,)),
    )
    write_scene(scene, folder / "room", provenance={"scan": "generated"})
    return folder / "room"
