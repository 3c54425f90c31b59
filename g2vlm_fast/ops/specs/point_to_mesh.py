"""Specifications of :func:`g2vlm_fast.ops.point_to_mesh` and ``mesh_to_point``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.point_to_mesh import mesh_to_point, point_to_mesh
from g2vlm_fast.ops.reference.point_to_mesh import corners_of
from g2vlm_fast.ops.specs.base import Cost, Hostile, InputFactory, Inputs, OpSpec, Tolerance
from g2vlm_fast.ops.specs.clouds import sizes_of
from g2vlm_fast.ops.specs.compare import relative_error
from g2vlm_fast.ops.specs.meshes import room_with_points, soup
from g2vlm_fast.ops.specs.points import normal_points, offsets


def _inputs(points: Tensor, vertices: Tensor, faces: Tensor, **options: Any) -> Inputs:
    return {"points": points, "vertices": vertices, "faces": faces, **options}


def _plain(generator: torch.Generator) -> Inputs:
    return _inputs(normal_points(generator, 37), *soup(generator, 24, 31))


def _ragged(generator: torch.Generator) -> Inputs:
    """Segments without points, without faces, and with neither."""
    return _inputs(
        normal_points(generator, 30),
        *soup(generator, 20, 36),
        point_offsets=offsets(5, 0, 7, 0, 17, 1),
        face_offsets=offsets(2, 9, 0, 0, 24, 1),
    )


def _on_the_surface(generator: torch.Generator) -> Inputs:
    """Points at corners and in the middle of edges of half of the faces, and others."""
    vertices = (64 * normal_points(generator, 36)).round() / 64
    faces = torch.arange(36, dtype=torch.int32).view(12, 3)
    corners = corners_of(vertices, faces)[::2]
    middles = (corners + corners.roll(1, 1)) / 2
    on = torch.cat([corners, middles]).flatten(0, 1)
    return _inputs(torch.cat([on, normal_points(generator, 9)]), vertices, faces)


def _without_area(generator: torch.Generator) -> Inputs:
    """Segments and points as triangles, by corners that are named twice or three times."""
    corners = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]])
    faces = (2 * torch.arange(3)[:, None, None] + corners).flatten(0, 1)
    return _inputs(normal_points(generator, 40), normal_points(generator, 6), faces.int())


def _slivers(generator: torch.Generator) -> Inputs:
    """Triangles a thousand times as long as wide: with two long edges, and with three."""
    along, across = normal_points(generator, 10), 1e-3 * normal_points(generator, 10)
    start = normal_points(generator, 10)
    middle = torch.linspace(0.0, 1.0, 10, dtype=torch.float64)[:, None] * along
    vertices = torch.stack([start, start + along, start + middle + across], 1)
    return _inputs(
        normal_points(generator, 40),
        vertices.flatten(0, 1),
        torch.arange(30, dtype=torch.int32).view(10, 3),
    )


def _scaled(factor: float, shift: float = 0.0) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        vertices, faces = soup(generator, 24, 31)
        points = normal_points(generator, 37)
        return _inputs(points * factor + shift, vertices * factor + shift, faces)

    return make


def _edges_only(generator: torch.Generator) -> Inputs:
    return {**_plain(generator), "min_triangle_area": 1.2}


def _bounded(generator: torch.Generator) -> Inputs:
    return {**_plain(generator), "max_distance": 0.4}


def _not_finite(generator: torch.Generator) -> Inputs:
    """A NaN and an infinity on either side, in a face of finite ones and in one alone."""
    inputs = _plain(generator)
    inputs["points"][3, 1] = torch.nan
    inputs["points"][4, 0] = torch.inf
    inputs["vertices"][2, 2] = torch.nan
    inputs["vertices"][5, 0] = -torch.inf
    return inputs


def _no_points(generator: torch.Generator) -> Inputs:
    return _inputs(normal_points(generator, 0), *soup(generator, 6, 4))


def _no_faces(generator: torch.Generator) -> Inputs:
    vertices, faces = soup(generator, 6, 4)
    return _inputs(normal_points(generator, 5), vertices, faces[:0])


def _room(batch: int, points: int, faces: int) -> InputFactory:
    def make(generator: torch.Generator) -> Inputs:
        rooms = [room_with_points(generator, points, faces) for _ in range(batch)]
        firsts = offsets(*(len(vertices) for _, vertices, _ in rooms))
        triangles = [first + each for first, (*_, each) in zip(firsts, rooms, strict=False)]
        inputs = _inputs(
            torch.cat([cloud for cloud, *_ in rooms]),
            torch.cat([vertices for _, vertices, _ in rooms]),
            torch.cat(triangles),
        )
        if batch > 1:
            inputs["point_offsets"] = offsets(*[points] * batch)
            inputs["face_offsets"] = offsets(*[faces] * batch)
        return inputs

    return make


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    sizes = sizes_of(given, ("points", "faces"), {"batch": 1})
    return _room(sizes["batch"], sizes["points"], sizes["faces"])


def _cost(searchers: str) -> Callable[[Inputs], Cost]:
    """Every coordinate and face is read, and five numbers are written for every searcher; how many
    pairs must be looked at depends on the points, so no operations are counted."""

    def cost(inputs: Inputs) -> Cost:
        read = sum(inputs[name].nbytes for name in ("points", "vertices", "faces"))
        written = inputs[searchers].shape[0] * (4 * inputs["points"].element_size() + 4)
        return Cost(read + written, 0)

    return cost


def _errors(from_mesh: bool) -> Callable[[Inputs, list[Tensor], list[Tensor]], list[float]]:
    """Distances compare as numbers; an index and a place on a triangle are as good as the distance
    to the place that they name."""

    def errors(inputs: Inputs, actual: list[Tensor], expected: list[Tensor]) -> list[float]:
        distance, best = actual[0], expected[0]
        if len(actual) == 1:  # some peers give nothing else
            return [relative_error(distance, best)]
        (index, weights), best_index = actual[1:], expected[1]
        found = index >= 0
        if index.shape != best_index.shape or not torch.equal(found, best_index >= 0):
            return [relative_error(distance, best), float("inf")]
        partner, searcher = index[found].long(), found.nonzero()[:, 0]
        point, face = (partner, searcher) if from_mesh else (searcher, partner)
        weights, missing = weights.double(), weights[~found]
        ways = corners_of(inputs["vertices"], inputs["faces"][face])
        ways = ways - inputs["points"][point][:, None]
        place = (weights[found, :, None] * ways).sum(1)
        absent = torch.where(best[~found].isnan(), torch.nan, 0.0)[:, None].expand(-1, 3)
        return [
            relative_error(distance, best),
            relative_error(place.square().sum(-1), best[found]),
            float((weights[found].sum(1) - 1).abs().amax()) if partner.numel() else 0.0,
            float("inf") if bool((weights < 0).any()) else 0.0,
            relative_error(missing, absent),
        ]

    return errors


def _flat(inputs: Inputs) -> Inputs:
    return {**inputs, "points": inputs["points"][:, :2]}


def _with_row(row: int) -> Callable[[Inputs], Inputs]:
    def change(inputs: Inputs) -> Inputs:
        faces = inputs["faces"].clone()
        faces[3, 1] = row
        return {**inputs, "faces": faces}

    return change


_HOSTILE = (
    Hostile("row past the vertices", _with_row(24), ValueError, "faces"),
    Hostile("negative row", _with_row(-1), ValueError, "faces"),
    Hostile("faces in int64", lambda i: {**i, "faces": i["faces"].long()}, TypeError, "faces"),
    Hostile("quads", lambda i: {**i, "faces": i["faces"][:, [0, 1, 2, 0]]}, ValueError, "faces"),
    Hostile("points in a plane", _flat, ValueError, "points"),
    Hostile(
        "negative area", lambda i: {**i, "min_triangle_area": -1.0}, ValueError,
        "min_triangle_area",
    ),
    Hostile(
        "NaN area", lambda i: {**i, "min_triangle_area": float("nan")}, TypeError,
        "min_triangle_area",
    ),
    Hostile("negative bound", lambda i: {**i, "max_distance": -1.0}, ValueError, "max_distance"),
    Hostile(
        "NaN bound", lambda i: {**i, "max_distance": float("nan")}, TypeError, "max_distance"
    ),
    Hostile(
        "offsets that end early",
        lambda i: {**i, "point_offsets": offsets(3), "face_offsets": offsets(31)},
        ValueError,
        "point_offsets",
    ),
    Hostile(
        "offsets that decrease",
        lambda i: {**i, "point_offsets": offsets(30, 7), "face_offsets": offsets(35, -4)},
        ValueError,
        "face_offsets",
    ),
)  # fmt: skip


def _unlike(second: str, first_offsets: str, second_offsets: str) -> tuple[Hostile, ...]:
    """Of the arguments that must be alike, it is the later one that is refused."""
    return (
        Hostile(
            "dtypes that differ", lambda i: {**i, second: i[second].float()}, TypeError, second
        ),
        Hostile(
            "offsets of one segmentation",
            lambda i: {**i, first_offsets: offsets(30, 1)},
            ValueError,
            second_offsets,
        ),
    )


_SMALL = {
    "plain": _plain,
    "ragged": _ragged,
    "on_the_surface": _on_the_surface,
    "without_area": _without_area,
    "slivers": _slivers,
    "millimetres": _scaled(1e-3),
    "kilometres": _scaled(1e3),
    "far_from_the_origin": _scaled(1.0, 100.0),
    "edges_only": _edges_only,
    "bounded": _bounded,
    "not_finite": _not_finite,
    "no_points": _no_points,
    "no_faces": _no_faces,
}


def _mesh_first(draw: InputFactory) -> InputFactory:
    """The arguments in the order of ``mesh_to_point``."""

    def make(generator: torch.Generator) -> Inputs:
        inputs = draw(generator)
        return {name: inputs.pop(name) for name in ("vertices", "faces", "points")} | inputs

    return make


def _spec(from_mesh: bool) -> OpSpec:
    op = "mesh_to_point" if from_mesh else "point_to_mesh"
    order = _mesh_first if from_mesh else lambda draw: draw
    second = "points" if from_mesh else "vertices"
    ends = ("face_offsets", "point_offsets")[:: 1 if from_mesh else -1]
    return OpSpec(
        op=op,
        kernels=("point_to_mesh", "point_to_mesh_backward"),
        function=mesh_to_point if from_mesh else point_to_mesh,
        small={name: order(draw) for name, draw in _SMALL.items()},
        timed={
            f"{op}_P100k_F200k": order(_room(1, 100_000, 200_000)),
            f"cpu_{op}_P100k_F200k": order(_room(1, 100_000, 200_000)),
        },
        shaped=lambda given: order(_shaped(given)),
        cost=_cost("faces" if from_mesh else "points"),
        suite="nearest",
        grad_inputs=("points", "vertices"),
        tolerance={
            torch.float64: Tolerance(1e-14, 1e-14),
            torch.float32: Tolerance(2e-6, 2e-6),
            torch.float16: Tolerance(2e-6, 1e-3),
            torch.bfloat16: Tolerance(2e-6, 8e-3),
        },
        half_is_upcast=True,
        smooth=("plain", "slivers", "edges_only"),
        errors=_errors(from_mesh),
        hostile=(*_HOSTILE, *_unlike(second, *ends)),
    )


SPECS = (_spec(from_mesh=False), _spec(from_mesh=True))
