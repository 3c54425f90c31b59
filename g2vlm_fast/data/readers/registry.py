"""Which reader reads which folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from g2vlm_fast.data.readers.arkitscenes import is_arkitscenes, list_arkitscenes
from g2vlm_fast.data.readers.colmap import is_colmap, list_colmap
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.frame_folder import is_frame_folder, list_frame_folder
from g2vlm_fast.data.readers.hypersim import is_hypersim, list_hypersim
from g2vlm_fast.data.readers.listing import Listing
from g2vlm_fast.data.readers.nerfstudio import is_nerfstudio, list_nerfstudio
from g2vlm_fast.data.readers.replica import is_replica, list_replica
from g2vlm_fast.data.readers.scannet import is_scannet, list_scannet
from g2vlm_fast.data.readers.scannetpp import is_scannetpp, list_scannetpp
from g2vlm_fast.data.readers.standard import is_standard, list_standard
from g2vlm_fast.data.readers.threerscan import is_threerscan, list_threerscan
from g2vlm_fast.data.readers.trajectory_folder import is_trajectory_folder, list_trajectory_folder
from g2vlm_fast.data.readers.tum import is_tum, list_tum


@dataclass(frozen=True)
class Reader:
    """A layout of files: how to recognise it, and how to list its frames."""

    name: str
    layout: str
    recognises: Callable[[Path], bool]
    list: Callable[[Path], Listing]


READERS: list[Reader] = [
    Reader("g2vlm-fast", "scene.json of g2vlm-fast preprocess", is_standard, list_standard),
    Reader("tum", "rgb.txt, depth.txt, groundtruth.txt", is_tum, list_tum),
    Reader(
        "scannet",
        "color/*.jpg, depth/*.png, pose/*.txt, intrinsic/*.txt, or *.sens",
        is_scannet,
        list_scannet,
    ),
    Reader(
        "replica",
        "results/frame*.jpg, results/depth*.png, traj.txt, cam_params.json",
        is_replica,
        list_replica,
    ),
    Reader(
        "arkitscenes",
        "lowres_wide/, lowres_depth/, lowres_wide_intrinsics/, lowres_wide.traj",
        is_arkitscenes,
        list_arkitscenes,
    ),
    Reader(
        "3rscan",
        "sequence/frame-*.color.jpg|depth.pgm|pose.txt, sequence/_info.txt",
        is_threerscan,
        list_threerscan,
    ),
    Reader(
        "hypersim", "_detail/metadata_scene.csv, images/scene_cam_*", is_hypersim, list_hypersim
    ),
    Reader(
        "scannetpp",
        "iphone/{rgb/, depth/, pose_intrinsic_imu.json}, or dslr/{resized_images/, colmap/}",
        is_scannetpp,
        list_scannetpp,
    ),
    Reader("nerfstudio", "transforms.json", is_nerfstudio, list_nerfstudio),
    Reader("colmap", "images/, sparse/0/{cameras,images}.bin|txt", is_colmap, list_colmap),
    Reader(
        "frames",
        "frame-*.color.png|jpg, frame-*.depth.png, frame-*.pose.txt, intrinsics.txt",
        is_frame_folder,
        list_frame_folder,
    ),
    Reader(
        "trajectory",
        "image|color|rgb/*.png|jpg, depth/*.png, trajectory.log",
        is_trajectory_folder,
        list_trajectory_folder,
    ),
]
"""The readers, asked in this order; insert one to read another layout."""


def find_reader(folder: Path) -> Reader:
    """The reader that recognises a folder.

    Raises:
        ScanError: no folder, not to be read, empty, or in no known layout.
    """
    _check_folder(folder)
    for reader in READERS:
        if reader.recognises(folder):
            return reader
    layouts = "; or ".join(reader.layout for reader in READERS)
    raise ScanError(folder, "holds no scan in a known layout", f"Expected {layouts}")


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise ScanError(folder, "does not exist", "Name the folder of a scan")
    if not folder.is_dir():
        raise ScanError(folder, "is not a folder", "Name the folder that holds the scan's files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ScanError(folder, "may not be read", "Grant read permission")
    if not any(folder.iterdir()):
        raise ScanError(folder, "is empty", "Name the folder that holds the scan's files")
