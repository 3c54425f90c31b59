"""Depth and normals, judged where the input is silent: at pixels without given depth."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.eval.metric import Definition, Sums
from g2vlm_fast.eval.metrics.pixels import absolute_relative_error, angle_degrees, within_ratio
from g2vlm_fast.eval.priors import Priors

_DEPTH_CHANCE = "the median depth of the training rooms, everywhere"
_NORMAL_CHANCE = "the best constant direction on the training rooms"

DEFINITIONS = (
    Definition(
        "depth_abs_rel_missing",
        "depth",
        _DEPTH_CHANCE,
        higher_is_better=False,
        headline=True,
    ),
    Definition("depth_delta1_missing", "depth", _DEPTH_CHANCE, rate=True),
    Definition(
        "normal_angle_missing",
        "normal",
        _NORMAL_CHANCE,
        unit="deg",
        higher_is_better=False,
        headline=True,
    ),
    Definition("normal_angle_given", "normal", _NORMAL_CHANCE, unit="deg", higher_is_better=False),
)


def judge_dense(
    depth: Tensor,
    normal: Tensor,
    given: Tensor,
    true_depth: Tensor,
    true_normal: Tensor,
    priors: Priors,
) -> dict[str, Sums]:
    """Judge the pixels of one scene.

    Args:
        depth, given, true_depth: ``[V, H, W]`` metres, 0 where missing or undefined.
        normal, true_normal: ``[V, 3, H, W]`` unit, world.
    """
    missing = (given <= 0) & (true_depth > 0)
    sums: dict[str, Sums] = {}
    ours, truth = depth[missing].double(), true_depth[missing].double()
    guess = torch.full_like(truth, priors.depth)
    filled = _nearest_given(given)[missing].double()
    known = filled > 0
    sums["depth_abs_rel_missing"] = Sums(
        _sum(absolute_relative_error(ours, truth)),
        _sum(absolute_relative_error(guess, truth)),
        {"nearest given depth": _sum(absolute_relative_error(filled, truth)[known])},
    )
    sums["depth_delta1_missing"] = Sums(
        _sum(within_ratio(ours, truth)),
        _sum(within_ratio(guess, truth)),
        {"nearest given depth": _sum(within_ratio(filled, truth)[known])},
    )
    ours, truth = normal.movedim(1, -1), true_normal.movedim(1, -1)
    has_normal = (truth != 0).any(-1)
    constant = torch.as_tensor(priors.normal)
    for name, region in (("missing", missing), ("given", given > 0)):
        scored = region & has_normal
        expected = truth[scored]
        sums[f"normal_angle_{name}"] = Sums(
            _sum(angle_degrees(ours[scored], expected)),
            _sum(angle_degrees(constant.expand(len(expected), 3), expected)),
        )
    return sums


def _sum(values: Tensor) -> tuple[float, float]:
    return float(values.double().sum()), float(values.numel())


def _nearest_given(depth: Tensor) -> Tensor:
    """Fill each view with the given depth nearest in the image; 0 where a view has none."""
    from scipy.ndimage import distance_transform_edt

    filled = torch.zeros_like(depth)
    for view, image in enumerate(depth):
        if not (image > 0).any():
            continue
        rows, columns = distance_transform_edt(
            (image <= 0).numpy(), return_distances=False, return_indices=True
        )
        filled[view] = image[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]
    return filled
