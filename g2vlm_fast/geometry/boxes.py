"""Oriented boxes: corners, containment, and overlap and distance of upright ones.

A box is ``center [..., 3]`` and ``size [..., 3]`` (full extents) in metres and ``rotation
[..., 3, 3]``, whose columns are the box axes in the world. An upright box is one whose third
axis is vertical (``rotation[..., 2, 2]`` is 1); it may have any yaw.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Boxes = tuple[Tensor, Tensor, Tensor]
"""Center, size and rotation."""

_UPRIGHT_TOLERANCE = 1e-3


def box_corners(center: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    """Corners of boxes.

    Args:
        center: ``[..., 3]`` metres.
        size: ``[..., 3]`` metres, full extents.
        rotation: ``[..., 3, 3]``, box axes to world.

    Returns:
        ``[..., 8, 3]`` metres. Corner i lies at the high end of axis x, y, z where bit 2, 1, 0
        of i is set.
    """
    _check_boxes("box_corners", center, size, rotation)
    ends = torch.tensor([-0.5, 0.5], dtype=size.dtype, device=size.device)
    local = torch.cartesian_prod(ends, ends, ends) * size[..., None, :]
    return center[..., None, :] + (rotation[..., None, :, :] * local[..., None, :]).sum(-1)


def points_in_boxes(points: Tensor, center: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    """Which points lie in which boxes, faces included.

    Args:
        points: ``[N, 3]`` metres.
        center: ``[K, 3]`` metres.
        size: ``[K, 3]`` metres.
        rotation: ``[K, 3, 3]``, box axes to world.

    Returns:
        ``[K, N]`` bool.
    """
    _check_boxes("points_in_boxes", center, size, rotation)
    offset = points[None] - center[:, None]
    local = (rotation[:, None] * offset[..., None]).sum(-2)
    return (local.abs() <= size[:, None] / 2).all(-1)


def upright_box_iou(first: Boxes, second: Boxes) -> Tensor:
    """Exact intersection over union of upright boxes, all against all.

    The ground rectangles are intersected as convex polygons, whose corners are the corners of
    each rectangle inside the other and the crossings of their edges (O'Rourke, *Computational
    Geometry in C*, chapter 7); the area times the overlap in height is the intersection.

    Args:
        first: center ``[A, 3]``, size ``[A, 3]`` and rotation ``[A, 3, 3]``.
        second: center ``[B, 3]``, size ``[B, 3]`` and rotation ``[B, 3, 3]``.

    Returns:
        ``[A, B]`` in [0, 1], in the dtype of the first; 0 where both boxes have no volume.

    Raises:
        ValueError: a box that is not upright, or a negative size.
    """
    result_dtype = first[0].dtype
    first, second = _upright("upright_box_iou", first), _upright("upright_box_iou", second)
    area = _rectangle_overlap(_ground_rectangle(*first), _ground_rectangle(*second))
    low = torch.maximum(*_pairwise(first, second, lambda c, s: c[:, 2] - s[:, 2] / 2))
    high = torch.minimum(*_pairwise(first, second, lambda c, s: c[:, 2] + s[:, 2] / 2))
    intersection = area * (high - low).clamp_min(0)
    volumes = _pairwise(first, second, lambda _, s: s.prod(-1))
    union = volumes[0] + volumes[1] - intersection
    iou = torch.where(union > 0, intersection / union.clamp_min(1e-300), torch.zeros_like(union))
    return iou.clamp(0, 1).to(result_dtype)


def footprint_overlap(first: Boxes, second: Boxes) -> Tensor:
    """Area that the ground rectangles of upright boxes share, all against all.

    Arguments and errors are those of :func:`upright_box_iou`.

    Returns:
        ``[A, B]`` square metres, whatever the heights.
    """
    result_dtype = first[0].dtype
    first, second = _upright("footprint_overlap", first), _upright("footprint_overlap", second)
    overlap = _rectangle_overlap(_ground_rectangle(*first), _ground_rectangle(*second))
    return overlap.to(result_dtype)


def upright_box_gap(first: Boxes, second: Boxes) -> Tensor:
    """Distance between the closest points of upright boxes, all against all.

    Arguments and errors are those of :func:`upright_box_iou`.

    Returns:
        ``[A, B]`` metres, 0 where boxes touch or overlap.
    """
    result_dtype = first[0].dtype
    first, second = _upright("upright_box_gap", first), _upright("upright_box_gap", second)
    horizontal = _rectangle_gap(_ground_rectangle(*first), _ground_rectangle(*second))
    low = torch.maximum(*_pairwise(first, second, lambda c, s: c[:, 2] - s[:, 2] / 2))
    high = torch.minimum(*_pairwise(first, second, lambda c, s: c[:, 2] + s[:, 2] / 2))
    return torch.hypot(horizontal, (low - high).clamp_min(0)).to(result_dtype)


def _check_boxes(function: str, center: Tensor, size: Tensor, rotation: Tensor) -> None:
    shape = center.shape[:-1]
    if center.shape[-1:] != (3,) or size.shape != center.shape or rotation.shape != (*shape, 3, 3):
        raise ValueError(
            f"{function}: center, size and rotation must have shapes [..., 3], [..., 3] and "
            f"[..., 3, 3], got {list(center.shape)}, {list(size.shape)}, {list(rotation.shape)}"
        )


def _upright(function: str, boxes: Boxes) -> Boxes:
    center, size, rotation = (tensor.double() for tensor in boxes)
    _check_boxes(function, center, size, rotation)
    if bool(((rotation[:, 2, 2] - 1).abs() > _UPRIGHT_TOLERANCE).any()):
        raise ValueError(f"{function}: boxes must be upright (third axis vertical)")
    if bool((size < 0).any()):
        raise ValueError(f"{function}: sizes must not be negative")
    return center, size, rotation


def _pairwise(
    first: Boxes, second: Boxes, measure: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Measure every first box ``[A, 1]`` and every second one ``[1, B]`` by center and size."""
    return measure(first[0], first[1])[:, None], measure(second[0], second[1])[None, :]


def _ground_rectangle(center: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    """Corners ``[K, 4, 2]`` on the ground plane, counter-clockwise."""
    corner = size.new_tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    local = corner * size[:, None, :2]
    axes = torch.nn.functional.normalize(rotation[:, :2, :2], dim=1)
    return center[:, None, :2] + (axes[:, None] * local[:, :, None, :]).sum(-1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _inside(points: Tensor, rectangle: Tensor) -> Tensor:
    """Whether ``points [..., P, 2]`` lie in counter-clockwise ``rectangle [..., 4, 2]``."""
    edge = rectangle.roll(-1, -2) - rectangle
    offset = points[..., :, None, :] - rectangle[..., None, :, :]
    return (_cross(edge[..., None, :, :], offset) >= -1e-12).all(-1)


def _rectangle_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Area ``[A, B]`` that rectangles ``[A, 4, 2]`` and ``[B, 4, 2]`` share."""
    count = (len(first), len(second))
    first = first[:, None].expand(*count, 4, 2)
    second = second[None].expand(*count, 4, 2)
    crossing, crosses = _edge_crossings(first, second)
    points = torch.cat([first, second, crossing], dim=-2)
    used = torch.cat([_inside(first, second), _inside(second, first), crosses], dim=-1)
    number = used.sum(-1)
    middle = (points * used[..., None]).sum(-2) / number.clamp_min(1)[..., None]
    offset = torch.where(used[..., None], points - middle[..., None, :], torch.zeros_like(points))
    angle = torch.atan2(offset[..., 1], offset[..., 0]).masked_fill(~used, torch.inf)
    order = angle.argsort(-1)
    ring = offset.gather(-2, order[..., None].expand_as(offset))
    position = torch.arange(ring.shape[-2], device=ring.device)
    ring = torch.where((position < number[..., None])[..., None], ring, ring[..., :1, :])
    return _cross(ring, ring.roll(-1, -2)).sum(-1).clamp_min(0) / 2


def _edge_crossings(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Points ``[A, B, 16, 2]`` where edges cross, and whether they do; parallel ones never."""
    start, along = first[..., :, None, :], (first.roll(-1, -2) - first)[..., :, None, :]
    other, across = second[..., None, :, :], (second.roll(-1, -2) - second)[..., None, :, :]
    denominator = _cross(along, across)
    parallel = denominator.abs() < 1e-14
    denominator = torch.where(parallel, torch.ones_like(denominator), denominator)
    s = _cross(other - start, across) / denominator
    t = _cross(other - start, along) / denominator
    crosses = ~parallel & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    points = start + s[..., None] * along
    return points.flatten(-3, -2), crosses.flatten(-2)


def _rectangle_gap(first: Tensor, second: Tensor) -> Tensor:
    """Distance ``[A, B]`` between rectangles: 0 if they meet, else from a corner to an edge."""
    count = (len(first), len(second))
    first = first[:, None].expand(*count, 4, 2)
    second = second[None].expand(*count, 4, 2)
    _, crosses = _edge_crossings(first, second)
    meets = crosses.any(-1) | _inside(first, second).any(-1) | _inside(second, first).any(-1)
    nearest = torch.minimum(_corner_to_edges(first, second), _corner_to_edges(second, first))
    return nearest.masked_fill(meets, 0.0)


def _corner_to_edges(corners: Tensor, rectangle: Tensor) -> Tensor:
    start = rectangle[..., None, :, :]
    edge = (rectangle.roll(-1, -2) - rectangle)[..., None, :, :]
    offset = corners[..., :, None, :] - start
    along = (offset * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-300)
    away = offset - along.clamp(0, 1)[..., None] * edge
    return away.norm(dim=-1).flatten(-2).amin(-1)
