"""ScanNet++: frames of a phone with depth, or photographs of a camera with a fisheye lens.

``iphone/`` holds extracted ``rgb/frame_*.jpg`` and ``depth/frame_*.png`` (millimetres) beside
``pose_intrinsic_imu.json``; without depth there, ``dslr/`` holds ``resized_images/`` and a COLMAP
model in ``colmap/``, whose fisheye images are made pinhole ones. ``scans/`` holds the mesh and
``segments_anno.json``.

Source: Yeshwanth et al., *ScanNet++: A High-Fidelity Dataset of 3D Indoor Scenes*, ICCV 2023, and
the documentation of the data set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.readers.calibration import check_matrix, rigid_pose
from g2vlm_fast.data.readers.colmap import METRE_UNKNOWN, list_colmap
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.listing import Frame, Listing, find_images
from g2vlm_fast.data.readers.oriented_boxes import segment_groups
from g2vlm_fast.data.readers.safe_files import Fields

_PHONE = Path("iphone/pose_intrinsic_imu.json")
_EXTRACT = "Extract the frames with the toolkit of ScanNet++ (iphone.prepare_iphone_data)"


def is_scannetpp(folder: Path) -> bool:
    """Whether ``folder`` holds recordings of the phone or of the camera."""
    camera = folder / "dslr" / "colmap"
    return (folder / _PHONE).is_file() or camera.is_dir()


def list_scannetpp(folder: Path) -> Listing:
    """List the frames of the phone where its depth was extracted, else those of the camera.

    Raises:
        ScanError: neither was extracted; broken JSON, poses, cameras or model.
    """
    if (folder / "iphone" / "depth").is_dir():
        listing = _phone(folder)
    elif (folder / "dslr" / "resized_images").is_dir():
        listing = list_colmap(folder / "dslr")
        said = [sentence for sentence in listing.assumptions if sentence != METRE_UNKNOWN]
        said.append("The fisheye images of the camera have no depth.")
        listing = replace(listing, points=None, assumptions=said)
    else:
        raise ScanError(folder, "has neither iphone/depth nor dslr/resized_images", _EXTRACT)
    mesh = folder / "scans" / "mesh_aligned_0.05.ply"
    objects = folder / "scans" / "segments_anno.json"
    return replace(
        listing,
        mesh=mesh if mesh.is_file() else None,
        annotations=(lambda: _annotations(objects)) if objects.is_file() else None,
    )


def _annotations(path: Path) -> ScanAnnotations:
    return ScanAnnotations(objects=tuple(segment_groups(Fields.read(path))))


def _phone(folder: Path) -> Listing:
    colors = {path.stem: path for path in find_images(folder / "iphone" / "rgb")}
    depths = {path.stem: path for path in find_images(folder / "iphone" / "depth", (".png",))}
    if not colors:
        raise ScanError(folder / "iphone" / "rgb", "holds no images", _EXTRACT)
    whole = Fields.read(folder / _PHONE)
    frames, skipped = [], []
    for name, color in colors.items():
        try:
            frames.append(_phone_frame(whole, name, color, depths.get(name)))
        except FrameError as error:
            skipped.append(error)
    return Listing(
        frames=frames,
        skipped=skipped,
        one_field_of_view=True,
        assumptions=["The cameras of aligned_pose were taken for OpenCV's."],
    )


def _phone_frame(whole: Fields, name: str, color: Path, depth: Path | None) -> Frame:
    if depth is None:
        raise FrameError(color, "has no depth image", _EXTRACT, reason="without a depth image")
    if name not in whole:
        raise FrameError(
            whole.path, f"says nothing of {name}", "Remove the image", reason="without a pose"
        )
    entry = Fields.of(whole.path, whole.values[name], name)
    pose = rigid_pose(whole.path, f"the pose of {name}", entry.array("aligned_pose", 4, 4))
    matrix = check_matrix(whole.path, entry.array("intrinsic", 3, 3))
    return Frame(ColorFile(color), DepthFile(depth), pose, Camera(matrix, source=whole.path))
