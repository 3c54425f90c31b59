"""The sensor model: every statistic that its documentation states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from g2vlm_fast.data.rendering import sensor
from g2vlm_fast.data.rendering.sensor import axial_sigma, sense_depth, sense_images


def source(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def plane(metres: float, views: int = 3, side: int = 120) -> tuple[Tensor, Tensor]:
    depth = torch.full((views, side, side), metres)
    return depth, torch.ones_like(depth)


@pytest.mark.parametrize("metres", [0.5, 1.0, 2.0, 4.0, 7.5])
def test_noise_grows_with_distance_as_measured_for_the_kinect(metres: float) -> None:
    measured, sigma = sense_depth(*plane(metres), source())
    error = (measured - metres)[measured > 0]
    quantum = metres**2 / (8 * 43.5)
    expected = (axial_sigma(torch.tensor(metres)).item() ** 2 + quantum**2 / 12) ** 0.5
    assert error.std().item() == pytest.approx(expected, rel=0.05)
    assert abs(error.mean().item()) < 0.1 * expected
    assert sigma[measured > 0].mean().item() == pytest.approx(expected, rel=0.05)


def test_the_stated_sigma_covers_the_errors(generator: torch.Generator) -> None:
    depth = 0.4 + 6 * torch.rand(4, 100, 100, generator=generator).sort(-1).values
    measured, sigma = sense_depth(depth, torch.ones_like(depth), source())
    given = measured > 0
    score = ((measured - depth) / sigma)[given]
    assert score.std().item() == pytest.approx(1, abs=0.05)
    assert (score.abs() < 3).float().mean() > 0.99


def test_depth_comes_in_steps_of_an_eighth_of_a_pixel_of_disparity() -> None:
    measured, _ = sense_depth(*plane(3.0), source())
    steps = 8 * 43.5 / measured[measured > 0]
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert 3 <= len(steps.round().unique()) <= 9


def test_nothing_returns_from_too_near_or_too_far() -> None:
    for metres, returns in ((0.25, False), (0.35, True), (8.9, True), (9.2, False), (0.0, False)):
        measured, sigma = sense_depth(*plane(metres, views=1), source(3))
        assert bool((measured > 0).any()) == returns, metres
        assert ((sigma > 0) == (measured > 0)).all()


def test_half_of_the_pixels_beside_an_edge_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "_HOLE_PROBABILITY", 0.0)
    depth, cosine = plane(2.0, views=6)
    depth[:, :, 60:] = 3.0
    measured, _ = sense_depth(depth, cosine, source())
    lost = (measured == 0).float().mean((0, 1))
    assert lost[59:61].mean().item() == pytest.approx(0.5, abs=0.04)
    assert lost[:58].max() == 0
    assert lost[62:].max() == 0


def test_grazing_surfaces_do_not_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "_HOLE_PROBABILITY", 0.0)
    depth, _ = plane(2.0, views=1)
    cosine = torch.linspace(0, 1, 120).expand_as(depth)
    measured, _ = sense_depth(depth, cosine, source())
    assert torch.equal(measured > 0, cosine > 0.12)


def test_a_third_of_the_views_have_a_patch_without_returns() -> None:
    measured, _ = sense_depth(*plane(2.0, views=600, side=40), source())
    share = (measured == 0).float().mean((1, 2))
    holed = share > 0
    assert holed.float().mean().item() == pytest.approx(0.35, abs=0.06)
    assert share[holed].max() < np.pi * 0.2**2 + 0.02
    assert share[holed].mean() > 0.01


def test_a_worse_sensor_is_noisier_and_says_so() -> None:
    measured, sigma = sense_depth(*plane(2.0), source(), scale=3.0)
    error = (measured - 2.0)[measured > 0]
    assert error.std().item() == pytest.approx(3 * axial_sigma(torch.tensor(2.0)).item(), rel=0.1)
    assert sigma[measured > 0].mean().item() == pytest.approx(error.std().item(), rel=0.05)


def test_exposure_and_white_balance_differ_from_view_to_view() -> None:
    images = torch.full((800, 3, 8, 8), 0.5)
    level = sense_images(images, source()).float().mean((2, 3)) / 255 / 0.5
    exposure = level.mean(1)
    assert exposure.mean().item() == pytest.approx(1, abs=0.01)
    assert exposure.std().item() == pytest.approx(0.06, rel=0.1)
    balance = level / exposure[:, None]
    assert balance.std().item() == pytest.approx(0.015 * (2 / 3) ** 0.5, rel=0.15)


@pytest.mark.parametrize("brightness", [0.1, 0.4, 0.8])
def test_pixel_noise_grows_with_brightness(brightness: float) -> None:
    images = torch.full((6, 3, 64, 64), brightness)
    seen = sense_images(images, source()).float() / 255
    spread = (seen - seen.mean((2, 3), keepdim=True)).square().mean((2, 3)).mean().sqrt().item()
    rounding = 1 / 255 / 12**0.5
    expected = (0.008**2 + 1.6e-4 * brightness + rounding**2) ** 0.5
    assert spread == pytest.approx(expected, rel=0.05)


def test_without_noise_images_are_but_rounded() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = sense_images(images, source(), scale=0.0)
    torch.testing.assert_close(seen.float() / 255, images, atol=0.5 / 255 + 1e-6, rtol=0)


def test_bright_pixels_saturate() -> None:
    assert sense_images(torch.full((20, 3, 8, 8), 1.4), source()).min() == 255


def test_the_sensor_is_a_function_of_its_source() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for sense in (
        lambda seed: sense_images(images, source(seed)),
        lambda seed: sense_depth(*plane(2.0), source(seed))[0],
    ):
        assert torch.equal(sense(5), sense(5))
        assert not torch.equal(sense(5), sense(6))
