"""The configuration: what it refuses, what it keeps, how large the sizes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from g2vlm_fast.model import G2VLM, G2VLMConfig
from g2vlm_fast.model.layers import parameter_count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 12}, "patch_size must be a power of two"),
        ({"dim": 100}, r"dim must be a multiple of 4 \* heads"),
        ({"voxel_sizes": [0.4, 0.2]}, "voxel_sizes must be two or more"),
        ({"token_scales": 9}, "token_scales must be from 1"),
        ({"geometry_source": "all"}, "geometry_source must be"),
        ({"answer_vocabulary": ["yes"]}, "answer_vocabulary must be a list that begins"),
        ({"minimum_depth": 0.0}, "minimum_depth must be"),
    ],
)
def test_a_field_out_of_range_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        G2VLMConfig.tiny(**changes)


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = G2VLMConfig.small(answer_vocabulary=["<pad>", "<start>", "<end>", "<number>", "yes"])
    config.save_pretrained(tmp_path)
    loaded = G2VLMConfig.from_pretrained(tmp_path)
    assert {**loaded.to_dict(), "transformers_version": 0} == {
        **config.to_dict(),
        "transformers_version": 0,
    }


@pytest.mark.parametrize(
    ("size", "least", "most"),
    [("tiny", 1e6, 3e6), ("small", 5e6, 8e6), ("base", 130e6, 170e6), ("large", 0.85e9, 1.15e9)],
)
def test_sizes_are_what_their_names_promise(size: str, least: float, most: float) -> None:
    with torch.device("meta"):
        model = G2VLM(getattr(G2VLMConfig, size)())
    assert least <= parameter_count(model) <= most
    assert f"{parameter_count(model):,}" in model.summary()


def test_a_text_encoder_without_a_name_needs_a_type(make_config: Callable) -> None:
    with pytest.raises(ValueError, match="model_type"):
        G2VLM(make_config(text_encoder={"hidden_size": 32}))
