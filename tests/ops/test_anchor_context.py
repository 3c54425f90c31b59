"""An order of tokens in which neighbours in memory are neighbours in space."""

from __future__ import annotations

import pytest
import torch

from g2vlm_fast.ops import AnchorContext, BiasSpec, Distance, geometry_attention


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_token_has_one_place_within_its_segment() -> None:
    offsets = torch.tensor([0, 100, 100, 1000, 1500], dtype=torch.int32)
    context = AnchorContext.from_positions(uniform(1500, 3), offsets)
    for begin, end in ((0, 100), (100, 1000), (1000, 1500)):
        assert torch.equal(context.order[begin:end].sort().values, torch.arange(begin, end))
    assert torch.equal(context.order[context.inverse], torch.arange(1500))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_any_number_of_tokens_is_ordered(count: int) -> None:
    context = AnchorContext.from_positions(uniform(count, 3).double())
    assert torch.equal(context.order.sort().values, torch.arange(count))


def test_leaves_are_small_in_space() -> None:
    position = uniform(4096, 3)
    leaves = AnchorContext.from_positions(position).permute(position).view(64, 64, 3)
    extent = leaves.amax(1) - leaves.amin(1)
    # 64 leaves of a cube: a quarter of it along each axis.
    assert extent.amax() < 0.3


def test_the_first_split_is_at_the_median_of_the_longest_axis() -> None:
    position = uniform(256, 3) * torch.tensor([1.0, 5.0, 2.0])
    order = AnchorContext.from_positions(position).order
    lower = position[:, 1].argsort()[:128]
    assert torch.equal(order[:128].sort().values, lower.sort().values)


def test_tokens_at_one_point_keep_their_order() -> None:
    order = AnchorContext.from_positions(torch.ones(300, 3)).order
    assert torch.equal(order, torch.arange(300))


def test_positions_that_are_not_finite_are_ordered_too() -> None:
    position = uniform(300, 3)
    position[::7] = torch.nan
    position[1::7, 2] = -torch.inf
    order = AnchorContext.from_positions(position).order
    assert torch.equal(order.sort().values, torch.arange(300))


def test_permuting_there_and_back_is_nothing_and_gradients_come_back_too() -> None:
    context = AnchorContext.from_positions(uniform(200, 3))
    tokens = uniform(200, 2, 5, seed=1).requires_grad_()
    assert torch.equal(context.unpermute(context.permute(tokens)), tokens)
    pull = uniform(200, 2, 5, seed=2)
    (gradient,) = torch.autograd.grad(context.permute(tokens), tokens, pull)
    assert torch.equal(gradient[context.order], pull)


def test_attention_is_the_same_in_any_order() -> None:
    position = uniform(150, 3)
    q, k, v = uniform(3, 150, 2, 8, seed=1)
    options = {"bias": BiasSpec(Distance()), "bias_parameters": torch.tensor([[3.0], [9.0]])}
    given = geometry_attention(q, k, v, q_position=position, k_position=position, **options)
    context = AnchorContext.from_positions(position)
    q, k, v, moved = map(context.permute, (q, k, v, position))
    out = geometry_attention(q, k, v, q_position=moved, k_position=moved, skip_eps=1e-6, **options)
    torch.testing.assert_close(context.unpermute(out), given)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="position"):
        AnchorContext.from_positions(uniform(5, 2))
    with pytest.raises(TypeError, match="position"):
        AnchorContext.from_positions(uniform(5, 3).half())
    with pytest.raises(ValueError, match="offsets"):
        AnchorContext.from_positions(uniform(5, 3), torch.tensor([0, 9], dtype=torch.int32))
    with pytest.raises(ValueError, match="5 rows"):
        AnchorContext.from_positions(uniform(5, 3)).permute(uniform(6, 3))
