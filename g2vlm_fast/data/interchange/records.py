"""What a system predicts of a scene, checked when it is made.

Everything is in the world of the scene that was given to the system, in metres; cameras are
OpenCV, poses camera to world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.interchange.arrays import (
    ARRAYS,
    FARTHEST,
    PredictionError,
    check_arrays,
    check_rotations,
)
from g2vlm_fast.data.interchange.checks import (
    check_known,
    check_once,
    check_records,
    check_score,
    check_types,
)


@dataclass(frozen=True, kw_only=True)
class PredictedObject:
    """An object with its box: centre, full extents along its axes, axes as columns."""

    id: int
    class_name: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    score: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PredictedRelation:
    """A triplet: ``subject`` stands in relation ``name`` to ``object``."""

    subject: int
    object: int
    name: str
    score: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PredictedAnswer:
    """An answer, in words, as a number where it is one, with the objects that it means."""

    question: str
    text: str
    value: float | None = None
    objects: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PredictedGrounding:
    """What a phrase means: objects, each with how sure the system is of it."""

    text: str
    objects: tuple[int, ...]
    scores: tuple[float, ...]  # in [0, 1], one for each object


@dataclass(frozen=True, kw_only=True)
class PredictedCaption:
    """A sentence about the scene, or about the objects that it names.

    ``request`` is the text that asked for it; empty where nobody did.
    """

    text: str
    objects: tuple[int, ...] = ()
    request: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePrediction:
    """What a system says of one scene; whatever it does not predict is left empty.

    Attributes:
        scene: name of the scene.
        system: name and version of what predicted.
        points: ``[N, 3]`` float32 metres.
        colors: ``[N, 3]`` float32 in [0, 1], of the points.
        vertices: ``[M, 3]`` float32 metres, of a mesh.
        faces: ``[F, 3]`` int32 rows of the vertices, counter-clockwise seen from free space.
        depth: ``[V, H, W]`` float32 metres along z, 0 = not predicted.
        poses: ``[V, 4, 4]`` float32 camera to world.
        intrinsics: ``[V, 3, 3]`` float32 pixels of depth.
        views: the views of the scene that depth, poses and intrinsics are of, V of them.
        scene_embedding: ``[C]`` float32; embeddings are compared by the cosine of their angle.
        object_embeddings: ``[K, C]`` float32, of the objects in their order.
        text_embeddings: ``[T, C]`` float32, of ``texts``.
        texts: what was asked or said about the scene, as far as it has an embedding.

    Raises:
        PredictionError: see the message.
    """

    scene: str
    system: str
    points: NDArray[np.float32] | None = None
    colors: NDArray[np.float32] | None = None
    vertices: NDArray[np.float32] | None = None
    faces: NDArray[np.int32] | None = None
    depth: NDArray[np.float32] | None = None
    poses: NDArray[np.float32] | None = None
    intrinsics: NDArray[np.float32] | None = None
    views: tuple[int, ...] = ()
    scene_embedding: NDArray[np.float32] | None = None
    object_embeddings: NDArray[np.float32] | None = None
    text_embeddings: NDArray[np.float32] | None = None
    texts: tuple[str, ...] = ()
    objects: tuple[PredictedObject, ...] = ()
    relations: tuple[PredictedRelation, ...] = ()
    answers: tuple[PredictedAnswer, ...] = ()
    groundings: tuple[PredictedGrounding, ...] = ()
    captions: tuple[PredictedCaption, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)
        for name, kind in RECORDS.items():
            check_records(name, getattr(self, name), kind)
        if not self.scene or not self.system:
            raise PredictionError("scene and system must be named, got an empty text")
        counts = {"V": len(self.views), "K": len(self.objects), "T": len(self.texts)}
        check_arrays({name: getattr(self, name) for name in ARRAYS}, counts)
        if min(self.views, default=0) < 0:
            raise PredictionError(f"views must be 0 or larger, got {min(self.views)}")
        self._check_objects()
        self._check_relations()
        self._check_language()

    def _check_objects(self) -> None:
        check_once("views", self.views)
        check_once("texts", self.texts)
        if len({thing.id for thing in self.objects}) < len(self.objects):
            raise PredictionError("objects must have ids of their own")
        for thing in self.objects:
            what = f"object {thing.id}"
            if not thing.class_name:
                raise PredictionError(f"class_name of {what} must not be empty")
            if min(thing.size) < 0 or max(map(abs, (*thing.center, *thing.size))) > FARTHEST:
                raise PredictionError(
                    f"the box of {what} must have a size of 0 or more and lie within "
                    f"{FARTHEST:,.0f} m of the origin, got {thing.size} at {thing.center}"
                )
            check_rotations(f"rotation of {what}", np.array([thing.rotation], dtype=np.float64))
            check_score(what, thing.score)

    def _check_relations(self) -> None:
        known = {thing.id for thing in self.objects}
        for relation in self.relations:
            what = f"relation {relation.name!r}"
            check_known(what, (relation.subject, relation.object), known)
            check_score(what, relation.score)

    def _check_language(self) -> None:
        known = {thing.id for thing in self.objects}
        check_once("questions of answers", (answer.question for answer in self.answers))
        for answer in self.answers:
            check_known(f"the answer to {answer.question!r}", answer.objects, known)
        check_once("texts of groundings", (grounding.text for grounding in self.groundings))
        for grounding in self.groundings:
            what = f"the grounding of {grounding.text[:40]!r}"
            check_known(what, grounding.objects, known)
            check_once(f"objects of {what}", grounding.objects)
            if len(grounding.scores) != len(grounding.objects):
                raise PredictionError(
                    f"{what} must have a score for each of {len(grounding.objects)} objects, got "
                    f"{len(grounding.scores)}"
                )
            for score in grounding.scores:
                check_score(what, score)
        check_once("requests of captions", (each.request for each in self.captions if each.request))
        for caption in self.captions:
            check_known(f"caption {caption.text[:40]!r}", caption.objects, known)


RECORDS: dict[str, type] = {
    "objects": PredictedObject,
    "relations": PredictedRelation,
    "answers": PredictedAnswer,
    "groundings": PredictedGrounding,
    "captions": PredictedCaption,
}
"""What the lists of a prediction hold."""
