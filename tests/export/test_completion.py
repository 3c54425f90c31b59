"""Predicted surface is drawn in hidden space, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from g2vlm_fast.export.completion import complete_hidden, join, observe
from g2vlm_fast.export.mesh import ColoredMesh

_INTRINSICS = torch.tensor([[[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]]])
_POSES = torch.eye(4)[None]
_WALL = torch.full((1, 48, 64), 2.0)  # at z = 2, seen along z
_BOUNDS = (torch.tensor([-1.0, -1.0, 1.0]), torch.tensor([1.0, 1.0, 4.0]))
_REFERENCE = (np.array([[0, 0, 2]], np.float32), np.array([[0.1, 0.2, 0.3]], np.float32))


def _sphere(center: tuple[float, float, float], radius: float):  # type: ignore[no-untyped-def]
    def field(points: Tensor) -> Tensor:
        return (points - torch.tensor(center)).norm(dim=-1) - radius

    return field


def _complete(field) -> ColoredMesh:  # type: ignore[no-untyped-def]
    return complete_hidden(
        field, _WALL, _INTRINSICS, _POSES, _BOUNDS, truncation=0.3, reference=_REFERENCE
    )


def test_points_are_in_front_at_or_behind_what_was_measured() -> None:
    points = torch.tensor([[0, 0, 1.0], [0, 0, 1.95], [0, 0, 2.05], [0, 0, 3.0], [50.0, 0, 3.0]])
    seen = observe(points, _WALL, _INTRINSICS, _POSES, truncation=0.1)
    assert seen.hidden.tolist() == [False, False, False, True, False]
    assert torch.allclose(seen.distance[:3], torch.tensor([0.1, 0.05, -0.05]), atol=1e-5)
    assert seen.distance[3:].isnan().all()


def test_free_space_of_one_view_outvotes_another() -> None:
    """What one view sees through is not hidden, though it lies behind a surface in another."""
    poses = torch.eye(4).repeat(2, 1, 1)
    depth = torch.cat([_WALL, torch.full((1, 48, 64), 6.0)])
    seen = observe(
        torch.tensor([[0.0, 0.0, 3.0]]), depth, _INTRINSICS.repeat(2, 1, 1), poses, truncation=0.1
    )
    assert not seen.hidden[0]


def test_hidden_sphere_is_drawn_where_it_is() -> None:
    mesh = _complete(_sphere((0, 0, 3.0), 0.4))
    assert len(mesh.faces) > 100
    radius = np.linalg.norm(mesh.vertices - [0, 0, 3], axis=1)
    assert abs(radius - 0.4).max() < 0.03
    outward = ((mesh.vertices - [0, 0, 3]) * mesh.normals).sum(axis=1)
    assert (outward > 0).all()
    corners = mesh.vertices[mesh.faces] - np.array([0, 0, 3], dtype=np.float32)
    winding = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fi,fi->f", corners.mean(axis=1), winding) > 0).all()
    assert np.allclose(mesh.colors, [0.1, 0.2, 0.3])


def test_surface_in_front_of_what_was_measured_is_never_drawn() -> None:
    assert _complete(_sphere((0, 0, 1.5), 0.3)).is_empty


def test_field_without_a_zero_adds_nothing() -> None:
    for value in (-1.0, 1.0):
        assert _complete(lambda points, v=value: torch.full((len(points),), v)).is_empty


def test_joined_mesh_keeps_both_parts() -> None:
    first, second = _complete(_sphere((0, 0, 3.0), 0.4)), _complete(_sphere((0.3, 0, 3.2), 0.2))
    both = join(first, second)
    assert np.array_equal(both.faces[: len(first.faces)], first.faces)
    moved = both.vertices[both.faces[len(first.faces) :]]
    assert np.array_equal(moved, second.vertices[second.faces])
