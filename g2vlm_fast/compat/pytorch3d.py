"""Drop-ins for ``pytorch3d.loss.chamfer_distance``, ``pytorch3d.ops.knn_points``, ``knn_gather``.

On CPU and CUDA, exact, deterministic in both passes, for float64 too, with nothing of size
P1 x P2 in memory. What PyTorch3D documents or tests is kept, and so are its returns without
neighbours. Different on purpose, as theirs would be silently wrong or is an accident:

- Targets with NaN coordinates are never found, whichever comes first (there, a NaN in the first
  target hides all others); queries with NaN coordinates have distance NaN.
- With ``norm=1`` the gradient of coordinates that are equal is 0, not -1.
- Points of a cloud that has nothing to be compared with pay no normal loss.
- Lengths on a GPU are not read back: clouds whose length is impossible have distance NaN.

Not here: ``point_mesh_face_distance``.
"""

from __future__ import annotations

import operator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from g2vlm_fast import ops
from g2vlm_fast.compat._padded import (
    INDICES,
    check_lengths,
    check_points,
    gather_points,
    nearest_padded,
    nearest_pair_padded,
)
from g2vlm_fast.compat._reductions import (
    Terms,
    misalignment,
    reduce_batch,
    reduce_points,
    weightless_loss,
)
from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS

__all__ = ["chamfer_distance", "knn_gather", "knn_points"]


class KNN(NamedTuple):
    """What :func:`knn_points` returns."""

    dists: Tensor  # [N, P1, K]
    idx: Tensor  # [N, P1, K] int64
    knn: Tensor | None  # [N, P1, K, D]


_WEIGHTS = FLOATS | INDICES | {torch.bool}
_KNN = KNN  # the name that code written for PyTorch3D imports


@runtime_checkable
class Pointclouds(Protocol):
    """What is read of a ``pytorch3d.structures.Pointclouds``."""

    def points_padded(self) -> Tensor: ...
    def normals_padded(self) -> Tensor | None: ...
    def num_points_per_cloud(self) -> Tensor: ...


def knn_points(
    p1: Tensor,
    p2: Tensor,
    lengths1: Tensor | None = None,
    lengths2: Tensor | None = None,
    norm: int = 2,
    K: int = 1,
    version: int = -1,
    return_nn: bool = False,
    return_sorted: bool = True,
) -> KNN:
    """Find the K nearest points of ``p2`` of every point of ``p1``, cloud by cloud.

    Args:
        p1: ``[N, P1, D]`` float32 or float64 (half precision is upcast exactly).
        p2: ``[N, P2, D]``, same dtype and device.
        lengths1: ``[N]`` number of points of each cloud in p1; None for P1.
        lengths2: ``[N]`` number of points of each cloud in p2; None for P2.
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        K: at least 1.
        version: ignored; PyTorch3D chooses a kernel by it.
        return_nn: whether to return the neighbours, too.
        return_sorted: nearest first, and among equal distances the lower index. Otherwise in an
            order that must not be relied on: farthest first, as PyTorch3D's own tests take a
            sorted answer for a failure.

    Returns:
        ``(dists, idx, knn)``: ``dists [N, P1, K]`` float32 or float64, ``idx [N, P1, K]`` int64,
        and ``knn [N, P1, K, D]`` or None. Slots past the number of points of the cloud in p2 and
        rows past that of the cloud in p1 hold distance 0 and index 0 (the neighbours in such
        slots are 0, too). A neighbour that NaN coordinates hide has distance NaN, index 0.

    Differentiable in p1 and p2 through ``dists`` and ``knn``, twice, too.

    Raises:
        ValueError: a wrong shape, length or norm, or K below 1.
        TypeError: a wrong dtype, or K that is no integer.
    """
    function = "knn_points"
    check_points(function, "p1", p1)
    check_points(function, "p2", p2, like=p1)
    if p1.shape[0] != p2.shape[0]:
        raise ValueError(
            f"{function}: p1 and p2 must have the same batch dimension, got shapes "
            f"{list(p1.shape)} and {list(p2.shape)}"
        )
    if p1.shape[2] != p2.shape[2]:
        raise ValueError(
            f"{function}: p1 and p2 must have the same point dimension, got shapes "
            f"{list(p1.shape)} and {list(p2.shape)}"
        )
    _check_norm(function, norm)
    try:
        K = operator.index(K)
    except TypeError:
        raise TypeError(f"{function}: K must be an int, got {K!r}") from None
    if K < 1:
        raise ValueError(f"{function}: K must be at least 1, got {K}")
    check_lengths(function, "lengths1", lengths1, p1)
    check_lengths(function, "lengths2", lengths2, p2)
    distance, index = nearest_padded(p1, p2, lengths1, lengths2, k=K, norm=norm)
    index = index.clamp_min(0)
    if K > 1 and not return_sorted:
        distance, index = _farthest_first(distance, index, lengths2, p2.shape[1])
    return KNN(distance, index, knn_gather(p2, index, lengths2) if return_nn else None)


def knn_gather(x: Tensor, idx: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Gather the rows of ``x`` that ``idx`` names, as found by :func:`knn_points`.

    Args:
        x: ``[N, M, U]`` points or features.
        idx: ``[N, L, K]`` int64, from 0 to M - 1.
        lengths: ``[N]`` number of points of each cloud in x; None for M.

    Returns:
        ``[N, L, K, U]``, with 0 in the slots from ``lengths`` on.

    Raises:
        ValueError: a wrong shape or length, or an index out of range on the CPU.
        TypeError: no tensor, or indices that are no integers.
    """
    function = "knn_gather"
    _check_rows(function, x, idx)
    if idx.ndim != 3 or idx.shape[0] != x.shape[0]:
        raise ValueError(
            f"{function}: x and idx must have the same batch dimension and three dimensions, got "
            f"shapes {list(x.shape)} and {list(idx.shape)}"
        )
    check_lengths(function, "lengths", lengths, x)
    if idx.is_cpu and idx.numel() and x.shape[1] and not torch.compiler.is_compiling():
        least, most = (int(each) for each in idx.aminmax())
        if least < 0 or most >= x.shape[1]:
            wrong = least if least < 0 else most
            raise ValueError(f"{function}: idx must be from 0 to {x.shape[1] - 1}, got {wrong}")
    gathered = gather_points(x, idx)
    if lengths is None and idx.shape[2] <= x.shape[1]:
        return gathered
    available = x.shape[1] if lengths is None else lengths[:, None, None, None]
    slots = torch.arange(idx.shape[2], device=x.device)[:, None]
    return gathered.masked_fill(slots >= available, 0)


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
    _check_norm(function, norm)
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


def _farthest_first(
    distance: Tensor, index: Tensor, lengths: Tensor | None, size: int
) -> tuple[Tensor, Tensor]:
    """Reverse the neighbours of every point, and leave the slots past them where they are."""
    slots = torch.arange(index.shape[2], device=index.device)
    if lengths is None:
        count = torch.full((1, 1, 1), size, device=index.device)
    else:
        count = lengths[:, None, None]
    last = count.clamp(0, index.shape[2]) - 1
    order = torch.where(slots <= last, last - slots, slots).expand_as(index)
    return distance.gather(2, order), index.gather(2, order)


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


def _check_rows(function: str, x: Tensor, idx: Tensor) -> None:
    for name, value in (("x", x), ("idx", idx)):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{function}: {name} must be a torch.Tensor, got {type(value).__name__}"
            )
    if x.ndim != 3:
        raise ValueError(
            f"{function}: Expected points to be of shape (N, P, D) in x, got {list(x.shape)}"
        )
    if idx.dtype not in INDICES:
        raise TypeError(f"{function}: idx must be int64 or int32, got {idx.dtype}")
    if idx.device != x.device:
        raise ValueError(f"{function}: idx must be on {x.device}, got {idx.device}")


def _check_norm(function: str, norm: int) -> None:
    if not isinstance(norm, int) or isinstance(norm, bool) or norm not in (1, 2):
        raise ValueError(f"{function}: norm must be 1 or 2, got {norm!r}. Support for 1 or 2 norm.")


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
