"""Specifications of voxel pooling and of the ways back."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import values
from g2vlm_fast.ops.specs.points import offsets
from g2vlm_fast.ops.voxel_pool import interpolate, pool, unpool, voxel_clusters

_REDUCE = ("graph_reduce", "graph_reduce_backward", "graph_transpose")
_TOLERANCE = {
    torch.float64: Tolerance(1e-14, 1e-14),
    torch.float32: Tolerance(2e-6, 2e-6),
    torch.float16: Tolerance(6e-4, 1e-3),
    torch.bfloat16: Tolerance(4e-3, 8e-3),
}


def voxel_pool(
    x: Tensor,
    position: Tensor,
    size: float,
    offsets: Tensor | None = None,
    reduce: str = "mean",
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool features from scratch; return also the clusters' positions and assignment."""
    clusters = voxel_clusters(position, size, offsets)
    return pool(x, clusters, reduce), clusters.position, clusters.assignment


def _points(count: int, channels: int, reduce: str, *lengths: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        return {
            "x": values(generator, count, channels),
            "position": values(generator, count, 3),
            "size": 0.7,
            "offsets": offsets(*lengths) if lengths else None,
            "reduce": reduce,
        }

    return make


def _on_the_grid(generator: torch.Generator) -> Inputs:
    """Points on the faces of voxels, on both sides of the origin."""
    position = torch.randint(-4, 5, (60, 3), generator=generator).double() / 2
    return {"x": values(generator, 60, 4), "position": position, "size": 0.5}


def _far(generator: torch.Generator) -> Inputs:
    position = values(generator, 50, 3) + torch.tensor([3e5, -2e5, 1e4], dtype=torch.float64)
    return {"x": values(generator, 50, 4), "position": position, "size": 1.0}


def _shell(count: int, channels: int, size: float) -> InputFactory:
    """Points on the walls of an 8 x 6 x 3 m room, in scan order."""

    def make(generator: torch.Generator) -> Inputs:
        extent = torch.tensor([8.0, 6.0, 3.0])
        place = torch.rand(count, 3, generator=generator)
        axis = torch.arange(count) * 3 // count
        place[torch.arange(count), axis] = place[torch.arange(count), axis].round()
        return {
            "x": torch.randn(count, channels, generator=generator),
            "position": place * extent,
            "size": size,
        }

    return make


def _pool_cost(inputs: Inputs) -> Cost:
    x, position = inputs["x"], inputs["position"]
    return Cost(x.nbytes + position.nbytes + 8 * x.shape[0], x.numel())


POOL = OpSpec(
    op="voxel_pool",
    kernels=(*_REDUCE, "voxel_clusters"),
    function=voxel_pool,
    small={
        "mean": _points(80, 6, "mean"),
        "max": _points(80, 8, "max"),
        "ragged": _points(80, 3, "sum", 20, 0, 35, 0, 25),
        "on_the_grid": _on_the_grid,
        "far_from_the_origin": _far,
        "empty": _points(0, 3, "mean"),
        "empty_segments": _points(0, 3, "mean", 0, 0),
    },
    timed={"voxel_pool_1M": _shell(1_000_000, 128, 0.05)},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x", "position"),
    tolerance=_TOLERANCE,
    float32_inputs=("position",),
    smooth=("mean", "max", "ragged"),
    traceable=False,
    cost=_pool_cost,
    suite="graph",
    hostile=(
        Hostile("no size", lambda i: {**i, "size": 0.0}, ValueError, "size"),
        Hostile("NaN size", lambda i: {**i, "size": float("nan")}, TypeError, "size"),
        Hostile("size as text", lambda i: {**i, "size": "0.1"}, TypeError, "size"),
        Hostile("too many voxels", lambda i: {**i, "size": 1e-9}, ValueError, "size"),
        Hostile(
            "no position", lambda i: {**i, "position": i["position"] / 0}, ValueError, "position"
        ),
        Hostile(
            "offsets that end early", lambda i: {**i, "offsets": offsets(79)}, ValueError, "offsets"
        ),
    ),
)


def _clustered(count: int, channels: int, size: float) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        position = _shell(count, 1, size)(generator)["position"]
        clusters = voxel_clusters(position, size)
        x = torch.randn(clusters.num_clusters, channels, generator=generator)
        return {"x": x, "clusters": clusters}

    return make


def _unpool_cost(inputs: Inputs) -> Cost:
    x, points = inputs["x"], inputs["clusters"].assignment.shape[0]
    return Cost(x.nbytes + points * (x.shape[1] * x.element_size() + 4), 0)


UNPOOL = OpSpec(
    op="unpool",
    kernels=_REDUCE,
    function=unpool,
    small={"points": _clustered(70, 5, 1.5), "vectors": _clustered(70, 16, 1.5)},
    timed={"unpool_1M": _clustered(1_000_000, 128, 0.05)},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x",),
    tolerance=_TOLERANCE,
    cost=_unpool_cost,
    suite="graph",
    hostile=(
        Hostile("no clusters", lambda i: {**i, "clusters": i["x"]}, TypeError, "clusters"),
        Hostile("a row too few", lambda i: {**i, "x": i["x"][:-1]}, ValueError, "x"),
    ),
)


def _interpolated(channels: int, k: int, *, ragged: bool = False) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        return {
            "x": values(generator, 25, channels),
            "position_coarse": values(generator, 25, 3),
            "position_fine": values(generator, 40, 3),
            "offsets_coarse": offsets(10, 2, 0, 13) if ragged else None,
            "offsets_fine": offsets(20, 8, 4, 8) if ragged else None,
            "k": k,
        }

    return make


def _coincident(generator: torch.Generator) -> Inputs:
    """Every fine point lies on a coarse one, whose features it takes."""
    inputs = _interpolated(4, 3)(generator)
    return {**inputs, "position_fine": inputs["position_coarse"][:20].clone()}


def _from_clusters(count: int, channels: int, size: float) -> InputFactory:
    """Features of voxels back at the points that they hold."""

    def make(generator: torch.Generator) -> Inputs:
        position = _shell(count, 1, size)(generator)["position"]
        coarse = voxel_clusters(position, size).position
        return {
            "x": torch.randn(coarse.shape[0], channels, generator=generator),
            "position_coarse": coarse,
            "position_fine": position,
        }

    return make


def _interpolate_cost(inputs: Inputs) -> Cost:
    """Features and positions once, and the sums; the search for neighbours comes on top."""
    x, fine, k = inputs["x"], inputs["position_fine"], inputs.get("k", 3)
    moved = x.nbytes + fine.nbytes + inputs["position_coarse"].nbytes
    out = fine.shape[0] * x.shape[1]
    return Cost(moved + out * x.element_size(), 2 * k * out)


INTERPOLATE = OpSpec(
    op="interpolate",
    kernels=(*_REDUCE, "nearest", "nearest_backward"),
    function=interpolate,
    small={
        "three": _interpolated(6, 3),
        "ragged": _interpolated(8, 3, ragged=True),
        "two": _interpolated(3, 2),
        "coincident": _coincident,
    },
    timed={"interpolate_1M": _from_clusters(1_000_000, 128, 0.05)},
    timed_dtype=torch.bfloat16,
    grad_inputs=("x", "position_coarse", "position_fine"),
    tolerance={
        **_TOLERANCE,
        torch.float64: Tolerance(1e-13, 1e-12),
        torch.float32: Tolerance(2e-6, 5e-5),
    },
    float32_inputs=("position_coarse", "position_fine"),
    smooth=("three", "ragged"),
    cost=_interpolate_cost,
    suite="graph",
    hostile=(
        Hostile("no eps", lambda i: {**i, "eps": 0.0}, ValueError, "eps"),
        Hostile("no neighbours", lambda i: {**i, "k": 0}, ValueError, "k"),
        Hostile("a row too few", lambda i: {**i, "x": i["x"][:-1]}, ValueError, "position_coarse"),
    ),
)

SPECS = (POOL, UNPOOL, INTERPOLATE)
