"""Every layout: what was written is read back, what is missing is counted, and nothing crashes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from scan_layouts.layouts import LAYOUTS
from scan_layouts.room import Room, small_room

from g2vlm_fast.data.readers import READERS, ReadOptions, ScanError, read_scan
from g2vlm_fast.data.readers.registry import find_reader
from g2vlm_fast.data.scene import Scene

MUTATIONS = 60
IMAGES = (".png", ".jpg", ".pgm")


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room()


@pytest.fixture(scope="module")
def written(room: Room, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One scan of every layout; tests must not change it."""
    root = tmp_path_factory.mktemp("layouts")
    return {name: layout.write(root / name, room) for name, layout in LAYOUTS.items()}


def test_every_reader_has_a_layout_and_a_line_in_the_docs(written: dict[str, Path]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
    for reader in READERS:
        assert f"| `{reader.name}`" in page
    recognised = {find_reader(scan).name for scan in written.values()}
    # scenes of Hypersim need a library to be written, and have tests of their own
    assert recognised == {reader.name for reader in READERS} - {"hypersim"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_written_room_is_read_back(name: str, written: dict[str, Path], room: Room) -> None:
    layout = LAYOUTS[name]
    scene = read_scan(written[name])
    assert scene.num_views == len(room)
    np.testing.assert_allclose(scene.poses.numpy(), room.poses, atol=layout.pose)
    np.testing.assert_allclose(scene.intrinsics.numpy(), _repeat(room), atol=1e-4)
    assert (scene.depth is not None) is layout.has_depth
    if scene.depth is not None:
        assert abs(scene.depth.numpy() - room.depth).max() <= layout.depth + 1e-5
    difference = scene.images.permute(0, 2, 3, 1).numpy().astype(float) - room.images
    assert abs(difference).mean() <= layout.color
    assert not scene.poses_estimated


def _repeat(room: Room) -> np.ndarray:
    return np.tile(room.matrix, (len(room), 1, 1))


@pytest.mark.parametrize("name", LAYOUTS)
def test_gravity_is_exact_where_the_files_say_it_and_a_guess_elsewhere(
    name: str, written: dict[str, Path]
) -> None:
    scene = read_scan(written[name])
    guessed = any("gravity" in sentence for sentence in scene.assumptions)
    assert guessed is not LAYOUTS[name].exact_gravity
    # cameras look down by about half a right angle, and so does the guess from them
    assert scene.gravity[2] < (-0.999 if LAYOUTS[name].exact_gravity else -0.7)


@pytest.mark.parametrize("name", LAYOUTS)
def test_stride_decodes_only_what_is_kept(name: str, written: dict[str, Path]) -> None:
    scene = read_scan(written[name], ReadOptions(stride=3))
    assert scene.num_views == 3
    assert any("3 of 8 frames were read" in sentence for sentence in scene.assumptions)


def mutate(data: bytes, draws: random.Random) -> bytes:
    """Cut a file off, flip some of its bits, or overwrite a stretch."""
    kind = draws.randrange(4)
    if kind == 0 or not data:
        return data[: draws.randrange(len(data) + 1)]
    changed = bytearray(data)
    if kind == 1:
        for _ in range(draws.randrange(1, 8)):
            changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
    elif kind == 2:
        start = draws.randrange(len(changed))
        stretch = bytes([draws.choice([0, 255, 45, 57])]) * draws.randrange(1, 16)
        changed[start : start + len(stretch)] = stretch
    else:
        start = draws.randrange(min(64, len(changed)))
        changed[start] = draws.randrange(256)
    return bytes(changed)


def reads(scan: Path) -> bool:
    """Whether a scan is read; False where it is refused in one line. Nothing else may happen."""
    try:
        scene = read_scan(scan, ReadOptions(stride=4))
    except ScanError as error:
        told = str(error)
    else:
        assert isinstance(scene, Scene)
        return True
    assert "\n" not in told
    return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_files_end_in_a_scene_or_a_scan_error(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    draws = random.Random(f"fuzz {name}")
    scan = tmp_path / written[name].name
    shutil.copytree(written[name], scan)
    files = sorted(path for path in scan.rglob("*") if path.is_file())
    # metadata decides more than the pixels of one of many images
    metadata = [path for path in files if path.suffix.lower() not in IMAGES]
    refused = 0
    for _ in range(MUTATIONS):
        path = draws.choice(metadata if draws.random() < 0.75 else files)
        whole = path.read_bytes()
        path.write_bytes(mutate(whole, draws))
        refused += not reads(scan)
        path.write_bytes(whole)
    assert refused > 0
    assert reads(scan)


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_that_are_gone_end_in_a_scene_or_a_scan_error(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    scan = tmp_path / written[name].name
    shutil.copytree(written[name], scan)
    for path in sorted(path for path in scan.rglob("*") if path.is_file()):
        aside = tmp_path / "aside"
        path.rename(aside)
        reads(scan)
        aside.rename(path)


def _images(scan: Path, has_depth: bool) -> list[Path]:
    """One image of each frame: that of depth, if there is one."""
    found = [path for path in sorted(scan.rglob("*")) if path.suffix.lower() in IMAGES]
    return [path for path in found if ("depth" in str(path.relative_to(scan))) is has_depth]


IN_FILES = [name for name in LAYOUTS if name != "scannet-sens"]
"""Layouts whose images are files of their own."""


def _can_lose(name: str, damage: str) -> bool:
    """Where files are paired by order, a gap is refused."""
    return (name, damage) != ("trajectory", "gone")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(n, damage) for n in IN_FILES for damage in ("gone", "cut off") if _can_lose(n, damage)],
)
def test_frames_without_depth_are_left_out_and_counted(
    name: str, damage: str, written: dict[str, Path], tmp_path: Path, room: Room
) -> None:
    scan = tmp_path / written[name].name
    shutil.copytree(written[name], scan)
    images = _images(scan, LAYOUTS[name].has_depth)
    for path in images[2:4]:
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:60])
    scene = read_scan(scan)
    assert scene.num_views == len(room) - 2
    words = "without a" if damage == "gone" else "2 with a damaged image"
    assert any("2 of 8 frames were left out" in s and words in s for s in scene.assumptions)
    np.testing.assert_allclose(scene.poses[2].numpy(), room.poses[4], atol=LAYOUTS[name].pose)


@pytest.mark.parametrize("name", IN_FILES)
def test_too_many_missing_frames_are_an_error(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    scan = tmp_path / written[name].name
    shutil.copytree(written[name], scan)
    for path in _images(scan, LAYOUTS[name].has_depth)[:5]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ScanError, match=r"5 of 8 frames .*--max-missing"):
        read_scan(scan)
    assert read_scan(scan, ReadOptions(max_missing=0.7)).num_views == 3
