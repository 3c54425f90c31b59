"""Configurations check themselves and survive the way through JSON."""

from __future__ import annotations

import pytest

from g2vlm_fast.train import OptimConfig, ScheduleConfig, StageConfig, TrainConfig
from g2vlm_fast.train.schedule import learning_rate_factor, progress, stage_at


def test_json_gives_the_same_configuration_back() -> None:
    config = TrainConfig(
        name="x",
        max_seconds=3.5,
        optim=OptimConfig(lr=0.1, betas=(0.8, 0.9)),
        stages=(StageConfig("a", 0.25, {"depth": 2.0}), StageConfig("b", 0.75)),
    )
    assert TrainConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "exactly one"),
        ({"max_steps": 1, "max_seconds": 1.0}, "exactly one"),
        ({"max_steps": 0}, "max_steps must be positive"),
        ({"max_steps": 1, "stages": (StageConfig("a", 0.5),)}, "sum to 1"),
        ({"max_steps": 1, "optim": OptimConfig(accumulate=0)}, "accumulate"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(name="x", **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"name": "x", "max_steps": 1, "learning": 1}', "learning"),
        ('{"name": "x", "max_steps": 1, "optim": {"lrr": 1}}', "optim.*lrr"),
        ('{"name": "x", "max_steps": 1, "optim": 3}', "expected an object"),
    ],
)
def test_unreadable_configurations_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json(text)


def test_learning_rate_rises_then_falls_to_its_floor() -> None:
    schedule = ScheduleConfig(warmup=0.2, final=0.1)
    assert learning_rate_factor(schedule, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(schedule, 0.2) == pytest.approx(1.0)
    assert learning_rate_factor(schedule, 0.6) == pytest.approx(0.55)
    assert learning_rate_factor(schedule, 1.0) == pytest.approx(0.1)


def test_stages_end_where_their_shares_do() -> None:
    stages = (StageConfig("a", 0.25), StageConfig("b", 0.75))
    names = [stage_at(stages, used).name for used in (0.0, 0.2499, 0.25, 1.0)]
    assert names == ["a", "a", "b", "b"]


def test_progress_counts_what_the_budget_counts() -> None:
    assert progress(TrainConfig(name="x", max_steps=10), 5, 1e9) == 0.5
    assert progress(TrainConfig(name="x", max_seconds=10), 10**9, 2.5) == 0.25
