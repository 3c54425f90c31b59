"""The arrays of a prediction: what each holds, and checks that they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORTHONORMAL = 1e-3
_LAST_ROW = np.array([0, 0, 0, 1], dtype=np.float32)


class PredictionError(ValueError):
    """A prediction contradicts itself or the format; names the field, what came and what to do."""


@dataclass(frozen=True)
class ArrayField:
    """What an array must be.

    Attributes:
        shape: lengths; letters that stand in several arrays stand for one length.
        needs: the array that it is worthless without.
        dtype: as it is stored.
    """

    shape: tuple[int | str, ...]
    needs: str = ""
    dtype: type[np.generic] = np.float32


ARRAYS: dict[str, ArrayField] = {
    "points": ArrayField(("N", 3)),
    "colors": ArrayField(("N", 3), needs="points"),
    "vertices": ArrayField(("M", 3), needs="faces"),
    "faces": ArrayField(("F", 3), needs="vertices", dtype=np.int32),
    "depth": ArrayField(("V", "H", "W"), needs="intrinsics"),
    "poses": ArrayField(("V", 4, 4), needs="intrinsics"),
    "intrinsics": ArrayField(("V", 3, 3)),
    "scene_embedding": ArrayField(("C",)),
    "object_embeddings": ArrayField(("K", "C")),
    "text_embeddings": ArrayField(("T", "C")),
}
"""V stands for the views of a prediction, K for its objects and T for its texts."""

FARTHEST = 1e6
"""Metres from the origin within which everything must lie."""

_POSITIONS = ("points", "vertices", "depth", "poses")
_LISTS = {"V": "views", "K": "objects", "T": "texts"}
_EMBEDDINGS = tuple(name for name in ARRAYS if name.endswith(("embedding", "embeddings")))


def check_arrays(given: Mapping[str, NDArray[Any] | None], counts: Mapping[str, int]) -> None:
    """Check every array that is there.

    Args:
        given: by name of :data:`ARRAYS`.
        counts: how many views (V), objects (K) and texts (T) the prediction lists.

    Raises:
        PredictionError: see the message.
    """
    there = {name: value for name, value in given.items() if value is not None}
    sizes: dict[str, int] = dict(counts)
    for name, value in there.items():
        _check_form(name, value, sizes)
        needs = ARRAYS[name].needs
        if needs and needs not in there:
            raise PredictionError(f"{name} must be given together with {needs}")
    for letter, array in (("V", "intrinsics"), ("T", "text_embeddings")):
        if counts[letter] and array not in there:
            raise PredictionError(f"{_LISTS[letter]} must come with {array}, which they are of")
    for name in _POSITIONS:
        if name in there and (abs(there[name]) > FARTHEST).any():
            raise PredictionError(f"{name} must lie within {FARTHEST:,.0f} m of the origin")
    if "depth" in there and (there["depth"] < 0).any():
        raise PredictionError("depth must be 0 (not predicted) or positive")
    if "colors" in there and not ((there["colors"] >= 0) & (there["colors"] <= 1)).all():
        raise PredictionError("colors must lie in [0, 1]; divide by 255")
    if "faces" in there:
        _check_faces(there["faces"], len(there["vertices"]))
    if "poses" in there:
        _check_poses(there["poses"])
    if "intrinsics" in there and (there["intrinsics"][:, [0, 1], [0, 1]] <= 0).any():
        raise PredictionError("intrinsics must have positive focal lengths")
    for name in _EMBEDDINGS:
        if name in there and not np.linalg.norm(there[name], axis=-1).all():
            raise PredictionError(f"{name} must have a direction, but one is zero; leave it out")


def check_rotations(name: str, rotation: NDArray[np.floating[Any]]) -> None:
    """Check matrices ``[n, 3, 3]``.

    Raises:
        PredictionError: one of them is no rotation.
    """
    matrix = rotation.astype(np.float64)
    error = abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(initial=0.0)
    if error > _ORTHONORMAL or (np.linalg.det(matrix) < 0).any():
        raise PredictionError(f"{name} must have orthonormal rotations of determinant 1")


def _check_form(name: str, value: NDArray[Any], sizes: dict[str, int]) -> None:
    """Check dtype, shape and finiteness; lengths that are met first bind their letters."""
    wanted = ARRAYS[name]
    dtype = np.dtype(wanted.dtype)
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        came = getattr(value, "dtype", type(value).__name__)
        raise PredictionError(f"{name} must be an array of {dtype}, got {came}")
    for letter in wanted.shape:
        if letter == "V" and not sizes["V"]:
            raise PredictionError(
                "views must say which views of the scene depth and cameras are of"
            )
    bound = [sizes.get(size, size) if isinstance(size, str) else size for size in wanted.shape]
    fits = value.ndim == len(bound) and all(
        isinstance(size, str) or size == actual
        for size, actual in zip(bound, value.shape, strict=True)
    )
    if not fits:
        told = ", ".join(map(str, bound))
        raise PredictionError(f"{name} must have shape [{told}], got {list(value.shape)}")
    lengths = zip(wanted.shape, value.shape, strict=True)
    sizes |= {size: actual for size, actual in lengths if isinstance(size, str)}
    if not np.isfinite(value).all():
        raise PredictionError(f"{name} must be finite; write 0 for depth that is not predicted")


def _check_faces(faces: NDArray[np.int32], vertices: int) -> None:
    if faces.size and not 0 <= faces.min() <= faces.max() < vertices:
        raise PredictionError(
            f"faces must name rows of {vertices} vertices, got {faces.min()} to {faces.max()}"
        )


def _check_poses(poses: NDArray[np.float32]) -> None:
    check_rotations("poses", poses[:, :3, :3])
    if not (poses[:, 3] == _LAST_ROW).all():
        raise PredictionError("the last rows of poses must be 0 0 0 1")
