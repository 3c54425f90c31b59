"""The one path from any listing to a :class:`~g2vlm_fast.data.scene.Scene`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data.annotations.records import AnnotationError
from g2vlm_fast.data.readers.calibration import camera_from_file
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import check_depth_unit
from g2vlm_fast.data.readers.lens import Camera, pinhole_matrix
from g2vlm_fast.data.readers.listing import Frame, Listing
from g2vlm_fast.data.readers.mesh import read_mesh
from g2vlm_fast.data.readers.odometry import estimate_poses
from g2vlm_fast.data.readers.options import ReadOptions
from g2vlm_fast.data.readers.registry import find_reader
from g2vlm_fast.data.readers.views import View, check_memory, read_views
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.geometry.cameras import transform_points
from g2vlm_fast.geometry.frames import gravity_from_cameras

FARTHEST_CAMERA = 1e4
"""Metres from the origin up to which float32 resolves a millimetre."""

PRIMESENSE = pinhole_matrix(525.0, 525.0, 319.5, 239.5)
"""Factory camera matrix of PrimeSense sensors at 640x480, the default of Open3D."""


@dataclass(frozen=True, eq=False)
class ReadScan:
    """A scan as it was read, with what its scene does not carry.

    Attributes:
        scene: the scene.
        listing: what the reader found.
        frames: the frame of each view.
        layout: name of the reader.
        depth_scale: units a metre that depth was read with.
    """

    scene: Scene
    listing: Listing
    frames: list[Frame]
    layout: str
    depth_scale: float


def read_scan(path: Path | str, options: ReadOptions | None = None) -> Scene:
    """Read a recorded scan: posed colour images, most often with depth.

    Poses are camera to world in metres, cameras OpenCV. The world is the one of the recording;
    where the files do not say where gravity points, it is estimated from how the cameras were
    held (:func:`g2vlm_fast.geometry.frames.align_to_gravity` refines it). Where no frame has a
    pose, RGB-D odometry estimates them, and the scene's ``poses_estimated`` is True.

    Args:
        path: folder in one of the layouts of ``READERS``.
        options: what the files do not say.

    Returns:
        The scene, with everything that was taken for granted in ``assumptions``.

    Raises:
        ScanError: anything missing, truncated or inconsistent; names the file and the remedy.
    """
    return read_scan_with_listing(path, options).scene


def read_scan_with_listing(path: Path | str, options: ReadOptions | None = None) -> ReadScan:
    """As :func:`read_scan`, and what only the listing tells."""
    options = options or ReadOptions()
    folder = Path(path)
    options.check_files()
    reader = find_reader(folder)
    listing = _all_with_depth_or_none(reader.list(folder))
    if not listing.frames and not listing.skipped:
        raise ScanError(folder, "holds no frame", f"Expected {reader.layout}")
    _check_share(folder, listing.skipped, len(listing.frames), options)
    assumptions = list(listing.assumptions)
    frames = _select(listing.frames, options, assumptions)
    scale = options.depth_scale or listing.units_per_metre
    size = _first_size(frames)
    check_memory(folder, len(frames), size[0] * size[1])
    camera = _camera(folder, listing, options, size, assumptions)
    views, damaged = read_views(listing, frames, camera, scale, plausible=options.plausible)
    _check_share(folder, damaged, len(views), options)
    skipped = [*listing.skipped, *damaged]
    if skipped:
        assumptions.append(_counted(skipped, len(listing.frames) + len(listing.skipped)))
    scene = _scene(folder, listing, views, scale, options.plausible, assumptions)
    scene = dataclasses.replace(scene, **_given_mesh(folder, listing, options))
    return ReadScan(scene, listing, [view.frame for view in views], reader.name, scale)


def _scene(
    folder: Path,
    listing: Listing,
    views: list[View],
    scale: float,
    plausible: bool,
    assumptions: list[str],
) -> Scene:
    colors = torch.from_numpy(np.stack([view.color.transpose(2, 0, 1) for view in views]))
    depth = _depth(views, scale, plausible, assumptions)
    intrinsics = torch.from_numpy(np.stack([view.matrix for view in views])).float()
    poses, estimated = _poses(folder, views, colors, depth, intrinsics, assumptions)
    if listing.gravity is not None and not estimated:
        gravity = torch.from_numpy(listing.gravity).float()
    else:
        gravity = gravity_from_cameras(poses)
        assumptions.append("The files do not say where gravity points; it was estimated.")
    annotations = None
    if listing.annotations is not None and not estimated:
        try:
            annotations = listing.annotations()
        except AnnotationError as error:
            raise ScanError(folder, str(error), "Correct the annotations") from error
    try:
        return Scene(
            name=folder.resolve().name,
            images=colors,
            intrinsics=intrinsics,
            poses=poses,
            depth=depth,
            gravity=gravity,
            poses_estimated=estimated or listing.poses_estimated,
            annotations=annotations,
            assumptions=tuple(assumptions),
        )
    except ValueError as error:
        raise ScanError(folder, str(error), "Correct its files, or how it is read") from error


def _depth(
    views: list[View], scale: float, plausible: bool, assumptions: list[str]
) -> Tensor | None:
    measured = [view.depth for view in views if view.depth is not None]
    if len(measured) < len(views):
        assumptions.append("The scan has no depth images.")
        return None
    depth = np.stack(measured)
    source = views[0].frame.depth
    assert source is not None
    if plausible:
        check_depth_unit(source.path, depth, scale)
    return torch.from_numpy(depth)


def _poses(
    folder: Path,
    views: list[View],
    colors: Tensor,
    depth: Tensor | None,
    intrinsics: Tensor,
    assumptions: list[str],
) -> tuple[Tensor, bool]:
    """Return the poses in float32 where that still resolves a millimetre, and if estimated."""
    given = [view.pose for view in views if view.pose is not None]
    if len(given) < len(views):
        estimated, sentence = estimate_poses(folder, colors, depth, intrinsics)
        assumptions.append(sentence)
        return estimated, True
    poses = np.stack(given)
    farthest = abs(poses[:, :3, 3]).max(axis=1)
    if farthest.max() > FARTHEST_CAMERA:
        worst = int(farthest.argmax())
        raise ScanError(
            views[worst].frame.color.path,
            f"its camera stands {farthest[worst]:.4g} m from the origin; positions beyond "
            f"{FARTHEST_CAMERA:g} m lose millimetres in float32",
            "Subtract one offset from all poses, or give them in metres",
        )
    return torch.from_numpy(poses).float(), False


def _all_with_depth_or_none(listing: Listing) -> Listing:
    """Leave out frames without depth where others have it."""
    lacking = [frame for frame in listing.frames if frame.depth is None]
    if not lacking or len(lacking) == len(listing.frames):
        return listing
    errors = [
        FrameError(
            frame.color.path,
            "has no depth image, though other frames have one",
            "Restore it, or remove its frame",
            reason="without a depth image",
        )
        for frame in lacking
    ]
    return dataclasses.replace(
        listing,
        frames=[frame for frame in listing.frames if frame.depth is not None],
        skipped=[*listing.skipped, *errors],
    )


def _check_share(folder: Path, skipped: list[FrameError], left: int, options: ReadOptions) -> None:
    """Refuse a scan that has lost too many frames.

    Raises:
        ScanError: the only one, if all have the same cause; else a count of the causes.
    """
    total = len(skipped) + left
    if not skipped or (left > 0 and len(skipped) <= options.max_missing * total):
        return
    first = skipped[0]
    raise ScanError(
        first.path,
        f"{str(first).removeprefix(f'{first.path}: ').rstrip('.')}; {_counted(skipped, total)} "
        f"At most {options.max_missing:.0%} may be missing",
        f"Restore the files of {folder.name}/, or allow more with --max-missing",
    )


def _counted(skipped: list[FrameError], total: int) -> str:
    counts = Counter(error.reason for error in skipped)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f"{len(skipped)} of {total} frames were left out: {reasons}."


def _select(frames: list[Frame], options: ReadOptions, assumptions: list[str]) -> list[Frame]:
    chosen = frames[:: options.stride]
    if len(chosen) > options.max_frames:
        keep = np.linspace(0, len(chosen) - 1, options.max_frames).round().astype(int)
        chosen = [chosen[index] for index in keep]
    if len(chosen) < len(frames):
        assumptions.append(
            f"{len(chosen)} of {len(frames)} frames were read, evenly spread "
            f"(--stride {options.stride}, --max-frames {options.max_frames})."
        )
    return chosen


def _first_size(frames: list[Frame]) -> tuple[int, int]:
    """(height, width) of the first colour image whose header can be read; (0, 0) if none can."""
    for frame in frames:
        try:
            return frame.color.size()
        except FrameError:
            continue
    return 0, 0


def _camera(
    folder: Path,
    listing: Listing,
    options: ReadOptions,
    size: tuple[int, int],
    assumptions: list[str],
) -> Camera | None:
    """The camera of colour images that have none of their own; None where each has one.

    Raises:
        ScanError: there is none, and none may be assumed.
    """
    if options.intrinsics is not None:
        return camera_from_file(options.intrinsics)
    if listing.camera is not None or all(frame.camera is not None for frame in listing.frames):
        return listing.camera
    if listing.may_assume_primesense and size == (480, 640):
        assumptions.append(
            "The scan has no camera matrix; the factory one of PrimeSense sensors was assumed "
            "(focal length 525, principal point 319.5, 239.5)."
        )
        return Camera(PRIMESENSE)
    raise ScanError(
        folder,
        f"has no camera matrix for its {size[1]}x{size[0]} images",
        "Put the 3x3 matrix into intrinsics.txt there, or name a file with --intrinsics FILE",
    )


def _given_mesh(folder: Path, listing: Listing, options: ReadOptions) -> dict[str, Any]:
    """Fields of the scene for the mesh that comes with a scan, or for its points."""
    path = options.mesh or listing.mesh
    if path is None and (folder / "mesh.ply").is_file():
        path = folder / "mesh.ply"
    if path is None:
        return {} if listing.points is None else _point_fields(listing.points)
    mesh = read_mesh(path, drop_flat_faces=options.mesh is None and listing.mesh is not None)
    fields = {"vertices": mesh.vertices, "faces": mesh.faces, "vertex_normals": mesh.normals}
    if mesh.colors is not None:
        fields["vertex_colors"] = mesh.colors
    tensors = {name: torch.from_numpy(value) for name, value in fields.items()}
    if listing.mesh_to_world is not None:
        motion = torch.from_numpy(listing.mesh_to_world).float()
        tensors["vertices"] = transform_points(motion, tensors["vertices"])
        motion[:3, 3] = 0
        tensors["vertex_normals"] = transform_points(motion, tensors["vertex_normals"])
    return tensors


def _point_fields(points: NDArray[np.float64]) -> dict[str, Any]:
    tensor = torch.from_numpy(points).float()
    return {"vertices": tensor[:, :3].contiguous(), "vertex_colors": tensor[:, 3:].contiguous()}
