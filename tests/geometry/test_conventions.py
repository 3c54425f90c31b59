"""The convention check against rooms whose conventions are broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.geometry.cameras import inverse_pose, pixel_rays
from g2vlm_fast.geometry.conventions import (
    ConventionError,
    Reading,
    check_conventions,
    rank_conventions,
)

Geometry = tuple[Tensor, Tensor, Tensor]


def _geometry(scene: Scene) -> Geometry:
    assert scene.depth is not None
    return scene.depth, scene.intrinsics, scene.poses


def _flip_axes(poses: Tensor) -> Tensor:
    poses = poses.clone()
    poses[:, :3, 1:3] *= -1
    return poses


def _ray_depth(depth: Tensor, intrinsics: Tensor) -> Tensor:
    return depth * pixel_rays(intrinsics, *depth.shape[1:]).norm(dim=-1)


def _halve_focal(intrinsics: Tensor) -> Tensor:
    intrinsics = intrinsics.clone()
    intrinsics[:, [0, 1], [0, 1]] /= 2
    return intrinsics


BREAKS = {
    "world to camera": (
        lambda d, k, p: (d, k, inverse_pose(p)), Reading(pose="world-to-camera"),
    ),
    "OpenGL axes": (lambda d, k, p: (d, k, _flip_axes(p)), Reading(axes="OpenGL")),
    "ray depth": (lambda d, k, p: (_ray_depth(d, k), k, p), Reading(depth="ray")),
    "metres read as millimetres": (
        lambda d, k, p: (d / 1000, k, p), Reading(depth_factor=1000.0),
    ),
    "1/5000 m read as millimetres": (lambda d, k, p: (d * 5, k, p), Reading(depth_factor=0.2)),
    "focal length of half the size": (
        lambda d, k, p: (d, _halve_focal(k), p), Reading(focal_factor=2.0),
    ),
    "both pose and axes": (
        lambda d, k, p: (d, k, inverse_pose(_flip_axes(p))),
        Reading(pose="world-to-camera", axes="OpenGL"),
    ),
}  # fmt: skip


def test_right_reading_of_a_room_passes(clean_room: Scene) -> None:
    report = check_conventions(*_geometry(clean_room))
    assert report.fits[0].reading == Reading()
    assert report.consistent
    assert report.decided
    assert report.given.agreement_cm < 0.1


@pytest.mark.parametrize("name", BREAKS)
def test_wrong_reading_is_named(name: str, clean_room: Scene) -> None:
    break_it, truth = BREAKS[name]
    geometry = break_it(*_geometry(clean_room))
    with pytest.raises(ConventionError) as caught:
        check_conventions(*geometry)
    assert caught.value.report.fits[0].reading == truth
    assert str(truth) in str(caught.value)


def test_poses_of_another_scan_are_inconsistent(clean_room: Scene) -> None:
    depth, intrinsics, poses = _geometry(clean_room)
    try:
        report = check_conventions(depth, intrinsics, poses[torch.randperm(len(poses))])
    except ConventionError as error:
        report = error.report
    assert not report.consistent


def test_camera_that_stands_still_decides_nothing(clean_room: Scene) -> None:
    depth, intrinsics, _ = _geometry(clean_room)
    report = check_conventions(
        depth[:1].repeat(8, 1, 1), intrinsics[:1].repeat(8, 1, 1), torch.eye(4).repeat(8, 1, 1)
    )
    assert report.consistent
    assert not report.decided
    assert "too little" in report.describe()


def test_single_view_has_nothing_to_agree_with(clean_room: Scene) -> None:
    report = check_conventions(*(part[:1] for part in _geometry(clean_room)))
    assert not report.contradicted
    assert "No two views overlap" in report.describe()


@pytest.mark.parametrize(("name", "stride", "centimetres"), [
    ("shelf_bin", 1, 0.5), ("icl_livingroom", 5, 0.5),
])  # fmt: skip
def test_real_scan_fits_as_documented(
    name: str, stride: int, centimetres: float, shared_data: Path
) -> None:
    scene = read_scan(shared_data / "real_scans" / name, ReadOptions(stride=stride))
    report = check_conventions(*_geometry(scene))
    assert report.fits[0].reading == Reading()
    assert report.consistent
    assert report.given.agreement_cm < centimetres


def test_real_scan_with_inverted_poses_is_refused(shared_data: Path) -> None:
    scene = read_scan(shared_data / "real_scans" / "shelf_bin", ReadOptions(stride=2))
    depth, intrinsics, poses = _geometry(scene)
    with pytest.raises(ConventionError, match="world-to-camera"):
        check_conventions(depth, intrinsics, inverse_pose(poses))


def test_fits_are_ranked_by_error(clean_room: Scene) -> None:
    errors = [fit.error for fit in rank_conventions(*_geometry(clean_room))]
    assert errors == sorted(errors)
    assert len(errors) > 60
