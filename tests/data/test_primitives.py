"""Solids one by one: closed-form distances, intersections, normals and surfaces of each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data.rendering.intersect import NO_HIT, first_hit
from g2vlm_fast.data.rendering.materials import Material, normals_at
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.render import cast, render
from g2vlm_fast.data.rendering.sampling import sample_surface
from g2vlm_fast.data.rendering.tessellate import tessellate
from g2vlm_fast.data.rooms.turns import rotation_of
from g2vlm_fast.geometry.cameras import look_at, unproject

INTRINSICS = torch.tensor([[[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]]])
SOLID = (Shape.BOX, Shape.CYLINDER, Shape.SPHERE)


def solid(shape: Shape, size: tuple[float, float, float], yaw: int = 0, tilt: int = 0,
          center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Primitives:  # fmt: skip
    return Primitives(
        shape=torch.tensor([int(shape)]),
        center=torch.tensor([center]),
        rotation=torch.tensor([rotation_of(yaw, tilt)], dtype=torch.float32),
        half_size=torch.tensor([size]) / 2,
        color=torch.full((1, 3), 0.5),
        material=torch.tensor([int(Material.PLAIN)]),
        instance=torch.tensor([0]),
    )


def turned(shape: Shape) -> Primitives:
    size = (0.8, 0.8, 0.8) if shape == Shape.SPHERE else (0.8, 0.8, 1.4)
    return solid(shape, size, yaw=37, tilt=-62, center=(0.3, -0.2, 0.5))


def is_inside(primitives: Primitives, points: Tensor) -> Tensor:
    """By the definition of each solid, without distances."""
    local = (points - primitives.center[0]) @ primitives.rotation[0]
    half_size = primitives.half_size[0]
    shape = primitives.shapes[0]
    if shape == Shape.SPHERE:
        return local.norm(dim=-1) < half_size[0]
    if shape == Shape.CYLINDER:
        return (local[:, :2].norm(dim=-1) < half_size[0]) & (local[:, 2].abs() < half_size[2])
    return (local.abs() < half_size).all(-1)


def test_a_sphere_has_closed_form_distances() -> None:
    ball = solid(Shape.SPHERE, (2.0, 2.0, 2.0), center=(1.0, 0.0, 0.0))
    points = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 3.0, 4.0], [1.0, 0.0, 0.75]])
    torch.testing.assert_close(ball.signed_distance(points), torch.tensor([2.0, -1.0, 4.0, -0.25]))


@pytest.mark.parametrize("shape", SOLID)
def test_the_sign_of_the_distance_tells_inside_from_outside(
    shape: Shape, generator: torch.Generator
) -> None:
    primitives = turned(shape)
    points = 2 * torch.rand(5000, 3, generator=generator) - 1 + primitives.center
    inside = is_inside(primitives, points)
    assert 0.02 < inside.float().mean() < 0.5
    assert torch.equal(primitives.signed_distance(points) < 0, inside)


@pytest.mark.parametrize("shape", SOLID)
def test_distances_are_those_to_the_nearest_of_many_surface_points(
    shape: Shape, generator: torch.Generator
) -> None:
    primitives = turned(shape)
    surface, _, _ = sample_surface(primitives, 40_000, generator)
    points = 3 * torch.rand(400, 3, generator=generator) - 1.5 + primitives.center
    nearest = torch.cdist(points, surface).amin(1)
    distance = primitives.signed_distance(points).abs()
    assert (distance <= nearest + 1e-5).all()
    torch.testing.assert_close(distance, nearest, atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", SOLID)
def test_rays_end_where_marching_along_the_distance_ends(
    shape: Shape, generator: torch.Generator
) -> None:
    primitives = turned(shape).double()
    origins = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    origins = primitives.center + 3 * torch.nn.functional.normalize(origins, dim=-1)
    aim = primitives.center + 0.6 * torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    reach = torch.zeros(3000, dtype=torch.float64)
    for _ in range(4000):
        step = primitives.signed_distance(origins + reach[:, None] * directions)
        reach = reach + step
        if ((step < 1e-9) | (reach > 8)).all():
            break
    marched = reach < 8
    distance, row = cast(primitives, origins, directions)
    assert torch.equal(row >= 0, marched)
    assert 0.2 < marched.double().mean() < 0.95
    torch.testing.assert_close(distance[marched], reach[marched], atol=1e-6, rtol=0)


def test_a_sphere_is_hit_at_its_near_side_only_and_not_from_behind_or_inside() -> None:
    radius = torch.full((3, 1), 1.0)
    along = torch.tensor([[0.0], [2.0], [0.0]])
    before = torch.tensor([[0.0], [-3.0], [0.0]])
    assert first_hit(Shape.SPHERE, before, along, radius).item() == pytest.approx(1.0)
    for start in ((0.0, 3.0, 0.0), (0.0, 0.0, 0.0), (1.0001, -3.0, 0.0)):
        elsewhere = torch.tensor(start)[:, None]
        assert first_hit(Shape.SPHERE, elsewhere, along, radius).item() >= NO_HIT
    distance, row = cast(solid(Shape.SPHERE, (2.0, 2.0, 2.0)), elsewhere.mT, along.mT)
    assert (distance.item(), row.item()) == (torch.inf, -1)


def test_rays_along_walls_and_axes_meet_what_lies_in_their_way() -> None:
    down = torch.tensor([[0.0, 0.0, -1.0]])
    for shape in SOLID:
        column = solid(shape, (2.0, 2.0, 2.0))
        for x, y, expected in ((0.0, 0.0, 4.0), (1.5, 0.0, torch.inf), (0.0, -1.5, torch.inf),
                               (1.5, 1.5, torch.inf), (-1.5, 0.0, torch.inf)):  # fmt: skip
            distance, _ = cast(column, torch.tensor([[x, y, 5.0]]), down)
            assert distance.item() == pytest.approx(expected, abs=1e-5), (shape, x, y)
        up, _ = cast(column, torch.tensor([[0.0, 0.0, 5.0]]), -down)
        assert up.item() == torch.inf


def test_a_ray_in_the_plane_of_a_wall_is_not_a_number_nowhere() -> None:
    box = solid(Shape.BOX, (2.0, 2.0, 2.0))
    distance, row = cast(box, torch.tensor([[1.0, 0.0, 5.0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    assert not distance.isnan().any()
    assert (row.item() == -1) == (distance.item() == torch.inf)


def test_a_small_far_sphere_keeps_its_outline_in_float32() -> None:
    ball = solid(Shape.SPHERE, (0.04, 0.04, 0.04), center=(0.0, 8.0, 0.0))
    origins = torch.tensor([[0.9 * 0.02, 0.0, 0.0], [1.1 * 0.02, 0.0, 0.0]])
    distance, row = cast(ball, origins, torch.tensor([[0.0, 1.0, 0.0]] * 2))
    assert row.tolist() == [0, -1]
    assert distance[0].item() == pytest.approx(8 - 0.02 * math.sqrt(1 - 0.81), abs=1e-5)


def test_the_outline_of_a_sphere_is_the_circle_of_its_tangent_cone() -> None:
    ball = solid(Shape.SPHERE, (1.0, 1.0, 1.0))
    eye = torch.tensor([[0.0, -2.0, 0.0]])
    seen = render(ball, INTRINSICS, look_at(eye, torch.zeros(1, 3)), 48, 64)
    column, row = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy")
    radius = ((column - 31.5) ** 2 + (row - 23.5) ** 2).sqrt()
    tangent = 60 * math.tan(math.asin(0.5 / 2.0))
    assert torch.equal(seen.instance[0] == 0, radius < tangent)


@pytest.mark.parametrize("shape", SOLID)
def test_normals_are_the_gradient_of_the_distance(shape: Shape, generator: torch.Generator) -> None:
    primitives = turned(shape).double()
    points, normals, _ = sample_surface(turned(shape), 2000, generator)
    points = points.double()
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    ahead = primitives.signed_distance((points[:, None] + step).flatten(0, 1)).view(-1, 3)
    behind = primitives.signed_distance((points[:, None] - step).flatten(0, 1)).view(-1, 3)
    gradient = torch.nn.functional.normalize(ahead - behind, dim=-1)
    agrees = (gradient * normals).sum(-1) > 0.9999
    assert agrees.float().mean() > 0.995  # edges have none
    torch.testing.assert_close(
        normals_at(turned(shape), torch.zeros(2000, dtype=torch.int64), points.float()), normals
    )


def test_surface_samples_of_a_sphere_are_uniform(generator: torch.Generator) -> None:
    points, _, _ = sample_surface(solid(Shape.SPHERE, (2.0, 2.0, 2.0)), 20_000, generator)
    for axis in range(3):
        height = points[:, axis].sort().values
        uniform = torch.linspace(-1, 1, 20_000)
        assert (height - uniform).abs().max() < 0.04


@pytest.mark.parametrize("shape", [*SOLID, Shape.ROOM])
def test_meshes_of_solids_are_closed_and_wind_around_the_solid(shape: Shape) -> None:
    primitives = solid(shape, (1.0, 1.0, 1.0), yaw=20, tilt=70)
    vertices, faces, _ = tessellate(primitives, spacing=0.3, segments=32)
    _, merged = torch.unique(vertices, dim=0, return_inverse=True)
    faces = merged[faces.long()]
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(torch.unique(directed, dim=0)) == len(directed)
    backward = {tuple(edge) for edge in directed.flip(1).tolist()}
    assert backward == {tuple(edge) for edge in directed.tolist()}
    corner = torch.unique(vertices, dim=0)[faces].double()
    volume = (corner[:, 0] * torch.linalg.cross(corner[:, 1], corner[:, 2])).sum() / 6
    expected = {
        Shape.BOX: 1.0, Shape.ROOM: -1.0, Shape.CYLINDER: math.pi / 4, Shape.SPHERE: math.pi / 6,
    }[shape]  # fmt: skip
    assert volume.item() == pytest.approx(expected, rel=0.02)


def test_vertices_of_a_sphere_lie_on_it() -> None:
    ball = solid(Shape.SPHERE, (1.6, 1.6, 1.6), center=(3.0, 2.0, 1.0))
    vertices, faces, owner = tessellate(ball, segments=24)
    torch.testing.assert_close(
        (vertices - ball.center).norm(dim=-1), torch.full((len(vertices),), 0.8)
    )
    assert (owner == 0).all()
    assert len(faces) == 2 * 24 * 12 - 2 * 24


def test_depth_of_a_sphere_unprojects_onto_it() -> None:
    ball = solid(Shape.SPHERE, (1.0, 1.0, 1.0), center=(0.2, 0.1, 0.0))
    pose = look_at(torch.tensor([[1.5, -1.5, 1.0]]), torch.zeros(1, 3))
    seen = render(ball, INTRINSICS, pose, 48, 64)
    points = unproject(seen.depth, INTRINSICS, pose)[seen.depth > 0]
    assert len(points) > 300
    assert ball.signed_distance(points).abs().max() < 1e-5
