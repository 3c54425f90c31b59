"""3RScan and its scene graphs, 3DSSG.

``sequence/`` holds ``_info.txt`` (cameras, depth units), ``frame-*.color.jpg``, ``.depth.pgm`` and
``.pose.txt`` (camera to world); the tablet was held upright, so that the images lie on their side.
``semseg.v2.json`` holds objects with boxes; ``objects.json`` and ``relationships.json``, in the
folder or above, hold attributes and relations of all scans. A later scan of a room is moved into
the world of its reference scan by the transform (column by column) that ``3RScan.json``, above,
states.

Source: Wald et al., *RIO: 3D Object Instance Re-Localization in Changing Indoor Environments*,
ICCV 2019; Wald et al., *Learning 3D Semantic Scene Graphs from 3D Indoor Reconstructions*, CVPR
2020.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.annotations.records import ObjectRelation, ScanAnnotations, ScanObject
from g2vlm_fast.data.readers.calibration import check_matrix, rigid_pose
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.frame_folder import find_frames
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.listing import Listing
from g2vlm_fast.data.readers.oriented_boxes import segment_groups
from g2vlm_fast.data.readers.safe_files import Fields, read_json, read_lines
from g2vlm_fast.data.readers.upright import SKY_TURNS, sky_direction

_COPY = "Copy the file again"


def is_threerscan(folder: Path) -> bool:
    """Whether ``folder`` holds a sequence with its ``_info.txt``."""
    return (folder / "sequence" / "_info.txt").is_file()


def list_threerscan(folder: Path) -> Listing:
    """List the frames, upright.

    Raises:
        ScanError: a broken ``_info.txt``, pose or annotation.
    """
    sequence = folder / "sequence"
    info = _read_info(sequence / "_info.txt")
    frames, skipped = find_frames(sequence, (".depth.pgm", ".depth.png"))
    to_reference = _to_reference(folder)
    frames = [
        frame if frame.pose is None else replace(frame, pose=to_reference @ frame.pose)
        for frame in frames
    ]
    sky = sky_direction(frames)
    mesh = folder / "labels.instances.annotated.v2.ply"
    return Listing(
        frames=frames,
        skipped=skipped,
        camera=_camera(info, "Color"),
        depth_camera=_camera(info, "Depth"),
        units_per_metre=_depth_shift(info),
        clockwise_turns=SKY_TURNS[sky],
        mesh=mesh if mesh.is_file() else None,
        mesh_to_world=to_reference,
        annotations=lambda: _read_annotations(folder).moved(torch.from_numpy(to_reference)),
        assumptions=[
            "Colour was seen through the depth camera, as if both stood at one place.",
            f"z was taken for up; by the poses, the sky is {sky} in the images.",
        ],
    )


def _to_reference(folder: Path) -> NDArray[np.float64]:
    """The motion ``[4, 4]`` into the world of the reference scan; the identity for that itself."""
    path = _above(folder, "3RScan.json")
    name = folder.resolve().name
    entries = [] if path is None else read_json(path)
    if path is not None and not isinstance(entries, list):
        raise ScanError(path, "is not a list of rooms", _COPY)
    for index, entry in enumerate(entries):
        assert path is not None
        room = Fields.of(path, entry, f"room {index}")
        for scan in room.objects("scans") if "scans" in room else ():
            if scan.text("reference") == name and "transform" in scan:
                return rigid_pose(path, f"the transform of {name}", scan.array("transform", 4, 4).T)
    return np.eye(4)


def _read_info(path: Path) -> Fields:
    values: dict[str, Any] = {}
    for line in read_lines(path):
        name, _, value = line.partition("=")
        try:
            numbers = [float(word) for word in value.split()]
        except ValueError:
            continue  # a text, such as the name of the sensor
        values[name.strip()] = numbers[0] if len(numbers) == 1 else numbers
    return Fields(path, values)


def _camera(info: Fields, which: str) -> Camera:
    given = info.array(f"m_calibration{which}Intrinsic", 4, 4)[:3, :3]
    width, height = info.number(f"m_{which.lower()}Width"), info.number(f"m_{which.lower()}Height")
    if not (1 <= width < 1e6 and 1 <= height < 1e6):
        raise ScanError(info.path, f"declares {width:g}x{height:g} images", _COPY)
    matrix = check_matrix(info.path, given.copy())
    return Camera(matrix, (int(height), int(width)), None, info.path)


def _depth_shift(info: Fields) -> float:
    shift = info.number("m_depthShift", 1000.0)
    if not 0 < shift < 1e9:
        raise ScanError(info.path, f"m_depthShift is {shift:g}", _COPY)
    return shift


def _read_annotations(folder: Path) -> ScanAnnotations:
    name = folder.resolve().name
    objects: dict[int, ScanObject] = {}
    boxes = next(iter(sorted(folder.glob("semseg*.json"))), None)
    if boxes is not None:
        objects = {thing.id: thing for thing in segment_groups(Fields.read(boxes))}
    for entry in _of_scan(folder, "objects.json", "objects", name):
        object_id = entry.integer("id")
        known = objects.get(object_id, ScanObject(id=object_id, class_name=entry.text("label")))
        objects[object_id] = replace(known, attributes=_attributes(entry))
    relations = []
    path = _above(folder, "relationships.json")
    if path is not None:
        for scan in Fields.read(path).objects("scans"):
            if scan.text("scan") == name:
                relations += [_relation(path, row) for row in scan.list("relationships")]
    return ScanAnnotations(objects=tuple(objects.values()), relations=tuple(relations))


def _above(folder: Path, name: str) -> Path | None:
    """A file of the whole data set: in the folder of the scan, or up to two folders above."""
    places = (folder, folder.parent, folder.parent.parent)
    return next((place / name for place in places if (place / name).is_file()), None)


def _of_scan(folder: Path, file: str, what: str, name: str) -> list[Fields]:
    path = _above(folder, file)
    if path is None:
        return []
    scans = [scan for scan in Fields.read(path).objects("scans") if scan.text("scan") == name]
    return [entry for scan in scans for entry in scan.objects(what)]


def _attributes(entry: Fields) -> tuple[str, ...]:
    """Attributes of all kinds ("color", "material", ...), in the order of the file."""
    groups = entry.values.get("attributes") or {}
    kinds = Fields.of(entry.path, groups, f"attributes of {entry.where}")
    found = [value for kind in kinds.values for value in kinds.list(kind)]
    if not all(isinstance(value, str) for value in found):
        raise ScanError(entry.path, f"attributes of {entry.where} are no texts", _COPY)
    return tuple(dict.fromkeys(found))


def _relation(path: Path, row: Any) -> ObjectRelation:
    """``[subject, object, number of the predicate, predicate]``."""
    right = isinstance(row, list) and len(row) == 4 and isinstance(row[3], str)
    if not right or not all(isinstance(number, int) for number in row[:2]):
        raise ScanError(path, f"holds the relationship {str(row)[:60]}", _COPY)
    return ObjectRelation(subject=row[0], object=row[1], name=row[3])
