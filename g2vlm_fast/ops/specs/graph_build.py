"""Specifications of the constructors of :class:`g2vlm_fast.ops.Graph`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.graph_build import Graph
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.graphs import torus_faces

_EXACT = {torch.int32: Tolerance(0.0, 0.0)}


def _random_faces(faces: int, vertices: int, dtype: torch.dtype = torch.int32) -> InputFactory:
    """Triangles that share edges, repeat vertices and repeat themselves."""

    def make(generator: torch.Generator) -> Inputs:
        corners = torch.randint(0, max(vertices, 1), (faces, 3), generator=generator)
        return {"faces": corners.to(dtype), "num_vertices": vertices}

    return make


def _fan(spokes: int) -> InputFactory:
    """Triangles around one vertex, in random order: a row too long for one thread to sort."""

    def make(generator: torch.Generator) -> Inputs:
        rim = torch.randperm(spokes, generator=generator).int() + 1
        hub = torch.zeros(spokes, dtype=torch.int32)
        faces = torch.stack([hub, rim, rim % spokes + 1], dim=1)
        return {"faces": faces, "num_vertices": spokes + 1}

    return make


def _torus(rows: int, columns: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        return {"faces": torus_faces(rows, columns), "num_vertices": rows * columns}

    return make


def _faces_cost(inputs: Inputs) -> Cost:
    """Read the triangles; write the offsets, and for a closed mesh three edges a triangle."""
    faces = inputs["faces"]
    return Cost(faces.nbytes + 4 * (inputs["num_vertices"] + 3 * faces.shape[0]), 0)


FACES = OpSpec(
    op="graph_build",
    kernels=("faces_to_csr",),
    function=Graph.from_faces,
    small={
        "random": _random_faces(40, 17),
        "int64": _random_faces(40, 60, torch.int64),
        "torus": _torus(5, 7),
        "long_rows": _random_faces(900, 30),
        "fan": _fan(70),
        "wide_fan": _fan(3000),
        "no_faces": _random_faces(0, 5),
        "no_vertices": _random_faces(0, 0),
    },
    timed={
        "faces_to_csr_2M": _torus(1000, 1000),
        "faces_to_csr_10M": _torus(2000, 2500),
    },
    timed_dtype=torch.int32,
    grad_inputs=(),
    tolerance=_EXACT,
    traceable=False,
    cost=_faces_cost,
    suite="graph",
    hostile=(
        Hostile("floats", lambda i: {**i, "faces": i["faces"].float()}, TypeError, "faces"),
        Hostile("quads", lambda i: {**i, "faces": i["faces"].repeat(1, 2)}, ValueError, "faces"),
        Hostile("index too large", lambda i: {**i, "num_vertices": 3}, ValueError, "faces"),
        Hostile("negative index", lambda i: {**i, "faces": i["faces"] - 1}, ValueError, "faces"),
        Hostile(
            "index beyond int32",
            lambda i: {**i, "faces": i["faces"].long() + 2**32},
            ValueError,
            "faces",
        ),
        Hostile(
            "no number of vertices",
            lambda i: {**i, "num_vertices": None},
            TypeError,
            "num_vertices",
        ),
        Hostile(
            "negative number of vertices",
            lambda i: {**i, "num_vertices": -1},
            ValueError,
            "num_vertices",
        ),
    ),
)


def _edges(coalesce: bool, edges: int = 90, dtype: torch.dtype = torch.int32) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        def ends(count: int) -> Tensor:
            return torch.randint(0, count, (edges,), generator=generator).to(dtype)

        return {
            "source": ends(13),
            "destination": ends(11),
            "num_vertices": 11,
            "num_sources": 13,
            "coalesce": coalesce,
        }

    return make


def _spoiled(argument: str, change: Any) -> Any:
    return lambda inputs: {**inputs, argument: change(inputs[argument])}


EDGES = OpSpec(
    op="graph_from_edges",
    kernels=("edges_to_csr",),
    function=Graph.from_edges,
    small={
        "coalesced": _edges(True),
        "as_given": _edges(False),
        "int64": _edges(True, dtype=torch.int64),
        "long_rows": _edges(False, 5000),
        "no_edges": _edges(True, 0),
    },
    timed={},
    grad_inputs=(),
    tolerance=_EXACT,
    traceable=False,
    hostile=(
        Hostile("negative source", _spoiled("source", lambda t: t - 1), ValueError, "source"),
        Hostile(
            "large destination",
            _spoiled("destination", lambda t: t + 5),
            ValueError,
            "destination",
        ),
        Hostile(
            "lengths that differ",
            _spoiled("destination", lambda t: t[:-1]),
            ValueError,
            "destination",
        ),
        Hostile("floats", _spoiled("source", lambda t: t.float()), TypeError, "source"),
        Hostile(
            "dtypes that differ",
            _spoiled("destination", lambda t: t.long()),
            TypeError,
            "destination",
        ),
    ),
)

SPECS = (FACES, EDGES)
