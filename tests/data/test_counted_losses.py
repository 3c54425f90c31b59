"""What a scan lost before it was read is counted where files tell, and refused where they shift."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from scan_layouts import replica, standard, tum
from scan_layouts.layouts import LAYOUTS
from scan_layouts.room import Room, small_room

from g2vlm_fast.data.readers import ScanError, read_scan


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room()


@pytest.mark.parametrize("name", ["colmap-text", "nerfstudio", "scannetpp-camera"])
def test_images_without_a_pose_are_counted(name: str, tmp_path: Path, room: Room) -> None:
    scan = LAYOUTS[name].write(tmp_path, room)
    images = [path for path in scan.rglob("*") if path.suffix.lower() in (".png", ".jpg")]
    image = min(path for path in images if "depth" not in str(path.relative_to(scan)))
    shutil.copy(image, image.with_name(f"unposed{image.suffix}"))
    scene = read_scan(scan)
    assert scene.num_views == len(room)
    assert any("1 of 9 images have no pose" in sentence for sentence in scene.assumptions)


def test_replica_with_fewer_poses_than_images_is_refused(tmp_path: Path, room: Room) -> None:
    scan = replica.write(tmp_path, room)
    lines = (scan / "traj.txt").read_text().splitlines()
    (scan / "traj.txt").write_text("\n".join(lines[:2] + lines[3:]))
    with pytest.raises(ScanError, match=r"traj\.txt: holds 7 poses, but images .* to 7"):
        read_scan(scan)


def test_depth_of_tum_without_colour_is_counted(tmp_path: Path, room: Room) -> None:
    scan = tum.write(tmp_path, room)
    lines = (scan / "rgb.txt").read_text().splitlines()
    (scan / "rgb.txt").write_text("\n".join(lines[:3] + lines[4:]))
    scene = read_scan(scan)
    assert scene.num_views == len(room) - 1
    assert any("1 of 8 depth images" in sentence for sentence in scene.assumptions)


def test_box_of_a_standard_scene_that_is_none_is_refused(tmp_path: Path, room: Room) -> None:
    scan = standard.write(tmp_path, room)
    path = scan / "annotations.json"
    whole = json.loads(path.read_text())
    whole["objects"][0]["size"][1] *= -1
    path.write_text(json.dumps(whole))
    with pytest.raises(ScanError, match=r"annotations\.json: the box of .* is none"):
        read_scan(scan)
