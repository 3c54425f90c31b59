"""Depth of the given views, at all pixels with a true depth and where no depth was given.

Depth is scored as predicted, in metres. Beside that stand, for systems that know no scale, two
scores after one scale, or one scale and one shift, was fitted to all views of a scene at once; they
are no metric numbers, and their names say so. A predicted image may have another
size and camera than the given one; the depth of a pixel is that of the predicted pixel which looks
along the nearest ray. An error counts at most as much as a missing depth does, so that leaving out
what is hard never pays: relative errors up to 1, errors in metres up to the true depth, and
logarithms of ratios up to ln 10 either way. Sums run over the pixels of all scenes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.depth import aligned_depth
from g2vlm_fast.eval.metrics.pixels import absolute_relative_error, within_ratio
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.protocol.records import Row
from g2vlm_fast.eval.scoring.score import Judgement, Score, second_sum
from g2vlm_fast.eval.statistics import Array, ratio_of_sums

LARGEST_LOG = math.log(10)
"""Largest |ln(d / t)| that counts; what a missing depth counts as."""


def root_of_ratio(sums: Array) -> Array:
    """Return ``sqrt(sums[..., 0] / sums[..., 1])``."""
    return np.sqrt(ratio_of_sums(sums))


def silog_of_sums(sums: Array) -> Array:
    """Return SILog of sums of (log ratio squared, log ratio, pixels found, pixels missing).

    ``100 sqrt(f v + (1 - f) L^2)``: v is the variance of ln(d / t) where there is a depth, f the
    share of such pixels, L what a missing one counts as.
    """
    squared, total, found, missing = (sums[..., column] for column in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(found > 0, squared - total**2 / np.maximum(found, 1), 0.0)
        mean = (np.maximum(spread, 0.0) + missing * LARGEST_LOG**2) / (found + missing)
    return 100 * np.sqrt(mean)


def _pixels(sums: Array) -> Array:
    return sums[..., 2] + sums[..., 3]


def _scores(suffix: str, where: str, *, headline: bool) -> tuple[Score, ...]:
    return (
        Score(
            f"depth_abs_rel{suffix}",
            "depth",
            f"mean of |d - t| / t, at most 1, {where}",
            higher_is_better=False,
            headline=headline,
        ),
        Score(
            f"depth_delta_1{suffix}",
            "depth",
            f"share of pixels with max(d / t, t / d) < 1.25, {where}",
            headline=headline,
            rate=True,
        ),
        Score(
            f"depth_rmse{suffix}",
            "depth",
            f"root of the mean of (d - t) squared, errors at most t, {where}",
            unit="m",
            higher_is_better=False,
            statistic=root_of_ratio,
            items=second_sum,
        ),
        Score(
            f"depth_silog{suffix}",
            "depth",
            f"100 times the standard deviation of ln(d / t), {where}; a missing depth is off by a "
            "factor of 10",
            higher_is_better=False,
            statistic=silog_of_sums,
            items=_pixels,
        ),
    )


_ALIGNED = {
    "_median_scaled": ("median", "times the ratio of the medians of the scene"),
    "_scale_and_shift": ("least squares", "after the scale and shift of least squared error"),
}

SCORES = (
    *_scores("", "at all pixels with a true depth", headline=False),
    *_scores("_missing", "where no depth was given", headline=True),
    *(
        score
        for suffix, (_, told) in _ALIGNED.items()
        for score in (
            Score(
                f"depth_abs_rel{suffix}",
                "depth",
                f"mean of |d - t| / t, at most 1, {told}",
                higher_is_better=False,
            ),
            Score(
                f"depth_delta_1{suffix}",
                "depth",
                f"share of pixels with max(d / t, t / d) < 1.25, {told}",
                rate=True,
            ),
        )
    ),
)


def judge(case: Case, prediction: ScenePrediction) -> Judgement:
    """Score the depth of the given views of one scene."""
    if case.depth is None:
        return Judgement()
    if case.given is None:
        raise ValueError(f"case {case.name!r} asks for depth, but gives no views")
    truth = case.depth.depth.double()
    said = depth_in_given_views(prediction, case.given)
    defined = truth > 0
    regions = {"": defined, "_missing": defined & case.depth.missing}
    rows: dict[str, Row] = {}
    for suffix, region in regions.items():
        rows |= _rows(said[region], truth[region], suffix)
    for suffix, (alignment, _) in _ALIGNED.items():
        rows |= _aligned_rows(said[defined], truth[defined], alignment, suffix)
    return Judgement(rows)


def depth_in_given_views(prediction: ScenePrediction, given: Scene) -> Tensor:
    """Return the predicted depth at the pixels of the given views, ``[V, H, W]`` float64 metres.

    0 where nothing is predicted: in views that are not among the predicted ones, and outside of
    what a predicted image shows.
    """
    height, width = given.image_size
    depth = torch.zeros(given.num_views, height, width, dtype=torch.float64)
    if prediction.depth is None or prediction.intrinsics is None:
        return depth
    images = torch.from_numpy(prediction.depth).double()
    cameras = torch.from_numpy(prediction.intrinsics).double()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).double()
    for image, camera, view in zip(images, cameras, prediction.views, strict=True):
        rays = pixels @ torch.linalg.inv(given.intrinsics[view].double()).mT @ camera.mT
        column, row = (rays[..., :2] / rays[..., 2:]).round().clamp(-1, 2**31).long().unbind(-1)
        inside = (column >= 0) & (column < image.shape[1]) & (row >= 0) & (row < image.shape[0])
        depth[view][inside] = image[row[inside], column[inside]]
    return depth


def _aligned_rows(said: Tensor, truth: Tensor, alignment: str, suffix: str) -> dict[str, Row]:
    fitted = torch.from_numpy(aligned_depth(said.numpy(), truth.numpy(), alignment))
    return _relative_rows(fitted.clamp_min(0), truth, suffix)


def _relative_rows(said: Tensor, truth: Tensor, suffix: str) -> dict[str, Row]:
    count = float(truth.numel())
    relative = absolute_relative_error(said, truth).clamp_max(1.0)
    return {
        f"depth_abs_rel{suffix}": (_sum(relative), count),
        f"depth_delta_1{suffix}": (_sum(within_ratio(said, truth)), count),
    }


def _rows(said: Tensor, truth: Tensor, suffix: str) -> dict[str, Row]:
    count = float(truth.numel())
    error = torch.minimum((said - truth).abs(), truth)
    found = said > 0
    log = (said[found] / truth[found]).log().clamp(-LARGEST_LOG, LARGEST_LOG)
    return {
        **_relative_rows(said, truth, suffix),
        f"depth_rmse{suffix}": (_sum(error.square()), count),
        f"depth_silog{suffix}": (
            _sum(log.square()),
            _sum(log),
            _sum(found),
            count - _sum(found),
        ),
    }


def _sum(values: Tensor) -> float:
    """The sum, to the last bit the same for any number of threads, which those of torch are not."""
    return float(values.numpy().sum())
