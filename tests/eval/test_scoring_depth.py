"""Scores of depth: along the rays of the given views, where depth was given and where not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scored_rooms import room_case
from torch import Tensor

from g2vlm_fast.data import Scene
from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.metrics.depth import depth_sums
from g2vlm_fast.eval.protocol.cases import Case, DepthTruth
from g2vlm_fast.eval.scoring import score_named
from g2vlm_fast.eval.scoring.depth import LARGEST_LOG, depth_in_given_views, judge

HEIGHT, WIDTH = 6, 8


def views(count: int = 2) -> Scene:
    camera = torch.tensor([[5.0, 0, 3.5], [0, 5, 2.5], [0, 0, 1]])
    return Scene(
        name="views",
        images=torch.zeros(count, 3, HEIGHT, WIDTH, dtype=torch.uint8),
        intrinsics=camera.repeat(count, 1, 1),
        poses=torch.eye(4).repeat(count, 1, 1),
    )


def case_of(truth: Tensor, missing: Tensor | None = None) -> Case:
    missing = torch.zeros_like(truth, dtype=torch.bool) if missing is None else missing
    return Case(
        name="views", given=views(len(truth)), depth=DepthTruth(depth=truth, missing=missing)
    )


def prediction_of(depth: Tensor, given: Scene, shown: tuple[int, ...]) -> ScenePrediction:
    return ScenePrediction(
        scene="views",
        system="test",
        depth=depth.numpy(),
        intrinsics=given.intrinsics[list(shown)].numpy(),
        views=shown,
    )


def values_of(case: Case, prediction: ScenePrediction) -> dict[str, float]:
    rows = judge(case, prediction).rows
    return {name: float(score_named(name).statistic(np.array(row))) for name, row in rows.items()}


def depths(seed: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1 + 3 * torch.rand(count, HEIGHT, WIDTH, generator=generator)


def test_complete_depth_is_scored_as_the_metrics_define() -> None:
    truth = depths(0)
    truth[0, 0] = 0  # undefined
    said = truth * (0.9 + 0.3 * torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)))
    said[0, 0] = 1.0
    values = values_of(case_of(truth), prediction_of(said, views(), (0, 1)))
    expected = depth_sums(said, truth)
    assert values["depth_abs_rel"] == pytest.approx(expected.abs_rel)
    assert values["depth_delta_1"] == pytest.approx(expected.delta(1))
    assert values["depth_rmse"] == pytest.approx(expected.rmse)
    assert values["depth_silog"] == pytest.approx(expected.silog)
    assert score_named("depth_silog").items(np.array([1.0, 1.0, 40.0, 2.0])) == 42


def test_views_that_are_not_predicted_count_as_missing() -> None:
    truth = depths(0)
    values = values_of(case_of(truth), prediction_of(truth[1:], views(), (1,)))
    assert values["depth_abs_rel"] == pytest.approx(0.5)
    assert values["depth_delta_1"] == pytest.approx(0.5)
    assert values["depth_rmse"] == pytest.approx(math.sqrt(float(truth[0].square().mean()) / 2))
    assert values["depth_silog"] == pytest.approx(100 * LARGEST_LOG * math.sqrt(0.5))


def test_scores_where_no_depth_was_given_are_apart() -> None:
    truth = depths(0)
    missing = torch.zeros_like(truth, dtype=torch.bool)
    missing[0] = True
    said = truth.clone()
    said[0] *= 1.1
    values = values_of(case_of(truth, missing), prediction_of(said, views(), (0, 1)))
    assert values["depth_abs_rel_missing"] == pytest.approx(0.1, abs=1e-6)
    assert values["depth_abs_rel"] == pytest.approx(0.05, abs=1e-6)
    complete = values_of(case_of(truth), prediction_of(said, views(), (0, 1)))
    assert math.isnan(complete["depth_abs_rel_missing"])
    assert judge(case_of(truth), prediction_of(said, views(), (0, 1))).rows[
        "depth_silog_missing"
    ] == (0.0, 0.0, 0.0, 0.0)


def test_an_error_counts_at_most_as_much_as_a_missing_depth() -> None:
    truth = depths(0)
    case = case_of(truth)
    missing = values_of(case, prediction_of(torch.zeros_like(truth), views(), (0, 1)))
    for factor in (2.0, 50.0):
        said = truth.clone()
        said[0] *= factor
        said[1] /= factor
        values = values_of(case, prediction_of(said, views(), (0, 1)))
        for name, value in values.items():
            if name.startswith("depth_delta") or name.endswith("_missing"):
                continue
            assert value <= missing[name] + 1e-9, name
    assert missing["depth_abs_rel"] == 1.0
    assert missing["depth_rmse"] == pytest.approx(float(truth.double().square().mean().sqrt()))


def test_scale_is_an_error_but_not_of_silog() -> None:
    truth = depths(0)
    values = values_of(case_of(truth), prediction_of(1.5 * truth, views(), (0, 1)))
    assert values["depth_abs_rel"] == pytest.approx(0.5)
    assert values["depth_silog"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "alignment"), [("_median_scaled", "median"), ("_scale_and_shift", "least squares")]
)
def test_depth_after_an_alignment_is_scored_as_the_metrics_define(
    suffix: str, alignment: str
) -> None:
    truth = depths(0)
    truth[0, 0] = 0  # undefined
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    said = (0.4 * truth + 0.3 + noise).clamp_min(0.05)
    values = values_of(case_of(truth), prediction_of(said, views(), (0, 1)))
    expected = depth_sums(said, truth, alignment=alignment)
    assert values[f"depth_abs_rel{suffix}"] == pytest.approx(expected.abs_rel)
    assert values[f"depth_delta_1{suffix}"] == pytest.approx(expected.delta(1))
    assert values[f"depth_abs_rel{suffix}"] < values["depth_abs_rel"]


def test_one_alignment_is_fitted_to_all_views_of_a_scene() -> None:
    truth = depths(0)
    as_one = values_of(case_of(truth), prediction_of(3 * truth, views(), (0, 1)))
    assert as_one["depth_abs_rel_median_scaled"] == pytest.approx(0.0, abs=1e-6)
    assert as_one["depth_abs_rel_scale_and_shift"] == pytest.approx(0.0, abs=1e-6)
    apart = truth * torch.tensor([1.0, 3.0])[:, None, None]
    values = values_of(case_of(truth), prediction_of(apart, views(), (0, 1)))
    assert values["depth_abs_rel_median_scaled"] > 0.2


def test_an_alignment_makes_no_missing_depth_good() -> None:
    truth = depths(0)
    values = values_of(case_of(truth), prediction_of(2 * truth[1:], views(), (1,)))
    for suffix in ("_median_scaled", "_scale_and_shift"):
        assert values[f"depth_abs_rel{suffix}"] == pytest.approx(0.5, abs=1e-6)
        assert values[f"depth_delta_1{suffix}"] == pytest.approx(0.5)


def test_a_smaller_image_is_met_along_its_rays() -> None:
    given = views(1)
    half = torch.diag(torch.tensor([0.5, 0.5, 1.0]))
    shift = torch.tensor([[0.0, 0, -0.25], [0, 0, -0.25], [0, 0, 0]])  # centres at integers
    small = torch.arange(12.0).view(1, 3, 4) + 1
    prediction = dataclasses.replace(
        prediction_of(small, given, (0,)), intrinsics=(half @ given.intrinsics + shift).numpy()
    )
    expected = small.double().repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(depth_in_given_views(prediction, given), expected)


def test_what_a_predicted_image_does_not_show_is_missing() -> None:
    given = views(1)
    crop = depths(0, 1)[:, 1:4, 2:5]
    moved = given.intrinsics.clone()
    moved[:, 0, 2] -= 2
    moved[:, 1, 2] -= 1
    prediction = dataclasses.replace(prediction_of(crop, given, (0,)), intrinsics=moved.numpy())
    found = depth_in_given_views(prediction, given)
    assert torch.equal(found[:, 1:4, 2:5], crop.double())
    assert int((found > 0).sum()) == crop.numel()


def test_a_camera_beyond_reason_shows_nothing() -> None:
    given = views(1)
    prediction = dataclasses.replace(
        prediction_of(depths(0, 1), given, (0,)),
        intrinsics=np.array([[[1e-30, 0, 1e30], [0, 1e30, 0], [0, 0, 1]]], dtype=np.float32),
    )
    assert float(depth_in_given_views(prediction, given)[..., 1:, :].sum()) == 0


def test_more_wrong_pixels_never_score_better() -> None:
    case = room_case()
    assert case.depth is not None
    assert case.given is not None
    truth = case.depth.depth
    last: dict[str, float] | None = None
    for share in range(0, 11, 2):
        said = truth.clone()
        rows = truth.shape[1] * share // 10
        said[:, :rows] *= 1.4
        prediction = ScenePrediction(
            scene=case.name, system="test", depth=said.numpy(),
            intrinsics=case.given.intrinsics.numpy(), views=tuple(range(case.given.num_views)),
        )  # fmt: skip
        values = values_of(case, prediction)
        for name in values if last is not None else ():
            if "sil" not in name and "scale" not in name:  # to them a wrong scale is no error
                sign = 1 if score_named(name).higher_is_better else -1
                assert sign * (values[name] - last[name]) <= 1e-9, name
        last = values
