"""Winding numbers of large meshes: triangles far away are summed up as dipoles.

A triangle is seen under nearly the same solid angle as a dipole of its area vector at its centre;
so is a cluster of triangles, from a few times its radius on. Every point sums the exact angles of
the triangles in clusters near it, and one dipole for each other cluster.

Source: Barill et al., "Fast winding numbers for soups and clouds", TOG 37(4), 2018, first order;
clusters are cells of a grid in place of a tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.eval.metrics.mesh import face_corners, solid_angles

_CELLS_ACROSS = 40  # of the grid along the longest side of the mesh
_FAR = 2.0  # radii of a cluster from which on it is a dipole
_LONGEST = 2.0  # sides of a cell; longer edges are cut, as a cluster is as wide as its widest face
_MOST_PIECES = 2_000_000  # beyond which nothing more is cut: that costs time alone
_PAIRS = 2_000_000  # point-cluster or point-face pairs at once, which bounds the memory


def fast_winding_number(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """How often a mesh winds around points, within 0.02 on surfaces as rooms have them.

    :func:`~g2vlm_fast.eval.metrics.mesh.winding_number` is exact, and takes every pair.

    Args:
        points: ``[P, 3]`` metres.
        vertices: ``[V, 3]`` metres.
        faces: ``[F, 3]`` rows of the vertices; the number is positive where their
            counter-clockwise sides face away from the point.

    Returns:
        ``[P]`` float64; 0 where there are no faces.

    Raises:
        ValueError: a mesh is malformed.
    """
    corners = face_corners("fast_winding_number", vertices, faces)
    if not len(corners) or not len(points):
        return torch.zeros(len(points), dtype=torch.float64)
    clusters = _Clusters.of(corners)
    parts = [
        clusters.angle(part) for part in points.double().split(max(1, _PAIRS // len(clusters)))
    ]
    return torch.cat(parts) / (4 * math.pi)


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Triangles ``[F, 3, 3]`` sorted by C cells of a grid.

    Attributes:
        first, count: ``[C]``, the rows of the triangles of each.
        center: ``[C, 3]``, the mean of their centres, by area.
        area: ``[C, 3]``, the sum of their area vectors.
        radius: ``[C]`` of the sphere around the centre that holds them all.
    """

    corners: Tensor
    first: Tensor
    count: Tensor
    center: Tensor
    area: Tensor
    radius: Tensor

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def of(cls, corners: Tensor) -> _Clusters:
        low, high = corners.amin((0, 1)), corners.amax((0, 1))
        side = float((high - low).amax()) / _CELLS_ACROSS or 1.0
        corners = _cut(corners, _LONGEST * side)
        middle = corners.mean(1)
        place = ((middle - low) / side).floor().long()
        cells, cell = place.unique(dim=0, return_inverse=True)
        order = cell.argsort(stable=True)
        corners, cell, middle = corners[order], cell[order], middle[order]
        count = cell.bincount(minlength=len(cells))
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
        weight = torch.linalg.vector_norm(area, dim=-1, keepdim=True).clamp_min(1e-30)
        zero = corners.new_zeros(len(cells), 3)
        total = zero[:, :1].index_add(0, cell, weight)
        center = zero.index_add(0, cell, weight * middle) / total
        reach = (corners - center[cell][:, None]).norm(dim=-1).amax(1)
        radius = zero[:, 0].scatter_reduce(0, cell, reach, "amax")
        return cls(corners, count.cumsum(0) - count, count, center,
                   zero.index_add(0, cell, area), radius)  # fmt: skip

    def angle(self, points: Tensor) -> Tensor:
        """The solid angle ``[P]`` of all triangles seen from points."""
        along = (self.center * self.area).sum(-1) - points @ self.area.mT
        distance = torch.cdist(points, self.center, compute_mode="donot_use_mm_for_euclid_dist")
        far = distance > _FAR * self.radius
        dipoles = torch.where(far, along / distance.pow(3), 0.0).sum(1)
        point, cluster = (~far).nonzero(as_tuple=True)
        return dipoles + self._near(points, point, cluster)

    def _near(self, points: Tensor, point: Tensor, cluster: Tensor) -> Tensor:
        """The exact part: the triangles of pairs of a point and a cluster."""
        angle = points.new_zeros(len(points))
        faces = self.count[cluster]
        for pairs in _chunks(faces):
            many = faces[pairs]
            start = (self.first[cluster[pairs]] - (many.cumsum(0) - many)).repeat_interleave(many)
            face = start + torch.arange(len(start))
            seer = point[pairs].repeat_interleave(many)
            angle.index_add_(0, seer, solid_angles(points[seer], self.corners[face]))
        return angle


def _cut(corners: Tensor, longest: float) -> Tensor:
    """Halve triangles ``[F, 3, 3]`` across their longest edge until no edge is longer than that."""
    while True:
        edges = (corners.roll(-1, 1) - corners).norm(dim=-1)  # edge i leads from corner i
        length, edge = edges.max(1)
        wide = length > longest
        if not bool(wide.any()) or len(corners) + int(wide.sum()) > _MOST_PIECES:
            return corners
        rows = torch.arange(int(wide.sum()))
        a, b, c = (corners[wide][rows, (edge[wide] + turn) % 3] for turn in range(3))
        middle = (a + b) / 2
        corners = torch.cat(
            [corners[~wide], torch.stack([a, middle, c], 1), torch.stack([middle, b, c], 1)]
        )


def _chunks(sizes: Tensor) -> list[slice]:
    """Cut a list so that the sizes of each part sum up to about :data:`_PAIRS`."""
    ends = sizes.cumsum(0)
    parts = (ends // _PAIRS).unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return [slice(a, b) for a, b in zip([0, *parts[:-1]], parts, strict=True)] if parts else []
