"""The pixel branch: given depth is honoured, missing depth is estimated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from g2vlm_fast.model import G2VLM
from g2vlm_fast.model.frames import first_view_axes
from g2vlm_fast.model.packing import segment_ids
from g2vlm_fast.model.pixel_branch import Views
from g2vlm_fast.records import SceneBatch, Targets

Rooms = tuple[SceneBatch, Targets]


def look(model: G2VLM, batch: SceneBatch) -> Views:
    axes = first_view_axes(batch.poses, batch.view_offsets, batch.gravity)
    views: Views = model.geometry_encoder.pixel_branch(batch, axes, segment_ids(batch.view_offsets))
    return views


def unruly(model: G2VLM) -> G2VLM:
    """Give a model large random weights, as the worst training could."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.mark.parametrize("stated", [True, False], ids=["stated noise", "noise of the config"])
def test_given_depth_is_kept_within_three_sigma(
    make_model: Callable[..., G2VLM], rooms: Rooms, stated: bool
) -> None:
    batch = rooms[0]
    if not stated:
        batch = dataclasses.replace(batch, depth_sigma=None)
    model = unruly(make_model(depth_noise=[0.002, 0.003, 0.5]))
    views = look(model, batch)
    sigma = batch.depth_sigma if stated else 0.002 + 0.003 * (batch.depth - 0.5).square()
    error = (views.depth - batch.depth).abs()[batch.depth > 0]
    kept = error <= 3 * torch.as_tensor(sigma)[batch.depth > 0] * (1 + 1e-5) + 1e-6
    assert kept.float().mean() >= 0.99
    assert torch.equal(views.given, batch.depth > 0)


def test_an_untrained_model_returns_given_depth_itself(model: G2VLM, rooms: Rooms) -> None:
    views = look(model, rooms[0])
    given = rooms[0].depth > 0
    assert torch.equal(views.depth[given], rooms[0].depth[given])


def test_holes_are_filled_from_the_depth_around(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    views = look(model, batch)
    hole = batch.depth == 0
    error = (views.depth - targets.depth).abs()[hole] / targets.depth[hole]
    without = look(model, dataclasses.replace(batch, depth=None, depth_sigma=None))
    blind = (without.depth - targets.depth).abs()[hole] / targets.depth[hole]
    assert error.median() < 0.5 * blind.median()


def test_estimated_depth_stays_between_the_bounds(
    make_model: Callable[..., G2VLM], rooms: Rooms
) -> None:
    model = unruly(make_model(minimum_depth=0.5, maximum_depth=8.0))
    depth = look(model, dataclasses.replace(rooms[0], depth=None, depth_sigma=None)).depth
    assert depth.min() >= 0.5 - 1e-4
    assert depth.max() <= 8.0 + 1e-3


def test_depth_that_is_not_a_number_counts_as_missing(model: G2VLM, rooms: Rooms) -> None:
    batch = rooms[0]
    depth = batch.depth.clone()
    depth[:, 20:25, 30:35] = torch.nan
    views = look(model, dataclasses.replace(batch, depth=depth))
    assert not views.given[:, 20:25, 30:35].any()
    assert views.depth.isfinite().all()
    assert views.feature.isfinite().all()


def test_untrained_normals_are_those_of_the_depth(model: G2VLM, rooms: Rooms) -> None:
    batch, targets = rooms
    exact = dataclasses.replace(batch, depth=targets.depth, depth_sigma=None)
    normal = look(model, exact).normal
    cosine = (normal * targets.normal).sum(1)
    assert cosine.median() > 0.999


def test_views_of_a_scene_see_each_other(make_model: Callable[..., G2VLM], rooms: Rooms) -> None:
    model = unruly(make_model())
    batch = rooms[0]
    images = batch.images.clone()
    images[1] = 1 - images[1]
    before, after = look(model, batch), look(model, dataclasses.replace(batch, images=images))
    changed = (before.coarse_depth - after.coarse_depth).abs().flatten(1).amax(1) > 0
    assert changed.tolist() == [True, True, True, False, False, False]
