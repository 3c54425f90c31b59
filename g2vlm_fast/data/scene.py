"""One scene in memory: posed views, optional partial geometry, and what is true of it.

Every source of data (generated rooms, scans read from files) ends in a :class:`Scene`, and
:func:`g2vlm_fast.data.collate` turns scenes into batches. Conventions are those of
:mod:`g2vlm_fast.records`; everything lives on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.data.annotations.records import ScanAnnotations
from g2vlm_fast.data.language.programs import Program
from g2vlm_fast.data.language.situations import Situation
from g2vlm_fast.data.language.visibility import visible_pixels
from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.records import Task


@dataclass(frozen=True, kw_only=True)
class Query:
    """A text about a scene with the answer that is true.

    ``answer`` is in the closed words of the answer vocabulary; where the answer is a number it
    is ``"<number>"`` and ``value`` holds it. ``spoken`` is the sentence for people, which names
    the view of every direction that is meant from one.
    """

    text: str
    task: Task
    kind: str = ""  # "caption", "existence", "count", "color", "direction", ... for reports
    answer: str | None = None
    value: float | None = None
    referred: int | None = None  # object of the scene that the text or its answer singles out
    frame: str = ""  # "view 0" where a direction is meant, else empty; several joined by ", "
    spoken: str = ""
    program: Program | None = None  # which gives the answer, or the object of a reference
    objects: tuple[int, ...] = ()  # all objects of the scene that the text speaks of
    situation: Situation | None = None  # where the question is asked from, as its text says
    wording: str = ""  # the template of the text
    sqa3d_type: str = ""  # what, is, how, can, which, other: the types of SQA3D
    vsi_type: str = ""  # "object count", "room size", ...: the task of VSI-Bench, or empty


@dataclass(frozen=True, kw_only=True, eq=False)
class RoomObject:
    """A piece of furniture: what it is, where it is, and the primitives that it is made of."""

    class_name: str  # of ontology.CLASSES
    variant: str = ""  # name of its shape within the class
    color: str  # of ontology.COLORS
    center: Tensor  # [3] float32 metres
    size: Tensor  # [3] float32 metres, full extents along the box axes
    rotation: Tensor  # [3, 3] float32, box axes to world
    primitives: range  # rows of RoomTruth.primitives
    support: int | None = None  # object that it stands on or in; None = the floor
    inside: bool = False  # it is in its support, not on it
    has_front: bool = False  # it has a front, which faces along its negative y axis


@dataclass(frozen=True, kw_only=True, eq=False)
class RoomTruth:
    """The complete ground truth of a generated room."""

    objects: tuple[RoomObject, ...]
    primitives: Primitives  # row 0 is the room itself
    relations: Tensor  # [K, K, R] int8: subject, object, predicate; 1, 0, -1 undecided
    room_size: Tensor  # [3] float32 metres; the floor is at z = 0, centred in x and y
    depth: Tensor  # [V, H, W] float32 metres, without sensor noise
    normal: Tensor  # [V, 3, H, W] float32, unit, world
    instance: Tensor  # [V, H, W] int64, object, -1 = the room
    program: str = "simple"  # what the room is: "simple" or one of room_config.PROGRAMS

    def visible_pixels(self) -> Tensor:
        """Return how many pixels each view shows of each object, ``[V, K]`` int64."""
        return visible_pixels(self.instance, len(self.objects))

    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return centers ``[K, 3]``, sizes ``[K, 3]`` and rotations ``[K, 3, 3]``."""
        if not self.objects:
            return torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3, 3)
        return (
            torch.stack([thing.center for thing in self.objects]),
            torch.stack([thing.size for thing in self.objects]),
            torch.stack([thing.rotation for thing in self.objects]),
        )


def _down() -> Tensor:
    return torch.tensor([0.0, 0.0, -1.0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """V posed views of one place, with whatever else is known of it.

    Raises:
        TypeError: a field has the wrong dtype.
        ValueError: a field has the wrong shape or impossible values. The message names the
            field and the scene.
    """

    name: str
    images: Tensor  # [V, 3, H, W] uint8
    intrinsics: Tensor  # [V, 3, 3] float32 pixels
    poses: Tensor  # [V, 4, 4] float32, camera to world
    depth: Tensor | None = None  # [V, H, W] float32 metres along z, 0 = missing
    depth_sigma: Tensor | None = None  # [V, H, W] float32 metres, standard deviation
    gravity: Tensor = field(default_factory=_down)  # [3] float32, unit, points down
    vertices: Tensor | None = None  # [N, 3] float32 metres, world
    faces: Tensor | None = None  # [F, 3] int32
    vertex_normals: Tensor | None = None  # [N, 3] float32, unit
    vertex_colors: Tensor | None = None  # [N, 3] float32 in [0, 1]
    poses_estimated: bool = False  # True where registration, not the source, gave the poses
    truth: RoomTruth | None = None
    annotations: ScanAnnotations | None = None  # what people wrote about a scan
    assumptions: tuple[str, ...] = ()  # sentences: what its reader had to take for granted

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, (shape, dtype) in _FIELDS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            self._check(name, value, shape, dtype, sizes)
        if min(sizes["V"], sizes["H"], sizes["W"]) == 0:
            raise ValueError(f"scene {self.name!r}: images are empty, {list(self.images.shape)}")
        self._check_values()

    def _check(
        self, name: str, value: Any, shape: tuple[Any, ...], dtype: torch.dtype, sizes: dict
    ) -> None:
        where = f"scene {self.name!r}: {name}"
        if not isinstance(value, Tensor):
            raise TypeError(f"{where} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype != dtype:
            raise TypeError(f"{where} must be {dtype}, got {value.dtype}")
        bound = [sizes.get(size, size) for size in shape]
        matches = len(shape) == value.ndim and all(
            isinstance(wanted, str) or wanted == actual
            for wanted, actual in zip(bound, value.shape, strict=True)
        )
        if not matches:
            wanted = ", ".join(map(str, bound))
            raise ValueError(f"{where} must have shape [{wanted}], got {list(value.shape)}")
        sizes.update((s, n) for s, n in zip(shape, value.shape, strict=True) if isinstance(s, str))

    def _check_values(self) -> None:
        def require(holds: Tensor | bool, name: str, expected: str) -> None:
            if not bool(holds):
                raise ValueError(f"scene {self.name!r}: {name} must be {expected}")

        for name in ("intrinsics", "poses", "gravity", "depth", "depth_sigma", "vertices"):
            value = getattr(self, name)
            if value is not None:
                require(value.isfinite().all(), name, "finite")
        focal = self.intrinsics.diagonal(dim1=-2, dim2=-1)[:, :2]
        require((focal > 0).all(), "intrinsics", "matrices with positive focal lengths")
        rotation = self.poses[:, :3, :3]
        error = (rotation @ rotation.mT - torch.eye(3)).abs().amax()
        rigid = (error < 1e-3) & (torch.linalg.det(rotation) > 0).all()
        require(rigid, "poses", "rigid camera-to-world transforms (orthonormal, determinant 1)")
        require((self.gravity.norm() - 1).abs() < 1e-3, "gravity", "a unit vector")
        for name in ("depth", "depth_sigma"):
            value = getattr(self, name)
            if value is not None:
                require((value >= 0).all(), name, "0 (missing) or positive")
        for name in ("faces", "vertex_normals", "vertex_colors"):
            if getattr(self, name) is not None:
                require(self.vertices is not None, name, "given together with vertices")
        if self.depth_sigma is not None:
            require(self.depth is not None, "depth_sigma", "given together with depth")
        if self.faces is not None and self.vertices is not None and self.faces.numel():
            inside = (self.faces >= 0).all() & (self.faces < self.vertices.shape[0]).all()
            require(inside, "faces", f"indices below the {self.vertices.shape[0]} vertices")

    @property
    def num_views(self) -> int:
        return self.images.shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.images.shape[2], self.images.shape[3]


_FIELDS: dict[str, tuple[tuple[Any, ...], torch.dtype]] = {
    "images": (("V", 3, "H", "W"), torch.uint8),
    "intrinsics": (("V", 3, 3), torch.float32),
    "poses": (("V", 4, 4), torch.float32),
    "depth": (("V", "H", "W"), torch.float32),
    "depth_sigma": (("V", "H", "W"), torch.float32),
    "gravity": ((3,), torch.float32),
    "vertices": (("N", 3), torch.float32),
    "faces": (("F", 3), torch.int32),
    "vertex_normals": (("N", 3), torch.float32),
    "vertex_colors": (("N", 3), torch.float32),
}
_OPTIONAL = {field_.name for field_ in fields(Scene) if field_.default is None}
