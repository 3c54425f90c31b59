"""The analytic renderer against Open3D's ray caster on tessellated primitives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from g2vlm_fast.data import RoomConfig, generate_room
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.rendering.materials import Material
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.render import cast, instances, render, render_rooms
from g2vlm_fast.data.rendering.tessellate import tessellate
from g2vlm_fast.data.rooms.furniture import Part, make_furniture
from g2vlm_fast.data.rooms.turns import rotation_of
from g2vlm_fast.geometry.cameras import look_at, pixel_rays
from g2vlm_fast.ontology import CLASSES

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


def every_class(seed: int) -> Primitives:
    """A hall with a piece of every class in rows, each of another variant from seed to seed."""
    rows: list[tuple[Part, tuple[float, float], int]] = []
    side = math.ceil(math.sqrt(len(CLASSES)))
    for index, name in enumerate(CLASSES):
        piece = make_furniture(name, Draws(seed, index))
        place = (2.5 * (index % side - side / 2), 2.5 * (index // side - side / 2))
        rows += [(part, place, 90 * index + 17 * seed) for part in piece.parts]
    hall = 2.5 * side + 4
    center, rotation, size = [[0.0, 0.0, 2.0]], [rotation_of(0)], [[hall, hall, 4.0]]
    for part, (x, y), yaw in rows:
        local = torch.tensor(part.center) / 1000
        around = torch.tensor(rotation_of(yaw))
        center.append((torch.tensor([x, y, 0.01]) + around @ local).tolist())
        rotation.append(rotation_of(yaw + part.yaw, part.tilt))
        size.append([length / 1000 for length in part.size])
    return Primitives(
        shape=torch.tensor([Shape.ROOM, *(part.shape for part, _, _ in rows)]),
        center=torch.tensor(center),
        rotation=torch.tensor(rotation),
        half_size=torch.tensor(size) / 2,
        color=torch.full((len(center), 3), 0.5),
        material=torch.tensor([Material.PLAIN, *(part.material for part, _, _ in rows)]),
        instance=torch.arange(len(center)) - 1,
    )


@pytest.mark.parametrize("seed", range(2))
def test_every_class_of_furniture_agrees_with_a_mesh_ray_caster(seed: int) -> None:
    primitives = every_class(seed)
    assert set(primitives.shapes) == set(Shape)
    angle = torch.arange(4) * math.pi / 2 + 0.3
    eyes = torch.stack([7 * angle.cos(), 7 * angle.sin(), torch.full((4,), 2.6)], -1)
    poses = look_at(eyes, torch.tensor([[0.0, 0.0, 0.4]]).expand(4, 3))
    intrinsics = torch.tensor([[[150.0, 0, 95.5], [0, 150.0, 71.5], [0, 0, 1]]]).expand(4, 3, 3)
    directions = pixel_rays(intrinsics, 144, 192).flatten(1, 2) @ poses[:, :3, :3].mT
    rays = torch.cat([poses[:, None, :3, 3].expand_as(directions), directions], -1)
    depth, row, normal = open3d_cast(primitives, rays.flatten(0, 1).contiguous())
    seen = render(primitives, intrinsics, poses, 144, 192)
    depth, row = depth.view(seen.depth.shape), row.view(seen.depth.shape)
    assert (row == seen.primitive).float().mean() > 0.985  # outlines differ by parts of a pixel
    inner = same_row_around(row)
    assert inner.float().mean() > 0.4
    assert (row == seen.primitive)[inner].float().mean() > 0.9995
    agreed = inner & (row == seen.primitive)
    chord = 2e-3  # metres; circles of the mesh are polygons
    assert (seen.depth - depth).abs()[agreed].max() < chord
    cosine = (normal.view(*inner.shape, 3) * seen.normal.permute(0, 2, 3, 1)).sum(-1)
    assert (cosine[agreed] > 0.98).float().mean() > 0.99
    assert len(row.unique()) > 200


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
    monkeypatch.setattr("g2vlm_fast.data.rendering.tiles._PIXELS_ON_CPU", 48 * 64)
    monkeypatch.setattr("g2vlm_fast.data.rendering.tiles._PAIRED_PIXELS_ON_CPU", 5 * 64)
    apart = instances(scene.truth.primitives, scene.intrinsics, scene.poses, 48, 64)
    assert torch.equal(together, apart)


@pytest.mark.parametrize("size", [(24, 32), (37, 51), (128, 130), (131, 140)])
def test_tiles_at_the_border_of_an_image_are_cut_off(size: tuple[int, int]) -> None:
    primitives = solids(
        (Shape.ROOM, (0.0, 0.0, 1.25), (4.0, 5.0, 2.5)),
        (Shape.BOX, (0.5, 0.5, 0.4), (0.9, 0.7, 0.8)),
        (Shape.SPHERE, (-0.5, 0.8, 0.5), (0.6, 0.6, 0.6)),
        (Shape.CYLINDER, (0.2, -0.4, 0.6), (0.2, 0.2, 1.2)),
    )
    height, width = size
    intrinsics = torch.tensor(
        [[[0.7 * width, 0, width / 2], [0, 0.7 * width, height / 2], [0, 0, 1]]]
    )
    pose = camera(1.2, -2.0, 1.5)
    seen = render(primitives, intrinsics, pose, height, width)
    rays = pixel_rays(intrinsics, height, width).flatten(1, 2) @ pose[:, :3, :3].mT
    distance, row = cast(primitives, pose[:, :3, 3].expand(height * width, 3), rays[0])
    assert seen.depth.shape == (1, height, width)
    same = row == seen.primitive.flatten()
    assert same.float().mean() > 0.999
    torch.testing.assert_close(distance[same], seen.depth.flatten()[same], atol=1e-4, rtol=1e-5)
    assert len(row.unique()) == 4


def test_lamp_light_falls_on_faces_that_turn_towards_it() -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    pose = camera(0, -3, 0, (0.0, 0.0, 0.0))
    lit = render(box, INTRINSICS, pose, 48, 64, lamp=torch.tensor([0.0, -4.0, 0.0]))
    dark = render(box, INTRINSICS, pose, 48, 64, lamp=torch.tensor([0.0, 4.0, 0.0]))
    assert lit.images[0, 0, 23, 31] > dark.images[0, 0, 23, 31] + 0.1


def test_no_solids_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one solid"):
        solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))).rows(torch.zeros(1).bool())


def test_rooms_rendered_together_look_as_each_does_alone() -> None:
    scenes = [generate_room(seed, RoomConfig(sensor_noise=False)) for seed in (1, 3, 11)]
    solid_sets = [scene.truth.primitives for scene in scenes if scene.truth is not None]
    lamps = torch.tensor([[0.0, 0.0, 2.0], [0.5, 0.0, 2.1], [0.0, -0.5, 2.2]])
    views = torch.tensor([0, *(scene.num_views for scene in scenes)]).cumsum(0)
    together = render_rooms(
        solid_sets,
        torch.cat([scene.intrinsics for scene in scenes]),
        torch.cat([scene.poses for scene in scenes]),
        48,
        64,
        view_offsets=views,
        lamps=lamps,
    )
    for number, (scene, solid_set) in enumerate(zip(scenes, solid_sets, strict=True)):
        alone = render(solid_set, scene.intrinsics, scene.poses, 48, 64, lamp=lamps[number])
        part = slice(int(views[number]), int(views[number + 1]))
        for name in ("images", "depth", "normal", "instance", "primitive"):
            assert torch.equal(getattr(together, name)[part], getattr(alone, name)), name


@pytest.mark.parametrize("offsets", [[0, 1], [0, 2, 1], [1, 1, 1], [0, 1, 2]])
def test_offsets_that_do_not_divide_the_views_are_refused(offsets: list[int]) -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match="view_offsets must rise from 0 to 1 in 2 steps"):
        render_rooms(
            [box, box], INTRINSICS, torch.eye(4)[None], 8, 8, view_offsets=torch.tensor(offsets)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsics": INTRINSICS.double()}, "intrinsics must be torch.float32"),
        ({"poses": torch.eye(4)[None].double()}, "poses must be torch.float32"),
        ({"poses": torch.eye(4).repeat(2, 1, 1)}, r"intrinsics must be \[V, 3, 3\] with one V"),
        ({"poses": torch.eye(4)}, r"must be \[V, 3, 3\]"),
        ({"poses": torch.full((1, 4, 4), torch.nan)}, "poses must be finite, .* in view 0"),
        ({"intrinsics": INTRINSICS * torch.inf}, "intrinsics must be finite"),
        ({"height": 0}, "at least one view, row and column"),
        (
            {"poses": torch.zeros(0, 4, 4), "intrinsics": torch.zeros(0, 3, 3)},
            "at least one view, row and column",
        ),
    ],
)
def test_cameras_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    box = solids((Shape.BOX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    arguments = {"intrinsics": INTRINSICS, "poses": torch.eye(4)[None], "height": 8, "width": 8}
    with pytest.raises(ValueError, match=message):
        render(box, **{**arguments, **change})


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


@pytest.mark.gpu
def test_a_room_made_on_the_gpu_is_the_room_made_on_the_cpu() -> None:
    config = RoomConfig(sensor_noise=False)
    cpu, gpu = generate_room(11, config), generate_room(11, config, device="cuda")
    assert cpu.truth is not None
    assert gpu.truth is not None
    assert torch.equal(cpu.truth.relations, gpu.truth.relations)
    assert torch.equal(cpu.poses, gpu.poses)
    assert gpu.truth.depth.device.type == gpu.images.device.type == "cpu"
    same = cpu.truth.instance == gpu.truth.instance
    assert same.float().mean() > 0.999
    torch.testing.assert_close(cpu.truth.depth[same], gpu.truth.depth[same], atol=1e-4, rtol=1e-5)


def test_rooms_are_rendered_where_they_are_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(primitives: Primitives, *arguments: object, **named: object) -> None:
        asked.append(primitives.center.device.type)
        raise RuntimeError("no kernels on this device")

    monkeypatch.setattr("g2vlm_fast.data.rooms.generate.render", refuse)
    for device in ("meta", "cpu"):
        with pytest.raises(RuntimeError, match="no kernels"):
            generate_room(11, RoomConfig(), device=device)
    assert asked == ["meta", "cpu"]


def test_the_number_of_operations_grows_with_neither_views_nor_primitives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As every operation is a kernel launch on a GPU, where all is done at once."""
    for name in ("tiles._PIXELS_ON_CPU", "tiles._PAIRED_PIXELS_ON_CPU", "render._PIXELS_ON_CPU"):
        monkeypatch.setattr(f"g2vlm_fast.data.rendering.{name}", 2**30)
    hall = every_class(0)
    twice = torch.cat([torch.arange(len(hall)), torch.arange(1, len(hall))])
    counts = []
    for primitives in (hall, hall.rows(twice)):
        for views in (1, 6):
            eyes = (
                torch.tensor([[0.3, -6.0, 2.0]]).repeat(views, 1)
                + 0.1 * torch.arange(views)[:, None]
            )
            poses = look_at(eyes, torch.zeros(views, 3))
            with CountOperations() as counted:
                render(primitives, INTRINSICS.expand(views, 3, 3), poses, 48, 64)
            counts.append(counted.number)
    assert max(counts) - min(counts) <= 4  # some copies are spared where there is one view
    assert max(counts) < 2500


class CountOperations(TorchDispatchMode):
    """Counts what is dispatched to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.number += not func.is_view
        return func(*args, **(kwargs or {}))
