"""Textures: each has its look, none depends on when or where it is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from g2vlm_fast.data.rendering import textures
from g2vlm_fast.data.rendering.materials import Material, surface_at
from g2vlm_fast.data.rendering.primitives import Primitives, Shape
from g2vlm_fast.data.rendering.textures import Place

HASHES = [0.32911616563796997, 0.16396629810333252, 0.6522205471992493]
COLORED = {Material.SPINES, Material.PAINTING}


def place(count: int, generator: torch.Generator, salt: int = 3) -> Place:
    u, v, rise = 4 * torch.rand(3, count, generator=generator) - 2
    return Place(u, v, rise / 2, torch.full((count,), salt))


def boxes(*materials: Material) -> Primitives:
    count = len(materials)
    return Primitives(
        shape=torch.full((count,), int(Shape.BOX)),
        center=torch.zeros(count, 3),
        rotation=torch.eye(3).repeat(count, 1, 1),
        half_size=torch.ones(count, 3),
        color=torch.full((count, 3), 0.6),
        material=torch.tensor([int(material) for material in materials]),
        instance=torch.arange(count),
    )


def colors_on_a_face(material: Material, generator: torch.Generator) -> Tensor:
    points = 2 * torch.rand(5000, 3, generator=generator) - 1
    points[:, 0] = -1
    normal, color = surface_at(boxes(material), torch.zeros(5000, dtype=torch.int64), points)
    torch.testing.assert_close(normal, torch.tensor([[-1.0, 0.0, 0.0]]).expand_as(normal))
    return color


@pytest.mark.parametrize("material", list(Material))
def test_every_material_but_the_plain_one_varies(
    material: Material, generator: torch.Generator
) -> None:
    color = colors_on_a_face(material, generator)
    assert ((color >= 0) & (color <= 1)).all()
    spread = (color.amax(0) - color.amin(0)).max().item()
    assert spread == 0 if material == Material.PLAIN else spread > 0.03
    hue = (color.amax(1) - color.amin(1)).max().item()
    assert (hue > 0.05) == (material in COLORED)


def test_hashes_are_the_same_on_every_machine() -> None:
    lattice = torch.tensor([0.0, -3.0, 250.0])
    drawn = textures.hashed(lattice, lattice + 1, torch.tensor([0, 7, 99]))
    torch.testing.assert_close(drawn, torch.tensor(HASHES), atol=5e-5, rtol=0)


def test_hashes_are_uniform_and_unlike_between_neighbours_and_salts() -> None:
    column, row = torch.meshgrid(torch.arange(-64.0, 64), torch.arange(-64.0, 64), indexing="ij")
    salt = torch.zeros_like(column, dtype=torch.int64)
    drawn = textures.hashed(column, row, salt)
    counts = torch.histc(drawn, 16, 0, 1)
    assert ((counts - 1024).abs() < 5 * 1024**0.5).all()
    for other in (drawn.roll(1, 0), drawn.roll(1, 1), textures.hashed(column, row, salt + 1)):
        pair = torch.stack([drawn.flatten(), other.flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.04


def test_clouds_are_continuous_and_fill_their_range(generator: torch.Generator) -> None:
    here = place(20_000, generator)
    there = Place(here.u + 1e-4, here.v - 1e-4, here.rise, here.salt)
    noise, beside = (textures.clouds(at, 0.2) for at in (here, there))
    assert (noise - beside).abs().max() < 5e-3
    assert noise.min() < 0.1
    assert noise.max() > 0.9


def test_joints_cover_the_share_of_tiles_that_their_width_says(generator: torch.Generator) -> None:
    drawn = textures.tiles(place(100_000, generator))
    joint = drawn == drawn.min()
    assert joint.float().mean().item() == pytest.approx(1 - (194 / 200) ** 2, abs=0.004)


def test_bricks_are_shifted_by_half_from_course_to_course() -> None:
    u = torch.linspace(0.02, 0.22, 50)
    middle = [
        textures.bricks(Place(u, torch.full((50,), v), u, torch.zeros(50, dtype=torch.int64)))
        for v in (0.0375, 0.1125)
    ]
    assert len(middle[0].unique()) == 1  # one brick
    assert len(middle[1].unique()) == 3  # two bricks and the joint between them


def test_books_have_one_colour_a_spine_and_end_at_one_height() -> None:
    rise = torch.linspace(-1, 1, 200)
    same = torch.full((200,), 0.05)
    look = textures.spines(Place(same, same, rise, torch.zeros(200, dtype=torch.int64)))
    below, above = look[:, :1], look[:, -1:]
    assert (above < 0.3 * below).all()
    ends = (look != below).any(0).nonzero()[0]
    torch.testing.assert_close(look[:, :ends], below.expand(3, int(ends)))
    torch.testing.assert_close(look[:, ends:], above.expand(3, 200 - int(ends)))


def test_solids_of_one_material_look_alike_only_where_nothing_is_random(
    generator: torch.Generator,
) -> None:
    points = 2 * torch.rand(2000, 3, generator=generator) - 1
    points[:, 1] = 1
    for material, alike in ((Material.CHECKER, True), (Material.MARBLE, False)):
        pair = boxes(material, material)
        first, second = (surface_at(pair, torch.full((2000,), row), points)[1] for row in (0, 1))
        assert torch.equal(first, second) == alike


def test_materials_of_other_solids_change_nothing(generator: torch.Generator) -> None:
    points = 2 * torch.rand(2000, 3, generator=generator) - 1
    points[:, 2] = 1
    row = torch.randint(3, (2000,), generator=generator)
    mixed = boxes(Material.WOOD, Material.PAINTING, Material.PLAIN)
    _, together = surface_at(mixed, row, points)
    for one in range(3):
        _, alone = surface_at(mixed, row[row == one], points[row == one])
        assert torch.equal(together[row == one], alone)


@pytest.mark.gpu
@pytest.mark.parametrize("material", list(Material))
def test_the_gpu_paints_as_the_cpu_does(material: Material, generator: torch.Generator) -> None:
    points = 2 * torch.rand(20_000, 3, generator=generator) - 1
    points[:, 0] = 1
    row = torch.zeros(20_000, dtype=torch.int64)
    _, cpu = surface_at(boxes(material), row, points)
    _, gpu = surface_at(boxes(material).to("cuda"), row.cuda(), points.cuda())
    off = (gpu.cpu() - cpu).abs().amax(1) > 1e-4
    assert off.float().mean() < 1e-3  # at edges of cells
