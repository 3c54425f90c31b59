"""Whatever stands in its files, a scan is refused in one short line or becomes a sound scene."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch
from scan_layouts.damage import IMAGES, damaged, hostile_images
from scan_layouts.layouts import LAYOUTS
from scan_layouts.room import Room, small_room

from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan
from g2vlm_fast.data.scene import Scene

DAMAGES = 25
LONGEST_MESSAGE = 900  # characters; folders of tests have long names


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room()


def assert_sound(scene: Scene, views: int) -> None:
    """Nothing in the scene is impossible, and what it lacks is told."""
    count, _, height, width = scene.images.shape
    assert scene.images.dtype == torch.uint8
    assert scene.intrinsics.isfinite().all()
    assert (scene.intrinsics[:, [0, 1], [0, 1]] > 0).all()
    rotation = scene.poses[:, :3, :3].double()
    assert (rotation @ rotation.mT - torch.eye(3)).abs().max() < 1e-4
    assert (rotation.det() > 0).all()
    assert scene.poses.abs().max() < 1e15
    assert abs(scene.gravity.norm() - 1) < 1e-3
    if scene.depth is not None:
        assert scene.depth.shape == (count, height, width)
        assert scene.depth.isfinite().all()
        assert 0 <= scene.depth.min() <= scene.depth.max() < 100
    if scene.vertices is not None:
        assert scene.vertices.isfinite().all()
    if scene.faces is not None and len(scene.faces):
        assert scene.vertices is not None
        assert 0 <= scene.faces.min() <= scene.faces.max() < len(scene.vertices)
    for thing in () if scene.annotations is None else scene.annotations.objects:
        if thing.center is not None and thing.size is not None:
            assert thing.center.isfinite().all()
            assert 0 <= thing.size.min() <= thing.size.max() < 1e6
    assert count == views or any("left out" in sentence for sentence in scene.assumptions)


def read_or_told(scan: Path, options: ReadOptions) -> tuple[Scene | None, str]:
    """The scene, or why there is none. Any error but a ScanError is one of the reader's."""
    try:
        return read_scan(scan, options), ""
    except ScanError as error:
        return None, str(error)


def outcomes(scan: Path, options: ReadOptions, seed: str) -> dict[str, int]:
    """Read a scan with one damaged file at a time."""
    views = read_scan(scan, options).num_views
    files = sorted(path for path in scan.rglob("*") if path.is_file())
    metadata = [path for path in files if path.suffix not in IMAGES] or files
    draws = random.Random(seed)
    counts = {"refused": 0, "read": 0}
    for _ in range(DAMAGES):
        path = draws.choice(metadata if draws.random() < 0.7 else files)
        whole = path.read_bytes()
        path.write_bytes(damaged(path, whole, draws))
        scene, told = read_or_told(scan, options)
        if scene is None:
            assert "\n" not in told
            assert len(told) < LONGEST_MESSAGE
            counts["refused"] += 1
        else:
            assert_sound(scene, views)
            counts["read"] += 1
        path.write_bytes(whole)
    assert_sound(read_scan(scan, options), views)
    return counts


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_scan_is_refused_or_sound(name: str, room: Room, tmp_path: Path) -> None:
    found = outcomes(LAYOUTS[name].write(tmp_path, room), ReadOptions(), f"damage {name}")
    assert min(found.values()) > 0


@pytest.mark.parametrize("image", range(len(hostile_images())))
@pytest.mark.parametrize("kind", ["color", "depth"])
def test_hostile_image_is_left_out_and_counted_or_refused(
    kind: str, image: int, room: Room, tmp_path: Path
) -> None:
    scan = LAYOUTS["frames"].write(tmp_path, room)
    path = sorted(scan.glob(f"*.{kind}.png"))[3]
    path.write_bytes(hostile_images()[image])
    scene, told = read_or_told(scan, ReadOptions())
    if scene is None:
        assert path.stem.split(".")[0] in told or "intrinsics.txt" in told  # one of two contradicts
    else:
        assert_sound(scene, len(room))


def keep_frames(scan: Path, count: int) -> None:
    """Remove all frames of a real scan but the first."""
    files = [path for path in scan.rglob("*") if path.is_file() and path.name[-5:-4].isdecimal()]
    files += scan.glob("frame-*")
    for folder in {path.parent for path in files}:
        stems = sorted({path.name.split(".")[0] for path in files if path.parent == folder})
        for path in sorted(folder.iterdir()):
            if path.name.split(".")[0] in stems[count:]:
                path.unlink()
    log = scan / "trajectory.log"
    if log.exists():
        log.write_text("\n".join(log.read_text().splitlines()[: 5 * count]) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shelf_bin", "icl_livingroom"])
def test_damaged_real_scan_is_refused_or_sound(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    scan = tmp_path / name
    shutil.copytree(shared_data / "real_scans" / name, scan)
    keep_frames(scan, 8)
    found = outcomes(scan, ReadOptions(stride=3), f"damage {name}")
    assert min(found.values()) > 0
