"""The frame of a scene: where it is, and which way its first view looks."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import horizontal_axes
from g2vlm_fast.model.packing import segment_ids, segment_mean
from g2vlm_fast.records import SceneBatch, _Record, record


@record
class SceneFrame(_Record):
    """Rigid frames of B scenes: x right and y forward of the first view, levelled, z up.

    The model works in these frames, so that what it finds does not depend on where the world's
    origin lies or which way its axes point, and left, right, in front and behind are coordinates.
    Products are written out element by element: positions stay float32 under autocast.
    """

    origin: Tensor  # [B, 3] float32 metres, world
    axes: Tensor  # [B, 3, 3] float32, rows are the frame's axes in the world

    def vectors_to_local(self, vectors: Tensor, offsets: Tensor) -> Tensor:
        """Rotate world vectors ``[N, 3]``, packed by ``offsets [B + 1]``, into the frames."""
        return (self.axes[segment_ids(offsets)] * vectors[:, None, :]).sum(-1)

    def vectors_to_world(self, vectors: Tensor, offsets: Tensor) -> Tensor:
        """Rotate vectors of the frames ``[N, 3]`` into the world."""
        return (self.axes[segment_ids(offsets)] * vectors[:, :, None]).sum(-2)

    def points_to_local(self, points: Tensor, offsets: Tensor) -> Tensor:
        """Map world points ``[N, 3]``, packed by ``offsets [B + 1]``, into the frames."""
        return self.vectors_to_local(points - self.origin[segment_ids(offsets)], offsets)

    def points_to_world(self, points: Tensor, offsets: Tensor) -> Tensor:
        """Map points of the frames ``[N, 3]`` into the world."""
        return self.vectors_to_world(points, offsets) + self.origin[segment_ids(offsets)]

    def rotations_to_world(self, rotations: Tensor, offsets: Tensor) -> Tensor:
        """Map rotations ``[N, 3, 3]``, something's axes to the frames, to its axes to the world."""
        axes = self.axes[segment_ids(offsets)]
        return (axes[:, :, :, None] * rotations[:, :, None, :]).sum(1)

    def localise(self, batch: SceneBatch) -> SceneBatch:
        """Return the batch with its cameras and vertices in the frames."""
        scene = segment_ids(batch.view_offsets)
        turn = (self.axes[scene][:, :, :, None] * batch.poses[:, None, :3, :3]).sum(2)
        place = self.points_to_local(batch.poses[:, :3, 3], batch.view_offsets)
        poses = batch.poses.clone()
        poses[:, :3, :3], poses[:, :3, 3] = turn, place
        changes: dict[str, Tensor] = {"poses": poses, "gravity": -torch.eye(3).to(poses)[2:]}
        changes["gravity"] = changes["gravity"].expand_as(batch.gravity)
        if batch.vertices is not None and batch.vertex_offsets is not None:
            changes["vertices"] = self.points_to_local(batch.vertices, batch.vertex_offsets)
            if batch.vertex_normals is not None:
                normals = self.vectors_to_local(batch.vertex_normals, batch.vertex_offsets)
                changes["vertex_normals"] = normals
        return dataclasses.replace(batch, **changes)


def first_view_axes(poses: Tensor, view_offsets: Tensor, gravity: Tensor) -> Tensor:
    """Return the axes ``[B, 3, 3]`` (rows right, forward, up) of each scene's first view."""
    first = poses[view_offsets[:-1].long()]
    right, forward = horizontal_axes(first, gravity)
    return torch.stack([right, forward, -gravity], dim=-2)


def scene_frame(axes: Tensor, position: Tensor, offsets: Tensor) -> SceneFrame:
    """Place each frame at the mean of its scene's points ``[N, 3]``, at the height of the lowest.

    The lowest point is the 2 % quantile of height, which a few stray points do not move.
    """
    up = axes[:, 2]
    centre = segment_mean(position, offsets)
    floors = []
    for scene, points in enumerate(position.tensor_split(offsets[1:-1].cpu().long())):
        height = (points * up[scene]).sum(-1)
        floors.append(height.quantile(0.02) if len(height) else height.new_zeros(()))
    lift = torch.stack(floors) - (centre * up).sum(-1)
    return SceneFrame(origin=centre + lift[:, None] * up, axes=axes)
