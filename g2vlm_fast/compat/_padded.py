"""Nearest neighbours of padded batches ``[N, P, D]``, by the ops on packed points.

A padded batch is packed as it lies. With lengths, every cloud becomes three segments: its points,
which meet those of the other cloud; its padding, which meets nothing; and nothing, which the
padding of the other cloud meets. So lengths on a GPU are never read back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import nearest, nearest_pair
from g2vlm_fast.ops._checks import check_tensor
from g2vlm_fast.ops._dispatch import FLOATS

INDICES = frozenset({torch.int32, torch.int64})


def check_points(function: str, argument: str, points: Any, like: Tensor | None = None) -> None:
    """Check ``[N, P, D]`` floating points, of the dtype and on the device of ``like``.

    Raises:
        TypeError: no dense tensor of a floating dtype.
        ValueError: not three axes, or on another device.
    """
    if isinstance(points, Tensor) and points.dim() != 3:
        raise ValueError(
            f"{function}: Expected points to be of shape (N, P, D) in {argument}, got "
            f"{list(points.shape)}"
        )
    dtypes = FLOATS if like is None else (like.dtype,)
    device = None if like is None else like.device
    check_tensor(function, argument, points, ("N", "P", "D"), dtypes, {}, device)


def check_lengths(function: str, argument: str, lengths: Tensor | None, points: Tensor) -> None:
    """Check ``[N]`` lengths of padded ``points``; values only where reading them costs nothing.

    Raises:
        TypeError: the lengths are no integers.
        ValueError: the shape is not ``(N,)``, or a length on the CPU is not from 0 to P.
    """
    if lengths is None:
        return
    count, size = points.shape[:2]
    if not isinstance(lengths, Tensor) or lengths.shape != (count,):
        came = list(lengths.shape) if isinstance(lengths, Tensor) else type(lengths).__name__
        raise ValueError(
            f"{function}: Expected lengths to be of shape ({count},) in {argument}, got {came}"
        )
    check_tensor(function, argument, lengths, (count,), INDICES, {}, points.device)
    if lengths.is_cpu and count and not 0 <= int(lengths.min()) <= int(lengths.max()) <= size:
        raise ValueError(
            f"{function}: {argument} must be from 0 to {size}; a length value was negative or "
            f"too long: {lengths.tolist()}"
        )


def nearest_padded(
    x: Tensor,
    y: Tensor,
    x_lengths: Tensor | None,
    y_lengths: Tensor | None,
    *,
    k: int = 1,
    norm: int = 2,
) -> tuple[Tensor, Tensor]:
    """Find the k nearest points of ``y [N, P2, D]`` of every point of ``x [N, P1, D]``.

    Returns:
        ``distance [N, P1, k]`` and ``index [N, P1, k]`` int64 within the cloud, -1 for none.
        Padding of x, and slots past the number of points of the cloud in y, hold distance 0;
        a neighbour that NaN coordinates hide holds NaN, and so does a whole cloud whose length
        lies outside of 0 to P on a GPU.
    """
    x_offsets, y_offsets = _segments(x, y, x_lengths, y_lengths)
    distance, index = nearest(
        x.flatten(0, 1),
        y.flatten(0, 1),
        k=k,
        query_offsets=x_offsets,
        target_offsets=y_offsets,
        norm=norm,
    )
    distance, index = _within_clouds(distance, index, x, y)
    return _with_empty_slots(distance, index, x, y, x_lengths, y_lengths)


def nearest_pair_padded(
    x: Tensor, y: Tensor, x_lengths: Tensor | None, y_lengths: Tensor | None
) -> list[tuple[Tensor, Tensor]]:
    """Find the nearest points both ways, by squared distance: :func:`nearest_padded`, k = 1."""
    x_offsets, y_offsets = _segments(x, y, x_lengths, y_lengths)
    found = nearest_pair(x.flatten(0, 1), y.flatten(0, 1), x_offsets=x_offsets, y_offsets=y_offsets)
    forth = _within_clouds(found[0][:, None], found[1][:, None], x, y)
    back = _within_clouds(found[2][:, None], found[3][:, None], y, x)
    return [
        _with_empty_slots(*forth, x, y, x_lengths, y_lengths),
        _with_empty_slots(*back, y, x, y_lengths, x_lengths),
    ]


def _segments(
    x: Tensor, y: Tensor, x_lengths: Tensor | None, y_lengths: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return the offsets of both batches as segments that belong together."""
    count = x.shape[0]
    if count == 0:
        return None, None
    steps = torch.arange(count + 1, device=x.device)
    x_starts, y_starts = steps * x.shape[1], steps * y.shape[1]
    if x_lengths is None and y_lengths is None:
        return x_starts.int(), y_starts.int()
    x_ends, y_ends = (
        starts[1:] if lengths is None else starts[:-1] + lengths.clamp(0, points.shape[1])
        for points, starts, lengths in ((x, x_starts, x_lengths), (y, y_starts, y_lengths))
    )
    x_offsets = torch.stack([x_starts[:-1], x_ends, x_starts[1:]], dim=1)
    y_offsets = torch.stack([y_starts[:-1], y_ends, y_ends], dim=1)
    return (
        torch.cat([x_offsets.flatten(), x_starts[-1:]]).int(),
        torch.cat([y_offsets.flatten(), y_starts[-1:]]).int(),
    )


def _within_clouds(distance: Tensor, index: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Unpack the answer of an op: indices within clouds, NaN where there is no neighbour."""
    shape = (*x.shape[:2], distance.shape[1])
    distance, index = distance.view(shape), index.view(shape)
    first = torch.arange(x.shape[0], device=x.device)[:, None, None] * y.shape[1]
    missing = index < 0
    return distance.masked_fill(missing, torch.nan), (index - first).masked_fill(missing, -1)


def _with_empty_slots(
    distance: Tensor,
    index: Tensor,
    x: Tensor,
    y: Tensor,
    x_lengths: Tensor | None,
    y_lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Zero the distances of padding and of slots past the targets; mark impossible lengths."""
    k = distance.shape[2]
    if y_lengths is not None or k > y.shape[1]:
        ranks = torch.arange(k, device=x.device)
        available = y.shape[1] if y_lengths is None else y_lengths[:, None, None]
        distance = distance.masked_fill(ranks >= available, 0)
    if x_lengths is not None:
        rows = torch.arange(x.shape[1], device=x.device)[:, None]
        distance = distance.masked_fill(rows >= x_lengths[:, None, None], 0)
    for points, lengths in ((x, x_lengths), (y, y_lengths)):
        if lengths is not None and not lengths.is_cpu:
            impossible = (lengths < 0) | (lengths > points.shape[1])
            distance = distance.masked_fill(impossible[:, None, None], torch.nan)
            index = index.masked_fill(impossible[:, None, None], -1)
    return distance, index


def gather_points(points: Tensor, index: Tensor) -> Tensor:
    """Return ``points [N, M, U]`` at ``index [N, L, K]``: ``[N, L, K, U]``; zeros where M is 0.

    By indexing rather than ``gather``, whose backward on a GPU sums in no fixed order.
    """
    if points.shape[1] == 0:
        return points.new_zeros(*index.shape, points.shape[2]) + points.sum()
    clouds = torch.arange(points.shape[0], device=points.device)[:, None, None]
    return points[clouds, index]
