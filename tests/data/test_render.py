"""The analytic renderer against Open3D's ray caster on tessellated primitives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data import RoomConfig, generate_room
from g2vlm_fast.data.materials import Material, surface_at
from g2vlm_fast.data.primitives import Primitives, Shape
from g2vlm_fast.data.render import cast, instances, render
from g2vlm_fast.data.tessellate import tessellate
from g2vlm_fast.geometry.cameras import look_at, pixel_rays

INTRINSICS = torch.tensor([[[45.0, 0.0, 31.5], [0.0, 45.0, 23.5], [0.0, 0.0, 1.0]]])


def solids(*rows: tuple[Shape, tuple[float, ...], tuple[float, ...]]) -> Primitives:
    """Unturned primitives from (shape, center, full size)."""
    count = len(rows)
    return Primitives(
        shape=torch.tensor([shape for shape, _, _ in rows]),
        center=torch.tensor([center for _, center, _ in rows]),
        rotation=torch.eye(3).repeat(count, 1, 1),
        half_size=torch.tensor([size for _, _, size in rows]) / 2,
        color=torch.full((count, 3), 0.5),
        material=torch.full((count,), int(Material.PLAIN)),
        instance=torch.arange(count),
    )


def camera(x: float, y: float, z: float, target: tuple[float, ...] = (0.0, 0.0, 0.5)) -> Tensor:
    eye = torch.tensor([[x, y, z]], dtype=torch.float32)
    return look_at(eye, torch.tensor([target]))


def open3d_cast(primitives: Primitives, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    o3d = pytest.importorskip("open3d")
    vertices, faces, owner = tessellate(primitives, spacing=10.0, segments=256)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.numpy(), faces.numpy().astype("uint32"))
    hit = scene.cast_rays(o3d.core.Tensor(rays.numpy()))
    face = torch.from_numpy(hit["primitive_ids"].numpy().astype("int64"))
    found = face < len(faces)
    row = torch.where(found, owner[faces[face.clamp_max(len(faces) - 1), 0].long()], -1)
    normal = torch.from_numpy(hit["primitive_normals"].numpy())
    return torch.from_numpy(hit["t_hit"].numpy()), row, normal


@pytest.mark.parametrize("seed", [0, 11, 20])
def test_depth_instances_and_normals_agree_with_a_mesh_ray_caster(seed: int) -> None:
    config = RoomConfig(image_size=(96, 128), sensor_noise=False)
    scene = generate_room(seed, config)
    assert scene.truth is not None
    primitives = scene.truth.primitives
    directions = pixel_rays(scene.intrinsics, 96, 128).flatten(1, 2) @ scene.poses[:, :3, :3].mT
    origins = scene.poses[:, None, :3, 3].expand_as(directions)
    rays = torch.cat([origins, directions], -1)
    depth, row, normal = open3d_cast(primitives, rays.flatten(0, 1).contiguous())
    seen = render(primitives, scene.intrinsics, scene.poses, 96, 128)
    inner = same_row_around(row.view(seen.depth.shape))
    assert inner.float().mean() > 0.6
    error = (seen.depth - depth.view(seen.depth.shape)).abs()
    assert error[inner].max() < 1e-3
    agrees = primitives.instance[row].view(inner.shape) == seen.instance
    assert agrees[inner].all()
    flat = (primitives.shape[row] != Shape.CYLINDER).view(inner.shape) & inner
    cosine = (normal.view(*inner.shape, 3) * seen.normal.permute(0, 2, 3, 1)).sum(-1)
    assert (cosine[flat] > 0.999).float().mean() > 0.99  # edges within a solid differ
    assert (cosine[inner] > 0.95).float().mean() > 0.99


def same_row_around(row: Tensor) -> Tensor:
    """Pixels whose eight neighbours see the same primitive: away from edges."""
    windows = row.unfold(1, 3, 1).unfold(2, 3, 1).flatten(-2)
    inner = torch.zeros_like(row, dtype=torch.bool)
    inner[:, 1:-1, 1:-1] = (windows == windows[..., :1]).all(-1)
    return inner


def test_a_box_straight_ahead_has_the_depth_of_its_face() -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    seen = render(box, INTRINSICS, camera(0, -3, 0, (0.0, 0.0, 0.0)), 48, 64)
    assert seen.depth[0, 23, 31].item() == pytest.approx(2.5, abs=1e-6)
    torch.testing.assert_close(seen.normal[0, :, 23, 31], torch.tensor([0.0, -1.0, 0.0]))
    assert seen.instance[0, 23, 31].item() == 0
    assert seen.depth[0, 0, 0].item() == 0  # past the box
    assert seen.instance[0, 0, 0].item() == -1
    assert (seen.images[0, :, 0, 0] == 0).all()


def test_a_cylinder_is_nearest_on_its_axis_and_curves_away() -> None:
    pole = solids((Shape.CYLINDER, (0.0, 0.0, 0.0), (1.0, 1.0, 4.0)))
    intrinsics = INTRINSICS.clone()
    intrinsics[:, 0, 2] = 32.0
    seen = render(pole, intrinsics, camera(0, -3, 0, (0.0, 0.0, 0.0)), 48, 64)
    row = seen.depth[0, 23, 25:40]
    assert row[7].item() == pytest.approx(2.5, abs=1e-5)
    assert (row[8:].diff() > 0).all()
    torch.testing.assert_close(row, row.flip(0))


def test_a_thin_pole_keeps_its_width_in_float32() -> None:
    pole = solids((Shape.CYLINDER, (0.4, 0.7, 0.0), (0.03, 0.03, 2.0)))
    origins = torch.tensor([[0.4 + 0.9 * 0.015, -5.0, 0.1], [0.4 + 1.1 * 0.015, -5.0, 0.1]])
    distance, row = cast(pole, origins, torch.tensor([[0.0, 1.0, 0.0]] * 2))
    assert row.tolist() == [0, -1]
    assert distance[0].item() == pytest.approx(5.7 - 0.015 * (1 - 0.81) ** 0.5, abs=1e-5)


def test_the_room_is_seen_from_inside_with_normals_into_it() -> None:
    room = solids((Shape.ROOM, (0.0, 0.0, 1.25), (4.0, 5.0, 2.5)))
    pose = camera(0, 0, 1.2, (0.0, 2.0, 1.2))
    seen = render(room, INTRINSICS, pose, 48, 64)
    assert (seen.depth > 0).all()
    assert seen.depth[0, 23, 31].item() == pytest.approx(2.5, abs=1e-5)
    back = -(pixel_rays(INTRINSICS, 48, 64) @ pose[0, :3, :3].mT)
    assert ((seen.normal.permute(0, 2, 3, 1) * back).sum(-1) > 0).all()


def test_what_is_behind_the_camera_is_not_seen() -> None:
    box = solids((Shape.BOX, (0.0, -6.0, 0.5), (1.0, 1.0, 1.0)))
    seen = render(box, INTRINSICS, camera(0, -3, 0.5), 48, 64)
    assert (seen.instance == -1).all()


def test_the_nearer_of_two_solids_hides_the_other_whatever_their_order() -> None:
    near = (Shape.BOX, (0.0, -1.0, 0.5), (0.4, 0.4, 0.4))
    far = (Shape.CYLINDER, (0.0, 1.0, 0.5), (2.0, 2.0, 2.0))
    pose = camera(0, -4, 0.5)
    first = render(solids(near, far), INTRINSICS, pose, 48, 64)
    second = render(solids(far, near), INTRINSICS, pose, 48, 64)
    assert first.instance[0, 23, 31] == 0
    assert second.instance[0, 23, 31] == 1
    assert torch.equal(first.depth, second.depth)


def test_casting_single_rays_agrees_with_rendering() -> None:
    scene = generate_room(3, RoomConfig(sensor_noise=False))
    assert scene.truth is not None
    primitives = scene.truth.primitives
    seen = render(primitives, scene.intrinsics, scene.poses, 48, 64)
    rays = pixel_rays(scene.intrinsics, 48, 64).flatten(1, 2) @ scene.poses[:, :3, :3].mT
    origins = scene.poses[:, None, :3, 3].expand_as(rays)
    distance, row = cast(primitives, origins.flatten(0, 1), rays.flatten(0, 1))
    same = row == seen.primitive.flatten()
    assert same.float().mean() > 0.999
    torch.testing.assert_close(distance[same], seen.depth.flatten()[same], atol=1e-4, rtol=1e-5)


def test_rendering_views_apart_gives_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = generate_room(1, RoomConfig(sensor_noise=False))
    assert scene.truth is not None
    together = instances(scene.truth.primitives, scene.intrinsics, scene.poses, 48, 64)
    monkeypatch.setattr("g2vlm_fast.data.render._PIXELS_AT_ONCE", 48 * 64)
    apart = instances(scene.truth.primitives, scene.intrinsics, scene.poses, 48, 64)
    assert torch.equal(together, apart)


def test_lamp_light_falls_on_faces_that_turn_towards_it() -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    pose = camera(0, -3, 0, (0.0, 0.0, 0.0))
    lit = render(box, INTRINSICS, pose, 48, 64, lamp=torch.tensor([0.0, -4.0, 0.0]))
    dark = render(box, INTRINSICS, pose, 48, 64, lamp=torch.tensor([0.0, 4.0, 0.0]))
    assert lit.images[0, 0, 23, 31] > dark.images[0, 0, 23, 31] + 0.1


@pytest.mark.parametrize("material", list(Material))
def test_materials_vary_brightness_only_where_they_have_a_texture(material: Material) -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0)))
    box = Primitives(**{**vars(box), "material": torch.tensor([int(material)])})
    step = torch.linspace(-0.97, 0.97, 40)
    points = torch.cartesian_prod(torch.tensor([-1.0]), step, step)
    normal, color = surface_at(box, torch.zeros(len(points), dtype=torch.int64), points)
    torch.testing.assert_close(normal, torch.tensor([[-1.0, 0.0, 0.0]]).expand_as(normal))
    spread = (color.amax(0) - color.amin(0)).max().item()
    assert spread == 0 if material == Material.PLAIN else spread > 0.03


def test_no_solids_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one solid"):
        solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))).rows(torch.zeros(1).bool())


@pytest.mark.gpu
def test_the_gpu_renders_what_the_cpu_does() -> None:
    scene = generate_room(11, RoomConfig(sensor_noise=False))
    assert scene.truth is not None
    arguments = (scene.intrinsics, scene.poses)
    cpu = render(scene.truth.primitives, *arguments, 48, 64)
    on_gpu = [tensor.cuda() for tensor in arguments]
    gpu = render(scene.truth.primitives.to("cuda"), *on_gpu, 48, 64)
    same = cpu.primitive == gpu.primitive.cpu()
    assert same.float().mean() > 0.999
    torch.testing.assert_close(cpu.depth[same], gpu.depth.cpu()[same], atol=1e-4, rtol=1e-5)
