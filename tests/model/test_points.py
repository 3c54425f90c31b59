"""From pixels to points: the lift, z-tested projection, vertices and their graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from g2vlm_fast.model import G2VLM
from g2vlm_fast.model.frames import first_view_axes
from g2vlm_fast.model.lift import Points, lift
from g2vlm_fast.model.packing import segment_ids
from g2vlm_fast.model.pixel_branch import Views
from g2vlm_fast.model.projection import image_features
from g2vlm_fast.model.scales import select_tokens
from g2vlm_fast.model.vertices import choose_vertices, thin, vertex_graph, vertex_normals
from g2vlm_fast.records import GeometryTokens, SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]


def lifted(model: G2VLM, batch: SceneBatch) -> tuple[Views, Points]:
    scene = segment_ids(batch.view_offsets)
    axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
    views = model.geometry_encoder.pixel_branch(batch, axes, scene)
    return views, lift(batch, views, scene, model.config)


def exact(rooms: Rooms) -> SceneBatch:
    batch, targets = rooms
    return dataclasses.replace(batch, depth=targets.depth, depth_sigma=None)


def test_lifted_points_lie_on_the_surface(model: G2VLM, rooms: Rooms) -> None:
    _, points = lifted(model, exact(rooms))
    wall = torch.tensor([2.0, 2.5, 1.25])
    away = points.position - torch.tensor([0.0, 0.0, 1.25])
    at_wall = (wall - away.abs()).abs().amin(-1) < 0.02
    assert (away.abs() <= wall + 0.02).all()
    on_box = torch.zeros_like(at_wall)
    _, targets = rooms
    for center, size in zip(targets.box_center, targets.box_size, strict=True):
        gap = ((points.position - center).abs() - size / 2).amax(-1)
        on_box |= gap.abs() < 0.02
    assert (at_wall | on_box).float().mean() > 0.99


def test_no_point_is_lifted_from_an_edge(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    smooth = torch.full_like(targets.depth, 2.0)
    smooth[:, :, 34:] = 4.0
    flat = dataclasses.replace(batch, depth=smooth, depth_sigma=None)
    _, points = lifted(model, flat)
    # the cell that is sampled at column 34 stands beside the step
    assert len(points.position) == 6 * 12 * 15


def test_a_point_takes_the_features_of_the_views_that_see_it_and_of_no_other(
    model: G2VLM, rooms: Rooms
) -> None:
    batch = exact(rooms)
    views, points = lifted(model, batch)
    feature, seen = image_features(points.position, points.offsets, batch, views, model.config)
    assert (seen > 0).float().mean() > 0.99
    assert feature.isfinite().all()
    behind = dataclasses.replace(points, position=points.position * 3)
    feature, seen = image_features(behind.position, behind.offsets, batch, views, model.config)
    far = (behind.position.abs() > torch.tensor([2.5, 3.0, 3.0])).any(-1)
    assert far.any()
    assert not seen[far].any()
    assert not feature[far].any()


def test_image_features_are_interpolated_between_cells(model: G2VLM, rooms: Rooms) -> None:
    batch = exact(rooms)
    views, _ = lifted(model, batch)
    columns = torch.arange(16.0).view(1, 1, 1, 16).expand(6, 1, 12, 16)
    ramp = dataclasses.replace(views, feature=columns)
    one_view = dataclasses.replace(
        batch, images=batch.images[:1], depth=batch.depth[:1], poses=batch.poses[:1],
        intrinsics=batch.intrinsics[:1], view_offsets=torch.tensor([0, 1]).int(),
    )  # fmt: skip
    rows, column = torch.tensor([20.0, 30.0]), torch.tensor([21.5, 40.0])
    ray = torch.stack([(column - 31.5) / 45, (rows - 23.5) / 45, torch.ones(2)], dim=-1)
    depth = batch.depth[0, rows.long(), column.round().long()]
    camera = ray * depth[:, None]
    world = camera @ batch.poses[0, :3, :3].T + batch.poses[0, :3, 3]
    feature, seen = image_features(world, torch.tensor([0, 2]).int(), one_view, ramp, model.config)
    wanted = (column + 0.5) / 4 - 0.5
    torch.testing.assert_close(feature[seen > 0.1, 0], wanted[seen > 0.1], atol=1e-3, rtol=0)
    assert (seen > 0.1).any()


def test_normals_of_a_mesh_point_out_of_it(make_rooms: Callable[..., Rooms]) -> None:
    batch, targets = make_rooms(mesh=True)
    normals = vertex_normals(batch.vertices, batch.faces)
    corner = batch.vertices - targets.box_center.repeat_interleave(8, dim=0)
    cosine = torch.cosine_similarity(normals, corner)
    assert (cosine.abs() > 0.5).all()


def test_given_vertices_keep_the_edges_of_their_mesh(
    model: G2VLM, make_rooms: Callable[..., Rooms]
) -> None:
    batch, _ = make_rooms(mesh=True)
    _, points = lifted(model, batch)
    chosen, faces = choose_vertices(batch, points, model.config)
    corners = chosen.position[faces]
    assert torch.equal(corners, batch.vertices[batch.faces.long()])
    graph = vertex_graph(chosen.position, chosen.offsets, faces, neighbours=4)
    degree = graph.row_offsets.diff()
    meshed = torch.zeros(len(degree), dtype=torch.bool)
    meshed[faces.flatten()] = True
    assert (degree[~meshed] == 4).all()
    assert (degree[meshed] >= 3).all()
    columns = graph.columns[meshed[graph.edge_rows().long()]]
    assert meshed[columns.long()].all()


def test_too_many_vertices_are_thinned_to_the_budget(
    model: G2VLM, make_rooms: Callable[..., Rooms], make_config: Callable
) -> None:
    batch, _ = make_rooms()
    _, points = lifted(model, batch)
    chosen, faces = choose_vertices(batch, points, make_config(vertex_budget=50))
    assert chosen.offsets.diff().tolist() == [50, 50]
    assert faces is None
    thinned = thin(points, 0.5)
    assert 0 < len(thinned.position) < len(points.position) / 3


def test_coarse_tokens_come_first_then_important_ones() -> None:
    def tokens(scale: float, sizes: list[int]) -> GeometryTokens:
        count = sum(sizes)
        return GeometryTokens(
            position=torch.zeros(count, 3), normal=torch.zeros(count, 3),
            feature=torch.arange(float(count))[:, None], scale=torch.full((count,), scale),
            offsets=torch.tensor([0, *sizes]).cumsum(0).int(),
        )  # fmt: skip

    fine, coarse = tokens(0.2, [4, 3]), tokens(0.8, [2, 1])
    importance = (torch.tensor([0.0, 3, 1, 2, 9, 8, 7]), torch.tensor([-9.0, -8, -7]))
    chosen = select_tokens((fine, coarse), importance, budget=4)
    assert chosen.offsets.tolist() == [0, 4, 8]
    assert chosen.feature[:, 0].tolist() == [1, 0, 1, 3, 2, 4, 5, 6]
    assert chosen.scale[:2].tolist() == [coarse.scale[0]] * 2
