"""What a system predicts of a scene, checked when it is made.

Everything is in the world of the scene that was given to the system, in metres; cameras are
OpenCV, poses camera to world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAYS: dict[str, tuple[Any, ...]] = {
    # name: shape, by letters that must agree
    "points": ("N", 3),
    "colors": ("N", 3),
    "depth": ("V", "H", "W"),
    "poses": ("V", 4, 4),
    "intrinsics": ("V", 3, 3),
}
_TOGETHER = {"colors": "points", "depth": "intrinsics", "poses": "intrinsics"}
_ORTHONORMAL = 1e-3


class PredictionError(ValueError):
    """A prediction contradicts itself or the format; names the field, what came and what to do."""


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
class PredictedCaption:
    """A sentence about the scene, or about the objects that it names."""

    text: str
    objects: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePrediction:
    """What a system says of one scene; whatever it does not predict is left empty.

    Attributes:
        scene: name of the scene.
        system: name and version of what predicted.
        points: ``[N, 3]`` float32 metres.
        colors: ``[N, 3]`` float32 in [0, 1], of the points.
        depth: ``[V, H, W]`` float32 metres along z, 0 = not predicted.
        poses: ``[V, 4, 4]`` float32 camera to world.
        intrinsics: ``[V, 3, 3]`` float32 pixels of depth.
        views: the views of the scene that depth, poses and intrinsics are of, V of them.

    Raises:
        PredictionError: see the message.
    """

    scene: str
    system: str
    points: NDArray[np.float32] | None = None
    colors: NDArray[np.float32] | None = None
    depth: NDArray[np.float32] | None = None
    poses: NDArray[np.float32] | None = None
    intrinsics: NDArray[np.float32] | None = None
    views: tuple[int, ...] = ()
    objects: tuple[PredictedObject, ...] = ()
    relations: tuple[PredictedRelation, ...] = ()
    answers: tuple[PredictedAnswer, ...] = ()
    captions: tuple[PredictedCaption, ...] = ()

    def __post_init__(self) -> None:
        if not self.scene or not self.system:
            raise PredictionError("scene and system must be named, got an empty text")
        _check_arrays(self)
        _check_objects(self.objects)
        known = {thing.id for thing in self.objects}
        for relation in self.relations:
            _check_known(f"relation {relation.name!r}", (relation.subject, relation.object), known)
            _check_score(f"relation {relation.name!r}", relation.score)
        for answer in self.answers:
            _check_known(f"the answer to {answer.question!r}", answer.objects, known)
            if answer.value is not None and not np.isfinite(answer.value):
                raise PredictionError(f"value of {answer.question!r} must be finite")
        for caption in self.captions:
            _check_known(f"caption {caption.text[:40]!r}", caption.objects, known)


def _check_arrays(prediction: ScenePrediction) -> None:
    sizes: dict[str, int] = {"V": len(prediction.views)} if prediction.views else {}
    for name, shape in ARRAYS.items():
        value = getattr(prediction, name)
        if value is None:
            continue
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            came = getattr(value, "dtype", type(value).__name__)
            raise PredictionError(f"{name} must be a float32 array, got {came}")
        wanted = [sizes.get(size, size) for size in shape]
        fits = value.ndim == len(shape) and all(
            isinstance(size, str) or size == actual
            for size, actual in zip(wanted, value.shape, strict=True)
        )
        if not fits:
            told = ", ".join(map(str, wanted))
            raise PredictionError(f"{name} must have shape [{told}], got {list(value.shape)}")
        sizes |= {s: n for s, n in zip(shape, value.shape, strict=True) if isinstance(s, str)}
        if not np.isfinite(value).all():
            raise PredictionError(f"{name} must be finite; write 0 for depth that is not predicted")
        other = _TOGETHER.get(name)
        if other is not None and getattr(prediction, other) is None:
            raise PredictionError(f"{name} must be given together with {other}")
    if "V" in sizes and not prediction.views:
        raise PredictionError("views must say which views of the scene depth and cameras are of")
    if prediction.views and (min(prediction.views) < 0 or "V" not in _given(prediction)):
        raise PredictionError("views must be 0 or larger, and come with intrinsics")
    if prediction.depth is not None and (prediction.depth < 0).any():
        raise PredictionError("depth must be 0 (not predicted) or positive")
    if (
        prediction.colors is not None
        and not ((prediction.colors >= 0) & (prediction.colors <= 1)).all()
    ):
        raise PredictionError("colors must lie in [0, 1]; divide by 255")
    if prediction.poses is not None:
        _check_rotations("poses", prediction.poses[:, :3, :3])
        if not np.array_equal(
            prediction.poses[:, 3], np.tile(_LAST_ROW, (len(prediction.poses), 1))
        ):
            raise PredictionError("the last rows of poses must be 0 0 0 1")
    if prediction.intrinsics is not None and (prediction.intrinsics[:, [0, 1], [0, 1]] <= 0).any():
        raise PredictionError("intrinsics must have positive focal lengths")


_LAST_ROW = np.array([0, 0, 0, 1], dtype=np.float32)


def _given(prediction: ScenePrediction) -> set[str]:
    """The letters of the shapes of the arrays that are there."""
    return {
        letter
        for name, shape in ARRAYS.items()
        for letter in shape
        if isinstance(letter, str) and getattr(prediction, name) is not None
    }


def _check_rotations(name: str, rotation: NDArray[np.float32]) -> None:
    matrix = rotation.astype(np.float64)
    error = abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(initial=0.0)
    if error > _ORTHONORMAL or (np.linalg.det(matrix) < 0).any():
        raise PredictionError(f"{name} must have orthonormal rotations of determinant 1")


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
        if numbers.shape != (15,) or not (abs(numbers) < 1e6).all() or min(thing.size) < 0:
            raise PredictionError(f"the box of {what} must be 3 + 3 + 3x3 finite numbers in metres")
        _check_rotations(f"rotation of {what}", numbers[6:].reshape(1, 3, 3))
        _check_score(what, thing.score)


def _check_score(what: str, score: float) -> None:
    if not 0 <= score <= 1:
        raise PredictionError(f"score of {what} must lie in [0, 1], got {score}")


def _check_known(what: str, ids: Iterable[int], known: set[int]) -> None:
    absent = [name for name in ids if name not in known]
    if absent:
        raise PredictionError(f"{what} names object {absent[0]}, which is not among the objects")
