"""Meshes against meshes: samples by area, exact distances to triangles, volume in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from g2vlm_fast.eval.metrics.surface import SurfaceDistances
from g2vlm_fast.ops import point_to_mesh

_BLOCK = 4_000_000  # point-face pairs at once, which bounds the memory


def sample_mesh(
    vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw points evenly by area from a mesh, so that no vertex density sways a score.

    Args:
        vertices: ``[V, 3]`` metres.
        faces: ``[F, 3]`` rows of the vertices, any integer type.
        count: how many points.
        generator: source of randomness, on the CPU.

    Returns:
        Points ``[count, 3]`` and unit normals ``[count, 3]``, counter-clockwise side out; no
        points where the mesh has no area.

    Raises:
        ValueError: a shape is wrong, a vertex is not finite, or a face names no vertex.

    Source: Osada et al., "Shape distributions", TOG 2002, 4.2 (the square root of the draw).
    """
    corners = face_corners("sample_mesh", vertices, faces)
    cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = torch.linalg.vector_norm(cross, dim=-1)
    if not len(area) or float(area.sum()) == 0:
        return corners.new_zeros(0, 3), corners.new_zeros(0, 3)
    upper = area.cumsum(0)
    draw = torch.rand(3, count, generator=generator, dtype=torch.float64).to(corners.device)
    face = torch.searchsorted(upper, draw[0] * upper[-1], right=True).clamp_max(len(area) - 1)
    root, along = draw[1].sqrt(), draw[2]
    weights = torch.stack([1 - root, root * (1 - along), root * along], -1)
    points = (weights[..., None] * corners[face]).sum(1)
    return points, cross[face] / area[face, None]


def mesh_distances(
    predicted: tuple[Tensor, Tensor],
    truth: tuple[Tensor, Tensor],
    *,
    samples: int = 100_000,
    seed: int = 0,
) -> SurfaceDistances:
    """Measure two meshes both ways, from samples by area of each to the triangles of the other.

    The distances are exact for each sample, so that the F-score and the Chamfer distance of a
    mesh with itself are 1 and 0, whereas samples against samples have a floor of their spacing.
    This is what Open3D's ``compute_metrics`` does for meshes, whose default of 1000 samples is
    too few for a room. Point-to-point scores are had from :func:`sample_mesh` and
    :func:`~g2vlm_fast.eval.metrics.surface.surface_scores`; the two must not share a column.

    Args:
        predicted: vertices ``[V, 3]`` metres and faces ``[F, 3]``; may be empty.
        truth: the same.
        samples: of each mesh.
        seed: of the samples.

    Returns:
        Distances whose indices name faces of the other mesh.

    Raises:
        ValueError: the truth has no area, or a mesh is malformed.
    """
    generator = torch.Generator().manual_seed(seed)
    ours, _ = sample_mesh(*predicted, samples, generator)
    theirs, _ = sample_mesh(*truth, samples, generator)
    if not len(theirs):
        raise ValueError("mesh_distances: truth has no area, so no distance to it is defined")
    to_truth, nearest_truth, _ = point_to_mesh(ours, truth[0].double(), truth[1].int())
    if not len(ours):
        return SurfaceDistances(
            to_truth,
            torch.full_like(theirs[:, 0], torch.inf),
            nearest_truth,
            nearest_truth.new_full((samples,), -1),
        )
    back, nearest_back, _ = point_to_mesh(theirs, predicted[0].double(), predicted[1].int())
    return SurfaceDistances(to_truth.sqrt(), back.sqrt(), nearest_truth, nearest_back)


def winding_number(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """How often a mesh winds around points: 1 inside and 0 outside of a closed outward mesh.

    ``w(p) = 1 / (4 pi) sum of the solid angles of the triangles seen from p``. On open surfaces
    it is a fraction, and ``w > 1/2`` is the usual rule for inside. Every pair of point and face
    is evaluated, in float64, in blocks.

    Args:
        points: ``[P, 3]`` metres.
        vertices: ``[V, 3]`` metres.
        faces: ``[F, 3]`` rows of the vertices, counter-clockwise seen from outside.

    Returns:
        ``[P]`` float64.

    Source: Jacobson, Kavan and Sorkine-Hornung, "Robust inside-outside segmentation using
    generalized winding numbers", TOG 2013; the solid angle of Van Oosterom and Strackee, 1983.
    """
    corners = face_corners("winding_number", vertices, faces)
    block = max(1, _BLOCK // max(len(corners), 1))
    parts = [solid_angles(part[:, None], corners).sum(1) for part in points.double().split(block)]
    return torch.cat(parts) / (4 * math.pi) if parts else points.new_zeros(0).double()


def mesh_iou(
    predicted: tuple[Tensor, Tensor],
    truth: tuple[Tensor, Tensor],
    *,
    samples: int = 100_000,
    seed: int = 0,
) -> float:
    """Volume in common over volume together of two solids, by inside tests of random points.

    Points are drawn evenly from the box around both meshes; inside means a winding number above
    1/2, so that meshes with holes, as rooms are scanned, have a volume too. The standard error
    is about ``sqrt(IoU (1 - IoU) / n)`` with n the samples inside either. Known variants ask for
    watertight meshes and count ray crossings, or fill voxels of 0.05 m; name the one in use.

    Args:
        predicted: vertices ``[V, 3]`` metres and faces ``[F, 3]``; may be empty, which scores 0.
        truth: the same, not empty.
        samples: points tested; the work is samples x faces.
        seed: of the points.

    Raises:
        ValueError: a mesh is malformed, or no sample lies inside the truth.

    Source: Mescheder et al., "Occupancy Networks", CVPR 2019.
    """
    sides = [face_corners("mesh_iou", *mesh).flatten(0, 1) for mesh in (predicted, truth)]
    if not len(sides[1]):
        raise ValueError("mesh_iou: truth has no faces, so it has no volume")
    together = torch.cat(sides)
    low, high = together.amin(0), together.amax(0)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(samples, 3, generator=generator, dtype=torch.float64).to(low.device)
    points = low + draw * (high - low)
    inside, expected = (winding_number(points, *mesh) > 0.5 for mesh in (predicted, truth))
    if not bool(expected.any()):
        raise ValueError(
            "mesh_iou: no sample lies inside the truth; orient its faces outward, close it, or "
            "draw more samples"
        )
    return float((inside & expected).sum() / (inside | expected).sum())


def face_corners(function: str, vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the corners ``[F, 3, 3]`` of faces in float64.

    Raises:
        ValueError: names ``function``, and which argument is malformed.
    """
    for name, table in (("vertices", vertices), ("faces", faces)):
        if table.ndim != 2 or table.shape[1] != 3:
            raise ValueError(f"{function}: {name} must have shape [n, 3], got {list(table.shape)}")
    if not bool(torch.isfinite(vertices).all()):
        raise ValueError(f"{function}: vertices must be finite")
    if faces.numel() and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError(
            f"{function}: faces must name rows of {len(vertices)} vertices, got "
            f"{int(faces.min())} to {int(faces.max())}"
        )
    corners: Tensor = vertices.double()[faces.long()]
    return corners


def solid_angles(points: Tensor, corners: Tensor) -> Tensor:
    """Return the signed solid angle ``[...]`` of triangles ``[..., 3, 3]`` seen from points."""
    a, b, c = (corners[..., i, :] - points for i in range(3))
    la, lb, lc = (torch.linalg.vector_norm(side, dim=-1) for side in (a, b, c))
    volume = (a * torch.linalg.cross(b, c)).sum(-1)
    flat = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return 2 * torch.atan2(volume, flat)
