"""Folders and files of results that are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.export.mesh import ColoredMesh
from g2vlm_fast.files import replacing, write_text

RESULTS_MARK = "run.json"
"""The file by which a folder of results is known."""


class OutputError(OSError):
    """Results cannot be put where they were asked for; says why and what to do."""


@contextmanager
def publish(out: Path, *, overwrite: bool, mark: str = RESULTS_MARK) -> Iterator[Path]:
    """Fill a folder out of sight, then let it appear at once.

    Yields a new folder beside ``out``. When the block ends it is renamed to ``out``; when the
    block raises it is deleted and whatever was at ``out`` stays as it was.

    Args:
        out: where the results shall be.
        overwrite: replace the results of an earlier run, known by their ``mark``. No other
            folder is ever replaced.
        mark: name of a file that every such folder holds.

    Raises:
        OutputError: something is at ``out`` that may not be replaced, or the folder above cannot
            be written. Nothing is created then.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; name a folder with --out")
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise OutputError(f"{out}: exists already; name another --out, or pass --overwrite")
        if not (out / mark).is_file():
            raise OutputError(
                f"{out}: holds no results of an earlier run (no {mark}), so it is not "
                "overwritten; name another --out, or empty it yourself"
            )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise OutputError(
            f"{out.parent}: cannot be written ({error.strerror}); grant write permission there, "
            "or name another folder with --out"
        ) from error
    try:
        yield draft
        draft.chmod(0o755)
        _swap(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap(draft: Path, out: Path) -> None:
    """Put ``draft`` at ``out``; an old folder there is moved aside first and deleted last."""
    if not out.exists():
        os.rename(draft, out)
        return
    aside = draft.with_suffix(".replaced")
    try:
        os.rename(out, aside)
        os.rename(draft, out)
    except BaseException:  # an interruption comes at any line
        if aside.exists() and not out.exists():
            os.rename(aside, out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object; NaN and infinite numbers are refused.

    Raises:
        ValueError: a number that JSON cannot hold.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_mesh(path: Path, mesh: ColoredMesh) -> None:
    """Write a coloured mesh with normals as binary PLY.

    Raises:
        OSError: the file could not be written.
    """
    import open3d as o3d

    with replacing(path) as partial:
        if not o3d.t.io.write_triangle_mesh(partial, mesh.to_open3d()):
            raise OSError(f"{path}: the mesh could not be written; is the disk full?")


def write_cloud(
    path: Path,
    points: NDArray[np.float32],
    colors: NDArray[np.float32],
    normals: NDArray[np.float32],
) -> None:
    """Write a coloured point cloud with normals as binary PLY.

    Args:
        path: the file.
        points: ``[N, 3]`` metres.
        colors: ``[N, 3]`` in [0, 1].
        normals: ``[N, 3]`` unit.

    Raises:
        OSError: the file could not be written.
    """
    import open3d as o3d
    from open3d.core import Tensor

    cloud = o3d.t.geometry.PointCloud(Tensor(np.ascontiguousarray(points)))
    cloud.point.normals = Tensor(np.ascontiguousarray(normals))
    cloud.point.colors = Tensor((colors * 255).round().clip(0, 255).astype(np.uint8))
    with replacing(path) as partial:
        if not o3d.t.io.write_point_cloud(partial, cloud):
            raise OSError(f"{path}: the cloud could not be written; is the disk full?")
