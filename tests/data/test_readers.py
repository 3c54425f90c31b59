"""Recorded scans: what is read, and what is refused with which words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from g2vlm_fast.data import Scene
from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan


def _trajectory_folder(frames: Path, scene: Scene) -> Path:
    """The frames of a frame folder in the layout of Open3D."""
    folder = frames.with_name("trajectory")
    (folder / "color").mkdir(parents=True)
    (folder / "depth").mkdir()
    blocks = []
    for index in range(scene.num_views):
        shutil.copy(frames / f"frame-{index:06d}.color.png", folder / "color" / f"{index}.png")
        shutil.copy(frames / f"frame-{index:06d}.depth.png", folder / "depth" / f"{index}.png")
        rows = "\n".join(" ".join(map(str, row)) for row in scene.poses[index].tolist())
        blocks.append(f"{index} {index} {index + 1}\n{rows}\n")
    (folder / "trajectory.log").write_text("".join(blocks))
    shutil.copy(frames / "intrinsics.txt", folder / "intrinsics.txt")
    return folder


def _same(read: Scene, written: Scene) -> None:
    assert torch.equal(read.images, written.images)
    assert (read.depth - written.depth).abs().max() <= 0.0005 + 1e-6
    assert torch.allclose(read.poses, written.poses, atol=1e-5)
    assert torch.allclose(read.intrinsics, written.intrinsics, atol=1e-4)


def test_frame_folder_reads_back(frame_folder: Path, clean_room: Scene) -> None:
    _same(read_scan(frame_folder), clean_room)


def test_trajectory_folder_reads_back(frame_folder: Path, clean_room: Scene) -> None:
    """Numbers without leading zeros: frame 10 must not come before frame 2."""
    _same(read_scan(_trajectory_folder(frame_folder, clean_room)), clean_room)


def test_byte_order_mark_before_numbers_is_passed_over(
    frame_folder: Path, clean_room: Scene
) -> None:
    for name in ("intrinsics.txt", "frame-000003.pose.txt"):
        path = frame_folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    _same(read_scan(frame_folder), clean_room)


def test_both_missing_codes_become_zero(frame_folder: Path) -> None:
    path = frame_folder / "frame-000000.depth.png"
    depth = np.array(Image.open(path))
    depth[0, 0], depth[0, 1] = 0, 65535
    Image.fromarray(depth).save(path)
    scene = read_scan(frame_folder)
    assert scene.depth is not None
    assert scene.depth[0, 0, :2].tolist() == [0, 0]
    assert scene.depth.max() < 20


def test_stride_and_cap_choose_frames_evenly_and_say_so(frame_folder: Path) -> None:
    scene = read_scan(frame_folder, ReadOptions(stride=2, max_frames=4))
    assert scene.num_views == 4
    assert any("4 of 16 frames" in sentence for sentence in scene.assumptions)


def test_depth_scale_is_honoured(frame_folder: Path, clean_room: Scene) -> None:
    scene = read_scan(frame_folder, ReadOptions(depth_scale=500))
    assert scene.depth is not None
    assert torch.allclose(scene.depth, 2 * clean_room.depth, atol=2e-3)


def _edit_image(folder: Path, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / name
    Image.fromarray(edit(np.array(Image.open(path)))).save(path)


def _truncate(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def _set_pose(folder: Path, pose: np.ndarray) -> None:
    np.savetxt(folder / "frame-000003.pose.txt", pose)


BREAKS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "mixed sizes": (
        lambda f: [
            _edit_image(f, f"frame-000003.{kind}.png", lambda a: a[:40]) for kind in
            ("color", "depth")
        ],
        "frame-000003.color.png", "one size",
    ),
    "half an image": (
        lambda f: [
            _edit_image(f, f"frame-000003.{kind}.png", lambda a: a[:20]) for kind in
            ("color", "depth")
        ],
        "frame-000003.color.png", "one size",
    ),
    "depth of another size": (
        lambda f: _edit_image(f, "frame-000003.depth.png", lambda a: a[::2, ::2]),
        "frame-000003.depth.png", "Register depth to colour",
    ),
    "8-bit depth": (
        lambda f: _edit_image(f, "frame-000003.depth.png", lambda a: (a // 64).astype(np.uint8)),
        "frame-000003.depth.png", "16-bit",
    ),
    "singular pose": (
        lambda f: _set_pose(f, np.diag([1.0, 1.0, 0.0, 1.0])), "frame-000003.pose.txt", "singular",
    ),
    "mirrored pose": (
        lambda f: _set_pose(f, np.diag([1.0, 1.0, -1.0, 1.0])), "frame-000003.pose.txt",
        "not a rigid motion",
    ),
    "scaled pose": (
        lambda f: _set_pose(f, np.diag([2.0, 2.0, 2.0, 1.0])), "frame-000003.pose.txt",
        "not a rigid motion",
    ),
    "pose far away": (
        lambda f: _set_pose(f, np.eye(4) + np.pad([[1e12], [0], [0]], ((0, 1), (3, 0)))),
        "frame-000003.color.png", "Subtract one offset",
    ),
    "words in a pose": (
        lambda f: (f / "frame-000003.pose.txt").write_text("1 0 0 zero"),
        "frame-000003.pose.txt", "not a number",
    ),
    "half a pose": (
        lambda f: (f / "frame-000003.pose.txt").write_text("1 0 0 0 1 0"),
        "frame-000003.pose.txt", "16 numbers",
    ),
    "missing intrinsics": (
        lambda f: (f / "intrinsics.txt").unlink(), "scan", "--intrinsics",
    ),
    "negative focal length": (
        lambda f: (f / "intrinsics.txt").write_text("-80 0 48 0 80 36 0 0 1"),
        "intrinsics.txt", "no pinhole camera matrix",
    ),
    "intrinsics of another size": (
        lambda f: (f / "intrinsics.txt").write_text("525 0 319.5 0 525 239.5 0 0 1"),
        "intrinsics.txt", "do not belong",
    ),
    "depth in metres": (
        lambda f: [
            _edit_image(f, p.name, lambda a: (a // 1000).astype(np.uint16))
            for p in f.glob("*.depth.png")
        ],
        "frame-000000.depth.png", "--depth-scale 1)",
    ),
    "no depth anywhere": (
        lambda f: [_edit_image(f, p.name, np.zeros_like) for p in f.glob("*.depth.png")],
        "frame-000000.depth.png", "no depth image",
    ),
}  # fmt: skip


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated colour": (lambda f: _truncate(f, "frame-000003.color.png"), "with a damaged image"),
    "truncated depth": (lambda f: _truncate(f, "frame-000003.depth.png"), "with a damaged image"),
    "missing colour": (
        lambda f: (f / "frame-000003.color.png").unlink(), "without a colour image",
    ),
    "missing depth": (lambda f: (f / "frame-000003.depth.png").unlink(), "without a depth image"),
    "missing pose": (lambda f: (f / "frame-000003.pose.txt").unlink(), "without a pose"),
    "no image at all": (
        lambda f: (f / "frame-000003.color.png").write_text("hello"), "with a damaged image",
    ),
    "NaN pose": (
        lambda f: _set_pose(f, np.full((4, 4), np.nan)), "whose pose is NaN or infinite",
    ),
    "infinite pose": (
        lambda f: _set_pose(f, np.full((4, 4), -np.inf)), "whose pose is NaN or infinite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_frame_that_is_lost_is_left_out_and_counted(
    name: str, frame_folder: Path, clean_room: Scene
) -> None:
    damage, reason = LOSSES[name]
    damage(frame_folder)
    scene = read_scan(frame_folder)
    kept = [index for index in range(clean_room.num_views) if index != 3]
    assert torch.equal(scene.images, clean_room.images[kept])
    assert torch.allclose(scene.poses, clean_room.poses[kept], atol=1e-5)
    assert f"1 of 16 frames were left out: 1 {reason}." in scene.assumptions


def test_scan_that_lost_most_frames_is_refused(frame_folder: Path) -> None:
    for index in range(9):
        (frame_folder / f"frame-{index:06d}.depth.png").unlink()
    with pytest.raises(ScanError, match="9 without a depth image") as caught:
        read_scan(frame_folder)
    assert caught.value.path.name == "frame-000000.depth.png"
    assert read_scan(frame_folder, ReadOptions(max_missing=0.6)).num_views == 7


@pytest.mark.parametrize("name", BREAKS)
def test_broken_scan_is_refused_by_file_and_remedy(name: str, frame_folder: Path) -> None:
    damage, file, words = BREAKS[name]
    damage(frame_folder)
    with pytest.raises(ScanError) as caught:
        read_scan(frame_folder)
    assert caught.value.path.name == file
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_scan_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing")
    for name, words in (("absent", "does not exist"), ("empty", "is empty"), ("other", "layout")):
        with pytest.raises(ScanError, match=words):
            read_scan(tmp_path / name)
    with pytest.raises(ScanError, match="is not a folder"):
        read_scan(tmp_path / "other" / "notes.txt")


def test_counts_that_differ_are_refused(frame_folder: Path, clean_room: Scene) -> None:
    folder = _trajectory_folder(frame_folder, clean_room)
    (folder / "depth" / "5.png").unlink()
    with pytest.raises(ScanError, match="16 poses, but depth/ holds 15 images"):
        read_scan(folder)


def test_cut_off_trajectory_is_refused(frame_folder: Path, clean_room: Scene) -> None:
    folder = _trajectory_folder(frame_folder, clean_room)
    log = folder / "trajectory.log"
    log.write_text(log.read_text()[:-60])
    with pytest.raises(ScanError, match="cut off"):
        read_scan(folder)


def test_camera_matrix_is_assumed_for_no_other_size_than_its_own(
    frame_folder: Path, clean_room: Scene
) -> None:
    folder = _trajectory_folder(frame_folder, clean_room)
    (folder / "intrinsics.txt").unlink()
    with pytest.raises(ScanError, match="--intrinsics"):
        read_scan(folder)
    scene = read_scan(folder, ReadOptions(intrinsics=frame_folder / "intrinsics.txt"))
    assert torch.allclose(scene.intrinsics, clean_room.intrinsics, atol=1e-4)


def _write_mesh(path: Path, vertices: list[list[float]], faces: list[list[int]]) -> None:
    lines = [
        "ply", "format ascii 1.0", f"element vertex {len(vertices)}", "property float x",
        "property float y", "property float z", f"element face {len(faces)}",
        "property list uchar int vertex_indices", "end_header",
        *(" ".join(map(str, vertex)) for vertex in vertices),
        *(" ".join(map(str, [3, *face])) for face in faces),
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


_CORNERS = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]


def test_given_mesh_is_read(frame_folder: Path) -> None:
    _write_mesh(frame_folder / "mesh.ply", _CORNERS, [[0, 1, 2]])
    scene = read_scan(frame_folder)
    assert scene.faces is not None
    assert scene.faces.tolist() == [[0, 1, 2]]
    assert scene.vertex_normals is not None
    assert torch.allclose(scene.vertex_normals[0], torch.tensor([0.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (_CORNERS, [[0, 1, 2], [0, 1, 9]], "do not exist"),
        (_CORNERS, [[0, 1, 2], [0, 1, 1]], "degenerate"),
        (_CORNERS, [[0, 1, 2], [0, 1, 3]], "degenerate"),
        ([*_CORNERS[:3], [float("nan")] * 3], [[0, 1, 2]], "NaN"),
        (_CORNERS, [], "no triangle mesh"),
    ],
)
def test_bad_mesh_is_refused(
    vertices: list[list[float]], faces: list[list[int]], words: str, frame_folder: Path
) -> None:
    mesh = frame_folder.with_name("given.ply")
    _write_mesh(mesh, vertices, faces)
    with pytest.raises(ScanError, match=words) as caught:
        read_scan(frame_folder, ReadOptions(mesh=mesh))
    assert caught.value.path == mesh


@pytest.mark.parametrize("option", ["intrinsics", "mesh"])
def test_named_file_that_is_none_is_refused_before_the_scan_is_read(
    option: str, frame_folder: Path
) -> None:
    _truncate(frame_folder, "frame-000003.color.png")
    for path, words in (("absent", "does not exist"), ("", "is a folder")):
        with pytest.raises(ScanError, match=rf"{words}.*--{option}") as caught:
            read_scan(frame_folder, ReadOptions(**{option: frame_folder / path}))
        assert caught.value.path == frame_folder / path


@pytest.mark.parametrize("option", [{"stride": 0}, {"max_frames": 0}, {"depth_scale": -1.0}])
def test_impossible_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        ReadOptions(**option)  # type: ignore[arg-type]


def test_real_scans_are_read(shared_data: Path) -> None:
    shelf = read_scan(shared_data / "real_scans" / "shelf_bin", ReadOptions(stride=10))
    assert shelf.image_size == (480, 640)
    assert float(shelf.intrinsics[0, 0, 0]) == pytest.approx(615.195, abs=0.01)
    room = read_scan(shared_data / "real_scans" / "icl_livingroom", ReadOptions(stride=40))
    assert any("PrimeSense" in sentence for sentence in room.assumptions)
