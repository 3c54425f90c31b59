"""The formulas of the single losses."""

from __future__ import annotations

import dataclasses

import torch

from g2vlm_fast.losses import (
    alignment_loss,
    depth_loss,
    match_objects,
    reconstruction_loss,
    surface_smoothness_loss,
    text_loss,
)
from g2vlm_fast.losses.terms import segment_logsumexp
from g2vlm_fast.records import Prediction, SceneBatch, Targets


def test_depth_error_is_that_of_the_logarithm(perfect: Prediction, targets: Targets) -> None:
    scaled = dataclasses.replace(perfect, depth=targets.depth * 1.1)
    torch.testing.assert_close(
        depth_loss(scaled, targets)["depth"], torch.tensor(1.1).log(), atol=1e-5, rtol=0
    )


def test_pixels_without_true_depth_never_enter(perfect: Prediction, targets: Targets) -> None:
    depth = targets.depth.clone()
    depth[:, :5] = 0
    wrong = perfect.depth.clone()
    wrong[:, :5] = 9
    terms = depth_loss(
        dataclasses.replace(perfect, depth=wrong), dataclasses.replace(targets, depth=depth)
    )
    assert terms["depth"] < 1e-6


def test_a_slanted_plane_is_smooth_and_a_rough_one_is_not(batch: SceneBatch) -> None:
    flat = dataclasses.replace(batch, images=torch.full_like(batch.images, 0.5))
    column = torch.arange(24.0)
    depth = (1 / (0.3 + 0.01 * column)).expand(2, 16, 24)
    normal = torch.tensor([0.6, 0.0, -0.8]).view(1, 3, 1, 1).expand(2, 3, 16, 24)
    assert surface_smoothness_loss(Prediction(depth=depth, normal=normal), flat) < 1e-4
    rough = depth * (1 + 0.1 * torch.rand(2, 16, 24))
    assert surface_smoothness_loss(Prediction(depth=rough, normal=normal), flat) > 0.5


def test_an_edge_of_the_image_excuses_an_edge_of_the_surface(batch: SceneBatch) -> None:
    images = torch.zeros_like(batch.images)
    images[..., 12:] = 1
    normal = torch.zeros(2, 3, 16, 24)
    normal[:, 0, :, :12], normal[:, 1, :, 12:] = 1, 1
    prediction = Prediction(depth=torch.full((2, 16, 24), 2.0), normal=normal)
    excused = surface_smoothness_loss(prediction, dataclasses.replace(batch, images=images))
    blamed = surface_smoothness_loss(prediction, dataclasses.replace(batch, images=images * 0))
    assert excused < 1e-3 * blamed


def test_distances_beyond_the_truncation_need_only_reach_it(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    assert targets.query_distance.max() > 0.3
    assert reconstruction_loss(perfect, batch, targets)["distance"] < 1e-6


def test_points_take_the_colour_of_the_pixels_that_see_them(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    from g2vlm_fast.geometry.cameras import unproject

    points = unproject(targets.depth, batch.intrinsics, batch.poses).flatten(0, 2)
    colors = batch.images.movedim(1, -1).flatten(0, 2)
    offsets = torch.tensor([0, 16 * 24, 2 * 16 * 24], dtype=torch.int32)
    right = dataclasses.replace(perfect, points=points, point_colors=colors, point_offsets=offsets)
    assert reconstruction_loss(right, batch, targets)["color"] < 1e-6
    wrong = dataclasses.replace(right, point_colors=1 - colors)
    assert reconstruction_loss(wrong, batch, targets)["color"] > 0.2
    hidden = dataclasses.replace(wrong, points=points + 20)
    assert reconstruction_loss(hidden, batch, targets)["color"] == 0


def test_a_phrase_is_not_held_against_like_objects_of_other_scenes(
    perfect: Prediction, batch: SceneBatch, targets: Targets
) -> None:
    # text 1 refers to object 1 of class 1; objects 3 and 4 of the other scene are of class 1 too
    descriptor = perfect.descriptor.clone()
    descriptor[4:6] = perfect.text_embedding[1]
    alike = dataclasses.replace(perfect, descriptor=descriptor)
    matching = match_objects(alike, targets)
    assert alignment_loss(alike, batch, targets, matching)["phrase"] < 1e-3


def test_numbers_err_by_their_logarithm(perfect: Prediction, targets: Targets) -> None:
    def error(value: float) -> float:
        found = dataclasses.replace(
            perfect, answer_value=torch.tensor([torch.nan, torch.nan, torch.nan, value])
        )
        return float(text_loss(found, targets)["number"])

    assert error(1.5) == 0
    assert error(2.0) > 0
    assert abs(error(2.5 * 1.05 - 1) - error(2.5 / 1.05 - 1)) < 1e-6


def test_logsumexp_of_segments_is_torchs(generator: torch.Generator) -> None:
    values = 50 * torch.randn(9, generator=generator)
    segments = torch.tensor([0, 0, 0, 0, 2, 2, 2, 2, 2])
    found = segment_logsumexp(values, segments, 3)
    wanted = torch.stack(
        [values[:4].logsumexp(0), torch.tensor(-torch.inf), values[4:].logsumexp(0)]
    )
    torch.testing.assert_close(found, wanted)
