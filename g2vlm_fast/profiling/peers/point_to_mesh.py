"""Other distances between points and meshes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Inputs
from g2vlm_fast.profiling.providers import Function, NotOffered, Provider


def _one_mesh(inputs: Inputs, *, areas: bool = False) -> None:
    """Raise NotOffered for what only this package has."""
    if inputs.get("point_offsets") is not None:
        raise NotOffered("it is set up here for one cloud and one mesh")
    if inputs.get("max_distance") is not None:
        raise NotOffered("it has no largest distance")
    if inputs.get("min_triangle_area", 0.0) != 0.0 and not areas:
        raise NotOffered("it has no least area")
    if inputs["points"].shape[0] == 0 or inputs["faces"].shape[0] == 0:
        raise NotOffered("it wants at least one point and one face")
    if not (inputs["points"].isfinite().all() and inputs["vertices"].isfinite().all()):
        raise NotOffered("it takes finite coordinates only")


def _open3d(inputs: Inputs) -> Function:
    """Builds its tree and searches it in every call."""
    from open3d import core
    from open3d.t.geometry import RaycastingScene

    _one_mesh(inputs)

    def point_to_mesh(
        points: Tensor, vertices: Tensor, faces: Tensor, **_: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        scene = RaycastingScene(nthreads=torch.get_num_threads())
        rows = core.Tensor.from_numpy(faces.numpy().astype("uint32"))
        scene.add_triangles(core.Tensor.from_numpy(vertices.numpy()), rows)
        found = scene.compute_closest_points(core.Tensor.from_numpy(points.numpy()))
        place = torch.from_numpy(found["points"].numpy())
        rest = torch.from_numpy(found["primitive_uvs"].numpy())
        index = torch.from_numpy(found["primitive_ids"].numpy().astype("int32"))
        weights = torch.cat([1 - rest.sum(1, keepdim=True), rest], 1)
        return (place - points).square().sum(1), index, weights.clamp_min(0)

    return point_to_mesh


def _pytorch3d(from_mesh: bool) -> Any:
    def adapter(inputs: Inputs) -> Function:
        from pytorch3d.loss import point_mesh_distance as peer

        _one_mesh(inputs, areas=True)
        first = torch.zeros(1, dtype=torch.int64, device=inputs["points"].device)
        search = peer.face_point_distance if from_mesh else peer.point_face_distance
        count = inputs["faces" if from_mesh else "points"].shape[0]

        def function(
            points: Tensor,
            vertices: Tensor,
            faces: Tensor,
            min_triangle_area: float = 0.0,
            **_: Any,
        ) -> Tensor:
            corners = vertices[faces.long()]
            found: Tensor = search(points, first, corners, first, count, min_triangle_area)
            return found

        return function

    return adapter


def _kaolin(inputs: Inputs) -> Function:
    from kaolin.metrics.trianglemesh import point_to_mesh_distance

    _one_mesh(inputs)

    def point_to_mesh(points: Tensor, vertices: Tensor, faces: Tensor, **_: Any) -> Tensor:
        distance, *_rest = point_to_mesh_distance(points[None], vertices[faces.long()][None])
        result: Tensor = distance[0]
        return result

    return point_to_mesh


PEERS = (
    Provider("Open3D", {"point_to_mesh": _open3d}, ("open3d",), ("cpu",), differentiable=False),
    Provider(
        "PyTorch3D",
        {"point_to_mesh": _pytorch3d(False), "mesh_to_point": _pytorch3d(True)},
        ("pytorch3d",),
    ),
    Provider("Kaolin", {"point_to_mesh": _kaolin}, ("kaolin",), devices=("cuda",)),
)
