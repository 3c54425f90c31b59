"""Specification of :func:`g2vlm_fast.ops.nearest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops._dispatch import BackendError
from g2vlm_fast.ops.nearest import nearest
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import cloud_named, packed_pair, room, sizes_of
from g2vlm_fast.ops.specs.compare import relative_error
from g2vlm_fast.ops.specs.points import grid_points, normal_points, offsets


def _plain(generator: torch.Generator) -> Inputs:
    return {"query": normal_points(generator, 37), "target": normal_points(generator, 41)}


def _ragged(generator: torch.Generator) -> Inputs:
    """Segments without queries, without targets, with neither, and with fewer than k."""
    return {
        "query": normal_points(generator, 30),
        "target": normal_points(generator, 36),
        "k": 3,
        "query_offsets": offsets(5, 0, 7, 0, 17, 1),
        "target_offsets": offsets(2, 9, 0, 0, 24, 1),
    }


def _duplicates(generator: torch.Generator) -> Inputs:
    """Most distances are equal to others, in every precision."""
    return {"query": grid_points(generator, 60), "target": grid_points(generator, 90), "k": 5}


def _most(generator: torch.Generator) -> Inputs:
    """More neighbours than a sorted list is kept of, and more than there are targets."""
    return {
        "query": normal_points(generator, 9),
        "target": grid_points(generator, 300),
        "k": 400,
        "max_distance": 2.0,
    }


def _method(method: str) -> InputFactory:
    return lambda generator: {**_ragged(generator), "method": method}


def _dimension(dim: int) -> Any:
    def make(generator: torch.Generator) -> Inputs:
        return {
            "query": normal_points(generator, 21, dim),
            "target": normal_points(generator, 33, dim),
            "k": 2,
            "norm": 1 + dim % 2,
        }

    return make


def _far(generator: torch.Generator) -> Inputs:
    """A scene a kilometre from its origin, where an expanded square would be noise."""
    shift = torch.tensor([1000.0, -700.0, 5.0], dtype=torch.float64)
    return {
        "query": normal_points(generator, 25) + shift,
        "target": normal_points(generator, 40) + shift,
    }


def _bounded(generator: torch.Generator) -> Inputs:
    return {
        "query": normal_points(generator, 40),
        "target": normal_points(generator, 20),
        "k": 4,
        "max_distance": 1.0,
    }


def _not_finite(generator: torch.Generator) -> Inputs:
    query, target = normal_points(generator, 12), normal_points(generator, 15)
    query[3, 1] = torch.nan
    target[0, 0] = torch.nan
    target[7, 2] = torch.inf
    return {"query": query, "target": target, "k": 2}


def _empty(generator: torch.Generator) -> Inputs:
    return {"query": normal_points(generator, 0), "target": normal_points(generator, 4), "k": 2}


def _errors(inputs: Inputs, actual: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Distances compare as numbers; an index is as good as the distance of the pair it names."""
    distance, index = actual
    best, best_index = expected
    if index.shape != best_index.shape or not torch.equal(index < 0, best_index < 0):
        return [relative_error(distance, best), float("inf")]
    slots = index.clamp_min(0).long()
    target = inputs["target"]
    if target.shape[0] == 0:
        return [relative_error(distance, best), 0.0]
    difference = inputs["query"][:, None, :] - target[slots]
    norm = inputs.get("norm", 2)
    named = difference.square().sum(-1) if norm == 2 else difference.abs().sum(-1)
    named = torch.where(index < 0, best, named)
    return [relative_error(distance, best), relative_error(named, best)]


def _clouds(batch: int, points: int) -> InputFactory:
    return packed_pair(room, batch, points, points, ("query", "target"))


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    optional = {"batch": 1, "neighbours": 1, "cloud": "room"}
    sizes = sizes_of(given, ("queries", "targets"), optional)
    return packed_pair(
        cloud_named(sizes["cloud"]),
        sizes["batch"],
        sizes["queries"],
        sizes["targets"],
        ("query", "target"),
        k=sizes["neighbours"],
    )


def _cost(inputs: Inputs) -> Cost:
    """Every point is read, and a distance and an index are written for every slot; how many
    pairs must be looked at depends on the points, so no operations are counted."""
    query, target = inputs["query"], inputs["target"]
    slots = query.shape[0] * inputs.get("k", 1)
    return Cost(query.nbytes + target.nbytes + slots * (query.element_size() + 4), 0)


SPEC = OpSpec(
    op="nearest",
    kernels=("nearest", "nearest_backward"),
    function=nearest,
    small={
        "plain": _plain,
        "ragged": _ragged,
        "duplicates": _duplicates,
        "many_neighbours": _most,
        "brute": _method("brute"),
        "one_dimension": _dimension(1),
        "two_dimensions": _dimension(2),
        "four_dimensions": _dimension(4),
        "five_dimensions": _dimension(5),
        "far_from_the_origin": _far,
        "bounded": _bounded,
        "not_finite": _not_finite,
        "empty": _empty,
    },
    timed={
        "cpu_room_N16384": _clouds(1, 16384),
        "cpu_room_N65536": _clouds(1, 65536),
        "cpu_room_N1000000": _clouds(1, 1000000),
    },
    called={"nearest_N16": _clouds(1, 16), "nearest_N16_grad": _clouds(1, 16)},
    shaped=_shaped,
    cost=_cost,
    suite="nearest",
    grad_inputs=("query", "target"),
    tolerance={
        torch.float64: Tolerance(1e-14, 1e-14),
        torch.float32: Tolerance(5e-7, 5e-7),
        torch.float16: Tolerance(5e-7, 1e-3),
        torch.bfloat16: Tolerance(5e-7, 8e-3),
    },
    half_is_upcast=True,
    smooth=("plain", "one_dimension", "four_dimensions"),
    errors=_errors,
    hostile=(
        Hostile("no neighbours", lambda i: {**i, "k": 0}, ValueError, "k"),
        Hostile("more neighbours than int32", lambda i: {**i, "k": 2**31}, ValueError, "k"),
        Hostile("more slots than int32 counts", lambda i: {**i, "k": 2**26}, ValueError, "k"),
        Hostile("unknown method", lambda i: {**i, "method": "grid"}, ValueError, "method"),
        Hostile(
            "a tree in four dimensions",
            lambda i: {**i, **_dimension(4)(torch.Generator()), "method": "tree"},
            BackendError,
            "method",
        ),
        Hostile("unknown norm", lambda i: {**i, "norm": 3}, ValueError, "norm"),
        Hostile(
            "negative bound", lambda i: {**i, "max_distance": -1.0}, ValueError, "max_distance"
        ),
        Hostile("part of a neighbour", lambda i: {**i, "k": 1.5}, TypeError, "k"),
        Hostile("k as text", lambda i: {**i, "k": "2"}, TypeError, "k"),
        Hostile(
            "NaN bound", lambda i: {**i, "max_distance": float("nan")}, TypeError, "max_distance"
        ),
        Hostile("bound as text", lambda i: {**i, "max_distance": "1"}, TypeError, "max_distance"),
        Hostile(
            "offsets that end early",
            lambda i: {**i, "query_offsets": offsets(3), "target_offsets": offsets(41)},
            ValueError,
            "query_offsets",
        ),
        Hostile(
            "offsets that decrease",
            lambda i: {
                **i,
                "query_offsets": offsets(30, 7),
                "target_offsets": offsets(45, -4),
            },
            ValueError,
            "target_offsets",
        ),
        Hostile(
            "offsets in int64",
            lambda i: {**i, "query_offsets": offsets(37).long()},
            TypeError,
            "query_offsets",
        ),
        Hostile(
            "offsets of one segmentation",
            lambda i: {**i, "query_offsets": offsets(30, 7)},
            ValueError,
            "target_offsets",
        ),
        Hostile(
            "dimensions that differ",
            lambda i: {**i, "target": i["target"][:, :2]},
            ValueError,
            "target",
        ),
        Hostile(
            "dtypes that differ",
            lambda i: {**i, "target": i["target"].float()},
            TypeError,
            "target",
        ),
    ),
)
