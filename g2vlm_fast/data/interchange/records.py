"""What a system predicts of a scene, checked when it is made.

Everything is in the world of the scene that was given to the system, in metres; cameras are
OpenCV, poses camera to world.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        if not self.scene or not self.system:
            raise PredictionError("scene and system must be named, got an empty text")
        counts = {"V": len(self.views), "K": len(self.objects), "T": len(self.texts)}
        check_arrays({name: getattr(self, name) for name in ARRAYS}, counts)
        if min(self.views, default=0) < 0:
            raise PredictionError(f"views must be 0 or larger, got {min(self.views)}")
        _check_once("views", self.views)
        _check_once("texts", self.texts)
        _check_objects(self.objects)
        self._check_language()

    def _check_language(self) -> None:
        known = {thing.id for thing in self.objects}
        for relation in self.relations:
            _check_known(f"relation {relation.name!r}", (relation.subject, relation.object), known)
            _check_score(f"relation {relation.name!r}", relation.score)
        _check_once("questions of answers", [answer.question for answer in self.answers])
        for answer in self.answers:
            _check_known(f"the answer to {answer.question!r}", answer.objects, known)
            if answer.value is not None and not np.isfinite(answer.value):
                raise PredictionError(f"value of {answer.question!r} must be finite")
        _check_once("texts of groundings", [grounding.text for grounding in self.groundings])
        for grounding in self.groundings:
            what = f"the grounding of {grounding.text[:40]!r}"
            _check_known(what, grounding.objects, known)
            _check_once(f"objects of {what}", grounding.objects)
            if len(grounding.scores) != len(grounding.objects):
                raise PredictionError(
                    f"{what} must have a score for each of {len(grounding.objects)} objects, got "
                    f"{len(grounding.scores)}"
                )
            for score in grounding.scores:
                _check_score(what, score)
        requests = [caption.request for caption in self.captions if caption.request]
        _check_once("requests of captions", requests)
        for caption in self.captions:
            _check_known(f"caption {caption.text[:40]!r}", caption.objects, known)


def _check_objects(objects: tuple[PredictedObject, ...]) -> None:
    ids = [thing.id for thing in objects]
    if len(set(ids)) < len(ids):
        raise PredictionError("objects must have ids of their own")
    for thing in objects:
        what = f"object {thing.id}"
        if not thing.class_name:
            raise PredictionError(f"class_name of {what} must not be empty")
        try:
            numbers = np.array([*thing.center, *thing.size, *np.ravel(thing.rotation)], float)
        except (TypeError, ValueError) as error:
            raise PredictionError(f"the box of {what} must be numbers") from error
        if numbers.shape != (15,) or not (abs(numbers) <= FARTHEST).all() or min(thing.size) < 0:
            raise PredictionError(f"the box of {what} must be 3 + 3 + 3x3 finite numbers in metres")
        check_rotations(f"rotation of {what}", numbers[6:].reshape(1, 3, 3))
        _check_score(what, thing.score)


def _check_score(what: str, score: float) -> None:
    if not 0 <= score <= 1:
        raise PredictionError(f"score of {what} must lie in [0, 1], got {score}")


def _check_once(what: str, entries: Sequence[object]) -> None:
    seen: set[object] = set()
    for entry in entries:
        if entry in seen:
            raise PredictionError(f"{what} must differ, but {entry!r} comes twice")
        seen.add(entry)


def _check_known(what: str, ids: Iterable[int], known: set[int]) -> None:
    absent = [name for name in ids if name not in known]
    if absent:
        raise PredictionError(f"{what} names object {absent[0]}, which is not among the objects")
