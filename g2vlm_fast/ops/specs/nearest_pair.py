"""Specification of :func:`g2vlm_fast.ops.nearest_pair`."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.nearest_pair import nearest_pair
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import packed_pair, room
from g2vlm_fast.ops.specs.compare import relative_error
from g2vlm_fast.ops.specs.points import grid_points, normal_points, offsets


def _plain(generator: torch.Generator) -> Inputs:
    return {"x": normal_points(generator, 37), "y": normal_points(generator, 41)}


def _ragged(generator: torch.Generator) -> Inputs:
    """Segments without x, without y, and with neither."""
    return {
        "x": normal_points(generator, 30),
        "y": normal_points(generator, 36),
        "x_offsets": offsets(5, 0, 7, 0, 17, 1),
        "y_offsets": offsets(2, 9, 0, 0, 24, 1),
    }


def _duplicates(generator: torch.Generator) -> Inputs:
    """Most distances are equal to others, in every precision."""
    return {"x": grid_points(generator, 60), "y": grid_points(generator, 90)}


def _two_dimensions(generator: torch.Generator) -> Inputs:
    return {"x": normal_points(generator, 21, 2), "y": normal_points(generator, 33, 2)}


def _not_finite(generator: torch.Generator) -> Inputs:
    x, y = normal_points(generator, 12), normal_points(generator, 15)
    x[3, 1] = torch.nan
    y[0, 0] = torch.nan
    y[7, 2] = torch.inf
    return {"x": x, "y": y}


def _empty(generator: torch.Generator) -> Inputs:
    return {"x": normal_points(generator, 0), "y": normal_points(generator, 4)}


def _brute_force(batch: int, points: int) -> InputFactory:
    return packed_pair(room, batch, points, points, ("x", "y"), method="brute")


def _cost(inputs: Inputs) -> Cost:
    """Every point is read, and a distance and an index are written for it."""
    x, y = inputs["x"], inputs["y"]
    return Cost(x.nbytes + y.nbytes + (x.shape[0] + y.shape[0]) * (x.element_size() + 4), 0)


def _errors(inputs: Inputs, actual: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Distances compare as numbers; an index is as good as the distance of the pair it names."""
    errors = []
    clouds = (inputs["x"], inputs["y"])
    for side in range(2):
        distance, index = actual[2 * side : 2 * side + 2]
        best, best_index = expected[2 * side : 2 * side + 2]
        errors.append(relative_error(distance, best))
        if index.shape != best_index.shape or not torch.equal(index < 0, best_index < 0):
            errors.append(float("inf"))
            continue
        found = index >= 0
        difference = clouds[side][found] - clouds[1 - side][index[found].long()]
        errors.append(relative_error(difference.square().sum(-1), best[found]))
    return errors


SPEC = OpSpec(
    op="nearest_pair",
    kernels=("nearest_pair", "nearest_pair_backward"),
    function=nearest_pair,
    small={
        "plain": _plain,
        "ragged": _ragged,
        "duplicates": _duplicates,
        "two_dimensions": _two_dimensions,
        "not_finite": _not_finite,
        "empty": _empty,
    },
    timed={
        "brute_B8_N16384": _brute_force(8, 16384),
        "brute_B1_N65536": _brute_force(1, 65536),
    },
    cost=_cost,
    suite="nearest",
    grad_inputs=("x", "y"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-14),
        torch.float32: Tolerance(5e-7, 5e-7),
        torch.float16: Tolerance(5e-7, 1e-3),
        torch.bfloat16: Tolerance(5e-7, 8e-3),
    },
    half_is_upcast=True,
    smooth=("plain", "two_dimensions"),
    errors=_errors,
    hostile=(
        Hostile(
            "offsets that end early",
            lambda i: {**i, "x_offsets": offsets(3), "y_offsets": offsets(41)},
            ValueError,
            "x_offsets",
        ),
        Hostile(
            "offsets of one segmentation",
            lambda i: {**i, "x_offsets": offsets(30, 7)},
            ValueError,
            "y_offsets",
        ),
        Hostile("dimensions that differ", lambda i: {**i, "y": i["y"][:, :2]}, ValueError, "y"),
        Hostile("unknown method", lambda i: {**i, "method": "grid"}, ValueError, "method"),
        Hostile("dtypes that differ", lambda i: {**i, "y": i["y"].float()}, TypeError, "y"),
    ),
)
