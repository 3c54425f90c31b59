"""The traps of each layout: what its files mean is not what they seem to say."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scan_layouts import (
    arkitscenes,
    colmap,
    frames,
    hypersim,
    nerfstudio,
    replica,
    scannet,
    scannetpp,
    threerscan,
    tum,
)
from scan_layouts.files import row, save_image
from scan_layouts.room import BOXES, Room, rays, render, small_room

from g2vlm_fast.data.annotations import ScanAnnotations
from g2vlm_fast.data.readers import ReadOptions, ScanError, read_scan
from g2vlm_fast.data.readers.tum import associate


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room()


def _edit_json(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _assert_boxes(annotations: ScanAnnotations | None, first_id: int) -> None:
    """The boxes of the room, by name, whatever their axes are called."""
    assert annotations is not None
    for index, (name, (low, high)) in enumerate(BOXES.items()):
        thing = annotations.object_by_id(first_id + index)
        assert thing.class_name == name
        assert thing.center is not None
        assert thing.size is not None
        assert thing.rotation is not None
        np.testing.assert_allclose(thing.center.numpy(), (low + high) / 2, atol=1e-5)
        along_world = (thing.rotation.abs() @ thing.size).numpy()
        np.testing.assert_allclose(along_world, high - low, atol=1e-5)
        assert float(torch.linalg.det(thing.rotation)) == pytest.approx(1, abs=1e-5)


# TUM RGB-D


def test_times_are_paired_one_to_one_the_closest_first() -> None:
    pairs = associate(np.array([0.0, 0.015, 0.100, 0.2]), np.array([0.012, 0.121, 0.219]))
    assert pairs == {1: 0, 3: 2}


@pytest.mark.parametrize(("name", "focal"), [("freiburg1", 517.3), ("freiburg3", 535.4)])
def test_tum_camera_is_known_by_the_name_of_its_folder(
    name: str, focal: float, tmp_path: Path
) -> None:
    large = small_room(2, (480, 640))
    scan = tum.write(tmp_path, large)
    (scan / "intrinsics.txt").unlink()
    scan = scan.rename(tmp_path / f"rgbd_dataset_{name}_desk")
    scene = read_scan(scan)
    assert float(scene.intrinsics[0, 0, 0]) == pytest.approx(focal)
    assert any(name in sentence for sentence in scene.assumptions)


def test_tum_pose_is_taken_between_two_entries(tmp_path: Path) -> None:
    room = small_room(24)
    scan = tum.write(tmp_path, room)
    lines = (scan / "groundtruth.txt").read_text().splitlines()
    # without the entries at the times of images: their neighbours stand 7 ms away
    kept = [line for index, line in enumerate(lines) if index == 0 or (index - 1) % 5]
    (scan / "groundtruth.txt").write_text("\n".join(kept))
    scene = read_scan(scan)
    np.testing.assert_allclose(scene.poses[1:-1].numpy(), room.poses[1:-1], atol=2e-3)


# ScanNet


def test_scannet_boxes_and_poses_are_aligned_alike(tmp_path: Path, room: Room) -> None:
    scan = scannet.write(tmp_path, room)
    scene = read_scan(scan)
    _assert_boxes(scene.annotations, 0)
    np.testing.assert_allclose(scene.poses.numpy(), room.poses, atol=1e-5)
    assert scene.vertices is not None
    low, high = BOXES["table"]
    table = scene.annotations.object_by_id(0)  # type: ignore[union-attr]
    mine = scene.vertices[table.vertices].numpy()
    np.testing.assert_allclose(mine.min(axis=0), low, atol=1e-5)
    np.testing.assert_allclose(mine.max(axis=0), high, atol=1e-5)


def test_scannet_colour_that_was_exported_smaller_keeps_its_camera(
    tmp_path: Path, room: Room
) -> None:
    scan = scannet.write(tmp_path, room)
    for path in (scan / "color").iterdir():
        Image.open(path).resize((66, 50), Image.Resampling.BOX).save(path, quality=98)
    images = read_scan(scan).images.permute(0, 2, 3, 1).numpy().astype(float)
    assert abs(images - room.images).mean() < 5


def test_scannet_colour_as_large_as_depth_keeps_its_camera(tmp_path: Path, room: Room) -> None:
    """The same size does not make it the same camera."""
    scan = scannet.write(tmp_path, room)
    matrix = room.matrix + np.array([[4, 0, -2.5], [0, 4, 1.5], [0, 0, 0]])
    np.savetxt(scan / "intrinsic" / "intrinsic_color.txt", matrix)
    (scan / f"{scannet.NAME}.txt").write_text(f"axisAlignment = {row(scannet.alignment())}\n")
    directions = rays(matrix, room.depth.shape[1:])
    for index, pose in enumerate(room.poses):
        save_image(scan / "color" / f"{index}.jpg", render(directions, pose)[2])
    scene = read_scan(scan)
    np.testing.assert_allclose(scene.intrinsics[0].numpy(), room.matrix, atol=1e-4)
    assert scene.depth is not None
    assert abs(scene.depth.numpy() - room.depth).max() < 6e-4
    inner = (slice(None), slice(5, -5), slice(5, -5))
    images = scene.images.permute(0, 2, 3, 1).numpy().astype(float)
    assert abs(images - room.images)[inner].mean() < 3


def test_scannet_without_alignment_says_so(tmp_path: Path, room: Room) -> None:
    scan = scannet.write(tmp_path, room)
    (scan / f"{scannet.NAME}.txt").write_text("sceneType = Kitchen\n")
    scene = read_scan(scan)
    np.testing.assert_allclose(scene.poses.numpy(), scannet.raw_poses(room), atol=1e-5)
    assert any("axisAlignment" in sentence for sentence in scene.assumptions)


def test_scannet_frame_that_lost_track_is_left_out(tmp_path: Path, room: Room) -> None:
    scan = scannet.write(tmp_path, room)
    np.savetxt(scan / "pose" / "3.txt", np.full((4, 4), -np.inf))
    scene = read_scan(scan)
    assert scene.num_views == len(room) - 1
    assert any("1 whose pose is NaN or infinite" in sentence for sentence in scene.assumptions)


def test_segments_of_another_mesh_are_refused(tmp_path: Path, room: Room) -> None:
    scan = scannet.write(tmp_path, room)
    path = next(scan.glob("*.segs.json"))
    _edit_json(path, segIndices=[1, 2, 3])
    with pytest.raises(ScanError, match=r"3 vertices, the mesh has 24"):
        read_scan(scan)


def _sens_header(**fields: int) -> bytes:
    values = {"color": 2, "depth": 1, "width": 64, "height": 48, "frames": 1, "name": 8} | fields
    return (
        struct.pack("<IQ", 4, values["name"]) + b"StructIO"
        + np.tile(np.diag([50.0, 50, 1, 1]), (4, 1, 1)).astype("<f4").tobytes()
        + struct.pack("<iiIIIIfQ", values["color"], values["depth"], 64, 48, values["width"],
                      values["height"], 1000.0, values["frames"])
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"frames": 2**62}, "declares .* frames"),
        ({"name": 2**40}, "declares a name"),
        ({"width": 2**31, "height": 2**31}, "declares depth"),
        ({"depth": 2}, "compressed by codes"),
        ({"color": -1}, "compressed by codes"),
        ({"frames": 0}, "no frame"),
    ],
)
def test_sens_header_that_promises_too_much_is_refused(
    fields: dict[str, int], words: str, tmp_path: Path
) -> None:
    (tmp_path / "scan.sens").write_bytes(_sens_header(**fields))
    with pytest.raises(ScanError, match=words):
        read_scan(tmp_path)


def test_sens_depth_that_swells_is_left_out(tmp_path: Path, room: Room) -> None:
    scan = scannet.write_sens(tmp_path, room)
    path = next(scan.glob("*.sens"))
    data = path.read_bytes()
    bomb = zlib.compress(bytes(50_000_000))
    depth = zlib.compress(room.millimetres[2].astype("<u2").tobytes())
    start = data.index(depth)
    sizes = start - _color_length(data, start)
    header = data[sizes - 8 : sizes]
    assert struct.unpack("<Q", header) == (len(depth),)
    changed = data[: sizes - 8] + struct.pack("<Q", len(bomb)) + data[sizes:start] + bomb
    path.write_bytes(changed + data[start + len(depth) :])
    scene = read_scan(scan)
    assert scene.num_views == len(room) - 1


def _color_length(data: bytes, depth_start: int) -> int:
    """Bytes of the JPEG that ends where depth starts."""
    return depth_start - data.rindex(b"\xff\xd8\xff\xe0", 0, depth_start)


# ARKitScenes, 3RScan


def test_arkit_boxes_fit_the_poses(tmp_path: Path, room: Room) -> None:
    _assert_boxes(read_scan(arkitscenes.write(tmp_path, room)).annotations, 0)


def test_arkit_sky_is_found_without_metadata(tmp_path: Path, room: Room) -> None:
    scene = read_scan(arkitscenes.write(tmp_path, room, metadata=False))
    assert scene.image_size == room.depth.shape[1:]
    np.testing.assert_allclose(scene.poses.numpy(), room.poses, atol=1e-5)
    assert any("it is left" in sentence for sentence in scene.assumptions)


def test_scene_graph_of_3rscan_is_read(tmp_path: Path, room: Room) -> None:
    annotations = read_scan(threerscan.write(tmp_path, room)).annotations
    _assert_boxes(annotations, 1)
    assert annotations is not None
    assert annotations.object_by_id(1).attributes == ("brown", "flat")
    (relation,) = annotations.relations
    assert (relation.subject, relation.object, relation.name) == (3, 1, "left")


def test_rescan_is_moved_into_the_world_of_its_reference(tmp_path: Path, room: Room) -> None:
    """Poses and boxes alike, by a matrix that is stored column by column."""
    motion = scannet.alignment()
    scan = threerscan.write(tmp_path, room)
    rescan = {"reference": threerscan.NAME, "transform": motion.T.ravel().tolist()}
    rooms = [{"reference": "another", "scans": []}, {"reference": "first", "scans": [rescan]}]
    (scan.parent / "3RScan.json").write_text(json.dumps(rooms))
    scene = read_scan(scan)
    np.testing.assert_allclose(scene.poses.numpy(), motion @ room.poses, atol=1e-5)
    assert scene.annotations is not None
    low, high = BOXES["table"]
    wanted = motion[:3, :3] @ ((low + high) / 2) + motion[:3, 3]
    center = scene.annotations.object_by_id(1).center
    np.testing.assert_allclose(center.numpy(), wanted, atol=1e-5)  # type: ignore[union-attr]


def test_scannetpp_that_was_not_extracted_is_refused(tmp_path: Path, room: Room) -> None:
    scan = scannetpp.write_phone(tmp_path, room)
    (scan / "iphone" / "depth").rename(tmp_path / "aside")
    (scan / "iphone" / "depth.bin").write_bytes(b"\0" * 100)
    with pytest.raises(ScanError, match="prepare_iphone_data"):
        read_scan(scan)


def test_relation_of_an_object_that_is_not_there_is_refused(tmp_path: Path, room: Room) -> None:
    scan = threerscan.write(tmp_path, room)
    wrong = [{"scan": threerscan.NAME, "relationships": [[3, 99, 5, "left"]]}]
    (scan / "relationships.json").write_text(json.dumps({"scans": wrong}))
    with pytest.raises(ScanError, match="99"):
        read_scan(scan)


# Replica, Hypersim


def test_replica_camera_may_stand_above(tmp_path: Path, room: Room) -> None:
    scan = replica.write(tmp_path, room)
    (scan / "cam_params.json").rename(scan.parent / "cam_params.json")
    assert read_scan(scan).num_views == len(room)
    (scan.parent / "cam_params.json").unlink()
    with pytest.raises(ScanError, match=r"cam_params\.json"):
        read_scan(scan)


def test_hypersim_needs_h5py(tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ScanError, match="pip install h5py"):
        read_scan(hypersim.write(tmp_path, room, hypersim.save_with_numpy))


@pytest.fixture
def hdf5(monkeypatch: pytest.MonkeyPatch) -> hypersim.Save:
    """How arrays are saved: as HDF5, or where h5py is missing as NumPy's files in its place."""
    try:
        import h5py  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("h5py")
        stand_in.File = hypersim.NumpyFile  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "h5py", stand_in)
        return hypersim.save_with_numpy
    return hypersim.save_with_h5py


@pytest.mark.parametrize("projection", [False, True])
def test_hypersim_distances_and_units_are_turned_into_metres_of_depth(
    projection: bool, hdf5: hypersim.Save, tmp_path: Path, room: Room
) -> None:
    centred = hypersim.centred(room) if not projection else room
    scene = read_scan(hypersim.write(tmp_path, centred, hdf5, projection=projection))
    assert scene.depth is not None
    np.testing.assert_allclose(scene.poses.numpy(), centred.poses, atol=1e-5)
    np.testing.assert_allclose(scene.intrinsics[0].numpy(), centred.matrix, atol=1e-3)
    seen = scene.depth.numpy() > 0
    assert not seen[0, 0, 0]  # it was NaN
    assert abs(scene.depth.numpy() - centred.depth)[seen].max() < 1e-4
    assert seen.mean() > 0.99


def test_hypersim_scene_with_a_tilted_image_plane_is_refused(
    hdf5: hypersim.Save, tmp_path: Path, room: Room
) -> None:
    scan = hypersim.write(tmp_path, room, hdf5, projection=True, tilt=0.1)
    with pytest.raises(ScanError, match="tilted"):
        read_scan(scan)


def test_damaged_hypersim_ends_in_a_scene_or_a_scan_error(
    hdf5: hypersim.Save, tmp_path: Path, room: Room
) -> None:
    scan = hypersim.write(tmp_path, room, hdf5, projection=True)
    for path in sorted(path for path in scan.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", whole[:20] + b"\xff" * 8 + whole[28:]):
            path.write_bytes(damaged)
            with contextlib.suppress(ScanError):
                assert read_scan(scan).num_views > 3
        path.write_bytes(whole)
    assert read_scan(scan).num_views == len(room)


# nerfstudio, COLMAP


def test_file_outside_of_the_scan_is_refused(tmp_path: Path, room: Room) -> None:
    scan = nerfstudio.write(tmp_path, room)
    whole = json.loads((scan / "transforms.json").read_text())
    for name in ("../secret.png", "/etc/passwd", "images/../../secret.png", "a\0b"):
        whole["frames"][0]["file_path"] = name
        (scan / "transforms.json").write_text(json.dumps(whole))
        with pytest.raises(ScanError, match=r"outside|null"):
            read_scan(scan)


def test_link_out_of_the_scan_is_refused(tmp_path: Path, room: Room) -> None:
    scan = nerfstudio.write(tmp_path, room)
    (tmp_path / "secret.png").write_bytes((scan / "images" / "frame_00000.png").read_bytes())
    (scan / "images" / "frame_00000.png").unlink()
    (scan / "images" / "frame_00000.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ScanError, match="outside"):
        read_scan(scan)


def test_frames_without_depth_among_others_are_left_out(tmp_path: Path, room: Room) -> None:
    scan = nerfstudio.write(tmp_path, room)
    whole = json.loads((scan / "transforms.json").read_text())
    del whole["frames"][3]["depth_file_path"]
    (scan / "transforms.json").write_text(json.dumps(whole))
    scene = read_scan(scan)
    assert scene.depth is not None
    assert "1 of 8 frames were left out: 1 without a depth image." in scene.assumptions
    for frame in whole["frames"]:
        frame.pop("depth_file_path", None)
    (scan / "transforms.json").write_text(json.dumps(whole))
    scene = read_scan(scan)
    assert scene.depth is None
    assert scene.num_views == len(room)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"),
        ({"k4": 0.1}, "k4"),
        ({"depth_unit_scale_factor": 0}, "depth_unit_scale_factor"),
        ({"applied_transform": [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]]}, "applied_transform"),
        ({"fl_x": float("nan")}, "finite"),
        ({"w": 64, "h": 64}, "calibrated at"),
        ({"frames": {}}, "list"),
    ],
)
def test_wrong_transforms_are_refused(
    fields: dict[str, object], words: str, tmp_path: Path, room: Room
) -> None:
    scan = nerfstudio.write(tmp_path, room)
    _edit_json(scan / "transforms.json", **fields)
    with pytest.raises(ScanError, match=words):
        read_scan(scan)


def test_camera_angle_stands_for_the_focal_length(tmp_path: Path, room: Room) -> None:
    scan = nerfstudio.write(tmp_path, room)
    whole = json.loads((scan / "transforms.json").read_text())
    for name in ("fl_x", "fl_y", "cx", "cy", "w", "h"):  # as in scenes that Blender rendered
        del whole[name]
    for frame in whole["frames"]:
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    whole["camera_angle_x"] = np.radians(70)
    (scan / "transforms.json").write_text(json.dumps(whole))
    matrix = read_scan(scan).intrinsics[0].numpy()
    assert matrix[0, 0] == pytest.approx(room.matrix[0, 0], rel=1e-5)
    assert matrix[0, 2] == pytest.approx(31.5)  # the middle, with pixel centres at integers


def _distorted(room: Room, lens: tuple[float, float, float, float]) -> np.ndarray:
    """Images ``[V, H, W, 3]`` through a lens, by inverting its model numerically."""
    k1, k2, p1, p2 = lens
    target = rays(room.matrix, room.depth.shape[1:])
    point = target[..., :2].copy()
    for _ in range(100):
        square = (point**2).sum(-1, keepdims=True)
        x, y = point[..., :1], point[..., 1:]
        across = 2 * p1 * x * y + p2 * (square + 2 * x * x)
        shift = np.concatenate([across, p1 * (square + 2 * y * y) + 2 * p2 * x * y], axis=-1)
        point = (target[..., :2] - shift) / (1 + k1 * square + k2 * square**2)
    directions = np.concatenate([point, target[..., 2:]], axis=-1)
    return np.stack([render(directions, pose)[2] for pose in room.poses])


@pytest.mark.parametrize(
    ("model", "lens"),
    [
        ("SIMPLE_RADIAL", (-0.25, 0.0, 0.0, 0.0)),
        ("RADIAL", (-0.3, 0.05, 0.0, 0.0)),
        ("OPENCV", (-0.3, 0.05, 0.01, -0.02)),
    ],
)
def test_distorted_images_are_made_pinhole_ones(
    model: str, lens: tuple[float, float, float, float], tmp_path: Path, room: Room
) -> None:
    scan = colmap.write_text(tmp_path, room)
    seen = _distorted(room, lens)
    fx, fy, cx, cy = colmap.parameters(room)
    assert fx == pytest.approx(fy)
    count = {"SIMPLE_RADIAL": 1, "RADIAL": 2, "OPENCV": 4}[model]
    focal = [fx, fy] if model == "OPENCV" else [fx]
    numbers = row(np.array([*focal, cx, cy, *lens[:count]]))
    (scan / "sparse" / "0" / "cameras.txt").write_text(f"1 {model} 64 48 {numbers}\n")
    for index in range(len(room)):
        Image.fromarray(seen[index]).save(scan / "images" / f"view{index:03d}.png")
    for path in (scan / "depth").iterdir():
        path.unlink()
    (scan / "depth").rmdir()
    images = read_scan(scan).images.permute(0, 2, 3, 1).numpy().astype(float)
    inner = (slice(None), slice(5, -5), slice(5, -5))
    left = abs(images - room.images)[inner].mean()
    assert left < 2
    assert left < 0.3 * abs(seen.astype(float) - room.images)[inner].mean()


@pytest.mark.parametrize("model", ["FULL_OPENCV", "FOV", "THIN_PRISM_FISHEYE", "PANORAMA"])
def test_camera_model_that_is_not_undistorted_is_refused_by_name(
    model: str, tmp_path: Path, room: Room
) -> None:
    scan = colmap.write_text(tmp_path, room)
    (scan / "sparse" / "0" / "cameras.txt").write_text(f"1 {model} 64 48 50 50 32 24 1\n")
    with pytest.raises(ScanError, match=model):
        read_scan(scan)


def test_colmap_counts_beyond_the_file_are_refused(tmp_path: Path, room: Room) -> None:
    scan = colmap.write_binary(tmp_path, room)
    for name in ("cameras", "images", "points3D"):
        path = scan / "sparse" / "0" / f"{name}.bin"
        whole = path.read_bytes()
        path.write_bytes(struct.pack("<Q", 2**60) + whole[8:])
        with pytest.raises(ScanError, match="cut off"):
            read_scan(scan)
        path.write_bytes(whole)


def test_colmap_points_become_vertices(tmp_path: Path, room: Room) -> None:
    scene = read_scan(colmap.write_binary(tmp_path, room))
    assert scene.vertices is not None
    assert scene.vertex_colors is not None
    np.testing.assert_allclose(scene.vertices.numpy(), colmap.POINTS, atol=1e-6)
    np.testing.assert_allclose(scene.vertex_colors[0].numpy(), [1, 0, 0.2], atol=1e-6)


def test_colmap_without_depth_has_none(tmp_path: Path, room: Room) -> None:
    scan = colmap.write_text(tmp_path, room)
    for path in (scan / "depth").iterdir():
        path.unlink()
    (scan / "depth").rmdir()
    scene = read_scan(scan)
    assert scene.depth is None
    assert scene.num_views == len(room)


# every layout


def test_image_that_declares_too_many_pixels_is_left_out(tmp_path: Path, room: Room) -> None:
    scan = frames.write(tmp_path, room)
    path = scan / "frame-000002.color.png"
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 2**24, 2**24)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    assert any("absurd" in sentence or "damaged" in sentence for sentence in
               read_scan(scan).assumptions)  # fmt: skip


def test_views_beyond_memory_are_refused_before_they_are_decoded(
    tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = frames.write(tmp_path, room)
    monkeypatch.setattr("g2vlm_fast.data.readers.views.MOST_BYTES", 5 * 7 * 48 * 64)
    with pytest.raises(ScanError, match="--max-frames"):
        read_scan(scan)
    assert read_scan(scan, ReadOptions(max_frames=5)).num_views == 5


def test_pickles_are_never_opened(tmp_path: Path, room: Room) -> None:
    """A mesh that is a pickle is no mesh, and nothing in it is run."""
    scan = frames.write(tmp_path, room)
    proof = tmp_path / "proof"
    (scan / "mesh.ply").write_bytes(f"cposix\nsystem\n(S'touch {proof}'\ntR.".encode())
    with pytest.raises(ScanError, match="PLY"):
        read_scan(scan)
    assert not proof.exists()
