"""Specification of :func:`g2vlm_fast.ops.chamfer_distance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from g2vlm_fast.ops.chamfer import chamfer_distance
from g2vlm_fast.ops.reference import chamfer as reference
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import (
    Cloud,
    blob,
    cloud_named,
    cube,
    packed_pair,
    room,
    sizes_of,
)
from g2vlm_fast.ops.specs.points import grid_points, normal_points, offsets


def _plain(**options: Any) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        return {
            "x": normal_points(generator, 31),
            "y": normal_points(generator, 37),
            **options,
        }

    return make


def _ragged(**options: Any) -> InputFactory:
    """Weights, normals, and segments where x, y, or both are empty."""

    def make(generator: torch.Generator) -> Inputs:
        weights = torch.rand(70, generator=generator, dtype=torch.float64)
        return {
            "x": normal_points(generator, 30),
            "y": normal_points(generator, 40),
            "x_offsets": offsets(8, 0, 5, 0, 16, 1),
            "y_offsets": offsets(10, 3, 0, 0, 25, 2),
            "x_weights": weights[:30],
            "y_weights": weights[30:],
            "x_normals": normal_points(generator, 30),
            "y_normals": normal_points(generator, 40),
            **options,
        }

    return make


def _coincident(generator: torch.Generator) -> Inputs:
    """Every x is a y, so that every distance of x is 0."""
    y = grid_points(generator, 50)
    return {"x": y[::2].clone(), "y": y, "squared": False}


def _weightless(generator: torch.Generator) -> Inputs:
    inputs = _plain()(generator)
    return {**inputs, "x_weights": torch.zeros(31, dtype=torch.float64)}


def _empty(generator: torch.Generator) -> Inputs:
    return {"x": normal_points(generator, 0), "y": normal_points(generator, 5)}


def _clouds(cloud: Cloud, batch: int, points: int) -> InputFactory:
    return packed_pair(cloud, batch, points, points, ("x", "y"))


def _cost(inputs: Inputs) -> Cost:
    x, y = inputs["x"], inputs["y"]
    rows, dim = x.shape[0] + y.shape[0], x.shape[1]
    return Cost(bytes=rows * dim * x.element_size() + 4 * rows, flops=3 * dim * rows)


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    sizes = sizes_of(given, ("points", "targets"), {"batch": 1, "cloud": "room"})
    cloud = cloud_named(sizes["cloud"])
    return packed_pair(cloud, sizes["batch"], sizes["points"], sizes["targets"], ("x", "y"))


SPEC = OpSpec(
    op="chamfer",
    kernels=(
        "nearest_pair",
        "nearest_pair_backward",
        "nearest",
        "nearest_backward",
        "chamfer_loss",
        "chamfer_loss_backward",
    ),
    function=chamfer_distance,
    reference=reference.chamfer_distance,
    small={
        "plain": _plain(),
        "ragged": _ragged(),
        "unsquared": _plain(squared=False),
        "fscore": _plain(fscore_at=(0.2, 0.7, 100.0)),
        "ragged_fscore": _ragged(fscore_at=(0.3, 1.0)),
        "huber": _plain(robust="huber", scale=0.6),
        "huber_unsquared": _ragged(robust="huber", scale=0.6, squared=False),
        "geman_mcclure": _plain(robust="geman_mcclure", scale=0.6),
        "geman_mcclure_unsquared": _ragged(robust="geman_mcclure", scale=0.6, squared=False),
        "truncated": _plain(robust="truncated", scale=0.6),
        "truncated_unsquared": _ragged(robust="truncated", scale=0.6, squared=False),
        "one_sided": _ragged(one_sided=True),
        "sum": _ragged(reduction="sum"),
        "max": _ragged(reduction="max", x_normals=None, y_normals=None),
        "none": _ragged(reduction="none"),
        "one_sided_none": _ragged(one_sided=True, reduction="none"),
        "coincident": _coincident,
        "weightless": _weightless,
        "empty": _empty,
    },
    timed={
        "room_B32_N2048": _clouds(room, 32, 2048),
        "room_B8_N16384": _clouds(room, 8, 16384),
        "room_B4_N65536": _clouds(room, 4, 65536),
        "room_B1_N100000": _clouds(room, 1, 100_000),
        "room_B1_N1000000": _clouds(room, 1, 1_000_000),
        "cube_B1_N1000000": _clouds(cube, 1, 1_000_000),
        "room_B1_N4000000": _clouds(room, 1, 4_000_000),
        "blob_B1_N1000000": _clouds(blob, 1, 1_000_000),
    },
    grad_inputs=("x", "y", "x_weights", "y_weights", "x_normals", "y_normals"),
    tolerance={
        torch.float64: Tolerance(1e-13, 1e-13),
        torch.float32: Tolerance(1e-6, 2e-6),
        torch.float16: Tolerance(1e-6, 2e-3),
        torch.bfloat16: Tolerance(1e-6, 1e-2),
    },
    half_is_upcast=True,
    smooth=(
        "plain",
        "ragged",
        "unsquared",
        "huber",
        "huber_unsquared",
        "geman_mcclure_unsquared",
        "truncated_unsquared",
        "one_sided",
        "max",
        "none",
        "weightless",
    ),
    cost=_cost,
    suite="nearest",
    shaped=_shaped,
    hostile=(
        Hostile("unknown penalty", lambda i: {**i, "robust": "l1"}, ValueError, "robust"),
        Hostile("penalty without scale", lambda i: {**i, "robust": "huber"}, ValueError, "scale"),
        Hostile("scale without penalty", lambda i: {**i, "scale": 1.0}, ValueError, "scale"),
        Hostile(
            "scale of nothing",
            lambda i: {**i, "robust": "huber", "scale": 0.0},
            ValueError,
            "scale",
        ),
        Hostile(
            "scale as text", lambda i: {**i, "robust": "huber", "scale": "1"}, TypeError, "scale"
        ),
        Hostile("no radius", lambda i: {**i, "fscore_at": [None]}, TypeError, "fscore_at"),
        Hostile("one radius", lambda i: {**i, "fscore_at": 0.1}, TypeError, "fscore_at"),
        Hostile("unknown reduction", lambda i: {**i, "reduction": "no"}, ValueError, "reduction"),
        Hostile("negative radius", lambda i: {**i, "fscore_at": (-1.0,)}, ValueError, "fscore_at"),
        Hostile(
            "one-sided score",
            lambda i: {**i, "fscore_at": (1.0,), "one_sided": True},
            ValueError,
            "fscore_at",
        ),
        Hostile(
            "one cloud with normals",
            lambda i: {**i, "x_normals": i["x"]},
            ValueError,
            "y_normals",
        ),
        Hostile(
            "normals under max",
            lambda i: {**i, "x_normals": i["x"], "y_normals": i["y"], "reduction": "max"},
            ValueError,
            "reduction",
        ),
        Hostile(
            "weights of the other cloud",
            lambda i: {**i, "x_weights": i["y"][:, 0]},
            ValueError,
            "x_weights",
        ),
        Hostile(
            "offsets that end early",
            lambda i: {**i, "x_offsets": offsets(3), "y_offsets": offsets(37)},
            ValueError,
            "x_offsets",
        ),
    ),
)
