"""Every layout with its writer, and how exactly it stores a room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scan_layouts import colmap, frames, nerfstudio, scannet, standard, tum
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
    """

    write: Callable[[Path, Room], Path]
    depth: float = 0.0005
    color: float = 0.0
    pose: float = 1e-5
    exact_gravity: bool = False


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
}
