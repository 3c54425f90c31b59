"""Large searches of the reference of point_to_mesh through scipy's k-d tree of centroids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.reference.nearest import segment_bounds
from g2vlm_fast.ops.reference.point_to_mesh import closest_on_triangle, corners_of
from g2vlm_fast.profiling.tree import Undecided

_ABOVE_PAIRS = 1 << 26
_PAIRS_TOGETHER = 1 << 20
# Roundings of the size of a triangle, in float32, that two distances must differ by.
_SAME_DISTANCE = 32 * float(torch.finfo(torch.float32).eps)


@contextlib.contextmanager
def searching_meshes_by_tree(undecided: Undecided) -> Iterator[None]:
    """Let the reference of point_to_mesh search large meshes by a tree in this block.

    The centroid of a face lies on it, so the nearest centroid bounds the distance from above, and
    faces whose centroid is farther by more than their radius are out.
    """
    backends = _dispatch._TABLE["point_to_mesh"]
    held = backends["reference"]

    def run(points: Tensor, vertices: Tensor, faces: Tensor, *rest: Any) -> Any:
        if points.shape[0] * faces.shape[0] < _ABOVE_PAIRS:
            return held.run(points, vertices, faces, *rest)
        return _segments(undecided, points, vertices, faces, *rest)

    backends["reference"] = replace(held, run=run)
    try:
        yield
    finally:
        backends["reference"] = held


class _Search:
    """Searches one mesh, in memory of the host; finite coordinates only."""

    def __init__(self, points: Tensor, vertices: Tensor, faces: Tensor, from_mesh: bool) -> None:
        self.cloud = points.detach().cpu()
        self.faces = faces.cpu()
        self.corners = corners_of(vertices.detach().cpu(), self.faces)
        self.from_mesh = from_mesh
        rows = len(self.corners) if from_mesh else len(self.cloud)
        self.distance = torch.full((rows,), torch.inf, dtype=points.dtype)
        self.index = torch.full((rows,), -1, dtype=torch.int32)
        self.weights = torch.zeros(rows, 3, dtype=points.dtype)
        self.close_points = torch.zeros(len(self.cloud), dtype=torch.bool)
        self.close_vertices = torch.zeros(len(vertices), dtype=torch.bool)

    def look_at(self, point: Tensor, face: Tensor, min_area: float) -> None:
        """Take the nearest of all pairs of each searcher, of equally near ones the first."""
        searcher, partner = (face, point) if self.from_mesh else (point, face)
        a, b, c = (self.corners[face] - self.cloud[point, None]).unbind(1)
        pairs, weights = closest_on_triangle(a, b, c, min_area)
        best = self.distance.scatter_reduce(0, searcher, pairs, "amin")
        place = torch.arange(len(pairs)).masked_fill(pairs != best[searcher], len(pairs))
        first = torch.full((len(best),), len(pairs)).scatter_reduce(0, searcher, place, "amin")
        found = (first < len(pairs)).nonzero()[:, 0]
        self.distance[found] = pairs[first[found]]
        self.index[found] = partner[first[found]].int()
        self.weights[found] = weights[first[found]]
        place = (weights[..., None] * torch.stack([a, b, c], 1)).sum(1)
        allowed = _SAME_DISTANCE * torch.stack([a, b, c]).abs().amax((0, 2))
        close = pairs.sqrt() - best[searcher].sqrt() <= allowed
        elsewhere = (place - place[first[searcher]]).norm(dim=1) > allowed
        hesitates = torch.zeros(len(best), dtype=torch.bool)
        hesitates[searcher[close & elsewhere]] = True
        close &= hesitates[searcher]
        self.close_points[point[close]] = True
        self.close_vertices[self.faces[face[close]].long().flatten()] = True


def _segments(
    undecided: Undecided,
    points: Tensor,
    vertices: Tensor,
    faces: Tensor,
    point_offsets: Tensor | None,
    face_offsets: Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the reference returns, segment by segment."""
    search = _Search(points, vertices, faces, from_mesh)
    point_bounds = segment_bounds(point_offsets, len(points))
    face_bounds = segment_bounds(face_offsets, len(faces))
    for (p0, p1), (f0, f1) in zip(point_bounds, face_bounds, strict=True):
        if p0 < p1 and f0 < f1:
            parts = (search.cloud[p0:p1], search.corners[f0:f1])
            for point, face in _candidates(*parts, from_mesh):
                search.look_at(point + p0, face + f0, min_area)
    undecided.mark(points, search.close_points, as_query=True)
    undecided.mark(vertices, search.close_vertices, as_query=False)
    missing = ~(search.distance <= max_distance)
    found = (
        search.distance.masked_fill(missing, torch.inf),
        search.index.masked_fill(missing, -1),
        search.weights.masked_fill(missing[:, None], 0),
    )
    return found[0].to(points.device), found[1].to(points.device), found[2].to(points.device)


def _candidates(cloud: Tensor, corners: Tensor, from_mesh: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield points and faces among whose pairs the nearest ones are, each searcher's together."""
    from scipy.spatial import cKDTree

    centroids = corners.mean(1)
    radius = (corners - centroids[:, None]).norm(dim=2).amax(1)
    searchers, partners = (centroids, cloud) if from_mesh else (cloud, centroids)
    tree = cKDTree(partners.numpy())
    nearest, _ = tree.query(searchers.numpy(), workers=-1)
    reach = torch.from_numpy(nearest) + (radius if from_mesh else radius.amax())
    reach = reach * (1 + 1e-9)
    begin = 0
    while begin < len(searchers):
        counts = tree.query_ball_point(
            searchers[begin : begin + 4096].numpy(), reach[begin : begin + 4096].numpy(),
            workers=-1, return_length=True,
        )  # fmt: skip
        size = max(1, int((np.cumsum(counts) <= _PAIRS_TOGETHER).sum()))
        found = tree.query_ball_point(
            searchers[begin : begin + size].numpy(), reach[begin : begin + size].numpy(), workers=-1
        )
        partner = torch.from_numpy(np.concatenate([np.sort(each) for each in found]).astype("i8"))
        searcher = torch.arange(begin, begin + size).repeat_interleave(
            torch.from_numpy(counts[:size].astype("i8"))
        )
        yield (partner, searcher) if from_mesh else (searcher, partner)
        begin += size
