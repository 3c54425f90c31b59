"""Recipes are sound, and a whole run of the real model ends in a checkpoint that says how."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from g2vlm_fast import recipes
from g2vlm_fast.losses import LossReport
from g2vlm_fast.model import G2VLM
from g2vlm_fast.train import TrainConfig, Trainer
from g2vlm_fast.train.checkpoint import saved_states


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_a_recipe_is_named_and_survives_json(name: str) -> None:
    config = recipes.RECIPES[name]()
    assert config.name == name
    assert TrainConfig.from_json(config.to_json()) == config


def test_unknown_presets_are_refused() -> None:
    config = dataclasses.replace(recipes.tiny_test(), model={"preset": "huge"})
    with pytest.raises(ValueError, match="huge"):
        recipes.build_model(config)


@pytest.mark.slow
def test_a_run_leaves_a_checkpoint_that_says_how_it_came_to_be(tmp_path: Path) -> None:
    trained = recipes.run_recipe(recipes.tiny_test(), tmp_path, held_out_rooms=2)
    summary = json.loads((trained.checkpoint / "training.json").read_text())
    assert summary["recipe"] == "tiny_test"
    assert summary["steps"] == 4
    assert summary["rooms"] == 4
    assert summary["held_out_rooms"] == 2
    assert set(summary["better_than_chance"]) == {metric.head for metric in trained.metrics}
    assert len(summary["metrics"]) == len(trained.metrics)
    loaded = G2VLM.from_pretrained(trained.checkpoint)
    assert isinstance(loaded, G2VLM)
    assert not list(tmp_path.glob("checkpoint.*"))


class Interrupted(Exception):
    pass


@pytest.mark.slow
def test_the_real_model_resumes_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipes.tiny_test()
    checkpoint = dataclasses.replace(config.checkpoint, every_steps=1)
    config = dataclasses.replace(config, checkpoint=checkpoint)
    recipes.run_recipe(config, tmp_path / "whole", held_out_rooms=0)
    original = recipes.compute_loss
    calls = 0

    def interrupted(*arguments) -> LossReport:  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Interrupted
        return original(*arguments)

    monkeypatch.setattr(recipes, "compute_loss", interrupted)
    with pytest.raises(Interrupted):
        recipes.run_recipe(config, tmp_path / "broken", held_out_rooms=0)
    monkeypatch.setattr(recipes, "compute_loss", original)
    recipes.run_recipe(config, tmp_path / "broken", held_out_rooms=0)
    whole, broken = (
        torch.load(saved_states(tmp_path / name / "checkpoints")[-1], weights_only=True)
        for name in ("whole", "broken")
    )
    assert whole["step"] == broken["step"] == 4
    for name, value in whole["model"].items():
        assert torch.equal(value, broken["model"][name]), name


def test_a_trainer_of_the_recipe_does_not_touch_frozen_weights(tmp_path: Path) -> None:
    config = recipes.tiny_test()
    model = recipes.build_model(config)
    trainer = Trainer(config, model, lambda start: iter(()), recipes.compute_loss, tmp_path)
    assert sum(value.numel() for value in trainer.parameters.values()) < 8_000_000
