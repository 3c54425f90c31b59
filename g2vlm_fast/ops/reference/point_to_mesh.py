"""Plain-torch truth of :func:`g2vlm_fast.ops.point_to_mesh` and ``mesh_to_point``."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.reference.nearest import segment_bounds

_CHUNK_PAIRS = {"cpu": 1 << 18, "cuda": 1 << 22}


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


def _inverse_or_zero(square: Tensor) -> Tensor:
    known = square >= torch.finfo(square.dtype).tiny
    return torch.where(known, 1 / square.masked_fill(~known, 1), 0)


def closest_on_triangle(a: Tensor, b: Tensor, c: Tensor, min_area: float) -> tuple[Tensor, Tensor]:
    """Return the squared distances ``[...]`` from the origin to triangles, and where on them.

    The nearest of the feet of the perpendiculars on the three edges, kept between their ends, and
    of the foot on the plane, where it lies inside and the area is at least ``min_area`` (the
    regions of C. Ericson, "Real-Time Collision Detection", 2005, 5.1.5, without their signs).

    Args:
        a: corners ``[..., 3]`` relative to the origin.
        b: as a.
        c: as a.
        min_area: of triangles that have an inside.

    Returns:
        ``distance [...]``, NaN where a coordinate is not finite, and ``weights [..., 3]`` of the
        corners, none negative, sum 1.
    """
    on_ab, ab_distance, ab_weights = _on_edge(a, b, (0, 1))
    on_ac, ac_distance, ac_weights = _on_edge(a, c, (0, 2))
    on_bc, bc_distance, bc_weights = _on_edge(b, c, (1, 2))
    inside_distance, inside_weights = _inside(a, b, c, min_area)
    distances = torch.stack([inside_distance, ab_distance, ac_distance, bc_distance], -1)
    distance = distances.amin(-1)
    finite = (a + b + c).isfinite().all(-1) & distance.isfinite()
    # Candidates next to each other are equally far to rounding. So the end of an edge is the place
    # where it is that of both edges that meet there, and the inside wherever the foot is inside.
    holds = [
        inside_distance.isfinite(),
        ((on_ab > 0) | (on_ac == 0)) & ((on_ab < 1) | (on_bc == 0)),
        ((on_ac > 0) | (on_ab == 0)) & ((on_ac < 1) | (on_bc == 1)),
        ((on_bc > 0) | (on_ab == 1)) & ((on_bc < 1) | (on_ac == 1)),
    ]
    distances = torch.where(torch.stack(holds, -1), distances, torch.inf)
    distances[..., 0] = torch.where(holds[0], -1, torch.inf)
    best = distances.argmin(-1)[..., None, None].expand(*distance.shape, 1, 3)
    weights = torch.stack([inside_weights, ab_weights, ac_weights, bc_weights], -2)
    return torch.where(finite, distance, torch.nan), weights.gather(-2, best).squeeze(-2)


def _on_edge(start: Tensor, end: Tensor, corners: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far along the edge the nearest place is, its distance and its weights."""
    edge = end - start
    along = (-_dot(start, edge) * _inverse_or_zero(_dot(edge, edge))).clamp(0, 1)
    point = start + along[..., None] * edge
    weights = point.new_zeros(point.shape)
    weights[..., corners[0]] = 1 - along
    weights[..., corners[1]] = along
    return along, _dot(point, point), weights


def _inside(a: Tensor, b: Tensor, c: Tensor, min_area: float) -> tuple[Tensor, Tensor]:
    """Return the distance of the foot on the plane, infinite where it is outside, and its weights.

    By the height of c over ab (Gram and Schmidt), which holds for slivers.
    """
    ab, ac = b - a, c - a
    ab_square = _dot(ab, ab)
    per_ab = _inverse_or_zero(ab_square)
    foot = _dot(ab, ac) * per_ab
    height = ac - foot[..., None] * ab
    height_square = _dot(height, height)
    along = -_dot(a, ab) * per_ab
    point = a + along[..., None] * ab
    up = -_dot(point, height) * _inverse_or_zero(height_square)
    point = point + up[..., None] * height
    weights = torch.stack([1 - (along - up * foot) - up, along - up * foot, up], -1)
    inside = (weights >= 0).all(-1) & (ab_square * height_square >= 4 * min_area * min_area)
    return torch.where(inside, _dot(point, point), torch.inf), weights


def corners_of(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the corners ``[F, 3, 3]`` of faces, NaN for those that name no vertex."""
    named = ((faces >= 0) & (faces < vertices.shape[0])).all(-1)
    if vertices.shape[0] == 0:
        return vertices.new_full((*faces.shape, 3), torch.nan)
    corners = vertices[faces.masked_fill(~named[:, None], 0).long()]
    return corners.masked_fill(~named[:, None, None], torch.nan)


def point_to_mesh(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    point_offsets: Tensor | None,
    face_offsets: Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nearest face of each point, or the nearest point of each face.

    Returns:
        ``distance [n]`` (squared), ``index [n]`` int32 and ``barycentric [n, 3]`` of the points,
        or with ``from_mesh`` of the faces.
    """
    corners = corners_of(vertices, faces)
    sides = [
        (points, segment_bounds(point_offsets, points.shape[0])),
        (corners, segment_bounds(face_offsets, faces.shape[0])),
    ]
    (searchers, searcher_bounds), (partners, partner_bounds) = sides[::-1] if from_mesh else sides
    distance = points.new_full((searchers.shape[0],), torch.inf)
    index = torch.full_like(distance, -1, dtype=torch.int32)
    barycentric = points.new_zeros(searchers.shape[0], 3)
    for (begin, end), (first, last) in zip(searcher_bounds, partner_bounds, strict=True):
        if first == last:
            continue
        rows = max(1, _CHUNK_PAIRS[points.device.type] // (last - first))
        for start in range(begin, end, rows):
            some = slice(start, min(start + rows, end))
            pair = (searchers[some, None], partners[None, first:last])
            point, triangle = pair[::-1] if from_mesh else pair
            a, b, c = (triangle - point[..., None, :]).unbind(-2)
            pairs, weights = closest_on_triangle(a, b, c, min_area)
            value, column = pairs.masked_fill(pairs.isnan(), torch.inf).min(1)
            found = (value <= max_distance) & value.isfinite()
            row = torch.arange(len(value), device=points.device)
            distance[some] = value.masked_fill(~found, torch.inf)
            index[some] = (column + first).masked_fill(~found, -1).int()
            barycentric[some] = weights[row, column].masked_fill(~found[:, None], 0)
    unknown = searchers.flatten(1).isnan().any(-1)
    return (
        distance.masked_fill(unknown, torch.nan),
        index.masked_fill(unknown, -1),
        barycentric.masked_fill(unknown[:, None], torch.nan),
    )


def _pairs(index: Tensor, from_mesh: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the searchers that found something, and the points and faces of their pairs."""
    searcher = (index >= 0).nonzero()[:, 0]
    found = index[searcher].long()
    return (searcher, found, searcher) if from_mesh else (searcher, searcher, found)


def point_to_mesh_backward(
    grad_distance: Tensor,
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    index: Tensor,
    barycentric: Tensor,
    from_mesh: bool,
    want_points: bool,
    want_vertices: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of points and vertices; searchers that found nothing give none.

    With the place on the triangle held: it is where the distance is least, so that its own change
    does not count. A gradient that is not wanted comes back without elements.
    """
    searcher, point, face = _pairs(index, from_mesh)
    corners = faces[face].long()
    weights = barycentric[searcher]
    ways = vertices[corners] - points[point][:, None]
    pull = -2 * grad_distance[searcher, None] * (weights[..., None] * ways).sum(1)
    grad_points, grad_vertices = points.new_zeros(0), vertices.new_zeros(0)
    if want_points:
        grad_points = torch.zeros_like(points).index_add_(0, point, pull)
    if want_vertices:
        pulls = -weights[..., None] * pull[:, None]
        grad_vertices = torch.zeros_like(vertices).index_add_(
            0, corners.flatten(), pulls.flatten(0, 1)
        )
    return grad_points, grad_vertices


def differentiable_barycentric(
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    index: Tensor,
    barycentric: Tensor,
    from_mesh: bool,
) -> Tensor:
    """Return ``barycentric`` as a function of points and vertices, for second derivatives.

    Where the nearest place moves as the points do: freely inside a triangle, along an edge where
    one weight is 0, and not at all at a corner.
    """
    searcher, point, face = _pairs(index, from_mesh)
    corners = vertices[faces[face].long()] - points[point][:, None]
    weights = barycentric[searcher]
    positive = weights > 0
    result = weights
    for first, second in ((0, 1), (1, 2), (2, 0)):
        here = (positive[:, first] & positive[:, second] & (positive.sum(1) == 2)).nonzero()[:, 0]
        start, edge = corners[here, first], corners[here, second] - corners[here, first]
        along = -_dot(start, edge) / _dot(edge, edge)
        moving = torch.zeros_like(weights[here]).index_copy(
            1, torch.tensor([first, second], device=here.device), torch.stack([1 - along, along], 1)
        )
        result = result.index_copy(0, here, moving)
    inside = positive.all(1).nonzero()[:, 0]
    a, b, c = corners[inside].unbind(1)
    result = result.index_copy(0, inside, _inside(a, b, c, 0.0)[1])
    return barycentric.index_copy(0, searcher, result)
