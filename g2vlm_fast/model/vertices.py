"""The vertices of a batch: given geometry where there is some, lifted points elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.lift import Points
from g2vlm_fast.model.packing import interleave, lengths, offsets_of_ids, segment_ids
from g2vlm_fast.ops import Graph, nearest, pool, voxel_clusters
from g2vlm_fast.records import SceneBatch


def choose_vertices(
    batch: SceneBatch, lifted: Points, config: G2VLMConfig
) -> tuple[Points, Tensor | None]:
    """Choose the points that the vertex branch works on.

    ``config.geometry_source`` says which: ``"dense"`` the lifted points, all of them; ``"sparse"``
    the given vertices, and lifted points thinned by a voxel grid in scenes where none are given;
    ``"both"`` the given vertices and the thinned lifted points together. A scene with more given
    vertices than the budget has them thinned as well, and loses its mesh.

    Returns:
        The points, and the faces of the given mesh among them ``[F, 3]`` int64, or None where
        there is no mesh.
    """
    if config.geometry_source == "dense":
        return _within_budget(lifted, config.vertex_budget), None
    thinned = _within_budget(thin(lifted, config.vertex_size), config.vertex_budget)
    if batch.vertices is None or batch.vertex_offsets is None:
        return thinned, None
    given = given_points(batch)
    count = lengths(given.offsets)
    faces = None
    if bool((count > config.vertex_budget).any()):
        given = _within_budget(thin(given, config.vertex_size), config.vertex_budget)
    elif batch.faces is not None:
        faces = batch.faces.long()
    if config.geometry_source == "sparse":
        thinned = _select(thinned, (count == 0)[segment_ids(thinned.offsets)])
    order, offsets = interleave(given.offsets, thinned.offsets)
    joined = Points(
        position=torch.cat([given.position, thinned.position])[order],
        normal=torch.cat([given.normal, thinned.normal])[order],
        color=torch.cat([given.color, thinned.color])[order],
        offsets=offsets,
    )
    return joined, None if faces is None else order.argsort()[faces]


def given_points(batch: SceneBatch) -> Points:
    """Return the given vertices; without colours they are grey, without normals those of faces."""
    assert batch.vertices is not None
    assert batch.vertex_offsets is not None
    normals = batch.vertex_normals
    if normals is None:
        normals = vertex_normals(batch.vertices, batch.faces)
    colors = batch.vertex_colors
    if colors is None:
        colors = torch.full_like(batch.vertices, 0.5)
    return Points(
        position=batch.vertices, normal=normals, color=colors, offsets=batch.vertex_offsets
    )


def vertex_normals(vertices: Tensor, faces: Tensor | None) -> Tensor:
    """Return the area-weighted mean of the normals of each vertex's faces, 0 without a face."""
    normals = torch.zeros_like(vertices)
    if faces is None:
        return normals
    corners = vertices[faces.long()]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = faces.long().flatten()
    return F.normalize(normals.index_add(0, index, normal.repeat_interleave(3, dim=0)), dim=-1)


def thin(points: Points, size: float) -> Points:
    """Replace the points of each voxel by one that has their mean position, normal and colour."""
    clusters = voxel_clusters(points.position, size, points.offsets)
    return Points(
        position=clusters.position,
        normal=F.normalize(pool(points.normal, clusters, "mean"), dim=-1),
        color=pool(points.color, clusters, "mean"),
        offsets=clusters.offsets,
    )


def vertex_graph(position: Tensor, offsets: Tensor, faces: Tensor | None, neighbours: int) -> Graph:
    """Connect points: along the edges of faces ``[F, 3]``, else to their nearest neighbours."""
    mesh = None if faces is None else Graph.from_faces(faces, len(position))
    lonely = None if mesh is None else mesh.row_offsets.diff() == 0
    if mesh is not None and lonely is not None and not bool(lonely.any()):
        return mesh
    _, index = nearest(
        position, position, k=neighbours + 1, query_offsets=offsets, target_offsets=offsets
    )
    itself = torch.arange(len(position), device=position.device, dtype=torch.int32)
    index = torch.where(index == itself[:, None], -1, index)
    if mesh is None or lonely is None:
        return Graph.from_knn(index)
    found = (index >= 0) & lonely[:, None]
    return Graph.from_edges(
        torch.cat([mesh.columns, index[found]]),
        torch.cat([mesh.edge_rows(), itself[:, None].expand_as(index)[found]]),
        len(position),
    )


def _within_budget(points: Points, budget: int) -> Points:
    """Keep at most ``budget`` points of each scene, evenly spread over their order."""
    count = lengths(points.offsets)
    scene = segment_ids(points.offsets)
    place = torch.arange(len(scene), device=scene.device) - points.offsets.long()[scene]
    chosen = count.clamp_max(budget)[scene]
    keep = (place + 1) * chosen // count[scene] > place * chosen // count[scene]
    return _select(points, keep)


def _select(points: Points, keep: Tensor) -> Points:
    scene = segment_ids(points.offsets)[keep]
    return Points(
        position=points.position[keep],
        normal=points.normal[keep],
        color=points.color[keep],
        offsets=offsets_of_ids(scene, len(points.offsets) - 1),
    )
