"""What a model knows of a batch before anyone asks: independent of text, and worth keeping."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from g2vlm_fast.model.geometry_encoder import Geometry
from g2vlm_fast.model.heads.objects import Objects
from g2vlm_fast.model.memory import SceneMemory
from g2vlm_fast.records import GeometryTokens, Prediction, _Record, record


@record
class Encoded(_Record):
    """The scenes of a batch, encoded; parts of the model read it in the frames of the scenes.

    ``tokens``, ``objects_in_world()`` and ``prediction()`` speak in the world.
    """

    geometry: Geometry
    objects: Objects
    relation_pairs: Tensor  # [P, 2] int64, all ordered pairs of objects of a scene
    relation_logits: Tensor  # [P, R] float32
    relation_offsets: Tensor  # [B + 1] int32
    points: Tensor  # [S, 3] float32 metres, completion points
    point_colors: Tensor  # [S, 3] float32 in [0, 1]
    point_offsets: Tensor  # [B + 1] int32
    memory: SceneMemory

    @property
    def tokens(self) -> GeometryTokens:
        """The geometry tokens, in the world."""
        tokens, frame = self.geometry.tokens, self.geometry.frame
        return dataclasses.replace(
            tokens,
            position=frame.points_to_world(tokens.position, tokens.offsets),
            normal=frame.vectors_to_world(tokens.normal, tokens.offsets),
        )

    def objects_in_world(self) -> Objects:
        """The objects, in the world."""
        objects, frame = self.objects, self.geometry.frame
        return dataclasses.replace(
            objects,
            center=frame.points_to_world(objects.center, objects.offsets),
            rotation=frame.rotations_to_world(objects.rotation, objects.offsets),
        )

    def prediction(self) -> Prediction:
        """Everything that the scenes say without a question, in the world."""
        views, seeds, frame = self.geometry.views, self.geometry.seeds, self.geometry.frame
        objects = self.objects_in_world()
        return Prediction(
            depth=views.depth,
            normal=views.normal,
            confidence=torch.sigmoid(views.confidence_logit),
            coarse_depth=views.coarse_depth,
            seed_position=frame.points_to_world(seeds.position, seeds.offsets),
            seed_objectness=seeds.objectness,
            seed_vote=frame.points_to_world(seeds.vote, seeds.offsets),
            seed_class_logits=seeds.class_logits,
            seed_offsets=seeds.offsets,
            points=frame.points_to_world(self.points, self.point_offsets),
            point_colors=self.point_colors,
            point_offsets=self.point_offsets,
            box_center=objects.center,
            box_size=objects.size,
            box_rotation=objects.rotation,
            objectness=objects.objectness,
            class_logits=objects.class_logits,
            descriptor=objects.descriptor,
            object_offsets=objects.offsets,
            relation_pairs=self.relation_pairs,
            relation_logits=self.relation_logits,
            relation_offsets=self.relation_offsets,
            scene_embedding=self.memory.embedding,
        )
