"""The records that flow through the package: the lowest layer, imported by every other.

A scene becomes a :class:`SceneBatch`, the geometry encoder turns it into
:class:`GeometryTokens`, and the heads answer with a :class:`Prediction` that is held
against :class:`Targets`.

Conventions, everywhere in the package:

* **Packed.** Ragged data is concatenated along its first axis and described by int32
  ``offsets [B + 1]`` that start at 0, never decrease and end at the length. Nothing is padded.
* **Units and frames.** Metres, pixels, radians. World frames are right-handed, z up,
  gravity ``(0, 0, -1)``. Cameras are OpenCV: x right, y down, z forward; ``poses`` map
  camera to world; pixel centres lie at integer coordinates.
* **Precision.** Positions, depths, poses and boxes are float32 under every
  mixed-precision engine: a bfloat16 coordinate in a room is wrong by decimetres.

Sizes: B scenes, T views, H x W pixels, N vertices, F faces, M geometry tokens, U texts,
L text tokens, K objects, P object pairs, R relation predicates, S surface samples,
Q signed-distance queries. All but H, W and R count the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


class Task(IntEnum):
    """What a text asks for."""

    CAPTION = 0
    QUESTION = 1
    REFERRING = 2


class _Record:
    """What every record can do."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the record with every tensor on ``device``; dtypes stay as they are.

        ``non_blocking`` lets copies from page-locked memory overlap with work on a GPU.
        """
        return pytree.tree_map_only(
            Tensor, lambda tensor: tensor.to(device, non_blocking=non_blocking), self
        )

    def pin_memory(self) -> Self:
        """Return the record in page-locked memory, from which copies to a GPU need not wait."""
        return pytree.tree_map_only(Tensor, lambda tensor: tensor.pin_memory(), self)

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields that hold a tensor, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


_T = TypeVar("_T")


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
def record(cls: type[_T]) -> type[_T]:
    """Make a frozen, keyword-only dataclass that torch's pytree utilities can traverse."""
    cls = dataclass(frozen=True, kw_only=True, eq=False)(cls)
    pytree.register_dataclass(cls)
    return cls


@record
class SceneBatch(_Record):
    """The input: posed views, optional partial geometry and texts of B scenes."""

    images: Tensor  # [T, 3, H, W] float32 in [0, 1]
    intrinsics: Tensor  # [T, 3, 3] float32, pixels
    poses: Tensor  # [T, 4, 4] float32, camera to world
    gravity: Tensor  # [B, 3] float32, unit vector that points down
    view_offsets: Tensor  # [B + 1] int32
    depth: Tensor | None = None  # [T, H, W] float32 metres along z, 0 = missing
    depth_sigma: Tensor | None = None  # [T, H, W] float32 metres, standard deviation
    vertices: Tensor | None = None  # [N, 3] float32 metres, world
    vertex_normals: Tensor | None = None  # [N, 3] float32, unit
    vertex_colors: Tensor | None = None  # [N, 3] float32 in [0, 1]
    vertex_offsets: Tensor | None = None  # [B + 1] int32
    faces: Tensor | None = None  # [F, 3] int32, indices into the packed vertices
    text_ids: Tensor | None = None  # [L] int64, tokens of the language encoder
    text_offsets: Tensor | None = None  # [U + 1] int32
    text_scene: Tensor | None = None  # [U] int64, the scene of each text

    @property
    def num_scenes(self) -> int:
        return self.view_offsets.shape[0] - 1


@record
class Targets(_Record):
    """The ground truth of a batch; every field is optional."""

    depth: Tensor | None = None  # [T, H, W] float32 metres, 0 = undefined
    normal: Tensor | None = None  # [T, 3, H, W] float32, unit, world; 0 = undefined
    instance: Tensor | None = None  # [T, H, W] int64, object of its scene, -1 = none
    surface_points: Tensor | None = None  # [S, 3] float32 metres, the complete surface
    surface_normals: Tensor | None = None  # [S, 3] float32, unit
    surface_offsets: Tensor | None = None  # [B + 1] int32
    query_points: Tensor | None = None  # [Q, 3] float32 metres
    query_distance: Tensor | None = None  # [Q] float32 metres, positive in free space
    query_observed: Tensor | None = None  # [Q] bool, False = hidden from every view
    query_offsets: Tensor | None = None  # [B + 1] int32
    box_center: Tensor | None = None  # [K, 3] float32 metres
    box_size: Tensor | None = None  # [K, 3] float32 metres, full extents
    box_rotation: Tensor | None = None  # [K, 3, 3] float32, box axes to world
    object_class: Tensor | None = None  # [K] int64
    object_offsets: Tensor | None = None  # [B + 1] int32
    relation_pairs: Tensor | None = None  # [P, 2] int64, (subject, object) in the packed objects
    relation_labels: Tensor | None = None  # [P, R] int8: 1 holds, 0 does not, -1 undecided
    relation_offsets: Tensor | None = None  # [B + 1] int32
    text_task: Tensor | None = None  # [U] int64, a Task
    answer_ids: Tensor | None = None  # [A] int64, tokens of the answer vocabulary
    answer_offsets: Tensor | None = None  # [U + 1] int32
    answer_value: Tensor | None = None  # [U] float32, NaN where the answer is no number
    referred_object: Tensor | None = None  # [U] int64 in the packed objects, -1 = none


@record
class GeometryTokens(_Record):
    """What the geometry encoder knows of a batch, as tokens that stand somewhere."""

    position: Tensor  # [M, 3] float32 metres, world
    normal: Tensor  # [M, 3] float32, unit, or 0 where unknown
    feature: Tensor  # [M, C]
    scale: Tensor  # [M] float32 metres, the extent that a token stands for
    offsets: Tensor  # [B + 1] int32


@record
class Prediction(_Record):
    """The output; a field is None where its head was not asked."""

    depth: Tensor | None = None  # [T, H, W] float32 metres
    normal: Tensor | None = None  # [T, 3, H, W] float32, unit, world
    confidence: Tensor | None = None  # [T, H, W] float32 in [0, 1]
    coarse_depth: Tensor | None = None  # [T, H/4, W/4] float32 metres, before the decoder
    seed_position: Tensor | None = None  # [M, 3] float32 metres, points of the finest scale
    seed_objectness: Tensor | None = None  # [M] logit: it is on an object
    seed_vote: Tensor | None = None  # [M, 3] float32 metres: the centre of that object
    seed_class_logits: Tensor | None = None  # [M, classes]
    seed_offsets: Tensor | None = None  # [B + 1] int32
    points: Tensor | None = None  # [S, 3] float32 metres, completion points of the tokens
    point_colors: Tensor | None = None  # [S, 3] float32 in [0, 1]
    point_offsets: Tensor | None = None  # [B + 1] int32
    query_distance: Tensor | None = None  # [Q] float32 metres at the points asked
    query_truncation: Tensor | None = None  # [] float32 metres, the largest of these distances
    box_center: Tensor | None = None  # [K, 3] float32 metres
    box_size: Tensor | None = None  # [K, 3] float32 metres
    box_rotation: Tensor | None = None  # [K, 3, 3] float32
    objectness: Tensor | None = None  # [K] logit
    class_logits: Tensor | None = None  # [K, classes]
    descriptor: Tensor | None = None  # [K, C], unit norm
    object_offsets: Tensor | None = None  # [B + 1] int32
    relation_pairs: Tensor | None = None  # [P, 2] int64 in the packed predicted objects
    relation_logits: Tensor | None = None  # [P, R]
    relation_offsets: Tensor | None = None  # [B + 1] int32
    grounding_logits: Tensor | None = None  # [G], text u against every object of its scene
    grounding_offsets: Tensor | None = None  # [U + 1] int32
    scene_embedding: Tensor | None = None  # [B, C], unit norm
    text_embedding: Tensor | None = None  # [U, C], unit norm
    answer_logits: Tensor | None = None  # [A, vocabulary], teacher forced
    answer_ids: Tensor | None = None  # [A] int64, generated
    answer_offsets: Tensor | None = None  # [U + 1] int32
    answer_value: Tensor | None = None  # [U] float32
    anchor_position: Tensor | None = None  # [L, heads, 3] float32 metres, where text tokens look
    anchor_spread: Tensor | None = None  # [L, heads] float32 metres
