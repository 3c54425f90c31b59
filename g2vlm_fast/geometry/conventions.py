"""Find out what the numbers of a scan mean, by holding its views against each other.

Depth lifted from one view and projected into another must meet the depth measured there. It
does so under the right reading of the poses (camera to world or world to camera), of the camera
axes (OpenCV or OpenGL), of depth (along z or along the ray, in which unit) and of the focal
length, and fails under the others as soon as the camera moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from torch import Tensor

from g2vlm_fast.geometry.readings import (
    MIN_OVERLAP,
    Fit,
    Reading,
    fit_reading,
    sample_pixels,
)

__all__ = [
    "ConventionError",
    "ConventionReport",
    "Fit",
    "Reading",
    "check_conventions",
    "compare_conventions",
    "is_clearly_better",
    "rank_conventions",
]

_DEPTH_FACTORS = (1.0, 1e-3, 1e3, 0.2, 5.0, 0.25, 4.0, 1000 / 6553.5)
_MATRIX_FACTORS = (0.25, 1 / 3, 0.5, 2.0, 3.0, 4.0)
_FOCAL_STEP = 2 ** (1 / 6)
_FOCAL_FACTORS = tuple(_FOCAL_STEP**step for step in range(-6, 7) if step)
_ROUND_FACTORS = (0.5, 1.0, 2.0)
_ROUND = 0.01
"""A focal factor this close to a round one is taken for it."""

_CLEARLY = 0.6
"""Another reading is clearly better when its median error is below this share of the given
one's; means hold what is hidden from one view and not from the other, under every reading."""

_RESOLVABLE = 0.004
"""And when its mean error is lower by more than this relative depth."""

_CONSISTENT = 0.03
"""Above this median error not even the best reading explains the views."""


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
        if self.given.overlap < MIN_OVERLAP:
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

    def __init__(self, report: ConventionReport, scan: Path | None = None) -> None:
        self.report = report
        told = report.describe()
        if scan is not None:
            told = (
                f"{scan}: {told} Look closer with `g2vlm-fast check {scan}`, which writes the scan "
                "mended with --fix DIR."
            )
        super().__init__(told)


def _readings() -> Iterator[Reading]:
    poses, axes, kinds = ("camera-to-world", "world-to-camera"), ("OpenCV", "OpenGL"), ("z", "ray")
    for pose, axis, kind, factor in product(poses, axes, kinds, _DEPTH_FACTORS):
        yield Reading(pose, axis, kind, factor)
    for pose, axis in product(poses, axes):
        for factor in _FOCAL_FACTORS:
            yield Reading(pose, axis, focal_factor=_rounded(factor))
        for factor in _MATRIX_FACTORS:
            yield Reading(pose, axis, matrix_factor=factor)
        yield Reading(pose, axis, swapped=True)


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
    samples = sample_pixels(depth, anchors=anchors, pixels=pixels)

    def fit(reading: Reading) -> Fit:
        return fit_reading(reading, samples, depth, intrinsics, poses)

    fits = sorted((fit(reading) for reading in _readings()), key=lambda found: found.error)
    best, refined = fits[0], _refined_focal(fits[0], fit)
    if refined.error < best.error - (_RESOLVABLE if best.reading.focal_factor == 1 else 0):
        fits.insert(0, refined)
    return fits


def _refined_focal(best: Fit, fit: Callable[[Reading], Fit]) -> Fit:
    """The focal length about the best reading's that fits best, by golden-section search.

    Source: Kiefer, *Sequential Minimax Search for a Maximum*, Proceedings of the AMS 4(3), 1953.
    """
    ratio = (5**0.5 - 1) / 2
    center = best.reading.focal_factor
    low, high = center / _FOCAL_STEP, center * _FOCAL_STEP

    def at(factor: float) -> Fit:
        return fit(dataclasses.replace(best.reading, focal_factor=factor))

    tried: dict[float, Fit] = {}
    for _ in range(9):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        for factor in (left, right):
            tried.setdefault(factor, at(factor))
        if tried[left].median_error < tried[right].median_error:
            high = right
        else:
            low = left
    found = min(tried.values(), key=lambda one: one.median_error)
    factor = _rounded(found.reading.focal_factor)
    return found if factor == found.reading.focal_factor else at(factor)


def _rounded(factor: float) -> float:
    near = [value for value in _ROUND_FACTORS if abs(factor / value - 1) < _ROUND]
    return near[0] if near else factor


def is_clearly_better(fit: Fit, given: Fit) -> bool:
    """Whether a fit is so much better than the given one that occlusion does not explain it."""
    return (
        given.error - fit.error > _RESOLVABLE and fit.median_error < _CLEARLY * given.median_error
    )


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
    report = compare_conventions(depth, intrinsics, poses)
    if report.contradicted:
        raise ConventionError(report)
    return report


def compare_conventions(depth: Tensor, intrinsics: Tensor, poses: Tensor) -> ConventionReport:
    """As :func:`check_conventions`, but a scan that is contradicted is only reported."""
    fits = rank_conventions(depth, intrinsics, poses)
    given = next(fit for fit in fits if fit.reading == Reading())
    best = fits[0]
    contradicted = is_clearly_better(best, given)
    rivals = [fit.error for fit in fits if fit.reading != Reading() and not _same(fit)]
    return ConventionReport(
        fits=tuple(fits),
        given=given,
        contradicted=contradicted,
        consistent=given.median_error < _CONSISTENT,
        decided=given.error < min(rivals) - _RESOLVABLE / 4,
    )


def _same(fit: Fit) -> bool:
    """Whether a reading is the given one but for a trifle of its focal length."""
    rest = dataclasses.replace(fit.reading, focal_factor=1.0)
    return rest == Reading() and abs(fit.reading.focal_factor - 1) < _FOCAL_STEP - 1
