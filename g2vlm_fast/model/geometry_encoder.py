"""The geometry encoder: views and partial geometry in, points of several scales out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.frames import SceneFrame, first_view_axes, scene_frame
from g2vlm_fast.model.heads.objects import Seeds
from g2vlm_fast.model.heads.spatial import SeedHead
from g2vlm_fast.model.lift import Points, lift
from g2vlm_fast.model.packing import interleave, segment_ids
from g2vlm_fast.model.pixel_branch import PixelBranch, Views
from g2vlm_fast.model.projection import image_features
from g2vlm_fast.model.scales import Scales, select_tokens
from g2vlm_fast.model.vertex_branch import VertexBranch
from g2vlm_fast.model.vertices import choose_vertices, vertex_graph
from g2vlm_fast.ops import pool
from g2vlm_fast.records import GeometryTokens, SceneBatch, _Record, record


@record
class Geometry(_Record):
    """What the geometry encoder knows; points are in the frames of the scenes."""

    frame: SceneFrame
    views: Views  # in the world
    viewpoint: Tensor  # [B, 3] float32 metres, where the first view of each scene stands
    vertices: GeometryTokens  # what the vertex branch worked on, before any pooling
    scales: tuple[GeometryTokens, ...]  # fine to coarse
    seeds: Seeds  # of the finest scale
    tokens: GeometryTokens  # of the coarsest scales, within the budget


class GeometryEncoder(nn.Module):
    """Pixel branch, lift, vertex branch, scales, and the choice of tokens."""

    def __init__(self, config: G2VLMConfig) -> None:
        super().__init__()
        self.config = config
        self.pixel_branch = PixelBranch(config)
        self.vertex_branch = VertexBranch(config)
        self.scales = Scales(config)
        self.seed_head = SeedHead(config)

    def forward(self, batch: SceneBatch) -> Geometry:
        config = self.config
        view_scene = segment_ids(batch.view_offsets)
        axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
        views = self.pixel_branch(batch, axes, view_scene)
        lifted = lift(batch, views, view_scene, config)
        frame = _frame(axes, lifted, batch)
        local = frame.localise(batch)
        lifted = Points(
            position=frame.points_to_local(lifted.position, lifted.offsets),
            normal=frame.vectors_to_local(lifted.normal, lifted.offsets),
            color=lifted.color,
            offsets=lifted.offsets,
        )
        points, faces = choose_vertices(local, lifted, config)
        image, seen = image_features(points.position, points.offsets, local, views, config)
        graph = vertex_graph(points.position, points.offsets, faces, config.neighbours)
        feature = self.vertex_branch(points, graph, image, seen)
        scales, clusterings = self.scales(points, feature)
        seeds = self.seed_head(scales[0], pool(points.color, clusterings[0], "mean"))
        importance = [seeds.objectness.detach()[:, None]]
        for clusters in clusterings[1:]:
            importance.append(pool(importance[-1], clusters, "max"))
        kept = slice(-config.token_scales, None)
        return Geometry(
            frame=frame,
            views=views,
            viewpoint=local.poses[batch.view_offsets[:-1].long(), :3, 3],
            vertices=GeometryTokens(
                position=points.position,
                normal=points.normal,
                feature=feature,
                scale=points.position.new_full((len(feature),), config.vertex_size),
                offsets=points.offsets,
            ),
            scales=scales,
            seeds=seeds,
            tokens=select_tokens(
                scales[kept], tuple(x[:, 0] for x in importance[kept]), config.token_budget
            ),
        )


def _frame(axes: Tensor, lifted: Points, batch: SceneBatch) -> SceneFrame:
    """Place the frames of the scenes amid all points that are known of them."""
    if batch.vertices is None or batch.vertex_offsets is None:
        return scene_frame(axes, lifted.position, lifted.offsets)
    order, offsets = interleave(lifted.offsets, batch.vertex_offsets)
    return scene_frame(axes, torch.cat([lifted.position, batch.vertices])[order], offsets)
