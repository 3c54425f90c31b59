"""Scenes to files in the package's own layout (see ``docs/datasets.md``).

``scene.json`` holds everything but the pixels; ``color/*.png`` are 8-bit, ``depth/*.png`` 16-bit
with the unit that ``scene.json`` states, ``mesh.ply`` and ``annotations.json`` are there where the
scene has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data.readers.annotation_files import annotations_to_json
from g2vlm_fast.data.readers.standard import FORMAT, SCENE_FILE, VERSION
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.export.files import publish
from g2vlm_fast.files import write_text

_UNITS = (0.0001, 0.00025, 0.001)
"""Metres a unit of depth images; the first that holds the farthest depth is taken."""

_LARGEST_CODE = 65534  # 65535 is what many recorders write for missing


def write_scene(
    scene: Scene, out: Path, *, provenance: Mapping[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write a scene into a folder that appears when it is complete.

    The layout keeps no points without faces and no standard deviations of depth; where a scene has
    them, the ``assumptions`` that are written say that they were left out.

    Args:
        scene: without truth (generated rooms are made from their seed, not stored).
        out: the folder.
        provenance: where the scene came from and what was changed, for ``scene.json``.
        overwrite: replace a scene that was written before; nothing else is ever replaced.

    Raises:
        ValueError: the scene has truth, or depth beyond 65 m.
        OutputError: the folder may not be replaced or cannot be written.
    """
    if scene.truth is not None:
        raise ValueError(f"write_scene: scene {scene.name!r} is generated; keep its seed instead")
    unit = _depth_unit(scene)
    with publish(out, overwrite=overwrite, mark=SCENE_FILE) as folder:
        frames = [_write_frame(scene, view, unit, folder) for view in range(scene.num_views)]
        whole: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "name": scene.name,
            "depth_unit": unit,
            "gravity": _numbers(scene.gravity),
            "poses_estimated": scene.poses_estimated,
            "assumptions": [*scene.assumptions, *_left_out(scene)],
            "provenance": dict(provenance or {}),
            "frames": frames,
        }
        if scene.vertices is not None and scene.faces is not None:
            _write_mesh(scene, folder / "mesh.ply")
            whole["mesh"] = "mesh.ply"
        if scene.annotations is not None:
            whole["annotations"] = "annotations.json"
            _write_json(folder / "annotations.json", annotations_to_json(scene.annotations))
        _write_json(folder / SCENE_FILE, whole)


def _left_out(scene: Scene) -> list[str]:
    told = []
    if scene.vertices is not None and scene.faces is None:
        told.append(f"Its {len(scene.vertices)} points without faces were not kept.")
    if scene.depth_sigma is not None:
        told.append("The standard deviations of its depth were not kept.")
    return told


def _depth_unit(scene: Scene) -> float:
    farthest = 0.0 if scene.depth is None else float(scene.depth.max())
    for unit in _UNITS:
        if farthest / unit < _LARGEST_CODE:
            return unit
    raise ValueError(
        f"write_scene: scene {scene.name!r} has depth up to {farthest:.0f} m, and 16 bits of "
        f"{_UNITS[-1]:g} m hold {_LARGEST_CODE * _UNITS[-1]:.0f} m; cut it off there"
    )


def _write_frame(scene: Scene, view: int, unit: float, folder: Path) -> dict[str, Any]:
    name = f"{view:06d}.png"
    frame: dict[str, Any] = {
        "color": f"color/{name}",
        "intrinsics": _numbers(scene.intrinsics[view]),
        "pose": _numbers(scene.poses[view]),
    }
    _save(folder / "color" / name, scene.images[view].permute(1, 2, 0).numpy())
    if scene.depth is not None:
        frame["depth"] = f"depth/{name}"
        stored = (scene.depth[view].double().numpy() / unit).round().astype(np.uint16)
        _save(folder / "depth" / name, stored)
    return frame


def _save(path: Path, pixels: NDArray[Any]) -> None:
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=4)


def _write_mesh(scene: Scene, path: Path) -> None:
    import open3d as o3d

    assert scene.vertices is not None
    assert scene.faces is not None
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(scene.vertices.double().numpy()),
        o3d.utility.Vector3iVector(scene.faces.numpy()),
    )
    if scene.vertex_colors is not None:
        mesh.vertex_colors = o3d.utility.Vector3dVector(scene.vertex_colors.double().numpy())
    if not o3d.io.write_triangle_mesh(path, mesh):
        raise OSError(f"{path}: the mesh could not be written; is the disk full?")


def _numbers(tensor: Tensor) -> list[Any]:
    return tensor.double().tolist()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
