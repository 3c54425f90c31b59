"""Positions in float64 and in fixed point: what float32 could not hold is not lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from g2vlm_fast.ops import BiasSpec, Direction, Distance, geometry_attention

SPEC = BiasSpec(Distance(), Direction())


def draw(seed: int = 0) -> dict[str, Any]:
    """Two segments of float32 tokens, with positions in float64 that float32 holds as well."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "q": normal(9, 2, 8),
        "k": normal(14, 2, 8),
        "v": normal(14, 2, 8),
        "bias": SPEC,
        "bias_parameters": normal(2, SPEC.num_parameters),
        "q_position": normal(9, 3).double(),
        "k_position": normal(14, 3).double(),
        "q_offsets": torch.tensor([0, 4, 9], dtype=torch.int32),
        "k_offsets": torch.tensor([0, 6, 14], dtype=torch.int32),
    }


def in_float32(inputs: dict[str, Any]) -> dict[str, Any]:
    places = ("q_position", "k_position")
    return {**inputs, **{name: inputs[name].float() for name in places}}


def moved(inputs: dict[str, Any], *shifts: float) -> dict[str, Any]:
    """Move each segment by its own distance along every axis."""
    result = dict(inputs)
    for side in ("q", "k"):
        lengths = inputs[f"{side}_offsets"].diff()
        shift = torch.tensor(shifts, dtype=torch.float64).repeat_interleave(lengths.long())
        result[f"{side}_position"] = inputs[f"{side}_position"] + shift[:, None]
    return result


def test_float64_positions_survive_coordinates_of_a_map() -> None:
    inputs = draw()
    expected = geometry_attention(**in_float32(inputs))
    found = geometry_attention(**moved(inputs, 4e6, -5e5))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_where_it_would_be() -> None:
    inputs = draw(1)
    expected = geometry_attention(**in_float32(inputs), return_position_mean=True)
    found = geometry_attention(**moved(inputs, 4e6, -5e5), return_position_mean=True)
    assert found.position_mean.dtype == torch.float64
    back = found.position_mean - torch.tensor([4e6] * 4 + [-5e5] * 5)[:, None, None]
    torch.testing.assert_close(back.float(), expected.position_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.position_spread, expected.position_spread)


@pytest.mark.parametrize("heads_have_places", [False, True])
def test_integers_are_multiples_of_the_unit(heads_have_places: bool) -> None:
    inputs = draw(2)
    if heads_have_places:
        inputs["q_position"] = inputs["q_position"][:, None].repeat(1, 2, 1)
    whole = {
        name: (inputs[name] / 0.002).round().to(torch.int32)
        for name in ("q_position", "k_position")
    }
    rounded = {name: value.double() * 0.002 for name, value in whole.items()}
    expected = geometry_attention(**{**inputs, **rounded})
    found = geometry_attention(**{**inputs, **whole}, position_unit=0.002)
    assert torch.equal(found, expected)


def test_gradients_reach_float64_positions() -> None:
    inputs = draw(3)
    near = [inputs[name].requires_grad_() for name in ("q_position", "k_position")]
    out = geometry_attention(**in_float32(inputs), return_position_mean=True)
    loss = out.out.sin().sum() + out.position_mean.cos().sum()
    expected = torch.autograd.grad(loss, near)
    out = geometry_attention(**inputs, return_position_mean=True)
    loss = out.out.sin().sum() + out.position_mean.cos().sum()
    for found, each in zip(torch.autograd.grad(loss, near), expected, strict=True):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, each, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e30, -3e8])
def test_padding_is_no_origin_whatever_stands_in_it(garbage: float) -> None:
    inputs = draw(4)
    inputs["k_mask"] = torch.ones(14, dtype=torch.bool)
    padding = [0, 1, 6, 13]  # first and last keys of both segments
    inputs["k_mask"][padding] = False
    expected = geometry_attention(**in_float32(inputs), return_position_mean=True)
    inputs = moved(inputs, 4e6, -5e5)
    inputs["k_position"][padding] = garbage
    found = geometry_attention(**inputs, return_position_mean=True)
    torch.testing.assert_close(found.out, expected.out, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.position_spread, expected.position_spread)


def test_segments_without_keys_and_no_keys_at_all_are_fine() -> None:
    inputs = draw(5)
    inputs["k_offsets"] = torch.tensor([0, 14, 14], dtype=torch.int32)
    result = geometry_attention(**inputs, return_position_mean=True)
    assert (result.out[4:] == 0).all()
    assert (result.position_mean[4:] == 0).all()
    for name in ("k", "v", "k_position"):
        inputs[name] = inputs[name][:0]
    inputs["k_offsets"] = torch.zeros(3, dtype=torch.int32)
    assert (geometry_attention(**inputs) == 0).all()


def test_float64_tokens_take_integers_too() -> None:
    inputs = draw(6)
    for name in ("q", "k", "v", "bias_parameters"):
        inputs[name] = inputs[name].double()
    whole = {
        name: (inputs[name] / 1e-4).round().to(torch.int32) for name in ("q_position", "k_position")
    }
    expected = geometry_attention(
        **{**inputs, **{name: value.double() * 1e-4 for name, value in whole.items()}}
    )
    found = geometry_attention(**{**inputs, **whole})
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("unit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_unit_that_is_none_is_refused(unit: float) -> None:
    inputs = draw()
    for name in ("q_position", "k_position"):
        inputs[name] = inputs[name].to(torch.int32)
    with pytest.raises((TypeError, ValueError), match="position_unit"):
        geometry_attention(**inputs, position_unit=unit)


def test_integers_and_metres_do_not_mix() -> None:
    inputs = draw()
    inputs["q_position"] = inputs["q_position"].to(torch.int32)
    with pytest.raises(TypeError, match="q_position and k_position"):
        geometry_attention(**inputs)


def test_it_compiles_into_one_graph() -> None:
    inputs = moved(draw(7), 4e6, -5e5)
    expected = geometry_attention(**inputs)
    compiled = torch.compile(geometry_attention, fullgraph=True)
    torch.testing.assert_close(compiled(**inputs), expected)
