"""The truth of a scene in the form that programs read."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data.language.floor import floor_area
from g2vlm_fast.data.language.holders import held_by
from g2vlm_fast.data.language.programs import OWN_FRAME, view_of
from g2vlm_fast.data.language.relations import (
    between_labels,
    own_direction_labels,
    view_direction_labels,
)
from g2vlm_fast.data.language.visibility import visible_pixels
from g2vlm_fast.data.scene import RoomTruth
from g2vlm_fast.geometry.boxes import upright_box_gap
from g2vlm_fast.ontology import DIRECTIONAL_RELATIONS, RELATIONS

_LOOKING = (
    "chair", "armchair", "sofa", "bench", "bed", "toilet", "desk", "piano", "television",
    "monitor", "laptop",
)  # fmt: skip
"""Classes of which people say that they face something, and whose own left and right they know."""

UNKNOWN_COLOR = ""
"""Of things of which boxes alone are known."""

_OVERHEAD = 1.6  # metres of the bottom of a thing from which nobody stands at it


class Matches(NamedTuple):
    """Objects that match for certain, and all that might; the first are among the second."""

    certain: frozenset[int]
    possible: frozenset[int]

    @property
    def decided(self) -> bool:
        return self.certain == self.possible

    def only(self, labels: NDArray[np.int8]) -> Matches:
        """Return those of label 1 for certain, and those not of label 0 as possible."""
        return Matches(
            frozenset(index for index in self.certain if labels[index] == 1),
            frozenset(index for index in self.possible if labels[index] != 0),
        )


class Facts:
    """What is true of the objects of a room.

    Args:
        truth: the room.
        poses: ``[V, 4, 4]`` camera to world; None where only view 0 is spoken of.
        gravity: ``[3]`` unit vector that points down; given with ``poses``.

    The room's own relations are meant from view 0.
    """

    def __init__(
        self, truth: RoomTruth, poses: Tensor | None = None, gravity: Tensor | None = None
    ) -> None:
        self.classes = [thing.class_name for thing in truth.objects]
        self.colors = [thing.color for thing in truth.objects]
        self.looks_ahead = [
            thing.has_front and thing.class_name in _LOOKING for thing in truth.objects
        ]
        self.boxes = truth.boxes()
        self.centers: list[list[float]] = self.boxes[0].tolist()
        self.sizes: list[list[float]] = self.boxes[1].tolist()
        self.volumes = [x * y * z for x, y, z in self.sizes]
        self.heights = [size[2] for size in self.sizes]
        self.floor_area = floor_area(truth)
        self.place = "flat" if truth.program == "flat" else "room"
        self.held_by = held_by(truth)
        self._relations = truth.relations.numpy()
        self._instance = truth.instance
        self._poses, self._gravity = poses, gravity
        self._in_frame: dict[str, NDArray[np.int8]] = {"view 0": self._relations[..., :4]}

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def everything(self) -> Matches:
        whole = frozenset(range(len(self)))
        return Matches(whole, whole)

    @cached_property
    def gaps(self) -> list[list[float]]:
        """Metres between the closest points of the boxes."""
        gaps: list[list[float]] = upright_box_gap(self.boxes, self.boxes).tolist()
        return gaps

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels ``[V, K]`` of every object in every view."""
        return visible_pixels(self._instance, len(self)).numpy()

    @property
    def num_views(self) -> int:
        return self._instance.shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the views."""
        return self._instance.shape[1], self._instance.shape[2]

    @cached_property
    def _between(self) -> NDArray[np.int8]:
        return between_labels(self.boxes[0], self.boxes[1]).numpy()

    def labels(self, relation: str, frame: str = "view 0") -> NDArray[np.int8]:
        """Return ``[K, K]`` for "subject is relation object": 1, 0 or -1 undecided.

        Raises:
            ValueError: the frame is a view whose pose is not known.
        """
        if relation == "facing":
            return self._facing
        if relation not in DIRECTIONAL_RELATIONS:
            return self._relations[..., RELATIONS.index(relation)]
        if frame not in self._in_frame:
            self._in_frame[frame] = self._directions(frame)
        return self._in_frame[frame][..., DIRECTIONAL_RELATIONS.index(relation)]

    @cached_property
    def _facing(self) -> NDArray[np.int8]:
        looks = np.array(self.looks_ahead)[:, None]
        return np.where(looks, self._relations[..., RELATIONS.index("facing")], np.int8(-1))

    def approachable(self, index: int) -> bool:
        """Whether one can stand at an object: it is not up by the ceiling."""
        return self.centers[index][2] - self.heights[index] / 2 <= _OVERHEAD

    def between(self, first: int, second: int) -> NDArray[np.int8]:
        """Return ``[K]``: which objects are between the two: 1, 0 or -1 undecided."""
        return self._between[:, first, second]

    def floor_distances(self, x: float, y: float) -> list[float]:
        """Return the metres over the floor from a point to every footprint."""
        middle, half, axes = self._ground
        local = ((np.array([x, y]) - middle)[:, :, None] * axes).sum(1)
        distances: list[float] = np.hypot(*np.maximum(np.abs(local) - half, 0).T).tolist()
        return distances

    @cached_property
    def _ground(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        center, size, rotation = (part.double().numpy() for part in self.boxes)
        return center[:, :2], size[:, :2] / 2, rotation[:, :2, :2]

    def _directions(self, frame: str) -> NDArray[np.int8]:
        center, _, rotation = self.boxes
        if frame == OWN_FRAME:
            return own_direction_labels(center, rotation, self.looks_ahead).numpy()
        view = view_of(frame)
        if view is None or self._poses is None or self._gravity is None:
            raise ValueError(
                f"Facts: directions in the frame {frame!r} need the poses of the views; make the "
                "facts with poses and gravity"
            )
        if view >= len(self._poses):
            raise ValueError(f"Facts: the scene has {len(self._poses)} views, got {frame!r}")
        return view_direction_labels(center, self._poses[view], self._gravity).numpy()
