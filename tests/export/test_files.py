"""Files are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from g2vlm_fast.export import files
from g2vlm_fast.export.files import OutputError, publish, write_cloud, write_json, write_mesh
from g2vlm_fast.export.mesh import ColoredMesh

_POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
_NORMALS = np.tile(np.array([[0, 0, 1]], dtype=np.float32), (4, 1))
_COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]], dtype=np.float32)


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with publish(out, overwrite=False) as folder:
        (folder / "a.txt").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert os.listdir(out.parent) == ["out"]


def test_failure_leaves_nothing_new_and_the_old_untouched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    (out / "run.json").touch()

    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), publish(out, overwrite=True) as folder:
        fail(folder)
    assert os.listdir(tmp_path) == ["out"]
    assert (out / "old.txt").read_text() == "old"


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"), publish(out, overwrite=False):
        pass
    with publish(out, overwrite=True) as folder:
        (folder / "new.txt").write_text("new")
    assert os.listdir(out) == ["new.txt"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_interruption_while_folders_are_swapped_loses_neither(
    renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("old")
    rename, done = os.rename, 0

    def interrupted(source: Path, target: Path) -> None:
        nonlocal done
        if done == renamed:
            done = -1
            raise KeyboardInterrupt
        rename(source, target)
        done += 1
        if done == renamed == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), publish(out, overwrite=True) as folder:
        (folder / "run.json").write_text("new")
    assert os.listdir(tmp_path) == ["out"]
    assert (out / "run.json").read_text() == ("new" if renamed == 2 else "old")


def test_folder_that_is_no_earlier_result_is_never_replaced(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    scan.mkdir()
    (scan / "frame-000000.color.png").touch()
    with pytest.raises(OutputError, match="earlier run"), publish(scan, overwrite=True):
        pass
    assert os.listdir(scan) == ["frame-000000.color.png"]


def test_link_is_followed_to_the_folder_it_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with publish(tmp_path / "link", overwrite=False) as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == ["a"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with publish(tmp_path / "out", overwrite=False) as folder:
        (folder / "a").touch()
    assert os.listdir(tmp_path / "out") == ["a"]


def test_place_that_cannot_hold_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"), publish(tmp_path / "file", overwrite=True):
        pass
    below = tmp_path / "file" / "out"
    with pytest.raises(OutputError, match="--out"), publish(below, overwrite=True):
        pass


def test_folder_without_write_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    with (
        pytest.raises(OutputError, match="Permission denied"),
        publish(tmp_path / "out", overwrite=False),
    ):
        pass


def test_cloud_and_mesh_read_back(tmp_path: Path) -> None:
    import open3d as o3d

    write_cloud(tmp_path / "cloud.ply", _POINTS, _COLORS, _NORMALS)
    cloud = o3d.t.io.read_point_cloud(tmp_path / "cloud.ply")
    assert np.array_equal(cloud.point.positions.numpy(), _POINTS)
    assert np.array_equal(cloud.point.normals.numpy(), _NORMALS)
    assert abs(cloud.point.colors.numpy() / 255 - _COLORS).max() < 0.003
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    write_mesh(tmp_path / "mesh.ply", ColoredMesh(_POINTS, faces, _NORMALS, _COLORS))
    mesh = o3d.io.read_triangle_mesh(tmp_path / "mesh.ply")
    assert np.array_equal(np.asarray(mesh.triangles), faces)
    assert mesh.has_vertex_normals()
    assert abs(np.asarray(mesh.vertex_colors) - _COLORS).max() < 0.003
    assert sorted(os.listdir(tmp_path)) == ["cloud.ply", "mesh.ply"]


def test_json_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, 2.5, "é"]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": [1, 2.5, "é"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["a"][0] == 1
    assert os.listdir(tmp_path) == ["a.json"]
