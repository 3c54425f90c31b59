"""Winding numbers by dipoles against every pair, closed forms, and hostile meshes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from g2vlm_fast.eval.metrics import winding
from g2vlm_fast.eval.metrics.mesh import winding_number
from g2vlm_fast.eval.metrics.winding import fast_winding_number

WITHIN = 0.02  # what the function promises


def sphere(rings: int, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """A closed sphere whose faces look outwards."""
    across = torch.arange(1, rings) * math.pi / rings
    around = torch.arange(2 * rings) * math.pi / rings
    latitude, longitude = torch.meshgrid(across, around, indexing="ij")
    shell = torch.stack(
        [latitude.sin() * longitude.cos(), latitude.sin() * longitude.sin(), latitude.cos()], -1
    )
    poles = torch.tensor([[0.0, 0, 1], [0, 0, -1]])
    vertices = torch.cat([shell.reshape(-1, 3), poles])
    number = torch.arange(shell.shape[0] * shell.shape[1]).view(shell.shape[:2])
    a, b = number[:-1], number[1:]
    c, d = a.roll(-1, 1), b.roll(-1, 1)
    north, south = len(vertices) - 2, len(vertices) - 1
    first, last = number[0], number[-1]
    parts = [
        torch.stack([a, b, c], -1).reshape(-1, 3),
        torch.stack([b, d, c], -1).reshape(-1, 3),
        torch.stack([torch.full_like(first, north), first, first.roll(-1)], -1),
        torch.stack([last, torch.full_like(last, south), last.roll(-1)], -1),
    ]
    return radius * vertices, torch.cat(parts)


def points_around(count: int, generator: torch.Generator) -> Tensor:
    return 3 * torch.rand(count, 3, generator=generator) - 1.5


def test_dipoles_agree_with_every_pair(generator: torch.Generator) -> None:
    vertices, faces = sphere(40)
    noisy = vertices + 0.02 * torch.randn(vertices.shape, generator=generator)
    torn = faces[torch.rand(len(faces), generator=generator) < 0.7]
    points = points_around(300, generator)
    expected = winding_number(points, noisy, torn)
    assert float((fast_winding_number(points, noisy, torn) - expected).abs().max()) < WITHIN


def test_a_closed_mesh_winds_once_around_its_inside(generator: torch.Generator) -> None:
    vertices, faces = sphere(60)
    points = points_around(500, generator)
    distance = points.norm(dim=-1)
    apart = (distance - 1).abs() > 0.02
    found = fast_winding_number(points[apart], vertices, faces)
    assert found.tolist() == pytest.approx((distance[apart] < 1).double().tolist(), abs=WITHIN)
    inside_out = fast_winding_number(points[apart], vertices, faces.flip(1))
    assert inside_out.tolist() == pytest.approx((-found).tolist(), abs=1e-9)


def test_large_triangles_among_small_ones_hide_none_of_them(generator: torch.Generator) -> None:
    vertices, faces = sphere(20, radius=0.1)
    wide = torch.tensor([[-5.0, -5, 0.3], [5, -5, 0.3], [0, 8, 0.3]])
    corners = len(vertices) + torch.tensor([[0, 1, 2]])
    both = torch.cat([vertices, wide]), torch.cat([faces, corners])
    points = points_around(200, generator)
    expected = winding_number(points, *both)
    assert float((fast_winding_number(points, *both) - expected).abs().max()) < WITHIN


def test_strips_from_floor_to_ceiling_are_seen_as_they_are(generator: torch.Generator) -> None:
    x = torch.linspace(-1, 1, 200)
    low = torch.stack([x, 0.3 * (5 * x).sin(), torch.full_like(x, -1.2)], -1)
    high = low + torch.tensor([0.0, 0, 2.4])
    first = torch.arange(199)
    faces = torch.cat(
        [
            torch.stack([first, first + 1, first + 200], -1),
            torch.stack([first + 1, first + 201, first + 200], -1),
        ]
    )
    points = points_around(200, generator)
    expected = winding_number(points, torch.cat([low, high]), faces)
    found = fast_winding_number(points, torch.cat([low, high]), faces)
    assert float((found - expected).abs().max()) < WITHIN


def test_little_memory_changes_nothing(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertices, faces = sphere(20)
    points = points_around(100, generator)
    whole = fast_winding_number(points, vertices, faces)
    monkeypatch.setattr(winding, "_PAIRS", 500)
    assert torch.allclose(fast_winding_number(points, vertices, faces), whole, atol=1e-12)


def test_nothing_winds_around_nothing() -> None:
    none, no_faces = torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
    assert fast_winding_number(torch.rand(4, 3), none, no_faces).tolist() == [0.0] * 4
    assert fast_winding_number(none, *sphere(4)).shape == (0,)
    point = torch.ones(3, 3)
    flat = fast_winding_number(torch.rand(4, 3), point, torch.tensor([[0, 1, 2], [0, 0, 0]]))
    assert flat.tolist() == [0.0] * 4


def test_a_point_on_the_mesh_has_a_finite_number() -> None:
    vertices, faces = sphere(10)
    on_it = torch.cat([vertices, vertices[faces].mean(1)])
    assert bool(torch.isfinite(fast_winding_number(on_it, vertices, faces)).all())


def test_malformed_meshes_are_refused() -> None:
    vertices, faces = sphere(4)
    with pytest.raises(ValueError, match="fast_winding_number: faces must name rows"):
        fast_winding_number(vertices, vertices, faces + 1000)
    with pytest.raises(ValueError, match="finite"):
        fast_winding_number(vertices, vertices * torch.nan, faces)
