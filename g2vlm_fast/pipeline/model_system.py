"""A checkpoint as a system: judged on what ``g2vlm-fast run`` gives its user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast._info import __version__
from g2vlm_fast.data import Query, Scene, collate
from g2vlm_fast.data.interchange import (
    PredictedAnswer,
    PredictedCaption,
    PredictedGrounding,
    PredictedObject,
    PredictedRelation,
    ScenePrediction,
)
from g2vlm_fast.data.transform import scene_of_views
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.systems import TASKS, PredictionFailed, Task
from g2vlm_fast.export.scene_graph import SceneObject
from g2vlm_fast.geometry.cameras import transform_points
from g2vlm_fast.geometry.conventions import ConventionError
from g2vlm_fast.pipeline.checkpoint import TrainedModel
from g2vlm_fast.pipeline.job import put_upright
from g2vlm_fast.pipeline.reconstruction import fuse_scene, reconstruct
from g2vlm_fast.pipeline.understanding import (
    Answer,
    Understanding,
    grounding_scores,
    pick_views,
    understand,
)
from g2vlm_fast.records import Task as TextTask

_UPRIGHT = torch.tensor([0.0, 0.0, -1.0])
_CAPTION = "caption"  # kind of the texts that ask for one; other captions are statements


class ModelSystem:
    """A trained model with the whole pipeline around it: fusion, completion, understanding.

    It says what a run writes: the cloud, the completed mesh, objects and relations above one half,
    answers, what phrases mean, captions. Besides, it gives its depth of every view, and the
    embeddings of scene, objects and texts. A scene that a run would refuse is a failure.

    Args:
        trained: the checkpoint; its model is moved to ``device``.
        device: where the model runs.
        model_views: views that it looks at; other views only give depth.
        voxel_size: metres, of fusion; None for what the sensor resolves.
    """

    tasks: frozenset[Task] = frozenset(TASKS) - {"predicate_classification"}
    looks_at_truth = False

    def __init__(
        self,
        trained: TrainedModel,
        *,
        device: torch.device | str = "cpu",
        model_views: int = 4,
        voxel_size: float | None = None,
    ) -> None:
        self._trained = trained
        self._image_size = trained.image_size
        self._model = trained.model.to(torch.device(device))
        self._model_views = model_views
        self._voxel_size = voxel_size

    @property
    def name(self) -> str:
        """The recipe and the beginning of a digest of the weights."""
        recipe = self._trained.training.get("recipe") or self._trained.folder.name
        return f"{recipe} {self._weights[:8]}"

    @property
    def fingerprint(self) -> str:
        """Digest of the weights, the configuration, the options and the release."""
        parts = (
            self._weights, self._image_size, self._model_views, self._voxel_size, __version__,
            torch.__version__, self._model.device.type,
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @cached_property
    def _weights(self) -> str:
        digest = hashlib.sha256()
        for name in ("config.json", "model.safetensors"):
            with (self._trained.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def predict(self, case: Case) -> ScenePrediction:
        """Run the pipeline on what is given.

        Raises:
            PredictionFailed: nothing was filmed, or without depth, or too little of it to fuse;
                the numbers of the scene contradict each other.
        """
        if case.given is None or case.given.depth is None:
            raise PredictionFailed("the model needs views with depth, and the case gives none")
        try:
            scene, to_given = _upright(case.given)
            fused = fuse_scene(scene, self._voxel_size)
        except (ConventionError, ValueError) as error:
            raise PredictionFailed(str(error)) from error
        texts = list({query.text: query for query in case.asked}.values())
        views = pick_views(scene, self._model_views)
        seen = understand(self._model, scene, views, self._image_size, texts)
        reconstruction = reconstruct(self._model, scene, fused, seen)
        cloud, mesh = reconstruction.cloud, reconstruction.completed.mesh
        depth, intrinsics = self._depth(scene, seen)
        return ScenePrediction(
            scene=case.name,
            system=self.name,
            points=_moved(cloud.points, to_given),
            colors=cloud.colors.astype(np.float32).clip(0, 1),
            vertices=_moved(mesh.vertices, to_given),
            faces=mesh.faces.astype(np.int32),
            depth=depth,
            intrinsics=intrinsics,
            views=tuple(range(scene.num_views)),
            objects=tuple(_object(thing, to_given) for thing in seen.objects),
            relations=tuple(
                PredictedRelation(
                    subject=edge.subject, object=edge.object, name=edge.name, score=edge.score
                )
                for edge in seen.relations
            ),
            answers=tuple(_answers(texts, seen)),
            groundings=tuple(_groundings(texts, seen)),
            captions=tuple(_captions(texts, seen)),
            texts=tuple(query.text for query in texts),
            **_embeddings(seen),
        )

    @torch.no_grad()
    def _depth(
        self, scene: Scene, seen: Understanding
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth ``[V, H, W]`` and intrinsics ``[V, 3, 3]`` of every view, in the model's size.

        The views that the model has not looked at are shown to it as well, as many at a time.
        """
        depth = torch.zeros(scene.num_views, *self._image_size)
        intrinsics = torch.zeros(scene.num_views, 3, 3)
        assert seen.prediction.depth is not None
        depth[seen.view_numbers] = seen.prediction.depth.float()
        intrinsics[seen.view_numbers] = seen.batch.intrinsics
        others = [view for view in range(scene.num_views) if view not in seen.view_numbers]
        for start in range(0, len(others), self._model_views):
            views = others[start : start + self._model_views]
            batch, _ = collate([scene_of_views(scene, views)], image_size=self._image_size)
            said = self._model.encode(batch.to(self._model.device)).prediction().depth
            assert said is not None
            depth[views], intrinsics[views] = said.float().cpu(), batch.intrinsics
        return depth.clamp_min(0).numpy(), intrinsics.numpy()


def _upright(given: Scene) -> tuple[Scene, Tensor]:
    """The scene in an upright world, and the motion ``[4, 4]`` from there to the given world."""
    if torch.equal(given.gravity, _UPRIGHT):
        return given, torch.eye(4)
    scene, _, alignment = put_upright(given)
    return scene, torch.linalg.inv(alignment.transform.double()).float()


def _moved(points: NDArray[Any], motion: Tensor) -> NDArray[np.float32]:
    moved: NDArray[np.float32] = transform_points(motion, torch.from_numpy(points).float()).numpy()
    return moved


def _object(thing: SceneObject, to_given: Tensor) -> PredictedObject:
    rotation = to_given[:3, :3].numpy().astype(np.float64) @ thing.rotation.astype(np.float64)
    center = _moved(thing.center[None], to_given)[0].tolist()
    return PredictedObject(
        id=thing.id,
        class_name=thing.class_name,
        center=(center[0], center[1], center[2]),
        size=(float(thing.size[0]), float(thing.size[1]), float(thing.size[2])),
        rotation=tuple(tuple(axis) for axis in rotation.tolist()),
        score=thing.score,
    )


def _answers(texts: Sequence[Query], seen: Understanding) -> Iterator[PredictedAnswer]:
    for query, answer in zip(texts, seen.answers, strict=True):
        if query.task == TextTask.QUESTION:
            yield PredictedAnswer(
                question=query.text, text=answer.text, value=answer.value, objects=_meant(answer)
            )


def _groundings(texts: Sequence[Query], seen: Understanding) -> Iterator[PredictedGrounding]:
    for number, query in enumerate(texts, start=1):
        if query.task == TextTask.REFERRING and seen.rows:
            scores = grounding_scores(seen.prediction, number, seen.rows)
            yield PredictedGrounding(
                text=query.text,
                objects=tuple(thing.id for thing in seen.objects),
                scores=tuple(scores.clamp(0, 1).tolist()),
            )


def _captions(texts: Sequence[Query], seen: Understanding) -> Iterator[PredictedCaption]:
    yield PredictedCaption(text=seen.caption.text)
    for query, answer in zip(texts, seen.answers, strict=True):
        if query.task == TextTask.CAPTION and query.kind == _CAPTION:
            yield PredictedCaption(text=answer.text, objects=_meant(answer), request=query.text)


def _meant(answer: Answer) -> tuple[int, ...]:
    return () if answer.grounding is None else (answer.grounding.object_id,)


def _embeddings(seen: Understanding) -> dict[str, NDArray[np.float32]]:
    said = seen.prediction
    assert said.scene_embedding is not None
    assert said.text_embedding is not None
    scene = said.scene_embedding[0].float().numpy()
    objects = [thing.descriptor for thing in seen.objects]
    return {
        "scene_embedding": scene,
        "object_embeddings": np.stack(objects).astype(np.float32)
        if objects
        else np.zeros((0, len(scene)), dtype=np.float32),
        "text_embeddings": said.text_embedding[1:].float().numpy(),
    }
