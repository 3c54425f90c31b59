"""The package's own layout: ``scene.json`` beside ``color/``, ``depth/`` and what else is known.

Everything is metric, cameras OpenCV, poses camera to world; ``gravity`` points down, along -z in
what ``preprocess`` writes; nothing has to be assumed. :mod:`g2vlm_fast.data.scans.writer` writes
it, ``docs/datasets.md`` describes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.readers.annotation_files import annotations_from_json
from g2vlm_fast.data.readers.calibration import check_matrix, rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import ColorFile, DepthFile
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.listing import Frame, Listing
from g2vlm_fast.data.readers.safe_files import Fields, inside

FORMAT = "g2vlm-fast scene"
VERSION = 1
SCENE_FILE = "scene.json"


def is_standard(folder: Path) -> bool:
    """Whether ``folder`` holds a ``scene.json`` of this layout."""
    path = folder / SCENE_FILE
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(200)


def list_standard(folder: Path) -> Listing:
    """List the frames of a preprocessed scene.

    Raises:
        ScanError: broken JSON, another version, files outside of the folder, bad numbers.
    """
    path = folder / SCENE_FILE
    whole = Fields.read(path)
    if whole.text("format") != FORMAT or whole.integer("version") != VERSION:
        raise ScanError(
            path, f"is no {FORMAT} of version {VERSION}", "Run g2vlm-fast preprocess again"
        )
    unit = whole.number("depth_unit", 0.001)
    if not 1e-9 < unit < 1e3:
        raise ScanError(path, f"depth_unit is {unit:g}", "Write the metres that one unit is")
    frames, skipped = [], []
    for entry in whole.objects("frames"):
        try:
            frames.append(_frame(folder, entry))
        except FrameError as error:
            skipped.append(error)
    gravity = whole.array("gravity", 3)
    if not abs(np.linalg.norm(gravity.clip(-2, 2)) - 1) < 1e-3:
        raise ScanError(path, f"gravity {gravity.tolist()} is no unit vector", "Correct the file")
    mesh = inside(folder, whole.text("mesh"), path) if "mesh" in whole else None
    annotations = None
    if "annotations" in whole:
        file = inside(folder, whole.text("annotations"), path)

        def annotations() -> ScanAnnotations:
            return annotations_from_json(Fields.read(file))

    said = whole.list("assumptions") if "assumptions" in whole else []
    return Listing(
        frames=frames,
        skipped=skipped,
        units_per_metre=1 / unit,
        gravity=gravity,
        mesh=mesh,
        poses_estimated=bool(whole.values.get("poses_estimated", False)),
        annotations=annotations,
        assumptions=[sentence for sentence in said if isinstance(sentence, str)],
    )


def _frame(folder: Path, entry: Fields) -> Frame:
    path = entry.path
    color = inside(folder, entry.text("color"), path)
    depth = inside(folder, entry.text("depth"), path) if "depth" in entry else None
    for file, what in ((color, "a colour image"), (depth, "a depth image")):
        if file is not None and not file.is_file():
            raise FrameError(file, "is missing", "Restore it", reason=f"without {what}")
    matrix = check_matrix(path, entry.array("intrinsics", 3, 3))
    pose = rigid_pose(path, f"the pose of {entry.where}", entry.array("pose", 4, 4))
    depth_file = None if depth is None else DepthFile(depth)
    return Frame(ColorFile(color), depth_file, pose, Camera(matrix, source=path))
