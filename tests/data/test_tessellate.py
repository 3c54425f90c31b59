"""Meshes with texture coordinates: charts apart, areas kept, every point found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from g2vlm_fast.data import RoomConfig, generate_room
from g2vlm_fast.data.rendering.atlas import pack
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.tessellate import TexturedMesh, tessellate, textured_mesh


@pytest.fixture(scope="module")
def solids() -> Primitives:
    """One of each shape, turned, and the solids of a generated room."""
    scene = generate_room(3, RoomConfig(sensor_noise=False))
    assert scene.truth is not None
    room = scene.truth.primitives
    count = 2
    more = Primitives(
        shape=torch.tensor([Shape.SPHERE, Shape.CYLINDER]),
        center=torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]]),
        rotation=room.rotation[-1:].expand(count, 3, 3),
        half_size=torch.tensor([[0.3, 0.3, 0.3], [0.1, 0.1, 0.5]]),
        color=torch.zeros(count, 3),
        material=torch.zeros(count, dtype=torch.int64),
        instance=torch.zeros(count, dtype=torch.int64),
    )
    return Primitives(
        **{
            name: torch.cat([getattr(room, name), getattr(more, name)])
            for name in Primitives.__dataclass_fields__
        }
    )


@pytest.fixture(scope="module")
def mesh(solids: Primitives) -> TexturedMesh:
    return textured_mesh(solids, spacing=0.5, segments=16, margin=0.02)


def areas(mesh: TexturedMesh) -> tuple[Tensor, Tensor]:
    """Area of every face in space, and signed area in the texture, both in square metres."""
    a, b, c = mesh.vertices.double()[mesh.faces.long()].unbind(1)
    space = torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2
    a, b, c = (mesh.extent * mesh.uv.double())[mesh.faces.long()].unbind(1)
    (x, y), (z, w) = (b - a).unbind(-1), (c - a).unbind(-1)
    return space, (x * w - y * z) / 2


def test_a_textured_mesh_is_the_mesh_with_coordinates(
    solids: Primitives, mesh: TexturedMesh
) -> None:
    vertices, faces, owner = tessellate(solids, spacing=0.5, segments=16)
    assert torch.equal(mesh.vertices, vertices)
    assert torch.equal(mesh.faces, faces)
    assert torch.equal(mesh.primitive, owner)
    assert mesh.uv.shape == (len(vertices), 2)
    assert ((mesh.uv >= 0) & (mesh.uv <= 1)).all()


def test_areas_in_the_texture_are_those_in_space(solids: Primitives, mesh: TexturedMesh) -> None:
    space, texture = areas(mesh)
    assert (texture > 0).all()  # nothing is mirrored
    on_sphere = (solids.shape[mesh.primitive] == Shape.SPHERE)[mesh.faces[:, 0].long()]
    assert 0 < on_sphere.sum() < len(on_sphere)
    ratio = texture / space
    torch.testing.assert_close(
        ratio[~on_sphere], torch.ones_like(ratio[~on_sphere]), atol=2e-3, rtol=0
    )
    assert ratio[on_sphere].min() > 1 / 2.2
    assert ratio[on_sphere].max() < 2.2


def test_charts_do_not_overlap(mesh: TexturedMesh) -> None:
    """Texels inside two faces would lie in two places of the room at once."""
    size = 1500
    hits = np.zeros((size, size), dtype=np.int32)
    corners = (size * mesh.uv.double().numpy())[mesh.faces.numpy()]
    for corner in corners:
        low = np.maximum(np.floor(corner.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(corner.max(0)).astype(int) + 1, size)
        x, y = np.meshgrid(*(np.arange(low[k], high[k]) + 0.5 for k in range(2)))
        inside = np.ones(x.shape, dtype=bool)
        for start, end in ((0, 1), (1, 2), (2, 0)):
            edge = corner[end] - corner[start]
            across = edge[0] * (y - corner[start][1]) - edge[1] * (x - corner[start][0])
            inside &= across > 1e-6 * size
        hits[low[1] : high[1], low[0] : high[0]] += inside
    assert hits.max() == 1
    assert (hits == 1).mean() > 0.6  # and the texture is not wasted


def test_charts_keep_their_margin(mesh: TexturedMesh) -> None:
    """Vertices of different charts lie further apart than the margin, up to rounding."""
    parents = torch.arange(len(mesh.vertices))
    for _ in range(64):
        lowest = parents[mesh.faces.long()].amin(1)
        before = parents.clone()
        parents.scatter_reduce_(0, mesh.faces.long().flatten(), lowest.repeat_interleave(3), "amin")
        if torch.equal(before, parents):
            break
    flat = mesh.extent * mesh.uv.double()
    assert flat.min() >= 0.02 - 1e-5
    assert flat.max() <= mesh.extent - 0.02 + 1e-5
    charts = [flat[parents == chart] for chart in parents.unique()]
    low = torch.stack([chart.amin(0) for chart in charts])
    high = torch.stack([chart.amax(0) for chart in charts])
    apart = (low[:, None] - high[None]).amax(-1)
    apart = torch.maximum(apart, apart.T)
    apart.fill_diagonal_(1)
    assert apart.min() >= 0.02 - 1e-5


def test_flat_faces_are_laid_flat_without_stretching(mesh: TexturedMesh) -> None:
    edges = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]]]).long()
    straight = mesh.vertices.double()[edges].diff(dim=1).norm(dim=-1)
    laid = (mesh.extent * mesh.uv.double())[edges].diff(dim=1).norm(dim=-1)
    same = (laid - straight).abs() < 1e-4
    assert same.double().mean() > 0.75  # all but those on spheres


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 9), st.floats(1e-3, 9)), min_size=1, max_size=60),
    st.floats(0, 0.2),
)
def test_packed_rectangles_lie_in_the_square_and_apart(
    sizes: list[tuple[float, float]], margin: float
) -> None:
    given_sizes = np.array(sizes)
    places, turned, side = pack(given_sizes, margin)
    laid = np.where(turned[:, None], given_sizes[:, ::-1], given_sizes)
    low, high = places, places + laid
    assert (low >= margin - 1e-9).all()
    assert (high <= side - margin + 1e-9).all()
    for index in range(len(sizes)):
        apart = np.maximum(low - high[index], low[index] - high).max(1)
        apart[index] = np.inf
        assert (apart >= margin - 1e-9).all()


def test_impossible_meshes_are_refused(solids: Primitives) -> None:
    with pytest.raises(ValueError, match="margin must be >= 0"):
        textured_mesh(solids, margin=-1.0)
    with pytest.raises(ValueError, match="spacing must be > 0"):
        textured_mesh(solids, spacing=0.0)
    with pytest.raises(ValueError, match="at least one rectangle"):
        pack(np.zeros((0, 2)), 0.1)
