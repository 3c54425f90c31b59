"""Layouts of real rooms as a benchmark: questions about boxes that nobody filmed.

The files are those of "Thinking in Space" (Yang et al., CVPR 2025): see
:mod:`g2vlm_fast.data.rooms.realism` for their form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from g2vlm_fast.data import Query, RoomTruth, Scene, queries
from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.rooms.realism import REAL_NAMES
from g2vlm_fast.eval.benchmarks.box_rooms import room_of_boxes
from g2vlm_fast.eval.benchmarks.fingerprint import fingerprint_of
from g2vlm_fast.eval.metrics.boxes import Boxes
from g2vlm_fast.eval.protocol.cases import Case, GraphTruth
from g2vlm_fast.ontology import CLASSES

KINDS: tuple[str, ...] = (
    "relation", "between", "distance", "nearer", "relative_distance",
    "relative_direction_easy", "relative_direction_medium", "relative_direction_hard", "route",
    "extreme", "height_comparison", "height", "width", "count", "room_size",
)  # fmt: skip
"""Questions that boxes decide: they need no colour, no front and no view."""

_VERSION = 1
_LEAST_OBJECTS = 3


@dataclass(frozen=True, eq=False)
class Layout:
    """A real room: its boxes with names of ``ontology.CLASSES``, and its floor in square metres."""

    boxes: Boxes
    class_names: tuple[str, ...]
    floor_area: float


@dataclass(frozen=True, kw_only=True)
class LayoutBenchmark:
    """Real rooms with at least three objects of known classes; one case each.

    Nothing is given. Objects of classes that :data:`~g2vlm_fast.ontology.CLASSES` lacks are left
    out. Boxes were fitted to scans and tilt a little: each is set upright about its centre, with
    its own extents. Answers follow from the boxes by the programs that also answer questions
    about generated rooms; relations that need a view or a front are undecided.

    Attributes:
        folder: of the ``.json`` files.
        count: the first so many rooms; None for all.
    """

    folder: Path
    count: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.count is not None and self.count < 1:
            raise ValueError(f"LayoutBenchmark: count must be 1 or more, got {self.count}")

    @property
    def name(self) -> str:
        """For people."""
        return f"real layouts, {len(self.names)} rooms"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all boxes and of all that is asked."""
        layouts = [
            (name, layout.class_names, layout.floor_area, layout.boxes.center.tolist(),
             layout.boxes.size.tolist(), layout.boxes.rotation.tolist())
            for name, layout in self._layouts.items()
        ]  # fmt: skip
        texts = [query.text for query in self.case(0).queries]
        return fingerprint_of({"version": _VERSION, "layouts": layouts, "texts": texts})

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the scans, in the order of the files and of their scenes."""
        return tuple(self._layouts)

    def case(self, index: int) -> Case:
        """Make a room as a case."""
        name = self.names[index]
        layout = self._layouts[name]
        side = math.sqrt(layout.floor_area)
        room = room_of_boxes(layout.boxes, layout.class_names, floor_size=(side, side))
        return Case(
            name=name,
            given=None,
            queries=_questions(name, room, seed=index),
            graph=GraphTruth(
                boxes=layout.boxes,
                class_names=layout.class_names,
                relations=room.relations.numpy(),
            ),
        )

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        files = sorted(self.folder.glob("*.json"))
        if not files:
            raise ScanError(
                self.folder, "holds no .json file of layouts",
                "Name the folder with the files of 'Thinking in Space'",
            )  # fmt: skip
        found: dict[str, Layout] = {}
        for file in files:
            for name, layout in _read(file).items():
                if name in found:
                    raise ScanError(file, f"has scene {name!r} a second time", "Remove one")
                found[name] = layout
        large = [name for name in found if len(found[name].boxes) >= _LEAST_OBJECTS]
        return {name: found[name] for name in large[: self.count]}


def _questions(name: str, room: RoomTruth, seed: int) -> tuple[Query, ...]:
    """Questions alone: the description of a room names colours, which nobody knows here."""
    unseen = Scene(
        name=name,
        images=torch.zeros(1, 3, 1, 1, dtype=torch.uint8),
        intrinsics=torch.eye(3)[None],
        poses=torch.eye(4)[None],
        truth=room,
    )
    texts = queries(unseen, seed, kinds=KINDS, style="training")
    return tuple(replace(text, spoken="") for text in texts if text.kind in KINDS)


def _read(file: Path) -> dict[str, Layout]:
    try:
        scenes = json.loads(file.read_text(encoding="utf-8"))
        return {name: _layout(scene) for name, scene in scenes.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScanError(
            file, f"is no file of layouts ({error})",
            "Expected object_bbox, room_size and oriented boxes for every scene",
        ) from error  # fmt: skip


def _layout(scene: Mapping[str, Any]) -> Layout:
    named = [
        (REAL_NAMES.get(name, name), box)
        for name, boxes in sorted(scene["object_bbox"].items())
        for box in boxes
    ]
    known = [(name, _upright(box)) for name, box in named if REAL_NAMES.get(name, name) in CLASSES]
    center, size, rotation = (
        np.array([box[part] for _, box in known], dtype=np.float64).reshape(len(known), *shape)
        for part, shape in enumerate(((3,), (3,), (3, 3)))
    )
    area = float(scene["room_size"])
    if not 0 < area < math.inf:
        raise ValueError(f"room_size must be square metres, got {area}")
    return Layout(Boxes(center, size, rotation), tuple(name for name, _ in known), area)


def _upright(box: Mapping[str, Sequence[float]]) -> tuple[Any, Any, Any]:
    """Centre, size and rotation of a box whose most vertical axis is set upright."""
    axes = np.array(box["normalizedAxes"], dtype=np.float64).reshape(3, 3)
    lengths = np.array(box["axesLengths"], dtype=np.float64)
    up = int(abs(axes[:, 2]).argmax())
    first, second = (axis for axis in range(3) if axis != up)
    yaw = math.atan2(axes[first, 1], axes[first, 0])
    cosine, sine = math.cos(yaw), math.sin(yaw)
    rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]
    return box["centroid"], lengths[[first, second, up]], rotation
