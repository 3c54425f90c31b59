"""Drop-ins for ``chamfer_distance`` and ``point_mesh_face_distance`` of ``pytorch3d.loss``, and
for ``knn_points``, ``knn_gather``, ``GraphConv`` and ``gather_scatter`` of ``pytorch3d.ops``.

On CPU and CUDA, exact, deterministic in both passes, for float64 too, with nothing of size
P1 x P2 in memory. What PyTorch3D documents or tests is kept, and so are its returns without
neighbours. Different on purpose, as theirs would be silently wrong or is an accident:

- Targets with NaN coordinates are never found, whichever comes first (there, a NaN in the first
  target hides all others); queries with NaN coordinates have distance NaN.
- With ``norm=1`` the gradient of coordinates that are equal is 0, not -1.
- Points of a cloud that has nothing to be compared with pay no normal loss.
- Lengths on a GPU are not read back: clouds whose length is impossible have distance NaN.
- ``gather_scatter`` takes every floating type, its arguments by name too, and can be differentiated
  any number of times; it builds a graph of its edges at the first call and keeps it with them.

Not here: ``point_mesh_edge_distance``.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from g2vlm_fast import ops
from g2vlm_fast.compat._padded import (
    INDICES,
    check_lengths,
    check_points,
    nearest_padded,
    nearest_pair_padded,
)
from g2vlm_fast.compat._pytorch3d_graph import GraphConv, gather_scatter, gather_scatter_python
from g2vlm_fast.compat._pytorch3d_knn import KNN, check_norm, knn_gather, knn_points
from g2vlm_fast.compat._pytorch3d_point_mesh import point_mesh_face_distance
from g2vlm_fast.compat._reductions import (
    Terms,
    misalignment,
    reduce_batch,
    reduce_points,
    weightless_loss,
)
from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS

__all__ = [
    "GraphConv",
    "chamfer_distance",
    "gather_scatter",
    "gather_scatter_python",
    "knn_gather",
    "knn_points",
    "point_mesh_face_distance",
]


_WEIGHTS = FLOATS | INDICES | {torch.bool}
_KNN = KNN  # the name that code written for PyTorch3D imports


@runtime_checkable
class Pointclouds(Protocol):
    """What is read of a ``pytorch3d.structures.Pointclouds``."""

    def points_padded(self) -> Tensor: ...
    def normals_padded(self) -> Tensor | None: ...
    def num_points_per_cloud(self) -> Tensor: ...


def chamfer_distance(
    x: Tensor | Pointclouds,
    y: Tensor | Pointclouds,
    x_lengths: Tensor | None = None,
    y_lengths: Tensor | None = None,
    x_normals: Tensor | None = None,
    y_normals: Tensor | None = None,
    weights: Tensor | None = None,
    batch_reduction: str | None = "mean",
    point_reduction: str | None = "mean",
    norm: int = 2,
    single_directional: bool = False,
    abs_cosine: bool = True,
) -> tuple[Terms, Terms | None]:
    """Measure the distance of the clouds of x and y, and of their normals.

    A point pays the distance to the nearest point of the other cloud, and ``1 - |cos|`` of the
    angle between the two normals (Fan, Su and Guibas, CVPR 2017; Gkioxari et al., "Mesh R-CNN",
    ICCV 2019). Points of a cloud whose counterpart is empty pay 0.

    Args:
        x: ``[N, P1, D]`` float32 or float64 (half precision is upcast exactly), or an object like
            PyTorch3D's ``Pointclouds``, whose lengths and normals then count.
        y: ``[N, P2, D]``, same dtype and device; or such an object.
        x_lengths: ``[N]`` number of points of each cloud in x; None for P1.
        y_lengths: ``[N]`` number of points of each cloud in y; None for P2.
        x_normals: ``[N, P1, D]``; used where y_normals are given, too.
        y_normals: ``[N, P2, D]``.
        weights: ``[N]``, one a cloud, at least 0. On a GPU they cost one host synchronisation.
        batch_reduction: ``"mean"`` (over the weights where given), ``"sum"`` or None.
        point_reduction: ``"mean"``, ``"sum"``, ``"max"`` (the larger of both directions, the
            Hausdorff distance; without normals only) or None (with ``batch_reduction=None`` only).
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        single_directional: only what points of x pay.
        abs_cosine: whether opposite normals agree; otherwise ``1 - cos``.

    Returns:
        ``(loss, loss_normals)``; ``loss_normals`` is None without normals. Scalars, ``[N]``
        without batch reduction; without point reduction ``([N, P1], [N, P2])``, or ``[N, P1]``
        where single_directional. Float32 or float64.

        Where the weights sum to 0, ``loss`` and ``loss_normals`` (with normals or without) are
        zeros, scalars or, without batch reduction, of the shape ``[N, N]`` that PyTorch3D's tests
        ask for.

    Differentiable in points, normals and weights.

    Raises:
        ValueError: a wrong type, shape, length, weight or option.
        TypeError: a wrong dtype.
    """
    function = "chamfer_distance"
    _check_reductions(batch_reduction, point_reduction)
    check_norm(function, norm)
    single_directional = bool(single_directional)
    x, x_lengths, x_normals = _unpack("x", x, x_lengths, x_normals, None)
    y, y_lengths, y_normals = _unpack("y", y, y_lengths, y_normals, x)
    if x.shape[0] != y.shape[0] or x.shape[2] != y.shape[2]:
        raise ValueError(
            f"{function}: y does not have the correct shape: expected {x.shape[0]} clouds of "
            f"dimension {x.shape[2]}, got shape {list(y.shape)}"
        )
    normals = None if x_normals is None or y_normals is None else (x_normals, y_normals)
    if normals is not None and normals[0].shape[2] != normals[1].shape[2]:
        wanted = (*y.shape[:2], normals[0].shape[2])
        raise ValueError(
            f"{function}: Expected normals to be of shape {wanted} in y_normals, as in x_normals, "
            f"got {list(normals[1].shape)}"
        )
    if normals is not None and point_reduction == "max":
        raise ValueError(f'{function}: normals must be None if point_reduction is "max"')
    if weights is not None and _sum_to_zero(weights, x.shape[0]):
        count = 1 if single_directional or point_reduction is not None else 2
        zeros = [weightless_loss(x, y, weights, batch_reduction) for _ in range(2 * count)]
        return (zeros[0], zeros[1]) if count == 1 else ((zeros[0], zeros[1]), (zeros[2], zeros[3]))

    lengths = (x_lengths, y_lengths)
    plain = lengths == (None, None) and weights is None and normals is None and norm == 2
    if plain and point_reduction in ("mean", "sum") and batch_reduction and x.numel() and y.numel():
        return _fused(x, y, batch_reduction, point_reduction, single_directional), None

    if norm == 2 and not single_directional:
        found = nearest_pair_padded(x, y, *lengths)
    else:
        found = [nearest_padded(x, y, *lengths, norm=norm)]
        if not single_directional:
            found.append(nearest_padded(y, x, *reversed(lengths), norm=norm))
    distances = [distance[..., 0] for distance, _ in found]
    loss = reduce_points(distances, lengths, weights, point_reduction)
    loss = reduce_batch(loss, weights, batch_reduction)
    if normals is None:
        return loss, None
    terms = [
        misalignment(*pair, index, abs_cosine)
        for pair, (_, index) in zip((normals, normals[::-1]), found, strict=False)
    ]
    loss_normals = reduce_points(terms, lengths, weights, point_reduction)
    return loss, reduce_batch(loss_normals, weights, batch_reduction)


def _fused(
    x: Tensor, y: Tensor, batch_reduction: str, point_reduction: str, single_directional: bool
) -> Tensor:
    """Compute the plain loss by the op, which needs no list of distances."""
    count = x.shape[0]
    steps = torch.arange(count + 1, device=x.device)
    loss = ops.chamfer_distance(
        x.flatten(0, 1),
        y.flatten(0, 1),
        x_offsets=(steps * x.shape[1]).int(),
        y_offsets=(steps * y.shape[1]).int(),
        one_sided=single_directional,
        reduction=point_reduction,
    ).loss
    if point_reduction == "mean":  # of every cloud, and then over the clouds
        return loss if batch_reduction == "mean" else loss * count
    return loss if batch_reduction == "sum" else loss / count


def _unpack(
    name: str,
    points: Tensor | Pointclouds,
    lengths: Tensor | None,
    normals: Tensor | None,
    like: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the points, lengths and normals of one argument, checked."""
    function = "chamfer_distance"
    if isinstance(points, Pointclouds):
        lengths, normals = points.num_points_per_cloud(), points.normals_padded()
        points = points.points_padded()
    if not isinstance(points, Tensor):
        raise ValueError(
            f"{function}: {name} must be one of Pointclouds objects or torch.Tensor of shape "
            f"(N, P, D), got {type(points).__name__}"
        )
    check_points(function, name, points, like)
    check_lengths(function, f"{name}_lengths", lengths, points)
    if normals is None:
        return points, lengths, None
    if isinstance(normals, Tensor) and normals.shape[:2] != points.shape[:2]:
        raise ValueError(
            f"{function}: Expected normals to be of shape {(*points.shape[:2], 3)} in "
            f"{name}_normals, got {list(normals.shape)}"
        )
    check_tensor(function, f"{name}_normals", normals, ("N", "P", "D"), FLOATS, {}, points.device)
    return points, lengths, normals


def _sum_to_zero(weights: Tensor, count: int) -> bool:
    """Check the weights, and say whether they sum to 0."""
    check_tensor("chamfer_distance", "weights", weights, (count,), _WEIGHTS, {})
    if count == 0:
        return True
    least, total = torch.stack([weights.min(), weights.sum()]).tolist()
    if least < 0:
        raise ValueError(f"chamfer_distance: weights cannot be negative, got {least}")
    return total == 0


def _check_reductions(batch_reduction: str | None, point_reduction: str | None) -> None:
    function = "chamfer_distance"
    if batch_reduction not in ("mean", "sum", None):
        raise ValueError(
            f'{function}: batch_reduction must be one of ["mean", "sum"] or None, got '
            f"{batch_reduction!r}"
        )
    if point_reduction not in ("mean", "sum", "max", None):
        raise ValueError(
            f'{function}: point_reduction must be one of ["mean", "sum", "max"] or None, got '
            f"{point_reduction!r}"
        )
    if point_reduction is None and batch_reduction is not None:
        raise ValueError(
            f"{function}: batch_reduction must be None if point_reduction is None, got "
            f"{batch_reduction!r}"
        )
