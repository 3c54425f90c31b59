"""Find out what the numbers of a scan mean, by holding its views against each other.

Depth lifted from one view and projected into another must meet the depth measured there. It
does so under the right reading of the poses (camera to world or world to camera), of the camera
axes (OpenCV or OpenGL), of depth (along z or along the ray, in which unit) and of the focal
length, and fails under the others as soon as the camera moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import inverse_pose, transform_points

_OPENGL = (1.0, -1.0, -1.0)
_DEPTH_FACTORS = (1.0, 1e-3, 1e3, 0.2, 5.0, 0.25, 4.0, 1000 / 6553.5)
_FOCAL_FACTORS = (0.5, 2.0)
_WORST = 0.25
"""Relative depth error beyond which a miss is a miss; also the score without any overlap."""

_MIN_OVERLAP = 0.02
_SMOOTH = 0.05
"""Relative spread of depth up to which four pixels count as one surface."""

_CLEARLY = 0.5
"""Another reading is clearly better when its median error is below this share of the given
one's; means hold what is hidden from one view and not from the other, under every reading."""

_RESOLVABLE = 0.004
"""And when its mean error is lower by more than this relative depth."""

_CONSISTENT = 0.03
"""Above this median error not even the best reading explains the views."""


@dataclass(frozen=True)
class Reading:
    """One hypothesis of what the numbers of a scan mean; the default is this package's own."""

    pose: str = "camera-to-world"  # or "world-to-camera"
    axes: str = "OpenCV"  # or "OpenGL"
    depth: str = "z"  # or "ray": distance from the camera centre
    depth_factor: float = 1.0  # true depth over given depth
    focal_factor: float = 1.0  # true focal length over given

    def __str__(self) -> str:
        words = [f"{self.pose} poses", f"{self.axes} axes", f"depth along {self.depth}"]
        if self.depth_factor != 1:
            words.append(f"depth x {self.depth_factor:.4g}")
        if self.focal_factor != 1:
            words.append(f"focal length x {self.focal_factor:g}")
        return ", ".join(words)


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
class ConventionReport:
    """The readings of a scan, best first, and what follows.

    Attributes:
        fits: every reading that was tried, best first.
        given: the fit of the scan as it was read.
        contradicted: another reading fits clearly better.
        consistent: the given reading explains the views.
        decided: no other reading explains the views as well; False where the camera hardly moves.
    """

    fits: tuple[Fit, ...]
    given: Fit
    contradicted: bool
    consistent: bool
    decided: bool

    def describe(self) -> str:
        """One sentence for people."""
        if self.given.overlap < _MIN_OVERLAP:
            return "No two views overlap: the conventions could not be checked."
        if self.contradicted:
            return (
                f"The views agree to {self.given.agreement_cm:.1f} cm as read "
                f"({self.given.reading}), but to {self.fits[0].agreement_cm:.2f} cm as "
                f"{self.fits[0].reading}."
            )
        if not self.consistent:
            return (
                f"The views disagree by {self.given.agreement_cm:.1f} cm (median, "
                f"{self.given.median_error:.0%} of the depth) and no other reading fits better: "
                "poses, intrinsics and depth do not belong together."
            )
        certainty = (
            "and no other reading does"
            if self.decided
            else "but the camera moves too little to rule out every other reading"
        )
        return f"The views agree to {self.given.agreement_cm:.2f} cm (median), {certainty}."


class ConventionError(ValueError):
    """A scan means something else than it was read as.

    Attributes:
        report: the readings that were tried.
    """

    def __init__(self, report: ConventionReport) -> None:
        self.report = report
        super().__init__(report.describe())


def _readings() -> Iterator[Reading]:
    poses, axes, kinds = ("camera-to-world", "world-to-camera"), ("OpenCV", "OpenGL"), ("z", "ray")
    for pose, axis, kind, factor in product(poses, axes, kinds, _DEPTH_FACTORS):
        yield Reading(pose, axis, kind, factor)
    for pose, axis, factor in product(poses, axes, _FOCAL_FACTORS):
        yield Reading(pose, axis, "z", 1.0, factor)


def rank_conventions(
    depth: Tensor, intrinsics: Tensor, poses: Tensor, *, anchors: int = 8, pixels: int = 200
) -> list[Fit]:
    """Try every reading of a scan.

    Args:
        depth: ``[V, H, W]`` metres as read, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels as read.
        poses: ``[V, 4, 4]`` as read.
        anchors: about how many views are held against later ones.
        pixels: how many pixels of each are lifted.

    Returns:
        The fits, best first; readings that fit equally keep the simpler one first.
    """
    samples = _sample_pixels(depth, _pairs(len(depth), anchors), pixels)
    fits = [_fit(reading, samples, depth, intrinsics, poses) for reading in _readings()]
    return sorted(fits, key=lambda fit: fit.error)


def check_conventions(depth: Tensor, intrinsics: Tensor, poses: Tensor) -> ConventionReport:
    """Hold a scan's views against each other.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world, OpenCV.

    Returns:
        The report; one that is not ``consistent`` deserves a warning.

    Raises:
        ConventionError: another reading fits clearly better than the given one.
    """
    fits = rank_conventions(depth, intrinsics, poses)
    given = next(fit for fit in fits if fit.reading == Reading())
    best = fits[0]
    contradicted = (
        given.error - best.error > _RESOLVABLE and best.median_error < _CLEARLY * given.median_error
    )
    rivals = [fit.error for fit in fits if fit.reading != Reading()]
    report = ConventionReport(
        fits=tuple(fits),
        given=given,
        contradicted=contradicted,
        consistent=given.median_error < _CONSISTENT,
        decided=given.error < min(rivals) - _RESOLVABLE / 4,
    )
    if contradicted:
        raise ConventionError(report)
    return report


def _pairs(views: int, anchors: int) -> list[tuple[int, int]]:
    """Pairs over short and long gaps: short ones overlap, long ones tell readings apart."""
    starts = range(0, views, max(1, views // anchors))
    gaps = sorted({max(1, round(views * share)) for share in (0.02, 0.06, 0.15, 0.3)})
    pairs = [(start, start + gap) for start in starts for gap in gaps if start + gap < views]
    return pairs + [(second, first) for first, second in pairs]


@dataclass(frozen=True)
class _Samples:
    source: Tensor  # [P] views that pixels are lifted from
    target: Tensor  # [P] views that they must land in
    row: Tensor  # [P, n]
    column: Tensor  # [P, n]


def _sample_pixels(depth: Tensor, pairs: list[tuple[int, int]], pixels: int) -> _Samples:
    """Measured pixels, evenly from each source view; pairs from a view without any are left out."""
    kept, rows, columns = [], [], []
    for pair in pairs:
        row, column = (depth[pair[0]] > 0).nonzero(as_tuple=True)
        if len(row) == 0:
            continue
        place = torch.linspace(0, len(row) - 1, pixels).long()
        kept.append(pair)
        rows.append(row[place])
        columns.append(column[place])
    if not kept:
        nothing = torch.zeros(0, dtype=torch.int64)
        return _Samples(nothing, nothing, nothing[:, None], nothing[:, None])
    source, target = torch.tensor(kept).unbind(dim=1)
    return _Samples(source, target, torch.stack(rows), torch.stack(columns))


def _fit(
    reading: Reading, samples: _Samples, depth: Tensor, intrinsics: Tensor, poses: Tensor
) -> Fit:
    matrix = intrinsics.clone()
    matrix[:, [0, 1], [0, 1]] *= reading.focal_factor
    rays = _rays(matrix[samples.source], samples.row.float(), samples.column.float())
    given = depth[samples.source[:, None], samples.row, samples.column]
    lifted = rays * _z_depth(given, rays, reading)[..., None]
    moved = transform_points(_relative_motion(reading, poses, samples), lifted)
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
    if overlap < _MIN_OVERLAP:
        return Fit(reading, _WORST, float("inf"), float("inf"), overlap)
    landed_rays = _rays(matrix[samples.target], row, column)
    measured = _z_depth(measured, landed_rays, reading)[lands]
    difference = (z[lands] - measured).abs()
    relative = difference / measured
    error = float(relative.clamp_max(_WORST).mean())
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


def _relative_motion(reading: Reading, poses: Tensor, samples: _Samples) -> Tensor:
    """Source camera to target camera ``[P, 4, 4]``, in OpenCV axes, under a reading."""
    if reading.pose == "world-to-camera":
        poses = inverse_pose(poses)
    if reading.axes == "OpenGL":
        poses = poses.clone()
        poses[:, :3, :3] = poses[:, :3, :3] * poses.new_tensor(_OPENGL)
    poses = poses.double()
    relative = inverse_pose(poses[samples.target]) @ poses[samples.source]
    return relative.float()


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
