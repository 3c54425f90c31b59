"""What the numbers of a scan may mean, and how well its views agree under each meaning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import inverse_pose, pixel_rays, transform_points

_OPENGL = (1.0, -1.0, -1.0)

WORST = 0.25
"""Relative depth error beyond which a miss is a miss; also the score without any overlap."""

MIN_OVERLAP = 0.02
"""Share of lifted pixels below which two views say nothing about each other."""

_SMOOTH = 0.05
"""Relative spread of depth up to which four pixels count as one surface."""


@dataclass(frozen=True)
class Reading:
    """One hypothesis of what the numbers of a scan mean; the default is this package's own."""

    pose: str = "camera-to-world"  # or "world-to-camera"
    axes: str = "OpenCV"  # or "OpenGL"
    depth: str = "z"  # or "ray": distance from the camera centre
    depth_factor: float = 1.0  # true depth over given depth
    focal_factor: float = 1.0  # true focal length over given
    matrix_factor: float = 1.0  # size of these images over those that the matrix is of
    swapped: bool = False  # the camera matrix has its x and y exchanged

    def __str__(self) -> str:
        words = [f"{self.pose} poses", f"{self.axes} axes", f"depth along {self.depth}"]
        if self.depth_factor != 1:
            words.append(f"depth x {self.depth_factor:.4g}")
        if self.focal_factor != 1:
            words.append(f"focal length x {self.focal_factor:.4g}")
        if self.matrix_factor != 1:
            words.append(f"camera matrix of images {1 / self.matrix_factor:.4g} times the size")
        if self.swapped:
            words.append("camera matrix with x and y exchanged")
        return ", ".join(words)

    def correct(
        self, depth: Tensor, intrinsics: Tensor, poses: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bring a scan that means this to the conventions of this package.

        Args:
            depth: ``[V, H, W]`` as read, 0 = missing.
            intrinsics: ``[V, 3, 3]`` as read.
            poses: ``[V, 4, 4]`` as read.

        Returns:
            Depth in metres along z, intrinsics in pixels, and poses camera to world, OpenCV.
        """
        matrix = self.matrix(intrinsics)
        depth = depth * self.depth_factor
        if self.depth == "ray":
            depth = depth / pixel_rays(matrix, *depth.shape[1:]).norm(dim=-1)
        return depth, matrix, self.camera_to_world(poses)

    def matrix(self, intrinsics: Tensor) -> Tensor:
        """The camera matrices that are meant by ``intrinsics [V, 3, 3]``."""
        matrix = intrinsics.clone()
        if self.swapped:
            matrix[:, 0, 0], matrix[:, 1, 1] = intrinsics[:, 1, 1], intrinsics[:, 0, 0]
            matrix[:, 0, 2], matrix[:, 1, 2] = intrinsics[:, 1, 2], intrinsics[:, 0, 2]
        if self.matrix_factor != 1:
            matrix[:, :2] *= self.matrix_factor
            matrix[:, :2, 2] += (self.matrix_factor - 1) / 2
        matrix[:, [0, 1], [0, 1]] *= self.focal_factor
        return matrix

    def camera_to_world(self, poses: Tensor) -> Tensor:
        """The camera-to-world, OpenCV poses that are meant by ``poses [V, 4, 4]``."""
        if self.pose == "world-to-camera":
            poses = inverse_pose(poses)
        if self.axes == "OpenGL":
            poses = poses.clone()
            poses[:, :3, :3] = poses[:, :3, :3] * poses.new_tensor(_OPENGL)
        return poses


@dataclass(frozen=True)
class Fit:
    """How well the views agree under one reading.

    Attributes:
        reading: the hypothesis.
        error: mean relative depth difference, each clipped to 0.25; the ranking goes by it.
        median_error: median relative depth difference.
        agreement_cm: median depth difference in centimetres.
        overlap: share of lifted pixels that landed on a measured pixel of the other view.
    """

    reading: Reading
    error: float
    median_error: float
    agreement_cm: float
    overlap: float


@dataclass(frozen=True)
class Samples:
    """Pixels that are lifted from one view and looked for in another."""

    source: Tensor  # [P] views that pixels are lifted from
    target: Tensor  # [P] views that they must land in
    row: Tensor  # [P, n]
    column: Tensor  # [P, n]


def sample_pixels(depth: Tensor, *, anchors: int, pixels: int) -> Samples:
    """Choose measured pixels, evenly from views; views without any are left out.

    Args:
        depth: ``[V, H, W]``, 0 = missing.
        anchors: about how many views are held against later ones.
        pixels: how many pixels of each are lifted.
    """
    kept, rows, columns = [], [], []
    for pair in _pairs(len(depth), anchors):
        row, column = (depth[pair[0]] > 0).nonzero(as_tuple=True)
        if len(row) == 0:
            continue
        place = torch.linspace(0, len(row) - 1, pixels).long()
        kept.append(pair)
        rows.append(row[place])
        columns.append(column[place])
    if not kept:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Samples(nothing, nothing, nothing[:, None], nothing[:, None])
    source, target = torch.tensor(kept).unbind(dim=1)
    return Samples(source, target, torch.stack(rows), torch.stack(columns))


def _pairs(views: int, anchors: int) -> list[tuple[int, int]]:
    """Pairs over short and long gaps: short ones overlap, long ones tell readings apart."""
    starts = range(0, views, max(1, views // anchors))
    gaps = sorted({max(1, round(views * share)) for share in (0.02, 0.06, 0.15, 0.3)})
    pairs = [(start, start + gap) for start in starts for gap in gaps if start + gap < views]
    return pairs + [(second, first) for first, second in pairs]


def fit_reading(
    reading: Reading, samples: Samples, depth: Tensor, intrinsics: Tensor, poses: Tensor
) -> Fit:
    """Hold the views of a scan against each other under one reading.

    Args:
        reading: the hypothesis.
        samples: of this depth.
        depth: ``[V, H, W]`` as read, 0 = missing.
        intrinsics: ``[V, 3, 3]`` as read.
        poses: ``[V, 4, 4]`` as read.
    """
    matrix = reading.matrix(intrinsics)
    rays = _rays(matrix[samples.source], samples.row.float(), samples.column.float())
    given = depth[samples.source[:, None], samples.row, samples.column]
    lifted = rays * _z_depth(given, rays, reading)[..., None]
    poses = reading.camera_to_world(poses).double()
    motion = inverse_pose(poses[samples.target]) @ poses[samples.source]
    moved = transform_points(motion.float(), lifted)
    z = moved[..., 2]
    entry = matrix[samples.target][:, None]
    ratio = moved[..., :2] / z.clamp_min(1e-9)[..., None]
    column = entry[..., 0, 0] * ratio[..., 0] + entry[..., 0, 1] * ratio[..., 1] + entry[..., 0, 2]
    row = entry[..., 1, 1] * ratio[..., 1] + entry[..., 1, 2]
    height, width = depth.shape[1:]
    lands = (z > 1e-9) & (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    row, column = torch.where(lands, row, 0), torch.where(lands, column, 0)
    measured = _depth_at(depth, samples.target, row, column)
    lands &= measured > 0
    overlap = float(lands.float().mean()) if lands.numel() else 0.0
    if overlap < MIN_OVERLAP:
        return Fit(reading, WORST, float("inf"), float("inf"), overlap)
    landed_rays = _rays(matrix[samples.target], row, column)
    measured = _z_depth(measured, landed_rays, reading)[lands]
    difference = (z[lands] - measured).abs()
    relative = difference / measured
    error = float(relative.clamp_max(WORST).mean())
    return Fit(reading, error, float(relative.median()), 100 * float(difference.median()), overlap)


def _depth_at(depth: Tensor, view: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Depth between pixels: interpolated on a surface, of the nearest pixel at its edge."""
    height, width = depth.shape[1:]
    top, left = row.floor().long().clamp_max(height - 2), column.floor().long().clamp_max(width - 2)
    down, right = row - top, column - left
    index = view[:, None]
    corners = torch.stack([depth[index, top + i, left + j] for i in (0, 1) for j in (0, 1)], dim=-1)
    weights = torch.stack(
        [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=-1
    )
    low, high = corners.amin(-1), corners.amax(-1)
    smooth = (low > 0) & (high - low < _SMOOTH * high)
    nearest = depth[index, row.round().long(), column.round().long()]
    return torch.where(smooth, (corners * weights).sum(-1), nearest)


def _rays(matrix: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Directions ``[P, n, 3]`` with z = 1 through pixels ``[P, n]``."""
    entry = matrix[:, None]
    y = (row - entry[..., 1, 2]) / entry[..., 1, 1]
    x = (column - entry[..., 0, 2] - entry[..., 0, 1] * y) / entry[..., 0, 0]
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _z_depth(given: Tensor, rays: Tensor, reading: Reading) -> Tensor:
    """Depth along z that a given number means under a reading."""
    scaled = given * reading.depth_factor
    return scaled / rays.norm(dim=-1) if reading.depth == "ray" else scaled
