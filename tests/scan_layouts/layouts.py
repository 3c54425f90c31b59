"""Every layout with its writer, and how exactly it stores a room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scan_layouts import (
    arkitscenes,
    colmap,
    frames,
    nerfstudio,
    replica,
    scannet,
    scannetpp,
    standard,
    threerscan,
    tum,
)
from scan_layouts.room import Room


@dataclass(frozen=True)
class Layout:
    """How a layout is written, and what is lost on the way.

    Attributes:
        write: puts a room below a folder and returns the folder of the scan.
        depth: metres that depth may be off: the unit that is stored, halved.
        color: mean grey levels that colour may be off (JPEG, seen through another camera).
        pose: metres that the camera centre may be off, and the entries of its rotation.
        exact_gravity: whether the files say where gravity points.
        has_depth: whether there is depth.
    """

    write: Callable[[Path, Room], Path]
    depth: float = 0.0005
    color: float = 0.0
    pose: float = 1e-5
    exact_gravity: bool = False
    has_depth: bool = True


LAYOUTS = {
    "g2vlm-fast": Layout(standard.write, depth=0.00005, exact_gravity=True),
    "frames": Layout(frames.write),
    "trajectory": Layout(frames.write_trajectory),
    "tum": Layout(tum.write, depth=0.0001),
    "nerfstudio": Layout(nerfstudio.write),
    "colmap-text": Layout(colmap.write_text),
    "colmap-binary": Layout(colmap.write_binary),
    "scannet": Layout(scannet.write, color=4.0, exact_gravity=True),
    "scannet-sens": Layout(scannet.write_sens, color=4.0, exact_gravity=True),
    "replica": Layout(replica.write, depth=0.0001, color=2.0),
    "arkitscenes": Layout(arkitscenes.write, exact_gravity=True),
    "3rscan": Layout(threerscan.write, color=4.0),
    "scannetpp-phone": Layout(scannetpp.write_phone, color=4.0),
    "scannetpp-camera": Layout(scannetpp.write_camera, color=4.0, has_depth=False),
}
