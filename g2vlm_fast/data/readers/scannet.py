"""ScanNet: exported frames or the ``.sens`` container, mesh, instances, axis alignment.

``color/*.jpg depth/*.png pose/*.txt intrinsic/intrinsic_{color,depth}.txt``, or ``<scan>.sens``;
``<scan>.txt`` with ``axisAlignment``, ``<scan>_vh_clean_2.ply``, ``<scan>.aggregation.json`` and
``<scan>_vh_clean_2.0.010000.segs.json``. Colour is seen through the depth camera (the two stand
millimetres apart, which is neglected); poses, mesh and boxes are axis-aligned.

Source: Dai et al., *ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes*, CVPR 2017.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.readers.calibration import camera_from_file, rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.frame_folder import read_pose
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.listing import Frame, Listing, find_images
from g2vlm_fast.data.readers.safe_files import Fields, read_lines
from g2vlm_fast.data.readers.segmentation import read_instances
from g2vlm_fast.data.readers.sens import read_sens

DOWN = np.array([0.0, 0.0, -1.0])


def is_scannet(folder: Path) -> bool:
    """Whether ``folder`` holds exported frames or a container."""
    return (folder / "intrinsic").is_dir() or any(folder.glob("*.sens"))


def list_scannet(folder: Path) -> Listing:
    """List the frames, poses axis-aligned where ``<scan>.txt`` says how.

    Raises:
        ScanError: missing folders, a broken container, text file or alignment.
    """
    info = _read_info(folder)
    exported = (folder / "intrinsic").is_dir()
    listing = _exported(folder, info) if exported else _container(folder)
    align = _alignment(info)
    mesh = next(iter(sorted(folder.glob("*_vh_clean_2.ply"))), None)
    assumptions = ["Colour was seen through the depth camera, as if both stood at one place."]
    if align is None:
        assumptions.append("The scan has no axisAlignment; it is in the world of its recording.")
        align = np.eye(4)
        gravity = None
    else:
        gravity = DOWN
    frames = [
        frame if frame.pose is None else replace(frame, pose=align @ frame.pose)
        for frame in listing.frames
    ]

    def annotations() -> ScanAnnotations:
        return read_instances(folder, mesh, align)

    return replace(
        listing,
        frames=frames,
        gravity=gravity,
        mesh=mesh,
        mesh_to_world=align,
        annotations=annotations,
        assumptions=assumptions,
    )


def _exported(folder: Path, info: Fields) -> Listing:
    colors = {path.stem: path for path in find_images(folder / "color")}
    depths = {path.stem: path for path in find_images(folder / "depth", (".png",))}
    pose_folder = folder / "pose"
    if not colors:
        raise ScanError(folder / "color", "holds no images", "Export the frames of the scan there")
    frames, skipped = [], []
    names = list(colors) + [name for name in depths if name not in colors]
    for name in names:
        pose = pose_folder / f"{name}.txt"
        try:
            for found, path, what in (
                (name in colors, folder / "color" / f"{name}.jpg", "a colour image"),
                (name in depths, folder / "depth" / f"{name}.png", "a depth image"),
                (pose.is_file(), pose, "a pose"),
            ):
                if not found:
                    raise FrameError(path, "is missing", "Export it", reason=f"without {what}")
            frames.append(Frame(ColorFile(colors[name]), DepthFile(depths[name]), read_pose(pose)))
        except FrameError as error:
            skipped.append(error)
    return Listing(
        frames=frames,
        skipped=skipped,
        camera=_camera(folder, info, "color"),
        depth_camera=_camera(folder, info, "depth"),
    )


def _camera(folder: Path, info: Fields, which: str) -> Camera:
    """A camera, at the size of its sensor: exported images are often smaller."""
    path = folder / "intrinsic" / f"intrinsic_{which}.txt"
    if not path.is_file():
        raise ScanError(path, "is missing", "Export the intrinsics of the scan")
    camera = camera_from_file(path)
    if f"{which}Width" not in info or f"{which}Height" not in info:
        return camera
    width, height = info.number(f"{which}Width"), info.number(f"{which}Height")
    if not (1 <= width < 1e6 and 1 <= height < 1e6):
        raise ScanError(info.path, f"declares {width:g}x{height:g} images", "Copy it again")
    return Camera(camera.matrix, (int(height), int(width)), None, path)


def _container(folder: Path) -> Listing:
    path = sorted(folder.glob("*.sens"))[0]
    sens = read_sens(path)
    return Listing(
        frames=sens.frames,
        skipped=sens.skipped,
        camera=sens.color_camera,
        depth_camera=sens.depth_camera,
        units_per_metre=sens.units_per_metre,
    )


def _alignment(info: Fields) -> NDArray[np.float64] | None:
    """The motion ``[4, 4]`` that makes a scan axis-aligned; None where nothing says it."""
    if "axisAlignment" not in info:
        return None
    return rigid_pose(info.path, "axisAlignment", info.array("axisAlignment", 4, 4))


def _read_info(folder: Path) -> Fields:
    """The numbers of ``<scan>.txt`` (``name = numbers``), by name; none where there is no file."""
    for path in sorted(folder.glob("*.txt")):
        values: dict[str, Any] = {}
        for line in read_lines(path):
            name, equals, text = line.partition("=")
            try:
                numbers = [float(word) for word in text.split()] if equals else []
            except ValueError:
                continue  # a text, such as the type of the scene
            values[name.strip()] = numbers[0] if len(numbers) == 1 else numbers
        if any(name in values for name in ("axisAlignment", "colorWidth", "numDepthFrames")):
            return Fields(path, values)
    return Fields(folder, {})
