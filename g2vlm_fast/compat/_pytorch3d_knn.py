"""PyTorch3D's ``knn_points`` and ``knn_gather``; see :mod:`g2vlm_fast.compat.pytorch3d`."""

from __future__ import annotations

import operator
from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.compat._padded import (
    INDICES,
    check_lengths,
    check_points,
    gather_points,
    nearest_padded,
)


class KNN(NamedTuple):
    """What :func:`knn_points` returns."""

    dists: Tensor  # [N, P1, K]
    idx: Tensor  # [N, P1, K] int64
    knn: Tensor | None  # [N, P1, K, D]


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
    check_norm(function, norm)
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


def check_norm(function: str, norm: int) -> None:
    if not isinstance(norm, int) or isinstance(norm, bool) or norm not in (1, 2):
        raise ValueError(f"{function}: norm must be 1 or 2, got {norm!r}. Support for 1 or 2 norm.")
